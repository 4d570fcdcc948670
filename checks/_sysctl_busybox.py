"""Files of sysctl.d as `sysctl -p` of busybox reads them.

It supports neither a leading `-` nor wildcards. It joins a line that ends with a backslash to the next, and treats `.`
and `/` as equal. It stops at the first write that the kernel refuses, and ignores the rest of the file.
"""

from __future__ import annotations

import re

from nodespec.checks import _sysctl_values
from nodespec.checks._sysctl_names import SWAP_SEPARATORS
from nodespec.checks._sysctl_values import SysctlAssignment
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence

if TYPE_CHECKING:
    from typing import Iterable, Iterator, Tuple

ROOT, BLANKS = "/proc/sys/", " \t\n\v\f\r"


def parse_busybox_sysctl(path: str, text: str) -> Iterator[SysctlAssignment]:
    """Parse the assignments of a file; skip names that cannot exist."""
    for number, line in _join_busybox_lines(text):
        name, equals, value = line.partition("=")
        name, value = name.strip(BLANKS), value.strip(BLANKS)
        below = name.removeprefix(ROOT)
        if equals and value and re.match("[a-z]", below) and not set("*?[") & set(below):
            yield SysctlAssignment(below.replace(".", "/"), value, Evidence(path, number))


def _join_busybox_lines(text: str) -> Iterator[Tuple[int, str]]:
    joined = ""
    lines = [line.partition("\0")[0] for line in text.split("\n")]  # C's end of a text
    for number, line in enumerate(lines, 1):
        if line.endswith("\\"):
            joined += line[:-1]
            if number < len(lines):
                continue
            line = ""  # noqa: PLW2901 - a backslash ends the file
        full_line = (joined + line).lstrip(BLANKS)
        joined = ""
        if full_line and full_line[0] not in "#;":
            yield number, full_line


def drop_after_refusal(assignments: Iterable[SysctlAssignment]) -> Iterator[SysctlAssignment]:
    """Drop the assignments of a file after a refused write.

    If it is not known whether a write is refused, the rest of the file is marked as not sure.
    """
    ended = doubtful = ""
    for assignment in assignments:
        if assignment.at.source == ended or assignment.value is None:
            continue
        yield assignment._replace(sure=assignment.at.source != doubtful)
        key = assignment.path.translate(SWAP_SEPARATORS)
        written = _sysctl_values.simulate_write(key, assignment.value, _sysctl_values.DEFAULTS.get(key))
        ended = assignment.at.source if written.value is None else ended
        doubtful = assignment.at.source if written.doubt else doubtful
