"""Patterns: expectations joined by all, any and not, and the logic of outcomes.

A pattern is stored as JSON data: `{"fact": PATH, "expect": ...}`, `{"param": NAME, "expect": ...}`,
`{"column": NAME, "expect": ...}` (a column of a row), `{"all": [...]}`, `{"any": [...]}` or `{"not": ...}`.
"""

from __future__ import annotations

from functools import cache

from nodespec.facts import declaration
from nodespec.facts.declaration import Leaf, Place
from nodespec.facts.value_numbers import Size, Version, Whole
from nodespec.facts.value_types import Datum, Flag, FreeText, Kind, OneOf
from nodespec.facts.versions import RELEASE
from nodespec.judge import expectation
from nodespec.judge.expectation import Expect
from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.model.observation import Evidence, Observation, Value
from nodespec.model.plan import Data, Node, SpecParam
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Iterable, List, Mapping, Sequence, Tuple, TypeAlias, Union

PARAMS = "params"  # the family of parameters
SAME = "same-as"  # the operator whose argument is another place

# the outcomes of a pattern by precedence: the first that occurs is the outcome of `all` or `any`
ALL_PRECEDENCE = ("fail", "unknown", "deferred", "pass")
ANY_PRECEDENCE = ("pass", "unknown", "deferred", "fail")
OPPOSITE = {"pass": "fail", "fail": "pass"}

PARAM_TYPES: Mapping[str, Kind[Datum]] = {
    "text": FreeText(),
    "number": Whole(),
    "size": Size(),
    "flag": Flag(),
    "version": Version(RELEASE),
}


class Clause(NamedTuple):
    """The expectation of one fact.

    With `aliases`, it applies to the strongest value of the place and its aliases. With `other`, it applies to two
    places: their values must be equal, and `expect` has only its text.
    """

    place: Place
    expect: Expect
    aliases: Tuple[Place, ...] = ()
    other: Union[Place, None] = None

    @property
    def places(self) -> Tuple[Place, ...]:
        """All places that the clause observes."""
        return (self.place, *self.aliases, *([self.other] if self.other else []))


class Joined(NamedTuple):
    """Patterns joined by `all` or `any`, or one pattern negated by `not`."""

    how: str
    parts: Tuple[Pattern, ...]


Pattern: TypeAlias = "Union[Clause, Joined]"


def find_param_kind(param: SpecParam) -> Kind[Datum]:
    """Return the type that parses the text of a parameter in a condition."""
    return OneOf(*param.known) if param.known else PARAM_TYPES[param.kind]


def parse_param(param: SpecParam, text: str) -> Datum:
    """Parse a text as the type of a parameter.

    Free text is not parsed, because it may be a range for the fact that uses it. Raises ValueError if it is not valid.
    """
    if param.choices:
        return OneOf(*param.choices).read(text)
    return text if param.kind == "text" else find_param_kind(param).read(text)


def observe_param(param: SpecParam) -> Observation[Datum]:
    """Return the value of a parameter as an observation, for use in a condition."""
    default = f"default of {param.name}{param.source[len('default') :]}"  # with the context, if it selected the default
    source = f"--set {param.name}" if param.source == "set" else default
    return Value(param.value, Evidence(source)).then(lambda text: parse_param(param, text))


@cache
def make_param_place(param: SpecParam) -> Place:
    """Return the place of a parameter in the tree of facts."""
    leaf = Leaf(lambda _: observe_param(param), (), "", sensitive=False)
    leaf.kind = find_param_kind(param)
    return Place((PARAMS, param.name), leaf)


Params: TypeAlias = "Mapping[str, SpecParam]"


def parse_pattern(data: Data, params: Params, row: Union[Place, None] = None) -> Pattern:
    """Decode a pattern. `row` is the row whose columns it names.

    Raises `DocumentError` or LookupError if the data is not a pattern.
    """
    for how in ("all", "any"):
        if how in data:
            return Joined(how, tuple(parse_pattern(part, params, row) for part in cast("List[Data]", data[how])))
    if "not" in data:
        return Joined("not", (parse_pattern(cast("Data", data["not"]), params, row),))
    if "param" in data:
        place = make_param_place(params[cast("str", data["param"])])
    elif "column" in data and row is not None:
        place = declaration.resolve_place((*row.path, *filter(None, [cast("str", data["column"])])))
    else:
        place = declaration.resolve_place(tuple(cast("List[str]", data["fact"])))
    if isinstance(data["expect"], dict) and SAME in data["expect"]:
        path = tuple(cast("List[str]", data["expect"][SAME]))
        return Clause(place, Expect(f"the same as {'.'.join(path)}", bool), (), declaration.resolve_place(path))
    aliases = (place._replace(path=(*place.owner, key), key=key) for key in cast("List[str]", data.get("aliases", [])))
    return Clause(place, parse_place_expectation(bind_params(data["expect"], params), place), tuple(aliases))


def bind_params(node: Node, params: Params) -> Node:
    """Replace each parameter in an expectation by its text."""
    if isinstance(node, str):
        return node
    if isinstance(node, list):
        return [bind_params(value_node, params) for value_node in node]
    below = {key: bind_params(value_node, params) for key, value_node in node.items() if key != "param"}
    if "param" not in node:
        return below
    value = params[cast("str", node["param"])].value
    return {"is": value, **below} if below else value


def parse_place_expectation(node: Node, place: Place) -> Expect:
    """Return the parsed expectation of a place."""
    return expectation.parse_expectation(node, place.kind)


def list_clauses(pattern: Pattern) -> Iterable[Clause]:
    """Return all clauses of a pattern."""
    if isinstance(pattern, Clause):
        return (pattern,)
    return (clause for part in pattern.parts for clause in list_clauses(part))


def join_outcomes(how: str, outcomes: Sequence[str]) -> str:
    """Join several outcomes by `all`, `any` or `not`."""
    if how == "not":
        return OPPOSITE.get(outcomes[0], outcomes[0])
    order = ANY_PRECEDENCE if how == "any" else ALL_PRECEDENCE
    return min(outcomes, key=order.index)


def compute_outcome(pattern: Pattern, ask: Callable[[Clause], str]) -> str:
    """Return the outcome of a pattern from the outcomes of its clauses."""
    if isinstance(pattern, Clause):
        return ask(pattern)
    return join_outcomes(pattern.how, [compute_outcome(part, ask) for part in pattern.parts])


def apply_condition(condition: str, required: str) -> str:
    """Return the outcome of a requirement under a condition (`when` or `where`).

    It is that of the implication: the condition implies the requirement.
    """
    if condition == "fail":
        return "not-applicable"
    if condition == "pass" or required == "pass":
        return required
    return "unknown" if "unknown" in (condition, required) else "deferred"
