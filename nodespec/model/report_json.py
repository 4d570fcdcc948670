"""Encode reports as JSON, and decode them."""

from __future__ import annotations

from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.model.observation import Evidence
from nodespec.model.plan import Spec
from nodespec.model.report import Cause, Finding, Host, Observed, Param, Part, Report, Waiver

if TYPE_CHECKING:
    from typing import Callable, Dict, Mapping, Sequence, Tuple

    from nodespec.model.json_types import Json


def encode_reports(reports: Sequence[Report]) -> Dict[str, Json]:
    """Encode reports as the JSON document that other tools read."""
    return {"nodespec": 1, "reports": [encode_item(report) for report in reports]}


def encode_item(item: object) -> Json:
    """Encode a record, and the records in it, as JSON: an object with its fields."""
    if not isinstance(item, (tuple, list)):
        return cast("Json", item)
    values = [encode_item(value) if isinstance(value, (tuple, list)) else cast("Json", value) for value in item]
    fields = getattr(item, "_fields", None)
    if not fields:
        return values
    # Most findings have no tags, and earlier versions reject the unknown field.
    return dict(zip(fields[:-1] if fields[-1] == "tags" and not values[-1] else fields, values))


def decode_reports(document: Mapping[str, Json]) -> Tuple[Report, ...]:
    """Decode reports that `encode_reports` encoded.

    Raises KeyError or TypeError for another document.
    """
    return cast("Tuple[Report, ...]", _decode_field("reports", document["reports"]))


RECORDS = {
    "reports": Report,
    "host": Host,
    "specs": Spec,
    "params": Param,
    "waivers": Waiver,
    "causes": Cause,
    "findings": Finding,
    "parts": Part,
    "observed": Observed,
    "evidence": Evidence,
}
VERBATIM_FIELDS = ("plan", "facts", "value")


def _decode_field(name: str, value: Json) -> object:
    kind = RECORDS.get(name)
    if name in VERBATIM_FIELDS:
        return value
    if isinstance(value, list):
        return tuple(_decode_record(kind, item) if kind else item for item in value)
    return _decode_record(kind, value) if kind else value


def decode_waiver(data: Json) -> Waiver:
    """Decode a waiver from JSON."""
    return cast("Waiver", _decode_record(Waiver, data))


def encode_waiver(waiver_: Waiver) -> Json:
    """Encode a waiver as JSON."""
    return encode_item(waiver_)


def _decode_record(kind: Callable[..., object], data: Json) -> object:
    if not isinstance(data, dict):
        raise TypeError(f"expected an object for {kind}, not {data!r}")
    return kind(**{name: _decode_field(name, value) for name, value in data.items()})
