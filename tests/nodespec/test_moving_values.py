"""Values that change by themselves are recorded and compared only if they are named."""

from __future__ import annotations

import time
from typing import Callable, Dict, Iterator, Union

import pytest

from nodespec.author.diff.observations import compare_views, iter_all_places, iter_places_within
from nodespec.facts import declaration
from nodespec.facts.declaration import Columns, Group, Leaf, Rows, Table, fact, table
from nodespec.facts.live import Live
from nodespec.facts.value_numbers import Size, Whole
from nodespec.host.machine import Machine
from nodespec.model.observation import Absent, Evidence, Observation, Value
from nodespec.model.report import Host, Seat
from nodespec.output.facts_yaml import format_facts, list_places
from nodespec.output.manual import format_fact
from nodespec.recording.replay import ReplayedFacts
from nodespec.run.record import record_host

HERE = Evidence("/proc/x")
TICKS = iter(range(1 << 20))


@fact(Whole(), sources=("/proc/x",), moves=True)
def uptime(_machine: Machine) -> Observation[int]:
    """Uptime."""
    return Value(next(TICKS), HERE)


@fact(Whole(), sources=("/proc/x",))
def size(_machine: Machine) -> Observation[int]:
    """Size."""
    return Value(1, HERE)


@table({"type": Whole(), "free": Size()}, sources=("/proc/x",), noun="disk", closed=True, moves=("free",))
def disks(_machine: Machine) -> Rows[declaration.Row]:
    """Disks."""
    cells = {"type": lambda: Value(1, HERE), "free": lambda: Value(next(TICKS), HERE)}
    return Rows.of({name: Value(Columns(**cells), HERE) for name in ("a", "b")}, Absent(HERE))


@table(Whole(), sources=("/proc/x",), noun="counter", closed=True, moves=True)
def counters(_machine: Machine) -> Rows[declaration.Row]:
    """Counters."""
    return Rows.of({"a": Value(next(TICKS), HERE)}, Absent(HERE))


@pytest.fixture(autouse=True)
def family(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    members: Dict[str, Union[Leaf, Table]] = {"uptime": uptime, "size": size, "disks": disks, "counters": counters}
    monkeypatch.setitem(declaration._FAMILIES, "made", Group(members, "Made."))  # noqa: SLF001 - a family of this test
    monkeypatch.setattr(declaration, "list_families", lambda: ("made",))
    return iter([None])


@pytest.fixture
def host(tmp_path: object) -> Callable[[], Live]:
    return lambda: Live(Machine(str(tmp_path)), time.monotonic() + 60)


def recorded(host: Callable[[], Live], *names: str) -> ReplayedFacts:
    return ReplayedFacts(record_host(names, host(), Seat("running", "live", Host("x")))[0].facts)


def test_a_recording_of_all_has_no_moving_value(host: Callable[[], Live]) -> None:
    facts = recorded(host, "made")
    assert set(facts.notes) == {"made.size", "made.disks"}
    for name in ("uptime", "disks.a.free", "counters.a"):
        assert not isinstance(facts.observe(declaration.resolve_place(("made", *name.split(".")))), Value), name
    assert isinstance(facts.observe(declaration.resolve_place(("made", "disks", "a", "type"))), Value)


@pytest.mark.parametrize("name", ["made.uptime", "made.disks.a.free", "made.counters.a"])
def test_a_moving_value_that_is_named_is_recorded(host: Callable[[], Live], name: str) -> None:
    place = declaration.resolve_place(tuple(name.split(".")))
    assert isinstance(recorded(host, name).observe(place), Value)


def test_moving_values_do_not_differ_unless_they_are_named(host: Callable[[], Live]) -> None:
    before, after = host(), host()
    assert not compare_views(before, after, iter_all_places(before, after)).differing
    named = [one for place in list_places("made.disks.a.free") for one in iter_places_within(place, before, after)]
    assert [found.name for found in compare_views(before, after, named).differing] == ["made.disks.a.free"]


def test_printed_facts_state_no_moving_value(host: Callable[[], Live]) -> None:
    lines = [line.strip() for line in format_facts(["made"], host(), every=True)]
    assert [line.split(":")[0] for line in lines if not line.startswith("#")] == [
        "made",
        "size",
        "disks",
        "a",
        "type",
        "b",
        "type",
    ]
    assert sum("changes by itself" in line for line in lines) == 4
    assert any(line.startswith("changes:  `free`") for line in format_fact("made.disks"))
