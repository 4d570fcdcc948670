"""Recordings judged: one, or all of a directory with a report each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, List, Sequence, Tuple

from .judging import Terms, judge
from .mistake import Mistake
from .output import Target, write
from .recorded import Recorded
from .recording import found
from .report import USAGE, Report, Waiver, code

if TYPE_CHECKING:
    import argparse

    from .conclusion import Choice
    from .plan import Plan


def run(
    plan: Plan, waivers: Tuple[Waiver, ...], choice: Choice, goals: Sequence[Target], args: argparse.Namespace
) -> int:
    """Judge what the arguments name. A recording that is damaged is named, and the others are judged all the same."""
    if args.wait:
        raise Mistake("--wait: a recording says the same however often it is judged")
    terms = Terms(time.time(), choice, waivers)
    reports: List[Report] = []
    damaged: List[str] = []
    for path, one in found(args.facts):
        if isinstance(one, Mistake):
            damaged += one.said
        else:
            reports.append(judge(plan, Recorded(one.facts), one.through(path), terms))
    if not reports:
        raise Mistake(*damaged)
    written = write(reports, goals, USAGE if damaged else code(reports), every=args.all)
    if damaged:
        raise Mistake(*damaged, f"exit {USAGE}: {len(damaged)} of {len(damaged) + len(reports)} recordings not judged")
    return written
