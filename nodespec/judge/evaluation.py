"""Evaluate requirements on facts.

No other module decides whether a requirement passes, fails or is unknown.
"""

from __future__ import annotations

import time
from functools import cached_property

from nodespec.facts.declaration import Place
from nodespec.facts.live import Alarm, Facts
from nodespec.facts.value_types import OTHER, Datum, Kind
from nodespec.judge import conclusion
from nodespec.judge import pattern as patterns
from nodespec.judge.clause_result import (
    ClauseResult,
    describe_unmet_condition,
    evaluate_clause,
    format_sentence,
    join_results,
    select_default_fix,
)
from nodespec.judge.pattern import Clause, Pattern
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model import plan as plans
from nodespec.model.observation import DEFAULT_LIMITS, DEFERRED, Absent, Limits, Observation, TimedOut, Unknown, Value
from nodespec.model.plan import Data, Plan, Requirement
from nodespec.model.report import Cause, Finding
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence, Tuple, Union

    from nodespec.model.json_types import Json

MIN_PATTERN_SECONDS = 0.01  # minimum timeout in seconds, even after the deadline of the run
PATTERN_TIMED_OUT = Unknown(
    "timed out", "the regular expression took too long", "write a pattern without nested repetition"
)


class RequirementResult(NamedTuple):
    """The finding of a requirement, its clause results, and its possible causes.

    Other findings may have the same causes.
    """

    finding: Finding
    results: Tuple[ClauseResult, ...]
    causes: Tuple[Tuple[str, str, str], ...]


def evaluate_plan(
    plan: Plan,
    facts: Facts,
    end: float = 0.0,
    reading: Optional[PreparedPlan] = None,
    limits: Limits = DEFAULT_LIMITS,
) -> List[RequirementResult]:
    """Evaluate all requirements of a plan, in order.

    `end` is the deadline for regular expressions and rows, in seconds of `time.monotonic`.
    """
    known = BoundFacts(facts, reading or PreparedPlan(plan), end or time.monotonic() + limits.run_seconds, limits)
    return [known.reading.evaluate(requirement, known) for requirement in plan.requirements]


class PreparedPlan:
    """A plan prepared for all hosts of one context: work that is done once."""

    def __init__(self, plan: Plan, context: str = "running") -> None:
        self.plan = plan  # as requested, before the context selects defaults
        self.at_rest = context != "running"
        self.bound = plans.bind_defaults(plan, context)
        self.params = {param.name: param for param in self.bound.params}
        self.given = {param.name: patterns.observe_param(param) for param in self.bound.params}
        self.settled: Dict[
            int, Tuple[Tuple[ClauseResult, ...], str]
        ] = {}  # conditions that use only parameters, by id()
        self.idle: Dict[str, RequirementResult] = {}  # requirements that apply to no host, by id
        self.disposed = conclusion.assign_dispositions
        self.parts: Dict[conclusion.Choice, Plan] = {}  # the plan after --only and --skip
        self._read: Dict[int, Tuple[Data, Pattern]] = {}  # by id(); the stored data keeps that id() in use

    @cached_property
    def packed(self) -> Dict[str, Json]:
        """The plan as a report embeds it."""
        from nodespec.model.plan_json import encode_sealed_plan  # noqa: PLC0415 - only needed for a stored report

        return encode_sealed_plan(self.plan)

    def pattern(self, data: Data) -> Pattern:
        """Return the parsed pattern of a part of the plan."""
        if id(data) not in self._read:
            self._read[id(data)] = data, patterns.parse_pattern(data, self.params)
        return self._read[id(data)][1]

    def evaluate(self, requirement: Requirement, facts: BoundFacts) -> RequirementResult:
        """Evaluate a requirement."""
        return _evaluate_requirement(requirement, facts)


class BoundFacts:
    """Facts of a host and parameters. A parameter is looked up like a fact."""

    def __init__(self, facts: Facts, reading: PreparedPlan, end: float, limits: Limits) -> None:
        self.facts, self.reading, self.end, self.limits = facts, reading, end, limits
        self.rows, self.params = facts.rows, reading.params
        self.late = False  # a timeout occurred: the result must not be memoized for other hosts

    def observe(self, place: Place) -> Observation[Datum]:
        """Return the observation of a place."""
        return self.reading.given[place.path[1]] if place.path[0] == patterns.PARAMS else self.facts.observe(place)

    def evaluate(self, pattern: Pattern) -> Tuple[ClauseResult, ...]:
        """Return the clause results of a pattern."""
        return _evaluate_pattern(pattern, self)


def _evaluate_requirement(requirement: Requirement, facts: BoundFacts) -> RequirementResult:
    if requirement.id in facts.reading.idle:
        return facts.reading.idle[requirement.id]
    when, condition = _evaluate_condition(requirement.when, facts)
    if condition == "fail":
        judged = _make_result(facts, requirement, "not-applicable", when, describe_unmet_condition(when))
        if id(requirement.when) in facts.reading.settled:
            facts.reading.idle[requirement.id] = judged
        return judged
    if "every" in requirement.pattern or "some" in requirement.pattern:
        from nodespec.judge.quantified_rule import evaluate_rows  # noqa: PLC0415 - few specs have quantified rules

        required, results, text = evaluate_rows(requirement.pattern, facts)
    else:
        pattern = facts.reading.pattern(requirement.pattern)
        results = _evaluate_pattern(pattern, facts)
        required = join_results(pattern, results)
        results = _select_decisive(pattern, results) if required == "pass" else results
        text = format_sentence(required, results, "any" in requirement.pattern)
    outcome = patterns.apply_condition(condition, required)
    if outcome in ("unknown", DEFERRED) and condition != "pass":
        undecided = tuple(result for result in when if result.outcome in ("unknown", DEFERRED))
        return _make_result(
            facts, requirement, outcome, (*undecided, *results), f"condition: {format_sentence(condition, when)}"
        )
    return _make_result(facts, requirement, outcome, results, text)


def _evaluate_condition(data: Data, facts: BoundFacts) -> Tuple[Tuple[ClauseResult, ...], str]:
    if not data:
        return (), "pass"
    settled = facts.reading.settled
    if id(data) in settled:
        return settled[id(data)]
    pattern = facts.reading.pattern(data)
    results = _evaluate_pattern(pattern, facts)
    evaluated = results, join_results(pattern, results)
    if all(clause.place.path[0] == patterns.PARAMS for clause in patterns.list_clauses(pattern)):
        settled[id(data)] = evaluated
    return evaluated


def _make_result(
    facts: BoundFacts, requirement: Requirement, outcome: str, results: Sequence[ClauseResult], text: str
) -> RequirementResult:
    fix = ""  # For any other outcome it is not known that one is needed.
    if outcome == "fail":
        own = (facts.reading.at_rest and requirement.fix_at_rest) or requirement.fix
        fix = own or select_default_fix(results, at_rest=facts.reading.at_rest)
    parts = tuple(result.part for result in results)
    words = (text, requirement.why, fix, requirement.see, requirement.source, parts)
    finding = Finding(requirement.id, requirement.level, outcome, "enforced", *words, tags=requirement.tags)
    return RequirementResult(finding, tuple(results), _list_causes(outcome, results))


# clauses


def _evaluate_pattern(pattern: Pattern, facts: BoundFacts, *, negated: bool = False) -> Tuple[ClauseResult, ...]:
    if isinstance(pattern, Clause):
        return (_evaluate_clause(pattern, facts, negated=negated),)
    negated ^= pattern.how == "not"
    return tuple(result for part in pattern.parts for result in _evaluate_pattern(part, facts, negated=negated))


def _evaluate_clause(clause: Clause, facts: BoundFacts, *, negated: bool) -> ClauseResult:
    if clause.other:
        from nodespec.judge.same_value import evaluate_same  # noqa: PLC0415 - few specs compare two facts

        return evaluate_same(clause, facts.observe(clause.place), facts.observe(clause.other), negated=negated)
    if not clause.aliases and not clause.expect.opaque:
        return evaluate_clause(clause, facts.observe(clause.place), negated=negated)
    observations = [(facts.observe(place), place) for place in (clause.place, *clause.aliases)]
    if not clause.expect.opaque:
        return evaluate_clause(clause, *_select_strongest(clause, observations), negated=negated)
    try:  # a regular expression can backtrack exponentially
        seconds = min(facts.end - time.monotonic(), facts.limits.pattern_seconds)
        with Alarm(max(seconds, MIN_PATTERN_SECONDS), busy=True):
            return evaluate_clause(clause, *_select_strongest(clause, observations), negated=negated)
    except TimedOut:
        facts.late = True
        return evaluate_clause(clause, PATTERN_TIMED_OUT, negated=negated)


def _select_strongest(
    clause: Clause, observations: Sequence[Tuple[Observation[Datum], Place]]
) -> Tuple[Observation[Datum], str]:
    """Return the strongest value of several aliases, and the alias that supplied it.

    An alias that is unknown might have a stronger value. If that could change the outcome, the result is unknown.
    """
    if len(observations) == 1:
        return observations[0][0], ""
    kind = clause.place.kind
    values = [
        (kind.strength(observation.value), observation, place)
        for observation, place in observations
        if isinstance(observation, Value)
    ]
    unknown = next((observation for observation, _ in observations if isinstance(observation, Unknown)), None)
    if not values:
        return unknown or observations[0][0], ""
    _, best, place = max(values, key=lambda one: one[0])
    name = place.key if place != clause.place else ""
    may = _list_strongest_values(
        kind, [observation for observation, _ in observations if not isinstance(observation, Unknown)]
    )
    hidden = (one for one in kind.others() if one != OTHER and kind.strength(one) >= min(map(kind.strength, may)))
    if unknown and len(set(map(clause.expect.test, (*may, *hidden)))) > 1:
        return unknown, ""
    return Value(may[0], best.evidence, may[1:]), name


def _list_strongest_values(kind: Kind[Datum], observations: Sequence[Union[Value[Datum], Absent]]) -> Tuple[Datum, ...]:
    """Return the possible strongest values of all aliases, the most likely first.

    Each observation may have several possible values.
    """
    several = [
        (observation.value, *observation.others) for observation in observations if isinstance(observation, Value)
    ]
    least = max(min(map(kind.strength, values)) for values in several)
    best = max((values[0] for values in several), key=kind.strength)
    return tuple(dict.fromkeys(v for values in ((best,), *several) for v in values if kind.strength(v) >= least))


def _select_decisive(pattern: Pattern, results: Tuple[ClauseResult, ...]) -> Tuple[ClauseResult, ...]:
    """Return the clause results that decided a pass.

    For `any`, these are the results of the first alternative that passes; otherwise all.
    """
    if isinstance(pattern, Clause) or pattern.how != "any":
        return results
    for part_ in pattern.parts:
        size = len(tuple(patterns.list_clauses(part_)))
        own, results = results[:size], results[size:]
        if join_results(part_, own) == "pass":
            return own
    return results


# causes


def group_causes(judged: Sequence[RequirementResult]) -> Tuple[Cause, ...]:
    """Group findings that are unknown for the same reason or fail for the same cause."""
    groups: dict[Tuple[str, str], List[Tuple[str, str, str]]] = {}
    for finding, _, own in judged:
        for key, say, hint in own:
            groups.setdefault((finding.outcome, key), []).append((finding.id, say, hint))
    return tuple(
        Cause(outcome, _join_texts(members), members[0][2], tuple(dict.fromkeys(member[0] for member in members)))
        for (outcome, _), members in groups.items()
        if len({member[0] for member in members}) > 1
    )


def _list_causes(outcome: str, results: Sequence[ClauseResult]) -> Tuple[Tuple[str, str, str], ...]:
    """Return the causes of a finding, which other findings may share."""
    if outcome == "fail" and len(results) > 1:  # with several clauses, the cause of one does not explain the finding
        return ()
    missing = [s for s in results if s.part.outcome == outcome and not isinstance(s.observation, Value)]
    return tuple(dict.fromkeys(filter(any, map(_find_cause, missing)))) if missing else ()


def _find_cause(result: ClauseResult) -> Tuple[str, str, str]:
    """Return the cause of a clause result: its key, its text, and the hint."""
    observation = result.observation
    if isinstance(observation, Unknown):
        return f"{observation.reason}: {observation.look or observation.say}", observation.say, observation.look
    if isinstance(observation, Absent) and observation.say and not observation.say.startswith("there is"):
        return observation.say, observation.say, ""
    return "", "", ""


def _join_texts(members: Sequence[Tuple[str, str, str]]) -> str:
    says = list(dict.fromkeys(say for _, say, _ in members))
    return says[0] if len(says) == 1 else f"{says[0]} (and {len(says) - 1} similar)"
