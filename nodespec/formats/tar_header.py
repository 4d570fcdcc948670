"""Decode tar headers: numbers, texts, records; ValueError for malformed data."""

from __future__ import annotations

import re

from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Iterator, Tuple

BLOCK = 512
ZEROS = bytes(BLOCK)
MAX_NUMBER = (1 << 63) - 1


def check_header(block: bytes) -> bytes:
    """Return the type of a member. Raises ValueError if the block is not a header."""
    if len(block) < BLOCK:
        raise ValueError("truncated header")
    if decode_octal(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * ord(" "):
        raise ValueError("not a header: the checksum is wrong")
    return block[156:157]


def decode_octal(field: bytes) -> int:
    """Decode octal digits between blanks and zeros.

    After a byte of 0x80, the other bytes are a number in base 256.
    """
    if field[0] == 0x80:  # noqa: PLR2004
        number = int.from_bytes(field[1:], "big")
    else:
        text = field.partition(b"\0")[0].strip() or b"0"
        if not text.isdigit():
            raise ValueError("a header has an invalid number")
        number = int(text, 8)
    return _check_bound(number)


def decode_decimal(text: bytes) -> int:
    """Decode a number of an extended header."""
    if not re.fullmatch(rb"\d{1,19}", text):
        raise ValueError("an extended header has an invalid number")
    return _check_bound(int(text))


def _check_bound(number: int) -> int:
    if number > MAX_NUMBER:
        raise ValueError("a header has a number that is too large")
    return number


def decode_text(field: bytes) -> bytes:
    """Return the bytes before the first zero."""
    return field.partition(b"\0")[0]


def split_records(data: bytes) -> Iterator[Tuple[bytes, bytes]]:
    """Yield records `LENGTH KEY=VALUE` with a newline; the length includes itself.

    Example of the input:

        30 mtime=1700000000.123456789
    """
    at, data = 0, data.rstrip(b"\0")
    while at < len(data):
        length = re.compile(rb"(\d{1,7}) ").match(data, at)
        record = data[length.end() : at + int(length[1])] if length else b""
        key, equals, value = record.partition(b"=")
        if not length or not equals or not record.endswith(b"\n"):
            raise ValueError("an extended header has an invalid record")
        yield key, value[:-1]
        at += int(length[1])
