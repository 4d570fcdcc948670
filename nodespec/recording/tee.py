"""Record facts as JSON while they are observed, for recordings and reports.

Facts are listed under their dotted names. A leaf is an observation. A table is an object:

    from   the source of most of its rows; in it `*` is the row's name, its dots as slashes and its slashes as dots
    rest   the observation of any other name
    usual  columns that are equal in most rows, observed at the line of the row or a number of lines below it; `rows`
           omit them. For rows that are one value it is that value, as `is`
    runs   rows that are one value, in the order of `from`, see run_length
    rows   all other rows that can be enumerated, by name; if it is missing, only single rows were observed
    asked  further rows that were observed by name
    globs  the names of all rows that match a glob, by glob

A row of columns is an object: `is` observes the row as a whole, the other keys are its columns. All other rows are
observations themselves; null is the same as `rest`.
"""

from __future__ import annotations

from nodespec.facts.declaration import Leaf, Place, Table
from nodespec.facts.live import Facts
from nodespec.facts.value_types import Datum
from nodespec.light_typing import TYPE_CHECKING, TypeVar, cast
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.recording.observation_json import EncodedObject, encode_observation
from nodespec.recording.run_length import decode_runs, encode_runs

if TYPE_CHECKING:
    from typing import Dict, Iterator, Mapping, Optional, Sequence, Tuple, TypeAlias, Union

    from nodespec.model.json_types import Json

T = TypeVar("T")
NO_EVIDENCE = Evidence("")
EXCHANGE_DOTS = str.maketrans("./", "/.")
Row: TypeAlias = "Dict[str, Observation[Datum]]"  # Observations by column; the whole row has an empty name.


class CapturedTable:
    """The recorded part of a table: rows by name, enumerated `names`, and the `rest`."""

    def __init__(self, place: Place, table: Table) -> None:
        self.place, self.table = place, table
        self.rows: Dict[str, Row] = {}
        self.names: Optional[Tuple[str, ...]] = None
        self.globs: Dict[str, Union[Tuple[str, ...], Unknown]] = {}
        self.rest: Optional[Observation[Datum]] = None

    def encode(self) -> EncodedObject:
        """Encode the table as JSON."""
        home = self._find_home()
        every = {name: self.rows.get(name, {}) for name in self.names or ()}
        further = {name: row for name, row in self.rows.items() if name not in every}
        usual = self._find_usual(tuple(every.values()))
        encoded: EncodedObject = {"from": home} if home else {}
        encoded.update({} if self.rest is None else {"rest": encode_observation(self.rest, expand_home(home))})
        if usual:
            encoded["usual"] = {column: encode_observation(seen) for column, seen in usual.items()}
        if self.names is not None:
            single = {} if self.table.columns or "*" in home else {n: row[""] for n, row in every.items() if "" in row}
            runs = encode_runs(single, home)
            encoded.update(runs)
            inside = cast("Mapping[str, Json]", decode_runs(runs).get("rows", {}))
            left = {name: row for name, row in every.items() if name not in inside}
            encoded["rows"] = {
                name: self._encode_row(_omit_usual(row, usual), expand_home(home, name)) for name, row in left.items()
            }
        if further:
            encoded["asked"] = {name: self._encode_row(row, expand_home(home, name)) for name, row in further.items()}
        if self.globs:
            encoded["globs"] = {
                glob: encode_observation(names) if isinstance(names, Unknown) else [*names]
                for glob, names in self.globs.items()
            }
        return encoded

    def _find_home(self) -> str:
        """Return the source that most observations name, or its pattern.

        In a pattern `*` replaces the name of the row.
        """
        observations = [(name, observation) for name, row in self.rows.items() for observation in row.values()]
        sources = [
            (name, observation.evidence.source)
            for name, observation in observations
            if not isinstance(observation, Unknown)
        ]
        return _find_most_frequent([home for name, source in sources for home in _list_homes(name, source)]) or ""

    def _find_usual(self, rows: Sequence[Row]) -> Row:
        """Return the columns that are equal in most rows, if all rows are complete.

        Columns that change by themselves do not count.
        """
        columns = self.table.stable_columns
        if not columns or not all(row.keys() >= {"", *columns} and isinstance(row[""], Value) for row in rows):
            return {}
        alike = {column: _find_most_frequent([_make_relative(row, column) for row in rows]) for column in columns}
        return {column: seen for column, seen in alike.items() if seen is not None}

    def _encode_row(self, row: Row, home: str) -> Json:
        """Encode a row; columns that are as absent or unknown as the row are omitted."""
        row_observation = row.get("")
        if (
            row_observation is not None
            and row_observation == self.rest
            and all(observation == row_observation for observation in row.values())
        ):
            return None
        if not self.table.columns:
            return encode_observation(row_observation, home) if row_observation is not None else {}
        columns = {
            c: observation
            for c, observation in row.items()
            if c and (isinstance(row_observation, Value) or observation != row_observation)
        }
        encoded: EncodedObject = {} if row_observation is None else {"is": encode_observation(row_observation, home)}
        return {**encoded, **{column: encode_observation(observation, home) for column, observation in columns.items()}}


def expand_home(home: str, name: str = "") -> str:
    """Return the default source of a row, or of a table if `name` is empty.

    A source that contains the name of the row is a default only within a row.
    """
    return home.replace("*", name.translate(EXCHANGE_DOTS), 1) if name or "*" not in home else ""


def _list_homes(name: str, source: str) -> Tuple[str, ...]:
    """Return a source, and its pattern if it contains the name of the row."""
    before, itself, after = source.rpartition(name.translate(EXCHANGE_DOTS))
    return (source, f"{before}*{after}") if itself else (source,)


def _find_most_frequent(items: Sequence[T]) -> Union[T, None]:
    """Return the most frequent element, the first of several."""
    counts: Dict[T, int] = {}
    for item in items:
        counts[item] = counts.get(item, 0) + 1
    return max(counts, key=lambda item: counts[item], default=None)


def replace_evidence(observation: Observation[Datum], evidence: Evidence) -> Observation[Datum]:
    """Return an observation with other evidence."""
    if isinstance(observation, Unknown):
        return observation
    return (
        Value(observation.value, evidence, observation.others)
        if isinstance(observation, Value)
        else Absent(evidence, observation.say)
    )


def _make_relative(row: Row, column: str) -> Union[Observation[Datum], None]:
    """Return a column whose evidence is only its distance below the row, in lines.

    Returns None if the column has another source or is above the row.
    """
    row_observation, observation = row[""], row[column]
    if isinstance(observation, Unknown):
        return observation
    if (
        isinstance(row_observation, Unknown)
        or observation.evidence._replace(line=row_observation.evidence.line) != row_observation.evidence
    ):
        return None
    below = observation.evidence.line - row_observation.evidence.line
    return replace_evidence(observation, NO_EVIDENCE._replace(line=below)) if below >= 0 else None


def _omit_usual(row: Row, usual: Row) -> Row:
    return {
        column: seen
        for column, seen in row.items()
        if column not in usual or _make_relative(row, column) != usual[column]
    }


class TeeFacts:
    """Facts that record every observation."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._noted: Dict[str, Union[Observation[Datum], CapturedTable]] = {}
        self._tables: Dict[Table, CapturedTable] = {}

    def observe(self, place: Place) -> Observation[Datum]:
        """Return the observation of one place, and record it."""
        seen = self.facts.observe(place)
        if isinstance(place.fact, Leaf):
            self._noted[".".join(place.path)] = seen
            return seen
        note = self._tables.get(place.fact) or self.note(place)
        note.rows.setdefault(place.key, {})[place.column] = seen
        return seen

    def rows(self, place: Place) -> Union[Tuple[str, ...], Unknown]:
        """Return the names of all rows of a table, and record them."""
        names = self.facts.rows(place)
        note = self.note(place)
        if place.key:
            note.globs[place.key] = names
            return names
        if note.names is None:
            note.names = () if isinstance(names, Unknown) else names
        note.rest = names if isinstance(names, Unknown) else note.rest
        return names

    def note(self, place: Place) -> CapturedTable:
        """Return the recorded part of the table of a place."""
        name = ".".join(place.owner)
        if name not in self._noted:
            table = cast("Table", place.fact)
            self._noted[name] = self._tables[table] = CapturedTable(Place(place.owner, table), table)
        return cast("CapturedTable", self._noted[name])

    @property
    def tables(self) -> Iterator[CapturedTable]:
        """The recorded tables."""
        return (note for note in self._noted.values() if isinstance(note, CapturedTable))

    @property
    def notes(self) -> EncodedObject:
        """All recorded facts, as JSON."""
        return {
            name: capture.encode() if isinstance(capture, CapturedTable) else encode_observation(capture)
            for name, capture in self._noted.items()
        }
