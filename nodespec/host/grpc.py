"""Make one gRPC call over a unix socket.

It implements only the part of HTTP/2 (RFC 9113) that an answer of some kilobytes requires. The peer is hostile: its
answer is bounded in size and time, and no input of it makes `call_method` raise.
"""

from __future__ import annotations

import re

from nodespec.formats import hpack
from nodespec.host.peer import MAX_ANSWER_BYTES
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Unknown
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Iterator, Mapping, Tuple, Union

    from nodespec.host.peer import Peer

MAX_HEADER_BYTES = 1 << 16  # Bytes of the headers of an answer.
UNIMPLEMENTED = 12  # The gRPC status of a method that the server does not implement.

_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAME = 16384  # Bytes of a frame; the default of HTTP/2.


class Reply(NamedTuple):
    """The answer of a server: gRPC's status and message, or the protobuf message.

    Status 0 is OK.
    """

    status: int
    message: str
    body: bytes


def call_method(peer: Peer, method: str, message: bytes = b"") -> Union[Reply, Unknown]:
    """Call `package.Service/Method` of a connected peer."""
    try:
        peer.send(_encode_request(method, message))
        return _read_reply(peer)
    except OSError as error:
        return peer.make_failure(error)
    except ValueError as error:
        return Unknown("malformed", f"{peer.name}: the answer to {method} is not gRPC: {error}")


def _encode_request(method: str, message: bytes) -> bytes:
    """Return the request, with settings for a simple answer.

    The peer must not keep a header table, must not push, and may send up to `LIMIT` bytes without a window update.
    """
    settings = b"\0\1" + bytes(4) + b"\0\2" + bytes(4) + b"\0\4" + MAX_ANSWER_BYTES.to_bytes(4, "big")
    header = {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"/{method}",
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    block = b"".join(hpack.encode_literal(name, value) for name, value in header.items())
    return (
        _PREFACE
        + _encode_frame(_SETTINGS, 0, 0, settings)
        + _encode_frame(_WINDOW, 0, 0, MAX_ANSWER_BYTES.to_bytes(4, "big"))
        + _encode_frame(_HEADERS, _END_HEADERS, 1, block)
        + _encode_frame(_DATA, _END_STREAM, 1, b"\0" + len(message).to_bytes(4, "big") + message)
    )


def _encode_frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _read_reply(peer: Peer) -> Reply:
    """Return the answer.

    Headers and trailers are decoded together, since neither refers to headers that were sent before.
    """
    head, body, whole, ended = bytearray(), bytearray(), True, False
    for kind, flags, stream, payload in _read_frames(peer):
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            peer.send(_encode_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind == _GOAWAY or (kind == _RESET and stream == 1):
            raise ConnectionResetError("the call was aborted")
        elif kind in (_DATA, _HEADERS) and stream == 1:
            (head if kind == _HEADERS else body).extend(_strip_padding(kind, flags, payload))
            whole = kind == _DATA or bool(flags & _END_HEADERS)
            ended = bool(flags & _END_STREAM)
        elif kind == _CONTINUATION and stream == 1:
            head += payload
            whole = bool(flags & _END_HEADERS)
        if len(head) > MAX_HEADER_BYTES:
            raise ValueError(f"headers of more than {MAX_HEADER_BYTES} bytes")
        if ended and whole:
            return _make_reply(dict(hpack.decode_headers(bytes(head))), bytes(body))
    raise ConnectionResetError("closed without an answer")


def _read_frames(peer: Peer) -> Iterator[Tuple[int, int, int, bytes]]:
    """Yield kind, flags, stream and payload of each frame."""
    data = bytearray()
    for piece in peer.pieces():
        data += piece
        while len(data) >= 9:  # noqa: PLR2004 - the length of a frame header
            size = int.from_bytes(data[:3], "big")
            if size > _FRAME:
                raise ValueError(f"a frame has {size} bytes, which is too many")
            if len(data) < 9 + size:
                break
            yield data[3], data[4], int.from_bytes(data[5:9], "big") & 0x7FFFFFFF, bytes(data[9 : 9 + size])
            del data[: 9 + size]


def _strip_padding(kind: int, flags: int, payload: bytes) -> bytes:
    """Return the payload without padding and priority."""
    before, after = 0, 0
    if flags & _PADDED:
        before, after = 1, payload[0] if payload else 0
    if kind == _HEADERS and flags & _PRIORITY:
        before += 5
    if before + after > len(payload):
        raise ValueError("a frame contains only padding")
    return payload[before : len(payload) - after]


def _make_reply(headers: Mapping[str, str], body: bytes) -> Reply:
    said = headers.get("grpc-status", "")
    if not re.fullmatch("[0-9]{1,9}", said):
        raise ValueError(f"HTTP status {headers.get(':status', 'none')[:40]} and no gRPC status")
    status = int(said)
    if status:
        return Reply(status, _decode_percent(headers.get("grpc-message", "")), b"")
    if body[:1] != b"\0" or len(body) < 5 or int.from_bytes(body[1:5], "big") != len(body) - 5:  # noqa: PLR2004
        raise ValueError("expected one uncompressed message")
    return Reply(0, "", body[5:])


def _decode_percent(text: str) -> str:
    """Decode percent-encoded UTF-8, as gRPC sends it."""
    data = re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes((int(m[1], 16),)), text.encode())
    return data.decode("utf-8", "backslashreplace")
