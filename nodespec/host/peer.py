"""Communicate with the server of a unix socket, bounded in size and time.

It also makes the only HTTP request that nodespec needs.
"""

from __future__ import annotations

import re
import time

from nodespec.host.machine import Machine
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    import socket
    from typing import Iterator

MAX_ANSWER_BYTES = 1 << 18  # Bytes that a peer may send in total.


def fetch_http(machine: Machine, path: str, target: str) -> Observation[str]:
    """Return the content that an HTTP server answers to GET, if the status is 200."""
    connected = machine.connect(path)
    if isinstance(connected, (Absent, Unknown)):
        return connected
    said = f"{path} GET {target}"
    with connected:
        peer = Peer(connected, path, machine.patience)
        try:
            peer.send(f"GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            return Value(b"".join(peer.pieces()), Evidence(said)).then(_parse_answer)
        except OSError as error:
            return peer.make_failure(error)
        except ValueError as error:
            return Unknown("malformed", f"{said}: {error}")


def _parse_answer(answer: bytes) -> str:
    head, _, content = answer.partition(b"\r\n\r\n")
    if not re.match(rb"HTTP/1\.[01] 200\b", head):
        raise ValueError(head.split(b"\r")[0][:80].decode("utf-8", "backslashreplace") or "no answer")
    return content.decode("utf-8", "backslashreplace")


class Peer:
    """A connected socket with a time limit in seconds for all operations.

    Raises OSError or ValueError with the reason if it fails.
    """

    def __init__(self, connected: socket.socket, name: str, seconds: float) -> None:
        self.name, self._socket, self._seconds = name, connected, seconds
        self._end = time.monotonic() + seconds

    def send(self, data: bytes) -> None:
        """Send all data."""
        self._set_timeout()
        self._socket.sendall(data)

    def pieces(self) -> Iterator[bytes]:
        """Yield the data that the peer sends, until it closes the connection."""
        length = 0
        while True:
            self._set_timeout()
            piece = self._socket.recv(1 << 16)
            if not piece:
                return
            length += len(piece)
            if length > MAX_ANSWER_BYTES:
                raise ValueError(f"more than {MAX_ANSWER_BYTES} bytes")
            yield piece

    def make_failure(self, error: OSError) -> Unknown:
        """Return the observation for an error of the socket."""
        import socket  # noqa: PLC0415 - already imported if there is a peer

        if isinstance(error, (TimeoutError, socket.timeout)):
            return Unknown(
                "timed out", f"{self.name} accepted the connection and did not answer within {self._seconds} s"
            )
        return Unknown("failed", f"{self.name}: {error.strerror or error}")

    def _set_timeout(self) -> None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
