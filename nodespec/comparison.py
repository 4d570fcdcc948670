"""`nodespec diff`: what two recordings say differently, and where each saw it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterator, List, Tuple

from . import facts as declared
from .escape import visible
from .facts import Leaf, Place, Table
from .observation import Absent, Observation, Unknown, Value
from .recorded import Recorded
from .recording import Recording, load
from .sight import absence, shown

if TYPE_CHECKING:
    import argparse

    from .kinds import Datum

SILENT = ("not recorded", "refused", "deferred")  # reasons of one side that make no difference


def diff(args: argparse.Namespace) -> int:
    """0 where both say the same of all that both say; else every difference, and 10."""
    before, after = load(args.before), load(args.after)
    for path, one in ((args.before, before), (args.after, after)):
        print(_head(path, one))  # noqa: T201 - what is printed here is what was asked for
    found, silent = compared(Recorded(before.facts), Recorded(after.facts))
    for line in found:
        print(line)  # noqa: T201
    print(f"{len(found)} differ" + (f"; of {silent} more only one of both says anything" if silent else ""))  # noqa: T201
    return 10 if found else 0


def _head(path: str, one: Recording) -> str:
    return visible(f"{path}: {one.seat.host.name}, {one.seat.context} ({one.seat.door}), {one.time}")


def compared(before: Recorded, after: Recorded) -> Tuple[List[str], int]:
    """A line for each difference, and how many places there are of which only one says anything."""
    found, silent = [], 0
    for place in _places(before, after):
        was, now = before.look(place), after.look(place)
        if _same(was, now):
            continue
        if any(isinstance(seen, Unknown) and seen.reason in SILENT for seen in (was, now)):
            silent += 1
        else:
            seen = "; ".join(dict.fromkeys(_where(one) for one in (was, now)))
            found.append(visible(f"{'.'.join(place.path)}: {_words(was, place)} -> {_words(now, place)}  # {seen}"))
    return found, silent


def _places(before: Recorded, after: Recorded) -> Iterator[Place]:
    """Every leaf, row and column that one of both has, in the order of the families."""
    for family in declared.families():
        members = declared.family(family)
        facts = {"": members} if isinstance(members, Table) else members.members
        for name, fact in facts.items():
            place = Place((family, *filter(None, [name])), fact)
            if isinstance(fact, Leaf):
                yield place
            else:
                yield from _rows(place, fact, before, after)


def _rows(place: Place, table: Table, before: Recorded, after: Recorded) -> Iterator[Place]:
    for name in sorted({*before.names(place), *after.names(place)}):
        row = Place((*place.path, name), table, name)
        yield row
        if all(isinstance(facts.look(row), Value) for facts in (before, after)):
            yield from (Place((*row.path, column), table, name, column) for column in table.columns)


def _same(was: Observation[Datum], now: Observation[Datum]) -> bool:
    """Whether two observations say the same, wherever each was seen."""
    if isinstance(was, Value) and isinstance(now, Value):
        return (was.value, was.others) == (now.value, now.others)
    if isinstance(was, Unknown) and isinstance(now, Unknown):
        return was.reason == now.reason
    return isinstance(was, Absent) and isinstance(now, Absent)


def _words(seen: Observation[Datum], place: Place) -> str:
    if isinstance(seen, Unknown):
        return f"not known ({seen.reason}: {seen.say})"
    if isinstance(seen, Absent):
        return absence(place, seen)
    return " or ".join(shown(value, place.kind) for value in (seen.value, *seen.others))


def _where(seen: Observation[Datum]) -> str:
    if isinstance(seen, Unknown):
        return seen.look or seen.say
    return f"{'inferred from ' if seen.evidence.inferred else ''}{seen.evidence}"
