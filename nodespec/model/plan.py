"""The plan: specs resolved into requirements, as plain data with positions.

A node needs nothing else to judge itself.
"""

from __future__ import annotations

from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, List, Mapping, Tuple, TypeAlias, Union

    from nodespec.model.json_types import Json

Node: TypeAlias = "Union[str, List[Node], Dict[str, Node]]"  # an expectation as data
Data: TypeAlias = "Dict[str, Node]"  # a pattern as data

CONTEXTS = ("running", "at rest")
LATER_FIELDS = ("defaults", "tags", "fix_at_rest")  # Omitted if empty, because earlier versions reject unknown fields.
LANGUAGE_VERSION = 1  # version of the spec language, of plans and of recordings


class Spec(NamedTuple):
    """A spec that was requested.

    `digest` is the SHA-256 of the resolved spec, including all specs that it extends.
    """

    name: str
    title: str
    digest: str
    sources: Tuple[str, ...]
    extends: Tuple[str, ...] = ()
    drops: Tuple[str, ...] = ()
    notes: Tuple[str, ...] = ()  # parts of a foreign spec that cannot be converted


class SpecParam(NamedTuple):
    """A parameter as bound. `source` is `default` or `set`.

    `kind` names a type, unless there are choices. `known` holds the choices before an extending spec narrowed them;
    conditions may name all of them. `defaults` holds the defaults of a running and of an offline host if they differ;
    `value` is then the first until `bind_defaults` selects one.
    """

    name: str
    value: str
    source: str
    why: str
    kind: str
    choices: Tuple[str, ...] = ()
    known: Tuple[str, ...] = ()
    defaults: Tuple[str, ...] = ()


class Requirement(NamedTuple):
    """One requirement. `pattern.read` reads its `pattern`.

    The pattern of a quantified rule applies to the rows of a table:
    `{"every" or "some": PATH, "where": ..., "require": ..., "or-none": ...}`.
    """

    id: str
    level: str
    pattern: Data
    when: Data
    source: Tuple[str, ...]
    why: str = ""
    fix: str = ""
    see: str = ""
    tags: Tuple[str, ...] = ()
    fix_at_rest: str = ""  # the fix of an offline host, if it differs


class Plan(NamedTuple):
    """The specs, parameters and requirements of one command line."""

    specs: Tuple[Spec, ...]
    params: Tuple[SpecParam, ...]
    requirements: Tuple[Requirement, ...]


def bind_defaults(plan: Plan, context: str) -> Plan:
    """Return the plan with the defaults of a context, `running` or `at rest`.

    A parameter that was set keeps its value.
    """
    if not any(param.defaults for param in plan.params):
        return plan
    return plan._replace(params=tuple(_bind_param(param, context) for param in plan.params))


def _bind_param(param: SpecParam, context: str) -> SpecParam:
    if not param.defaults:
        return param
    value = param.defaults[CONTEXTS.index(context)]
    return param._replace(value=value, source=f"default ({context})", defaults=())


def decode_plan(data: Mapping[str, Json]) -> Plan:
    """Decode a plan that `encode_plan` encoded.

    Raises KeyError, TypeError or ValueError for other data.
    """
    if data["nodespec"] != LANGUAGE_VERSION:
        from nodespec.model.newer import describe_newer_format  # noqa: PLC0415 - only needed for an error message

        newer = describe_newer_format(data["nodespec"], LANGUAGE_VERSION)
        raise ValueError(newer or "the plan was made by another version of nodespec; make it again with this version")
    # Requirements of one rule share one condition object, so that it is evaluated once.
    whens: Dict[str, Data] = {}
    return Plan(
        tuple(Spec(**_convert_lists(fields)) for fields in _cast_objects(data["specs"])),  # type: ignore[arg-type]
        tuple(SpecParam(**_convert_lists(fields)) for fields in _cast_objects(data["params"])),  # type: ignore[arg-type]
        tuple(_decode_requirement(fields, whens) for fields in _cast_objects(data["requirements"])),
    )


def _decode_requirement(fields: Mapping[str, Json], whens: Dict[str, Data]) -> Requirement:
    id_, level, pattern, when, source, *words = map(fields.__getitem__, Requirement._fields[:-2])
    known = whens.setdefault(repr(when), cast("Data", when))
    tags = tuple(cast("List[str]", fields.get("tags", ())))
    plain = Requirement(id_, level, pattern, known, tuple(cast("List[str]", source)), *words)  # type: ignore[arg-type]
    at_rest = cast("str", fields.get("fix_at_rest", ""))
    return plain._replace(tags=tags, fix_at_rest=at_rest) if tags or at_rest else plain


def _cast_objects(value: Json) -> List[Dict[str, Json]]:
    return cast("List[Dict[str, Json]]", value)


def _convert_lists(fields: Mapping[str, Json]) -> Dict[str, object]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def encode_param(param: SpecParam) -> Dict[str, object]:
    """Return the fields of a parameter."""
    return omit_empty(param._asdict())


def omit_empty(fields: Mapping[str, object]) -> Dict[str, object]:
    """Return the fields of a record without those of `LATER_FIELDS` that are empty."""
    return {name: value for name, value in fields.items() if value or name not in LATER_FIELDS}


def compute_digest(requirements: Tuple[Requirement, ...], params: Tuple[SpecParam, ...]) -> str:
    """Return the SHA-256 of a resolved spec, independent of the path of its file."""
    import json  # noqa: PLC0415 - a decoded plan already has its digests

    from nodespec.sha256 import sha256  # noqa: PLC0415 - likewise

    requirement_fields = [
        [r.id, r.level, r.pattern, r.when, r.why, r.fix, r.see, *filter(None, (r.tags, r.fix_at_rest))]
        for r in requirements
    ]
    bound = [[*encode_param(param).values()] for param in params]
    text = json.dumps([requirement_fields, bound], sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hex()


def cast_node(value: object) -> Node:
    """Cast data to the node of an expectation."""
    return cast("Node", value)
