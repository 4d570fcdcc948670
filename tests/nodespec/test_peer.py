from __future__ import annotations

from typing import TYPE_CHECKING

import fake_peers
import pytest
from fake_peers import Fake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodespec.host.machine import Machine
from nodespec.host.peer import MAX_ANSWER_BYTES, fetch_http
from nodespec.model.observation import Absent, Evidence, Limits, Unknown, Value

if TYPE_CHECKING:
    import socket
    from pathlib import Path

SOCKET = "/run/fake.sock"


def test_a_page_is_read_over_a_socket(tmp_path: Path) -> None:
    with Fake(str(tmp_path), SOCKET, fake_peers.http({"/info": "{}"})):
        assert fetch_http(Machine(str(tmp_path)), SOCKET, "/info") == Value("{}", Evidence("/run/fake.sock GET /info"))
        assert fetch_http(Machine(str(tmp_path)), SOCKET, "/other") == Unknown(
            "malformed", "/run/fake.sock GET /other: HTTP/1.0 404 Not Found"
        )
    assert isinstance(fetch_http(Machine(str(tmp_path)), SOCKET, "/info"), Absent)


@pytest.mark.parametrize(
    ("answer", "reason", "say"),
    [
        (fake_peers.silent, "timed out", "/run/fake.sock accepted the connection and did not answer within 0.2 s"),
        (
            fake_peers.raw(b"x" * (MAX_ANSWER_BYTES + 1)),
            "malformed",
            f"/run/fake.sock GET /: more than {MAX_ANSWER_BYTES} bytes",
        ),
        (fake_peers.closing, "malformed", "/run/fake.sock GET /: no answer"),
    ],
    ids=["silent", "endless", "closed"],
)
def test_a_page_that_does_not_come_is_unknown(answer: fake_peers.Answer, reason: str, say: str, tmp_path: Path) -> None:
    machine = Machine(str(tmp_path))
    machine.limits = Limits(peer_seconds=0.2) if reason == "timed out" else machine.limits
    with Fake(str(tmp_path), SOCKET, answer):
        found = fetch_http(machine, SOCKET, "/")
    assert isinstance(found, Unknown)
    assert (found.reason, found.say) == (reason, say)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=100) | st.binary(max_size=100).map(lambda tail: b"HTTP/1.0 200 OK\r\n\r\n" + tail))
def test_no_bytes_raise(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "run/fake.sock").unlink(missing_ok=True)

    def answer(connected: socket.socket) -> None:
        connected.recv(4096)
        connected.sendall(data)

    with Fake(str(tmp_path), SOCKET, answer):
        assert isinstance(fetch_http(Machine(str(tmp_path)), SOCKET, "/"), (Value, Unknown))
