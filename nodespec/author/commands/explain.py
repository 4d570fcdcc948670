"""`nodespec explain`: the reason, observation and fix of a requirement, a fact or a spec."""

from __future__ import annotations

from nodespec.author.spec.library import Library, is_file
from nodespec.author.spec.resolver import resolve
from nodespec.facts import declaration
from nodespec.light_typing import TYPE_CHECKING
from nodespec.output import manual
from nodespec.preflight.arguments import read_assignments

if TYPE_CHECKING:
    import argparse


def explain(args: argparse.Namespace) -> int:
    """Print the page of a fact, a spec, or a requirement of a spec; without a name, of all facts."""
    library = Library(tuple(args.specs))
    if not args.what:
        lines = manual.format_manual()
    elif args.what.split(".")[0] in declaration.list_families() and not args.id:
        from nodespec.author.commands.explain_id import explain_fact  # noqa: PLC0415 - observes this machine

        lines = explain_fact(args.what, library, read_assignments(args.set))
    elif not args.id and _is_requirement_id(args.what, library):
        from nodespec.author.commands.explain_id import explain_id  # noqa: PLC0415 - resolves the whole library

        lines = explain_id(args.what, library, read_assignments(args.set))
    else:
        plan = resolve([args.what], library, read_assignments(args.set), trial=True)
        lines = manual.format_requirement(plan, args.id) if args.id else manual.format_plan(plan)
    for line in lines:
        print(line)  # noqa: T201 - the requested output
    return 0


def _is_requirement_id(name: str, library: Library) -> bool:
    """Return whether a name is neither a file nor a spec of the library."""
    return not is_file(name) and name not in library.names()
