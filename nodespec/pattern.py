"""Patterns: expectations joined by all, any and not, and the logic that joins their outcomes.

A pattern is written as data that JSON carries: `{"fact": PATH, "expect": ...}`, `{"param": NAME, "expect": ...}`,
`{"column": NAME, "expect": ...}` (of a row), `{"all": [...]}`, `{"any": [...]}` or `{"not": ...}`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Callable, Dict, Iterable, List, Mapping, Sequence, Tuple, Union, cast

from . import expectation, facts
from .expectation import Expect, Node
from .facts import Leaf, Place
from .kinds import Choice, Datum, Flag, Kind, Size, Text, Version, Whole
from .named import NamedTuple
from .observation import Evidence, Observation, Value
from .versions import RELEASE

if TYPE_CHECKING:
    from typing import TypeAlias

Data: TypeAlias = "Dict[str, Node]"
PARAMS = "params"  # the family of what a person gives

# the outcomes of a pattern; for `all` the first that occurs counts, for `any` likewise
ALL = ("fail", "unknown", "deferred", "pass")
ANY = ("pass", "unknown", "deferred", "fail")
OPPOSITE = {"pass": "fail", "fail": "pass"}

TYPES: Mapping[str, Kind[Datum]] = {
    "text": Text(),
    "number": Whole(),
    "size": Size(),
    "flag": Flag(),
    "version": Version(RELEASE),
}


class Clause(NamedTuple):
    """What is expected of one fact. With `aliases`, of the strongest value over all names."""

    place: Place
    expect: Expect
    aliases: Tuple[Place, ...] = ()


class Joined(NamedTuple):
    """Patterns together: `all`, `any` or (of one) `not`."""

    how: str
    parts: Tuple[Pattern, ...]


Pattern: TypeAlias = "Union[Clause, Joined]"


class Param(NamedTuple):
    """A parameter as bound. `source` is `default` or `set`; `kind` a name in TYPES, unless there are choices.

    `known` are the choices before any child narrowed them: conditions may speak of them all.
    """

    name: str
    value: str
    source: str
    why: str
    kind: str
    choices: Tuple[str, ...] = ()
    known: Tuple[str, ...] = ()

    @property
    def type(self) -> Kind[Datum]:
        """How its text is read in a condition."""
        return Choice(*self.known) if self.known else TYPES[self.kind]

    def read(self, text: str) -> Datum:
        """A text as its type reads it, ValueError saying what is wrong; a free one may be a range where it is used."""
        if self.choices:
            return Choice(*self.choices).read(text)
        return text if self.kind == "text" else self.type.read(text)

    @property
    def place(self) -> Place:
        """Where it stands as a fact, so that a condition can ask for it."""
        return _place(self)

    @property
    def seen(self) -> Observation[Datum]:
        """It, as observed."""
        source = f"--set {self.name}" if self.source == "set" else f"default of {self.name}"
        return Value(self.value, Evidence(source)).then(self.read)


@cache
def _place(param: Param) -> Place:
    leaf = Leaf(lambda _: param.seen, (), "", sensitive=False)
    leaf.kind = param.type
    return Place((PARAMS, param.name), leaf)


Params: TypeAlias = "Mapping[str, Param]"


def read(data: Data, params: Params, row: Union[Place, None] = None) -> Pattern:
    """A pattern from its data; Wrong or LookupError where it is none. `row` is what its columns are columns of."""
    for how in ("all", "any"):
        if how in data:
            return Joined(how, tuple(read(one, params, row) for one in cast("List[Data]", data[how])))
    if "not" in data:
        return Joined("not", (read(cast("Data", data["not"]), params, row),))
    if "param" in data:
        place = params[cast("str", data["param"])].place
    elif "column" in data and row is not None:
        place = facts.place((*row.path, *filter(None, [cast("str", data["column"])])))
    else:
        place = facts.place(tuple(cast("List[str]", data["fact"])))
    aliases = (place._replace(path=(*place.owner, key), key=key) for key in cast("List[str]", data.get("aliases", [])))
    return Clause(place, expected(data["expect"], place), tuple(aliases))


def expected(node: Node, place: Place) -> Expect:
    """The expectation at a place."""
    return expectation.read(node, place.kind)


def clauses(pattern: Pattern) -> Iterable[Clause]:
    """All that a pattern asks."""
    if isinstance(pattern, Clause):
        return (pattern,)
    return (clause for part in pattern.parts for clause in clauses(part))


def join(how: str, outcomes: Sequence[str]) -> str:
    """The outcome of several together."""
    if how == "not":
        return OPPOSITE.get(outcomes[0], outcomes[0])
    order = ANY if how == "any" else ALL
    return min(outcomes, key=order.index)


def outcome(pattern: Pattern, ask: Callable[[Clause], str]) -> str:
    """The outcome of a pattern from those of its clauses."""
    if isinstance(pattern, Clause):
        return ask(pattern)
    return join(pattern.how, [outcome(part, ask) for part in pattern.parts])


def conditional(condition: str, required: str) -> str:
    """The outcome of a requirement under a condition (`when`, `where`): what its `when` implies."""
    if condition == "fail":
        return "not-applicable"
    if condition == "pass" or required == "pass":
        return required
    return "unknown" if "unknown" in (condition, required) else "deferred"
