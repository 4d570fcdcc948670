"""Syntax of unit files: sections, assignments, lists of words, booleans."""

from __future__ import annotations

import re

from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Iterator, List, Tuple


class UnitLine(NamedTuple):
    """A line of a unit file or drop-in."""

    section: str
    name: str
    value: str
    at: Evidence


def parse_unit_file(text: str, path: str) -> Iterator[UnitLine]:
    r"""Parse sections and assignments; ValueError for a malformed section.

    Example: `[Unit]\nWants=a.service \\n b.service`.
    """
    section = ""
    for number, line in join_unit_lines(text):
        if line.startswith("["):
            if not line.endswith("]"):
                raise ValueError(f"{path}:{number}: `{line[:80]}` is not a section")
            section = line[1:-1]
        elif section and "=" in line:
            name, _, value = line.partition("=")
            yield UnitLine(section, name.strip(), value.strip(), Evidence(path, number))


def join_unit_lines(text: str) -> Iterator[Tuple[int, str]]:
    """Yield lines joined at backslashes, by number of the first line.

    Comments may be between the parts.
    """
    parts: List[str] = []
    start = 0
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text.lstrip("\ufeff")), 1):
        if line.lstrip()[:1] in ("#", ";"):
            continue
        start = start if parts else number
        continued = len(line) - len(line.rstrip("\\")) & 1
        parts.append(f"{line[:-1]} " if continued else line)
        if not continued:
            yield from _strip_joined(start, parts)
            parts = []
    yield from _strip_joined(start, parts)


def _strip_joined(start: int, parts: List[str]) -> Iterator[Tuple[int, str]]:
    line = "".join(parts).strip()
    yield from [(start, line)] if line else []


def split_list(value: str) -> Iterator[str]:
    """Split a list into words without quotes: `a.service "b.service"`."""
    for match in re.finditer(r'"([^"]*)"|\'([^\']*)\'|(\S+)', value):
        yield match[1] or match[2] or match[3] or ""


def is_no(value: str) -> bool:
    """Return whether systemd reads a value as false."""
    return value.lower() in ("0", "no", "n", "false", "f", "off")


def is_yes(value: str) -> bool:
    """Return whether systemd reads a value as true."""
    return value.lower() in ("1", "yes", "y", "true", "t", "on")


def list_setting_values(readings: List[UnitLine], section: str, name: str) -> List[str]:
    """Return the values of a list setting, which an empty value resets."""
    values: List[str] = []
    for reading in readings:
        if (reading.section, reading.name) == (section, name):
            values = [*values, reading.value] if reading.value else []
    return values
