"""What a pattern can come to: tried on few cases by the proof, and on whole small worlds here."""

from __future__ import annotations

from itertools import combinations, product
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nodespec.author.spec.satisfiability import find_outcomes
from nodespec.checks.files import Mode
from nodespec.errors import DocumentError
from nodespec.facts.declaration import Leaf, Place
from nodespec.facts.value_numbers import Option, Size, UntypedValue, Version, Whole
from nodespec.facts.value_quantities import Date, Duration, Percentage
from nodespec.facts.value_sets import Address, CpuList
from nodespec.facts.value_types import OTHER, Datum, Flag, FreeText, Kind, OneOf, SetOf
from nodespec.facts.versions import DEB, RELEASE
from nodespec.judge import expectation
from nodespec.judge.pattern import Clause, Joined, Pattern, compute_outcome
from nodespec.model.observation import Absent, Evidence
from nodespec.model.plan import Node

ABSENT = Absent(Evidence("here"))


class World(NamedTuple):
    """A type, the words that specs write of it here, and every value that these can tell apart."""

    kind: Kind[Datum]
    words: Sequence[str]
    values: Sequence[Datum]


def subsets(members: Sequence[str]) -> List[frozenset[str]]:
    return [frozenset(one) for size in range(len(members) + 1) for one in combinations(members, size)]


NUMBERS = [f"{sign}{number}" for sign in ("", "<", "<=", ">", ">=", "!=") for number in range(4)]
BOUNDS = [f"{sign}{number}" for sign in ("", "<", "<=", ">", ">=", "!=") for number in ("1", "1.1", "1.2", "2-rc1")]
VERSIONS = ["0.9", "1-rc1", "1", "1.0.5", "1.1-rc1", "1.1", "1.1.5", "1.2-alpha", "1.2", "1.2.5", "1.3"]
DAYS = [f"{sign}2026-01-02" for sign in ("", "<", "<=", ">", ">=", "!=")]
LATER = ["2-alpha", "2-rc0", "2-rc1", "2-rc2", "2", "3"]
EVRS = [f"{sign}{number}" for sign in ("", "<", "<=", ">", ">=", "!=") for number in ("1", "1.1", "1-2", "1:1")]
DEBS = ["0.9", "1~", "1", "1-1", "1-2~", "1-2", "1-2+b", "1-3", "1+", "1.0", "1.1~", "1.1", "1.1-1", "1.1.5", "1.2~~"]
LATER_DEBS = ["1.2", "2~~~", "2", "1:0.9", "1:1~", "1:1", "1:1.5", "1:2~~", "1:2", "2:1"]
WORLDS = [
    World(OneOf("a", "b", "c", ab=("a", "b")), ["a", "b", "c", "ab"], ["a", "b", "c"]),
    World(Flag(), ["true", "no"], [True, False]),
    World(Whole(), NUMBERS, [*range(6)]),
    World(Size(), [f"{number}K" for number in NUMBERS], [n + m for n in range(0, 5000, 1000) for m in (-1, 0, 1)][1:]),
    World(FreeText(), ["x", "y"], ["x", "y", "z"]),
    World(UntypedValue(), ["x", *NUMBERS], ["x", "z", *map(str, range(-1, 6)), "01", "02", "03", "00"]),
    World(Option(), ["y", "n", "enabled", "disabled", "undefined"], ["y", "m", "n", "undefined", "250", "text"]),
    World(Version(RELEASE), BOUNDS, [*VERSIONS, *LATER]),
    World(Version(DEB), EVRS, [*DEBS, *LATER_DEBS]),
    World(Mode(), ["0600", "0640"], ["0600", "0640", "0755"]),
    World(CpuList(), ["0-1", "1"], ["0-1", "1", "", "7"]),
    World(Percentage(), [f"{number}%" for number in NUMBERS], [*range(6), 100]),
    World(Duration(), [f"{number}s" for number in NUMBERS], [*range(-1, 6)]),
    World(
        Date(), DAYS, ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-02T23:59:59Z", "2026-01-03T00:00:00Z"]
    ),
    World(Address(), ["10.0.0.1", "::1"], ["10.0.0.1", "::1", "10.0.0.2"]),
    World(SetOf(OneOf("a", "b", "c")), ["a", "b", "c"], subsets(["a", "b", "c", OTHER])),
    World(SetOf(FreeText()), ["x", "y"], subsets(["x", "y", "z"])),
]
NAMES = (
    *("Choice", "Flag", "Whole", "Size", "Text", "Setting", "Option", "release", "deb"),
    *("mode", "CPUs", "percentage", "duration", "date", "address", "set of choices", "set"),
)


def listed(nodes: st.SearchStrategy[Node], least: int = 1) -> st.SearchStrategy[Node]:
    return st.lists(nodes, min_size=least, max_size=3)


def written(world: World) -> st.SearchStrategy[Node]:
    """Whatever may be written of a fact."""
    word: st.SearchStrategy[Node] = st.sampled_from([*world.words, "present", "absent"])
    if isinstance(world.kind, SetOf):
        member: st.SearchStrategy[Node] = st.sampled_from(world.words)
        unlike: st.SearchStrategy[Node] = member.map(lambda one: {"not": one})
        inner = st.one_of(member, unlike, listed(member))
        asks: Dict[str, st.SearchStrategy[Node]] = {name: listed(inner) for name in ("all", "any", "none")}
        asks |= {name: listed(inner, 0) for name in ("only", "equals")}
        return listed(inner) | st.fixed_dictionaries({}, optional=asks).map(dict)

    def more(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        asks = {name: listed(nodes) for name in ("all", "any", "none")}
        return listed(nodes) | st.fixed_dictionaries({}, optional={**asks, "not": nodes, "is": nodes}).map(dict)

    return st.recursive(word, more, max_leaves=5)


WRITTEN = {world.kind: written(world) for world in WORLDS}  # each is looked through when it is first drawn from


def place(name: str, kind: Kind[Datum], *, optional: bool) -> Place:
    leaf = Leaf(lambda _: ABSENT, (), "", sensitive=False)
    leaf.kind, leaf.optional = kind, optional
    return Place((name,), leaf)


class Drawn(NamedTuple):
    clauses: List[Clause]
    worlds: Mapping[Tuple[str, ...], Sequence[object]]


def clauses_of(data: st.DataObject, places: int, count: int) -> Drawn:
    """Clauses on few facts, and what each of these facts can be."""
    worlds = [data.draw(st.sampled_from(WORLDS)) for _ in range(places)]
    facts = [
        place(str(at), one.kind, optional=data.draw(st.booleans(), label="optional")) for at, one in enumerate(worlds)
    ]
    made = []
    for _ in range(count):
        at = data.draw(st.integers(0, places - 1))
        node = data.draw(WRITTEN[worlds[at].kind])
        try:
            made.append(Clause(facts[at], expectation.parse_expectation(node, facts[at].kind)))
        except DocumentError:
            assume(False)  # noqa: FBT003 - hypothesis' way to say that this is of no interest
    asked = {clause.place.path for clause in made}
    values = {
        fact.path: [*world.values, *([ABSENT] if fact.optional else [])]
        for fact, world in zip(facts, worlds)
        if fact.path in asked
    }
    return Drawn(made, values)


def joined(data: st.DataObject, parts: Sequence[Pattern]) -> Pattern:
    """The parts joined in some way."""
    if len(parts) == 1:
        return Joined("not", (parts[0],)) if data.draw(st.booleans(), label="not") else parts[0]
    at = data.draw(st.integers(1, len(parts) - 1))
    how = data.draw(st.sampled_from(["all", "any"]))
    return Joined(how, (joined(data, parts[:at]), joined(data, parts[at:])))


def met(clause: Clause, values: Mapping[Tuple[str, ...], object]) -> str:
    seen = values[clause.place.path]
    good = clause.expect.absent if seen is ABSENT else clause.expect.test(seen)  # type: ignore[arg-type]
    return "pass" if good else "fail"


def tried(worlds: Mapping[Tuple[str, ...], Sequence[object]], pattern: Pattern, when: Optional[Pattern]) -> Set[str]:
    """Every outcome of a pattern, where another holds, in all worlds there are."""
    found = set()
    for world in product(*worlds.values()):
        values = dict(zip(worlds, world))
        if when is None or compute_outcome(when, lambda clause: met(clause, values)) == "pass":  # noqa: B023 - used at once
            found.add(compute_outcome(pattern, lambda clause: met(clause, values)))  # noqa: B023
    return found


@pytest.mark.parametrize("world", WORLDS, ids=NAMES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_one_expectation_comes_to_what_it_can_come_to(world: World, data: st.DataObject) -> None:
    fact = place("x", world.kind, optional=data.draw(st.booleans(), label="optional"))
    node = data.draw(WRITTEN[world.kind])
    try:
        clause = Clause(fact, expectation.parse_expectation(node, world.kind))
    except DocumentError:
        return
    values = [*world.values, *([ABSENT] if fact.optional else [])]
    assert find_outcomes(clause) == tried({fact.path: values}, clause, None)


@settings(max_examples=120, deadline=None)
@given(st.data(), st.integers(1, 2), st.integers(1, 4))
def test_a_pattern_comes_to_what_it_can_come_to(data: st.DataObject, places: int, count: int) -> None:
    drawn = clauses_of(data, places, count)
    pattern = joined(data, drawn.clauses)
    assert find_outcomes(pattern) == tried(drawn.worlds, pattern, None)


@settings(max_examples=120, deadline=None)
@given(st.data(), st.integers(1, 2), st.integers(2, 4))
def test_under_a_condition_too(data: st.DataObject, places: int, count: int) -> None:
    drawn = clauses_of(data, places, count)
    at = data.draw(st.integers(1, count - 1))
    pattern, when = joined(data, drawn.clauses[:at]), joined(data, drawn.clauses[at:])
    assert find_outcomes(pattern, when) == tried(drawn.worlds, pattern, when)


def clause(expects: Node, kind: Kind[Datum], name: str = "x") -> Clause:
    return Clause(place(name, kind, optional=False), expectation.parse_expectation(expects, kind))


def test_a_pattern_of_characters_is_given_the_benefit_of_the_doubt() -> None:
    both = Joined("all", (clause({"matches": "a+"}, FreeText()), clause({"matches": "b+"}, FreeText())))
    assert find_outcomes(both) == {"pass", "fail"}
    assert find_outcomes(Joined("any", (both, Joined("not", (both,))))) == {"pass"}


def test_so_is_what_would_take_too_long() -> None:
    many = [clause("true", Flag(), str(number)) for number in range(13)]
    always = [Joined("any", (one, Joined("not", (one,)))) for one in many]
    assert find_outcomes(Joined("all", tuple(always))) == {"pass", "fail"}
    assert find_outcomes(Joined("all", tuple(always[:12]))) == {"pass"}


def test_names_of_one_thing_are_proved_without_knowing_which_is_the_strongest() -> None:
    first, second = (place(name, Option(), optional=False) for name in ("first", "second"))
    disabled = expectation.parse_expectation("disabled", Option())
    both = Clause(first, disabled, (second,))
    assert find_outcomes(both) == {"pass", "fail"}
    assert find_outcomes(both, Clause(second, disabled)) == {"pass", "fail"}
    assert find_outcomes(Clause(second, disabled), both) >= {"pass"}


def test_large_sets_are_proved_by_their_corners() -> None:
    names = [f"c{number}" for number in range(20)]
    kind = SetOf(OneOf(*names))
    both = Joined("all", (clause([*names], kind), clause({"none": ["c7"]}, kind)))
    assert find_outcomes(both) == {"fail"}
    assert find_outcomes(Joined("all", (clause([*names], kind), clause({"only": [*names]}, kind)))) == {"pass", "fail"}
    assert find_outcomes(clause({"equals": [*names]}, kind)) == {"pass", "fail"}
    assert find_outcomes(clause({"none": [*names]}, kind)) == {"pass", "fail"}
