"""Decode observations of a recording, which is untrusted data."""

from __future__ import annotations

from nodespec.facts.value_numbers import Whole
from nodespec.facts.value_types import Datum, Flag, Kind, SetOf
from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.model.observation import REASONS, Absent, Evidence, Observation, Unknown, Value
from nodespec.recording.observation_json import NOT_RECORDED

if TYPE_CHECKING:
    from typing import FrozenSet, List

    from nodespec.model.json_types import Json
    from nodespec.recording.observation_json import EncodedObject

NUMBER_LIMIT = 1 << 64  # Numbers of a host are less.


def decode_observation(data: Json, kind: Kind[Datum], home: str = "") -> Observation[Datum]:
    """Decode an observation; unknown (malformed) if it is not valid."""
    try:
        if isinstance(data, list):
            return Value(_decode_value(data[0], kind), _decode_evidence(data[1:], home))
        if not isinstance(data, dict):
            raise TypeError(f"{data!r:.80}")
        return _decode_object(data, kind, home)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        return make_malformed(str(error))


def make_malformed(detail: str) -> Unknown:
    """Return the observation for a part of a recording that is not valid."""
    return Unknown("malformed", f"the recording has no valid observation here: {detail}")


def _decode_object(fields: EncodedObject, kind: Kind[Datum], home: str) -> Observation[Datum]:
    if not fields:
        return NOT_RECORDED
    if "unknown" in fields:
        reason, say, look = (_read_text(fields.get(name, "")) for name in ("unknown", "say", "look"))
        unknown = Unknown(reason, say, look)
        if unknown.reason not in REASONS:
            return make_malformed(f"unknown reason `{unknown.reason:.80}`")
        may = decode_observation(fields["may"], kind, home) if "may" in fields else None
        return unknown._replace(may=cast("Value[str]", may)) if isinstance(may, Value) else unknown
    inferred = fields.get("inferred", False)
    if not isinstance(inferred, bool):
        raise TypeError(f"{inferred!r:.80} is not true or false")
    evidence = Evidence(_read_text(fields.get("from", home)), _read_line(fields.get("line", 0)), inferred)
    if "absent" in fields:
        return Absent(evidence, _read_text(fields["absent"]))
    others = fields.get("or", [])
    if not isinstance(others, list):
        raise TypeError(f"{others!r:.80} is not a list")
    return Value(_decode_value(fields["value"], kind), evidence, tuple(_decode_value(other, kind) for other in others))


def _decode_evidence(data: List[Json], home: str) -> Evidence:
    """Return the evidence that follows a value: a line, a source, both or neither."""
    line = _read_line(data.pop(0)) if data and not isinstance(data[0], str) else 0
    source = _read_text(data.pop(0)) if data else home
    if data:
        raise TypeError("more than a value, a line and a source")
    return Evidence(source, line)


def _read_text(data: Json) -> str:
    if not isinstance(data, str):
        raise TypeError(f"{data!r:.80} is not a text")
    return data


def _read_line(data: Json) -> int:
    if type(data) is not int or not 0 <= data < NUMBER_LIMIT:
        raise TypeError(f"{data!r:.80} is not a line number")
    return data


def _decode_value(data: Json, kind: Kind[Datum]) -> Datum:
    """Return a value of the kind. Raises TypeError for a JSON value of another type."""
    if isinstance(kind, SetOf) or (kind.repeats and isinstance(data, list)):
        return _decode_set(data)
    wanted = bool if isinstance(kind, Flag) else int if isinstance(kind, Whole) else str
    least = -NUMBER_LIMIT if kind.signed else 0
    if type(data) is not wanted or (type(data) is int and not least <= data < NUMBER_LIMIT):
        raise TypeError(f"{data!r:.80} is not {kind.noun}")
    return cast("Datum", data)


def _decode_set(data: Json) -> FrozenSet[str]:
    if not isinstance(data, list) or not all(isinstance(item, str) for item in data):
        raise TypeError(f"{data!r:.80} is not a list of texts")
    return frozenset(cast("List[str]", data))
