"""Facts as JSON: noted as they are asked for, and read back. What a recording holds, and what a report embeds.

They stand under their dotted names. A leaf is an observation. A table is an object:

    from   the source of most of its rows
    rest   what any other name would be
    rows   all rows that can be enumerated, by name; without it the table was only asked for single rows
    asked  further rows, which were asked for by name

A row of columns is an object: `is` observes the row as a whole, the others are its columns. All other rows are
observations themselves; null is the same as `rest`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, Iterator, Mapping, Optional, Tuple, Union, cast

from .facts import Leaf, Place, Table, meant
from .kinds import Datum, Presence
from .looking import Facts, sound
from .observation import Absent, Observation, Unknown, Value
from .packing import NOT_RECORDED, Packed, malformed, packed, unpacked

if TYPE_CHECKING:
    from .report import Json

Row = Dict[str, Observation[Datum]]  # by column; the row as a whole stands under no name


class Note:
    """What is noted of a table: rows by name, the `names` that were enumerated, and what any other would be."""

    def __init__(self, place: Place, table: Table) -> None:
        self.place, self.table = place, table
        self.rows: Dict[str, Row] = {}
        self.names: Optional[Tuple[str, ...]] = None
        self.rest: Optional[Observation[Datum]] = None

    def packed(self) -> Packed:
        """It, as JSON."""
        home = self._home()
        parts: Dict[str, Dict[str, Row]] = {}
        if self.names is not None:
            parts["rows"] = {name: self.rows.get(name, {}) for name in self.names}
        further = {name: row for name, row in self.rows.items() if name not in parts.get("rows", {})}
        parts.update({"asked": further} if further else {})
        said: Packed = {"from": home} if home else {}
        said.update({} if self.rest is None else {"rest": packed(self.rest, home)})
        for part, rows in parts.items():
            said[part] = {name: self._row(row, home) for name, row in rows.items()}
        return said

    def _home(self) -> str:
        """The source that most observations name."""
        counts: Dict[str, int] = {}
        for row in self.rows.values():
            for seen in row.values():
                if not isinstance(seen, Unknown):
                    counts[seen.evidence.source] = counts.get(seen.evidence.source, 0) + 1
        return max(counts, key=lambda source: counts[source], default="")

    def _row(self, row: Row, home: str) -> Json:
        """A row; its columns are left out where they are as absent or unknown as the row itself."""
        whole = row.get("")
        if whole is not None and whole == self.rest and all(seen == whole for seen in row.values()):
            return None
        if not self.table.columns:
            return packed(whole, home) if whole is not None else {}
        kept = {c: seen for c, seen in row.items() if c and (isinstance(whole, Value) or seen != whole)}
        said: Packed = {} if whole is None else {"is": packed(whole, home)}
        return {**said, **{column: packed(seen, home) for column, seen in kept.items()}}


class Noting:
    """Facts that are written down as they are asked for."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._noted: Dict[str, Union[Observation[Datum], Note]] = {}

    def look(self, place: Place) -> Observation[Datum]:
        """The observation of one place, noted."""
        seen = self.facts.look(place)
        if isinstance(place.fact, Leaf):
            self._noted[".".join(place.path)] = seen
        else:
            self.note(place).rows.setdefault(place.key, {})[place.column] = seen
        return seen

    def rows(self, place: Place) -> Union[Tuple[str, ...], Unknown]:
        """The names of all rows of a table, noted."""
        names = self.facts.rows(place)
        note = self.note(place)
        note.names = () if isinstance(names, Unknown) else names
        note.rest = names if isinstance(names, Unknown) else note.rest
        return names

    def note(self, place: Place) -> Note:
        """What is noted of the table of a place."""
        name = ".".join(place.owner)
        if name not in self._noted:
            self._noted[name] = Note(Place(place.owner, place.fact), cast("Table", place.fact))
        return cast("Note", self._noted[name])

    @property
    def tables(self) -> Iterator[Note]:
        """Every table of which something is noted."""
        return (note for note in self._noted.values() if isinstance(note, Note))

    @property
    def notes(self) -> Packed:
        """All that was noted, as JSON."""
        return {name: one.packed() if isinstance(one, Note) else packed(one) for name, one in self._noted.items()}


# reading back


class Recorded:
    """Facts as they were written down."""

    def __init__(self, notes: Json) -> None:
        self.notes: Mapping[str, Json] = notes if isinstance(notes, dict) else {}

    def look(self, place: Place) -> Observation[Datum]:
        """The observation of one place; unknown (not recorded) where nothing was written down."""
        note = self.notes.get(".".join(place.owner))
        if note is None:
            return NOT_RECORDED
        if isinstance(place.fact, Leaf):
            return sound(place, unpacked(note, place.kind))
        return sound(place, _row(place, place.fact, note) if isinstance(note, dict) else malformed("no table"))

    def rows(self, place: Place) -> Union[Tuple[str, ...], Unknown]:
        """The names of all rows of a table."""
        note = self._table(place)
        rest = _rest(note, place)
        if isinstance(rest, Unknown):
            return rest
        return _names(note, "rows") if "rows" in note else NOT_RECORDED

    def names(self, place: Place) -> Tuple[str, ...]:
        """The names of all rows of a table of which something was written down."""
        note = self._table(place)
        return tuple(sorted({*_names(note, "rows"), *_names(note, "asked")}))

    def _table(self, place: Place) -> Packed:
        note = self.notes.get(".".join(place.owner))
        return note if isinstance(note, dict) else {}


def _row(place: Place, table: Table, note: Packed) -> Observation[Datum]:
    for part in ("rows", "asked"):
        rows = note.get(part)
        if isinstance(rows, dict) and place.key in rows:
            row = rows[place.key]
            if row is None:
                return _rest(note, place) or NOT_RECORDED
            return _column(place, row, _home(note)) if table.columns else unpacked(row, table.row, _home(note))
    return _other(place, table, note)


def _other(place: Place, table: Table, note: Packed) -> Observation[Datum]:
    """A row of which nothing was written down: in an open table it was never looked at."""
    rest = _rest(note, place)
    if rest is None or "rows" not in note:
        return NOT_RECORDED
    if not isinstance(rest, Unknown) and not (table.closed and table.listed(place.key)):
        return NOT_RECORDED
    if isinstance(rest, Absent) and not rest.say:
        return rest._replace(say=meant(place.key, _names(note, "rows")))
    return rest


def _rest(note: Packed, place: Place) -> Optional[Observation[Datum]]:
    """What any other name would be, if the recording says."""
    return unpacked(note["rest"], place._replace(column="").kind, _home(note)) if "rest" in note else None


def _names(note: Packed, part: str) -> Tuple[str, ...]:
    rows = note.get(part)
    return tuple(sorted(rows)) if isinstance(rows, dict) else ()


def _home(note: Packed) -> str:
    home = note.get("from", "")
    return home if isinstance(home, str) else ""


def _column(place: Place, row: Json, home: str) -> Observation[Datum]:
    """A column, or the row as a whole; what is absent or unknown as a whole is so in every column."""
    if not isinstance(row, dict):
        return malformed("a row of columns is wanted")
    if place.column and place.column in row:
        return unpacked(row[place.column], place.kind, home)
    whole = unpacked(row.get("is", {}), Presence(), home)
    return NOT_RECORDED if place.column and isinstance(whole, Value) else whole
