"""Read waivers: permissions to fail with an expiry date, an owner and a reason.

The caller supplies the YAML parser, because a node may have none; JSON is always supported.
"""

from __future__ import annotations

import re

from nodespec.errors import MAX_DOCUMENT_BYTES, DocumentError, UsageError, open_nonblocking
from nodespec.formats.glob import matches_glob
from nodespec.judge.globs import GlobIndex
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.document import (
    Map,
    Node,
    parse_json,
    require_known_keys,
    require_list,
    require_text,
)
from nodespec.model.plan import LANGUAGE_VERSION
from nodespec.model.report import Waiver

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Sequence, Tuple, TypeAlias

    from nodespec.model.json_types import Json

TOP_KEYS = ("nodespec-waivers", "waivers")
MIN_BROAD_REQUIREMENTS = 10  # requirements; among fewer, a specific glob can also cover most of them
WAIVER_KEYS = ("ids", "hosts", "reason", "owner", "expires")

Parse: TypeAlias = "Callable[[bytes, str], Node]"


def load(path: str, parse: Parse = parse_json) -> Tuple[Waiver, ...]:
    """Read the waivers of a file.

    A file with the suffix `.json` is parsed as JSON, any other by `parse`. Raises `UsageError` with all problems and
    their positions.
    """
    read = parse_json if path.endswith(".json") else parse
    try:
        with open(path, "rb", opener=open_nonblocking) as file:
            body = read(file.read(MAX_DOCUMENT_BYTES + 1), path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    problems: List[DocumentError] = []
    waivers: List[Waiver] = []
    try:
        entries = _read_entries(body)
    except DocumentError as wrong:
        raise UsageError(str(wrong)) from None
    for entry in entries:
        try:
            waivers.append(_parse_waiver(entry))
        except DocumentError as wrong:
            problems.append(wrong)
    if problems:
        raise UsageError(*map(str, problems))
    return tuple(waivers)


def refuse_broad_waivers(waivers: Sequence[Waiver], ids: Sequence[str]) -> None:
    """Refuse a waiver whose globs cover nearly every requirement, as `*` does.

    A waiver is too broad if it covers all requirements, or more than half of at least ten. Only globs without a
    complete first segment count, because a complete id or a glob such as `kernel.*` is specific.
    """
    problems: List[str] = []
    names = GlobIndex(ids)
    for waiver in waivers:
        broad = [glob for glob in waiver.ids if "*" in glob and "." not in glob.split("*")[0]]
        covered = len({id_ for glob in broad for id_ in names.find_matches(glob)})
        if broad and (covered == len(ids) > 1 or (len(ids) >= MIN_BROAD_REQUIREMENTS and covered * 2 > len(ids))):
            globs = ", ".join(f"`{glob}`" for glob in broad)
            text = f"{globs} covers {covered} of {len(ids)} requirements; name the requirements that may fail"
            problems.append(f"{waiver.source}: {text}")
    if problems:
        raise UsageError(*problems)


def describe_coverage(waiver: Waiver, ids: Sequence[str]) -> str:
    """Describe how many requirements each id or glob of a waiver covers."""
    counts = [(glob, sum(matches_glob(glob, id_) for id_ in ids)) for glob in waiver.ids]
    return f"{', '.join(f'{glob} covers {count}' for glob, count in counts)} of {len(ids)} requirements"


def _read_entries(body: Node) -> List[Node]:
    if not isinstance(body, Map):
        raise DocumentError(body, "a file of waivers must be a mapping with the key `nodespec-waivers: 1`")
    require_known_keys(body, TOP_KEYS)
    if body.get("nodespec-waivers") != str(LANGUAGE_VERSION):
        raise DocumentError(body.get("nodespec-waivers", body), f"`nodespec-waivers: {LANGUAGE_VERSION}` is required")
    return require_list(body["waivers"]) if "waivers" in body else []


def _parse_waiver(node: Node) -> Waiver:
    if not isinstance(node, Map):
        raise DocumentError(node, "a waiver must be a mapping")
    require_known_keys(node, WAIVER_KEYS)
    for key in WAIVER_KEYS:
        if key not in node:
            raise DocumentError(node, f"`{key}` is required; a waiver has ids, hosts, reason, owner and expires")
    expires = require_text(node["expires"], "expires")
    if not _is_day(expires):
        raise DocumentError(node["expires"], f"`{expires}` is not a date; write it as in 2026-12-31")
    words = (require_text(node["reason"], "reason"), require_text(node["owner"], "owner"), expires, str(node.at))
    return Waiver(_parse_globs(node["ids"], "ids", all_refused=True), _parse_globs(node["hosts"], "hosts"), *words)


def _parse_globs(node: Node, what: str, *, all_refused: bool = False) -> Tuple[str, ...]:
    globs = tuple(require_text(item, what) for item in require_list(node))
    for item, glob in zip(require_list(node), globs):
        if all_refused and not glob.strip("*."):
            raise DocumentError(item, f"`{glob}` waives every requirement; name the requirements that may fail")
    return globs


def _is_day(text_: str) -> bool:
    from datetime import date  # noqa: PLC0415 - needed only for waivers

    try:
        return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", text_, re.ASCII)) and bool(date.fromisoformat(text_))
    except ValueError:
        return False


def schema() -> Dict[str, Json]:
    """Return the JSON Schema of a file of waivers, for editors."""
    texts: Dict[str, Json] = {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}}
    day: Dict[str, Json] = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$", "description": "the last day, in UTC"}
    line: Dict[str, Json] = {"type": "string", "minLength": 1}
    waiver: Dict[str, Json] = {
        "type": "object",
        "additionalProperties": False,
        "required": [*WAIVER_KEYS],
        "properties": {"ids": texts, "hosts": texts, "reason": line, "owner": line, "expires": day},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "nodespec waivers",
        "type": "object",
        "additionalProperties": False,
        "required": ["nodespec-waivers"],
        "properties": {"nodespec-waivers": {"const": LANGUAGE_VERSION}, "waivers": {"type": "array", "items": waiver}},
    }
