"""A parsed document: a tree of nodes with positions.

A scalar is its source text. The type of a fact converts it later.
This module parses JSON only, because a node may have no YAML parser.
"""

from __future__ import annotations

from nodespec.errors import MAX_DOCUMENT_BYTES, DocumentError, FilePosition, UsageError
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Dict, Iterable, Iterator, List, Set, Tuple, TypeAlias, Union

MAX_YAML_DEPTH = 32  # maximum nesting of a YAML document


class Word(str):
    """A scalar as written. `null` is true for an empty value, `~` or unquoted `null`."""

    __slots__ = ("at", "null")
    at: FilePosition
    null: bool


if TYPE_CHECKING:
    Nodes = List["Node"]
    Named = Dict[str, "Node"]
else:
    Nodes, Named = list, dict


class Seq(Nodes):
    """A list with its position."""

    at: FilePosition


class Map(Named):
    """A mapping with its position. Its keys are `Word` objects."""

    at: FilePosition


Node: TypeAlias = "Union[Word, Seq, Map]"


def make_word(text: str, at: FilePosition, *, null: bool = False) -> Word:
    """Return a scalar with its position."""
    made = Word(text)
    made.at, made.null = at, null
    return made


def make_mapping(at: FilePosition, items: Iterable[Tuple[str, Node]] = ()) -> Map:
    """Return a mapping with its position."""
    made = Map(items)
    made.at = at
    return made


def make_sequence(at: FilePosition, items: List[Node]) -> Seq:
    """Return a list with its position."""
    made = Seq(items)
    made.at = at
    return made


def parse_json(data: bytes, file: str) -> Node:
    """Parse JSON into nodes, for hosts without a YAML parser.

    Every node has the position 1:1, because the JSON parser reports none. Raises `UsageError` if the data is not valid.
    """
    import json  # noqa: PLC0415

    at = FilePosition(file, 1, 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        raise UsageError(f"{at}: the file must not be larger than {MAX_DOCUMENT_BYTES >> 20} MiB")
    try:
        return _make_node(
            json.loads(decode_utf8(data, file), object_pairs_hook=lambda pairs: _reject_duplicate_keys(pairs, at)), at
        )
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{at}: not valid JSON: {error}") from None


def _reject_duplicate_keys(pairs: List[Tuple[str, object]], at: FilePosition) -> Dict[str, object]:
    values: Dict[str, object] = {}
    for name, value in pairs:
        if name in values:
            raise UsageError(f"{at}: duplicate key `{name}`; each key must occur once")
        values[name] = value
    return values


def _make_node(data: object, at: FilePosition) -> Node:
    if isinstance(data, dict):
        return make_mapping(at, ((make_word(name, at), _make_node(value, at)) for name, value in data.items()))
    if isinstance(data, list):
        return make_sequence(at, [_make_node(value, at) for value in data])
    if data is None or isinstance(data, bool):  # checked before the lookup, because 1 == True
        return make_word({None: "", True: "true", False: "false"}[data], at, null=data is None)
    return make_word(str(data), at)


def decode_utf8(data: bytes, file: str) -> str:
    """Decode UTF-8 text. Raises `UsageError` with the position of the first invalid byte."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{locate_end(data[: error.start], file)}: the text must be UTF-8") from None


def locate_end(data: bytes, file: str) -> FilePosition:
    """Return the position after these bytes of a file."""
    return FilePosition(file, data.count(b"\n") + 1, len(data) - data.rfind(b"\n"))


# checks of the shape of nodes


def iterate_items(node: Node, what: str) -> Iterator[Tuple[Word, Node]]:
    """Iterate over the keys and values of a mapping. Raises `DocumentError` if it is empty."""
    if not isinstance(node, Map):
        raise DocumentError(node, f"{what} must be a mapping")
    if not node:
        raise DocumentError(node, f"{what} must not be empty")
    return iter([(key if isinstance(key, Word) else make_word(key, node.at), node[key]) for key in node])


def require_list(node: Node) -> Seq:
    """Return a non-empty list without duplicates. Raises `DocumentError` otherwise."""
    if not isinstance(node, Seq):
        raise DocumentError(node, "must be a list")
    if not node:
        raise DocumentError(node, "the list must not be empty")
    return require_distinct(node)


def require_distinct(node: Seq) -> Seq:
    """Return a list without duplicate scalars. Raises `DocumentError` otherwise."""
    before: Set[str] = set()
    for scalar in node:
        if isinstance(scalar, Word):
            if scalar in before:
                raise DocumentError(scalar, f"duplicate value `{scalar}`; each value must occur once")
            before.add(scalar)
    return node


def require_text(node: Node, what: str) -> str:
    """Return a non-empty text, white space folded. Raises `DocumentError` otherwise."""
    if not isinstance(node, Word) or node.null or not node.strip():
        raise DocumentError(node, f"`{what}` must be a text that is not empty")
    return " ".join(node.split())


def require_known_keys(node: Map, names: Tuple[str, ...]) -> None:
    """Raise `DocumentError` for the first key that is not in `names`."""
    for wrong in find_unknown_keys(node, names):
        raise wrong


def find_unknown_keys(node: Map, names: Tuple[str, ...]) -> List[DocumentError]:
    """Return an error for each key that is not in `names`."""
    if all(name in names for name in node):
        return []
    from nodespec.model.newer import suggest_newer  # noqa: PLC0415 - only needed for an error message

    return [
        DocumentError(name, f"unknown key `{name}`{suggest_newer(name, names)}") for name in node if name not in names
    ]
