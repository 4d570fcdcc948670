"""Replay the facts of a recording.

A place that was not recorded is unknown, unless all rows of its table were recorded.
"""

from __future__ import annotations

from nodespec.facts.declaration import Leaf, Place, Table, suggest_similar_name
from nodespec.facts.live import check_observation
from nodespec.facts.value_types import Datum, Presence
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Observation, Unknown, Value
from nodespec.recording.observation_decoding import decode_observation, make_malformed
from nodespec.recording.observation_json import NOT_RECORDED, EncodedObject
from nodespec.recording.run_length import decode_runs
from nodespec.recording.tee import expand_home, replace_evidence

if TYPE_CHECKING:
    from typing import Dict, Optional, Tuple, Union

    from nodespec.model.json_types import Json


class ReplayedFacts:
    """The facts of a recording."""

    def __init__(self, notes: Json) -> None:
        tables: EncodedObject = notes if isinstance(notes, dict) else {}
        self._tables: Dict[Table, RecordedTable] = {}
        self.notes = {name: decode_runs(note) if isinstance(note, dict) else note for name, note in tables.items()}

    def observe(self, place: Place) -> Observation[Datum]:
        """Return the observation of one place; unknown (not recorded) if it is missing."""
        fact = place.fact
        if isinstance(fact, Table) and fact in self._tables:
            return check_observation(place, _replay_row(place, fact, self._tables[fact]))
        note = self.notes.get(".".join(place.owner))
        if note is None:
            return NOT_RECORDED
        if isinstance(fact, Leaf):
            return check_observation(place, decode_observation(note, place.kind))
        if not isinstance(note, dict):
            return check_observation(place, make_malformed("not a table"))
        self._tables[fact] = RecordedTable(note)
        return check_observation(place, _replay_row(place, fact, self._tables[fact]))

    def rows(self, place: Place) -> Union[Tuple[str, ...], Unknown]:
        """Return the names of all rows of a table. With a key, return those that match it as a glob."""
        note = self._get_table(place)
        if place.key:
            return _replay_matches(note, place.key)
        rest = _decode_rest(note, place)
        if isinstance(rest, Unknown):
            return rest
        return _list_names(note, "rows") if "rows" in note else NOT_RECORDED

    def names(self, place: Place) -> Tuple[str, ...]:
        """Return the names of the recorded rows of a table."""
        note = self._get_table(place)
        return tuple(sorted({*_list_names(note, "rows"), *_list_names(note, "asked")}))

    def _get_table(self, place: Place) -> EncodedObject:
        note = self.notes.get(".".join(place.owner))
        return note if isinstance(note, dict) else {}


class RecordedTable:
    """A table of a recording, prepared once for all its rows."""

    def __init__(self, note: EncodedObject) -> None:
        rows, asked = note.get("rows"), note.get("asked")
        self.note, self.home, self.usual = note, _get_home(note), note.get("usual")
        self.rows: EncodedObject = rows if isinstance(rows, dict) else {}
        self.asked: EncodedObject = asked if isinstance(asked, dict) else {}

    def source(self, name: str) -> str:
        """Return the default source of a row."""
        return expand_home(self.home, name) if "*" in self.home else self.home


def _replay_row(place: Place, table: Table, recorded: RecordedTable) -> Observation[Datum]:
    key, rows, usual = place.key, recorded.rows, recorded.usual
    if key not in rows:
        rows, usual = recorded.asked, None
        if key not in rows:
            return _replay_other_row(place, table, recorded.note)
    row, home = rows[key], recorded.source(key)
    if row is None:
        return _decode_rest(recorded.note, place) or NOT_RECORDED
    return _replay_column(place, row, home, usual) if table.columns else decode_observation(row, table.row, home)


def _replay_other_row(place: Place, table: Table, note: EncodedObject) -> Observation[Datum]:
    """Return the observation of a row that was not recorded.

    In an open table it was never observed.
    """
    rest = _decode_rest(note, place)
    if rest is None or "rows" not in note:
        return NOT_RECORDED
    if not isinstance(rest, Unknown) and not (table.closed and table.listed(place.key)):
        return NOT_RECORDED
    if isinstance(rest, Absent) and not rest.say:
        return rest._replace(say=suggest_similar_name(place.key, _list_names(note, "rows")))
    return rest


def _decode_rest(note: EncodedObject, place: Place) -> Optional[Observation[Datum]]:
    """Return the observation of any name that is not listed, or None."""
    return (
        decode_observation(note["rest"], place._replace(column="").kind, expand_home(_get_home(note)))
        if "rest" in note
        else None
    )


def _replay_matches(note: EncodedObject, glob: str) -> Union[Tuple[str, ...], Unknown]:
    """Return the names of rows that match a glob for which the table was enumerated."""
    globs = note.get("globs")
    names = globs.get(glob) if isinstance(globs, dict) else None
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return tuple(map(str, names))
    seen = decode_observation(names, Presence()) if isinstance(names, dict) else NOT_RECORDED
    return seen if isinstance(seen, Unknown) else make_malformed("not a list of names")


def _list_names(note: EncodedObject, part: str) -> Tuple[str, ...]:
    rows = note.get(part)
    return tuple(sorted(rows)) if isinstance(rows, dict) else ()


def _get_home(note: EncodedObject) -> str:
    home = note.get("from", "")
    return home if isinstance(home, str) else ""


def _replay_column(place: Place, row: Json, home: str, usual: Json) -> Observation[Datum]:
    """Return the observation of a column, or of the whole row.

    If the row is absent or unknown, so is every column.
    """
    if not isinstance(row, dict):
        return make_malformed("a row must have columns")
    if place.column and place.column in row:
        return decode_observation(row[place.column], place.kind, home)
    row_observation = decode_observation(row.get("is", {}), Presence(), home)
    if not place.column or not isinstance(row_observation, Value):
        return row_observation
    if isinstance(usual, dict) and place.column in usual:
        observation, at_row = decode_observation(usual[place.column], place.kind), row_observation.evidence
        below = 0 if isinstance(observation, Unknown) else observation.evidence.line
        return replace_evidence(observation, at_row._replace(line=at_row.line + below))
    return NOT_RECORDED
