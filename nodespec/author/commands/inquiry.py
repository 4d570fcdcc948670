"""Commands that do not judge: `facts`, `specs`, `lint` and `schema`."""

from __future__ import annotations

import json
from contextlib import suppress
from importlib import import_module

from nodespec.author.spec import resolver
from nodespec.author.spec.library import Library, is_file
from nodespec.errors import UsageError, suggest_name
from nodespec.facts import declaration
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.plan import Plan
from nodespec.preflight.arguments import read_assignments, read_record_options, read_target
from nodespec.run import record

if TYPE_CHECKING:
    import argparse
    from typing import Iterator, List, Mapping, Sequence, Union


SCHEMAS = {
    "spec": "nodespec.author.spec.json_schema",
    "facts": "nodespec.recording.file",
    "report": "nodespec.reports.json",
    "waivers": "nodespec.judge.waivers",
}


def _print_line(line: str) -> None:
    print(line)  # noqa: T201 - the requested output


def facts(args: argparse.Namespace) -> int:
    """Run `nodespec facts`: print or record named facts, those of specs, or all."""
    library = Library(tuple(args.specs))
    asked = resolve_names(args.what, library, read_assignments(args.set))
    if args.record and (args.all or not asked):
        asked = [*declaration.list_families(), *resolve_library(library), *asked]
    return record.print_or_record(asked or declaration.list_families(), read_target(args), read_record_options(args))


def resolve_names(names: Sequence[str], library: Library, given: Mapping[str, str]) -> List[Union[str, Plan]]:
    """Return each name as a place if it begins with a family, or else as a resolved spec."""
    return [
        name if name.split(".")[0] in declaration.list_families() else _resolve_spec(name, library, given)
        for name in names
    ]


def _resolve_spec(name: str, library: Library, given: Mapping[str, str]) -> Plan:
    """Resolve a name that is not a family. Raises `UsageError`, with all families if it is not a spec either."""
    if not is_file(name) and name not in library.names():
        families = declaration.list_families()
        near = suggest_name(name.split(".", maxsplit=1)[0], families) or suggest_name(name, library.names())
        joint = " The" if near else "; the"
        raise UsageError(f"`{name}` is not a spec or a family of facts{near}{joint} families are {', '.join(families)}")
    return resolver.resolve([name], library, given, trial=True)


def resolve_library(library: Library) -> Iterator[Plan]:
    """Yield the plans of all specs in the library.

    Their places are recorded too, because the rows of an open table cannot be enumerated.
    """
    for name in library.names():
        with suppress(UsageError):  # an error in a spec that was not requested
            yield resolver.resolve([name], library, {}, trial=True)


def specs(args: argparse.Namespace) -> int:
    """Run `nodespec specs`: print one line for each spec of the library."""
    library = Library(tuple(args.specs))
    names = library.names()
    for name in names:
        plan = resolver.resolve([name], library, {}, trial=True)
        count = _count_requirements(plan)
        _print_line(f"{name:{max(map(len, names))}}  {count:16}  {plan.specs[0].title}")
    return 0


def _count_requirements(plan: Plan) -> str:
    count = len(plan.requirements)
    return f"{count} requirement{'s' * (count != 1)}"


def schema(args: argparse.Namespace) -> int:
    """Run `nodespec schema`: print the JSON Schema of specs, recordings, reports or waivers."""
    _print_line(json.dumps(import_module(SCHEMAS[args.name]).schema(), indent=1))
    return 0
