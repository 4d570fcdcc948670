"""Replay the facts of a recording.

A place that was not recorded is unknown, unless all rows of its table were recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, Optional, Tuple, Union

from nodespec.facts.declaration import Leaf, Place, Table, meant
from nodespec.facts.live import sound
from nodespec.facts.value_types import Datum, Presence
from nodespec.model.observation import Absent, Observation, Unknown, Value
from nodespec.recording.observation_json import NOT_RECORDED, Packed, malformed, unpacked
from nodespec.recording.run_length import unrolled
from nodespec.recording.tee import at, moved

if TYPE_CHECKING:
    from nodespec.model.json_types import Json


class Recorded:
    """The facts of a recording."""

    def __init__(self, notes: Json) -> None:
        said: Packed = notes if isinstance(notes, dict) else {}
        self._tables: Dict[Table, RecordedTable] = {}
        self.notes = {name: unrolled(note) if isinstance(note, dict) else note for name, note in said.items()}

    def observe(self, place: Place) -> Observation[Datum]:
        """Return the observation of one place; unknown (not recorded) if it is missing."""
        fact = place.fact
        if isinstance(fact, Table) and fact in self._tables:
            return sound(place, _row(place, fact, self._tables[fact]))
        note = self.notes.get(".".join(place.owner))
        if note is None:
            return NOT_RECORDED
        if isinstance(fact, Leaf):
            return sound(place, unpacked(note, place.kind))
        if not isinstance(note, dict):
            return sound(place, malformed("no table"))
        self._tables[fact] = RecordedTable(note)
        return sound(place, _row(place, fact, self._tables[fact]))

    def rows(self, place: Place) -> Union[Tuple[str, ...], Unknown]:
        """Return the names of all rows of a table."""
        note = self._table(place)
        rest = _rest(note, place)
        if isinstance(rest, Unknown):
            return rest
        return _names(note, "rows") if "rows" in note else NOT_RECORDED

    def names(self, place: Place) -> Tuple[str, ...]:
        """Return the names of the recorded rows of a table."""
        note = self._table(place)
        return tuple(sorted({*_names(note, "rows"), *_names(note, "asked")}))

    def _table(self, place: Place) -> Packed:
        note = self.notes.get(".".join(place.owner))
        return note if isinstance(note, dict) else {}


class RecordedTable:
    """A table of a recording, prepared once for all its rows."""

    def __init__(self, note: Packed) -> None:
        rows, asked = note.get("rows"), note.get("asked")
        self.note, self.home, self.usual = note, _home(note), note.get("usual")
        self.rows: Packed = rows if isinstance(rows, dict) else {}
        self.asked: Packed = asked if isinstance(asked, dict) else {}

    def source(self, name: str) -> str:
        """Return the default source of a row."""
        return at(self.home, name) if "*" in self.home else self.home


def _row(place: Place, table: Table, recorded: RecordedTable) -> Observation[Datum]:
    key, rows, usual = place.key, recorded.rows, recorded.usual
    if key not in rows:
        rows, usual = recorded.asked, None
        if key not in rows:
            return _other(place, table, recorded.note)
    row, home = rows[key], recorded.source(key)
    if row is None:
        return _rest(recorded.note, place) or NOT_RECORDED
    return _column(place, row, home, usual) if table.columns else unpacked(row, table.row, home)


def _other(place: Place, table: Table, note: Packed) -> Observation[Datum]:
    """Return the observation of a row that was not recorded.

    In an open table it was never observed.
    """
    rest = _rest(note, place)
    if rest is None or "rows" not in note:
        return NOT_RECORDED
    if not isinstance(rest, Unknown) and not (table.closed and table.listed(place.key)):
        return NOT_RECORDED
    if isinstance(rest, Absent) and not rest.say:
        return rest._replace(say=meant(place.key, _names(note, "rows")))
    return rest


def _rest(note: Packed, place: Place) -> Optional[Observation[Datum]]:
    """Return the observation of any name that is not listed, or None."""
    return unpacked(note["rest"], place._replace(column="").kind, at(_home(note))) if "rest" in note else None


def _names(note: Packed, part: str) -> Tuple[str, ...]:
    rows = note.get(part)
    return tuple(sorted(rows)) if isinstance(rows, dict) else ()


def _home(note: Packed) -> str:
    home = note.get("from", "")
    return home if isinstance(home, str) else ""


def _column(place: Place, row: Json, home: str, usual: Json) -> Observation[Datum]:
    """Return the observation of a column, or of the whole row.

    If the row is absent or unknown, so is every column.
    """
    if not isinstance(row, dict):
        return malformed("a row of columns is wanted")
    if place.column and place.column in row:
        return unpacked(row[place.column], place.kind, home)
    whole = unpacked(row.get("is", {}), Presence(), home)
    if not place.column or not isinstance(whole, Value):
        return whole
    if isinstance(usual, dict) and place.column in usual:
        seen, at_row = unpacked(usual[place.column], place.kind), whole.evidence
        below = 0 if isinstance(seen, Unknown) else seen.evidence.line
        return moved(seen, at_row._replace(line=at_row.line + below))
    return NOT_RECORDED
