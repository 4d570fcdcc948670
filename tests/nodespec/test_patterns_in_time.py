"""A pattern that backtracks without end ends with the run."""

from __future__ import annotations

import time

import pytest
from pretended import Pretended, Said, planned

from nodespec.judge import evaluation
from nodespec.model.report import Finding

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
