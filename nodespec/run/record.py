"""Record a host: select the places to observe, and omit values that may be secret."""

from __future__ import annotations

import os
import time
from itertools import chain

from nodespec import __version__
from nodespec.errors import UsageError, print_error
from nodespec.escape import escape_line
from nodespec.facts import declaration
from nodespec.facts.declaration import Leaf, Place, Table
from nodespec.facts.live import Live
from nodespec.judge.pattern import list_clauses
from nodespec.judge.pattern import parse_pattern as read_pattern
from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.model.observation import Observation, Unknown, Value
from nodespec.model.plan import Plan
from nodespec.model.report import Seat
from nodespec.output.facts_yaml import format_facts, iter_clauses, list_places
from nodespec.output.file import FileAccess
from nodespec.output.writer import write_one
from nodespec.recording.file import Recording
from nodespec.recording.file import encode_recording as written
from nodespec.recording.tee import TeeFacts
from nodespec.run.check import open_target

if TYPE_CHECKING:
    from typing import List, Sequence, Set, Tuple, Union

    from nodespec.facts.value_types import Case, Datum
    from nodespec.judge.pattern import Params
    from nodespec.model.plan import Data
    from nodespec.run.request import RecordOptions, Target

VALUE_OMITTED = Unknown("refused", "the recording omits the value, which may be secret", "record with --reveal")


class RedactedFacts:
    """Facts without values that may be secret; the recording states that they exist."""

    def __init__(self, facts: Live) -> None:
        self.facts = facts
        self.rows = facts.rows
        self.cut: Set[Tuple[str, ...]] = set()
        self.spoken: Set[Tuple[Tuple[str, ...], Case]] = set()

    def allow_named_values(self, plan: Plan) -> None:
        """Allow the values that a spec itself names, since they are not secret."""
        for clause in iter_clauses(plan):
            for place in clause.places:
                self.spoken |= {(place.path, case) for case in clause.expect.cases if place.sensitive}

    def observe(self, place: Place) -> Observation[Datum]:
        """Return the observation of one place, without its value if that may be secret.

        An empty value is kept.
        """
        observation = self.facts.observe(place)
        if place.fact.sensitive and isinstance(observation, Unknown):
            return observation._replace(may=None)
        is_row = isinstance(place.fact, Table) and bool(place.fact.columns) and not place.column
        if not place.sensitive or is_row or not isinstance(observation, Value) or observation.value == "":
            return observation
        values = chain.from_iterable(
            v if isinstance(v, frozenset) else (v,) for v in (observation.value, *observation.others)
        )
        if all((place.path, value) in self.spoken for value in values):
            return observation
        self.cut.add(place.path)
        return VALUE_OMITTED


def print_or_record(items: Sequence[Union[str, Plan]], target: Target, options: RecordOptions) -> int:
    """Print the requested facts, or record them."""
    deadline = time.monotonic() + target.limits.run_seconds
    facts, seat = open_target(target)
    if not options.file:
        if options.reveal:
            raise UsageError("--reveal: --reveal requires -o")
        for line in format_facts(items, facts, every=options.every):
            print(line)  # noqa: T201 - the requested output
        return 0
    if not isinstance(facts, Live):
        raise UsageError("-o: --facts is already a recording; record a host or an image")
    recording, omitted = record_host(items, facts, seat, reveal=options.reveal)
    content = written(recording, compressed=options.file.endswith(".gz"))
    unwritten = write_one(options.file, content, FileAccess(secret=options.reveal), deadline)
    if unwritten:
        return unwritten
    note = f"; {omitted} values omitted; --reveal keeps them" if omitted else ""
    host = escape_line(seat.host.name)
    line = f"{options.file}: {len(recording.facts)} facts and tables of {host}, {len(content)} bytes{note}"
    if _is_standard_output(options.file):
        print_error(line)
    else:
        print(line)  # noqa: T201 - reports what was written
    return 0


def _is_standard_output(path: str) -> bool:
    """Return whether a recording is written to standard output.

    Another line after it would make it invalid.
    """
    if path == "-":
        return True
    try:
        return os.path.samestat(os.stat(path), os.fstat(1))
    except OSError:
        return False


def record_host(
    items: Sequence[Union[str, Plan]], live: Live, seat: Seat, *, reveal: bool = False
) -> Tuple[Recording, int]:
    """Record what plans and places name; also return the count of omitted values."""
    redacted = RedactedFacts(live)
    tee = TeeFacts(live if reveal else redacted)
    for plan in items:
        if isinstance(plan, Plan):
            redacted.allow_named_values(plan)
    for item in items:
        if isinstance(item, Plan):
            _observe_plan(item, tee)
        else:
            _observe_named(item, tee, live)
    for note in tee.tables:
        note.rest = live.rest(note.place) if note.rest is None else note.rest
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Recording(seat, now, f"nodespec {__version__}", tee.notes), len(redacted.cut)


def _observe_plan(plan: Plan, tee: TeeFacts) -> None:
    """Observe all places that a plan can read, whatever its conditions are."""
    for clause in iter_clauses(plan):
        for place in clause.places:
            _observe_place(place, tee)
    params = {param.name: param for param in plan.params}
    for requirement in plan.requirements:
        if {"every", "some"} & requirement.pattern.keys():
            _observe_quantified(requirement.pattern, params, tee)


def _observe_quantified(data: Data, params: Params, tee: TeeFacts) -> None:
    table = declaration.resolve_place(tuple(cast("List[str]", data["every" if "every" in data else "some"])))
    from nodespec.judge.quantified_rule import list_matching_rows  # noqa: PLC0415 - few specs have quantified rules

    names = list_matching_rows(data, table, tee)
    for name in () if isinstance(names, Unknown) else names:
        row = table._replace(path=(*table.path, name), key=name)
        for part in ("where", "require"):
            for clause in list_clauses(read_pattern(cast("Data", data[part]), params, row)) if part in data else ():
                _observe_place(clause.place, tee)


def _observe_place(place: Place, tee: TeeFacts) -> None:
    """Observe a place; for a column also its row, which states whether the row exists."""
    tee.observe(place)
    if place.column:
        tee.observe(Place(place.path[:-1], place.fact, place.key))


def _observe_named(name: str, tee: TeeFacts, live: Live) -> None:
    """Observe all facts of a family, all rows of a table, or all columns of a row.

    Values that change by themselves are observed only if the name is theirs.
    """
    for place in list_places(name):
        if isinstance(place.fact, Leaf) or place.column:
            _observe_place(place, tee)
        elif place.key:
            _observe_row(place, place.fact, tee)
        else:
            _observe_table(place, place.fact, tee, live)


def _observe_row(place: Place, table: Table, tee: TeeFacts) -> None:
    observation = tee.observe(place)
    for column in table.stable_columns if isinstance(observation, Value) else ():
        tee.observe(Place((*place.path, column), table, place.key, column))


def _observe_table(place: Place, table: Table, tee: TeeFacts, live: Live) -> None:
    if table.moves is True:
        return
    table_capture, names = tee.note(place), live.names(place)
    table_capture.names = () if isinstance(names, Unknown) else names
    table_capture.rest = names if isinstance(names, Unknown) else live.rest(place)
    for name in table_capture.names:
        _observe_row(Place((*place.path, name), table, name), table, tee)
