"""What a move from one spec to another newly demands, and what it no longer does.

Not words are compared but what passes: a requirement is newly demanded where a host that meets all that the other spec
asks of the same facts may still fail it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, Iterator, Set, Tuple

from nodespec.author.spec.satisfiability import possible
from nodespec.judge.pattern import Clause, Joined, Params, Pattern, clauses
from nodespec.judge.pattern import read as read_pattern
from nodespec.model.plan import Plan, Requirement
from nodespec.output.manual import wanted

if TYPE_CHECKING:
    from typing import TypeAlias

MORE, LESS, OTHER = "more", "less", "other"
NOT_ASKED, RECOMMENDED = "not asked", "recommended."
Path: TypeAlias = "Tuple[str, ...]"


def moves(before: Plan, after: Plan) -> Iterator[str]:
    """A line for each requirement that asks more or less than before, in the order of the later spec."""
    was, now = ({one.id: one for one in plan.requirements} for plan in (before, after))
    for id_ in {**now, **was}:
        more = id_ in now and not _implied(now[id_], after, before)
        less = id_ in was and not _implied(was[id_], before, after)
        if more or less:
            label = OTHER if more and less else MORE if more else LESS
            said = [_asked(id_, *pair) for pair in ((was, before), (now, after))]
            at = ", ".join((now[id_] if id_ in now else was[id_]).source)
            yield f"{label:5}  {id_}: {' -> '.join(said)}  # {at}"


def _implied(one: Requirement, own: Plan, other: Plan) -> bool:
    """Whether whatever meets the other plan meets this requirement of its own."""
    equals = [r for r in other.requirements if one.level in (r.level, "recommended")]
    if any((r.pattern, r.when) == (one.pattern, one.when) for r in equals):
        return True
    if _is_quantified(one):
        return False
    pattern, asked = _whole(one, own), _asks(one, own)
    given = [_whole(r, other) for r in equals if not _is_quantified(r) and asked & _asks(r, other)]
    return bool(given) and possible(pattern, Joined("all", tuple(given))) <= {"pass"}


def _is_quantified(one: Requirement) -> bool:
    return bool({"every", "some"} & one.pattern.keys())


def _whole(one: Requirement, plan: Plan) -> Pattern:
    """A requirement with its condition: where that is false, it holds."""
    params = _params(plan)
    pattern = read_pattern(one.pattern, params)
    return Joined("any", (Joined("not", (read_pattern(one.when, params),)), pattern)) if one.when else pattern


def _asks(one: Requirement, plan: Plan) -> Set[Path]:
    """The facts that it is about; a condition alone makes no requirement one with another."""
    found = clauses(read_pattern(one.pattern, _params(plan)))
    return {place.path for clause in found for place in (clause.place, *clause.aliases)}


def _params(plan: Plan) -> Params:
    return {param.name: param for param in plan.params}


def _asked(id_: str, requirements: Dict[str, Requirement], plan: Plan) -> str:
    """What a spec asks under an id, be it that it only recommends it, or requires what the other recommends."""
    if id_ in requirements:
        return _words(requirements[id_], plan)
    down = id_.startswith(RECOMMENDED)
    name = id_[len(RECOMMENDED) :] if down else f"{RECOMMENDED}{id_}"
    level = "required" if down else "recommended"
    return f"{level} {_words(requirements[name], plan)}" if name in requirements else NOT_ASKED


def _words(one: Requirement, plan: Plan) -> str:
    """In words: of a plain requirement only what is expected, since its id names the fact."""
    pattern = None if one.when or _is_quantified(one) else read_pattern(one.pattern, _params(plan))
    plain = isinstance(pattern, Clause) and not pattern.aliases
    return pattern.expect.text if plain and isinstance(pattern, Clause) else " ".join(wanted(one, _params(plan)))
