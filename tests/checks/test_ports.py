from __future__ import annotations

import socket
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Dict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks import ports
from nodespec.machine import Machine
from nodespec.observation import Evidence, Unknown, Value

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
        ("48106", "free", "tcp", 0),
        ("58090", "free", "tcp", 0),
        ("514/udp", "free", "udp", 0),
        ("10250", "free", "tcp", 0),
    ],
)
def test_what_waits_for_others_listens(make_tree: MakeTree, key: str, value: str, source: str, line: int) -> None:
    seen = ports.ports.probe(Machine(make_tree(host(TABLES)))).look(key)
    assert seen == Value(value, Evidence(f"/proc/1/net/{source}", line))
    assert any(fnmatchcase(f"/proc/1/net/{source}", glob) for glob in ports.ports.sources)


def test_what_listens_is_enumerated_and_the_rest_is_free(make_tree: MakeTree) -> None:
    rows = ports.ports.probe(Machine(make_tree(host(TABLES))))
    assert set(rows.every()) == {"3000", "6443", "53/udp"}
    assert isinstance(rows.rest, Value)
    assert rows.rest.value == "free"


def test_without_ipv6_nothing_is_missed(make_tree: MakeTree) -> None:
    rows = ports.ports.probe(Machine(make_tree(host({"tcp": TCP, "udp": UDP}))))
    assert rows.look("6443") == Value("free", Evidence("/proc/1/net/tcp"))


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
    for seen in (rows.look("6443"), rows.rest):
        assert isinstance(seen, Unknown)
        assert seen.reason == reason


def test_one_protocol_is_told_without_the_other(make_tree: MakeTree) -> None:
    rows = ports.ports.probe(Machine(make_tree(host({"udp": UDP}))))
    assert rows.look("53/udp") == Value("listening", Evidence("/proc/1/net/udp", 2))
    assert rows.look("54/udp") == Value("free", Evidence("/proc/1/net/udp"))
    assert isinstance(rows.look("53"), Unknown)


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
@given(st.integers(1, ports.HIGHEST), st.sampled_from(["tcp", "udp"]))
def test_names_are_stable(number: int, protocol: str) -> None:
    key = ports.ports.key(f"{number}/{protocol}")
    assert ports.ports.key(key) == key


@settings(max_examples=200)
@given(st.text() | st.text(alphabet="0123456789ABCDEF: \n"), st.sampled_from(["0A", "07"]))
def test_no_text_is_too_strange(text: str, state: str) -> None:
    lines = text.count("\n") + 1
    assert all(0 < line <= lines and 0 <= port <= ports.HIGHEST for line, port in ports._bound(text, state))  # noqa: SLF001


@pytest.mark.parametrize(("kind", "suffix"), [(socket.SOCK_STREAM, ""), (socket.SOCK_DGRAM, "/udp")])
def test_a_real_listener_is_seen_while_it_listens(kind: socket.SocketKind, suffix: str) -> None:
    with socket.socket(socket.AF_INET, kind) as listener:
        listener.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            listener.listen()
        key = f"{listener.getsockname()[1]}{suffix}"
        seen = ports.ports.probe(Machine()).look(key)
        assert isinstance(seen, Value)
        assert seen.value == "listening"
    seen = ports.ports.probe(Machine()).look(key)
    assert isinstance(seen, Value)
    assert seen.value == "free"
