"""Fakes of what listens on a runtime's socket: no runtime, but what one would send, or what a hostile one could."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Callable, Iterator, List, Mapping, Tuple, Union

from unhurried import PATIENCE

from nodespec.formats import hpack

Answer = Callable[[socket.socket], None]
Reply = Union[bytes, Tuple[int, str]]  # a message, or a gRPC status and its message


class Fake:
    """A server on a unix socket below a root, which treats every connection alike. `met` counts them."""

    def __init__(self, root: str, path: str, answer: Answer) -> None:
        self.met, self._answer = 0, answer
        place = Path(root + path)
        place.parent.mkdir(parents=True, exist_ok=True)
        self._server = socket.socket(socket.AF_UNIX)
        folder = os.open(place.parent, os.O_PATH)
        self._server.bind(f"/proc/self/fd/{folder}/{place.name}")  # however long the path of the root is
        os.close(folder)
        self._server.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Fake:  # noqa: PYI034 - Self is Python 3.11's
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._server.close()
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connected = self._server.accept()[0]
                self.met += 1
                with connected, suppress(OSError):
                    connected.settimeout(PATIENCE)
                    self._answer(connected)


def frame(kind: int, flags: int, payload: bytes, stream: int = 1) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def headers(**said: str) -> bytes:
    return b"".join(hpack.encode_literal(name.replace("_", "-"), value) for name, value in said.items())


SETTINGS = frame(4, 0, b"\0\5\0\0\x40\0", 0) + frame(4, 1, b"", 0) + frame(6, 0, b"12345678", 0)


def answered(reply: Reply) -> bytes:
    """All that a gRPC server sends for one call."""
    if isinstance(reply, tuple):
        return SETTINGS + frame(1, 5, b"\x88" + headers(grpc_status=str(reply[0]), grpc_message=reply[1]))
    body = b"\0" + len(reply).to_bytes(4, "big") + reply
    data = b"".join(frame(0, 0, body[at : at + 16384]) for at in range(0, len(body), 16384))
    return SETTINGS + frame(1, 4, b"\x88") + data + frame(1, 5, headers(grpc_status="0", grpc_message=""))


def requested(connected: socket.socket) -> str:
    """The method that a client asks for, without the slash; nothing where it only looks who is there."""
    asked = (dict(hpack.decode_headers(payload))[":path"][1:] for kind, payload in frames(connected) if kind == 1)
    return next(asked, "")


def frames(connected: socket.socket) -> Iterator[Tuple[int, bytes]]:
    """Kind and payload of each frame that a client sends."""
    with connected.makefile("rb") as stream:
        assert stream.read(24) in (b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        while head := stream.read(9):
            yield head[3], stream.read(int.from_bytes(head[:3], "big"))


def grpc(methods: Mapping[str, Reply]) -> Answer:
    """A server that has these methods."""

    def answer(connected: socket.socket) -> None:
        method = requested(connected)
        service = method.partition("/")[0]
        known = any(name.startswith(f"{service}/") for name in methods)
        missing = f"unknown method for {service}" if known else f"unknown service {service}"
        connected.sendall(answered(methods.get(method, (12, missing))))
        linger(connected)

    return answer


def http(pages: Mapping[str, str]) -> Answer:
    """An HTTP server that has these pages."""

    def answer(connected: socket.socket) -> None:
        page = connected.recv(4096).decode().split(" ")[1:2]
        status, text = ("200 OK", pages[page[0]]) if page and page[0] in pages else ("404 Not Found", "")
        connected.sendall(f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\n\r\n{text}".encode())

    return answer


def raw(data: bytes) -> Answer:
    """Whoever says this, whatever was asked, and waits to be left."""

    def answer(connected: socket.socket) -> None:
        connected.sendall(data)
        linger(connected)

    return answer


def silent(connected: socket.socket) -> None:
    """Accepts and says nothing."""
    linger(connected)


def closing(connected: socket.socket) -> None:
    """Hears what is asked, and hangs up."""
    connected.recv(1 << 16)


def linger(connected: socket.socket) -> None:
    """Wait until the client leaves."""
    while connected.recv(1 << 16):
        pass


def field(number: int, value: Union[int, str, bytes, List[bytes]]) -> bytes:
    """A field of a protobuf message; several of it from a list."""
    if isinstance(value, list):
        return b"".join(field(number, item) for item in value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    more = bytearray()
    while value > 0x7F:
        more.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*more, value))
