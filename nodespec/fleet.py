"""Recordings judged: one, or all of a directory with a report each, on all processors at once where there are many."""

from __future__ import annotations

import gc
import os
import sys
import time
from typing import TYPE_CHECKING, Dict, Iterable, Iterator, List, Sequence, Tuple, Union

from .alike import Alike, Noted, Remembered
from .judging import Terms, judge
from .mistake import Mistake
from .named import NamedTuple
from .output import Target, write
from .recording import load, named
from .report import USAGE, Finding, Report, Waiver, code

if TYPE_CHECKING:
    import argparse
    from typing import TypeAlias

    from .conclusion import Choice
    from .plan import Plan

MANY = 64  # recordings: fewer are judged before a second process has begun
CHUNK = 8  # recordings that a process is given at a time
BAR = 40  # columns


class Bench(NamedTuple):
    """By what every recording is judged."""

    plan: Plan
    terms: Terms
    reading: Alike


Judged: TypeAlias = "Union[Report, Tuple[str, ...]]"  # a report, or what is wrong with the recording


def run(
    plan: Plan, waivers: Tuple[Waiver, ...], choice: Choice, goals: Sequence[Target], args: argparse.Namespace
) -> int:
    """Judge what the arguments name. A recording that is damaged is named, and the others are judged all the same."""
    if args.wait:
        raise Mistake("--wait: a recording says the same however often it is judged")
    paths, bench = named(args.facts), Bench(plan, Terms(time.time(), choice, waivers), Alike(plan))
    reports: List[Report] = []
    damaged: List[str] = []
    alike: Dict[Finding, Finding] = {}  # most of what is found on one host is found on the others, and kept once
    gc.disable()  # nothing here goes in circles, and looking for what does is a seventh of the time
    try:
        for one in _watched(_each(bench, paths), len(paths)):
            if isinstance(one, Report):
                reports.append(one._replace(findings=tuple(_kept(finding, alike) for finding in one.findings)))
            else:
                damaged += one
        if not reports:
            raise Mistake(*damaged)
        written = write(reports, goals, USAGE if damaged else code(reports), every=args.all)
    finally:
        gc.enable()
    if damaged:
        raise Mistake(*damaged, f"exit {USAGE}: {len(damaged)} of {len(damaged) + len(reports)} recordings not judged")
    return written


def _kept(finding: Finding, alike: Dict[Finding, Finding]) -> Finding:
    try:
        return alike.setdefault(finding, finding)
    except TypeError:  # a set that was observed is a list in a report, and has no hash
        return finding


def _one(bench: Bench, path: str) -> Judged:
    try:
        found = load(path)
    except Mistake as mistake:
        return mistake.said
    facts = Noted(Remembered(found.facts, bench.reading.memory))
    return judge(bench.plan, facts, found.through(path), bench.terms, bench.reading)


def _each(bench: Bench, paths: Sequence[str]) -> Iterator[Judged]:
    """What each recording comes to, in the order of their names."""
    processors = len(os.sched_getaffinity(0))
    if len(paths) >= MANY and processors > 1:
        return _side_by_side(bench, paths, processors)
    return (_one(bench, path) for path in paths)


def _side_by_side(bench: Bench, paths: Sequence[str], processors: int) -> Iterator[Judged]:
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415 - 30 ms, for who has many
    from multiprocessing import get_context  # noqa: PLC0415 - likewise

    try:
        pool = ProcessPoolExecutor(processors, get_context("fork"), _begin, (bench,))
    except (ImportError, NotImplementedError, OSError):  # a container without /dev/shm has no semaphores
        yield from (_one(bench, path) for path in paths)
        return
    try:
        for one in pool.map(_next, paths, chunksize=CHUNK):
            yield one._replace(plan=bench.reading.packed) if isinstance(one, Report) else one
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


_BENCH: List[Bench] = []  # of a process that judges beside others


def _begin(bench: Bench) -> None:
    import signal  # noqa: PLC0415 - looking has it already

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever began it ends it
    _BENCH.append(bench)


def _next(path: str) -> Judged:
    """One of many; the plan, which all have alike, is not sent along."""
    one = _one(_BENCH[0], path)
    return one._replace(plan=None) if isinstance(one, Report) else one


def _watched(found: Iterable[Judged], total: int) -> Iterator[Judged]:
    """The same, with a bar that grows on a terminal while there are several to wait for."""
    shown = -1
    bar = total > 1 and sys.stderr is not None and sys.stderr.isatty()
    for number, one in enumerate(found, 1):
        if bar and shown != (shown := number * BAR // total):
            _tell(f"\r[{'#' * shown}{' ' * (BAR - shown)}] {number} of {total} recordings")
        yield one
    if bar:
        _tell("\r\x1b[K")


def _tell(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)  # noqa: T201 - nothing of this is left when the report is written
