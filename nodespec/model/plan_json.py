"""Encode plans as JSON, with a digest over all of it."""

from __future__ import annotations

import json

from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.model.plan import LANGUAGE_VERSION, Plan, encode_param, omit_empty
from nodespec.sha256 import sha256

if TYPE_CHECKING:
    from typing import Dict, Mapping

    from nodespec.model.json_types import Json


def encode_plan(plan: Plan) -> Dict[str, Json]:
    """Encode a plan as JSON."""
    return {
        "nodespec": LANGUAGE_VERSION,
        "specs": [cast("Json", _convert_tuples(spec._asdict())) for spec in plan.specs],
        "params": [cast("Json", _convert_tuples(encode_param(param))) for param in plan.params],
        "requirements": [
            cast("Json", _convert_tuples(omit_empty(requirement._asdict()))) for requirement in plan.requirements
        ],
    }


def _convert_tuples(fields: Mapping[str, object]) -> Dict[str, object]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def encode_sealed_plan(plan: Plan) -> Dict[str, Json]:
    """Encode a plan for a report: JSON with a digest over all of it."""
    data = encode_plan(plan)
    return {**data, "digest": compute_seal(data)}


def compute_seal(data: Mapping[str, Json]) -> str:
    """Return the SHA-256 of a plan as JSON, without its `digest`.

    Unlike the digest of a spec, it covers titles, files and positions.
    """
    content = {name: value for name, value in data.items() if name != "digest"}
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hex()
