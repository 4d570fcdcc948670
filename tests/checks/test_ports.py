from __future__ import annotations

import contextlib
import os
import socket
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Dict, List, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks import ports
from nodespec.host.machine import Machine
from nodespec.model.observation import Evidence, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
TAIL = "00000000:00000000 00:00000000 00000000     0        0 1603 1 0000000031216d0a 100 0 0 10 0\n"
NOBODY, NOBODY6 = "00000000:0000", "00000000000000000000000000000000:0000"
TCP = (
    HEAD
    + f"   0: 0100007F:0BB8 {NOBODY} 0A {TAIL}"  # 127.0.0.1:3000
    + f"   1: 020200C0:BBEA 507100CB:0050 01 {TAIL}"  # a connection from 48106
    + f"   2: 020200C0:E2EA 507100CB:0050 06 {TAIL}"  # one that has ended, from 58090
)
TCP6 = HEAD + f"   0: 00000000000000000000000000000000:192B {NOBODY6} 0A {TAIL}"  # [::]:6443
UDP = (
    HEAD
    + f" 1316: 3500007F:0035 {NOBODY} 07 {TAIL}"  # 127.0.0.53:53
    + f" 1317: 020200C0:0202 507100CB:0035 01 {TAIL}"  # connected, from 514
)
TABLES = {"tcp": TCP, "tcp6": TCP6, "udp": UDP, "udp6": HEAD}


def host(tables: Dict[str, str]) -> Dict[str, str]:
    return {
        "/proc/self/stat": "1",
        "/proc/1/stat": "1",
        **{f"/proc/1/net/{name}": text for name, text in tables.items()},
    }


@pytest.mark.parametrize(
    ("key", "value", "source", "line"),
    [
        ("3000", "listening", "tcp", 2),
        ("6443", "listening", "tcp6", 2),
        ("53/udp", "listening", "udp", 2),
        ("53", "free", "tcp", 0),
        ("3000/udp", "free", "udp", 0),
        ("48106", "connected", "tcp", 3),
        ("58090", "connected", "tcp", 4),
        ("514/udp", "connected", "udp", 3),
        ("10250", "free", "tcp", 0),
    ],
)
def test_what_waits_for_others_listens(make_tree: MakeTree, key: str, value: str, source: str, line: int) -> None:
    seen = ports.ports.probe(Machine(make_tree(host(TABLES)))).observe(key)
    assert seen == Value(value, Evidence(f"/proc/1/net/{source}", line))
    assert any(fnmatchcase(f"/proc/1/net/{source}", glob) for glob in ports.ports.sources)


def test_what_listens_is_enumerated_and_the_rest_is_free(make_tree: MakeTree) -> None:
    rows = ports.ports.probe(Machine(make_tree(host(TABLES))))
    assert set(rows.every()) == {"3000", "6443", "53/udp", "48106", "58090", "514/udp"}
    assert isinstance(rows.rest, Value)
    assert rows.rest.value == "free"


def test_without_ipv6_nothing_is_missed(make_tree: MakeTree) -> None:
    rows = ports.ports.probe(Machine(make_tree(host({"tcp": TCP, "udp": UDP}))))
    assert rows.observe("6443") == Value("free", Evidence("/proc/1/net/tcp"))


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"/etc/passwd": ""}, "hidden"),
        (host({}), "not found"),
        (host({"udp": UDP}), "not found"),
        (host({"tcp": "", "udp": UDP}), "malformed"),  # an empty file in its place
        (host({**TABLES, "tcp6": TCP6.replace(HEAD, "")}), "malformed"),
        ({**host({"udp": UDP}), "/proc/1/net/tcp/x": ""}, "failed"),
        ({**host({"tcp": TCP}), "/proc/1/net/tcp6/x": ""}, "failed"),
    ],
)
def test_what_cannot_be_read_is_not_free(make_tree: MakeTree, files: Dict[str, str], reason: str) -> None:
    rows = ports.ports.probe(Machine(make_tree(files)))
    for seen in (rows.observe("6443"), rows.rest):
        assert isinstance(seen, Unknown)
        assert seen.reason == reason


def test_one_protocol_is_told_without_the_other(make_tree: MakeTree) -> None:
    rows = ports.ports.probe(Machine(make_tree(host({"udp": UDP}))))
    assert rows.observe("53/udp") == Value("listening", Evidence("/proc/1/net/udp", 2))
    assert rows.observe("54/udp") == Value("free", Evidence("/proc/1/net/udp"))
    assert isinstance(rows.observe("53"), Unknown)


@pytest.mark.parametrize(
    ("text", "key"), [("6443", "6443"), ("6443/tcp", "6443"), ("53/udp", "53/udp"), ("0053/udp", "53/udp")]
)
def test_a_port_has_one_name(text: str, key: str) -> None:
    assert ports.ports.key(text) == key


@pytest.mark.parametrize("text", ["", "0", "65536", "-1", "6443/", "6443/sctp", "6443/TCP", "http", "30000-32767", "٣"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a port"):
        ports.ports.key(text)


@settings(max_examples=100)
@given(st.integers(1, ports.MAX_PORT), st.sampled_from(["tcp", "udp"]))
def test_names_are_stable(number: int, protocol: str) -> None:
    key = ports.ports.key(f"{number}/{protocol}")
    assert ports.ports.key(key) == key


@settings(max_examples=200)
@given(st.text() | st.text(alphabet="0123456789ABCDEF: \n"))
def test_no_text_is_too_strange(text: str) -> None:
    lines = text.count("\n") + 1
    for found in ports._parse_sockets(text):  # noqa: SLF001 - the parser is what is hardened
        assert 0 < found.line <= lines
        assert 0 <= found.port <= ports.MAX_PORT
        assert 0 <= found.peer <= ports.MAX_PORT


def tables(*rows: Tuple[int, int, str]) -> Dict[str, str]:
    """A table of TCP with these sockets: local port, the peer's, state."""
    text = "".join(f"   {n}: 0100007F:{a:04X} 0200007F:{b:04X} {state} {TAIL}" for n, (a, b, state) in enumerate(rows))
    return host({"tcp": HEAD + text, "udp": HEAD})


CONNECTED, EITHER, FREE = ("connected", ()), ("connected", ("free",)), ("free", ())


@pytest.mark.parametrize(
    ("rows", "seen"),
    [
        ([(10250, 443, "01")], CONNECTED),  # ESTABLISHED, to a service
        ([(10250, 443, "06")], CONNECTED),  # TIME_WAIT
        ([(10250, 40000, "01")], EITHER),  # accepted, or from here to a port that somebody was given
        ([(10250, 40000, "06")], EITHER),
        ([(10250, 40000, "06"), (10250, 443, "01")], CONNECTED),
        ([(10250, 443, "01"), (10250, 40000, "06")], CONNECTED),
        ([(10250, 40000, "01"), (40000, 0, "0A")], CONNECTED),  # the peer listens here
        ([(10250, 443, "03")], FREE),
        ([(10250, 443, "0C")], FREE),
        ([(10250, 443, "01"), (10250, 0, "0A")], ("listening", ())),
        ([(32767, 32768, "01")], EITHER),
        ([(32768, 32768, "01")], CONNECTED),
        ([(60999, 32768, "01")], CONNECTED),
        ([(61000, 32768, "01")], EITHER),
        ([(61000, 60999, "01")], EITHER),
        ([(61000, 61000, "01")], CONNECTED),
    ],
)
def test_a_connection_keeps_its_local_port(
    make_tree: MakeTree, rows: List[Tuple[int, int, str]], seen: Tuple[str, Tuple[str, ...]]
) -> None:
    found = ports.ports.probe(Machine(make_tree(tables(*rows)))).observe(str(rows[0][0]))
    assert isinstance(found, Value)
    assert (found.value, found.others) == seen


def test_the_range_of_ephemeral_ports_is_the_machines(make_tree: MakeTree) -> None:
    files = {**tables((10250, 40000, "01")), ports.RANGE: "10000\t60999\n"}
    rows = ports.ports.probe(Machine(make_tree(files)))
    assert rows.observe("10250") == Value("connected", Evidence("/proc/1/net/tcp", 2))


def test_a_table_that_is_not_read_may_have_the_listener(make_tree: MakeTree) -> None:
    files = {**tables((10250, 443, "01"), (22, 0, "0A")), "/proc/1/net/tcp6/x": ""}
    rows = ports.ports.probe(Machine(make_tree(files)))
    assert rows.observe("22") == Value("listening", Evidence("/proc/1/net/tcp", 3))
    assert isinstance(rows.observe("10250"), Unknown)


def state(port: int) -> str:
    seen = ports.ports.probe(Machine()).observe(str(port))
    assert isinstance(seen, Value)
    return str(seen.value) if not seen.others else "either"


def can_listen(port: int) -> bool:
    """Whether a program can listen, as Go's net.Listen does it, and with it kubeadm and the kubelet."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", port))
            listener.listen()
        except OSError:
            return False
        return True


def test_the_kernel_lets_nobody_listen_where_a_connection_was_made_from() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname()[:2])
        port = client.getsockname()[1]
        accepted, _ = server.accept()
        assert (state(port), can_listen(port)) == ("connected", False)
        client.close()
        accepted.close()
        assert (state(port), can_listen(port)) == ("connected", False)  # TIME_WAIT


@pytest.mark.parametrize(("kind", "suffix"), [(socket.SOCK_STREAM, ""), (socket.SOCK_DGRAM, "/udp")])
def test_a_real_listener_is_seen_while_it_listens(kind: socket.SocketKind, suffix: str) -> None:
    with socket.socket(socket.AF_INET, kind) as listener:
        listener.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            listener.listen()
        key = f"{listener.getsockname()[1]}{suffix}"
        seen = ports.ports.probe(Machine()).observe(key)
        assert isinstance(seen, Value)
        assert seen.value == "listening"
    seen = ports.ports.probe(Machine()).observe(key)
    assert isinstance(seen, Value)
    assert seen.value == "free"


def test_the_kernel_walks_a_table_of_sockets_once_where_it_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: Dict[str, List[int]] = {}
    real = os.read

    def read(handle: int, size: int) -> bytes:
        data = real(handle, size)
        reads.setdefault(os.readlink(f"/proc/self/fd/{handle}").rpartition("/net/")[2], []).append(len(data))
        return data

    monkeypatch.setattr(os, "read", read)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        seen = ports.ports.probe(Machine()).observe(str(listener.getsockname()[1]))
    assert isinstance(seen, Value)
    assert seen.value == "listening"
    for name in ("tcp", "tcp6", "udp", "udp6"):
        sizes = reads.get(name, [])
        assert all(size >= 3584 for size in sizes[:-1]), (name, sizes)


@pytest.mark.parametrize("more", [0, 1, 19, 20, 21, 200])
def test_a_table_of_sockets_is_read_to_its_end(more: int) -> None:
    """A page has room for 26 rows and the heading."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(more)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
        rows = ports.ports.probe(Machine())
        states = {rows.observe(str(listener.getsockname()[1])).value for listener in listeners}  # type: ignore[union-attr]
    assert states <= {"listening"}


@pytest.mark.parametrize("rows", [22, 23, 24, 25, 26, 27, 28, 60])
def test_no_row_of_a_long_table_is_lost(make_tree: MakeTree, rows: int) -> None:
    text = HEAD + "".join(f"{row:4}: 0100007F:{row + 1024:04X} {NOBODY} 0A {TAIL}" for row in range(rows))
    seen = ports.ports.probe(Machine(make_tree(host({"tcp": text, "tcp6": HEAD, "udp": HEAD, "udp6": HEAD}))))
    assert seen.observe(str(rows + 1023)) == Value("listening", Evidence("/proc/1/net/tcp", rows + 1))
