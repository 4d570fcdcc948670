"""Recordings: the facts of a host in one file, to judge elsewhere and later.

A recording is untrusted data. Its head is read completely or refused. A fact that cannot be read is unknown (malformed)
and does not affect the others. The file is JSON, compressed if its name ends in .gz.
"""

from __future__ import annotations

import json
import os
import re
import sys
import zlib

from nodespec.errors import UsageError, open_nonblocking
from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.model.json_types import check_depth
from nodespec.model.newer import describe_newer_format
from nodespec.model.observation import REASONS
from nodespec.model.plan import CONTEXTS, LANGUAGE_VERSION
from nodespec.model.report import Host, Seat
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, List, Mapping, NoReturn, Tuple

    from nodespec.model.json_types import Json

MAX_RECORDING_BYTES = 16 << 20  # Bytes of a recording, uncompressed.
KIND = "nodespec-facts"
SUFFIXES = (".json", ".json.gz")  # The names of recordings in a directory.
TIME_PATTERN = r"^\d{4}(-\d\d){2}T\d\d(:\d\d){2}Z$"


class Recording(NamedTuple):
    """A recording: how the host was accessed, when and by which tool, and its facts.

    `time` is in ISO 8601, in UTC.
    """

    seat: Seat
    time: str
    tool: str
    facts: Dict[str, Json]

    def through(self, path: str) -> Seat:
        """Return the seat from which the recording at a path is judged."""
        notice = f"recorded on {self.time} ({self.seat.door}) by {self.tool}"
        return self.seat._replace(door=f"facts {path}", notices=(*self.seat.notices, notice))


def format_recording(recording: Recording) -> str:
    """Return the document, with a line for each fact and each row."""
    seat = recording.seat
    head: Dict[str, Json] = {
        KIND: LANGUAGE_VERSION,
        "context": seat.context,
        "door": seat.door,
        "host": cast("Json", seat.host._asdict()),
        "notices": [*seat.notices],
        "tool": recording.tool,
        "time": recording.time,
    }
    facts = {name: _format_fact(fact) for name, fact in recording.facts.items()}
    return (
        _format_object({**{name: _format_json(value) for name, value in head.items()}, "facts": _format_object(facts)})
        + "\n"
    )


def _format_fact(fact: Json) -> str:
    if not isinstance(fact, dict) or not {"rows", "asked"} & fact.keys():
        return _format_json(fact)
    lays = {"rows": _format_rows, "asked": _format_rows, "runs": _format_runs}
    return _format_object({name: lays.get(name, _format_json)(part) for name, part in fact.items()})


def _format_runs(runs: Json) -> str:
    return "[\n" + ",\n".join(map(_format_json, cast("List[Json]", runs))) + "\n]"


def _format_rows(rows: Json) -> str:
    return _format_object({name: _format_json(row) for name, row in cast("Dict[str, Json]", rows).items()})


def _format_object(parts: Mapping[str, str]) -> str:
    return "{\n" + ",\n".join(f"{json.dumps(name)}:{part}" for name, part in parts.items()) + "\n}" if parts else "{}"


def _format_json(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"))


def encode_recording(recording: Recording, *, compressed: bool) -> bytes:
    """Return the content of the file; equal recordings have equal content."""
    content = format_recording(recording).encode()
    if not compressed:
        return content
    import gzip  # noqa: PLC0415 - only needed for a compressed recording

    return gzip.compress(content, mtime=0)


# Reading


def load_recording(path: str) -> Recording:
    """Read the recording of a file; `-` is standard input.

    Raises `UsageError` if it is not a recording.
    """
    try:
        if path == "-":
            return parse_recording(sys.stdin.buffer.read(MAX_RECORDING_BYTES + 1))
        with open(path, "rb", opener=open_nonblocking) as file:
            return parse_recording(file.read(MAX_RECORDING_BYTES + 1))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except RecursionError:
        raise UsageError(f"{path}: not a recording of nodespec: lists and objects are nested too deep") from None
    except ValueError as error:
        raise UsageError(f"{path}: not a recording of nodespec: {error}") from None


def list_recordings(path: str) -> Tuple[str, ...]:
    """Return the path of a recording, or all paths of a directory, sorted by name.

    Raises `UsageError` if the directory has no recordings.
    """
    if not os.path.isdir(path):
        return (path,)
    names = sorted(name for name in os.listdir(path) if name.endswith(SUFFIXES) and name[0] != ".")
    if not names:
        raise UsageError(f"{path}: no recording found; the name of a recording must end in {' or '.join(SUFFIXES)}")
    return tuple(os.path.join(path, name) for name in names)


def parse_recording(content: bytes) -> Recording:
    """Parse the content of a file. Raises ValueError if it is not a recording."""
    if content[:2] == b"\x1f\x8b":
        content = _decompress(content)
    if len(content) > MAX_RECORDING_BYTES:
        raise ValueError(f"larger than {MAX_RECORDING_BYTES >> 20} MiB")
    document = json.loads(content.decode(), parse_constant=_refuse_constant, parse_int=_parse_number)
    check_depth(document)
    if not isinstance(document, dict):
        raise ValueError("the document must be a JSON object")
    if document.get(KIND) != LANGUAGE_VERSION:
        newer = describe_newer_format(document.get(KIND), LANGUAGE_VERSION)
        raise ValueError(newer or f'`"{KIND}": {LANGUAGE_VERSION}` is required')
    facts, notices = document.get("facts"), document.get("notices", [])
    if not isinstance(facts, dict) or not isinstance(notices, list):
        raise ValueError("`facts` must be an object, and `notices` a list")
    context, moment = _read_field(document, "context"), _read_field(document, "time")
    if context not in CONTEXTS:
        raise ValueError(f"`context` must be {' or '.join(CONTEXTS)}")
    if not re.fullmatch(TIME_PATTERN, moment, re.ASCII) or moment.endswith("\n"):
        raise ValueError("`time` must have the form 2026-12-31T23:59:59Z")
    seat = Seat(
        context, _read_field(document, "door"), _read_host(document.get("host")), tuple(map(_read_text, notices))
    )
    return Recording(seat, moment, _read_field(document, "tool"), facts)


def _decompress(content: bytes) -> bytes:
    try:
        stream = zlib.decompressobj(31)
        inflated = stream.decompress(content, MAX_RECORDING_BYTES + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(inflated) <= MAX_RECORDING_BYTES and (not stream.eof or stream.unused_data):
        raise ValueError("the compressed data is truncated, or other data follows it")
    return inflated


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number")


def _parse_number(digits: str) -> int:
    if len(digits) > 20:  # noqa: PLR2004 - the digits of 64 bits
        raise ValueError("a number must have at most 64 bits")
    return int(digits)


def _read_host(fields: Json) -> Host:
    if not isinstance(fields, dict) or not fields.keys() <= set(Host._fields):
        raise ValueError(f"`host` must be an object of {', '.join(Host._fields)}")
    return Host(**{"name": "", **{name: _read_text(value) for name, value in fields.items()}})


def _read_field(document: Mapping[str, Json], name: str) -> str:
    if name not in document:
        raise ValueError(f"`{name}` is required")
    return _read_text(document[name])


def _read_text(value: Json) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.80} is not a text")
    return value


def schema() -> Dict[str, Json]:
    """Return the JSON Schema of a recording.

    A recording that it refuses is still read if the error affects only one fact.
    """
    words: Dict[str, Json] = {"type": "string"}
    number: Dict[str, Json] = {"type": "integer", "minimum": 0}
    value: Dict[str, Json] = {
        "anyOf": [words, {"type": "integer"}, {"type": "boolean"}, {"type": "array", "items": words}]
    }
    evidence: Dict[str, Json] = {"from": words, "line": {**number, "minimum": 1}, "inferred": {"type": "boolean"}}
    observation: Dict[str, Json] = {"$ref": "#/$defs/observation"}
    row: Dict[str, Json] = {
        "anyOf": [observation, {"type": "null"}, {"type": "object", "additionalProperties": observation}]
    }
    rows: Dict[str, Json] = {"type": "object", "additionalProperties": row}
    short: Dict[str, Json] = {
        "type": "array",
        "description": "a value, its line and its source",
        "prefixItems": [value, {"type": ["integer", "string"]}, words],
        "items": False,
        "minItems": 1,
    }
    unknown = _make_object(
        {"unknown": {"enum": [*REASONS]}, "say": words, "look": words, "may": observation}, "unknown", "say"
    )
    full = _make_object({"value": value, "or": {"type": "array", "items": value}, **evidence}, "value")
    usual: Dict[str, Json] = {"type": "object", "additionalProperties": observation}
    named: Dict[str, Json] = {"type": "array", "prefixItems": [words, value], "items": False, "minItems": 2}
    run: Dict[str, Json] = {
        "type": "array",
        "description": "the first line, and rows on that line and those below it",
        "prefixItems": [{**number, "minimum": 1}],
        "items": {"anyOf": [words, named]},
        "minItems": 2,
    }
    runs: Dict[str, Json] = {"type": "array", "items": run}
    matches: Dict[str, Json] = {"anyOf": [{"type": "array", "items": words}, unknown]}
    globs: Dict[str, Json] = {"type": "object", "additionalProperties": matches}
    table = _make_object(
        {"from": words, "rest": observation, "usual": usual, "runs": runs, "rows": rows, "asked": rows, "globs": globs}
    )
    head: Dict[str, Json] = {
        KIND: {"const": LANGUAGE_VERSION, "description": "The version of this format"},
        "context": {"enum": [*CONTEXTS]},
        "door": {**words, "description": "How the host was accessed: live, root DIR or image PATH"},
        "host": _make_object(dict.fromkeys(Host._fields, words)),
        "notices": {"type": "array", "items": words, "description": "What a reader must know before the findings"},
        "tool": words,
        "time": {**words, "pattern": TIME_PATTERN},
        "facts": {"type": "object", "additionalProperties": {"anyOf": [observation, table]}},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A recording of nodespec",
        **_make_object(head, *(name for name in head if name != "notices")),
        "$defs": {
            "observation": {"anyOf": [short, full, _make_object({"absent": words, **evidence}, "absent"), unknown]}
        },
    }


def _make_object(fields: Dict[str, Json], *required: str) -> Dict[str, Json]:
    return {"type": "object", "properties": fields, "required": [*required], "additionalProperties": False}
