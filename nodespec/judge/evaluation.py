"""Evaluate requirements on facts.

No other module decides whether a requirement passes, fails or is unknown.
"""

from __future__ import annotations

import time
from functools import cached_property
from itertools import chain

from nodespec.facts import declaration
from nodespec.facts.declaration import Place, Table
from nodespec.facts.live import DEADLINE_SECONDS, Alarm, Facts
from nodespec.facts.value_types import OTHER, Datum, Kind
from nodespec.judge import conclusion
from nodespec.judge import pattern as patterns
from nodespec.judge.clause_result import (
    ClauseResult,
    compare_observation,
    describe_unmet_condition,
    evaluate_clause,
    format_sentence,
    select_default_fix,
)
from nodespec.judge.pattern import Clause, Pattern
from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.model import plan as plans
from nodespec.model.observation import DEFERRED, Absent, Observation, TimedOut, Unknown, Value
from nodespec.model.plan import Data, Node, Plan, Requirement
from nodespec.model.report import Cause, Finding
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Optional, Sequence, Tuple, Union

    from nodespec.model.json_types import Json

ROWS_PER_TIME_CHECK = 256  # rows between two checks of the deadline
MAX_SHOWN_ROWS = 50  # maximum rows in the report of a quantified rule; its text counts all rows
MAX_PATTERN_SECONDS = 2.0  # timeout of one regular expression
MIN_PATTERN_SECONDS = 0.01  # minimum timeout in seconds, even after the deadline of the run
PATTERN_TIMED_OUT = Unknown(
    "timed out", "the regular expression took too long", "write a pattern without nested repetition"
)


class RequirementResult(NamedTuple):
    """The finding of a requirement, its clause results, and its possible causes.

    Other findings may have the same causes.
    """

    finding: Finding
    sights: Tuple[ClauseResult, ...]
    causes: Tuple[Tuple[str, str, str], ...]


def evaluate_plan(
    plan: Plan, facts: Facts, end: float = 0.0, reading: Optional[PreparedPlan] = None
) -> List[RequirementResult]:
    """Evaluate all requirements of a plan, in order.

    `end` is the deadline for regular expressions and rows, in seconds of `time.monotonic`.
    """
    known = BoundFacts(facts, reading or PreparedPlan(plan), end or time.monotonic() + DEADLINE_SECONDS)
    return [known.reading.evaluate(requirement, known) for requirement in plan.requirements]


class PreparedPlan:
    """A plan prepared for all hosts of one context: work that is done once."""

    def __init__(self, plan: Plan, context: str = "running") -> None:
        self.plan = plan  # as requested, before the context selects defaults
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
        return plans.encode_sealed_plan(self.plan)

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

    def __init__(self, facts: Facts, reading: PreparedPlan, end: float) -> None:
        self.facts, self.reading, self.end = facts, reading, end
        self.rows = facts.rows
        self.late = False  # a timeout occurred: the result must not be memoized for other hosts

    def observe(self, place: Place) -> Observation[Datum]:
        """Return the observation of a place."""
        return self.reading.given[place.path[1]] if place.path[0] == patterns.PARAMS else self.facts.observe(place)


def _evaluate_requirement(requirement: Requirement, facts: BoundFacts) -> RequirementResult:
    if requirement.id in facts.reading.idle:
        return facts.reading.idle[requirement.id]
    when, condition = _evaluate_condition(requirement.when, facts)
    if condition == "fail":
        judged = _make_result(requirement, "not-applicable", when, describe_unmet_condition(when))
        if id(requirement.when) in facts.reading.settled:
            facts.reading.idle[requirement.id] = judged
        return judged
    if "every" in requirement.pattern or "some" in requirement.pattern:
        required, sights, said = _evaluate_rows(requirement.pattern, facts)
    else:
        pattern = facts.reading.pattern(requirement.pattern)
        sights = _evaluate_pattern(pattern, facts)
        required = _join_results(pattern, sights)
        sights = _select_decisive(pattern, sights) if required == "pass" else sights
        said = format_sentence(required, sights, "any" in requirement.pattern)
    outcome = patterns.apply_condition(condition, required)
    if outcome in ("unknown", DEFERRED) and condition != "pass":
        undecided = tuple(sight for sight in when if sight.outcome in ("unknown", DEFERRED))
        return _make_result(
            requirement, outcome, (*undecided, *sights), f"condition: {format_sentence(condition, when)}"
        )
    return _make_result(requirement, outcome, sights, said)


def _evaluate_condition(data: Data, facts: BoundFacts) -> Tuple[Tuple[ClauseResult, ...], str]:
    if not data:
        return (), "pass"
    settled = facts.reading.settled
    if id(data) in settled:
        return settled[id(data)]
    pattern = facts.reading.pattern(data)
    sights = _evaluate_pattern(pattern, facts)
    found = sights, _join_results(pattern, sights)
    if all(clause.place.path[0] == patterns.PARAMS for clause in patterns.list_clauses(pattern)):
        settled[id(data)] = found
    return found


def _make_result(
    requirement: Requirement, outcome: str, sights: Sequence[ClauseResult], said: str
) -> RequirementResult:
    fix = requirement.fix or (select_default_fix(sights) if outcome == "fail" else "")
    parts = tuple(sight.part for sight in sights)
    words = (said, requirement.why, fix, requirement.see, requirement.source, parts)
    finding = Finding(requirement.id, requirement.level, outcome, "enforced", *words)
    return RequirementResult(finding, tuple(sights), _list_causes(outcome, sights))


# clauses


def _evaluate_pattern(pattern: Pattern, facts: BoundFacts, *, negated: bool = False) -> Tuple[ClauseResult, ...]:
    if isinstance(pattern, Clause):
        return (_evaluate_clause(pattern, facts, negated=negated),)
    negated ^= pattern.how == "not"
    return tuple(sight for one in pattern.parts for sight in _evaluate_pattern(one, facts, negated=negated))


def _evaluate_clause(clause: Clause, facts: BoundFacts, *, negated: bool) -> ClauseResult:
    looks = [(facts.observe(place), place) for place in (clause.place, *clause.aliases)]
    if not clause.expect.opaque:
        return evaluate_clause(clause, *_select_strongest(clause, looks), negated=negated)
    try:  # a regular expression can backtrack exponentially
        with Alarm(max(min(facts.end - time.monotonic(), MAX_PATTERN_SECONDS), MIN_PATTERN_SECONDS), busy=True):
            return evaluate_clause(clause, *_select_strongest(clause, looks), negated=negated)
    except TimedOut:
        facts.late = True
        return evaluate_clause(clause, PATTERN_TIMED_OUT, negated=negated)


def _select_strongest(
    clause: Clause, looks: Sequence[Tuple[Observation[Datum], Place]]
) -> Tuple[Observation[Datum], str]:
    """Return the strongest value of several aliases, and the alias that supplied it.

    An alias that is unknown might have a stronger value. If that could change the outcome, the result is unknown.
    """
    if len(looks) == 1:
        return looks[0][0], ""
    kind = clause.place.kind
    values = [(kind.strength(seen.value), seen, place) for seen, place in looks if isinstance(seen, Value)]
    unknown = next((seen for seen, _ in looks if isinstance(seen, Unknown)), None)
    if not values:
        return unknown or looks[0][0], ""
    _, best, place = max(values, key=lambda one: one[0])
    name = place.key if place != clause.place else ""
    may = _list_strongest_values(kind, [seen for seen, _ in looks if not isinstance(seen, Unknown)])
    hidden = (one for one in kind.others() if one != OTHER and kind.strength(one) >= min(map(kind.strength, may)))
    if unknown and len(set(map(clause.expect.test, (*may, *hidden)))) > 1:
        return unknown, ""
    return Value(may[0], best.evidence, may[1:]), name


def _list_strongest_values(kind: Kind[Datum], looks: Sequence[Union[Value[Datum], Absent]]) -> Tuple[Datum, ...]:
    """Return the possible strongest values of all aliases, the most likely first.

    Each observation may have several possible values.
    """
    several = [(seen.value, *seen.others) for seen in looks if isinstance(seen, Value)]
    least = max(min(map(kind.strength, values)) for values in several)
    best = max((values[0] for values in several), key=kind.strength)
    return tuple(dict.fromkeys(v for values in ((best,), *several) for v in values if kind.strength(v) >= least))


def _join_results(pattern: Pattern, sights: Sequence[ClauseResult]) -> str:
    each = iter(sights)
    return patterns.compute_outcome(pattern, lambda _: next(each).outcome)


def _select_decisive(pattern: Pattern, sights: Tuple[ClauseResult, ...]) -> Tuple[ClauseResult, ...]:
    """Return the clause results that decided a pass.

    For `any`, these are the results of the first alternative that passes; otherwise all.
    """
    if isinstance(pattern, Clause) or pattern.how != "any":
        return sights
    for part_ in pattern.parts:
        size = len(tuple(patterns.list_clauses(part_)))
        own, sights = sights[:size], sights[size:]
        if _join_results(part_, own) == "pass":
            return own
    return sights


# quantified rules


def _evaluate_rows(data: Data, facts: BoundFacts) -> Tuple[str, Tuple[ClauseResult, ...], str]:
    """Evaluate a quantified rule, `every` or `some`, on the rows of a table.

    Returns the outcome, the clause results to show, and the text.
    """
    how = "every" if "every" in data else "some"
    path = tuple(cast("List[str]", data[how]))
    table = declaration.resolve_place(path)
    names = facts.rows(table)
    if isinstance(names, Unknown):
        return (DEFERRED if names.reason == DEFERRED else "unknown"), (), names.say
    none = "pass" if data.get("or-none") == "true" else "fail"
    found: List[Tuple[str, str]] = []  # for each row: whether it matches, and whether it is as required
    seen = _ShownRows(data)
    row = table._replace(path=(*path, "*"), key="*")
    where, require = (
        _parse_row_pattern(data[key], row, facts) if key in data else None for key in ("where", "require")
    )
    for number, name in enumerate(names):
        if number % ROWS_PER_TIME_CHECK == 0 and time.monotonic() > facts.end:
            facts.late = True
            return "unknown", (), f"timed out after {number} of {len(names)} rows; increase --deadline"
        condition, required = _evaluate_row(where, require, name, facts, seen)
        if condition != "fail":
            found.append((condition, required))
    if not found:
        return none, (), f"no {cast('Table', table.fact).noun} matches"
    outcomes = [_weigh_row(how, *row) for row in found]
    outcome = patterns.join_outcomes("all" if how == "every" else "any", outcomes)
    if all(condition != "pass" for condition, _ in found):  # possibly no row matches
        outcome = none if {required for _, required in found} == {none} else _join_undecided(chain.from_iterable(found))
    return outcome, tuple((seen.telling or seen.first)[:MAX_SHOWN_ROWS]), f"{how} row: {_format_counts(outcomes)}"


class _ShownRows:
    """The clause results of rows that the report shows.

    These are the results that do not pass, else the results of the first rows. Others are not computed.
    """

    def __init__(self, data: Data) -> None:
        require = data["require"]
        self.plain = isinstance(require, dict) and "column" in require  # one clause: it passes if the row passes
        self.telling: List[ClauseResult] = []
        self.first: List[ClauseResult] = []

    def accepts(self, outcome: str) -> bool:
        """Return whether the report may show a row with this outcome."""
        return len(self.telling) < MAX_SHOWN_ROWS and (
            outcome != "pass" or not self.plain or len(self.first) < MAX_SHOWN_ROWS
        )

    def add(self, sights: Sequence[ClauseResult]) -> None:
        """Add the clause results of a row."""
        self.telling += [sight for sight in sights if sight.part.outcome != "pass"]
        if len(self.first) < MAX_SHOWN_ROWS:
            self.first += sights


def _join_undecided(outcomes: Iterable[str]) -> str:
    return "unknown" if "unknown" in outcomes else DEFERRED


def _weigh_row(how: str, condition: str, required: str) -> str:
    """Return the outcome of a row that possibly matches.

    Such a row cannot make `every` fail or `some` pass.
    """
    if condition == "pass" or required == ("pass" if how == "every" else "fail"):
        return required
    return _join_undecided((condition, required))


def _parse_row_pattern(part: Node, row: Place, facts: BoundFacts) -> Pattern:
    """Return the pattern of a rule for the placeholder row `*`.

    It is parsed once for all rows.
    """
    return patterns.parse_pattern(cast("Data", part), facts.reading.params, row)


def _evaluate_row(
    where: Optional[Pattern], require: Optional[Pattern], name: str, facts: BoundFacts, seen: _ShownRows
) -> Tuple[str, str]:
    """Return whether a row matches, and whether it is as required."""
    condition = "pass"
    if where is not None:
        condition = _find_outcome(_bind_row(where, name), facts)
        if condition == "fail":
            return condition, "pass"
    required = _bind_row(cast("Pattern", require), name)
    outcome = _find_outcome(required, facts)
    if seen.accepts(outcome):
        seen.add(_evaluate_pattern(required, facts))
    return condition, outcome


def _find_outcome(pattern: Pattern, facts: BoundFacts) -> str:
    """Return the outcome of a pattern without clause results.

    Tables can have many rows, and the report shows few of them.
    """
    if isinstance(pattern, Clause) and not pattern.expect.opaque:
        return compare_observation(pattern, facts.observe(pattern.place))
    if any(clause.expect.opaque for clause in patterns.list_clauses(pattern)):
        return _join_results(pattern, _evaluate_pattern(pattern, facts))
    return patterns.compute_outcome(pattern, lambda clause: compare_observation(clause, facts.observe(clause.place)))


def _bind_row(pattern: Pattern, name: str) -> Pattern:
    """Return a pattern of the placeholder row `*` for a named row."""
    if isinstance(pattern, Clause):
        path, place = pattern.place.path, pattern.place
        depth = len(place.owner)
        at_row = Place((*path[:depth], name, *path[depth + 1 :]), place.fact, name, place.column)
        return Clause(at_row, pattern.expect, pattern.aliases)
    return pattern._replace(parts=tuple(_bind_row(part, name) for part in pattern.parts))


def _format_counts(outcomes: Sequence[str]) -> str:
    return ", ".join(f"{outcomes.count(one)} {one}" for one in patterns.ALL_PRECEDENCE if one in outcomes)


# causes


def group_causes(judged: Sequence[RequirementResult]) -> Tuple[Cause, ...]:
    """Group findings that are unknown for the same reason or fail for the same cause."""
    groups: dict[Tuple[str, str], List[Tuple[str, str, str]]] = {}
    for finding, _, own in judged:
        for key, say, look_ in own:
            groups.setdefault((finding.outcome, key), []).append((finding.id, say, look_))
    return tuple(
        Cause(outcome, _join_texts(members), members[0][2], tuple(dict.fromkeys(member[0] for member in members)))
        for (outcome, _), members in groups.items()
        if len({member[0] for member in members}) > 1
    )


def _list_causes(outcome: str, sights: Sequence[ClauseResult]) -> Tuple[Tuple[str, str, str], ...]:
    """Return the causes of a finding, which other findings may share."""
    if outcome == "fail" and len(sights) > 1:  # with several clauses, the cause of one does not explain the finding
        return ()
    return tuple(dict.fromkeys(one for s in sights if s.part.outcome == outcome and any(one := _find_cause(s))))


def _find_cause(sight: ClauseResult) -> Tuple[str, str, str]:
    """Return the cause of a clause result: its key, its text, and the hint."""
    seen = sight.seen
    if isinstance(seen, Unknown):
        return f"{seen.reason}: {seen.look or seen.say}", seen.say, seen.look
    if isinstance(seen, Absent) and seen.say and not seen.say.startswith("there is"):
        return seen.say, seen.say, ""
    return "", "", ""


def _join_texts(members: Sequence[Tuple[str, str, str]]) -> str:
    says = list(dict.fromkeys(say for _, say, _ in members))
    return says[0] if len(says) == 1 else f"{says[0]} (and {len(says) - 1} similar)"
