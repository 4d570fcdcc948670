"""Compare the observations of two views of hosts, and format the differences."""

from __future__ import annotations

from nodespec.facts import declaration
from nodespec.facts.declaration import Leaf, Place, Table
from nodespec.facts.live import FactSource
from nodespec.facts.value_types import Datum, Kind
from nodespec.judge.clause_result import describe_absence, format_value
from nodespec.judge.equality import are_equal
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Observation, Unknown, Value
from nodespec.output.facts_yaml import list_places
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Dict, Iterable, Iterator, List, Mapping, Sequence, Tuple

MAX_LISTED_ROWS = 24  # maximum rows of a table that are listed by default
MAX_UNGROUPED_ROWS = 3  # maximum rows with the same cause that are listed one by one
# Values that a running host changes by itself: the kernel loads most modules on demand.
ON_DEMAND: Mapping[str, Tuple[Datum, Datum]] = {"modules": ("loaded", "loadable")}


class PlaceDifference(NamedTuple):
    """A place with different observations in two views, or known in only one."""

    place: Place
    was: Observation[Datum]
    now: Observation[Datum]

    @property
    def known(self) -> bool:
        """Whether both sides are known.

        An inferred default of an open table does not show that the row exists. An absence on the other side is
        therefore not counted as known.
        """
        sides = (self.was, self.now)
        guess = any(isinstance(seen, Value) and seen.evidence.inferred for seen in sides)
        default = guess and isinstance(self.place.fact, Table) and not self.place.fact.closed
        return not any(isinstance(seen, Unknown) or (isinstance(seen, Absent) and default) for seen in sides)

    @property
    def line(self) -> str:
        """The difference as text, with the sources of both sides."""
        words = [_format_observation(seen, self.place) for seen in (self.was, self.now)]
        return f"{self.name}: {' -> '.join(words)}  # {self.seen}"

    @property
    def name(self) -> str:
        """The dotted path of the place."""
        return ".".join(self.place.path)

    @property
    def seen(self) -> str:
        """The sources of both sides."""
        return "; ".join(dict.fromkeys(filter(None, map(_format_source, (self.was, self.now)))))


class ViewComparison(NamedTuple):
    """Places that differ, and places that only one view knows (`silent`)."""

    differing: Tuple[PlaceDifference, ...]
    silent: Tuple[PlaceDifference, ...]


def compare_views(
    before: FactSource, after: FactSource, places: Iterable[Place], contexts: Sequence[str] = ("", "")
) -> ViewComparison:
    """Compare two views at these places."""
    differences = [PlaceDifference(place, before.observe(place), after.observe(place)) for place in places]
    differing = [difference for difference in differences if not _are_same(difference, contexts)]
    return ViewComparison(
        tuple(difference for difference in differing if difference.known),
        tuple(difference for difference in differing if not difference.known),
    )


def iter_all_places(before: FactSource, after: FactSource) -> Iterator[Place]:
    """Yield every leaf, row and column of either view, in the order of the families."""
    for family in declaration.list_families():
        for place in list_places(family):
            yield from iter_places_within(place, before, after)


def iter_places_within(place: Place, before: FactSource, after: FactSource) -> Iterator[Place]:
    """Yield a place itself, the rows of a table, and the columns of a row.

    Values that change by themselves are yielded only if the place is theirs.
    """
    if isinstance(place.fact, Leaf) or place.column:
        yield place
    elif place.key:
        yield place
        if all(isinstance(view.observe(place), Value) for view in (before, after)):
            for column in place.fact.stable_columns:
                yield Place((*place.path, column), place.fact, place.key, column)
    elif place.fact.moves is not True:
        for name in sorted({*_list_row_names(before, place), *_list_row_names(after, place)}):
            yield from iter_places_within(Place((*place.path, name), place.fact, name), before, after)


def _list_row_names(view: FactSource, place: Place) -> Tuple[str, ...]:
    names = view.names(place)
    return () if isinstance(names, Unknown) else names


# equality of observations


def _are_same(difference: PlaceDifference, contexts: Sequence[str]) -> bool:
    """Return whether two observations are, or may be, equal. Sources do not count."""
    was, now = difference.was, difference.now
    if isinstance(was, Value) and isinstance(now, Value):
        return _values_overlap(was, now, difference.place.kind) or _is_loaded_on_demand(
            difference.place, was, now, contexts
        )
    if isinstance(was, Unknown) and isinstance(now, Unknown):
        return was.reason == now.reason
    return isinstance(was, Absent) and isinstance(now, Absent)


def _values_overlap(was: Value[Datum], now: Value[Datum], kind: Kind[Datum]) -> bool:
    """Return whether the possible values of two observations overlap.

    A value that is y or m does not differ from m.
    """
    return any(
        are_equal(kind, before, after) for before in (was.value, *was.others) for after in (now.value, *now.others)
    )


def _is_loaded_on_demand(place: Place, was: Value[Datum], now: Value[Datum], contexts: Sequence[str]) -> bool:
    """Return whether the running host reached its value on demand after the boot."""
    values = {context: seen.value for context, seen in zip(contexts, (was, now))}
    pair = (values.get("running", ""), values.get("at rest", ""))
    return ON_DEMAND.get(".".join(place.owner)) == pair


# output


def format_differences(comparison: ViewComparison, is_listed: Callable[[Place], bool]) -> Iterator[str]:
    """Yield a line for each difference.

    Rows of a large table are only counted, unless `whole` returns true for the table.
    """
    for table, members in _group_by(comparison.differing, lambda difference: ".".join(difference.place.owner)).items():
        if is_listed(members[0].place):
            yield from (difference.line for difference in members)
            continue
        remaining: List[PlaceDifference] = []
        for cause, group in _group_by(members, _find_cause).items():
            if cause and len(group) > MAX_UNGROUPED_ROWS:
                yield _format_group(group)
            else:
                remaining += group
        rows = {difference.place.key for difference in remaining}
        if len(rows) > MAX_LISTED_ROWS:
            yield f"{table}: {len(rows)} rows differ; name {table} as an operand to list them  # {remaining[0].seen}"
        else:
            yield from (difference.line for difference in remaining)


def _group_by(
    differences: Iterable[PlaceDifference], key: Callable[[PlaceDifference], str]
) -> Dict[str, List[PlaceDifference]]:
    groups: Dict[str, List[PlaceDifference]] = {}
    for difference in differences:
        groups.setdefault(key(difference), []).append(difference)
    return groups


def _find_cause(difference: PlaceDifference) -> str:
    """Return the detail of an absence as the cause of a difference, if it has one."""
    return next(
        (observation.say for observation in (difference.was, difference.now) if isinstance(observation, Absent)), ""
    )


def _format_group(group: Sequence[PlaceDifference]) -> str:
    """Format rows that appear or disappear for the same cause."""
    first = group[0]
    words = [
        "there" if isinstance(observation, Value) else _format_observation(observation, first.place)
        for observation in (first.was, first.now)
    ]
    return f"{first.name} and {len(group) - 1} more: {' -> '.join(words)}  # {first.seen}"


def _format_observation(observation: Observation[Datum], place: Place) -> str:
    if isinstance(observation, Unknown):
        return f"unknown ({observation.reason}: {observation.say})"
    if isinstance(observation, Absent):
        return describe_absence(place, observation)
    return " or ".join(format_value(value, place.kind) for value in (observation.value, *observation.others))


def _format_source(observation: Observation[Datum]) -> str:
    if isinstance(observation, Unknown):
        return observation.look
    return f"{'inferred from ' if observation.evidence.inferred else ''}{observation.evidence}"
