"""What many hosts say alike is read, judged and told once; and each is judged as it would be alone."""

from __future__ import annotations

import random
from contextlib import ExitStack
from copy import deepcopy
from typing import Any, Callable, Dict, List
from unittest import mock

import pytest
from pretended import NOW, planned

from nodespec.facts.live import Alarm
from nodespec.judge import evaluation, memo, pattern
from nodespec.judge.conclusion import Choice
from nodespec.judge.judge import Terms, judge
from nodespec.judge.memo import MemoizedPlan, MemoizedRecording, MemoizedTee, Memory
from nodespec.model.json_types import Json
from nodespec.model.observation import TimedOut
from nodespec.model.plan import Plan
from nodespec.model.report import Host, Report, Seat, Waiver
from nodespec.recording import observation_decoding
from nodespec.recording.replay import ReplayedFacts
from nodespec.recording.tee import CapturedTable

SPEC = """
require:
  kernel: {release: {matches: "6[.].*"}, config: {USER_NS: enabled, NO_SUCH: undefined}}
  modules: {overlay: usable, overlai: absent}
  sysctl: {net.ipv4.ip_forward: 1}
  files: {/etc/os-release: {type: file, size: ">=1"}, /etc/no-such: absent}
  os: {families: [debian], variant: absent}
  memory: {total: ">=2Gi"}
recommend:
  swap: {total: 0}
rules:
  - name: packages-are-installed
    every: packages
    where: {architecture: amd64}
    require: {status: installed, version: "<100"}
  - name: one-of-two
    any:
      - cgroups: {version: 2}
      - memory: {total: ">=8Gi"}
    when: {kernel: {config: {USER_NS: enabled}}}
"""
FACTS: Dict[str, Json] = {
    "kernel.release": ["6.1.0", "/proc/sys/kernel/osrelease"],
    "kernel.config": {"from": "/proc/config.gz", "rest": ["undefined"], "asked": {"USER_NS": ["y", 7]}},
    "modules": {
        "from": "/lib/modules",
        "rest": {"absent": ""},
        "rows": {"overlay": ["loadable", 3], "overlap": ["loadable", 4]},
    },
    "sysctl": {"from": "/proc/sys/*", "rest": {"absent": ""}, "asked": {"net.ipv4.ip_forward": ["1"]}},
    "files": {
        "from": "/etc/os-release",
        "rest": {"absent": "", "from": "/*"},
        "asked": {"/etc/os-release": {"is": ["there"], "type": ["file"], "size": [7]}},
    },
    "os.families": [["debian"], 6, "/etc/os-release"],
    "os.variant": {"absent": "", "from": "/etc/os-release"},
    "memory.total": [4 << 30, 1, "/proc/meminfo"],
    "swap.total": [0, "/proc/swaps"],
    "cgroups.version": ["2", 11, "/proc/self/mountinfo"],
    "packages": {
        "from": "/var/lib/dpkg/status",
        "rest": {"absent": ""},
        "usual": {"architecture": ["amd64", 2], "status": ["installed", 1]},
        "rows": {
            "bash": {"is": ["there", 1], "version": ["5.2", 4]},
            "sed": {"is": ["there", 9], "version": ["4.9", 12]},
        },
    },
}
ODD: List[Any] = [
    *(None, True, 1, 1.0, "1", "y", "", [], [True], [1], [1.0], ["1"], ["m", 8], ["y", True], [[]], {}),
    {"unknown": "hidden", "say": "s"},
    {"absent": "x"},
    {"value": "y", "or": ["m"]},
    {"value": 1, "line": 2, "from": "/a", "inferred": True},
    {"is": ["there"], "size": [1]},
    *("x" * 3000, ["x" * 3000], {"absent": "x" * 3000}, {"unknown": "hidden", "say": "x" * 3000}),
    *({"rows": {}}, {"usual": 1}),
]
TERMS = Terms(NOW)


def seat(name: str) -> Seat:
    return Seat("running", f"facts {name}.json", Host(name))


def told(plan: Plan, reading: MemoizedPlan, facts: Json, terms: Terms = TERMS, name: str = "a") -> Report:
    return judge(plan, MemoizedTee(MemoizedRecording(facts, reading.memory)), seat(name), terms, reading)


def alone(plan: Plan, facts: Json, terms: Terms = TERMS, name: str = "a") -> Report:
    return judge(plan, ReplayedFacts(facts), seat(name), terms)


def varied(chance: random.Random) -> Json:
    """A recording with a few pieces of it changed, at any depth."""
    made = deepcopy(FACTS)
    for _ in range(chance.randrange(4)):
        at: Any = made
        while True:
            key = chance.choice([*at] if isinstance(at, dict) else range(len(at)))
            if isinstance(at[key], (dict, list)) and at[key] and chance.random() < 0.7:
                at = at[key]
                continue
            if isinstance(at, dict) and chance.random() < 0.2:
                del at[key]
            else:
                at[key] = deepcopy(chance.choice(ODD))
            break
        if not made:
            break
    return made


@pytest.mark.parametrize("most", [0, 1, 40, memo.MAX_ENTRIES])
def test_each_is_judged_as_it_would_be_alone(most: int) -> None:
    plan, chance = planned("s", s=SPEC), random.Random(most)  # noqa: S311 - the same every time
    reading, forgotten = MemoizedPlan(plan, Memory(most)), 0
    waivers = (
        Waiver(("swap.*", "memory.*"), ("a1*",), "r", "o", "2030-01-01", "w.yaml:1:1"),
        Waiver(("sysctl.*",), ("*",), "r", "o", "2030-01-01", "w.yaml:2:1"),
    )
    outcomes = set()
    for number in range(150):
        facts, name = varied(chance), f"a{number}"
        terms = Terms(NOW, Choice(strict=number % 7 == 0), waivers if number % 3 else ())
        there = reading.memory.seen
        found, wanted = told(plan, reading, facts, terms, name), alone(plan, facts, terms, name)
        forgotten += there is not reading.memory.seen
        assert found == wanted, facts
        assert repr(found.facts) == repr(wanted.facts)  # which tells true from 1
        outcomes |= {(finding.id, finding.outcome) for finding in found.findings}
    assert len(outcomes) > 25
    assert (forgotten > 5) == (most < 100)


def counted(make: Callable[[], object]) -> Dict[str, int]:
    """How often what costs is done meanwhile."""
    spied = (
        (observation_decoding, "_decode_object"),
        (pattern, "parse_pattern"),
        (evaluation, "_evaluate_requirement"),
        (evaluation, "evaluate_clause"),
        (CapturedTable, "encode"),
    )
    with ExitStack() as stack:
        spies = {
            name: stack.enter_context(mock.patch.object(owner, name, autospec=True, side_effect=getattr(owner, name)))
            for owner, name in spied
        }
        make()
    return {name: int(spy.call_count) for name, spy in spies.items()}


def test_what_hosts_say_alike_is_read_judged_and_written_down_once() -> None:
    plan = planned("s", s=SPEC)
    reading = MemoizedPlan(plan)
    first = counted(lambda: told(plan, reading, deepcopy(FACTS)))
    assert min(first.values()) >= 4, first
    names = [f"node-{number}" for number in range(50)]
    more = counted(lambda: [told(plan, reading, deepcopy(FACTS), name=name) for name in names])
    assert more.pop("_decode_object") == 2 * len(names)  # the rest of a table, where a row is missing
    assert not any(more.values()), more
    one, other = (told(plan, reading, deepcopy(FACTS), name=name) for name in "ab")
    assert all(mine is yours for mine, yours in zip(one.findings, other.findings))
    assert isinstance(one.facts, dict)
    assert isinstance(other.facts, dict)
    assert all(note is other.facts[name] for name, note in one.facts.items())


def test_one_thing_said_differently_costs_what_asks_it() -> None:
    plan = planned("s", s=SPEC)
    reading, base = MemoizedPlan(plan), alone(plan, FACTS)
    told(plan, reading, FACTS)
    other: Dict[str, Json] = {**deepcopy(FACTS), "memory.total": [1 << 30, 1, "/proc/meminfo"]}
    more = counted(lambda: told(plan, reading, other))
    assert more["_evaluate_requirement"] == 2  # the requirement, and the rule that asks it too
    changed = [finding.id for finding, was in zip(told(plan, reading, other).findings, base.findings) if finding != was]
    assert changed == ["memory.total"]  # of the rule the first alternative holds


def kept(memory: Memory) -> int:
    return sum(len(one) for one in (memory.seen, memory.names, memory.noted, memory.kept, memory.disposed))


def test_what_is_kept_is_bounded_in_number_and_length() -> None:
    plan = planned("s", s=SPEC)
    memory = Memory(500)
    reading = MemoizedPlan(plan, memory)
    for number in range(200):
        facts = deepcopy(FACTS)
        facts["memory.total"] = [number << 30, 1, "/proc/meminfo"]
        facts["os.variant"] = [str(number) * 3000, "/etc/os-release"]
        facts["kernel.release"] = ["6." + str(number) * 400, "/proc/sys/kernel/osrelease"]
        told(plan, reading, facts)
        assert kept(memory) <= 500
        assert not [key for key in memory.seen if len(str(key)) > memo.MAX_PIECE_CHARS + 500]
        assert not [one for one in memory.disposed.values() if len(one.sentence) > memo.MAX_PIECE_CHARS + 500]
    few = Memory(10)
    told(plan, MemoizedPlan(plan, few), FACTS)
    assert kept(few) <= 10


def test_pieces_that_are_written_alike_and_are_not() -> None:
    """A row that was enumerated has the usual columns, one that was asked for has not; no names are no reason."""
    usual: Json = {"architecture": ["amd64"], "status": ["installed"], "version": ["5.2"]}
    row: Json = {"bash": {"is": ["there", 1]}}
    plan = planned("s", s="require: {packages: {bash: {version: '>=5'}}}")
    reading = MemoizedPlan(plan)
    parts = ("rows", "asked", "rows")
    said = [told(plan, reading, {"packages": {"usual": usual, part: row}}).findings[0].outcome for part in parts]
    assert said == ["pass", "unknown", "pass"]
    plan = planned("s", s="rules: [{name: all, every: packages, require: {version: '>=5'}}]")
    reading = MemoizedPlan(plan)
    names: Json = {"rows": {name: {"is": ["there"], "version": ["5"]} for name in ("hidden", "there", "too")}}
    table: Json = {"rest": {"unknown": "hidden", "say": "there", "look": "too"}}
    for facts in ({"packages": names}, {"packages": table}, {"packages": names}):
        assert told(plan, reading, facts) == alone(plan, facts)


def test_what_took_too_long_on_one_host_says_nothing_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned("s", s="require: {kernel: {release: {matches: '6.*'}}}")
    reading, slow = MemoizedPlan(plan), [True]

    class Soon(Alarm):
        def __enter__(self) -> None:
            super().__enter__()
            if slow:
                self.__exit__(slow.pop())
                raise TimedOut

    monkeypatch.setattr("nodespec.judge.evaluation.Alarm", Soon)
    assert [told(plan, reading, FACTS).findings[0].outcome for _ in range(2)] == ["unknown", "pass"]


def test_a_row_that_is_not_there_is_told_by_the_rows_that_are() -> None:
    plan = planned("s", s="require: {modules: {overlai: usable}}")
    reading = MemoizedPlan(plan)
    rows: List[Dict[str, Json]] = [{"overlay": ["loadable"]}, {"overlaid": ["loadable"]}, {"overlay": ["loadable"]}]
    tables: List[Json] = [{"rest": {"absent": ""}, "rows": dict(one)} for one in rows]
    said = [told(plan, reading, {"modules": table}).findings[0].sentence for table in tables]
    assert "there is `overlay`" in said[0]
    assert "there is `overlaid`" in said[1]
    assert said[2] == said[0]
