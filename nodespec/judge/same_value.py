"""Compare the values of two facts: `{same-as: PLACE}`.

A module that few specs need: it is imported when a clause names another place.
"""

from __future__ import annotations

from nodespec.judge.clause_result import ClauseResult, evaluate_clause, format_value
from nodespec.judge.equality import are_equal
from nodespec.judge.expectation import Expect
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Unknown, Value

if TYPE_CHECKING:
    from typing import Tuple

    from nodespec.facts.value_types import Datum
    from nodespec.judge.pattern import Clause
    from nodespec.model.observation import Observation


def evaluate_same(
    clause: Clause, observation: Observation[Datum], other: Observation[Datum], *, negated: bool
) -> ClauseResult:
    """Evaluate whether a place has the value of another.

    It is unknown if either is unknown, or if both have several possible values in common.
    """
    if isinstance(other, Unknown) and not isinstance(observation, Unknown):
        name = ".".join(clause.places[-1].path)
        observation = Unknown(other.reason, f"{name}: {other.say}", other.look)
    values = (other.value, *other.others) if isinstance(other, Value) else ()
    if isinstance(observation, Value) and len(values) > 1 and _overlap(clause, observation, values):
        name = ".".join(clause.places[-1].path)
        observation = Unknown("unsupported", f"{name} is one of {_format_values(clause, values)}")
    result = evaluate_clause(clause._replace(expect=_bind_value(clause, other)), observation, negated=negated)
    sources = () if isinstance(other, Unknown) else (Evidence(*other.evidence),)
    return result._replace(part=result.part._replace(evidence=(*result.part.evidence, *sources)))


def _overlap(clause: Clause, observation: Value[Datum], values: Tuple[Datum, ...]) -> bool:
    kind = clause.place.kind
    return any(are_equal(kind, one, value) for one in (observation.value, *observation.others) for value in values)


def _format_values(clause: Clause, values: Tuple[Datum, ...]) -> str:
    return " or ".join(format_value(value, clause.places[-1].kind) for value in values)


def _bind_value(clause: Clause, other: Observation[Datum]) -> Expect:
    """Return the expectation of the value that the other place has."""
    kind, text = clause.place.kind, clause.expect.text
    if not isinstance(other, Value):
        return Expect(text if isinstance(other, Unknown) else f"{text} (absent)", lambda _: False)
    values = (other.value, *other.others)
    named = tuple(filter(None, map(kind.written, values)))
    shown = f"{text} ({_format_values(clause, values)})"
    return Expect(shown, lambda case: any(are_equal(kind, case, value) for value in values), cases=values, named=named)
