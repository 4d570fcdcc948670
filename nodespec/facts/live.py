"""Observe facts of a live host: memoized, each with a timeout.

A value or an absence is reported only if it was observed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping  # isinstance is four times as slow with the class of typing.

from nodespec.facts.declaration import Leaf, Place, Row, Rows, Table
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING, Protocol, TypeVar, cast
from nodespec.model.observation import DEFAULT_LIMITS, DEFERRED, Absent, Limits, Observation, TimedOut, Unknown, Value

if TYPE_CHECKING:
    import signal
    from types import FrameType
    from typing import Callable, Dict, Tuple, Union

    from nodespec.facts.value_types import Datum
else:
    import _signal as signal  # The module signal makes enums of all numbers, which takes 1% of a check.

T = TypeVar("T")
ROW_PRESENT = "there"  # The value of a row that has columns.
DEFERRED_AT_REST = Unknown(DEFERRED, "only a running machine can tell")


class Facts(Protocol):
    """A source of facts: a host, or a recording of it."""

    def observe(self, place: Place) -> Observation[Datum]:
        """Return the observation of one place."""
        raise NotImplementedError

    def rows(self, place: Place) -> Union[Tuple[str, ...], Unknown]:
        """Return the names of all rows of the table at a place."""
        raise NotImplementedError


class FactSource(Facts, Protocol):
    """Facts whose tables may be known in part."""

    def names(self, place: Place) -> Union[Tuple[str, ...], Unknown]:
        """Return the names of the known rows, which may not be all rows."""
        raise NotImplementedError


class Live:
    """A tree or machine that is observed on demand.

    The run ends at `deadline` (of time.monotonic).
    """

    def __init__(self, host: Tree, deadline: float, limits: Limits = DEFAULT_LIMITS) -> None:
        self.host, self.deadline, self.limits = host, deadline, limits
        if isinstance(host, Machine):
            host.deadline = deadline
        self.conceal: Callable[[Place, Observation[Datum]], Observation[Datum]] = lambda _, seen: seen
        self._leaves: Dict[Tuple[str, ...], Observation[Datum]] = {}
        self._tables: Dict[Tuple[str, ...], Union[Rows[Row], Unknown]] = {}
        self._every: Dict[Tuple[str, ...], Union[Mapping[str, Observation[Row]], Unknown]] = {}

    @property
    def patience(self) -> float:
        """Seconds that one observation may take."""
        return self.limits.observation_seconds

    def observe(self, place: Place) -> Observation[Datum]:
        """Return the observation of one place, memoized."""
        if place.path not in self._leaves:
            fact = place.fact
            seen = self._observe_leaf(fact) if isinstance(fact, Leaf) else self._observe_row(place)
            seen = check_observation(place, seen)
            self._leaves[place.path] = self.conceal(place, seen) if ":" in place.column else seen
        return self._leaves[place.path]

    def rows(self, place: Place) -> Union[Tuple[str, ...], Unknown]:
        """Return the names of all rows of the table at a place. With a key, return those that match it as a glob."""
        if place.key:
            return self._match_rows(place)
        every, rest = self._enumerate_rows(place), self.rest(place)
        # The known rows of a table that was read in part are not all rows.
        if isinstance(rest, Unknown) or isinstance(every, Unknown):
            return rest if isinstance(rest, Unknown) else cast("Unknown", every)
        return tuple(sorted(every))

    def _match_rows(self, place: Place) -> Union[Tuple[str, ...], Unknown]:
        rows = self._get_table(place)
        if isinstance(rows, Unknown):
            return rows
        matching = rows.matching
        if matching is None:
            running = isinstance(self.host, Machine)
            return Unknown("unsupported", "the rows cannot be listed") if running else DEFERRED_AT_REST
        return self._observe_in_time(lambda: matching(place.key))

    def names(self, place: Place) -> Union[Tuple[str, ...], Unknown]:
        """Return the names of the known rows, which may not be all rows."""
        every = self._enumerate_rows(place)
        return every if isinstance(every, Unknown) else tuple(sorted(every))

    def rest(self, place: Place) -> Observation[Datum]:
        """Return the observation of any name that the table does not list."""
        rows = self._get_table(place)
        rest = rows if isinstance(rows, Unknown) else rows.rest
        if not isinstance(rest, Value):
            return rest
        return rest.then(_get_row_value)

    def _observe_leaf(self, leaf: Leaf) -> Observation[Datum]:
        host = self.host
        if isinstance(host, Machine):
            return self._observe_in_time(lambda: leaf.probe(host))
        resting = leaf.resting
        return self._observe_in_time(lambda: resting(host)) if resting else DEFERRED_AT_REST

    def _observe_row(self, place: Place) -> Observation[Datum]:
        rows = self._get_table(place)
        if isinstance(rows, Unknown):
            return rows
        if place.column in rows.own:
            return self._observe_in_time(lambda: rows.own[place.column](place.key))
        row: Union[Observation[Row], None] = None
        if self._every:
            every = self._every.get(place.owner, {})
            row = every.get(place.key) if isinstance(every, Mapping) else None
        if not isinstance(row, Value):
            row = self._observe_in_time(lambda: rows.observe(place.key))
        if not isinstance(row, Value):
            return row
        if not place.column:
            return row.then(_get_row_value)
        record = row.value
        if not isinstance(record, Mapping):
            return _make_defect(f"{'.'.join(place.owner)} has no columns")
        return self._observe_in_time(lambda: record[place.column])

    def _get_table(self, place: Place) -> Union[Rows[Row], Unknown]:
        owner = place.owner
        if owner not in self._tables:
            self._tables[owner] = self._probe_table(cast("Table", place.fact))
        return self._tables[owner]

    def _enumerate_rows(self, place: Place) -> Union[Mapping[str, Observation[Row]], Unknown]:
        if place.owner not in self._every:
            rows = self._get_table(place)
            self._every[place.owner] = rows if isinstance(rows, Unknown) else self._observe_in_time(rows.every)
        return self._every[place.owner]

    def _probe_table(self, table: Table) -> Union[Rows[Row], Unknown]:
        host = self.host
        if isinstance(host, Machine):
            return self._observe_in_time(lambda: table.probe(host))
        resting = table.resting
        return self._observe_in_time(lambda: resting(host)) if resting else DEFERRED_AT_REST

    def _observe_in_time(self, look: Callable[[], T]) -> Union[T, Unknown]:
        """Return the result of `look`, or unknown (timed out).

        A probe that raises is unknown (defect), and the run continues.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            return Unknown("timed out", "the deadline of the run has passed", "set a longer --deadline")
        seconds = min(left, self.patience)
        try:
            if not Alarm.ready:
                with Alarm(seconds):
                    return look()
            signal.setitimer(signal.ITIMER_REAL, seconds)  # As Alarm does it, without an object for each observation.
            try:
                return look()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except TimedOut:
            return Unknown("timed out", f"the observation took longer than {self.patience:g} s")
        except Exception as error:  # noqa: BLE001 - a defect of one family must not hide the observations of the others
            return _make_defect(f"{type(error).__name__}: {error}")


def _get_row_value(row: Row) -> Datum:
    """Return the value of a whole row; a row of columns has the value `there`."""
    return ROW_PRESENT if isinstance(row, Mapping) else row


def _make_defect(say: str) -> Unknown:
    return Unknown("defect", say, "this is a defect of nodespec; please report it")


def check_observation(place: Place, seen: Observation[Datum]) -> Observation[Datum]:
    """Return an observation that the declaration allows, or unknown.

    Absence is valid only for a fact that may be absent. A value that its type cannot order is unknown (malformed).
    """
    if isinstance(seen, Absent) and not place.optional:
        return Unknown("not found", f"{seen.evidence.source} does not contain it", seen.say)
    if isinstance(seen, Value):
        kind = place.kind
        if kind.spellings:
            return seen.then(kind.normalize)
        check = kind.check
        try:
            check(seen.value)
            for value in seen.others:
                check(value)
        except ValueError as error:
            return Unknown("malformed", f"{seen.evidence}: {error}")
    return seen


class Alarm:
    """Raise TimedOut in the main thread after a number of seconds.

    In other threads nothing happens, since signals cannot interrupt them. With `busy` the seconds are processor time,
    so that the load of other processes does not cost a verdict.
    """

    ready = False  # Whether `InstalledAlarms` has installed the handler once, instead of each alarm for itself.

    def __init__(self, seconds: float, *, busy: bool = False) -> None:
        self.seconds, self.own = seconds, busy or not Alarm.ready
        self.timer = signal.ITIMER_PROF if busy else signal.ITIMER_REAL
        self.number = signal.SIGPROF if busy else signal.SIGALRM

    def __enter__(self) -> None:
        try:
            self.before = signal.signal(self.number, _raise_timeout) if self.own else _raise_timeout
        except ValueError:
            self.before = None
            return
        signal.setitimer(self.timer, self.seconds)

    def __exit__(self, *_: object) -> None:
        if self.before is not None:
            signal.setitimer(self.timer, 0)
            if self.own:
                signal.signal(self.number, self.before)


class InstalledAlarms:
    """Install the signal handler once for a run with many alarms.

    Installing it for each alarm takes longer than most observations.
    """

    def __enter__(self) -> None:
        self.installed = False
        try:
            self.before = signal.signal(signal.SIGALRM, _raise_timeout)
        except ValueError:  # Not the main thread.
            return
        self.installed = Alarm.ready = True

    def __exit__(self, *_: object) -> None:
        if self.installed:
            Alarm.ready = False
            signal.signal(signal.SIGALRM, self.before)


def _raise_timeout(_number: int, _frame: Union[FrameType, None]) -> None:
    raise TimedOut
