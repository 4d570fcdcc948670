"""Print facts in the form of a spec, so that the output can be edited into one."""

from __future__ import annotations

import json
import re

from nodespec.errors import UsageError, suggest_name
from nodespec.escape import escape_line
from nodespec.facts import declaration
from nodespec.facts.declaration import Group, LazyColumns, Leaf, Place, Table
from nodespec.facts.live import FactSource
from nodespec.facts.value_numbers import Option
from nodespec.facts.value_types import Datum, Kind, SetOf
from nodespec.judge import expectation
from nodespec.judge.clause_result import describe_absence, format_value
from nodespec.judge.pattern import PARAMS, Clause, list_clauses
from nodespec.judge.pattern import parse_pattern as read_pattern
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Observation, Unknown
from nodespec.model.plan import Node, Plan

if TYPE_CHECKING:
    from typing import Dict, Iterable, Iterator, Mapping, Sequence, Tuple, TypeAlias, Union

MAX_LISTED_ROWS = 24  # Rows of a table that is listed without being requested.
PLAIN_SCALAR = re.compile(r"[A-Za-z0-9_./+-][A-Za-z0-9_./+@() -]*(?<! )")


FactLine: TypeAlias = "Tuple[Tuple[str, ...], str]"  # A path, and the text printed after it.


def format_facts(asked: Iterable[Union[str, Plan]], facts: FactSource, *, every: bool) -> Iterator[str]:
    """Yield the lines for places by name, and for all places that a plan names.

    `every`: list every row of every table.
    """
    tree: Dict[str, object] = {}
    for what in asked:
        for path, value in (
            _iter_named_lines(what, facts, every=every) if isinstance(what, str) else _iter_plan_lines(what, facts)
        ):
            _add_to_tree(tree, path, value)
    return _format_tree(tree, "")


def _iter_plan_lines(plan: Plan, facts: FactSource) -> Iterator[FactLine]:
    for clause in iter_clauses(plan):
        for place in clause.places:
            yield place.path, _format_observation(facts.observe(place), place)


def iter_clauses(plan: Plan) -> Iterator[Clause]:
    """Yield the clauses of a plan, except those of quantified rules."""
    params = {param.name: param for param in plan.params}
    for requirement in plan.requirements:
        for data in (requirement.pattern, requirement.when):
            if data and not {"every", "some"} & data.keys():
                for clause in list_clauses(read_pattern(data, params)):
                    if clause.place.path[0] != PARAMS:
                        yield clause


def _iter_named_lines(dotted_name: str, facts: FactSource, *, every: bool) -> Iterator[FactLine]:
    place = find_place(dotted_name)
    if isinstance(place, Group):
        for name, fact in place.members.items():
            path = (dotted_name, name)
            yield from _iter_fact_lines(Place(path, fact), facts, every=every, asked=False)
    else:
        yield from _iter_fact_lines(place, facts, every=every, asked=True)


def _iter_fact_lines(place: Place, facts: FactSource, *, every: bool, asked: bool) -> Iterator[FactLine]:
    if isinstance(place.fact, Leaf) or place.column or (place.key and not place.fact.columns):
        yield place.path, _format_observation(facts.observe(place), place)
    elif place.key:
        yield from _iter_row_lines(place, place.fact, facts)
    elif not place.fact.closed and not (place.fact.optional is False and (every or asked)):
        yield place.path, f"  # rows are read by name, such as {'.'.join(place.path)}.{place.fact.noun.upper()}"
    else:
        yield from _iter_table_lines(place, place.fact, facts, every=every or asked)


def _iter_table_lines(place: Place, table: Table, facts: FactSource, *, every: bool) -> Iterator[FactLine]:
    names, rows = facts.names(place), facts.rows(place)
    if isinstance(names, Unknown):
        yield place.path, _format_observation(names, place)
    elif not names:
        yield place.path, _format_observation(rows, place) if isinstance(rows, Unknown) else f"  # no {table.noun}"
    elif len(names) > MAX_LISTED_ROWS and not every:
        yield place.path, f"  # {len(names)} rows: nodespec facts {'.'.join(place.path)} lists them"
    else:
        for name in names:
            yield from _iter_fact_lines(Place((*place.path, name), table, name), facts, every=every, asked=False)
        if isinstance(rows, Unknown):
            yield (*place.path, "*"), _format_observation(rows, place)


def _iter_row_lines(place: Place, table: Table, facts: FactSource) -> Iterator[FactLine]:
    row = facts.observe(place)
    if isinstance(row, (Absent, Unknown)):
        yield place.path, _format_observation(row, place)
        return
    for column in table.columns:
        cell = place._replace(path=(*place.path, column), column=column)
        yield cell.path, _format_observation(facts.observe(cell), cell)


def _format_observation(observation: Observation[Datum], place: Place) -> str:
    """Return the text after a name: a value as a spec states it, or a comment.

    The comment states why the value is missing.
    """
    if isinstance(observation, Unknown):
        return f"  # unknown ({observation.reason}): {escape_line(observation.say)}"
    if isinstance(observation, Absent):
        return f" absent  # {escape_line(f'{describe_absence(place, observation)}; {observation.evidence.source}')}"
    source = f"{'inferred from ' if observation.evidence.inferred else ''}{escape_line(str(observation.evidence))}"
    values = [_format_value(value, place) for value in (observation.value, *observation.others)]
    if not all(values) or not _can_be_named(place):
        shown = " or ".join(
            escape_line(format_value(value, place.kind)) for value in (observation.value, *observation.others)
        )
        return f"  # {shown}, which a spec cannot state  # {source}"
    value = values[0] if len(values) == 1 else f"[{', '.join(values)}]"
    if place.moves:
        return f"  # {value}, which changes by itself  # {source}"
    return f" {value}  # {source}"


def _format_value(value: Datum, place: Place) -> str:
    """Return a value as a spec states it; empty if no text in a spec can state it."""
    if isinstance(value, frozenset) and not isinstance(place.kind, SetOf):
        texts = [_format_value(member, place) for member in sorted(value)]
        return f"{{all: [{', '.join(texts)}]}}" if all(texts) else ""
    if isinstance(value, frozenset):
        members = [_quote_scalar(member) for member in sorted(value)]
        stated = _meets_expectation([*sorted(value)], value, place.kind) and all(members)
        return f"[{', '.join(members)}]" if stated else "" if value else "{equals: []}"
    text = format_value(value, place.kind) if isinstance(value, bool) else place.kind.written(value) or str(value)
    option = isinstance(place.kind, Option) and value not in place.kind.PLAIN and not re.fullmatch("-?[0-9a-fx]+", text)
    text = f'"{text}"' if option else text
    if text not in ("present", "absent", *place.kind.words) and _meets_expectation(text, value, place.kind):
        return _quote_scalar(text)
    return (
        f"{{equals: {_quote_scalar(text)}}}"
        if _meets_expectation({"equals": text}, value, place.kind) and _quote_scalar(text)
        else ""
    )


def _meets_expectation(stated: Node, value: Datum, kind: Kind[Datum]) -> bool:
    """Return whether a text is a valid expectation that the value meets."""
    try:
        return expectation.parse_expectation(stated, kind).test(value)
    except ValueError:
        return False


def _can_be_named(place: Place) -> bool:
    """Return whether a spec can name the row."""
    if isinstance(place.fact, Leaf) or not place.key:
        return True
    try:
        return escape_line(place.key) == place.key and declaration.parse_row_key(place.fact, place.key) == place.key
    except ValueError:
        return False


def _quote_scalar(text: str) -> str:
    """Return a text as a YAML scalar.

    It is empty for a text that YAML cannot contain, such as a lone surrogate.
    """
    if PLAIN_SCALAR.fullmatch(text) and text != "null" and text[:2] not in ("-", "- "):
        return text
    if any("\ud800" <= character <= "\udfff" for character in text):
        return ""
    return "".join(
        f"\\U{ord(character):08x}" if character > "\uffff" else json.dumps(character)[1:-1] for character in text
    ).join('""')


def _add_to_tree(tree: Dict[str, object], path: Tuple[str, ...], value: str) -> None:
    for step in path[:-1]:
        below = tree.setdefault(step, {})
        tree = below if isinstance(below, dict) else tree
    tree[path[-1]] = value


def _format_tree(tree: Mapping[str, object], indent: str) -> Iterator[str]:
    """Yield the lines of a tree.

    A key without a value is a comment, since a spec cannot contain it.
    """
    for name, value in tree.items():
        mark = "" if _states_value(value) else "# "
        key = f"{indent}{mark}{_quote_scalar(escape_line(name))}:"
        if isinstance(value, dict):
            yield key
            yield from _format_tree(value, f"{indent}  ")
        else:
            yield f"{key}{value}"


def _states_value(value: object) -> bool:
    """Return whether a value, or any value below a name, is not a comment."""
    if isinstance(value, dict):
        return any(map(_states_value, value.values()))
    return not str(value).startswith("  #")


def find_place(what: str) -> Union[Group, Place]:
    """Return a family, a fact, a row or a column by its dotted name.

    Raises `UsageError` if it is not found.
    """
    family, _, rest = what.partition(".")
    try:
        declared = declaration.load_family(family)
    except LookupError:
        families = declaration.list_families()
        near = suggest_name(family, families) or f"; the families are {', '.join(families)}"
        raise UsageError(f"unknown family of facts `{family}`{near}") from None
    if isinstance(declared, Table):
        return _find_row((family,), declared, rest)
    if not rest:
        return declared
    name, _, key = rest.partition(".")
    fact = declared.members.get(name)
    if fact is None or (isinstance(fact, Leaf) and key):
        raise UsageError(f"unknown fact `{rest}` of `{family}`{suggest_name(name, declared.members)}")
    return Place((family, name), fact) if isinstance(fact, Leaf) else _find_row((family, name), fact, key)


def list_places(family: str) -> Sequence[Place]:
    """Return the place of that name; for a family, the places of its facts that do not change by themselves."""
    place = find_place(family)
    if isinstance(place, Place):
        return [place]
    return [Place((family, name), fact) for name, fact in place.members.items() if fact.moves is not True]


def _find_row(owner: Tuple[str, ...], table: Table, row: str) -> Place:
    if not row:
        return Place(owner, table)
    key, column = _split_column(table, row)
    try:
        key = declaration.parse_row_key(table, key)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return Place((*owner, key, *filter(None, [column])), table, key, column)


def _split_column(table: Table, row: str) -> Tuple[str, str]:
    """Return the name of a row, and its column or an empty text. The argument of a question may contain dots."""
    for match in re.finditer(r"\.(\w+:)", row) if isinstance(table.columns, LazyColumns) else ():
        if row[match.start(1) :] in table.columns:
            return row[: match.start()], row[match.start(1) :]
    key, _, column = row.rpartition(".")
    return (key, column) if key and column in table.columns else (row, "")
