"""Kernel parameters as the next boot sets them: the files of sysctl.d, read as their reader reads them.

systemd-sysctl reads sysctl.d alone, and of a parameter only the last assignment: an earlier one is never written. What
other init systems run, `sysctl --system` of procps or of busybox, writes one line after the other, and /etc/sysctl.conf
last. Each was compared with the programs themselves in a network namespace.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from os.path import basename
from typing import Dict, Iterable, Iterator, List, Mapping, Optional, Tuple, Union

from nodespec.checks import _init_system, _sysctl_values
from nodespec.checks import _services_at_boot as _boot_services
from nodespec.checks import _systemd_units as _units
from nodespec.checks.sysctl import SWAP
from nodespec.host.tree import Tree
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

FOLDERS, FILE = _units.folders("sysctl.d"), "/etc/sysctl.conf"
SYSTEMD, PROCPS, BUSYBOX = "systemd", "procps", "busybox"
BLANKS = {SYSTEMD: " \t\r", PROCPS: " \t\r\v\f", BUSYBOX: " \t\r\v\f"}


class Assignment(NamedTuple):
    """A line of a file. `path` is below /proc/sys, perhaps with wildcards; without a value it is exempt from these."""

    path: str
    value: Optional[str]
    at: Evidence


class Refused(NamedTuple):
    """An assignment that the kernel refuses."""

    key: str
    value: str
    at: Evidence


class Assigned(NamedTuple):
    """What the files assign, in the order in which it is written to the kernel; and all paths that are named."""

    order: Tuple[Assignment, ...]
    paths: Mapping[str, Assignment]

    def look(self, key: str) -> Union[Value[str], Unknown, None]:
        """What a parameter is left with; nothing where none is set. A name counts more than any wildcard."""
        return self._follow(key)[0]

    def refused(self, key: str) -> Optional[Unknown]:
        """Why it is not known what a parameter holds of which every assignment is refused."""
        refused = self._follow(key)[1]
        if not refused:
            return None
        say = f"{refused.at}: the kernel refuses `{refused.value[:80]}` for {key}, which keeps what it held before"
        return Unknown("malformed", say, "write a value that the kernel accepts")

    def named(self) -> Iterator[str]:
        """The parameters that are assigned by name."""
        return (one.path.translate(SWAP) for one in self.order if one.value is not None)

    def _follow(self, key: str) -> Tuple[Union[Value[str], Unknown, None], Optional[Refused]]:
        path = key.translate(SWAP)
        names, general, before = (FORWARDING if path in FORWARDING else (path,)), GENERAL.get(path, ()), "0"
        seen: Union[Value[str], Unknown, None] = None
        refused: Optional[Refused] = None
        for one in self.order:
            own = self._sets(one, names)
            if one.value is None or not (own or self._sets(one, general)):
                continue
            held = seen.value if isinstance(seen, Value) else _sysctl_values.DEFAULTS.get(key) if seen is None else None
            written = _sysctl_values.written(key, one.value, held)
            if written.value is None:
                refused = Refused(key, one.value, one.at)
            elif own or written.value != before:
                seen = observed(written, one.at if own else one.at._replace(inferred=True))
            before = before if own or written.value is None else written.value
        return seen, refused

    def _sets(self, one: Assignment, names: Tuple[str, ...]) -> bool:
        return any(one.path == name or (name not in self.paths and _fits(name, one.path)) for name in names)


def observed(written: _sysctl_values.Written, at: Evidence) -> Union[Value[str], Unknown]:
    """What a parameter is seen to hold after a write that was not refused."""
    if written.doubt and not written.others:
        return Unknown("unsupported", f"{at}: {written.doubt}")
    return Value(written.value or "", at, written.others)


# One and the same value; what is new there goes on to interfaces that are yet to come, and systemd writes nothing else
FORWARDING = ("net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding")
GENERAL = {
    "net/ipv4/conf/default/forwarding": FORWARDING,
    "net/ipv6/conf/default/forwarding": ("net/ipv6/conf/all/forwarding",),
}


def _fits(path: str, pattern: str) -> bool:
    """Whether a pattern matches, as in a shell: a wildcard stands for nothing beyond a slash."""
    if not set("*?[") & set(pattern):
        return False
    names, patterns = path.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatchcase, names, patterns))


def assigned(tree: Tree) -> Observation[Assigned]:
    """All assignments of the files that count."""
    return tree.once(_assigned)


def _assigned(tree: Tree) -> Observation[Assigned]:
    paths, reader = _paths(tree), reader_of(tree)
    if not isinstance(paths, Value):
        return paths
    found: List[Assignment] = []
    for path in paths.value:
        text = _units.said(tree, path)
        if not isinstance(text, Value):
            return text
        found += parse(path, text.value, reader)
    return Value(ordered(found, reader), paths.evidence)


def ordered(assignments: Iterable[Assignment], reader: str) -> Assigned:
    """What is written to the kernel. systemd writes each path once, in the place of its last value."""
    found: Dict[str, Assignment] = {}
    every = tuple(assignments)
    for one in every:
        if one.path in found and found[one.path].value != one.value:
            del found[one.path]
        found[one.path] = one
    return Assigned(tuple(found.values()) if reader == SYSTEMD else every, found)


def reader_of(tree: Tree) -> str:
    """The program that reads the files."""
    system = _init_system.init(tree)
    if isinstance(system, Value) and system.value == "systemd":
        return SYSTEMD
    program = tree.program("sysctl")
    target = tree.link(program.value) if isinstance(program, Value) else program
    return BUSYBOX if isinstance(target, Value) and basename(target.value) == "busybox" else PROCPS


def _paths(tree: Tree) -> Observation[Tuple[str, ...]]:
    """The files that count, in the order in which they are read: which those are is for the init system to say."""
    reads, files = _boot_services.reads(tree, "sysctl"), _units.merged(tree, FOLDERS)
    if isinstance(reads, Absent):
        return _boot_services.no_init("read sysctl.d")
    if not isinstance(reads, Value) or not isinstance(files, Value):
        return files if isinstance(reads, Value) else reads
    if not reads.value:
        return Value((), reads.evidence)
    system = _init_system.init(tree)
    ours = isinstance(system, Value) and system.value == "systemd"
    return files if ours else Value((*files.value, FILE), files.evidence)


def parse(path: str, text: str, reader: str) -> Iterator[Assignment]:
    """The assignments of a file: `net.ipv4.ip_forward = 1`. A comment begins with # or ; at the beginning of a line.

    `-` in front means that it may fail, and without a `=` that wildcards leave the parameter as it is. busybox knows
    neither that nor wildcards, and joins a line that ends with a backslash to the next.
    """
    for number, line in _lines(text, reader):
        name, equals, value = line.partition("=")
        dash = line[0] == "-" and reader != BUSYBOX
        if not equals and not dash:
            continue
        name = name[dash:].strip(BLANKS[reader]) if reader != PROCPS else name[dash:].rstrip(BLANKS[reader])
        if reader != BUSYBOX or not set("*?[") & set(name):
            yield Assignment(
                _path(name, reader), value.strip(BLANKS[reader]) if equals else None, Evidence(path, number)
            )


def _lines(text: str, reader: str) -> Iterator[Tuple[int, str]]:
    lines = text.split("\n")
    joined = ""
    for number, line in enumerate(lines, 1):
        if reader == BUSYBOX and line.endswith("\\"):
            joined += line[:-1]
            continue
        whole = (joined + line).strip(BLANKS[reader])
        joined = ""
        if whole and whole[0] not in "#;":
            yield number, whole


def _path(name: str, reader: str) -> str:
    """A name as a path below /proc/sys: the first separator decides, and to busybox both are one."""
    if reader == BUSYBOX:
        return name.replace(".", "/").replace("/proc/sys/", "", 1)
    path = name if re.match(r"[^./]*/", name) else name.translate(SWAP)
    return "/".join(filter(None, path.split("/")))
