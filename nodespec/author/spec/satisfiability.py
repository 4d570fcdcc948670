"""Decide satisfiability: the possible outcomes of a pattern, by enumeration.

Enumeration is complete, because an expectation distinguishes finitely many cases.
"""

from __future__ import annotations

from functools import partial
from itertools import chain, combinations, product
from math import prod

from nodespec.facts.declaration import Place
from nodespec.facts.value_types import OTHER, Case, Flag, OneOf, SetOf
from nodespec.judge.expectation import Expect
from nodespec.judge.pattern import Clause, Joined, Pattern, compute_outcome, list_clauses
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import (
        Callable,
        Dict,
        FrozenSet,
        Iterable,
        Iterator,
        List,
        Optional,
        Sequence,
        Set,
        Tuple,
        TypeAlias,
        Union,
    )

MAX_WORLDS = 4096  # maximum combinations; with more, both outcomes are assumed possible
MAX_LINKED_WORLDS = 1 << 16  # the same, if clauses compare two facts
MAX_TESTS = 1 << 20  # maximum tests of one fact; with more, both outcomes are assumed possible
TYPE_CASES = 10  # estimated number of values that no expectation names
ANY_ROW = "*"  # the key of a placeholder row, which exists but has no known name
MAX_MEMBERS = 8  # maximum members of a set whose subsets are all tested
Path: TypeAlias = "Tuple[str, ...]"
AskedExpectation: TypeAlias = "Tuple[Path, int]"  # an expectation of one fact, by its id()


class SharedCondition:
    """A condition that is shared by several patterns.

    It is split at `all`. For each pattern only the parts with related facts are enumerated. The satisfiability of the
    whole condition was decided before.
    """

    def __init__(self, pattern: Pattern) -> None:
        self.parts = tuple(_iter_conjuncts(pattern))
        self.paths = tuple({*_iter_paths(part)} for part in self.parts)
        self.by_path: Dict[Path, List[int]] = {}
        for index, paths in enumerate(self.paths):
            for path in paths:
                self.by_path.setdefault(path, []).append(index)

    def about(self, pattern: Pattern) -> Optional[Pattern]:
        """Return the parts related to the facts of a pattern, also indirectly."""
        pending, related = [*_iter_paths(pattern)], dict.fromkeys(_iter_paths(pattern))
        parts: Dict[int, None] = {}
        while pending:
            for index in self.by_path.get(pending.pop(), ()):
                if index not in parts:
                    parts[index] = None
                    pending += [path for path in self.paths[index] if path not in related]
                    related.update(dict.fromkeys(self.paths[index]))
        return Joined("all", tuple(self.parts[index] for index in sorted(parts))) if parts else None


def _iter_conjuncts(pattern: Pattern) -> Iterator[Pattern]:
    if isinstance(pattern, Joined) and pattern.how == "all":
        for part in pattern.parts:
            yield from _iter_conjuncts(part)
    else:
        yield pattern


def _iter_paths(pattern: Pattern) -> Iterator[Path]:
    for clause in list_clauses(pattern):
        for place in clause.places:
            yield place.path


def find_outcomes(pattern: Pattern, given: Union[Pattern, SharedCondition, None] = None) -> Set[str]:
    """Return the possible outcomes of a pattern, under the condition `given`.

    {"pass"}: it cannot fail. {"fail"}: it cannot hold. The empty set: `given` cannot hold.
    """
    if isinstance(given, SharedCondition):
        given = given.about(pattern)
    if given is None and isinstance(pattern, Clause) and not (pattern.aliases or pattern.other):
        return _find_clause_outcomes(pattern)
    asked_clauses = tuple(chain(list_clauses(pattern), list_clauses(given) if given else ()))
    linked = any(clause.other for clause in asked_clauses)
    return (_find_linked_outcomes if linked else _find_joint_outcomes)(pattern, given, asked_clauses)


def _find_joint_outcomes(pattern: Pattern, given: Optional[Pattern], asked_clauses: Sequence[Clause]) -> Set[str]:
    """Return the possible outcomes by the results of expectations of each fact."""
    facts: Dict[Path, Tuple[Place, Dict[int, Expect]]] = {}
    for clause in asked_clauses:
        for place in clause.places:
            facts.setdefault(place.path, (place, {}))[1][id(clause.expect)] = clause.expect
    ways: Dict[Path, List[Tuple[bool, ...]]] = {}
    total = 1
    for path, (place, asks) in facts.items():
        ways[path] = sorted(set(_iter_results(place, asks))) if _estimate_tests(place, asks) <= MAX_TESTS else []
        total *= len(ways[path]) or MAX_WORLDS + 1
        if total > MAX_WORLDS:
            return {"pass", "fail"}
    # The strongest alias is not known here, so both extremes are tested: any of them holds, or all of them hold.
    joins = (any, all) if any(clause.aliases for clause in asked_clauses) else (any,)
    outcomes: Set[str] = set()
    for world in product(*ways.values()):
        results = {
            (path, expect_id): holds for path, way in zip(ways, world) for expect_id, holds in zip(facts[path][1], way)
        }
        for joined in joins:
            met = partial(_evaluate_clause, results, joined)
            if given is None or compute_outcome(given, met) == "pass":
                outcomes.add(compute_outcome(pattern, met))
    return outcomes


def _find_linked_outcomes(pattern: Pattern, given: Optional[Pattern], clauses: Sequence[Clause]) -> Set[str]:
    """Return the possible outcomes if clauses compare two facts: worlds are the values of all facts.

    An absent fact has the value None, which equals no other.
    """
    if any(clause.aliases or clause.expect.opaque for clause in clauses):
        return {"pass", "fail"}
    places = {place.path: place for clause in clauses for place in clause.places}
    expects = [clause.expect for clause in clauses]
    values = {path: _list_linked_values(place, expects) for path, place in places.items()}
    if prod(map(len, values.values())) > MAX_LINKED_WORLDS:
        return {"pass", "fail"}
    outcomes: Set[str] = set()
    for world in product(*values.values()):
        met = partial(_evaluate_in_world, dict(zip(values, world)))
        if given is None or compute_outcome(given, met) == "pass":
            outcomes.add(compute_outcome(pattern, met))
    return outcomes


def _list_linked_values(place: Place, expects: List[Expect]) -> List[Optional[Case]]:
    """Return values of a fact: those that any expectation distinguishes, and two that none names."""
    unnamed: Dict[bool, Tuple[Case, ...]] = {True: (frozenset([OTHER]),), False: (f"{OTHER}{OTHER}",)}
    closed = isinstance(place.kind, (OneOf, Flag))
    cases = chain(_iter_cases(place, expects), () if closed else unnamed[isinstance(place.kind, SetOf)])
    values: Dict[Tuple[type, object], Optional[Case]] = {(type(case), case): case for case in cases}
    return [*values.values(), *([None] if place.optional and (place.key != ANY_ROW or place.column) else [])]


def _evaluate_in_world(world: Dict[Path, Optional[Case]], clause: Clause) -> str:
    value = world[clause.place.path]
    if clause.other:
        from nodespec.judge.equality import are_equal  # noqa: PLC0415 - few specs compare two facts

        other = world[clause.other.path]
        return (
            "pass" if value is not None and other is not None and are_equal(clause.place.kind, value, other) else "fail"
        )
    return "pass" if (clause.expect.absent if value is None else clause.expect.test(value)) else "fail"


def _find_clause_outcomes(clause: Clause) -> Set[str]:
    """Return the possible outcomes of one expectation; stop when both occurred."""
    outcomes: Set[str] = set()
    for (met,) in _iter_results(clause.place, {0: clause.expect}):
        outcomes.add("pass" if met else "fail")
        if len(outcomes) > 1:
            break
    return outcomes


def _estimate_tests(place: Place, asked: Dict[int, Expect]) -> int:
    """Estimate the number of tests to enumerate the results of one fact."""
    if any(expect.opaque for expect in asked.values()):
        return len(asked) << min(len(asked), 32)
    cases = sum(len(expect.cases) for expect in asked.values())
    subsets = 2 ** (MAX_MEMBERS + 1) if isinstance(place.kind, SetOf) else 0
    return len(asked) * (cases + subsets + TYPE_CASES)


def _evaluate_clause(
    results: Dict[AskedExpectation, bool], joined: Callable[[Iterable[bool]], bool], clause: Clause
) -> str:
    names = [results[place.path, id(clause.expect)] for place in clause.places]
    return "pass" if joined(names) else "fail"


def _iter_results(place: Place, asked: Dict[int, Expect]) -> Iterator[Tuple[bool, ...]]:
    """Yield the possible combinations of results of the expectations of one fact."""
    expects = list(asked.values())
    if any(expect.opaque for expect in expects):
        yield from product((False, True), repeat=len(expects))
        return
    for value in _iter_cases(place, expects):
        yield tuple(expect.test(value) for expect in expects)
    if place.optional and (place.key != ANY_ROW or place.column):
        yield tuple(expect.absent for expect in expects)


def iter_value_results(place: Place, expects: List[Expect]) -> Iterator[Tuple[bool, ...]]:
    """Yield the combinations of results that are possible if the fact has a value."""
    if any(expect.opaque for expect in expects):
        yield from product((False, True), repeat=len(expects))
        return
    yield from {tuple(expect.test(value) for expect in expects) for value in _iter_cases(place, expects)}


def _iter_cases(place: Place, expects: List[Expect]) -> Iterator[Case]:
    yield from place.kind.others()
    yield from chain.from_iterable(expect.cases for expect in expects)
    if isinstance(place.kind, SetOf):
        yield from _iter_subsets(place.kind, expects)


def _iter_subsets(kind: SetOf, expects: List[Expect]) -> Iterator[FrozenSet[str]]:
    """Yield sets of members to test.

    These are the values of the type, and with few named members all subsets, each also with a member that is not named.
    """
    sets = [case for expect in expects for case in expect.cases if isinstance(case, frozenset)]
    named = sorted(frozenset().union(*sets) - {OTHER})
    known = frozenset(case for case in kind.element.others() if isinstance(case, str))
    yield known
    yield known | frozenset(named)
    if len(named) <= MAX_MEMBERS:
        for size in range(len(named) + 1):
            for members in combinations(named, size):
                yield frozenset(members)
                yield frozenset((*members, OTHER))
