from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, List, Union

import fake_peers
import pytest
from fake_peers import Fake, answered, frame, headers
from hypothesis import given, settings
from hypothesis import strategies as st
from unhurried import PATIENCE

from nodespec.host import grpc
from nodespec.host.machine import Machine
from nodespec.host.peer import MAX_ANSWER_BYTES, Peer
from nodespec.model.observation import Absent, Evidence, Lacking, Limits, Unknown

if TYPE_CHECKING:
    from pathlib import Path

OK = grpc.Reply(0, "", b"answer")
DATA = frame(0, 0, b"\0\0\0\0\6answer")
TRAILERS = frame(1, 5, headers(grpc_status="0"))
# what containerd 1.6.20 sent, Huffman coding and all, to a call of a service that it does not have
CONTAINERD = bytes.fromhex(
    "0000060400000000000005000040000000000401000000000000040800000000000000000500000806000000000002041010090e0707"
) + frame(
    1,
    5,
    bytes.fromhex(
        "20880f108b1d75d0620d263d4c4d656400889acac8b21234da8f02313200899acac8b5254207317f9eb6aeb51fc54a20b677310a"
        "a596d4935255fbbebedb6a49a92ee2d9dcc42f"
    ),
)


def call(machine: Machine, path: str, method: str) -> Union[grpc.Reply, Lacking]:
    connected = machine.connect(path)
    if isinstance(connected, (Absent, Unknown)):
        return connected
    with connected:
        return grpc.call_method(Peer(connected, path, machine.patience), method)


def replied(data: bytes) -> Union[grpc.Reply, Unknown]:
    """What becomes of an answer that is there as soon as it is asked for."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        return grpc.call_method(Peer(ours, "/run/fake.sock", PATIENCE), "fake.Service/Method")


@pytest.mark.parametrize(
    "frames",
    [
        [frame(1, 4, b"\x88"), DATA, TRAILERS],
        [frame(1, 4, b"\x88"), frame(0, 8, b"\3\0\0\0\0\6an\0\0\0"), frame(0, 0, b"swer"), TRAILERS],
        [frame(1, 0x2C, b"\2\0\0\0\0\x10\x88\0\0"), DATA, TRAILERS],
        [frame(1, 0, b"\x88"), frame(9, 4, b""), DATA, frame(1, 1, TRAILERS[9:16]), frame(9, 4, TRAILERS[16:])],
        [frame(200, 255, b"of another kind"), frame(1, 5, b"\x82", 3), frame(1, 4, b"\x20\x88"), DATA, TRAILERS],
        [frame(8, 0, b"\0\0\0\1", 0), frame(1, 4, b"\x88\x5f\x01x\x1f\x00\x01y"), DATA, frame(3, 0, b"", 3), TRAILERS],
    ],
    ids=["plain", "padded", "padded headers with priority", "continued", "other frames and streams", "other headers"],
)
def test_an_answer_is_read_however_it_is_framed(frames: List[bytes]) -> None:
    assert replied(b"".join(frames)) == OK


def test_a_refusal_is_a_reply_with_its_status_and_message() -> None:
    assert replied(CONTAINERD) == grpc.Reply(grpc.UNIMPLEMENTED, "unknown service runtime.v9.RuntimeService", b"")
    assert replied(answered((14, "caf%C3%A9 50% %zz%0A"))) == grpc.Reply(14, "café 50% %zz\n", b"")


@pytest.mark.parametrize(
    ("data", "reason", "say"),
    [
        (b"", "failed", "closed without an answer"),
        (DATA[:7], "failed", "closed without an answer"),
        (frame(3, 0, b"\0\0\0\1"), "failed", "the call was aborted"),
        (frame(7, 0, bytes(8), 0), "failed", "the call was aborted"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "malformed", "a frame has 4740180 bytes, which is too many"),
        (b"\xff" * 100, "malformed", "a frame has 16777215 bytes, which is too many"),
        (frame(1, 5, b"\x8d"), "malformed", "HTTP status 404 and no gRPC status"),
        (frame(1, 5, b""), "malformed", "HTTP status none and no gRPC status"),
        (frame(1, 5, headers(grpc_status="१")), "malformed", "no gRPC status"),
        (frame(1, 5, headers(grpc_status="0")), "malformed", "expected one uncompressed message"),
        (frame(0, 0, b"\1\0\0\0\0") + TRAILERS, "malformed", "expected one uncompressed message"),
        (DATA + DATA + TRAILERS, "malformed", "expected one uncompressed message"),
        (frame(0, 0, b"\0\xff\xff\xff\xff") + TRAILERS, "malformed", "expected one uncompressed message"),
        (frame(1, 5, b"\xbe"), "malformed", "header 62 is not one of the 61 static headers"),
        (frame(1, 5, b"\x80"), "malformed", "header 0 is not one of the 61 static headers"),
        (frame(1, 5, b"\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "malformed", "more than ten bytes"),
        (frame(1, 5, b"\0\x05abc"), "malformed", "truncated message"),
        (frame(0, 8, b""), "malformed", "a frame contains only padding"),
        (frame(0, 8, b"\xff\0"), "malformed", "a frame contains only padding"),
        (frame(1, 4, b"\0\x7f" + b"x" * 16000) * 5, "malformed", "headers of more than 65536 bytes"),
        (frame(0, 0, b"x" * 16000) * 17, "malformed", f"more than {MAX_ANSWER_BYTES} bytes"),
    ],
)
def test_what_is_no_answer_is_unknown_and_says_why(data: bytes, reason: str, say: str) -> None:
    found = replied(data)
    assert isinstance(found, Unknown)
    assert found.reason == reason
    assert found.say.startswith("/run/fake.sock")
    assert say in found.say


def test_a_peer_is_answered_what_it_must_be(tmp_path: Path) -> None:
    sent: List[int] = []

    def answer(connected: socket.socket) -> None:
        connected.sendall(fake_peers.SETTINGS)
        for kind, payload in fake_peers.frames(connected):
            sent.append(kind)
            if kind == 6:
                assert payload == b"12345678"
                connected.sendall(answered(b"answer")[len(fake_peers.SETTINGS) :])

    with Fake(str(tmp_path), "/run/fake.sock", answer):
        assert call(Machine(str(tmp_path)), "/run/fake.sock", "fake.Service/Method") == OK
    assert sent == [4, 8, 1, 0, 4, 6]


def test_an_answer_of_200_kilobytes_comes_in_one_go(tmp_path: Path) -> None:
    body = bytes(range(250)) * 800
    with Fake(str(tmp_path), "/run/fake.sock", fake_peers.grpc({"fake.Service/Method": body})):
        found = call(Machine(str(tmp_path)), "/run/fake.sock", "fake.Service/Method")
    assert found == grpc.Reply(0, "", body)


def drip(connected: socket.socket) -> None:
    while True:
        connected.sendall(b"\0")
        time.sleep(0.05)


def ping(connected: socket.socket) -> None:
    """Asks for more than it ever reads."""
    while True:
        connected.sendall(frame(6, 0, bytes(8), 0))


@pytest.mark.parametrize("answer", [fake_peers.silent, drip, ping], ids=["silent", "slow", "deaf"])
def test_a_peer_that_does_not_come_to_an_end_is_left_in_time(answer: fake_peers.Answer, tmp_path: Path) -> None:
    with Fake(str(tmp_path), "/run/fake.sock", answer):
        machine = Machine(str(tmp_path))
        machine.limits = Limits(peer_seconds=0.3)
        start = time.monotonic()
        found = call(machine, "/run/fake.sock", "fake.Service/Method")
        took = time.monotonic() - start
    assert isinstance(found, Unknown)
    assert found.reason in {"timed out", "malformed" if answer is ping else "timed out"}
    assert took < PATIENCE / 2


def test_a_peer_that_reads_nothing_does_not_block_what_is_sent() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        found = grpc.call_method(Peer(ours, "/run/fake.sock", 0.2), "fake.Service/Method", bytes(16000) * 50)
    assert found == Unknown("timed out", "/run/fake.sock accepted the connection and did not answer within 0.2 s")


def test_where_nobody_listens_is_absence(tmp_path: Path) -> None:
    machine = Machine(str(tmp_path))
    assert call(machine, "/run/none.sock", "fake.Service/Method") == Absent(Evidence("/run/none.sock"))
    with Fake(str(tmp_path), "/run/left.sock", fake_peers.silent):
        pass
    assert isinstance(call(machine, "/run/left.sock", "fake.Service/Method"), Absent)
    (tmp_path / "run/file").write_text("")
    assert isinstance(call(machine, "/run/file", "fake.Service/Method"), Unknown)


VALID = answered(b"answer")


@settings(max_examples=150)
@given(st.binary(max_size=400) | st.binary(max_size=60).map(lambda data: frame(1, 5, data)))
def test_no_bytes_raise_or_hang(data: bytes) -> None:
    assert isinstance(replied(data), (grpc.Reply, Unknown))


@settings(max_examples=150)
@given(st.integers(0, len(VALID) - 1), st.binary(max_size=4), st.integers(0, 8))
def test_no_damage_to_an_answer_raises_or_hangs(at: int, put: bytes, cut: int) -> None:
    found = replied(VALID[:at] + put + VALID[at + cut :])
    assert isinstance(found, (grpc.Reply, Unknown))


@settings(max_examples=30)
@given(st.lists(st.integers(1, len(VALID)), max_size=6))
def test_where_pieces_end_does_not_matter(ends: List[int]) -> None:
    ours, theirs = socket.socketpair()
    edges = sorted({0, *ends, len(VALID)})

    def send() -> None:
        for start, end in zip(edges, edges[1:]):
            theirs.sendall(VALID[start:end])

    with ours, theirs:
        thread = threading.Thread(target=send)
        thread.start()
        assert grpc.call_method(Peer(ours, "/run/fake.sock", PATIENCE), "fake.Service/Method") == OK
        thread.join()
