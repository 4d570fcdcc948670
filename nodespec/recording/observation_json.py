"""Encode observations as JSON; `observation_decoding` decodes them.

    ["y", 252, "/proc/config.gz"]
    {"value": "y", "or": ["m"], "inferred": true, "from": ..., "line": ...}
    {"absent": "there is `x`", "from": ..., "line": ...}
    {"unknown": "no permission", "say": ..., "look": ...}

The list is a value, its line (from 1), and its source unless that is the default. `or` lists other possible values.
`inferred` marks a conclusion.
"""

from __future__ import annotations

from nodespec.facts.value_types import Datum
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, TypeAlias

    from nodespec.model.json_types import Json

NOT_RECORDED = Unknown("not recorded", "the recording does not contain it", "record with the same specs")
EncodedObject: TypeAlias = "Dict[str, Json]"


def is_not_recorded(observation: Observation[Datum]) -> bool:
    """Return whether a recording does not contain a fact: earlier versions have the same reason in other words."""
    return isinstance(observation, Unknown) and observation.reason == NOT_RECORDED.reason


def encode_observation(observation: Observation[Datum], home: str = "") -> Json:
    """Encode an observation; the source is omitted if it is `home`."""
    if isinstance(observation, Unknown):
        return {
            "unknown": observation.reason,
            "say": observation.say,
            **({"look": observation.look} if observation.look else {}),
            **({"may": encode_observation(observation.may)} if observation.may else {}),
        }
    source, line, inferred = observation.evidence
    if isinstance(observation, Value) and not observation.others and not inferred:
        return [encode_value(observation.value), *([line] if line else []), *([source] if source != home else [])]
    evidence: EncodedObject = {"from": source} if source != home else {}
    evidence.update({"line": line} if line else {})
    evidence.update({"inferred": True} if inferred else {})
    if isinstance(observation, Absent):
        return {"absent": observation.say, **evidence}
    others: EncodedObject = {"or": [encode_value(other) for other in observation.others]} if observation.others else {}
    return {"value": encode_value(observation.value), **others, **evidence}


def encode_value(value: Datum) -> Json:
    """Encode a value; a set is a sorted list."""
    if isinstance(value, frozenset):
        return [*sorted(value)]
    return value
