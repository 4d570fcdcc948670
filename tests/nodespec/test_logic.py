"""The logic that joins outcomes: as tables, and against a formulation that shares nothing with it."""

from __future__ import annotations

from itertools import product
from typing import Dict, List, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.facts.declaration import Leaf, Place
from nodespec.judge.expectation import PRESENT
from nodespec.judge.pattern import Clause, Joined, Pattern, apply_condition, compute_outcome, join_outcomes
from nodespec.model.observation import Absent, Evidence

OUTCOMES = ("fail", "unknown", "deferred", "pass")
UNDECIDED = ("unknown", "deferred")


@pytest.mark.parametrize("one", OUTCOMES)
@pytest.mark.parametrize("two", OUTCOMES)
def test_all_and_any_of_two(one: str, two: str) -> None:
    first = {"all": ("fail", "unknown", "deferred", "pass"), "any": ("pass", "unknown", "deferred", "fail")}
    for how, order in first.items():
        assert join_outcomes(how, [one, two]) == next(outcome_ for outcome_ in order if outcome_ in (one, two))


def test_not_exchanges_pass_and_fail_and_nothing_else() -> None:
    assert [join_outcomes("not", [one]) for one in OUTCOMES] == ["pass", "unknown", "deferred", "fail"]


@pytest.mark.parametrize("required", OUTCOMES)
@pytest.mark.parametrize("when", OUTCOMES)
def test_a_condition(when: str, required: str) -> None:
    table: Dict[str, Dict[str, str]] = {
        "fail": dict.fromkeys(OUTCOMES, "not-applicable"),
        "pass": {one: one for one in OUTCOMES},
        "unknown": {"pass": "pass", "fail": "unknown", "unknown": "unknown", "deferred": "unknown"},
        "deferred": {"pass": "pass", "fail": "deferred", "unknown": "unknown", "deferred": "deferred"},
    }
    assert apply_condition(when, required) == table[when][required]


# against possible worlds: what cannot be seen is one or the other, and what does not run yet likewise

Formula = Union[int, "Compound"]


class Compound(List["Formula"]):
    """Formulas joined; of leaves, each of which stands in it once."""

    how: str


def compound(how: str, parts: List[Formula]) -> Formula:
    made = Compound(parts[:1] if how == "not" else parts)
    made.how = how
    return made


FORMULAS = st.recursive(
    st.integers(0, 99),
    lambda below: st.builds(compound, st.sampled_from(["all", "any", "not"]), st.lists(below, min_size=1, max_size=3)),
    max_leaves=6,
)


def numbered(formula: Formula, outcomes: List[str], drawn: List[str]) -> Formula:
    """The formula with its leaves numbered; what each is goes into `outcomes`."""
    if isinstance(formula, Compound):
        return compound(formula.how, [numbered(part, outcomes, drawn) for part in formula])
    outcomes.append(drawn[formula % len(drawn)])
    return len(outcomes) - 1


def holds(formula: Formula, world: Dict[int, bool]) -> bool:
    if not isinstance(formula, Compound):
        return world[formula]
    parts = [holds(part, world) for part in formula]
    return not parts[0] if formula.how == "not" else all(parts) if formula.how == "all" else any(parts)


def expected(formula: Formula, outcomes: List[str]) -> str:
    """Decided where every world agrees; unknown where what is unknown can matter at all; else deferred."""
    free = [at for at, one in enumerate(outcomes) if one in UNDECIDED]
    known = {at: one == "pass" for at, one in enumerate(outcomes) if one not in UNDECIDED}
    verdicts = {}
    for choice in product((False, True), repeat=len(free)):
        verdicts[choice] = holds(formula, {**known, **dict(zip(free, choice))})
    if len(set(verdicts.values())) == 1:
        return "pass" if next(iter(verdicts.values())) else "fail"
    for choice, verdict in verdicts.items():
        for at, leaf in enumerate(free):
            other = (*choice[:at], not choice[at], *choice[at + 1 :])
            if outcomes[leaf] == "unknown" and verdicts[other] != verdict:
                return "unknown"
    return "deferred"


def pattern(formula: Formula) -> Pattern:
    if isinstance(formula, Compound):
        return Joined(formula.how, tuple(map(pattern, formula)))
    leaf = Leaf(lambda _: Absent(Evidence("")), (), "", sensitive=False)
    return Clause(Place((str(formula),), leaf), PRESENT)


@settings(max_examples=400, deadline=None)
@given(FORMULAS, st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=6))
def test_a_pattern_is_decided_where_every_world_agrees(drawn: Formula, values: List[str]) -> None:
    outcomes: List[str] = []
    formula = numbered(drawn, outcomes, values)
    found = compute_outcome(pattern(formula), lambda clause: outcomes[int(clause.place.path[0])])
    assert found == expected(formula, outcomes)
