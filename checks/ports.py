"""Ports of TCP and UDP: whether something listens there. Read from the kernel's tables; no port is ever bound."""

from __future__ import annotations

import re
from typing import Dict, Iterator, List, Optional, Tuple

from nodespec.facts import Row, Rows, table
from nodespec.kinds import Choice
from nodespec.machine import Machine
from nodespec.observation import Absent, Evidence, Lacking, Observation, Unknown, Value

HIGHEST = 65535
# the state of a socket that waits for whoever comes: LISTEN, and for UDP one that is bound and not connected
WAITING = {"tcp": "0A", "udp": "07"}
ROW = re.compile(r"\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2}) ")


def _port(text: str) -> str:
    """`6443` or `6443/tcp` is TCP's, `53/udp` is UDP's."""
    number, slash, protocol = text.partition("/")
    if not re.fullmatch(r"\d{1,5}", number, re.ASCII) or not 1 <= int(number) <= HIGHEST:
        raise ValueError(f"`{text}` is not a port: a number from 1 to {HIGHEST}, with /udp if it is UDP's")
    if slash and protocol not in WAITING:
        raise ValueError(f"`{text}` is not a port: {protocol or 'nothing'} is neither tcp nor udp")
    return _key(int(number), protocol or "tcp")


def _key(number: int, protocol: str) -> str:
    return f"{number}/udp" if protocol == "udp" else str(number)


@table(
    Choice("free", "listening"),
    sources=("/proc/*/net/tcp", "/proc/*/net/tcp6", "/proc/*/net/udp", "/proc/*/net/udp6"),
    noun="port",
    key=_port,
    closed=True,
    total=True,
    fix="`ss -lntup` shows what uses port {key}: make it {want}",
)
def ports(machine: Machine) -> Rows[Row]:
    """Whether something listens on a port, of IPv4 or IPv6 and on whichever address, be it 127.0.0.1 only.

    Written as `6443`, or `53/udp`: a port that is not listed is free. Connections that merely end at a port do not
    count. Read of the network namespace that nodespec runs in, with `--root` that of the host's first process. What
    the packet filter redirects, as a published port of a container may be, is no listener and is not seen.
    """
    tables = {protocol: _waiting(machine, protocol) for protocol in WAITING}
    lacking = {protocol: why for protocol, (_, why) in tables.items() if not isinstance(why, Value)}
    rows = {key: row for found, _ in tables.values() for key, row in found.items()}

    def look(key: str) -> Optional[Observation[Row]]:
        protocol = key.partition("/")[2] or "tcp"
        return rows.get(key) or tables[protocol][1]

    free = Value("free", Evidence(", ".join(f"{machine.process}/net/{protocol}" for protocol in WAITING)))
    return Rows(look, lambda: rows, next(iter(lacking.values()), free))


def _waiting(machine: Machine, protocol: str) -> Tuple[Dict[str, Observation[Row]], Observation[Row]]:
    """The ports of one protocol where something waits, and what may be said of all others."""
    rows: Dict[str, Observation[Row]] = {}
    lacking: List[Lacking] = []
    for version in ("", "6"):  # without IPv6 there is no second table, and nothing is missed
        path = f"{machine.process}/net/{protocol}{version}"
        found = machine.text(path).then(_table)
        if isinstance(found, Unknown) or (isinstance(found, Absent) and not version):
            lacking.append(found)
        elif isinstance(found, Value):
            for line, number in _bound(found.value, WAITING[protocol]):
                rows.setdefault(_key(number, protocol), Value("listening", Evidence(path, line)))
    if not lacking:
        return rows, Value("free", Evidence(f"{machine.process}/net/{protocol}"))
    why = lacking[0]
    return rows, why if isinstance(why, Unknown) else Unknown("not found", f"{why.evidence} is not there")


def _table(text: str) -> str:
    """What has the heading of a table of sockets: anything else would leave every port free."""
    if text.split(None, 2)[:2] != ["sl", "local_address"]:
        raise ValueError("no heading of sockets")
    return text


def _bound(text: str, state: str) -> Iterator[Tuple[int, int]]:
    """The lines and local ports of sockets in a state."""
    for number, line in enumerate(text.split("\n"), 1):
        row = ROW.match(line)
        if row and row[2] == state:
            yield number, int(row[1], 16)
