"""Kernel parameters that the next boot sets: sysctl.d, by the rules of its reader.

systemd-sysctl reads sysctl.d only, and writes only the last assignment of a parameter. Other init systems run `sysctl
--system` of procps or busybox, which writes line by line, and /etc/sysctl.conf last. Each reader was compared with the
program itself in a network namespace.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from os.path import basename

from nodespec.checks import _init_system, _services_at_boot, _sysctl_values, _systemd_units
from nodespec.checks._sysctl_names import SWAP_SEPARATORS
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Iterable, Iterator, List, Mapping, Optional, Tuple, Union

FOLDERS, FILE = _systemd_units.list_search_folders("sysctl.d"), "/etc/sysctl.conf"
SYSTEMD, PROCPS, BUSYBOX = "systemd", "procps", "busybox"
BLANKS = {SYSTEMD: " \t\r", PROCPS: " \t\r\v\f"}


class RefusedAssignment(NamedTuple):
    """An assignment that the kernel refuses."""

    key: str
    value: str
    at: Evidence


class BootAssignments(NamedTuple):
    """Assignments of the files in the order of writing, and the last by path."""

    order: Tuple[_sysctl_values.SysctlAssignment, ...]
    paths: Mapping[str, _sysctl_values.SysctlAssignment]

    def observe(self, key: str) -> Union[Value[str], Unknown, None]:
        """Return the final value of a parameter; None if no assignment sets it.

        A name takes precedence over any wildcard.
        """
        seen = self._follow(key)[0]
        return self._check_port_range(seen) if key == PORT_RANGE and isinstance(seen, Value) else seen

    def _check_port_range(self, ports: Value[str]) -> Union[Value[str], Unknown]:
        """Return a port range; unknown if it may start below the unprivileged ports.

        The kernel refuses such a range.
        """
        start = self._follow(PORT_START)[0]
        if start is None or (isinstance(start, Value) and int(start.value) <= int(ports.value.split()[0])):
            return ports
        return Unknown("unsupported", f"{ports.evidence}: whether it begins below {PORT_START} is not known")

    def explain_refusal(self, key: str) -> Optional[Unknown]:
        """Return why a parameter is unknown if every assignment to it is refused."""
        refused = self._follow(key)[1]
        if not refused:
            return None
        message = f"{refused.at}: the kernel refuses `{refused.value[:80]}` for {key}, which keeps its previous value"
        return Unknown("malformed", message, "write a value that the kernel accepts")

    def list_names(self) -> Iterator[str]:
        """Yield the parameters that are assigned by name."""
        return (assignment.path.translate(SWAP_SEPARATORS) for assignment in self.order if assignment.value is not None)

    def _follow(self, key: str) -> Tuple[Union[Value[str], Unknown, None], Optional[RefusedAssignment]]:
        path = key.translate(SWAP_SEPARATORS)
        names, general, before = (FORWARDING if path in FORWARDING else (path,)), GENERAL.get(path, ()), "0"
        seen: Union[Value[str], Unknown, None] = None
        refused: Optional[RefusedAssignment] = None
        for assignment in self.order:
            by_name = self._sets(assignment, names)
            if assignment.value is None or not (by_name or self._sets(assignment, general)):
                continue
            held = seen.value if isinstance(seen, Value) else _sysctl_values.DEFAULTS.get(key) if seen is None else None
            written = _sysctl_values.simulate_write(key, assignment.value, held)
            if not assignment.sure:
                seen = Unknown(
                    "unsupported",
                    f"{assignment.at}: whether this line is read is not known, because an earlier write may fail",
                )
            elif written.value is None:
                refused = RefusedAssignment(key, assignment.value, assignment.at)
            elif by_name or written.value != before:
                seen = observe_write(written, assignment.at if by_name else assignment.at._replace(inferred=True))
            before = before if by_name or written.value is None else written.value
        return seen, refused

    def _sets(self, assignment: _sysctl_values.SysctlAssignment, names: Tuple[str, ...]) -> bool:
        return any(
            assignment.path == name or (name not in self.paths and _matches_path(name, assignment.path))
            for name in names
        )


def observe_write(written: _sysctl_values.WriteResult, at: Evidence) -> Union[Value[str], Unknown]:
    """Return the value of a parameter after a write that was not refused."""
    if written.doubt and not written.others:
        return Unknown("unsupported", f"{at}: {written.doubt}")
    return Value(written.value or "", at, written.others)


PORT_RANGE, PORT_START = "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start"
# Both names are the same parameter. A new value also changes the `default` of interfaces that are created later.
# systemd writes only a value that differs.
FORWARDING = ("net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding")
GENERAL = {
    "net/ipv4/conf/default/forwarding": FORWARDING,
    "net/ipv6/conf/default/forwarding": ("net/ipv6/conf/all/forwarding",),
}


def _matches_path(path: str, pattern: str) -> bool:
    """Return whether a pattern matches; a wildcard never matches a slash."""
    if not set("*?[") & set(pattern):
        return False
    names, patterns = path.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatchcase, names, patterns))


def read_sysctl_files(tree: Tree) -> Observation[BootAssignments]:
    """Return all assignments of the files in force."""
    return tree.once(_read_sysctl_files)


def _read_sysctl_files(tree: Tree) -> Observation[BootAssignments]:
    paths, reader = _list_files_in_force(tree), detect_reader(tree)
    if not isinstance(paths, Value):
        return paths
    assignments: List[_sysctl_values.SysctlAssignment] = []
    for path in paths.value:
        text = _systemd_units.read_optional_text(tree, path)
        if not isinstance(text, Value):
            return text
        assignments += parse_sysctl(path, text.value, reader)
    return Value(order_assignments(assignments, reader), paths.evidence)


def may_contain_word(tree: Tree, word: str) -> bool:
    """Return whether a file that an init system may apply contains a word.

    True if a file cannot be read.
    """
    files = _systemd_units.merge_folders(tree, FOLDERS)
    if isinstance(files, Unknown):
        return True
    texts = (
        _systemd_units.read_optional_text(tree, path)
        for path in (*(files.value if isinstance(files, Value) else ()), FILE)
    )
    return any(isinstance(text, Unknown) or (isinstance(text, Value) and word in text.value) for text in texts)


def order_assignments(assignments: Iterable[_sysctl_values.SysctlAssignment], reader: str) -> BootAssignments:
    """Return what is written to the kernel.

    systemd writes each path once, at the position of its last value.
    """
    last_by_path: Dict[str, _sysctl_values.SysctlAssignment] = {}
    if reader == BUSYBOX:
        from nodespec.checks import _sysctl_busybox  # noqa: PLC0415

        assignments = _sysctl_busybox.drop_after_refusal(assignments)
    every = tuple(assignments)
    for assignment in every:
        if assignment.path in last_by_path and last_by_path[assignment.path].value != assignment.value:
            del last_by_path[assignment.path]
        last_by_path[assignment.path] = assignment
    return BootAssignments(tuple(last_by_path.values()) if reader == SYSTEMD else every, last_by_path)


def detect_reader(tree: Tree) -> str:
    """Return the program that reads the files."""
    system = _init_system.detect_init_system(tree)
    if isinstance(system, Value) and system.value == "systemd":
        return SYSTEMD
    program = tree.program("sysctl")
    target = tree.link(program.value) if isinstance(program, Value) else program
    return BUSYBOX if isinstance(target, Value) and basename(target.value) == "busybox" else PROCPS


def _list_files_in_force(tree: Tree) -> Observation[Tuple[str, ...]]:
    """Return the files in force, in the order of reading, for the init system."""
    reads, files = _services_at_boot.is_applied_at_boot(tree, "sysctl"), _systemd_units.merge_folders(tree, FOLDERS)
    if isinstance(reads, Absent):
        return _services_at_boot.explain_no_init("read sysctl.d")
    if not isinstance(reads, Value) or not isinstance(files, Value):
        return files if isinstance(reads, Value) else reads
    if not reads.value:
        return Value((), reads.evidence)
    system = _init_system.detect_init_system(tree)
    ours = isinstance(system, Value) and system.value == "systemd"
    return files if ours else Value((*files.value, FILE), files.evidence)


def parse_sysctl(path: str, text: str, reader: str) -> Iterator[_sysctl_values.SysctlAssignment]:
    """Parse assignments of a file: `net.ipv4.ip_forward = 1`.

    A comment starts with # or ; at the beginning of a line. A leading `-` means that the write may fail. Without a `=`,
    it excludes the parameter from wildcards.
    """
    if reader == BUSYBOX:
        from nodespec.checks import _sysctl_busybox  # noqa: PLC0415

        yield from _sysctl_busybox.parse_busybox_sysctl(path, text)
        return
    blanks = BLANKS[reader]
    for number, line in _split_lines(text, reader):
        name, equals, value = line.partition("=")
        dash = line[0] == "-"
        if equals or dash:
            name = name[dash:].strip(blanks) if reader == SYSTEMD else name[dash:].rstrip(blanks)
            yield _sysctl_values.SysctlAssignment(
                _convert_name(name), value.strip(blanks) if equals else None, Evidence(path, number)
            )


def _split_lines(text: str, reader: str) -> Iterator[Tuple[int, str]]:
    """Yield the lines with content.

    For procps a NUL ends the text of a line.
    """
    lines = enumerate((line.partition("\0")[0] for line in text.split("\n")), 1)
    for number, line in _systemd_units.split_systemd_lines(text) if reader == SYSTEMD else lines:
        whole = line.strip(BLANKS[reader])
        if whole and whole[0] not in "#;":
            yield number, whole


def _convert_name(name: str) -> str:
    """Convert a name to a path below /proc/sys: the first separator decides."""
    path = name if re.match(r"[^./]*/", name) else name.translate(SWAP_SEPARATORS)
    return "/".join(filter(None, path.split("/")))
