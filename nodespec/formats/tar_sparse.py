"""Sparse members of a tar archive: the map of the data between the holes.

GNU tar has written the map in four formats. https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html
"""

from __future__ import annotations

from nodespec.formats.byte_source import ByteSource
from nodespec.formats.tar_header import BLOCK, decode_decimal, decode_octal
from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import List, Mapping, Optional, Tuple, TypeAlias

MAX_SEGMENTS = 10_000  # Segments of one member.
MAX_READABLE_BYTES = 64 << 20  # Bytes of a member whose map is kept.
MAP = b"GNU.sparse.map"

Segments: TypeAlias = "Tuple[Tuple[int, int], ...]"  # Offset and length of each part that is not a hole, in order.


class Holes(NamedTuple):
    """A sparse file: its size, the numbers of its map, and the range of its data."""

    size: int
    numbers: List[int]
    data: int
    end: int


def read_old_format(source: ByteSource, data: int, block: bytes, stored: int) -> Holes:
    """Read GNU's first format: the map in the header, and in blocks before the data."""
    numbers, more, size = _decode_pairs(block[386:482]), block[482], decode_octal(block[483:495])
    while more:
        block, data = source.read(data, BLOCK), data + BLOCK
        more = block[504]
        if len(numbers) <= 2 * MAX_SEGMENTS:
            numbers += _decode_pairs(block[:504])
    return Holes(size, numbers, data, data + stored)


def _decode_pairs(fields: bytes) -> List[int]:
    pairs = [fields[at : at + 24] for at in range(0, len(fields), 24)]
    return [decode_octal(half) for pair in pairs if pair.strip(b"\0") for half in (pair[:12], pair[12:])]


def read_pax_format(source: ByteSource, data: int, records: Mapping[bytes, bytes], stored: int) -> Holes:
    """Read GNU's formats in pax archives.

    The map is in the records, or (1.0) in lines of decimal numbers before the data.
    """
    end, size = data + stored, decode_decimal(records.get(b"GNU.sparse.realsize") or records[b"GNU.sparse.size"])
    if records.get(b"GNU.sparse.major") != b"1":
        return Holes(size, [decode_decimal(text) for text in records[MAP].split(b",")], data, end)
    numbers: List[int] = []
    wanted, rest = 1, b""
    while len(numbers) < wanted <= 2 * MAX_SEGMENTS + 1 and data < end and len(rest) < BLOCK:
        block, data = source.read(data, BLOCK), data + BLOCK
        if not block:
            raise ValueError("truncated map of a sparse file")
        *lines, rest = (rest + block).split(b"\n")
        numbers += [decode_decimal(line) for line in lines]
        wanted = 1 + 2 * numbers[0] if numbers else 1
    return Holes(size, numbers[1:], data, end)


def make_segments(holes: Holes) -> Optional[Segments]:
    """Return the map, or None if it is not valid or too large."""
    found = tuple(zip(holes.numbers[::2], holes.numbers[1::2]))
    at = 0
    for offset, length in found:
        if offset < at:
            return None
        at = offset + length
    stored = sum(length for _, length in found)
    if (
        len(found) > MAX_SEGMENTS
        or at > holes.size
        or holes.size > MAX_READABLE_BYTES
        or stored != holes.end - holes.data
    ):
        return None
    return found
