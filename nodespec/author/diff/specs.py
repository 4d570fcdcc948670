"""Compare two specs: requirements that the later spec adds or removes.

The comparison is semantic. A requirement is new if a host can meet all requirements of the other spec on the same
facts, and still fail it.
"""

from __future__ import annotations

from nodespec.author.spec.satisfiability import find_outcomes
from nodespec.judge.pattern import Clause, Joined, Params, Pattern, list_clauses
from nodespec.judge.pattern import parse_pattern as read_pattern
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.plan import Plan, Requirement
from nodespec.output.manual import iter_conditions

if TYPE_CHECKING:
    from typing import Dict, Iterator, Set, Tuple, TypeAlias

MORE, LESS, OTHER = "more", "less", "other"
NOT_ASKED, RECOMMENDED = "not asked", "recommended."
Path: TypeAlias = "Tuple[str, ...]"


def diff_plans(before: Plan, after: Plan) -> Iterator[str]:
    """Yield a line for each requirement that is stricter or weaker than before.

    The order is that of the later spec.
    """
    was, now = ({requirement.id: requirement for requirement in plan.requirements} for plan in (before, after))
    for id_ in {**now, **was}:
        more = id_ in now and not _is_implied(now[id_], after, before)
        less = id_ in was and not _is_implied(was[id_], before, after)
        if more or less:
            label = OTHER if more and less else MORE if more else LESS
            texts = [_format_requirements(id_, *pair) for pair in ((was, before), (now, after))]
            sources = ", ".join((now[id_] if id_ in now else was[id_]).source)
            yield f"{label:5}  {id_}: {' -> '.join(texts)}  # {sources}"


def _is_implied(requirement: Requirement, plan: Plan, other: Plan) -> bool:
    """Return whether every host that meets the other plan meets this requirement."""
    equals = [r for r in other.requirements if requirement.level in (r.level, "recommended")]
    if any((r.pattern, r.when) == (requirement.pattern, requirement.when) for r in equals):
        return True
    if _is_quantified(requirement):
        return False
    pattern, asked = _read_requirement(requirement, plan), _collect_paths(requirement, plan)
    given = [_read_requirement(r, other) for r in equals if not _is_quantified(r) and asked & _collect_paths(r, other)]
    return bool(given) and find_outcomes(pattern, Joined("all", tuple(given))) <= {"pass"}


def _is_quantified(requirement: Requirement) -> bool:
    return bool({"every", "some"} & requirement.pattern.keys())


def _read_requirement(requirement: Requirement, plan: Plan) -> Pattern:
    """Return a requirement as one pattern: its condition implies its pattern."""
    params = _index_params(plan)
    pattern = read_pattern(requirement.pattern, params)
    return (
        Joined("any", (Joined("not", (read_pattern(requirement.when, params),)), pattern))
        if requirement.when
        else pattern
    )


def _collect_paths(requirement: Requirement, plan: Plan) -> Set[Path]:
    """Return the facts of the pattern of a requirement, without its condition.

    Two requirements with only a condition in common are not related.
    """
    requirement_clauses = list_clauses(read_pattern(requirement.pattern, _index_params(plan)))
    return {place.path for clause in requirement_clauses for place in clause.places}


def _index_params(plan: Plan) -> Params:
    return {param.name: param for param in plan.params}


def _format_requirements(id_: str, requirements: Dict[str, Requirement], plan: Plan) -> str:
    """Format what a spec requires under an id.

    If the spec has the requirement at the other level, the text names the level.
    """
    if id_ in requirements:
        return _format_requirement(requirements[id_], plan)
    down = id_.startswith(RECOMMENDED)
    name = id_[len(RECOMMENDED) :] if down else f"{RECOMMENDED}{id_}"
    level = "required" if down else "recommended"
    return f"{level} {_format_requirement(requirements[name], plan)}" if name in requirements else NOT_ASKED


def _format_requirement(requirement: Requirement, plan: Plan) -> str:
    """Format a requirement.

    For a plain one this is only its expectation, because its id names the fact.
    """
    pattern = (
        None
        if requirement.when or _is_quantified(requirement)
        else read_pattern(requirement.pattern, _index_params(plan))
    )
    plain = isinstance(pattern, Clause) and not pattern.aliases
    return (
        pattern.expect.text
        if plain and isinstance(pattern, Clause)
        else " ".join(iter_conditions(requirement, _index_params(plan)))
    )
