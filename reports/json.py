"""Render the report as JSON, which nodespec can read back; and its JSON Schema."""

from __future__ import annotations

import json

from nodespec.errors import EXIT
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence
from nodespec.model.plan import CONTEXTS, Spec
from nodespec.model.report import (
    DISPOSITIONS,
    LEVELS,
    OUTCOMES,
    Cause,
    Concluded,
    Finding,
    Host,
    Observed,
    Param,
    Part,
    Report,
    Style,
    Waiver,
)
from nodespec.model.report_json import encode_item

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Mapping, Sequence, Tuple

    from nodespec.model.json_types import Json

EMBEDS = True  # It contains the plan and all observations, unlike other formats.


def render(reports: Sequence[Report], style: Style) -> str:
    """Render the document in ASCII, with one finding a line.

    Escapes keep the text of a host unchanged.
    """
    stream = Stream(style)
    return stream.begin(()) + stream.between.join(map(stream.part, reports)) + stream.end(())


class Stream:
    """The same document host by host; an object of several hosts is encoded once.

    Each field of a report has its line, and in fields with many members each member. A member is encoded by the C code
    of json, which is seven times as fast as the encoder that indents.
    """

    between = ",\n  "

    def __init__(self, style: Style) -> None:  # noqa: ARG002 - all renderers have the same parameters
        # Text by identity. The object is kept too, so that its identity stays unique.
        self.written: Dict[int, Tuple[object, str]] = {}
        self.size = 0

    def begin(self, gists: Sequence[Concluded]) -> str:  # noqa: ARG002 - all renderers have the same parameters
        """Render the text before the hosts."""
        return '{\n "nodespec": 1,\n "reports": [\n  '

    def part(self, report: Report) -> str:
        """Render one host."""
        if self.size > MAX_KEPT_CHARS:
            self.written.clear()
            self.size = 0
        lines = (f'"{name}": {self._encode_field(name, value)}' for name, value in report._asdict().items())
        return "{\n   " + ",\n   ".join(lines) + "\n  }"

    def _encode_field(self, name: str, value: object) -> str:
        if isinstance(value, tuple) and not hasattr(value, "_fields"):
            return _join_lines([self._encode_once(item, _encode) for item in value], "[]", 4)
        if name == "facts" and isinstance(value, dict):
            facts = [f"{_encode(key)}: {self._encode_once(fact, _encode_fact)}" for key, fact in value.items()]
            return _join_lines(facts, "{}", 4)
        return self._encode_once(value, _encode_plan if name == "plan" else _encode)

    def _encode_once(self, item: object, encode: Callable[[object], str]) -> str:
        if not isinstance(item, (tuple, list, dict)):
            return _encode(item)
        if id(item) not in self.written:
            text = encode(item)
            self.size += len(text)
            self.written[id(item)] = item, text
        return self.written[id(item)][1]

    def end(self, gists: Sequence[Concluded]) -> str:  # noqa: ARG002 - all renderers have the same parameters
        """Render the text after the hosts."""
        return "\n ]\n}\n"


_ENCODER = json.JSONEncoder(check_circular=False)


def _encode(item: object) -> str:
    return _ENCODER.encode(encode_item(item))


def _encode_plan(plan: object) -> str:
    """Encode a plan with one spec, parameter or requirement a line."""
    if not isinstance(plan, dict):
        return _encode(plan)
    return _join_lines([f"{_encode(name)}: {_encode_list(part)}" for name, part in plan.items()], "{}", 4)


def _encode_list(part: object) -> str:
    return _join_lines([*map(_encode, part)], "[]", 5) if isinstance(part, list) else _encode(part)


def _encode_fact(fact: object) -> str:
    """Encode the observation of a fact, of a table with one row a line."""
    if not isinstance(fact, dict) or not any(isinstance(part, dict) for part in fact.values()):
        return _encode(fact)
    return _join_lines([f"{_encode(name)}: {_encode_rows(part)}" for name, part in fact.items()], "{}", 5)


def _encode_rows(rows: object) -> str:
    if not isinstance(rows, dict):
        return _encode(rows)
    return _join_lines([f"{_encode(name)}: {_encode(row)}" for name, row in rows.items()], "{}", 6)


def _join_lines(members: Sequence[str], brackets: str, depth: int) -> str:
    """Join the encoded members of a list or an object, one a line, at an indentation depth."""
    if not members:
        return brackets
    line = "\n" + " " * depth
    return f"{brackets[0]}{line}{f',{line}'.join(members)}{line[:-1]}{brackets[1]}"


MAX_KEPT_CHARS = 4 << 20  # Characters that are kept.
ANY_SCHEMA: Dict[str, Json] = {}
TEXT_SCHEMA: Dict[str, Json] = {"type": "string"}
OBSERVED_STATES = ("value", "absent", "unknown", "deferred")
WAIVER_STATES = ("valid", "expired", "elsewhere", "unmatched", "unneeded", "void")
ALLOWED_VALUES: Mapping[Tuple[object, str], Tuple[str, ...]] = {
    (Report, "conclusion"): tuple(EXIT),
    (Report, "context"): CONTEXTS,
    (Finding, "level"): LEVELS,
    (Finding, "outcome"): OUTCOMES,
    (Finding, "disposition"): DISPOSITIONS,
    (Part, "outcome"): OUTCOMES,
    (Cause, "outcome"): OUTCOMES,
    (Observed, "state"): OBSERVED_STATES,
    (Waiver, "state"): WAIVER_STATES,
    (Param, "source"): ("default", *(f"default ({context})" for context in CONTEXTS), "set"),
}
LATER_FIELDS: Mapping[object, Tuple[str, ...]] = {
    Host: ("next", "product", "addresses"),
    Report: ("only", "skip", "defect"),
    Finding: ("tags",),
}  # Fields that reports of earlier versions lack.
FIELD_DESCRIPTIONS: Mapping[object, Mapping[str, str]] = {
    Report: {
        "conclusion": "The result of the enforced findings",
        "context": "Whether the host is a running machine, or files that its next boot uses",
        "door": "How the host was accessed: live, root DIR, image PATH or facts FILE",
        "time": "Time of judging, ISO 8601 in UTC, by the judging clock",
        "tool": "nodespec and its version",
        "host": "The host that was judged",
        "specs": "The requested specs",
        "params": "All parameters with their values",
        "waivers": "The given waivers, and the state of each",
        "findings": "Every requirement once, in the order of the specs",
        "causes": "Causes that several findings share",
        "notices": "Notices on how far the findings can be trusted",
        "strict": "Whether recommendations were enforced",
        "asked": "Number of requirements that were judged, after --only and --skip",
        "plan": "The resolved specs, so that the report can be verified",
        "facts": "All observations, so that the report can be verified",
        "only": "The globs of --only",
        "skip": "The globs of --skip",
        "defect": "Why nodespec failed to judge the host, which makes its exit code 70; else empty",
    },
    Host: {
        "name": "The host's name",
        "id": "Derived from the machine-id, which it does not reveal",
        "os": "Name of the operating system, from os-release",
        "kernel": "The kernel's release",
        "arch": "The architecture, as the kernel names it",
        "container": "The manager of the container that nodespec ran in; empty outside of one",
        "user": "The user of the process: root, or uid and a number",
        "next": "The release of the kernel that the next boot starts, if another kernel runs (a reboot is pending)",
        "product": "Derived from product_uuid of the firmware, as `id`; empty if it cannot be read",
        "addresses": "Derived likewise from the hardware address of each network device, separated by blanks",
    },
    Spec: {
        "name": "The name by which the spec was requested",
        "title": "The title of the spec",
        "digest": "SHA-256 of the resolved spec, with all specs that it extends",
        "sources": "The files from which it was read",
        "extends": "The specs that it extends",
        "drops": "The inherited requirements that it drops",
        "notes": "Parts of a foreign spec that cannot be converted",
    },
    Param: {
        "name": "The parameter's name",
        "value": "The value, as text",
        "source": "Whether the value is a default or was set; with the context if the default depends on it",
        "why": "The purpose of the parameter",
    },
    Waiver: {
        "ids": "Globs of the requirements that may fail",
        "hosts": "Globs of the hosts on which they may fail",
        "reason": "Why they may fail",
        "owner": "The owner of the waiver",
        "expires": "The last day on which the waiver is valid, in UTC",
        "source": "Its position, as file:line:column",
        "state": "The state of the waiver",
        "days": "Remaining days, including the day of expiry; negative after it",
    },
    Finding: {
        "id": "The requirement's id, unique within the report",
        "level": "Whether the requirement is required or recommended",
        "outcome": "The outcome",
        "disposition": "How the outcome counts",
        "sentence": "The expectation and the observation, in one sentence",
        "why": "The reason for the requirement",
        "fix": "How to fix it; empty unless the requirement fails",
        "see": "Where to read more",
        "source": "The positions in the specs, as file:line:column",
        "parts": "The expectations on single facts",
        "waiver": "Index of the waiver in the report that permits it to fail, from 0; -1 for none",
        "tags": "The tags of the requirement, such as CIS-4.1.5; omitted if it has none",
    },
    Cause: {
        "outcome": "The outcome that the findings share",
        "say": "The cause in one sentence",
        "look": "A hint: what would let nodespec observe the fact",
        "ids": "The findings",
    },
    Part: {
        "place": "The fact",
        "expected": "The expectation",
        "observed": "The observation",
        "evidence": "The sources of the observation",
        "outcome": "The outcome of this part",
    },
    Observed: {
        "state": "The kind of the observation",
        "text": "The observation as text",
        "value": "The value, as in a recording; null without one",
        "others": "Other possible values, if the evidence is ambiguous",
        "reason": "The reason for unknown: no permission, hidden, not found, timed out, ...",
        "look": "A hint: what would let nodespec observe the fact",
    },
    Evidence: {
        "source": "A path, a command line, a socket with a method, or a system call",
        "line": "The line, from 1; 0 for none",
        "inferred": "Whether the observation was derived from it, not read in it",
    },
}


def schema() -> Dict[str, Json]:
    """Return the JSON Schema of the document, generated from the records."""
    reports: Dict[str, Json] = {"type": "array", "items": _make_reference(Report)}
    version: Dict[str, Json] = {"const": 1, "description": "The version of this format"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Reports of nodespec",
        **_make_object_schema({"nodespec": version, "reports": reports}),
        "$defs": {_name_record(record): _make_record_schema(record) for record in FIELD_DESCRIPTIONS},
    }


def _make_record_schema(record: object) -> Dict[str, Json]:
    import typing  # noqa: PLC0415 - only needed for a schema

    from nodespec.model import json_types  # noqa: PLC0415 - only needed for a schema

    meanings = FIELD_DESCRIPTIONS[record]
    fields: Dict[str, Json] = {}
    for name, kind in typing.get_type_hints(record, localns={**vars(typing), **vars(json_types)}).items():
        allowed: Dict[str, Json] = _make_type_schema(kind)
        if (record, name) in ALLOWED_VALUES:
            allowed = {"enum": list(ALLOWED_VALUES[record, name])}
        fields[name] = {**allowed, "description": meanings[name]}
    return _make_object_schema(fields, LATER_FIELDS.get(record, ()))


def _make_object_schema(fields: Dict[str, Json], later: Tuple[str, ...] = ()) -> Dict[str, Json]:
    required: List[Json] = [name for name in fields if name not in later]
    return {"type": "object", "properties": fields, "required": required, "additionalProperties": False}


def _make_type_schema(kind: object) -> Dict[str, Json]:
    """Return the schema of a field's type: a record, a tuple, a scalar, or any JSON."""
    if kind in FIELD_DESCRIPTIONS:
        return _make_reference(kind)
    if getattr(kind, "__origin__", None) is tuple:
        return {"type": "array", "items": _make_type_schema(getattr(kind, "__args__")[0])}  # noqa: B009 - typing does not declare it
    scalars: Mapping[object, Dict[str, Json]] = {str: TEXT_SCHEMA, int: {"type": "integer"}, bool: {"type": "boolean"}}
    return scalars.get(kind, ANY_SCHEMA)


def _name_record(record: object) -> str:
    return str(getattr(record, "__name__")).lower()  # noqa: B009 - object does not declare it, a record has it


def _make_reference(record: object) -> Dict[str, Json]:
    return {"$ref": f"#/$defs/{_name_record(record)}"}
