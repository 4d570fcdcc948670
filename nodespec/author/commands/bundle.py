"""`nodespec bundle`: write the one-file program that checks specs."""

from __future__ import annotations

from nodespec.author.bundle import build
from nodespec.author.spec.library import Library
from nodespec.author.spec.resolver import resolve
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.report_json import encode_waiver
from nodespec.output.file import FileAccess
from nodespec.output.writer import write_one
from nodespec.preflight.arguments import read_assignments

if TYPE_CHECKING:
    import argparse
    from typing import List

    from nodespec.model.json_types import Json


def bundle(args: argparse.Namespace) -> int:
    """Write the bundle of the specs that the arguments name."""
    return write_one(args.output, compose(args), FileAccess(executable=True))


def compose(args: argparse.Namespace) -> str:
    """Return the text of a bundle with the specs and waivers that the arguments name."""
    plan = resolve(args.spec, Library(tuple(args.specs)), read_assignments(args.set))
    return build.build_bundle(plan, _encode_waivers(args.waivers))


def _encode_waivers(path: str) -> List[Json]:
    if not path:
        return []
    from nodespec.author.spec.yaml_source import parse  # noqa: PLC0415 - only needed for waivers
    from nodespec.judge.waivers import load  # noqa: PLC0415

    return [encode_waiver(waiver) for waiver in load(path, parse)]
