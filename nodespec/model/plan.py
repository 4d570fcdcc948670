"""The plan: specs resolved into requirements, as plain data with positions. All that a node needs to judge itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, List, Mapping, Tuple, Union, cast

from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import TypeAlias

    from nodespec.model.json_types import Json

Node: TypeAlias = "Union[str, List[Node], Dict[str, Node]]"  # an expectation as data
Data: TypeAlias = "Dict[str, Node]"  # a pattern as data

CONTEXTS = ("running", "at rest")
LANGUAGE = 1  # version of the spec language, of plans and of recordings


class Spec(NamedTuple):
    """A spec that was asked for. `digest` is SHA-256 over what it came to, with all that it extends."""

    name: str
    title: str
    digest: str
    sources: Tuple[str, ...]
    extends: Tuple[str, ...] = ()
    drops: Tuple[str, ...] = ()
    notes: Tuple[str, ...] = ()  # what a foreign spec asks that cannot be carried over


class Param(NamedTuple):
    """A parameter as bound. `source` is `default` or `set`; `kind` names a type, unless there are choices.

    `known` are the choices before any child narrowed them: conditions may speak of them all. `defaults` are the default
    of a running host and that of a host at rest, where they differ; then `value` is the first until `bind` chooses.
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
    """One requirement. Its `pattern` is read by `pattern.read`; a quantified rule's asks rows of a table:

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


class Plan(NamedTuple):
    """Everything that was asked for on one command line."""

    specs: Tuple[Spec, ...]
    params: Tuple[Param, ...]
    requirements: Tuple[Requirement, ...]


def packed(plan: Plan) -> Dict[str, Json]:
    """A plan as JSON."""
    return {
        "nodespec": LANGUAGE,
        "specs": [cast("Json", _listed(spec._asdict())) for spec in plan.specs],
        "params": [cast("Json", _listed(_stated(param))) for param in plan.params],
        "requirements": [cast("Json", _listed(requirement._asdict())) for requirement in plan.requirements],
    }


def bind(plan: Plan, context: str) -> Plan:
    """Return the plan with the defaults of a context, `running` or `at rest`. A param that was set keeps its value."""
    if not any(param.defaults for param in plan.params):
        return plan
    return plan._replace(params=tuple(_bound(param, context) for param in plan.params))


def _bound(param: Param, context: str) -> Param:
    if not param.defaults:
        return param
    value = param.defaults[CONTEXTS.index(context)]
    return param._replace(value=value, source=f"default ({context})", defaults=())


def _stated(param: Param) -> Dict[str, object]:
    """The fields of a param. `defaults` is left out where it is empty: earlier versions do not know it."""
    return {name: value for name, value in param._asdict().items() if name != "defaults" or value}


def _listed(fields: Mapping[str, object]) -> Dict[str, object]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def unpacked(data: Mapping[str, Json]) -> Plan:
    """A plan read back; KeyError, TypeError or ValueError where the data is none that `packed` made."""
    if data["nodespec"] != LANGUAGE:
        raise ValueError("made by another version of nodespec")
    whens: Dict[str, Data] = {}  # requirements of one rule or stage have one condition, which is decided once
    return Plan(
        tuple(Spec(**_tupled(one)) for one in _objects(data["specs"])),  # type: ignore[arg-type]
        tuple(Param(**_tupled(one)) for one in _objects(data["params"])),  # type: ignore[arg-type]
        tuple(_requirement(one, whens) for one in _objects(data["requirements"])),
    )


def _requirement(said: Mapping[str, Json], whens: Dict[str, Data]) -> Requirement:
    id_, level, pattern, when, source, *words = map(said.__getitem__, Requirement._fields)
    known = whens.setdefault(repr(when), cast("Data", when))
    return Requirement(id_, level, pattern, known, tuple(cast("List[str]", source)), *words)  # type: ignore[arg-type]


def _objects(value: Json) -> List[Dict[str, Json]]:
    return cast("List[Dict[str, Json]]", value)


def _tupled(fields: Mapping[str, Json]) -> Dict[str, object]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def digest(requirements: Tuple[Requirement, ...], params: Tuple[Param, ...]) -> str:
    """SHA-256 of what a spec came to: the same wherever its file lies."""
    import json  # noqa: PLC0415 - a plan that is read back has its digests

    from nodespec.sha256 import sha256  # noqa: PLC0415 - likewise

    said = [[r.id, r.level, r.pattern, r.when, r.why, r.fix, r.see] for r in requirements]
    bound = [[*_stated(param).values()] for param in params]
    text = json.dumps([said, bound], sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hex()


def sealed(plan: Plan) -> Dict[str, Json]:
    """A plan as a report embeds it: as JSON, with a digest over all of it."""
    data = packed(plan)
    return {**data, "digest": seal(data)}


def seal(data: Mapping[str, Json]) -> str:
    """SHA-256 of a plan as JSON, its `digest` apart: unlike that of a spec it covers titles, files and positions."""
    import json  # noqa: PLC0415 - only where a report is kept

    from nodespec.sha256 import sha256  # noqa: PLC0415 - likewise

    content = {name: value for name, value in data.items() if name != "digest"}
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hex()


def nodes(value: object) -> Node:
    """Data as an expectation's node."""
    return cast("Node", value)
