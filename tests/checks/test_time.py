"""The clock: struct timex, daemons, time zone, hardware clock."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Mapping, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespec.facts.declaration import Leaf, resolve_place
from nodespec.facts.live import Live
from nodespec.host import clock
from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
from nodespec.model.observation import Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

    from nodespec.facts.value_types import Datum

PROC = {"/proc/self/stat": "", "/proc/1/comm": "systemd\n", "/proc/uptime": ""}
TIMEX = "=I4xqqqqi"  # <linux/timex.h> on a 64-bit system


def look(host: DirectoryTree, name: str) -> Observation[Datum]:
    place = resolve_place(("time", name))
    assert isinstance(place.fact, Leaf)
    return Live(host, time.monotonic() + 60).observe(place)


def pretend(monkeypatch: pytest.MonkeyPatch, state: clock.ClockState) -> None:
    monkeypatch.setattr(clock, "read_clock", lambda: Value(state, Evidence(clock.SOURCE)))


@given(st.integers(-(10**9), 10**9), st.integers(0, 10**8), st.integers(0, 10**8), st.integers(0, 0xFFFF))
def test_struct_timex_is_decoded(offset: int, maximum: int, estimated: int, status: int) -> None:
    data = struct.pack(TIMEX, 0, offset, 7, maximum, estimated, status).ljust(512, b"\0")
    state = clock.decode_clock(data, 8)
    assert (state.maximum_error, state.estimated_error) == (maximum, estimated)
    assert state.offset == (round(offset / 1000) if status & 0x2000 else offset)


def test_this_kernel_answers_and_is_not_changed() -> None:
    """The kernel's fields are within the bounds of the kernel: NTP_PHASE_LIMIT is 16 s."""
    first, second = clock.read_clock(), clock.read_clock()
    if isinstance(first, Unknown):
        assert first.reason == "no permission"
        return
    assert isinstance(first, Value)
    assert isinstance(second, Value)
    assert 0 <= first.value.maximum_error <= 16_000_000
    assert 0 <= first.value.estimated_error <= 16_000_000
    assert abs(first.value.offset) <= 1_000_000


@pytest.mark.parametrize(("error", "synchronized"), [(15_999_999, True), (16_000_000, False), (16_000_001, False)])
def test_an_error_of_16_seconds_is_not_synchronized(
    make_tree: MakeTree,
    monkeypatch: pytest.MonkeyPatch,
    error: int,
    synchronized: bool,  # noqa: FBT001
) -> None:
    pretend(monkeypatch, clock.ClockState(0, error, error))
    machine = Machine(make_tree(PROC))
    seen = look(machine, "synchronized")
    assert isinstance(seen, Value)
    assert seen.value is synchronized
    assert look(machine, "maximum_error") == Value(-(-error // 1000), Evidence(clock.SOURCE))


@pytest.mark.parametrize(
    ("comm", "daemon"),
    [("chronyd", "chronyd"), ("systemd-timesyn", "systemd-timesyncd"), ("ntpd", "ntpd"), ("ptp4l", "ptp4l")],
)
def test_daemons_are_found_by_their_processes(make_tree: MakeTree, comm: str, daemon: str) -> None:
    seen = look(Machine(make_tree({**PROC, "/proc/7/comm": f"{comm}\n", "/proc/8/comm": "sh\n"})), "daemons")
    assert seen == Value(frozenset({daemon}), Evidence("/proc/7/comm"))


def test_the_offset_of_chronyd_is_unknown(make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, clock.ClockState(-2_000_500, 1, 1))
    assert look(Machine(make_tree({**PROC})), "offset") == Value(2001, Evidence(clock.SOURCE))
    assert isinstance(look(Machine(make_tree({"/proc/7/comm": "chronyd\n"})), "offset"), Unknown)


@pytest.mark.parametrize(
    ("link", "zone"),
    [
        ("/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"),
        ("../usr/share/zoneinfo/Etc/UTC", "Etc/UTC"),
        ("/usr/share/zoneinfo/right/America/Argentina/Ushuaia", "America/Argentina/Ushuaia"),
        ("/srv/x", None),
        ("/usr/share/zoneinfo/../x", None),
    ],
)
def test_the_time_zone_is_the_target_of_a_link(make_tree: MakeTree, link: str, zone: Union[str, None]) -> None:
    seen = look(DirectoryTree(make_tree({}, {"/etc/localtime": link})), "timezone")
    assert (seen.value if isinstance(seen, Value) else None) == zone


def test_without_a_link_another_file_names_the_zone(make_tree: MakeTree) -> None:
    assert look(DirectoryTree(make_tree({})), "timezone") == Value("UTC", Evidence("/etc/localtime"))
    assert isinstance(look(DirectoryTree(make_tree({"/etc/localtime": "TZif2"})), "timezone"), Unknown)
    root = make_tree({"/etc/timezone": "Asia/Tokyo\n"})
    assert look(DirectoryTree(root), "timezone") == Value("Asia/Tokyo", Evidence("/etc/timezone", inferred=True))


@pytest.mark.parametrize(
    ("files", "local"),
    [
        ({}, False),
        ({"/etc/adjtime": "0.0 0 0.0\n0\nUTC\n"}, False),
        ({"/etc/adjtime": "0.0 0 0.0\n0\nLOCAL\n"}, True),
        ({"/etc/adjtime": "0.0 0 0.0\n0\n"}, False),
        ({"/etc/adjtime": "0.0 0 0.0\n0\nlocal\n"}, None),
        ({"/etc/adjtime": "\0\0\0\n\n\0\0\0\0\n"}, None),
    ],
)
def test_the_third_line_of_adjtime(make_tree: MakeTree, files: Mapping[str, str], local: Union[bool, None]) -> None:  # noqa: FBT001
    seen = look(DirectoryTree(make_tree(files)), "rtc_in_local_time")
    assert (seen.value if isinstance(seen, Value) else None) is local
