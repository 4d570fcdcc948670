"""Parse YAML into nodes with positions; scalars stay source text.

The type of a fact interprets a scalar later. Anchors, aliases, tags, merge keys, duplicate keys and several documents
are refused. Depth and size are limited.
"""

from __future__ import annotations

import re
import sys

from nodespec.errors import MAX_DOCUMENT_BYTES, DocumentError, FilePosition, UsageError
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.document import (
    MAX_YAML_DEPTH,
    Map,
    Node,
    Seq,
    Word,
    decode_utf8,
    locate_end,
    make_mapping,
    make_sequence,
    make_word,
)
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from types import ModuleType
    from typing import Iterator, List, Optional, Union

    import yaml


class UnsupportedError(DocumentError):
    """An unsupported YAML feature: the value may differ from what the author intended."""


class _OpenCollection(NamedTuple):
    """An open collection, and the key that still has no value."""

    node: Union[Seq, Map]
    key: List[Word]


def parse(data: bytes, file: str, problems: Optional[List[DocumentError]] = None) -> Node:
    """Parse a YAML text with one document. Raises `UsageError` with a position.

    `problems` receives errors after which parsing continues, such as a duplicate key.
    """
    collected: List[DocumentError] = []
    try:
        document = _parse_yaml(data, file, collected)
    except UsageError as error:
        raise UsageError(*map(str, collected), *error.messages) from None
    if collected and (problems is None or any(isinstance(problem, UnsupportedError) for problem in collected)):
        raise UsageError(*map(str, collected))
    if problems is not None:
        problems += collected
    return document


class _LazyPattern:
    """A regular expression that is compiled when it is first used."""

    def __init__(self, pattern: str, flags: int) -> None:
        self.pattern, self.flags = pattern, flags

    def __getattr__(self, name: str) -> object:
        return getattr(_COMPILE(self.pattern, self.flags), name)


_COMPILE = re.compile


def _compile_later(pattern: str, flags: int = 0) -> object:
    """Stand for `re.compile` while PyYAML is imported; the calls of other modules are unchanged."""
    caller = sys._getframe(1).f_globals.get("__name__", "")  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - other threads compile too
    return _LazyPattern(pattern, flags) if caller.startswith("yaml.") else _COMPILE(pattern, flags)


def _import_yaml() -> ModuleType:
    """Import PyYAML without compiling its patterns, which takes longer than all else of a short spec.

    Events of libyaml need none of them: they resolve the types of scalars, and check the text for PyYAML's own parser.
    """
    if "yaml" not in sys.modules:
        re.compile = _compile_later  # type: ignore[assignment]
    try:
        import yaml  # noqa: PLC0415 - only needed to resolve a spec
    finally:
        re.compile = _COMPILE
    return yaml


def _parse_yaml(data: bytes, file: str, problems: List[DocumentError]) -> Node:
    if len(data) > MAX_DOCUMENT_BYTES:
        raise UsageError(f"{FilePosition(file, 1, 1)}: the file must not be larger than {MAX_DOCUMENT_BYTES >> 20} MiB")
    yaml = _import_yaml()

    text = decode_utf8(data, file)
    try:
        return _build_document(yaml.parse(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader)), file, problems)
    except yaml.MarkedYAMLError as error:
        raise UsageError(_format_syntax_error(error, text.splitlines(), file)) from None
    except yaml.reader.ReaderError as error:
        raise UsageError(f"{locate_end(data[: int(error.position)], file)}: {error.reason}") from None


# indicators of YAML that cannot start a plain scalar, except the header of a block scalar
_INDICATOR = re.compile(r"[<!*&%@`]|[>|](?![-+]?\s*$)")


def _format_syntax_error(error: yaml.MarkedYAMLError, lines: List[str], file: str) -> str:
    """Return the message of a syntax error, with a hint to quote if that helps."""
    positions: List[FilePosition] = []
    for mark in filter(None, (error.problem_mark, error.context_mark)):
        positions.append(FilePosition(file, mark.line + 1, mark.column + 1))
        text = lines[mark.line][mark.column :] if mark.line < len(lines) else ""
        if text.startswith("\t"):
            return f"{positions[-1]}: tab found; indent with spaces"
        if _INDICATOR.match(text):
            return f"{positions[-1]}: text that begins with `{text[0]}` must be quoted"
        if text[:1] in ("'", '"') and "end of stream" in str(error.problem):
            return f"{positions[-1]}: the quote that opens here is not closed"
    too_deep = "nesting depth" in str(error.problem)  # newer versions of libyaml check the depth themselves
    problem = f"nested deeper than {MAX_YAML_DEPTH} levels" if too_deep else error.problem or "not YAML"
    return f"{positions[0] if positions else FilePosition(file, 1, 1)}: {problem}"


def _build_document(events: Iterator[yaml.Event], file: str, problems: List[DocumentError]) -> Node:
    import yaml  # noqa: PLC0415

    stack: List[_OpenCollection] = []
    root: Optional[Node] = None
    for event in events:
        position = (
            FilePosition(file, event.start_mark.line + 1, event.start_mark.column + 1)
            if event.start_mark
            else FilePosition(file, 1, 1)
        )
        if isinstance(event, yaml.DocumentStartEvent) and root is not None:
            raise UsageError(f"{position}: second document found; a file must contain only one")
        if isinstance(event, yaml.NodeEvent):
            _refuse_unsupported(event, position, problems)
        if isinstance(event, yaml.CollectionStartEvent):
            if len(stack) >= MAX_YAML_DEPTH:
                raise UsageError(f"{position}: nested deeper than {MAX_YAML_DEPTH} levels")
            stack.append(
                _OpenCollection(
                    make_mapping(position)
                    if isinstance(event, yaml.MappingStartEvent)
                    else make_sequence(position, []),
                    [],
                )
            )
        elif isinstance(event, (yaml.ScalarEvent, yaml.CollectionEndEvent)):
            node = _make_scalar(event, position) if isinstance(event, yaml.ScalarEvent) else stack.pop().node
            if stack:
                _add_to_collection(stack[-1], node, problems)
            else:
                root = node
    if root is None:
        raise UsageError(f"{FilePosition(file, 1, 1)}: the document is empty")
    return root


def _refuse_unsupported(event: yaml.NodeEvent, position: FilePosition, problems: List[DocumentError]) -> None:
    import yaml  # noqa: PLC0415

    if isinstance(event, yaml.AliasEvent):
        if any(isinstance(problem, UnsupportedError) for problem in problems):  # its anchor is already reported
            raise UsageError
        raise UsageError(f"{position}: YAML aliases are not supported; quote text that begins with `*`")
    if event.anchor:
        message = "YAML anchors are not supported; quote text that begins with `&`"
        problems.append(UnsupportedError(make_word("", position), message))
    if getattr(event, "tag", None) not in (None, "!"):
        message = "YAML tags are not supported; quote text that begins with `!`"
        problems.append(UnsupportedError(make_word("", position), message))


def _make_scalar(event: yaml.ScalarEvent, position: FilePosition) -> Word:
    return make_word(event.value, position, null=event.style in (None, "") and event.value in ("", "~", "null"))


def _add_to_collection(into: _OpenCollection, node: Node, problems: List[DocumentError]) -> None:
    if isinstance(into.node, Seq):
        into.node.append(node)
    elif into.key:
        key = into.key.pop()
        if key in into.node:
            problems.append(DocumentError(key, f"duplicate key `{key}`"))
        elif key == "<<":
            problems.append(UnsupportedError(key, "YAML merge keys are not supported; write the keys out"))
        else:
            into.node[key] = node
    elif not isinstance(node, Word):
        raise UsageError(f"{node.at}: a key must be a scalar")
    else:
        into.key.append(node)
