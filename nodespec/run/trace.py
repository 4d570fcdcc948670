"""Print each observation of a run to standard error, with its source and time, for support cases (`--verbose`)."""

from __future__ import annotations

import os
import sys
import time

from nodespec.errors import print_error
from nodespec.facts.declaration import Table
from nodespec.facts.live import Live
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Unknown

if TYPE_CHECKING:
    from typing import Tuple, Union

    from nodespec.facts.declaration import Place
    from nodespec.facts.value_types import Datum
    from nodespec.model.observation import Observation

DEBUG = "<7>"  # The priority of a line for the journal, see sd-daemon(3).


class TracedLive(Live):
    """A live host whose observations are printed, each once."""

    def observe(self, place: Place) -> Observation[Datum]:
        """Return the observation of one place, and print it when it is made."""
        if place.path in self._leaves:
            return super().observe(place)
        begin = time.monotonic()
        observation = super().observe(place)
        sensitive = place.sensitive
        _print_trace(".".join(place.path), format_observation(observation, sensitive=sensitive), begin)
        return observation

    def rows(self, place: Place) -> Union[Tuple[str, ...], Unknown]:
        """Return the names of all rows of a table, and print their number."""
        begin = time.monotonic()
        names = super().rows(place)
        noun = place.fact.noun if isinstance(place.fact, Table) else "row"
        text = format_observation(names) if isinstance(names, Unknown) else f"{len(names)} names ({noun})"
        _print_trace(".".join(place.owner), text, begin)
        return names


def format_observation(observation: Observation[Datum], *, sensitive: bool = False) -> str:
    """Return a value, an absence or the reason of an unknown, with its source. A sensitive value is not shown."""
    if isinstance(observation, Unknown):
        hint = f"; {observation.look}" if observation.look else ""
        return f"unknown ({observation.reason}): {observation.say}{hint}"
    source = f"  # {observation.evidence}"
    if isinstance(observation, Absent):
        return f"absent{': ' * bool(observation.say)}{observation.say}{source}"
    if sensitive:
        return f"(not shown){source}"
    value = observation.value
    text = ", ".join(sorted(value)) if isinstance(value, frozenset) else str(value)
    return f"{text}{source}"


def _print_trace(place: str, text: str, begin: float) -> None:
    milliseconds = (time.monotonic() - begin) * 1000
    print_error(f"{DEBUG if _is_journal() else ''}nodespec: observe {place}: {text}  ({milliseconds:.1f} ms)")


def _is_journal() -> bool:
    """Return whether standard error is the journal: systemd names its device and inode in JOURNAL_STREAM."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
