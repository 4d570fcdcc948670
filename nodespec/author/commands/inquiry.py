"""Questions that judge nothing: what a host says, which specs there are, whether one is sound, its schema."""

from __future__ import annotations

import json
from contextlib import suppress
from importlib import import_module

from nodespec.author.spec import resolver
from nodespec.author.spec.gaps import find_gaps
from nodespec.author.spec.library import Library
from nodespec.errors import DocumentError, UsageError
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
    print(line)  # noqa: T201 - this is what was asked for


def facts(args: argparse.Namespace) -> int:
    """`nodespec facts`: what a host says of places, of what specs name, or of everything."""
    library = Library(tuple(args.specs))
    asked = resolve_names(args.what, library, read_assignments(args.set))
    if args.record and (args.all or not asked):
        asked = [*declaration.list_families(), *resolve_library(library), *asked]
    return record.print_or_record(asked or declaration.list_families(), read_target(args), read_record_options(args))


def resolve_names(names: Sequence[str], library: Library, given: Mapping[str, str]) -> List[Union[str, Plan]]:
    """Each name as what it is: a place, or else a spec."""
    return [
        name
        if name.split(".")[0] in declaration.list_families()
        else resolver.resolve([name], library, given, trial=True)
        for name in names
    ]


def resolve_library(library: Library) -> Iterator[Plan]:
    """All specs that can be found: what they name is worth recording where nothing can be enumerated."""
    for name in library.names():
        with suppress(UsageError):  # that of a spec which nobody asked for
            yield resolver.resolve([name], library, {}, trial=True)


def specs(args: argparse.Namespace) -> int:
    """`nodespec specs`: the library, one line each."""
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


def lint(args: argparse.Namespace) -> int:
    """`nodespec lint`: return 0 if all specs are valid, else report all errors and exit with 2."""
    messages: List[str] = []
    for name in args.spec:
        try:
            warnings: List[DocumentError] = []
            library = Library(tuple(args.specs))
            plan = resolver.resolve([name], library, read_assignments(args.set), trial=True, warnings=warnings)
            _print_line(f"{name}: {_count_requirements(plan)}, no errors")
            for warning in dict.fromkeys(
                f"{getattr(warned.node, 'at', name)}: warning: {warned.args[0]}" for warned in warnings
            ):
                _print_line(warning)
            for line in _iter_coverage(args, plan):
                _print_line(line)
            for note in plan.specs[0].notes:
                _print_line(f"{name}: cannot be converted: {note}")
            for gap in find_gaps(plan):
                _print_line(f"{name}: warning: {gap}")
        except UsageError as error:
            messages += error.messages
    if messages:
        raise UsageError(*messages)
    return 0


def _iter_coverage(args: argparse.Namespace, plan: Plan) -> Iterator[str]:
    """How many requirements each glob of the waivers covers."""
    if not args.waivers:
        return
    from nodespec.author.spec.yaml_source import parse  # noqa: PLC0415 - only where there are any
    from nodespec.judge.waivers import describe_coverage, load, refuse_broad_waivers  # noqa: PLC0415 - likewise

    waivers = load(args.waivers, parse)
    ids = [requirement.id for requirement in plan.requirements]
    refuse_broad_waivers(waivers, ids)
    for waiver in waivers:
        yield f"{waiver.source}: {describe_coverage(waiver, ids)}"


def schema(args: argparse.Namespace) -> int:
    """`nodespec schema`: the JSON Schema of specs, recordings, reports or waivers."""
    _print_line(json.dumps(import_module(SCHEMAS[args.name]).schema(), indent=1))
    return 0
