"""A pattern that backtracks without end ends with the run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, List, Tuple

import pytest
from pretended import Pretended, Said, planned

from nodespec.facts.declaration import resolve_place
from nodespec.facts.live import Alarm, Facts, Live
from nodespec.host.directory import DirectoryTree
from nodespec.judge import evaluation
from nodespec.judge.judge import Terms, judge
from nodespec.judge.memo import MemoizedPlan
from nodespec.model.observation import Limits
from nodespec.model.report import Finding, Host, Seat
from nodespec.recording.replay import ReplayedFacts

if TYPE_CHECKING:
    from pathlib import Path

    from nodespec.model.json_types import Json

LONG = "a" * 4000
ENDLESS = ["(a+)+b", "(a|a)*b", "(?:a?){30}a{30}b", r"(\w+\s?)*:"]


def judged(text: str, said: dict[str, Said], seconds: float) -> dict[str, Finding]:
    found = evaluation.evaluate_plan(planned(a=text), Pretended(said), time.monotonic() + seconds)
    return {one.finding.id: one.finding for one in found}


@pytest.mark.parametrize("pattern", ENDLESS)
def test_what_takes_too_long_is_unknown(pattern: str) -> None:
    text = f"require: {{os: {{pretty_name: {{matches: '{pattern}'}}}}}}"
    begun = time.process_time()
    finding = judged(text, {"os.pretty_name": LONG}, 0.2)["os.pretty_name"]
    assert time.process_time() - begun < 2
    assert finding.outcome == "unknown"
    assert finding.parts[0].observed.reason == "timed out"
    assert finding.sentence.endswith("not known: the regular expression took too long")


def test_many_patterns_end_with_the_run_and_quick_ones_are_decided() -> None:
    places = [f"sysctl.kernel.s{number}" for number in range(30)]
    slow = "".join(f"kernel.s{number}: {{not: {{matches: (a+)+b}}}}, " for number in range(30))
    text = f"require: {{sysctl: {{{slow}}}, os: {{pretty_name: {{matches: a*}}}}}}"
    begun = time.process_time()
    found = judged(text, {**dict.fromkeys(places, LONG), "os.pretty_name": LONG}, 0.1)
    assert time.process_time() - begun < 2
    assert {found[place].outcome for place in places} == {"unknown"}
    assert found["os.pretty_name"].outcome == "pass"


def test_what_a_set_lacks_is_found_in_time_too() -> None:
    """A member that is forbidden is found at once, and another takes ages: what is told of both must not."""
    text = "require: {os: {families: {none: [{matches: (a+)+b}, {matches: b}]}}}"
    finding = judged(text, {"os.families": frozenset({"b", LONG})}, 0.2)["os.families"]
    assert finding.outcome == "unknown"


@pytest.mark.parametrize("access", ["live", "recording", "of a fleet", "quantified"])
@pytest.mark.parametrize(("left", "bounds"), [(0.5, (0.01, 0.5)), (60.0, (2.0, 2.0)), (-1.0, (0.01, 0.01))])
def test_a_pattern_has_the_time_that_is_left_of_the_run(
    access: str, left: float, bounds: Tuple[float, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: List[float] = []

    class Stopwatch(Alarm):
        def __init__(self, seconds: float, *, busy: bool = False) -> None:
            given.append(seconds)
            super().__init__(60, busy=busy)

    monkeypatch.setattr(evaluation, "Alarm", Stopwatch)
    rule = "require: {os: {pretty_name: {matches: 'a*'}}}"
    if access == "quantified":
        rule = "rules: [{name: r, every: packages, require: {architecture: {matches: 'a.*'}}}]"
    plan, seat = planned(a=rule), Seat("running", access, Host("x"))
    rows: Json = {"bash": {"is": ["there", 1], "architecture": ["all", 1]}}
    notes: Json = {"os.pretty_name": ["aaa", "/etc/os-release"], "packages": {"rest": {"absent": ""}, "rows": rows}}
    facts: Facts = ReplayedFacts(notes)
    if access == "live":
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/os-release").write_text("PRETTY_NAME=aaa\n", "utf-8")
        live = Live(DirectoryTree(str(tmp_path)), time.monotonic() + 60)
        live.observe(resolve_place(("os", "pretty_name")))
        live.deadline = time.monotonic() + left
        facts = live
    reading = MemoizedPlan(plan) if access == "of a fleet" else None
    judge(plan, facts, seat, Terms(0, limits=Limits(run_seconds=left)), reading)
    assert len(given) >= 1 or left < 0
    assert all(bounds[0] <= seconds <= bounds[1] for seconds in given), given
