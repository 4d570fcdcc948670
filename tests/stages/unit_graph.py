"""Does nodespec start the units that systemd starts, and enable those that systemctl says are enabled?

    python tests/stages/unit_graph.py [CACHE] [--trees N] [--seed N]

Random trees of units, links, drop-ins, masks, aliases and presets are read by nodespec and by the installed systemd:
`systemd --test` prints the jobs of a boot, `systemctl --root` the install state of each unit, after `preset-all` where
the tree has no machine-id. A difference is reduced to the files that it takes, and printed with both answers. Exit
status 1: a tree differs, or more than one answer of twenty is unknown. Exit status 77: systemd is not installed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1] / "faults")]

import fault_cases  # noqa: E402 - this folder is where Python starts

from nodespec.checks import (  # noqa: E402
    _systemd_at_boot,
    _systemd_files,
    _systemd_install,
)
from nodespec.host.directory import DirectoryTree  # noqa: E402
from nodespec.model.observation import Value  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nodespec.checks._systemd_files import Units
    from nodespec.checks._systemd_graph import Transaction

    Files = dict[str, object]  # path -> text or Link

SYSTEMD = "/usr/lib/systemd/systemd"
DEBUG_GENERATOR = "/usr/lib/systemd/system-generators/systemd-debug-generator"
# systemd --test runs all generators, 90 ms of 100, and SYSTEMD_UNIT_PATH leaves their output out
NO_GENERATORS = {"SYSTEMD_GENERATOR_PATH": "/nonexistent", "SYSTEMD_ENVIRONMENT_GENERATOR_PATH": "/nonexistent"}
TREES = 500
MAX_UNKNOWN = 0.05
NOBODY = 65534  # systemd --test refuses root
SKIP = 77
PATHS = ("etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system")
ID = {"etc/machine-id": "76ef8a4054b94d31b43391f87bfb5073\n"}
SERVICES = tuple(f"{name}.service" for name in ("a", "b", "c", "d-e", "d-f", "g"))
NAMES = (*SERVICES, "t@.service", "s.socket", "u.timer", "x.target", "y.target")
PULLED = (*SERVICES, "t@1.service", "t@2.service", "s.socket", "u.timer", "x.target", "y.target", "none.service")
STOCK = {
    "sysinit.target": "[Unit]\nWants=swap.target\n",
    "swap.target": "[Unit]\nDescription=Swap\n",
    "basic.target": "[Unit]\nRequires=sysinit.target\nWants=sockets.target\n",
    "sockets.target": "[Unit]\nDescription=Sockets\n",
    "multi-user.target": "[Unit]\nRequires=basic.target\nAllowIsolate=yes\n",
    "rescue.target": "[Unit]\nRequires=sysinit.target\nAllowIsolate=yes\n",
}


PRESETTING = threading.Lock()


class Link(NamedTuple):
    """A symbolic link."""

    target: str


class Answer(NamedTuple):
    """Which units a boot starts, each with all its names, and which are enabled."""

    started: frozenset[tuple[str, ...]]
    enabled: Mapping[str, bool]


def unit_text(name: str, chance: random.Random) -> str:
    """A unit file, sometimes one that systemd refuses."""
    lines = ["[Unit]", *dependencies(chance)]
    if chance.random() < 0.6:
        lines.append("DefaultDependencies=no")
    kind = name.rpartition(".")[2]
    if kind == "service":
        lines += ["[Service]", *service(chance)]
    elif kind == "socket":
        lines += ["[Socket]", *(["ListenStream=/run/s"] if chance.random() < 0.9 else [])]
    elif kind == "timer":
        lines += ["[Timer]", *(["OnBootSec=1"] if chance.random() < 0.9 else [])]
    return "\n".join([*lines, *install(name, chance)]) + "\n"


def dependencies(chance: random.Random) -> Iterator[str]:
    kinds = ("Wants", "Wants", "Requires", "BindsTo", "Upholds", "After", "Before", "PartOf", "X-Wants")
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        names = " ".join(chance.sample(PULLED, chance.choice((1, 1, 2))))
        yield f"{chance.choice(kinds)}={chance.choice(('', ' '))}{names}"
    if chance.random() < 0.1:
        yield f"# Wants={chance.choice(PULLED)}"
    if chance.random() < 0.1:
        yield f"Wants={chance.choice(PULLED)} \\\n; remark\n  {chance.choice(PULLED)}"
    if chance.random() < 0.05:
        yield "Wants=t@.service t@%p.service"
    if chance.random() < 0.05:
        yield f"Conflicts={chance.choice(PULLED)}"


def service(chance: random.Random) -> Iterator[str]:
    kind = chance.random()
    if kind < 0.7:
        yield "ExecStart=/bin/true"
    elif kind < 0.8:
        yield from ("Type=oneshot", "ExecStart=/bin/true", "ExecStart=-true")
    elif kind < 0.9:
        bad = ("ExecStart=bin/true", "Type=dbus\nExecStart=/x")
        yield chance.choice(("ExecStop=/bin/true\nRemainAfterExit=yes", *bad))
    elif kind < 0.95:
        yield "ExecStart=/bin/true\nExecStart=\nExecStart=/bin/false"


def install(name: str, chance: random.Random) -> Iterator[str]:
    if chance.random() < 0.6:
        yield "[Install]"
        kind, target = chance.choice(("WantedBy", "WantedBy", "RequiredBy")), chance.choice(("x", "multi-user"))
        yield f"{kind}={target}.target"
        if chance.random() < 0.15:
            yield f"Alias=other-{name}"
        if chance.random() < 0.1:
            yield f"Also={chance.choice(SERVICES)}"
        if "@" in name and chance.random() < 0.5:
            yield "DefaultInstance=1"
        if chance.random() < 0.05:
            yield "WantedBy="


def tree_of(chance: random.Random) -> Files:
    """A tree of files."""
    files: Files = {} if chance.random() < 0.3 else dict(ID)
    files.update((f"{PATHS[2]}/{name}", text) for name, text in STOCK.items())
    default = chance.choice(("multi-user.target", "multi-user.target", "x.target", "rescue.target"))
    place = chance.choice((PATHS[0], PATHS[2]))
    files[f"{place}/default.target"] = Link(relative(place, f"{PATHS[2]}/{default}"))
    for name in chance.sample(NAMES, chance.randint(3, len(NAMES))):
        for path in chance.sample(PATHS, chance.choice((1, 1, 1, 2))):
            files[f"{path}/{name}"] = unit_text(name, chance)
    for more in (links, masks, aliases, drop_ins, presets):
        files.update(more(chance))
    return files


def relative(place: str, target: str) -> str:
    return os.path.relpath(f"/{target}", f"/{place}")


def links(chance: random.Random) -> Iterator[tuple[str, object]]:
    for _ in range(chance.randint(1, 5)):
        place, name = chance.choice(PATHS), chance.choice(PULLED)
        targets = ("x.target", "multi-user.target", "multi-user.target", "y.target")
        owner = chance.choice((*targets, *SERVICES, "t@.service"))
        folder = f"{place}/{owner}.{chance.choice(('wants', 'wants', 'requires'))}"
        target = Link(relative(folder, f"{PATHS[2]}/{name}"))
        odd = chance.choice((Link("/dev/null"), Link("gone"), ""))
        yield f"{folder}/{name}", target if chance.random() < 0.85 else odd


def masks(chance: random.Random) -> Iterator[tuple[str, object]]:
    if chance.random() < 0.3:
        yield f"{chance.choice(PATHS)}/{chance.choice(NAMES)}", chance.choice((Link("/dev/null"), ""))


def aliases(chance: random.Random) -> Iterator[tuple[str, object]]:
    for _ in range(chance.choice((0, 0, 1, 2))):
        name, place = chance.choice(SERVICES), chance.choice(PATHS)
        alias = chance.choice((*SERVICES, "other.service", f"other-{name}"))
        yield f"{place}/{alias}", Link(relative(place, f"{chance.choice(PATHS)}/{name}"))
        if chance.random() < 0.5:
            yield f"{PATHS[0]}/multi-user.target.wants/{alias}", Link(f"../{alias}")


def drop_ins(chance: random.Random) -> Iterator[tuple[str, object]]:
    for _ in range(chance.choice((0, 0, 1, 2))):
        folder = chance.choice((*NAMES, "service", "target", "d-.service", "t@1.service", "multi-user.target"))
        text = "\n".join(["[Unit]", *dependencies(chance), *install("a.service", chance)]) + "\n"
        yield f"{chance.choice(PATHS)}/{folder}.d/{chance.choice('12')}.conf", chance.choice((text, text, "[Unit\n"))


def presets(chance: random.Random) -> Iterator[tuple[str, object]]:
    folder = "systemd/system-preset"
    for path in chance.sample(("etc", "usr/lib"), chance.choice((0, 1, 2))):
        rules = ("enable {}", "disable {}", "disable *", "enable d-*", "enable t@.service 1 2", "# {}", "ignore {}")
        lines = [chance.choice(rules).format(chance.choice(NAMES)) for _ in range(chance.randint(1, 4))]
        yield f"{path}/{folder}/{chance.choice(('10', '90'))}-x.preset", "\n".join(lines) + "\n"


def write(files: Files, root: Path) -> None:
    root.chmod(0o755)
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_symlink() or place.exists():
            continue
        if isinstance(content, Link):
            place.symlink_to(content.target)
        else:
            place.write_text(str(content))
    for path in PATHS:
        (root / path).mkdir(parents=True, exist_ok=True)


def ours(root: Path, *, full: bool) -> tuple[Answer, Answer]:
    """What nodespec says: what is certain, and what is at least possible."""
    with PRESETTING:
        return answers(DirectoryTree(str(root)), full=full)


def answers(tree: DirectoryTree, *, full: bool) -> tuple[Answer, Answer]:
    _systemd_install.FULL_PRESETS[""] = 0 if full else 1
    states = [states_of(units) for units in _systemd_at_boot.load_unit_files(tree)]
    enabled = {name: state for name, state in states[0].items() if all(one.get(name) == state for one in states)}
    boots = _systemd_at_boot.build_transactions(tree)
    sure = frozenset.intersection(*(named(boot, boot.certain) for boot in boots))
    may = frozenset.union(*(named(boot, boot.possible) for boot in boots))
    return Answer(sure, enabled), Answer(may, enabled)


def states_of(units: Units) -> dict[str, bool]:
    """Return whether each unit is enabled, without templates."""
    states = {name: _systemd_install.is_unit_enabled(units, name) for name in units.ids if "@." not in name}
    return {name: state.value for name, state in states.items() if isinstance(state, Value)}


def named(boot: Transaction, units: frozenset[str]) -> frozenset[tuple[str, ...]]:
    """All names of each of these units."""
    return frozenset(boot.load(name).names for name in units)


def theirs(root: Path, *, full: bool) -> Answer:
    """What systemd says."""
    if "machine-id" not in os.listdir(root / "etc"):
        mode = "full" if full else "enable-only"
        command("systemctl", f"--root={root}", "preset-all", f"--preset-mode={mode}")
    listed = command("systemctl", f"--root={root}", "list-unit-files", "--plain", "--no-legend", "--full").split("\n")
    rows = [line.split() for line in listed if line.split()]
    states = {row[0]: row[1] == "enabled" for row in rows if row[1] not in ("alias", "bad")}
    path = ":".join(str(root / path) for path in PATHS)
    dump = command(SYSTEMD, "--test", "--system", "--no-pager", SYSTEMD_UNIT_PATH=path, SYSTEMD_LOG_LEVEL="emerg")
    started = re.findall(r"-> Job \d+:\n\s+Action: (\S+) -> start", dump)
    return Answer(frozenset((name,) for name in started), states)


def command(*argv: str, **environment: str) -> str:
    demoted = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups") if argv[0] == SYSTEMD else ()
    return subprocess.run(
        (*(() if os.geteuid() else demoted), *argv),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **NO_GENERATORS, **environment},
    ).stdout


class Compared(NamedTuple):
    """The differences of a tree, and how many of its answers are unknown."""

    different: tuple[str, ...]
    unknown: int
    asked: int
    started: int


def compare(files: Files, *, full: bool) -> Compared:
    """Both answers about a tree, where they differ."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(files, root)
        sure, may = ours(root, full=full)
        systemd = theirs(root, full=full)
    started, ordinary = {name for (name,) in systemd.started}, (*PULLED, "other.service", *STOCK)
    wrong = [f"nodespec starts {names[0]}, systemd does not" for names in sure.started
             if names[0] in ordinary and not started & {*names}]  # fmt: skip
    possible = {name for names in may.started for name in names}
    wrong += [f"systemd starts {name}, nodespec does not" for name in started - possible if name in ordinary]
    for name, state in systemd.enabled.items():
        if name in sure.enabled and sure.enabled[name] != state and not masked_link(name, files):
            wrong.append(f"{name}: enabled by systemctl: {state}, by nodespec: {sure.enabled[name]}")
    return Compared(tuple(wrong), len(may.started) - len(sure.started), len(ordinary), len(started))


def masked_link(name: str, files: Files) -> bool:
    """Whether a mask stands among the links that enable a unit: for systemctl that enables it, for a boot not."""
    empty = any(path.endswith(f"/{name}") and content in (Link("/dev/null"), "") for path, content in files.items())
    return empty and any(f".wants/{name}" in path or f".requires/{name}" in path for path in files)


def reduced(files: Files, *, full: bool) -> Files:
    """The same difference with as few files as possible."""
    kept = {f"{PATHS[2]}/{name}" for name in STOCK}
    for path in sorted(path for path in files if path not in kept and not path.endswith("/default.target")):
        fewer = {other: content for other, content in files.items() if other != path}
        if compare(fewer, full=full).different:
            files = fewer
    return files


def hand_made() -> Iterator[str]:
    """The differences of the trees of tests/faults/units.yaml, with the units that systemd itself brings."""
    bases = fault_cases.load_bases()
    for case in fault_cases.load_cases():
        if case.file != "units" or not {"kubelet", "runtime"} & {*case.data["spec"]["require"]}:
            continue
        entries = fault_cases.merge_tree(case, bases)
        if {"etc/inittab", "sbin/openrc-init"} & {*entries}:  # of OpenRC
            continue
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            root.chmod(0o755)
            fault_cases.write_tree(dict(whole(entries)), root / "t")
            yield f"{case.name}: {differs(case, root / 't', str(entries.get('etc/os-release')))}"


def whole(entries: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """A tree with systemd's own units, in which absolute links to unit files are relative."""
    for name, text in _systemd_at_boot.STOCK.items():
        target = text.target if isinstance(text, _systemd_files.Link) else ""
        if f"{PATHS[2]}/{name}" not in entries:
            yield f"{PATHS[2]}/{name}", {"link": target} if target else text
    for path, entry in entries.items():
        target = entry.get("link", "") if isinstance(entry, dict) else ""
        inside = target.startswith(("/usr/lib/systemd/system/", "/opt/"))
        yield path, {"link": relative(os.path.dirname(path), target[1:])} if inside else entry


def differs(case: fault_cases.Case, root: Path, release: str) -> str:
    """What systemd says otherwise than the case does; empty where it agrees."""
    line = root / "etc/kernel/cmdline"
    words = line.read_text().strip() if line.exists() else ""
    early = root / "early"
    early.mkdir()
    command(DEBUG_GENERATOR, str(early), str(early), str(early), SYSTEMD_PROC_CMDLINE=words)
    unit = next((default for word in words.split() if (default := default_of(word))), "")
    first = not (root / "etc/machine-id").exists() or "uninit" in (root / "etc/machine-id").read_text()
    if first and "condition-first-boot=no" not in words:
        command(
            "systemctl",
            f"--root={root}",
            "preset-all",
            "--preset-mode",
            "full" if "fedora" in release else "enable-only",
        )
    path = ":".join((str(early), *(str(root / path) for path in PATHS)))
    dump = command(
        SYSTEMD, "--test", "--system", "--no-pager", *([f"--unit={unit}"] if unit else []),
        SYSTEMD_UNIT_PATH=path, SYSTEMD_LOG_LEVEL="emerg",
    )  # fmt: skip
    started = set(re.findall(r"-> Job \d+:\n\s+Action: (\S+) -> start", dump))
    for place, outcome in case.data["outcomes"].items():
        if place.endswith("starts_at_boot") and outcome != "unknown":
            name = "kubelet.service" if place.startswith("kubelet") else "containerd.service"
            if bool({name, "other.service"} & started) != (outcome == "pass"):
                return f"{name}: {outcome} expected, systemd starts {sorted(started)}"
    return ""


def default_of(word: str) -> str:
    return word.partition("=")[2] if word.startswith("systemd.unit=") else _systemd_at_boot.RUNLEVELS.get(word, "")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("cache", nargs="?")
    parser.add_argument("--trees", type=int, default=TREES)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not os.access(SYSTEMD, os.X_OK):
        print(f"{SYSTEMD} not found")
        return SKIP
    seeds = range(options.seed * 1_000_000, options.seed * 1_000_000 + options.trees)

    def judge(seed: int) -> Compared:
        return compare(tree_of(random.Random(seed)), full=bool(seed % 2))  # noqa: S311 - no secret

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(judge, seeds))
    bad = [(seed, one) for seed, one in zip(seeds, found) if one.different]
    for seed, one in itertools.islice(bad, 3):
        files = reduced(tree_of(random.Random(seed)), full=bool(seed % 2))  # noqa: S311 - no secret
        print(f"tree {seed}: {'; '.join(one.different)}\nsmallest set of files:")
        for path, content in files.items():
            print(f"  {path}: {content!r}")
        print("  " + "\n  ".join(compare(files, full=bool(seed % 2)).different))
    unknown, asked = sum(one.unknown for one in found), sum(one.asked for one in found)
    started = sum(one.started for one in found)
    print(f"{len(found)} trees, {len(bad)} differ; {started} starts; {unknown} of {asked} answers are unknown")
    cases = list(hand_made())
    wrong = [case for case in cases if not case.endswith(": ")]
    print("\n".join(wrong) or f"systemd agrees on {len(cases)} written trees")
    return 1 if wrong or bad or unknown > MAX_UNKNOWN * asked else 0


if __name__ == "__main__":
    sys.exit(main())
