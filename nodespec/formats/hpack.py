"""HPACK, the header compression of HTTP/2, for a peer that was told to keep no table of headers sent before."""

from __future__ import annotations

from functools import lru_cache
from typing import Dict, Iterator, Tuple

from nodespec.formats.protobuf import cut, text, varint

KNOWN = 61  # headers in the table that everybody has; an answer of gRPC turns on these alone, from the eighth
STATUSES = ("200", "204", "206", "304", "400", "404", "500")


def literal(name: str, value: str) -> bytes:
    """A header as it is, with fewer than 127 bytes each."""
    return b"\0" + b"".join(bytes((len(said),)) + said.encode() for said in (name, value))


def headers(block: bytes) -> Iterator[Tuple[str, str]]:
    """The headers of a block; the name is empty where it is a known one other than `:status`.

    ValueError where the block is malformed or speaks of headers sent before.
    """
    at = 0
    while at < len(block):
        first = block[at]
        if first & 0x80:
            index, at = _integer(block, at, 7)
            yield _known(index)
        elif first & 0xE0 == 0x20:  # noqa: PLR2004 - the size of the table, which is none
            _, at = _integer(block, at, 5)
        else:
            index, at = _integer(block, at, 6 if first & 0x40 else 4)
            name, at = (_known(index)[0], at) if index else _string(block, at)
            value, at = _string(block, at)
            yield name, value


def _known(index: int) -> Tuple[str, str]:
    if not 0 < index <= KNOWN:
        raise ValueError(f"header {index} of {KNOWN} known ones")
    return (":status", STATUSES[index - 8]) if 8 <= index < 8 + len(STATUSES) else ("", "")  # noqa: PLR2004


def _integer(block: bytes, at: int, bits: int) -> Tuple[int, int]:
    """A number in the last bits of a byte, which go on in the bytes after it where they are all ones."""
    most = (1 << bits) - 1
    value = cut(block, at, 1)[0] & most
    if value < most:
        return value, at + 1
    more, at = varint(block, at + 1)
    return value + more, at


def _string(block: bytes, at: int) -> Tuple[str, int]:
    packed = cut(block, at, 1)[0] & 0x80
    size, at = _integer(block, at, 7)
    data = cut(block, at, size)
    return text(_unpacked(data) if packed else data), at + size


# How many bits the Huffman code of each byte has, and last that of the end: 5 to 9, and a for 10 to u for 30. The code
# is canonical: counted up from what has the fewest bits, and among as many in the order of the bytes.
LENGTHS = (
    "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6cad67777777777777777777777878djde6f565"
    "65666577666567655677777fbedskmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmnqqkjmnmp"
    "qqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrqu"
)
END = 256


@lru_cache(maxsize=1)
def _codes() -> Dict[Tuple[int, int], int]:
    """Each byte by the number of its bits and the number that they are."""
    codes, code, before = {}, 0, 0
    for bits, byte in sorted((int(bits, 36), byte) for byte, bits in enumerate(LENGTHS)):
        code <<= bits - before
        codes[bits, code] = byte
        code, before = code + 1, bits
    return codes


def _unpacked(data: bytes) -> bytes:
    codes = _codes()
    found, bits, code = bytearray(), 0, 0
    for byte in data:
        for shift in range(7, -1, -1):
            bits, code = bits + 1, code << 1 | (byte >> shift & 1)
            symbol = codes.get((bits, code))
            if symbol == END:
                raise ValueError("a Huffman code with its end inside")
            if symbol is not None:
                found.append(symbol)
                bits, code = 0, 0
    if bits > 7 or code != (1 << bits) - 1:  # noqa: PLR2004 - less than a byte is left, as the end's code begins
        raise ValueError("a Huffman code cut short")
    return bytes(found)
