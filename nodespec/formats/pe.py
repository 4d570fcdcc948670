"""Sections of a PE image, the format of UEFI programs.

A unified kernel image has .linux, .cmdline, .uname and .osrel. Raises ValueError for other files.
https://learn.microsoft.com/windows/win32/debug/pe-format
"""

from __future__ import annotations

import struct

from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import List

MAX_SECTIONS = 96  # The limit of the loader of Windows.
SECTION_ROW = struct.Struct("<8sIIII16x")  # 40 bytes: name, size in memory, address, size in the file, offset.
HEADER_BYTES = 20  # Bytes between the signature and the optional header.


class Section(NamedTuple):
    """A named part of the file. `size` excludes padding."""

    name: str
    offset: int
    size: int


def parse_sections(head: bytes) -> List[Section]:
    """Parse the sections from the first bytes of a file, in the order of the file."""
    if head[:2] != b"MZ" or len(head) < 64:  # noqa: PLR2004 - the DOS header, which has the offset of the next header
        raise ValueError("is not a PE image")
    (start,) = struct.unpack_from("<I", head, 0x3C)
    if head[start : start + 4] != b"PE\0\0" or len(head) < start + 4 + HEADER_BYTES:
        raise ValueError("is not a PE image")
    (count,) = struct.unpack_from("<H", head, start + 6)
    (optional,) = struct.unpack_from("<H", head, start + 20)
    table = start + 4 + HEADER_BYTES + optional
    if count > MAX_SECTIONS:
        raise ValueError(f"has more than {MAX_SECTIONS} sections")
    if table + count * SECTION_ROW.size > len(head):
        raise ValueError("has a truncated section table")
    return [_parse_section(head, table + at * SECTION_ROW.size) for at in range(count)]


def _parse_section(head: bytes, at: int) -> Section:
    name, virtual, _, raw, offset = SECTION_ROW.unpack_from(head, at)
    return Section(name.rstrip(b"\0").decode("ascii", "backslashreplace"), offset, min(virtual or raw, raw))
