"""Messages of D-Bus: encode method calls with string arguments, decode replies.

https://dbus.freedesktop.org/doc/dbus-specification.html#message-protocol
"""

from __future__ import annotations

import struct

from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Tuple, Union

    Basic = Union[str, int, bool]

METHOD_CALL, METHOD_RETURN, ERROR = 1, 2, 3
NO_AUTO_START = 2  # The bus must not start a service to deliver the message.
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SIGNATURE = 1, 2, 3, 4, 5, 6, 8
FIXED_HEADER_BYTES = 16
MAX_MESSAGE_BYTES = 1 << 17  # The specification allows 128 MiB; the replies read here have some hundred bytes.
ORDERS = {b"l": "<", b"B": ">"}
# Integer types by their code: the size, which is also the alignment, and the format of struct.
INTEGERS = {"y": (1, "B"), "n": (2, "h"), "q": (2, "H"), "i": (4, "i"), "u": (4, "I"), "x": (8, "q"), "t": (8, "Q")}


class DbusCall(NamedTuple):
    """A method call: object path, interface, method, and arguments, which are strings."""

    path: str
    interface: str
    member: str
    arguments: Tuple[str, ...] = ()
    destination: str = ""


class DbusReply(NamedTuple):
    """A received message. `error` is the name of an error, or empty; `order` is the byte order of the body."""

    kind: int
    serial: int
    error: str
    signature: str
    body: bytes
    order: str

    def read_value(self) -> Basic:
        """Return the first value of the body, also if it is in a variant.

        Raises ValueError for a type that is not a string or a number.
        """
        return _Reader(self.body, self.order).read(self.signature[:1])


def encode_call(call: DbusCall, serial: int) -> bytes:
    """Return the message of a method call, in little-endian byte order."""
    body = b""
    for argument in call.arguments:
        body = _pad(body, 4) + _encode_string(argument)
    signature = "s" * len(call.arguments)
    fields = b""
    for code, kind, value in (
        (PATH, "o", call.path),
        (INTERFACE, "s", call.interface),
        (MEMBER, "s", call.member),
        (DESTINATION, "s", call.destination),
        (SIGNATURE, "g", signature),
    ):
        if value:
            encoded = _encode_signature(value) if kind == "g" else _encode_string(value)
            fields = _pad(fields, 8) + bytes([code]) + _encode_signature(kind) + encoded
    head = struct.pack("<cBBBIII", b"l", METHOD_CALL, NO_AUTO_START, 1, len(body), serial, len(fields))
    return _pad(head + fields, 8) + body


def measure_message(head: bytes) -> int:
    """Return the length of a message from its first 16 bytes.

    Raises ValueError for another protocol or too long a message.
    """
    order = ORDERS.get(head[:1])
    if order is None or head[3] != 1:
        raise ValueError("is not a message of D-Bus")
    body, fields = struct.unpack(f"{order}I4xI", head[4:FIXED_HEADER_BYTES])
    length = _align(FIXED_HEADER_BYTES + fields, 8) + body
    if length > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {length} bytes is longer than {MAX_MESSAGE_BYTES}")
    return int(length)


def decode_message(data: bytes) -> DbusReply:
    """Decode one whole message. Raises ValueError."""
    if len(data) < FIXED_HEADER_BYTES or len(data) != measure_message(data):
        raise ValueError("a message of D-Bus is truncated")
    order = ORDERS[data[:1]]
    body = struct.unpack(f"{order}I", data[4:8])[0]
    fields = _decode_fields(data[: len(data) - body], order)
    serial = fields.get(REPLY_SERIAL, 0)
    return DbusReply(
        data[1],
        serial if isinstance(serial, int) else 0,
        str(fields.get(ERROR_NAME, "")),
        str(fields.get(SIGNATURE, "")),
        data[len(data) - body :],
        order,
    )


def _decode_fields(head: bytes, order: str) -> Dict[int, Basic]:
    end = FIXED_HEADER_BYTES + struct.unpack(f"{order}I", head[12:FIXED_HEADER_BYTES])[0]
    reader, fields = _Reader(head, order, FIXED_HEADER_BYTES), {}
    while reader.at < end:
        reader.align(8)
        code = int(reader.read("y"))
        fields[code] = reader.read("v")
    return fields


class _Reader:
    """Read values of a body one after the other."""

    def __init__(self, data: bytes, order: str, at: int = 0) -> None:
        self.data, self.order, self.at = data, order, at

    def align(self, size: int) -> None:
        self.at = _align(self.at, size)

    def take(self, size: int) -> bytes:
        piece = self.data[self.at : self.at + size]
        if len(piece) != size:
            raise ValueError("a value of D-Bus is truncated")
        self.at += size
        return piece

    def read(self, kind: str) -> Basic:
        """Return a value of one complete basic type, or of the basic type in a variant."""
        if kind == "v":
            kind = self._read_text(self.take(1)[0])
        if kind in INTEGERS:
            size, code = INTEGERS[kind]
            self.align(size)
            return int(struct.unpack(f"{self.order}{code}", self.take(size))[0])
        if kind == "b":
            return bool(self.read("u"))
        if kind in ("s", "o"):
            return self._read_text(int(self.read("u")))
        if kind == "g":
            return self._read_text(self.take(1)[0])
        raise ValueError(f"a value of the D-Bus type `{kind[:20]}` is not supported")

    def _read_text(self, length: int) -> str:
        text = self.take(length).decode("utf-8", "backslashreplace")
        self.take(1)  # The terminating NUL.
        return text


def _encode_string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data + b"\0"


def _encode_signature(text: str) -> bytes:
    return bytes([len(text)]) + text.encode() + b"\0"


def _align(length: int, size: int) -> int:
    return -(-length // size) * size


def _pad(data: bytes, size: int) -> bytes:
    return data + bytes(_align(len(data), size) - len(data))
