"""Print facts in the form of a spec, so that the output can be edited into one."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Dict, Iterable, Iterator, Mapping, Sequence, Tuple, Union

from nodespec.errors import UsageError, suggest_name
from nodespec.escape import escape_line
from nodespec.facts import declaration
from nodespec.facts.declaration import Group, Leaf, Place, Table
from nodespec.facts.live import FactSource
from nodespec.facts.value_types import Datum, Kind, Option, SetOf
from nodespec.judge import expectation
from nodespec.judge.clause_result import describe_absence, format_value
from nodespec.judge.pattern import PARAMS, Clause, list_clauses
from nodespec.judge.pattern import parse_pattern as read_pattern
from nodespec.model.observation import Absent, Observation, Unknown
from nodespec.model.plan import Node, Plan

if TYPE_CHECKING:
    from typing import TypeAlias

FOLDED = 24  # Rows of a table that is listed without being requested.
PLAIN = re.compile(r"[A-Za-z0-9_./+-][A-Za-z0-9_./+@() -]*(?<! )")


Told: TypeAlias = "Tuple[Tuple[str, ...], str]"  # A path, and the text printed after it.


def lines(asked: Iterable[Union[str, Plan]], facts: FactSource, *, every: bool) -> Iterator[str]:
    """Yield the lines for places by name, and for all places that a plan names.

    `every`: list every row of every table.
    """
    tree: Dict[str, object] = {}
    for what in asked:
        for path, value in _of(what, facts, every=every) if isinstance(what, str) else _planned(what, facts):
            _graft(tree, path, value)
    return _yaml(tree, "")


def _planned(plan: Plan, facts: FactSource) -> Iterator[Told]:
    for clause in asking(plan):
        for place in (clause.place, *clause.aliases):
            yield place.path, _line(facts.observe(place), place)


def asking(plan: Plan) -> Iterator[Clause]:
    """Yield the clauses of a plan, except those of quantified rules."""
    params = {param.name: param for param in plan.params}
    for requirement in plan.requirements:
        for data in (requirement.pattern, requirement.when):
            if data and not {"every", "some"} & data.keys():
                for clause in list_clauses(read_pattern(data, params)):
                    if clause.place.path[0] != PARAMS:
                        yield clause


def _of(what: str, facts: FactSource, *, every: bool) -> Iterator[Told]:
    found = find(what)
    if isinstance(found, Group):
        for name, fact in found.members.items():
            path = (what, name)
            yield from _fact(Place(path, fact), facts, every=every, asked=False)
    else:
        yield from _fact(found, facts, every=every, asked=True)


def _fact(place: Place, facts: FactSource, *, every: bool, asked: bool) -> Iterator[Told]:
    if isinstance(place.fact, Leaf) or place.column or (place.key and not place.fact.columns):
        yield place.path, _line(facts.observe(place), place)
    elif place.key:
        yield from _row(place, place.fact, facts)
    elif not place.fact.closed and not (place.fact.optional is False and (every or asked)):
        yield place.path, f"  # asked by name, as in {'.'.join(place.path)}.{place.fact.noun.upper()}"
    else:
        yield from _table(place, place.fact, facts, every=every or asked)


def _table(place: Place, table: Table, facts: FactSource, *, every: bool) -> Iterator[Told]:
    names, whole = facts.names(place), facts.rows(place)
    if isinstance(names, Unknown):
        yield place.path, _line(names, place)
    elif not names:
        yield place.path, _line(whole, place) if isinstance(whole, Unknown) else f"  # no {table.noun}"
    elif len(names) > FOLDED and not every:
        yield place.path, f"  # {len(names)} rows: nodespec facts {'.'.join(place.path)} lists them"
    else:
        for name in names:
            yield from _fact(Place((*place.path, name), table, name), facts, every=every, asked=False)
        if isinstance(whole, Unknown):
            yield (*place.path, "*"), _line(whole, place)


def _row(place: Place, table: Table, facts: FactSource) -> Iterator[Told]:
    seen = facts.observe(place)
    if isinstance(seen, (Absent, Unknown)):
        yield place.path, _line(seen, place)
        return
    for column in table.columns:
        at = place._replace(path=(*place.path, column), column=column)
        yield at.path, _line(facts.observe(at), at)


def _line(seen: Observation[Datum], place: Place) -> str:
    """Return the text after a name: a value as a spec states it, or a comment.

    The comment states why the value is missing.
    """
    if isinstance(seen, Unknown):
        return f"  # not known ({seen.reason}): {escape_line(seen.say)}"
    if isinstance(seen, Absent):
        return f" absent  # {escape_line(f'{describe_absence(place, seen)}; {seen.evidence.source}')}"
    source = f"{'inferred from ' if seen.evidence.inferred else ''}{escape_line(str(seen.evidence))}"
    values = [_written(value, place) for value in (seen.value, *seen.others)]
    if not all(values) or not _can_be_asked(place):
        said = " or ".join(escape_line(format_value(value, place.kind)) for value in (seen.value, *seen.others))
        return f"  # {said}, which a spec cannot state  # {source}"
    value = values[0] if len(values) == 1 else f"[{', '.join(values)}]"
    return f" {value}  # {source}"


def _written(value: Datum, place: Place) -> str:
    """Return a value as a spec states it; empty if no text in a spec can state it."""
    if isinstance(value, frozenset) and not isinstance(place.kind, SetOf):
        texts = [_written(one, place) for one in sorted(value)]
        return f"{{all: [{', '.join(texts)}]}}" if all(texts) else ""
    if isinstance(value, frozenset):
        members = [_quoted(one) for one in sorted(value)]
        stated = _meets([*sorted(value)], value, place.kind) and all(members)
        return f"[{', '.join(members)}]" if stated else "" if value else "{equals: []}"
    text = format_value(value, place.kind) if isinstance(value, bool) else place.kind.written(value) or str(value)
    option = isinstance(place.kind, Option) and value not in place.kind.PLAIN and not re.fullmatch("-?[0-9a-fx]+", text)
    text = f'"{text}"' if option else text
    if text not in ("present", "absent", *place.kind.words) and _meets(text, value, place.kind):
        return _quoted(text)
    return f"{{equals: {_quoted(text)}}}" if _meets({"equals": text}, value, place.kind) and _quoted(text) else ""


def _meets(stated: Node, value: Datum, kind: Kind[Datum]) -> bool:
    """Return whether a text is a valid expectation that the value meets."""
    try:
        return expectation.parse_expectation(stated, kind).test(value)
    except ValueError:
        return False


def _can_be_asked(place: Place) -> bool:
    """Return whether a spec can name the row."""
    if isinstance(place.fact, Leaf) or not place.key:
        return True
    try:
        return escape_line(place.key) == place.key and declaration.row_key(place.fact, place.key) == place.key
    except ValueError:
        return False


def _quoted(text: str) -> str:
    """Return a text as a YAML scalar.

    It is empty for a text that YAML cannot contain, such as a lone surrogate.
    """
    if PLAIN.fullmatch(text) and text != "null" and text[:2] not in ("-", "- "):
        return text
    if any("\ud800" <= character <= "\udfff" for character in text):
        return ""
    return "".join(f"\\U{ord(one):08x}" if one > "\uffff" else json.dumps(one)[1:-1] for one in text).join('""')


def _graft(tree: Dict[str, object], path: Tuple[str, ...], value: str) -> None:
    for step in path[:-1]:
        below = tree.setdefault(step, {})
        tree = below if isinstance(below, dict) else tree
    tree[path[-1]] = value


def _yaml(tree: Mapping[str, object], indent: str) -> Iterator[str]:
    """Yield the lines of a tree.

    A key without a value is a comment, since a spec cannot contain it.
    """
    for name, value in tree.items():
        mark = "" if _states(value) else "# "
        key = f"{indent}{mark}{_quoted(escape_line(name))}:"
        if isinstance(value, dict):
            yield key
            yield from _yaml(value, f"{indent}  ")
        else:
            yield f"{key}{value}"


def _states(value: object) -> bool:
    """Return whether a value, or any value below a name, is not a comment."""
    if isinstance(value, dict):
        return any(map(_states, value.values()))
    return not str(value).startswith("  #")


def find(what: str) -> Union[Group, Place]:
    """Return a family, a fact, a row or a column by its dotted name.

    Raises `UsageError` if it is not found.
    """
    family, _, rest = what.partition(".")
    try:
        found = declaration.family(family)
    except LookupError:
        raise UsageError(f"`{family}` is no family of facts{suggest_name(family, declaration.families())}") from None
    if isinstance(found, Table):
        return _in_table((family,), found, rest)
    if not rest:
        return found
    name, _, key = rest.partition(".")
    fact = found.members.get(name)
    if fact is None or (isinstance(fact, Leaf) and key):
        raise UsageError(f"`{rest}` is no fact of `{family}`{suggest_name(name, found.members)}")
    return Place((family, name), fact) if isinstance(fact, Leaf) else _in_table((family, name), fact, key)


def facts_of(what: str) -> Sequence[Place]:
    """Return the place of that name; for a family, the places of all its facts."""
    found = find(what)
    return [found] if isinstance(found, Place) else [Place((what, name), one) for name, one in found.members.items()]


def _in_table(owner: Tuple[str, ...], table: Table, rest: str) -> Place:
    if not rest:
        return Place(owner, table)
    key, _, column = rest.rpartition(".")
    if not key or column not in table.columns:
        key, column = rest, ""
    try:
        key = declaration.row_key(table, key)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return Place((*owner, key, *filter(None, [column])), table, key, column)
