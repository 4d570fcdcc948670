"""What listens on a runtime's socket says, whatever it is: bytes, frames of HTTP/2, messages of the CRI."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, List, Union, cast

from fake_peers import answered, field, frame, headers
from feed import Parser, by_bytes, samples
from hosts import Reader, planted

from nodespec.formats import hpack
from nodespec.formats.protobuf import Message
from nodespec.host import cri, peer
from nodespec.host.cri import CriRuntime
from nodespec.model.observation import Absent, Lacking, Value

if TYPE_CHECKING:
    import socket

    from mutation import Program

    from nodespec.host.machine import Machine

SERVICES = "fit-node*/answers/run/*/*/*/*"


class Wire:
    """A connected socket on which everything has been said already."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __enter__(self) -> Wire:  # noqa: PYI034 - Self is Python 3.11's
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def sendall(self, data: bytes) -> None:
        assert data

    def recv(self, size: int) -> bytes:
        piece, self._data = self._data[: min(size, 1000)], self._data[min(size, 1000) :]
        return piece


class Talking(Reader):
    """A machine on which every socket says this."""

    def __init__(self, said: bytes) -> None:
        super().__init__(planted())
        self.said = said

    def connect(self, path: str) -> Union[socket.socket, Lacking]:  # noqa: ARG002
        return cast("socket.socket", Wire(self.said))


def message(data: bytes) -> None:
    """A message that a runtime answers with, read as every answer that is ever asked for."""
    talk(Talking(answered(data)))


def frames(data: bytes) -> None:
    """All that a peer sends, instead of HTTP/2."""
    talk(Talking(data))


def talk(machine: Machine) -> None:
    hello = CriRuntime("/run/x.sock", "v1", "")
    for seen in (
        cri.identify_runtime(machine, hello.socket),
        cri.fetch_status(machine, hello),
        cri.fetch_cgroup_driver(machine, hello),
        cri.fetch_snapshotter(machine, hello),
        peer.fetch_http(machine, hello.socket, "/info"),
    ):
        assert isinstance(seen, (Value, Absent)) or seen.reason != "defect", seen


def blocks(data: bytes) -> None:
    """A block of headers."""
    with contextlib.suppress(ValueError):
        assert all(isinstance(name, str) for name, _ in hpack.decode_headers(data))


def replies() -> Parser:
    config = {"containerd": {"defaultRuntimeName": "runc", "runtimes": {"runc": {"options": {"SystemdCgroup": True}}}}}
    verbose = field(1, field(1, field(1, "RuntimeReady") + field(2, 1))) + field(
        2, [field(1, "config") + field(2, json.dumps(config))]
    )
    handlers = field(3, [field(1, ""), field(1, "runc") + field(2, field(1, 1) + field(2, 1))]) + field(4, field(1, 1))
    return by_bytes(message, (*samples(SERVICES), verbose + handlers), "config containerd runtimes true \\n\\x02\\x10")


def streams() -> Parser:
    bodies = samples(SERVICES)
    trailers = headers(grpc_status="12", grpc_message="unknown%20service")
    seeds = (
        *map(answered, bodies),
        answered((12, "unknown service")),
        frame(1, 0, b"\x88") + frame(9, 4, trailers) + frame(0, 9, b"\2\0\0\0\0\0\0\0"),
        frame(7, 0, bytes(8), 0),
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    )
    return by_bytes(frames, seeds, "grpc-status grpc-message PRI HTTP/2.0 200", framed)


def framed(data: bytes, program: Program) -> bytes:
    """Mostly with the lengths of its frames put right, so that what is in them is read."""
    if program.below(4) == 0:
        return data
    parts: List[bytes] = []
    while len(data) > 9:
        size = min(int.from_bytes(data[:3], "big"), len(data) - 9)
        parts.append(size.to_bytes(3, "big") + data[3 : 9 + size])
        data = data[9 + size :]
    return b"".join(parts)


def compressed_headers() -> Parser:
    seeds = (
        headers(grpc_status="0", content_type="application/grpc"),
        b"\x88\x8e\x87\x8f\x48\x03502\x0f\x01\0",
        b"\x3f\xe1\x1f" + hpack.encode_literal("grpc-status", "12"),
        b"\x40\x8b" + bytes.fromhex("9acac8b21234da8f08d9a3") + b"\x01\x30",
        b"\xff\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    )
    return by_bytes(blocks, seeds, "grpc-status :status")


def protobuf(data: bytes) -> None:
    """A message without its schema, and those within."""
    with contextlib.suppress(ValueError):
        whole = Message(data)
        for number in range(1, 6):
            whole.number(number), whole.text(number), whole.part(number), whole.parts(number)


def messages() -> Parser:
    return by_bytes(protobuf, samples(SERVICES), "\\n\\x02 runc")
