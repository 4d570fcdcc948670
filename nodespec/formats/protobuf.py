"""Decode protobuf messages without their schema: fields by number.

Raises ValueError for malformed data. https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Dict, List, Tuple, Union


class Message:
    """The fields of a message; a missing field is 0 or empty, as in protobuf."""

    def __init__(self, data: bytes) -> None:
        self._fields: Dict[int, List[Union[int, bytes]]] = {}
        at = 0
        while at < len(data):
            key, at = decode_varint(data, at)
            value, at = _decode_value(key & 7, data, at)
            self._fields.setdefault(key >> 3, []).append(value)

    def number(self, field: int) -> int:
        """Return a number, flag or enumeration; the last value counts."""
        numbers = [value for value in self._fields.get(field, ()) if isinstance(value, int)]
        return numbers[-1] if numbers else 0

    def text(self, field: int) -> str:
        """Return a text; the last value counts."""
        return decode_text([b"", *self._bytes(field)][-1])

    def parts(self, field: int) -> Tuple[Message, ...]:
        """Return the messages of a repeated field."""
        return tuple(map(Message, self._bytes(field)))

    def part(self, field: int) -> Message:
        """Return the message of a field; its pieces are merged."""
        return Message(b"".join(self._bytes(field)))

    def has(self, field: int) -> bool:
        """Return whether the field was sent."""
        return field in self._fields

    def _bytes(self, field: int) -> List[bytes]:
        return [value for value in self._fields.get(field, ()) if isinstance(value, bytes)]


def _decode_value(wire: int, data: bytes, at: int) -> Tuple[Union[int, bytes], int]:
    if wire == 0:
        return decode_varint(data, at)
    size = {1: 8, 5: 4}.get(wire)
    if wire == 2:  # noqa: PLR2004 - length-delimited
        size, at = decode_varint(data, at)
    if size is None:
        raise ValueError(f"unknown wire type {wire}")
    return take_bytes(data, at, size), at + size


def decode_varint(data: bytes, at: int) -> Tuple[int, int]:
    """Decode a number in groups of seven bits, lowest first; also return its end."""
    value = 0
    for shift in range(0, 70, 7):
        byte = take_bytes(data, at, 1)[0]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the last group
            return value, at
    raise ValueError("a number of more than ten bytes")


def take_bytes(data: bytes, at: int, size: int) -> bytes:
    """Return `size` bytes from an offset. Raises ValueError if there are fewer."""
    if at + size > len(data):
        raise ValueError("truncated message")
    return data[at : at + size]


def decode_text(data: bytes) -> str:
    """Decode UTF-8; other bytes become hexadecimal escapes."""
    return data.decode("utf-8", "backslashreplace")
