"""Find conditions that cover every value of an optional fact, but not its absence.

On a host without the fact, none of these rules applies, and the report does not show a failure.
"""

from __future__ import annotations

import json

from nodespec.author.spec.satisfiability import find_outcomes, iter_value_results
from nodespec.facts.declaration import Leaf, Place
from nodespec.judge import expectation
from nodespec.judge.pattern import PARAMS, Clause, Joined, Params, Pattern, list_clauses, parse_pattern
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.plan import Plan, Requirement

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Sequence, Tuple, TypeAlias

Condition: TypeAlias = "Tuple[Pattern, Requirement]"


def find_gaps(plan: Plan) -> Iterator[str]:
    """Yield a warning for each optional fact whose absence disables required rules.

    These rules together cover every value of the fact.
    """
    params = {param.name: param for param in plan.params}
    conditions = _collect_conditions(plan, params)
    places = {clause.place.path: clause.place for pattern, _ in conditions for clause in list_clauses(pattern)}
    for path, place in places.items():
        asking = [
            condition
            for condition in conditions
            if any(clause.place.path == path for clause in list_clauses(condition[0]))
        ]
        optional = path[0] != PARAMS and isinstance(place.fact, Leaf) and place.optional
        if (
            optional
            and len(asking) > 1
            and _covers_values_only(place, asking)
            and not _is_required(plan, params, place)
        ):
            yield _format_gap(place, [requirement for _, requirement in asking])


def _collect_conditions(plan: Plan, params: Params) -> List[Condition]:
    """Return each distinct `when` of required requirements, with the first of them."""
    conditions: Dict[str, Condition] = {}
    for requirement in plan.requirements:
        if requirement.when and requirement.level == "required":
            conditions.setdefault(
                json.dumps(requirement.when, sort_keys=True), (parse_pattern(requirement.when, params), requirement)
            )
    return list(conditions.values())


def _covers_values_only(place: Place, asking: Sequence[Condition]) -> bool:
    """Return whether the conditions cover every value of a fact, but not its absence."""
    union = Joined("any", tuple(pattern for pattern, _ in asking))
    if find_outcomes(union, _make_absent(place)) != {"fail"}:
        return False
    asked = [clause for clause in list_clauses(union) if clause.place.path == place.path]
    for way in iter_value_results(place, [clause.expect for clause in asked]):
        given = [clause if holds else Joined("not", (clause,)) for clause, holds in zip(asked, way)]
        if "pass" not in find_outcomes(union, Joined("all", (_make_present(place), *given))):
            return False
    return True


def _is_required(plan: Plan, params: Params, place: Place) -> bool:
    """Return whether a required requirement fails on every host without the fact."""
    plain = [
        requirement
        for requirement in plan.requirements
        if requirement.level == "required" and not {"every", "some"} & set(requirement.pattern)
    ]
    failing = [
        requirement
        for requirement in plain
        if find_outcomes(parse_pattern(requirement.pattern, params), _make_absent(place)) == {"fail"}
    ]
    if any(not requirement.when for requirement in failing):
        return True
    whens = tuple(parse_pattern(requirement.when, params) for requirement in failing)
    return bool(whens) and find_outcomes(Joined("any", whens), _make_absent(place)) == {"pass"}


def _make_present(place: Place) -> Clause:
    return Clause(place, expectation.parse_expectation("present", place.kind))


def _make_absent(place: Place) -> Pattern:
    return Joined("not", (_make_present(place),))


def _format_gap(place: Place, asking: Sequence[Requirement]) -> str:
    fact = ".".join(place.path)
    names = ", ".join(dict.fromkeys(f"`{requirement.id}`" for requirement in asking))
    return (
        f"{asking[0].source[0]}: {names}: their conditions cover every value of `{fact}`, but not its "
        f"absence; require `{fact}: present`, or add a rule for `absent`"
    )
