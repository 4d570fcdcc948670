"""What dpkg's database says against dpkg itself: generated files, read by `dpkg-query --admindir` and here.

    python tests/stages/dpkg_oracle.py [FILES]

Needs dpkg-query and no root. Of a file that dpkg-query takes, names, versions, states and architectures must be its
own. Of one that it refuses, no package may be absent. The exit status is 1 where anything differs.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Union

TOP = Path(__file__).parents[2]
sys.path.insert(0, str(TOP))

from nodespec.checks import packages  # noqa: E402 - this folder is where Python starts, not the top
from nodespec.facts.declaration import Columns  # noqa: E402
from nodespec.host.directory import DirectoryTree  # noqa: E402
from nodespec.model.observation import Absent, Unknown, Value  # noqa: E402

SEED, FILES = 2016, 1500
SKIP = 77  # the exit status of a stage that cannot run here
FORMAT = "${Package}\x02${Architecture}\x02${Version}\x02${db:Status-Status}\x03"
NAMES = ("bash", "libc6", "zlib1g", "kubelet", "Bash", "g++", "a", "-a", "b_c", "é")
VERSIONS = (
    "1.0-1",
    "5.2.15-2+b7",
    "1:2.0~rc1-1",
    "2025b",
    "1.0-",
    "-1",
    ":1",
    "a:1",
    "1 0",
    "",
    "2147483648:1",
)
STATES = (
    *("installed", "unpacked", "half-installed", "half-configured", "config-files", "not-installed", "Installed"),
    *("triggers-pending", "present", "installed x", ""),
)
WANTS = ("install", "deinstall", "hold", "purge", "unknown", "INSTALL", "want")
ERRORS = ("ok", "reinstreq", "OK", "bad")
FIELDS = ("Package", "Status", "Architecture", "Version", "Description", "Multi-Arch", "Maintainer", "X-Own", "Q", "-Q")
Row = tuple[str, str, str, str]


def main(files: int) -> int:
    """The exit status; what was compared is printed, and last what is wrong."""
    if not shutil.which("dpkg-query"):
        print("dpkg-query is not installed")
        return SKIP
    chance, wrong, refused, rows = random.Random(SEED), 0, 0, 0  # noqa: S311 - the same files each time
    with tempfile.TemporaryDirectory(prefix="nodespec-") as folder:
        for number in range(files):
            root = Path(folder) / str(number)
            write(chance, root / "var/lib/dpkg")
            theirs, ours = by_dpkg(root / "var/lib/dpkg"), here(root)
            refused += isinstance(theirs, str)
            rows += 0 if isinstance(theirs, str) else len(theirs)
            difference = compared(theirs, ours)
            if difference:
                wrong += 1
                print(f"wrong    {number}: {difference}\n{shown(root)}")
            shutil.rmtree(root)
    print(f"{files} databases, {refused} of them rejected by dpkg, {rows} packages in the others; {wrong} differ")
    if not files // 5 < refused < files * 4 // 5 or rows < files:
        print("wrong    the generated files are refused too often or too rarely, or have too few packages")
        return 1
    return int(bool(wrong))


def write(chance: random.Random, folder: Path) -> None:
    """A database: a status file, and sometimes what was noted since."""
    (folder / "updates").mkdir(parents=True)
    (folder / "info").mkdir()
    odd = chance.choice((0, 0, 0.02, 0.1))
    usual = chance.sample(NAMES[:4], 4) if chance.random() < 0.8 else chance.choices(NAMES[:4], k=4)
    text = "".join(stanza(chance, odd, name) for name in usual[: chance.randint(1, 4)])
    if chance.random() < odd:
        text = text[: chance.randrange(len(text))]
    (folder / "status").write_bytes(text.encode())
    for number in range(chance.choice((0, 0, 0, 1, 2))):
        (folder / "updates" / f"{number:04}").write_bytes(stanza(chance, odd, chance.choice(NAMES[:4])).encode())


def stanza(chance: random.Random, odd: float, name: str) -> str:
    """The fields of a package, each by the chance `odd` in a form that dpkg does not write."""

    def pick(usual: int, among: tuple[str, ...]) -> str:
        return chance.choice(among if chance.random() < odd else among[:usual])

    status = " ".join((pick(4, WANTS), pick(2, ERRORS), pick(6, STATES)))
    values = {
        "Package": chance.choice(NAMES) if chance.random() < odd else name,
        "Status": status,
        "Architecture": pick(2, ("amd64", "i386", "all", "any", "")),
        "Version": pick(4, VERSIONS),
        "Maintainer": "Nobody <nobody@example.org>",
        "Description": "a package\n it has more lines\n .\n than one",
    }
    if values["Architecture"] != "all" and chance.random() < 0.3:
        values["Multi-Arch"] = pick(3, ("same", "foreign", "no", "Same", "none", ""))
    if chance.random() < odd:
        values.pop(chance.choice(list(values)))
    fields = list(values.items())
    if chance.random() < odd:
        fields.append((chance.choice(FIELDS), "x"))
    if chance.random() < odd:
        chance.shuffle(fields)
    end = chance.choice(("\r\n", " \n", "\x1a")) if chance.random() < odd / 2 else "\n"
    separator = chance.choice(("\r\n", " \n", "\n\n\n", "\x1a", "")) if chance.random() < odd else "\n"
    return "".join(field(chance, odd, name, value, end) for name, value in fields) + separator


def field(chance: random.Random, odd: float, name: str, value: str, end: str) -> str:
    """A field with its end of line."""
    if chance.random() < odd:
        name = chance.choice((name.lower(), name.upper(), f" {name}", f"{name} ", f"{name}\t", f"{name} x"))
    colon = ": "
    if chance.random() < odd:
        colon = chance.choice((":", ":  ", ":\t", " : ", ":\n ", ":\r", ": \x1a", "", "::"))
    if chance.random() < odd:
        value = chance.choice((f"{value} ", f"{value}\t", f"{value}\r", f"{value}\n ", f"{value}\n x", f"{value}\v"))
    return f"{name}{colon}{value}{end}"


def by_dpkg(folder: Path) -> Union[set[Row], str]:
    """What dpkg lists, or why it refuses the database."""
    argv = ["dpkg-query", f"--admindir={folder}", "-W", f"--showformat={FORMAT}"]
    done = subprocess.run(argv, capture_output=True, check=False)
    if done.returncode:
        return done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2].strip()
    lines = done.stdout.decode("utf-8", "replace").split("\x03")
    rows = (tuple(line.split("\x02")) for line in lines if line)
    return {
        (name, architecture, version, state) for name, architecture, version, state in rows if state != "config-files"
    }


def here(root: Path) -> tuple[set[Row], dict[str, str]]:
    """What nodespec lists, and what it says of every name that was not listed."""
    rows = packages.read_packages(DirectoryTree(str(root)))
    found = set()
    for name, row in rows.every().items():
        if isinstance(row, Value) and isinstance(row.value, Columns):
            seen = [row.value[column] for column in ("architecture", "deb", "status")]
            said = [str(one.value) if isinstance(one, Value) else "" for one in seen]
            found.add((name.partition(":")[0], said[0], said[1], said[2]))
    listed = {name.partition(":")[0] for name in rows.every()}
    names = {name for name in ("nosuch", *NAMES[:7]) if name.lower() not in listed}
    answers = {name: rows.observe(name) for name in names}
    words = {Absent: "absent", Unknown: "unknown", Value: "there"}
    return found, {name: words[type(answer)] for name, answer in answers.items()}


def compared(theirs: Union[set[Row], str], ours: tuple[set[Row], dict[str, str]]) -> str:
    """What differs; empty where nothing does."""
    found, others = ours
    if isinstance(theirs, str):
        absent = sorted(name for name, word in others.items() if word != "unknown")
        return f"dpkg refuses it ({theirs}), and here {', '.join(absent)} are {others[absent[0]]}" if absent else ""
    if found != theirs:
        return f"dpkg lists {sorted(theirs - found)}, nodespec {sorted(found - theirs)}"
    unknown = sorted(name for name, word in others.items() if word != "absent") if theirs else []
    return f"dpkg takes it, and here {', '.join(unknown)} are {others[unknown[0]]}" if unknown else ""


def shown(root: Path) -> str:
    """The files of a database, for people."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and "lock" not in path.name)
    return "\n".join(f"    {path.relative_to(root)}: {path.read_bytes()!r}" for path in files)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else FILES))
