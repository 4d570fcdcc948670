"""TCP and UDP ports: whether a socket listens, by kernel tables; nothing is bound."""

from __future__ import annotations

import re

from nodespec.facts.declaration import Row, Rows, table
from nodespec.facts.value_types import OneOf
from nodespec.host.machine import Machine
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Lacking, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Container, Dict, Iterator, List, Mapping, Optional, Tuple

MAX_PORT = 65535
# The state of a socket that accepts traffic: LISTEN for TCP; for UDP a bound socket that is not connected.
LISTENING_STATES = {"tcp": "0A", "udp": "07"}
# States of connections that are not established yet and belong to a listener: SYN_RECV, NEW_SYN_RECV.
HALF_OPEN_STATES = ("03", "0C")
ROW = re.compile(r"\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:([0-9A-F]{4}) ([0-9A-F]{2}) ")
RANGE, DEFAULT_RANGE = "/proc/sys/net/ipv4/ip_local_port_range", (32768, 60999)


class Socket(NamedTuple):
    """A row of a socket table: its line, the ports of both ends, the state number."""

    line: int
    port: int
    peer: int
    state: str


def _parse_port(text: str) -> str:
    """Parse a port: `6443` and `6443/tcp` are TCP, `53/udp` is UDP."""
    number, slash, protocol = text.partition("/")
    if not re.fullmatch(r"\d{1,5}", number, re.ASCII) or not 1 <= int(number) <= MAX_PORT:
        raise ValueError(f"`{text}` is not a port; expected a number from 1 to {MAX_PORT}, with /udp for UDP")
    if slash and protocol not in LISTENING_STATES:
        raise ValueError(f"`{text}` is not a port; the protocol must be tcp or udp")
    return _format_port(int(number), protocol or "tcp")


def _format_port(number: int, protocol: str) -> str:
    return f"{number}/udp" if protocol == "udp" else str(number)


@table(
    OneOf("free", "connected", "listening"),
    sources=("/proc/*/net/tcp", "/proc/*/net/tcp6", "/proc/*/net/udp", "/proc/*/net/udp6"),
    noun="port",
    key=_parse_port,
    closed=True,
    total=True,
    fix="find the user of port {key} with `ss -lntup`; required: {want}",
)
def ports(machine: Machine) -> Rows[Row]:
    """State of a port: free, `listening` or `connected`.

    A port counts on any address of IPv4 or IPv6. Written as `6443` or `53/udp`; a port that is not listed is free.
    `listening` also applies to a port on 127.0.0.1 only. `connected` is a port without a listener that is the local end
    of a connection, also in TIME_WAIT: no program can listen on it until the connection is gone. A connection that a
    listener accepted before the listener ended does not keep the port. If the kernel's tables do not show which end was
    the listener, the port may also be free.

    The tables are those of the network namespace that nodespec runs in; with `--root` those of process 1 of that root.
    A TCP socket that is bound but does not listen yet is in no table and is not observed. A port that the packet filter
    redirects, such as a published port of a container, has no listener and is not observed.
    """
    tables = {protocol: _read_used_ports(machine, protocol) for protocol in LISTENING_STATES}
    lacking = {protocol: why for protocol, (_, why) in tables.items() if not isinstance(why, Value)}
    rows: Dict[str, Observation[Row]] = {key: row for used, _ in tables.values() for key, row in used.items()}

    def find_row(key: str) -> Optional[Observation[Row]]:
        protocol = key.partition("/")[2] or "tcp"
        return rows.get(key) or tables[protocol][1]

    free = Value("free", Evidence(", ".join(f"{machine.process}/net/{protocol}" for protocol in LISTENING_STATES)))
    return Rows(find_row, lambda: rows, next(iter(lacking.values()), free))


def _read_used_ports(machine: Machine, protocol: str) -> Tuple[Dict[str, Value[str]], Observation[Row]]:
    """Return the ports of one protocol that are in use, and the state of all others."""
    tables: Dict[str, Tuple[Socket, ...]] = {}
    lacking: List[Lacking] = []
    for version in ("", "6"):  # Without IPv6 the second table does not exist, and nothing is missed.
        path = f"{machine.process}/net/{protocol}{version}"
        sockets = machine.socket_table(path).then(_parse_table)
        if isinstance(sockets, Unknown) or (isinstance(sockets, Absent) and not version):
            lacking.append(sockets)
        elif isinstance(sockets, Value):
            tables[path] = sockets.value
    rows = _collect_used_ports(machine, protocol, tables)
    if not lacking:
        return rows, Value("free", Evidence(f"{machine.process}/net/{protocol}"))
    why = lacking[0]
    unread = why if isinstance(why, Unknown) else Unknown("not found", f"{why.evidence} not found")
    # In the table that was not read, a port with only a connection here may have a listener.
    return {key: row for key, row in rows.items() if row.value == "listening"}, unread


def _collect_used_ports(
    machine: Machine, protocol: str, tables: Mapping[str, Tuple[Socket, ...]]
) -> Dict[str, Value[str]]:
    """Return the ports that have a listener, then those that only have a connection."""
    rows: Dict[str, Value[str]] = {}
    for path, sockets in tables.items():
        for socket in sockets:
            if socket.state == LISTENING_STATES[protocol]:
                rows.setdefault(_format_port(socket.port, protocol), Value("listening", Evidence(path, socket.line)))
    listening = frozenset(rows)
    for path, sockets in tables.items():
        for socket in sockets:
            key = _format_port(socket.port, protocol)
            if key in listening or not socket.port or socket.state in HALF_OPEN_STATES:
                continue
            outgoing = protocol == "udp" or _is_outgoing(machine, socket, listening)
            if key not in rows or (outgoing and rows[key].others):
                rows[key] = Value("connected", Evidence(path, socket.line), () if outgoing else ("free",))
    return rows


def _is_outgoing(machine: Machine, socket: Socket, listening: Container[str]) -> bool:
    """Return whether this host opened a connection that has no listener.

    No listener can bind the port of such a connection (Linux 6.18). The ephemeral port decides, else the peer's port,
    which has a listener or is not ephemeral.
    """
    low, high = machine.once(_read_ephemeral_range)
    return low <= socket.port <= high or not low <= socket.peer <= high or _format_port(socket.peer, "tcp") in listening


def _read_ephemeral_range(machine: Machine) -> Tuple[int, int]:
    """Return the first and the last ephemeral port."""
    line = machine.line(RANGE)
    match = re.fullmatch(r"(\d{1,5})\s+(\d{1,5})", line.value, re.ASCII) if isinstance(line, Value) else None
    return (int(match[1]), int(match[2])) if match else DEFAULT_RANGE


def _parse_table(text: str) -> Tuple[Socket, ...]:
    """Parse sockets by line; other text is an error, or every port would seem free.

    ` 0: 0100007F:0BB8 00000000:0000 0A ...` listens on port 3000.
    """
    if text.split(None, 2)[:2] != ["sl", "local_address"]:
        raise ValueError("no header of a socket table found")
    return tuple(_parse_sockets(text))


def _parse_sockets(text: str) -> Iterator[Socket]:
    for number, line in enumerate(text.split("\n"), 1):
        row = ROW.match(line)
        if row:
            yield Socket(number, int(row[1], 16), int(row[2], 16), row[3])
