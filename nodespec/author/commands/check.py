"""`nodespec check`: specs and waivers as a person writes them, brought to the gate."""

from __future__ import annotations

from nodespec.author.spec.library import Library
from nodespec.author.spec.precompiled import load_plan
from nodespec.light_typing import TYPE_CHECKING
from nodespec.preflight.arguments import read_assignments, read_judge_options, read_outputs, read_target
from nodespec.run import check as gate

if TYPE_CHECKING:
    import argparse
    from typing import Tuple

    from nodespec.model.report import Waiver


def check(args: argparse.Namespace) -> int:
    """Judge a host by specs; return the exit code, which is the verdict."""
    plan = load_plan(args.spec, Library(tuple(args.specs)), read_assignments(args.set))
    options = read_judge_options(args, _load_waivers(args.waivers))
    return gate.run(plan, read_target(args), options, read_outputs(args))


def _load_waivers(path: str) -> Tuple[Waiver, ...]:
    if not path:
        return ()
    from nodespec.author.spec.yaml_source import parse  # noqa: PLC0415 - only needed for waivers
    from nodespec.judge.waivers import load  # noqa: PLC0415

    return load(path, parse)
