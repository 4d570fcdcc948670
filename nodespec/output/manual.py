"""Pages of the manual by name: declared facts, requirements of a plan."""

from __future__ import annotations

import inspect

from nodespec.errors import UsageError, suggest_name
from nodespec.facts import declaration
from nodespec.facts.declaration import Group, Leaf, Place, Table
from nodespec.judge.pattern import Clause, Joined, Params, Pattern, list_clauses
from nodespec.judge.pattern import parse_pattern as read_pattern
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.plan import Plan, Requirement
from nodespec.output.facts_yaml import find_place

if TYPE_CHECKING:
    from typing import Iterator, Tuple, Union

MAX_SOURCES = 6  # Sources of a requirement; the page of each fact lists all.


def format_fact(dotted_name: str) -> Iterator[str]:
    """Yield the page of a family, a fact or a row."""
    place = find_place(dotted_name)
    if isinstance(place, Group):
        yield from inspect.cleandoc(place.about).splitlines()
        yield ""
        for name, fact in place.members.items():
            yield f"  {dotted_name}.{name:14} {_get_first_line(fact.about)}"
        return
    yield f"{'.'.join(place.path)}: {_format_type(place)}"
    yield ""
    yield from inspect.cleandoc(place.fact.about).splitlines()
    yield ""
    yield f"running:  {', '.join(place.fact.sources)}"
    resting = ", ".join(dict.fromkeys(place.fact.resting_sources))
    yield f"at rest:  {resting or 'only on a running machine'}"
    if place.fact.moves:
        yield f"changes:  {_describe_moves(place.fact)}"
    if place.fix:
        yield f"fix:      {place.fix}"
    if place.fix_at_rest != place.fix:
        yield f"at rest:  {place.fix_at_rest}"
    if isinstance(place.fact, Table) and not place.key:
        for name, kind in place.fact.columns.items():
            yield f"  .{name:14} {kind.noun}"


def format_manual() -> Iterator[str]:
    """Yield the pages of all families, as Markdown."""
    yield "# Facts"
    yield ""
    yield "The facts that a spec can test. This page is generated: `python tests/pages/facts_page.py > docs/facts.md`."
    for name in declaration.list_families():
        declared = find_place(name)
        members = declared.members if isinstance(declared, Group) else {"": declared.fact}
        yield f"\n## {name}\n"
        if isinstance(declared, Group):
            yield inspect.cleandoc(declared.about)
        for member, fact in members.items():
            path = (name, *filter(None, [member]))
            yield f"\n### {'.'.join(path)}\n"
            yield from _format_page(Place(path, fact))


def _format_page(place: Place) -> Iterator[str]:
    fact = place.fact
    yield f"*{_format_type(place)}*\n"
    yield inspect.cleandoc(fact.about)
    if isinstance(fact, Table) and fact.columns:
        yield ""
        yield from (f"* `{name}`: {kind.noun}" for name, kind in fact.columns.items())
    yield f"\nRunning: {', '.join(f'`{source}`' for source in fact.sources)}."
    resting = ", ".join(f"`{source}`" for source in dict.fromkeys(fact.resting_sources))
    yield f"At rest: {resting or 'only on a running machine'}."
    if fact.moves:
        yield f"Changes by itself: {_describe_moves(fact)}."


def _describe_moves(fact: Union[Leaf, Table]) -> str:
    """Return which values change by themselves, and what follows from that."""
    what = ", ".join(f"`{column}`" for column in fact.moves) if isinstance(fact.moves, tuple) else "the value"
    return f"{what}; recorded and compared only if it is named"


def _format_type(place: Place) -> str:
    fact = place.fact
    if isinstance(fact, Table) and not place.column:
        size = "all rows are listed" if fact.closed else "a row is read if a spec names it"
        row = f"records of {', '.join(fact.columns)}" if fact.columns else place.kind.noun
        return f"by {fact.noun}: {row} ({size})"
    return place.kind.noun + (" (optional: it can be absent)" if isinstance(fact, Leaf) and fact.optional else "")


def _get_first_line(about: str) -> str:
    return inspect.cleandoc(about).split("\n")[0]


def format_requirement(plan: Plan, id_: str) -> Iterator[str]:
    """Return the page of one requirement of a plan. Raises `UsageError` if not found."""
    for requirement in plan.requirements:
        if requirement.id == id_:
            return _iter_requirement_lines(requirement, plan)
    raise UsageError(
        f"requirement `{id_}` not found{suggest_name(id_, [requirement.id for requirement in plan.requirements])}"
    )


def format_plan(plan: Plan) -> Iterator[str]:
    """Yield a plan in words: spec, params, and each requirement with its reason."""
    spec = plan.specs[0]
    yield f"{spec.name}: {spec.title}" if spec.title else spec.name
    for parent in spec.extends:
        yield f"  extends {parent}"
    for drop in spec.drops:
        yield f"  drops {drop}"
    for param in plan.params:
        choices = f" of {', '.join(param.choices)}" if param.choices else ""
        at_rest = f" (at rest: {param.defaults[1]})" if param.defaults else ""
        yield f"  --set {param.name}={param.value}{at_rest}{choices}: {param.why}"
    params = {param.name: param for param in plan.params}
    for requirement in plan.requirements:
        yield ""
        yield f"{requirement.id}  ({requirement.level})"
        yield f"    wanted {' '.join(iter_conditions(requirement, params))}"
        if requirement.why:
            yield f"    why    {requirement.why}"


def _iter_requirement_lines(requirement: Requirement, plan: Plan) -> Iterator[str]:
    params = {param.name: param for param in plan.params}
    yield f"{requirement.id}  ({requirement.level})"
    yield f"wanted   {' '.join(iter_conditions(requirement, params))}"
    words = (requirement.why, requirement.fix, requirement.fix_at_rest, requirement.see, ", ".join(requirement.tags))
    for label, text in zip(("why", "fix", "at rest", "see", "tags"), words):
        if text:
            yield f"{label:8} {text}"
    yield f"stated   {', '.join(requirement.source)}"
    if not {"every", "some"} & requirement.pattern.keys():
        places = tuple(
            dict.fromkeys(clause.place for clause in list_clauses(read_pattern(requirement.pattern, params)))
        )
        fixes = dict.fromkeys(place.fix for place in places if place.fix and not requirement.fix)
        yield from (f"fix      {fix}" for fix in fixes)
        sources = list(dict.fromkeys(source for place in places for source in place.fact.sources))
        more = f", and {len(sources) - MAX_SOURCES} more" if len(sources) > MAX_SOURCES else ""
        yield f"seen     {', '.join(sources[:MAX_SOURCES])}{more}"


def iter_conditions(requirement: Requirement, params: Params) -> Iterator[str]:
    """Yield the condition of a requirement in words."""
    data = requirement.pattern
    if "every" in data or "some" in data:
        how = "every" if "every" in data else "some"
        names = f" that matches {' or '.join(map(str, data['names']))}" if "names" in data else ""
        yield f"{how} row of {'.'.join(map(str, data[how]))}{names}"
    else:
        yield format_pattern(read_pattern(data, params))
    if requirement.when:
        yield f"where {format_pattern(read_pattern(requirement.when, params))}"


def format_pattern(pattern: Pattern) -> str:
    """Return a pattern in words."""
    if isinstance(pattern, Clause):
        names = " or ".join(".".join(place.path) for place in (pattern.place, *pattern.aliases))
        return f"{names} {pattern.expect.text}"
    return _format_joined(pattern, tuple(map(format_pattern, pattern.parts)))


def _format_joined(pattern: Joined, parts: Tuple[str, ...]) -> str:
    if pattern.how == "not":
        return f"not ({parts[0]})"
    return f" {'and' if pattern.how == 'all' else 'or'} ".join(
        f"({part})" if len(parts) > 1 else part for part in parts
    )
