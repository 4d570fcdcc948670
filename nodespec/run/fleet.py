"""Judge recordings: one, or all of a directory, with a report each.

Many recordings are judged in parallel on all processors. Each process also renders the reports of the hosts that it
judges. Of a report only the summary is kept, unless a format needs all reports at once.
"""

from __future__ import annotations

import gc
import os
import sys
import time
import traceback

from nodespec.errors import USAGE, UsageError, print_error
from nodespec.judge.fleet_summary import Gist, make_gist
from nodespec.judge.judge import Terms, judge, make_failed_report
from nodespec.judge.memo import MemoizedPlan, MemoizedRecording, MemoizedTee
from nodespec.light_typing import TYPE_CHECKING, TypeVar, cast
from nodespec.model import plan_json
from nodespec.model.plan import CONTEXTS
from nodespec.model.report import Host, Report, Seat, compute_exit_code
from nodespec.output.spool import Spool, make_stream
from nodespec.output.writer import (
    ReportOutput,
    embeds_facts,
    render_reports,
    summarize_files,
    write_documents,
    write_reports,
)
from nodespec.recording.file import list_recordings, load_recording
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Dict, Iterable, Iterator, List, Sequence, Tuple, TypeAlias, Union

    from nodespec.model.json_types import Json
    from nodespec.model.plan import Plan
    from nodespec.output.renderer import Stream
    from nodespec.run.request import JudgeOptions, Outputs, Target

T = TypeVar("T")
MIN_PARALLEL_RECORDINGS = 64  # Recordings. Fewer are judged before a second process has started.
BAR_COLUMNS = 40  # The width of the progress bar in columns.


class FleetTask(NamedTuple):
    """The plan and terms that judge a recording, and the stream of each format.

    A stream is None if the format needs all reports at once.
    """

    plan: Plan
    terms: Terms
    readings: Dict[str, MemoizedPlan]  # Memoized plans by context.
    streams: Tuple[Union[Stream, None], ...] = ()

    @property
    def whole(self) -> bool:
        """Whether a format needs all reports at once."""
        return None in self.streams


class JudgedHost(NamedTuple):
    """A judged recording: its summary, and its part of each format that takes parts."""

    gist: Gist
    parts: Tuple[str, ...]
    report: Union[Report, None]


FleetResult: TypeAlias = "Union[JudgedHost, Tuple[str, ...]]"  # A result, or the errors of the recording.


def _ignore_seat(_seat: Seat) -> None:
    """Ignore the host that is being judged."""


def run_fleet(plan: Plan, target: Target, options: JudgeOptions, outputs: Outputs) -> int:
    """Judge the named recordings, write reports, return the exit code.

    An error names each damaged recording; the others are judged nevertheless.
    """
    if options.wait:
        raise UsageError("--wait: a recording does not change; remove --wait")
    paths, terms = (
        list_recordings(target.facts),
        Terms(time.time(), options.choice, options.waivers, limits=target.limits),
    )
    formats, every = outputs.reports, outputs.every
    streams = tuple(make_stream(output, every=every) for output in formats)
    if len(paths) == 1:  # The summary of several hosts needs their facts.
        terms = terms._replace(embeds=any(map(embeds_facts, formats)))
    task = FleetTask(plan, terms, {context: MemoizedPlan(plan, context=context) for context in CONTEXTS}, streams)
    gc.disable()  # Nothing here creates reference cycles, and searching for them takes a seventh of the time.
    try:
        if len(paths) == 1:
            report = judge_recording(task, paths[0])
            end = time.monotonic() + target.limits.run_seconds
            summary = summarize_files([report], formats)
            return write_reports([report], formats, report.exit, every=every, deadline=end, summary=summary)
        return _judge_all(task, paths, formats, every=every)
    finally:
        gc.enable()


def _judge_all(task: FleetTask, paths: Sequence[str], goals: Sequence[ReportOutput], *, every: bool) -> int:
    spools = [Spool(goal.file) for goal, stream in zip(goals, task.streams) if stream]
    streams = [stream for stream in task.streams if stream]
    gists: List[Gist] = []
    reports: List[Report] = []
    damaged: List[str] = []
    shared: Dict[object, object] = {}  # Equal texts and findings of several hosts, kept once.
    for result in _show_progress(_iter_results(task, paths), len(paths)):
        if not isinstance(result, JudgedHost):
            damaged += result
            continue
        for spool, stream, part in zip(spools, streams, result.parts):
            spool.add(stream.between + part if gists else part)
        causes = tuple(_deduplicate(cause, shared) for cause in result.gist.causes)
        gists.append(
            result.gist._replace(
                headline=_deduplicate(result.gist.headline, shared), causes=_deduplicate(causes, shared)
            )
        )
        if result.report:
            findings = (_deduplicate(finding, shared) for finding in result.report.findings)
            reports.append(result.report._replace(findings=tuple(findings)))
    if not gists:
        raise UsageError(*damaged)
    streamed = iter([_iter_document(stream, spool, gists) for stream, spool in zip(streams, spools)])
    documents = (
        (goal, next(streamed) if stream else render_reports(goal, reports, every=every))
        for goal, stream in zip(goals, task.streams)
    )
    code, end = USAGE if damaged else compute_exit_code(gists), time.monotonic() + task.terms.limits.run_seconds
    written = write_documents(documents, code, end, summarize_files(gists, goals))
    for host in gists:
        if host.defect:
            print_error(f"nodespec: {host.door.partition(' ')[2]}: {host.defect}")
    if damaged:
        raise UsageError(*damaged, f"exit {USAGE}: {len(damaged)} of {len(paths)} recordings not judged")
    return written


def _iter_document(stream: Stream, spool: Spool, gists: Sequence[Gist]) -> Iterator[str]:
    yield stream.begin(gists)
    yield from spool.text()
    yield stream.end(gists)


def _deduplicate(item: T, shared: Dict[object, object]) -> T:
    try:
        return cast("T", shared.setdefault(item, item))
    except TypeError:  # The value of a set is a list in a report, and a list has no hash.
        return item


def judge_recording(task: FleetTask, path: str, note: Callable[[Seat], None] = _ignore_seat) -> Report:
    """Judge one recording. Raises `UsageError` if it is not valid.

    `note` is called with the seat of the host before it is judged.
    """
    recording = load_recording(path)
    seat = recording.through(path)
    note(seat)
    prepared = task.readings[seat.context]
    facts = MemoizedRecording(recording.facts, prepared.memory)
    return judge(task.plan, MemoizedTee(facts) if task.terms.embeds else facts, seat, task.terms, prepared)


def _judge_guarded(task: FleetTask, path: str, note: Callable[[Seat], None] = _ignore_seat) -> FleetResult:
    """Judge one recording; a defect of nodespec affects only this host.

    `note` is called with the seat of the host before it is judged.
    """
    seat = _make_unread_seat(path)

    def known(better: Seat) -> None:
        nonlocal seat
        seat = better
        note(better)

    try:
        return _summarize_report(task, judge_recording(task, path, known))
    except UsageError as error:
        return error.messages
    except ImportError:  # A module that this Python lacks is missing for every host.
        raise
    except Exception as error:  # noqa: BLE001 - the other hosts are judged nevertheless
        if os.environ.get("NODESPEC_DEBUG"):
            traceback.print_exc()
        for prepared in task.readings.values():
            prepared.memory.forget()
        return _make_lost_host(
            task, seat, f"{type(error).__name__}: {error}", "report it; NODESPEC_DEBUG=1 shows where"
        )


def _summarize_report(task: FleetTask, report: Report) -> JudgedHost:
    parts = tuple(stream.part(report) for stream in task.streams if stream)
    return JudgedHost(make_gist(report), parts, report if task.whole else None)


def _make_lost_host(task: FleetTask, seat: Seat, sentence: str, hint: str) -> JudgedHost:
    return _summarize_report(task, make_failed_report(task.plan, seat, task.terms, sentence, hint))


def _make_unread_seat(path: str) -> Seat:
    """Return the seat of a host whose recording was not read, named after its file."""
    return Seat("running", f"facts {path}", Host(os.path.basename(path)))


def _iter_results(task: FleetTask, paths: Sequence[str]) -> Iterator[FleetResult]:
    """Yield the result of each recording, in the order of their names."""
    processors = len(os.sched_getaffinity(0))
    if len(paths) >= MIN_PARALLEL_RECORDINGS and processors > 1:
        return _judge_in_parallel(task, paths, processors)
    return (_judge_guarded(task, path) for path in paths)


def _judge_in_parallel(task: FleetTask, paths: Sequence[str], processors: int) -> Iterator[FleetResult]:
    from nodespec.run.workers import Pool, Work  # noqa: PLC0415 - only needed for many recordings

    def do(
        path: str, note: Callable[[object], None]
    ) -> FleetResult:  # The plan is not sent, since all processes share it.
        return _replace_plan(_judge_guarded(task, path, note), None)

    def lost(path: str, note: object, ending: str) -> FleetResult:
        seat = note if isinstance(note, Seat) else _make_unread_seat(path)
        sentence = f"the process that judged this host {ending}"
        return _make_lost_host(task, seat, sentence, f"judge it alone (--facts {path}), with more memory if it ran out")

    plan = plan_json.encode_sealed_plan(task.plan)
    for result in Pool(Work(paths, do, lost), processors).run():
        yield _replace_plan(result, plan)


def _replace_plan(result: FleetResult, plan: Json) -> FleetResult:
    return (
        result._replace(report=result.report._replace(plan=plan))
        if isinstance(result, JudgedHost) and result.report
        else result
    )


def _show_progress(results: Iterable[FleetResult], total: int) -> Iterator[FleetResult]:
    """Yield the same results, with a progress bar if standard error is a terminal."""
    shown = -1
    bar = total > 1 and sys.stderr is not None and sys.stderr.isatty()
    for number, result in enumerate(results, 1):
        if bar and shown != (shown := number * BAR_COLUMNS // total):
            _print_progress(f"\r[{'#' * shown}{' ' * (BAR_COLUMNS - shown)}] {number} of {total} recordings")
        yield result
    if bar:
        _print_progress("\r\x1b[K")


def _print_progress(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)  # noqa: T201 - removed before the report is written
