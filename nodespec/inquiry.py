"""Questions that judge nothing: what a host says, which specs there are, whether one is sound, its schema."""

from __future__ import annotations

import json
import time
from importlib import import_module
from typing import TYPE_CHECKING, List

from . import facts as declared
from . import spec as specs_
from .cli import bindings
from .gate import machine
from .library import Library
from .looking import Live
from .mistake import Mistake
from .telling import lines

if TYPE_CHECKING:
    import argparse


def _say(line: str) -> None:
    print(line)  # noqa: T201 - this is what was asked for


def facts(args: argparse.Namespace) -> int:
    """`nodespec facts`: what a host says of places, of what specs name, or of everything."""
    library, given = Library(tuple(args.specs)), bindings(args.set)
    asked = [
        what if what.split(".")[0] in declared.families() else specs_.resolve([what], library, given, trial=True)
        for what in args.what or declared.families()
    ]
    live = Live(machine(args.root), time.monotonic() + args.deadline)
    for line in lines(asked, live, every=args.all):
        _say(line)
    return 0


def specs(args: argparse.Namespace) -> int:
    """`nodespec specs`: the library, one line each."""
    library = Library(tuple(args.specs))
    names = library.names()
    for name in names:
        plan = specs_.resolve([name], library, {}, trial=True)
        count = f"{len(plan.requirements)} requirements"
        _say(f"{name:{max(map(len, names))}}  {count:16}  {plan.specs[0].title}")
    return 0


def lint(args: argparse.Namespace) -> int:
    """`nodespec lint`: nothing said and 0 where a spec is sound; else every mistake, and 2."""
    said: List[str] = []
    for name in args.spec:
        try:
            plan = specs_.resolve([name], Library(tuple(args.specs)), bindings(args.set), trial=True)
            _say(f"{name}: {len(plan.requirements)} requirements, no mistake")
            for note in plan.specs[0].notes:
                _say(f"{name}: not carried over: {note}")
        except Mistake as mistake:
            said += mistake.said
    if said:
        raise Mistake(*said)
    return 0


def schema(args: argparse.Namespace) -> int:
    """`nodespec schema`: the JSON Schema of specs, reports or waivers."""
    module = {"spec": "nodespec.schema", "waivers": "nodespec.waivers", "report": "nodespec.reports.json"}[args.name]
    _say(json.dumps(import_module(module).schema(), indent=1))
    return 0
