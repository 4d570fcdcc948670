"""Observations as JSON, and facts read back from it: what a report embeds so that it can be judged again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, FrozenSet, List, Tuple, Union, cast

from .facts import Leaf, Place
from .kinds import Datum, Flag, Kind, SetOf, Whole
from .looking import Facts, sound
from .observation import REASONS, Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from .report import Json

NOT_RECORDED = Unknown("not recorded", "the recording does not say", "record with the same specs")
Packed = Dict[str, "Json"]


def packed(seen: Observation[Datum]) -> Packed:
    """An observation as JSON."""
    if isinstance(seen, Unknown):
        return {"unknown": seen.reason, "say": seen.say, "look": seen.look}
    source: Packed = {"from": list(seen.evidence)}
    if isinstance(seen, Absent):
        return {"absent": seen.say, **source}
    others: Packed = {"or": [plain(other) for other in seen.others]} if seen.others else {}
    return {"value": plain(seen.value), **others, **source}


def plain(value: Datum) -> Json:
    """A value as JSON: a set is a sorted list."""
    if isinstance(value, frozenset):
        return [*sorted(value)]
    return value


def unpacked(data: Json, kind: Kind[Datum]) -> Observation[Datum]:
    """An observation read back; unknown (malformed) where it is none."""
    try:
        fields = cast("Packed", data)
        if "unknown" in fields:
            unknown = Unknown(*(str(fields.get(name, "")) for name in ("unknown", "say", "look")))
            return unknown if unknown.reason in REASONS else _malformed(unknown.reason)
        evidence = _evidence(fields["from"])
        if "absent" in fields:
            return Absent(evidence, str(fields["absent"]))
        others = cast("List[Json]", fields.get("or", []))
        return Value(_datum(fields["value"], kind), evidence, tuple(_datum(other, kind) for other in others))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return _malformed(f"{type(error).__name__}: {error}")


def _malformed(say: str) -> Unknown:
    return Unknown("malformed", f"the recording holds no observation here: {say}")


def _evidence(data: Json) -> Evidence:
    source, line, inferred = cast("List[Json]", data)
    if not (isinstance(source, str) and isinstance(line, int) and isinstance(inferred, bool)):
        raise TypeError("no evidence")
    return Evidence(source, line, inferred)


def _datum(data: Json, kind: Kind[Datum]) -> Datum:
    """A value of the kind; TypeError where JSON holds another."""
    if isinstance(kind, SetOf):
        return _texts(data)
    wanted = bool if isinstance(kind, Flag) else int if isinstance(kind, Whole) else str
    if type(data) is not wanted:
        raise TypeError(f"{data!r} is not {kind.noun}")
    return cast("Datum", data)


def _texts(data: Json) -> FrozenSet[str]:
    if not isinstance(data, list) or not all(isinstance(one, str) for one in data):
        raise TypeError(f"{data!r} is not a list of texts")
    return frozenset(cast("List[str]", data))


class Noting:
    """Facts that are written down as they are asked for, by the dotted name of leaf or table."""

    def __init__(self, facts: Facts) -> None:
        self.facts, self.notes = facts, cast("Dict[str, Packed]", {})

    def look(self, place: Place) -> Observation[Datum]:
        """The observation of one place, noted."""
        seen = self.facts.look(place)
        name = ".".join(place.owner)
        if isinstance(place.fact, Leaf):
            self.notes[name] = packed(seen)
        else:
            rows = cast("Dict[str, Packed]", self.notes.setdefault(name, {}).setdefault("rows", {}))
            row = rows.setdefault(place.key, {})
            if place.column:
                cast("Packed", row.setdefault("columns", {}))[place.column] = packed(seen)
            else:
                row["is"] = packed(seen)
        return seen

    def rows(self, place: Place) -> Union[Tuple[str, ...], Unknown]:
        """The names of all rows of a table, noted."""
        names = self.facts.rows(place)
        note = self.notes.setdefault(".".join(place.owner), {})
        note["names"] = packed(names) if isinstance(names, Unknown) else list(names)
        return names


class Recorded:
    """Facts as they were written down."""

    def __init__(self, notes: Json) -> None:
        self.notes = notes if isinstance(notes, dict) else {}

    def look(self, place: Place) -> Observation[Datum]:
        """The observation of one place; unknown (not recorded) where nothing was written down."""
        note = self.notes.get(".".join(place.owner))
        if not isinstance(place.fact, Leaf):
            for step in ("rows", place.key, *(("columns", place.column) if place.column else ("is",))):
                note = note.get(step) if isinstance(note, dict) else None
        return NOT_RECORDED if note is None else sound(place, unpacked(note, place.kind))

    def rows(self, place: Place) -> Union[Tuple[str, ...], Unknown]:
        """The names of all rows of a table."""
        note = self.notes.get(".".join(place.owner))
        names = note.get("names") if isinstance(note, dict) else None
        if isinstance(names, list):
            return tuple(map(str, names))
        seen = unpacked(names, SetOf(cast("Kind[str]", place.kind))) if names is not None else NOT_RECORDED
        return seen if isinstance(seen, Unknown) else NOT_RECORDED
