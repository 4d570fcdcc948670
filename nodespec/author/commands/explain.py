"""`nodespec explain`: the reason, observation and fix of a requirement, a fact or a spec."""

from __future__ import annotations

from nodespec.author.spec.library import Library
from nodespec.author.spec.resolver import resolve
from nodespec.facts import declaration
from nodespec.light_typing import TYPE_CHECKING
from nodespec.options import read_assignments
from nodespec.output import manual

if TYPE_CHECKING:
    import argparse


def explain(args: argparse.Namespace) -> int:
    """Print the page of a fact, a spec, or a requirement of a spec; without a name, of all facts."""
    if not args.what:
        lines = manual.format_manual()
    elif args.what.split(".")[0] in declaration.list_families() and not args.id:
        lines = manual.format_fact(args.what)
    else:
        plan = resolve([args.what], Library(tuple(args.specs)), read_assignments(args.set), trial=True)
        lines = manual.format_requirement(plan, args.id) if args.id else manual.format_plan(plan)
    for line in lines:
        print(line)  # noqa: T201 - this is what was asked for
    return 0
