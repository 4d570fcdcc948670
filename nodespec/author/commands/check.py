"""`nodespec check`: specs and waivers as a person writes them, brought to the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodespec.author.commands.main import bindings
from nodespec.author.spec.library import Library
from nodespec.author.spec.precompiled import planned
from nodespec.run import check as gate

if TYPE_CHECKING:
    import argparse


def check(args: argparse.Namespace) -> int:
    """Judge this host by specs; the exit code is the verdict."""
    plan = planned(args.spec, Library(tuple(args.specs)), bindings(args.set))
    if not args.waivers:
        return gate.run(plan, (), args)
    from nodespec.author.spec.yaml_source import parse  # noqa: PLC0415 - only where there are any
    from nodespec.judge.waivers import load  # noqa: PLC0415

    return gate.run(plan, load(args.waivers, parse), args)
