"""Recordings judged: one, or all of a directory with a report each, on all processors at once where there are many.

What is told of a host is told where it was judged, and of its report no more is kept than what is said of all hosts
together, unless a format wants all reports at once.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Deque, Dict, Iterable, Iterator, List, Sequence, Tuple, TypeVar, Union, cast

from .alike import Alike, Noted, Remembered
from .judging import Terms, judge
from .mistake import Mistake
from .named import NamedTuple
from .output import Target, put, rendered, write
from .recording import load, named
from .report import USAGE, Report, Waiver, code
from .spool import Spool, stream
from .summary import Gist, gist

if TYPE_CHECKING:
    import argparse
    from concurrent.futures import Future
    from typing import TypeAlias

    from .conclusion import Choice
    from .plan import Plan
    from .report import Json
    from .spool import Stream

T = TypeVar("T")
MANY = 64  # recordings: fewer are judged before a second process has begun
CHUNK = 8  # recordings that a process is given at a time
AHEAD = 4  # chunks for each process that are begun or wait to be told
BAR = 40  # columns


class Bench(NamedTuple):
    """By what every recording is judged, and how it is told in each format: nothing where that wants all at once."""

    plan: Plan
    terms: Terms
    reading: Alike
    streams: Tuple[Union[Stream, None], ...] = ()

    @property
    def whole(self) -> bool:
        """Whether a format wants all reports at once."""
        return None in self.streams


class Told(NamedTuple):
    """A recording, judged: what is remembered, and its part of each format that takes parts."""

    gist: Gist
    parts: Tuple[str, ...]
    report: Union[Report, None]


Judged: TypeAlias = "Union[Told, Tuple[str, ...]]"  # or what is wrong with the recording


def run(
    plan: Plan, waivers: Tuple[Waiver, ...], choice: Choice, goals: Sequence[Target], args: argparse.Namespace
) -> int:
    """Judge what the arguments name. A recording that is damaged is named, and the others are judged all the same."""
    if args.wait:
        raise Mistake("--wait: a recording says the same however often it is judged")
    paths, terms = named(args.facts), Terms(time.time(), choice, waivers)
    streams = tuple(stream(goal, every=args.all) for goal in goals)
    bench = Bench(plan, terms, Alike(plan), streams)
    gc.disable()  # nothing here goes in circles, and looking for what does is a seventh of the time
    try:
        if len(paths) == 1:
            report = judged(bench, paths[0])
            return write([report], goals, report.exit, every=args.all)
        return _all(bench, paths, goals, every=args.all)
    finally:
        gc.enable()


def _all(bench: Bench, paths: Sequence[str], goals: Sequence[Target], *, every: bool) -> int:
    spools = [Spool(goal.file) for goal, way in zip(goals, bench.streams) if way]
    ways = [way for way in bench.streams if way]
    gists: List[Gist] = []
    reports: List[Report] = []
    damaged: List[str] = []
    alike: Dict[object, object] = {}  # what is said of one host is said of others, and kept once
    for one in _watched(_each(bench, paths), len(paths)):
        if not isinstance(one, Told):
            damaged += one
            continue
        for spool, way, part in zip(spools, ways, one.parts):
            spool.add(way.between + part if gists else part)
        causes = tuple(_kept(cause, alike) for cause in one.gist.causes)
        gists.append(one.gist._replace(headline=_kept(one.gist.headline, alike), causes=_kept(causes, alike)))
        if one.report:
            findings = (_kept(finding, alike) for finding in one.report.findings)
            reports.append(one.report._replace(findings=tuple(findings)))
    if not gists:
        raise Mistake(*damaged)
    told = iter([_document(way, spool, gists) for way, spool in zip(ways, spools)])
    documents = (
        (goal, next(told) if way else rendered(goal, reports, every=every)) for goal, way in zip(goals, bench.streams)
    )
    written = put(documents, USAGE if damaged else code(gists))
    if damaged:
        raise Mistake(*damaged, f"exit {USAGE}: {len(damaged)} of {len(paths)} recordings not judged")
    return written


def _document(way: Stream, spool: Spool, gists: Sequence[Gist]) -> Iterator[str]:
    yield way.begin(gists)
    yield from spool.text()
    yield way.end(gists)


def _kept(item: T, alike: Dict[object, object]) -> T:
    try:
        return cast("T", alike.setdefault(item, item))
    except TypeError:  # a set that was observed is a list in a report, and has no hash
        return item


def judged(bench: Bench, path: str) -> Report:
    """The report on one recording; Mistake where there is none."""
    found = load(path)
    facts = Noted(Remembered(found.facts, bench.reading.memory))
    return judge(bench.plan, facts, found.through(path), bench.terms, bench.reading)


def _one(bench: Bench, path: str) -> Judged:
    try:
        report = judged(bench, path)
    except Mistake as mistake:
        return mistake.said
    parts = tuple(way.part(report) for way in bench.streams if way)
    return Told(gist(report), parts, report if bench.whole else None)


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
    left = iter([paths[at : at + CHUNK] for at in range(0, len(paths), CHUNK)])
    begun: Deque[Future[List[Judged]]] = deque()
    try:
        for chunk in islice(left, AHEAD * processors):
            begun.append(pool.submit(_next, chunk))
        while begun:
            for one in begun.popleft().result():
                yield _planned(one, bench.reading.packed)
            for chunk in islice(left, 1):  # no sooner, or what waits to be told would pile up
                begun.append(pool.submit(_next, chunk))
    finally:
        pool.shutdown(cancel_futures=True)  # and waits: this process may end without telling those


_BENCH: List[Bench] = []  # of a process that judges beside others


def _begin(bench: Bench) -> None:
    import signal  # noqa: PLC0415 - looking has it already

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever began it ends it
    _BENCH.append(bench)


def _next(paths: Sequence[str]) -> List[Judged]:
    """Some of many; the plan, which all have alike, is not sent along."""
    return [_planned(_one(_BENCH[0], path), None) for path in paths]


def _planned(one: Judged, plan: Json) -> Judged:
    return one._replace(report=one.report._replace(plan=plan)) if isinstance(one, Told) and one.report else one


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
