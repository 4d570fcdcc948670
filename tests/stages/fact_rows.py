"""Compare all facts of two recordings of one node: every row that differs must have a written reason."""

from __future__ import annotations

import re
from collections import Counter
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple, Sequence

from nodespec.author.diff.observations import compare_views, iter_all_places
from nodespec.model.observation import Absent, Unknown
from nodespec.recording.file import load_recording
from nodespec.recording.replay import ReplayedFacts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nodespec.author.diff.observations import PlaceDifference
    from nodespec.facts.value_types import Datum
    from nodespec.model.observation import Observation

OPEN = ("deferred", "not recorded")  # reasons for which a view says nothing about a row
MAX_PRINTED = 60  # unexplained rows that are printed


class Reason(NamedTuple):
    """Where two views may differ: a pattern of places, what each says (a regular expression), and why."""

    place: str
    first: str
    second: str
    why: str

    def explains(self, place: str, first: str, second: str) -> bool:
        """Return whether this reason covers a difference."""
        matches = re.fullmatch(self.first, first) and re.fullmatch(self.second, second)
        return bool(matches) and fnmatchcase(place, self.place)


def compare_recordings(
    title: str, first: Path, second: Path, reasons: Sequence[Reason], *, least: int
) -> Iterator[str]:
    """Yield rows that differ without a reason, unused reasons, and too few compared rows."""
    before, after = (ReplayedFacts(load_recording(str(path)).facts) for path in (first, second))
    places = list(iter_all_places(before, after))
    comparison = compare_views(before, after, places)
    differing = [row for row in (*comparison.differing, *comparison.silent) if not is_open(row)]
    used: Counter[Reason] = Counter()
    unexplained = []
    for row in differing:
        place, words = ".".join(row.place.path), (describe(row.was), describe(row.now))
        reason = next((reason for reason in reasons if reason.explains(place, *words)), None)
        if reason is None:
            unexplained.append(f"{title}: {place}: {words[0]!r} and {words[1]!r}  # {row.seen}")
        else:
            used[reason] += 1
    decided = sum(not is_undecided(before.observe(place), after.observe(place)) for place in places)
    print(
        f"{title}: {len(places)} rows, {decided} decided by both (at least {least} are expected): "
        f"{sum(used.values())} differ for a written reason, {len(unexplained)} for none"
    )
    for reason, count in used.items():
        print(f"differs  {title}: {reason.place} ({count}): {reason.why}")
    yield from unexplained[:MAX_PRINTED]
    if len(unexplained) > MAX_PRINTED:
        yield f"{title}: {len(unexplained) - MAX_PRINTED} more rows differ for no reason"
    yield from (f"{title}: unused reason: {reason.place}: {reason.why}" for reason in reasons if reason not in used)
    if decided < least:
        yield f"{title}: only {decided} rows are decided by both"


def is_open(row: PlaceDifference) -> bool:
    """Return whether one view says rightly nothing: what only a running machine has, or what nobody recorded."""
    return is_undecided(row.was, row.now)


def is_undecided(*views: Observation[Datum]) -> bool:
    """Return whether an observation is deferred or not recorded."""
    return any(isinstance(view, Unknown) and view.reason in OPEN for view in views)


def describe(observation: Observation[Datum]) -> str:
    """Return the value, `absent`, or `unknown: ` and its sentence."""
    if isinstance(observation, Unknown):
        return f"unknown: {observation.reason}: {observation.say}"
    if isinstance(observation, Absent):
        return "absent"
    return " or ".join(map(str, (observation.value, *observation.others)))
