"""modprobe.d and modules-load.d of many small trees: does nodespec say what kmod and systemd-modules-load do?

    python tests/stages/kmod_oracle.py CACHE [--trees N] [--seed N]

As root, with kmod, systemd and busybox-static. Each tree has a few modules with dependencies and aliases, and files
that are made from a seed. In it run `modprobe --show-depends`, systemd-modules-load, and with busybox each install
command, with a stand-in for modprobe that notes what it is to load. Nothing is loaded: the modules are empty files.
The exit status is 1 where an answer is different, or where too much is unknown.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from nodespec.checks import modules
from nodespec.facts.declaration import Rows
from nodespec.host.directory import DirectoryTree
from nodespec.model.observation import Absent, Value

TREES, SEED = 500, 9
MOST_UNKNOWN = 0.05  # of all answers
RELEASE = os.uname().release
FOLDER = f"lib/modules/{RELEASE}"
PROGRAMS = ("/sbin/modprobe", "/lib/systemd/systemd-modules-load")
# what each needs, and what else it is called
NEEDS: Mapping[str, Tuple[str, ...]] = {
    "alpha": (),
    "beta": ("alpha",),
    "gamma_ray": ("beta", "alpha"),
    "delta": (),
    "eps_1": ("delta",),
    "zeta": (),
}
BUILTIN = ("inner",)
ALIASES = (("fs-zeta", "zeta"), ("net-pf-9-*", "delta"), ("pci:v00008086d*", "eps_1"))
NAMES = (*NEEDS, *BUILTIN, "fs-zeta", "nothing", "gamma-ray", "x1", "net-pf-9-proto-1")
COMMANDS = (
    *("/bin/false", "/bin/true", "/bin/true # why", '/bin/sh -c "exit 0"', "exit 1", ":", '"/bin/false"'),
    *("/usr/bin/env false", "/bin/echo disabled", "FOO=1 /bin/false", "/bin/false;", "/bin/true && /bin/true"),
    *("/sbin/modprobe --ignore-install {}", "/sbin/modprobe -i {} $CMDLINE_OPTS", "/sbin/modprobe other"),
    *("/bin/true; /sbin/modprobe --ignore-install {}", "/bin/false || /sbin/modprobe -qi {}"),
    *("/sbin/modprobe --ignore-install {} && { /bin/true; }", "/bin/false && /sbin/modprobe -i {}", " "),
    *(
        "/bin/sh -c '/sbin/modprobe --ignore-install {}'",
        "/bin/false > /dev/null 2>&1",
        "/bin/tr\\\nue",
        "/bin/\\false",
    ),
)
UNKNOWN_COMMANDS = ("/usr/bin/frobnicate {}", "if true; then /sbin/modprobe -i {}; fi", "$(true)")
LINES = (
    *("install {n} {c}", "install {n} {c}", "install {n} {c}", "install {p} {c}", "install {n}", "install\t{n}\t {c}"),
    *("blacklist {n}", "blacklist {p}", "blacklist {n} # {n}", " blacklist {n}", "blacklist"),
    *(
        "alias {n} off",
        "alias {n} {m}",
        "alias {q} {m}",
        "alias x? {m}",
        "alias {n}",
        "alias {m}] {n}",
        "alias x1 {m} # a",
    ),
    *("softdep {n} pre: {m}", "softdep {n} post: {m}", "softdep {q} pre: {m} post: {n}", "softdep {n} {m}"),
    *("options {n} install=/bin/false", "# install {n} /bin/false", "", "include /x", "install {n} /bin/false\r"),
    *("blacklist \\\n{n}", "in\\stall {n} /bin/false", "remove {n} /bin/true", "softdep {n} pre: fs-zeta nothing"),
)
PATTERNS = ("*a", "b*", "?eta", "[dz]e*", "*", "gamma-*", "eps_[0-9]", "[!a]*", "[^b]eta", "al[p-q]ha")
NARROW = (
    "*a",
    "b*",
    "?eta",
    "[dz]e*",
    "gamma-*",
    "eps_[0-9]",
    "al[p-q]ha",
)  # what systemd itself wants is called otherwise
FILES = ("a.conf", "b.conf", "z.conf", ".h.conf", "m.conf", "c.conf.bak", "n.conf")
FOLDERS = ("etc/modprobe.d", "etc/modprobe.d", "lib/modprobe.d", "usr/local/lib/modprobe.d")
LOADS = (
    "{n}",
    "{n}",
    "{n} # {m}",
    "# {n}",
    ";{n}",
    "  {n}\t",
    "{n}\r",
    "{n} {m}",
    "fs-zeta",
    "x1",
    "nothing",
    "gamma-ray",
    "",
)


class Plan(NamedTuple):
    """What `modprobe --show-depends` prints: nothing where a name is not found."""

    inserted: Tuple[str, ...] = ()
    commands: Tuple[str, ...] = ()
    found: bool = False


def main(trees: int, seed: int) -> int:
    """The exit status; what was compared is printed."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepare(root)
        differ: List[str] = []
        asked = unknown = 0
        for number in range(trees):
            plant(root, random.Random(f"{seed}.{number}"))  # noqa: S311 - the same trees each time
            for wrong, doubtful in (*judged(root), *loaded(root)):
                asked, unknown = asked + 1, unknown + doubtful
                differ += [f"tree {number}: {wrong}"] if wrong else []
    for line in differ[:40]:
        print(f"differs  {line}")
    print(f"{trees} trees of seed {seed}: {asked} answers, {len(differ)} differ, {unknown} are unknown")
    return int(bool(differ) or unknown > MOST_UNKNOWN * asked)


def prepare(root: Path) -> None:
    """The programs with their libraries, a shell, and the index of modules as depmod writes it."""
    for folder in ("bin", "sbin", "etc", "run", "usr/lib/systemd", "usr/local/lib", FOLDER, "boot", "dev", "tmp"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    busybox = shutil.which("busybox") or "/bin/busybox"
    for program in (*PROGRAMS, busybox):
        for path in (program, *libraries(program)):
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(os.path.realpath(path), target)
    if busybox != "/bin/busybox":
        shutil.copy(busybox, root / "bin/busybox")
    for name in ("sh", "true", "false", "env", "echo"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "usr/bin").mkdir(exist_ok=True)
    for name in ("env", "frobnicate"):
        (root / "usr/bin" / name).symlink_to("../../bin/busybox")
    (root / "usr/lib/systemd/systemd").touch(mode=0o755)
    (root / "sbin/init").symlink_to("/usr/lib/systemd/systemd")
    (root / f"boot/vmlinuz-{RELEASE}").touch()
    (root / "etc/os-release").write_text("ID=debian\n")
    stand_in = root / "tmp/modprobe"
    stand_in.write_text('#!/bin/sh\nfor last; do :; done\necho "$@" >> /tmp/noted\n')
    stand_in.chmod(0o755)
    index(root / FOLDER)


def libraries(program: str) -> List[str]:
    done = subprocess.run(
        ["/usr/bin/ldd", program], capture_output=True, text=True, check=False
    )  # which fails for static ones
    return re.findall(r"(/\S+) \(0x", done.stdout)


def index(folder: Path) -> None:
    """The lists that depmod would make."""
    lines = {
        name: f"kernel/{name}.ko:{''.join(f' kernel/{need}.ko' for need in needs)}" for name, needs in NEEDS.items()
    }
    (folder / "kernel").mkdir(exist_ok=True)
    for name in NEEDS:
        (folder / f"kernel/{name}.ko").touch()
    (folder / "modules.dep").write_text("".join(f"{line}\n" for line in lines.values()))
    (folder / "modules.order").write_text("".join(f"kernel/{name}.ko\n" for name in NEEDS))
    (folder / "modules.builtin").write_text("".join(f"kernel/{name}.ko\n" for name in BUILTIN))
    (folder / "modules.alias").write_text("".join(f"alias {alias} {name}\n" for alias, name in ALIASES))
    trie(folder / "modules.dep.bin", lines)
    trie(folder / "modules.alias.bin", {alias.replace("-", "_"): name for alias, name in ALIASES})
    trie(folder / "modules.builtin.bin", dict.fromkeys(BUILTIN, ""))
    for name in ("modules.symbols.bin", "modules.builtin.alias.bin"):
        trie(folder / name, {})


def trie(path: Path, values: Mapping[str, str]) -> None:
    """An index of kmod's: a tree of characters, each node after those below it."""
    data = bytearray(struct.pack(">III", 0xB007F457, 0x00020001, 0))

    def node(words: Mapping[str, str]) -> int:
        below = {
            first: {w[1:]: v for w, v in words.items() if w[:1] == first}
            for first in sorted({w[0] for w in words if w})
        }
        children = {first: node(rest) for first, rest in below.items()}
        at, flags = len(data), 0
        if children:
            flags |= 0x20000000
            low, high = ord(min(children)), ord(max(children))
            data.extend(struct.pack(">BB", low, high))
            data.extend(b"".join(struct.pack(">I", children.get(chr(code), 0)) for code in range(low, high + 1)))
        if "" in words:
            flags |= 0x40000000
            data.extend(struct.pack(">II", 1, 0) + words[""].encode() + b"\0")
        return at | flags

    root = node(values)
    data[8:12] = struct.pack(">I", root)
    path.write_bytes(bytes(data))


def plant(root: Path, rolls: random.Random) -> None:
    """Files of modprobe.d and modules-load.d."""
    for folder in (*FOLDERS, "etc/modules-load.d", "usr/lib/modules-load.d"):
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).mkdir(parents=True)
    (root / FOLDER / "modules.softdep").write_text(
        rolls.choice(["", "", "softdep zeta pre: delta\n", "softdep b* post: zeta\n"])
    )
    for _ in range(rolls.randint(0, 3)):
        file = root / rolls.choice(FOLDERS) / rolls.choice(FILES)
        if rolls.random() < 0.1:
            file.unlink(missing_ok=True)
            file.symlink_to(rolls.choice(["/dev/null", "/nowhere"]))
        elif not file.is_symlink():
            file.write_text("\n".join(line(rolls) for _ in range(rolls.randint(1, 4))) + rolls.choice(["\n", ""]))
    for _ in range(rolls.randint(0, 2)):
        file = (
            root / rolls.choice(["etc/modules-load.d", "usr/lib/modules-load.d"]) / rolls.choice(["a.conf", "b.conf"])
        )
        file.write_text("\n".join(filled(rolls.choice(LOADS), rolls) for _ in range(3)))


def line(rolls: random.Random) -> str:
    text = rolls.choice(LINES)
    command = rolls.choice(UNKNOWN_COMMANDS if rolls.random() < 0.04 else COMMANDS)
    name = rolls.choice([*NEEDS])
    return filled(text, rolls, name).replace("{c}", command.replace("{}", name))


def filled(text: str, rolls: random.Random, name: str = "") -> str:
    for key, value in (
        ("n", name or rolls.choice([*NEEDS])),
        ("m", rolls.choice([*NEEDS])),
        ("p", rolls.choice(PATTERNS)),
        ("q", rolls.choice(NARROW)),
    ):
        text = text.replace(f"{{{key}}}", value)
    return text


# as kmod and systemd have it


def inside(root: Path, *argv: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/usr/sbin/chroot", str(root), *argv],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/bin:/sbin", **more},
    )


def planned(root: Path, name: str, *options: str) -> Plan:
    """What modprobe would do for a name."""
    done = inside(root, "/sbin/modprobe", "--show-depends", *options, name)
    said = done.stdout.splitlines()
    inserted = [Path(words.split()[1]).stem for words in said if words.startswith("insmod ")]
    commands = [words.partition(" ")[2].rstrip() for words in said if words.startswith("install")]
    return Plan(tuple(inserted), tuple(commands), done.returncode == 0)


@cache
def loads(root: Path, command: str, name: str) -> Optional[bool]:
    """Whether an install command loads its module, as a shell runs it; None of those that nobody may be asked about."""
    if any(command.strip().startswith(one.partition(" {}")[0].partition(";")[0]) for one in UNKNOWN_COMMANDS):
        return None
    noted, program = root / "tmp/noted", root / "sbin/modprobe"
    noted.write_text("")
    program.rename(root / "tmp/kept")
    shutil.copy(root / "tmp/modprobe", program)
    try:
        inside(root, "/bin/sh", "-c", command.replace("$CMDLINE_OPTS", ""), MODPROBE_MODULE=name)
    finally:
        (root / "tmp/kept").rename(program)
    return any(words.split()[-1:] == [name] for words in noted.read_text().splitlines())


def truth(root: Path, lines: Sequence[str], name: str) -> Set[str]:
    """The states that kmod's own answer allows for a module."""
    if name in BUILTIN:
        return {"builtin"}
    if name not in NEEDS:
        return {"absent"}
    if any(re.match("alias [^:]* ", words) and fnmatchcase(name, words.split()[1]) for words in lines) and any(
        words.startswith("install ") for words in lines
    ):
        return {"loadable", "blacklisted", "blocked"}  # the plan does not show whose command ran
    plan = planned(root, name)
    ran = owners(lines, plan, (name, *NEEDS[name]))
    verdicts = [loads(root, command, each) for command, each in ran]
    if not plan.found or (name not in plan.inserted and not plan.commands) or False in verdicts:
        return {"blocked"}
    if None in verdicts:
        return {"unknown"}
    return {"loadable", "blacklisted"} if name in plan.inserted or name in [each for _, each in ran] else {"blocked"}


def owners(lines: Sequence[str], plan: Plan, required: Sequence[str]) -> List[Tuple[str, str]]:
    """The install commands of a plan with the module of each: of those that are required and not inserted."""
    commands = {name: first_command(lines, name) for name in required if name not in plan.inserted}
    ran = {name: any(one.startswith(command.rstrip()) for one in plan.commands) for name, command in commands.items()}
    return [(command, name) for name, command in commands.items() if command and ran[name]]  # options follow it


def first_command(lines: Sequence[str], name: str) -> str:
    """The install command of a module, from the lines of modprobe --showconfig."""
    words = (line.split(" ", 2) for line in lines if line.startswith("install "))
    return next((command for _, pattern, command in words if fnmatchcase(name, pattern.replace("[^", "[!"))), "")


def config(root: Path) -> List[str]:
    return inside(root, "/sbin/modprobe", "--showconfig").stdout.splitlines()


# and as nodespec has it


def rows(root: Path) -> Rows[object]:
    at_rest = modules.modules.resting
    assert at_rest
    return at_rest(DirectoryTree(str(root)))


def seen(table: Rows[object], name: str) -> str:
    found = table.observe(modules.modules.key(name))
    return str(found.value) if isinstance(found, Value) else "absent" if isinstance(found, Absent) else "unknown"


def judged(root: Path) -> List[Tuple[str, bool]]:
    """Each module, where nothing is loaded at boot: what differs, and whether it is unknown."""
    kept = [
        (path, path.read_bytes())
        for path in (*root.glob("etc/modules-load.d/*"), *root.glob("usr/lib/modules-load.d/*"))
    ]
    for path, _ in kept:
        path.write_bytes(b"")
    table, lines = rows(root), config(root)
    blacklist = {words.split()[1] for words in lines if words.startswith("blacklist ")}
    found = []
    for name in (*NEEDS, *BUILTIN, "nothing"):
        answer, wanted = seen(table, name), truth(root, lines, name)
        if wanted == {"loadable", "blacklisted"}:
            wanted = {"blacklisted" if name in blacklist else "loadable"}
        differs = answer not in wanted and answer != "unknown"
        wrong = f"{name}: kmod {', '.join(wanted)}, nodespec {answer}{told(root)}" if differs else ""
        found.append((wrong, answer == "unknown"))
    for path, data in kept:
        path.write_bytes(data)
    return found


def loaded(root: Path) -> List[Tuple[str, bool]]:
    """What is loaded at boot, where no install command decides."""
    if any(words.startswith("install ") for words in config(root)):
        return []
    said = inside(root, PROGRAMS[1], SYSTEMD_LOG_LEVEL="debug", SYSTEMD_LOG_TARGET="console", SYSTEMD_LOG_COLOR="0")
    lines = re.findall(r"(?:Loading module: |Load module: )(.*)", said.stderr)
    missing = set(re.findall(r"Failed to find module '(.*)'", said.stderr))
    wanted: Set[str] = set()
    for name in {name.strip() for name in lines} - missing:
        wanted.update(spared(root, name))
    table = rows(root)
    found = []
    for name in NEEDS:
        answer = seen(table, name)
        differs = answer != "unknown" and (answer == "loaded") != (name in wanted)
        says = f"{name}: systemd {'loads' if name in wanted else 'does not load'} it, nodespec {answer}{told(root)}"
        found.append((says if differs else "", answer == "unknown"))
    return found


def spared(root: Path, name: str) -> Set[str]:
    """The modules that come with a name, unless they are blacklisted."""
    return set(planned(root, name, "--use-blacklist").inserted)


def told(root: Path) -> str:
    """The files of a tree, to see why."""
    files: Dict[str, str] = {}
    for folder in dict.fromkeys((*FOLDERS, "etc/modules-load.d", "usr/lib/modules-load.d")):
        for path in sorted((root / folder).iterdir()):
            files[f"{folder}/{path.name}"] = path.read_text() if path.is_file() else f"-> {os.readlink(path)}"
    files["modules.softdep"] = (root / FOLDER / "modules.softdep").read_text()
    return "".join(f"\n           {name}: {text!r}" for name, text in files.items())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("cache")
    parser.add_argument("--trees", type=int, default=TREES)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    sys.exit(main(options.trees, options.seed))
