"""Encode observations as JSON, and decode them.

    ["y", 252, "/proc/config.gz"]
    {"value": "y", "or": ["m"], "inferred": true, "from": ..., "line": ...}
    {"absent": "there is `x`", "from": ..., "line": ...}
    {"unknown": "no permission", "say": ..., "look": ...}

The list is a value, its line (from 1), and its source unless that is the default. `or` lists other possible values.
`inferred` marks a conclusion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, FrozenSet, List, cast

from nodespec.facts.value_types import Datum, Flag, Kind, SetOf, Whole
from nodespec.model.observation import REASONS, Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import TypeAlias

    from nodespec.model.json_types import Json

NOT_RECORDED = Unknown("not recorded", "the recording does not say", "record with the same specs")
GREATEST = 1 << 64  # Numbers of a host are less.
Packed: TypeAlias = "Dict[str, Json]"


def packed(seen: Observation[Datum], home: str = "") -> Json:
    """Encode an observation; the source is omitted if it is `home`."""
    if isinstance(seen, Unknown):
        return {"unknown": seen.reason, "say": seen.say, **({"look": seen.look} if seen.look else {})}
    source, line, inferred = seen.evidence
    if isinstance(seen, Value) and not seen.others and not inferred:
        return [plain(seen.value), *([line] if line else []), *([source] if source != home else [])]
    at: Packed = {"from": source} if source != home else {}
    at.update({"line": line} if line else {})
    at.update({"inferred": True} if inferred else {})
    if isinstance(seen, Absent):
        return {"absent": seen.say, **at}
    others: Packed = {"or": [plain(other) for other in seen.others]} if seen.others else {}
    return {"value": plain(seen.value), **others, **at}


def plain(value: Datum) -> Json:
    """Encode a value; a set is a sorted list."""
    if isinstance(value, frozenset):
        return [*sorted(value)]
    return value


def unpacked(data: Json, kind: Kind[Datum], home: str = "") -> Observation[Datum]:
    """Decode an observation; unknown (malformed) if it is not valid."""
    try:
        if isinstance(data, list):
            return Value(_datum(data[0], kind), _beside(data[1:], home))
        if not isinstance(data, dict):
            raise TypeError(f"{data!r:.80}")
        return _said(data, kind, home)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        return malformed(str(error))


def malformed(say: str) -> Unknown:
    """Return the observation for a part of a recording that is not valid."""
    return Unknown("malformed", f"the recording holds no observation here: {say}")


def _said(fields: Packed, kind: Kind[Datum], home: str) -> Observation[Datum]:
    if not fields:
        return NOT_RECORDED
    if "unknown" in fields:
        unknown = Unknown(*(_text(fields.get(name, "")) for name in ("unknown", "say", "look")))
        return unknown if unknown.reason in REASONS else malformed(f"`{unknown.reason:.80}` is no reason")
    inferred = fields.get("inferred", False)
    if not isinstance(inferred, bool):
        raise TypeError(f"{inferred!r:.80} is not true or false")
    evidence = Evidence(_text(fields.get("from", home)), _line(fields.get("line", 0)), inferred)
    if "absent" in fields:
        return Absent(evidence, _text(fields["absent"]))
    others = fields.get("or", [])
    if not isinstance(others, list):
        raise TypeError(f"{others!r:.80} is no list")
    return Value(_datum(fields["value"], kind), evidence, tuple(_datum(other, kind) for other in others))


def _beside(data: List[Json], home: str) -> Evidence:
    """Return the evidence that follows a value: a line, a source, both or neither."""
    line = _line(data.pop(0)) if data and not isinstance(data[0], str) else 0
    source = _text(data.pop(0)) if data else home
    if data:
        raise TypeError("there is more than a value, a line and a source")
    return Evidence(source, line)


def _text(data: Json) -> str:
    if not isinstance(data, str):
        raise TypeError(f"{data!r:.80} is no text")
    return data


def _line(data: Json) -> int:
    if type(data) is not int or not 0 <= data < GREATEST:
        raise TypeError(f"{data!r:.80} is no number of a line")
    return data


def _datum(data: Json, kind: Kind[Datum]) -> Datum:
    """Return a value of the kind. Raises TypeError for a JSON value of another type."""
    if isinstance(kind, SetOf) or (kind.repeats and isinstance(data, list)):
        return _texts(data)
    wanted = bool if isinstance(kind, Flag) else int if isinstance(kind, Whole) else str
    if type(data) is not wanted or (type(data) is int and not 0 <= data < GREATEST):
        raise TypeError(f"{data!r:.80} is not {kind.noun}")
    return cast("Datum", data)


def _texts(data: Json) -> FrozenSet[str]:
    if not isinstance(data, list) or not all(isinstance(one, str) for one in data):
        raise TypeError(f"{data!r:.80} is not a list of texts")
    return frozenset(cast("List[str]", data))
