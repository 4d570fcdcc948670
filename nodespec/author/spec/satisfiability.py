"""What a pattern can come to at all. Tried, not derived: an expectation tells finitely many cases apart."""

from __future__ import annotations

from functools import partial
from itertools import chain, combinations, product
from typing import TYPE_CHECKING, Callable, Dict, FrozenSet, Iterable, Iterator, List, Optional, Set, Tuple

from nodespec.facts.declaration import Place
from nodespec.facts.value_types import OTHER, Case, SetOf
from nodespec.judge.expectation import Expect
from nodespec.judge.pattern import Clause, Pattern, clauses, outcome

if TYPE_CHECKING:
    from typing import TypeAlias

WORLDS = 4096  # tried at the most; beyond, a pattern is given the benefit of the doubt
ANY_ROW = "*"  # the key of a row of which it is only known that it is there
MEMBERS = 8  # of a set, all of whose subsets are tried
Path: TypeAlias = "Tuple[str, ...]"
Asked: TypeAlias = "Tuple[Path, int]"  # one expectation of one fact, by its identity


def possible(pattern: Pattern, given: Optional[Pattern] = None) -> Set[str]:
    """{"pass"}: it cannot fail. {"fail"}: it cannot hold. Where `given` holds; empty: that never does."""
    facts: Dict[Path, Tuple[Place, Dict[int, Expect]]] = {}
    asked = tuple(chain(clauses(pattern), clauses(given) if given else ()))
    for clause in asked:
        for place in (clause.place, *clause.aliases):
            facts.setdefault(place.path, (place, {}))[1][id(clause.expect)] = clause.expect
    ways = {path: sorted(set(_ways(place, asks))) for path, (place, asks) in facts.items()}
    total = 1
    for one in ways.values():
        total *= len(one)
    if total > WORLDS:
        return {"pass", "fail"}
    # names of one thing: which is the strongest cannot be told from what each says
    joins = (any, all) if any(clause.aliases for clause in asked) else (any,)
    found: Set[str] = set()
    for world in product(*ways.values()):
        says = {(path, one): yes for path, way in zip(ways, world) for one, yes in zip(facts[path][1], way)}
        for joined in joins:
            met = partial(_met, says, joined)
            if given is None or outcome(given, met) == "pass":
                found.add(outcome(pattern, met))
    return found


def _met(says: Dict[Asked, bool], joined: Callable[[Iterable[bool]], bool], clause: Clause) -> str:
    names = [says[place.path, id(clause.expect)] for place in (clause.place, *clause.aliases)]
    return "pass" if joined(names) else "fail"


def _ways(place: Place, asked: Dict[int, Expect]) -> Iterator[Tuple[bool, ...]]:
    """The ways in which the expectations of one fact can come out together."""
    expects = list(asked.values())
    if any(expect.opaque for expect in expects):
        yield from product((False, True), repeat=len(expects))
        return
    for value in _cases(place, expects):
        yield tuple(expect.test(value) for expect in expects)
    if place.optional and (place.key != ANY_ROW or place.column):
        yield tuple(expect.absent for expect in expects)


def value_ways(place: Place, expects: List[Expect]) -> Iterator[Tuple[bool, ...]]:
    """The ways in which expectations of one fact can come out together where it has a value."""
    if any(expect.opaque for expect in expects):
        yield from product((False, True), repeat=len(expects))
        return
    yield from {tuple(expect.test(value) for expect in expects) for value in _cases(place, expects)}


def _cases(place: Place, expects: List[Expect]) -> Iterator[Case]:
    yield from place.kind.others()
    yield from chain.from_iterable(expect.cases for expect in expects)
    if isinstance(place.kind, SetOf):
        yield from _subsets(place.kind, expects)


def _subsets(kind: SetOf, expects: List[Expect]) -> Iterator[FrozenSet[str]]:
    """Every set of the members that matter, where they are few; with all that the type knows, and with a stranger."""
    sets = [case for expect in expects for case in expect.cases if isinstance(case, frozenset)]
    named = sorted(frozenset().union(*sets) - {OTHER})
    known = frozenset(case for case in kind.element.others() if isinstance(case, str))
    yield known
    yield known | frozenset(named)
    if len(named) <= MEMBERS:
        for size in range(len(named) + 1):
            for members in combinations(named, size):
                yield frozenset(members)
                yield frozenset((*members, OTHER))
