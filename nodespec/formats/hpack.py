"""HPACK, the header compression of HTTP/2 (RFC 7541), without a dynamic table.

The peer must have been asked to keep no table of headers that were sent before.
"""

from __future__ import annotations

from functools import lru_cache

from nodespec.formats.protobuf import decode_text, decode_varint, take_bytes
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Dict, Iterator, Tuple

STATIC_ENTRIES = (
    61  # Entries of the static table. The `:status` entries begin at index 8; an answer of gRPC needs no other.
)
STATUSES = ("200", "204", "206", "304", "400", "404", "500")


def encode_literal(name: str, value: str) -> bytes:
    """Encode a header as a literal; name and value must be shorter than 127 bytes."""
    return b"\0" + b"".join(bytes((len(text),)) + text.encode() for text in (name, value))


def decode_headers(block: bytes) -> Iterator[Tuple[str, str]]:
    """Yield the headers of a block.

    The name is empty for an entry of the static table other than `:status`. Raises ValueError if the block is malformed
    or refers to headers that were sent before.
    """
    at = 0
    while at < len(block):
        first = block[at]
        if first & 0x80:
            index, at = _decode_integer(block, at, 7)
            yield _look_up_header(index)
        elif first & 0xE0 == 0x20:  # noqa: PLR2004 - an update of the table size, which is 0
            _, at = _decode_integer(block, at, 5)
        else:
            index, at = _decode_integer(block, at, 6 if first & 0x40 else 4)
            name, at = (_look_up_header(index)[0], at) if index else _decode_string(block, at)
            value, at = _decode_string(block, at)
            yield name, value


def _look_up_header(index: int) -> Tuple[str, str]:
    if not 0 < index <= STATIC_ENTRIES:
        raise ValueError(f"header {index} is not one of the {STATIC_ENTRIES} static headers")
    return (":status", STATUSES[index - 8]) if 8 <= index < 8 + len(STATUSES) else ("", "")  # noqa: PLR2004


def _decode_integer(block: bytes, at: int, bits: int) -> Tuple[int, int]:
    """Decode a number in the last bits of a byte.

    If these bits are all ones, the following bytes continue the number (RFC 7541, section 5.1).
    """
    most = (1 << bits) - 1
    value = take_bytes(block, at, 1)[0] & most
    if value < most:
        return value, at + 1
    more, at = decode_varint(block, at + 1)
    return value + more, at


def _decode_string(block: bytes, at: int) -> Tuple[str, int]:
    packed = take_bytes(block, at, 1)[0] & 0x80
    size, at = _decode_integer(block, at, 7)
    data = take_bytes(block, at, size)
    return decode_text(_decode_huffman(data) if packed else data), at + size


# The length in bits of the Huffman code of each byte, and of the end marker: digits are 5 to 9, a is 10, u is 30. The
# code is canonical: codes count up by length, and within a length by byte.
CODE_LENGTHS = (
    "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6cad67777777777777777777777878djde6f565"
    "65666577666567655677777fbedskmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmnqqkjmnmp"
    "qqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrqu"
)
END_SYMBOL = 256


@lru_cache(maxsize=1)
def _make_huffman_codes() -> Dict[Tuple[int, int], int]:
    """Return each byte by the length and the value of its code."""
    codes, code, before = {}, 0, 0
    for bits, byte in sorted((int(bits, 36), byte) for byte, bits in enumerate(CODE_LENGTHS)):
        code <<= bits - before
        codes[bits, code] = byte
        code, before = code + 1, bits
    return codes


def _decode_huffman(data: bytes) -> bytes:
    codes = _make_huffman_codes()
    found, bits, code = bytearray(), 0, 0
    for byte in data:
        for shift in range(7, -1, -1):
            bits, code = bits + 1, code << 1 | (byte >> shift & 1)
            symbol = codes.get((bits, code))
            if symbol == END_SYMBOL:
                raise ValueError("a Huffman code contains the end symbol")
            if symbol is not None:
                found.append(symbol)
                bits, code = 0, 0
    if bits > 7 or code != (1 << bits) - 1:  # noqa: PLR2004 - the padding is shorter than a byte, and begins the code of the end marker
        raise ValueError("a truncated Huffman code")
    return bytes(found)
