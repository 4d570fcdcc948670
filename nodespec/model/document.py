"""A document as a tree of nodes that know where they stand; a scalar is its source text.

What the type of a fact makes of a text is not decided here, nor how YAML is read: a bare node has JSON alone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Dict, Iterable, Iterator, List, Set, Tuple, Union

from nodespec.errors import At, Mistake, Wrong, nearest

if TYPE_CHECKING:
    from typing import TypeAlias

SIZE = 1 << 20  # bytes of one file
DEPTH = 32


class Word(str):
    """A scalar, as written. `null` where nothing was written: empty, `~` or `null` without quotes."""

    __slots__ = ("at", "null")
    at: At
    null: bool


if TYPE_CHECKING:
    Nodes = List["Node"]
    Named = Dict[str, "Node"]
else:
    Nodes, Named = list, dict


class Seq(Nodes):
    """A list."""

    at: At


class Map(Named):
    """A mapping; its keys are Words."""

    at: At


Node: TypeAlias = "Union[Word, Seq, Map]"


def word(text: str, at: At, *, null: bool = False) -> Word:
    """A scalar that stands at a position."""
    made = Word(text)
    made.at, made.null = at, null
    return made


def mapping(at: At, items: Iterable[Tuple[str, Node]] = ()) -> Map:
    """A mapping that stands at a position."""
    made = Map(items)
    made.at = at
    return made


def sequence(at: At, items: List[Node]) -> Seq:
    """A list that stands at a position."""
    made = Seq(items)
    made.at = at
    return made


def parse_json(data: bytes, file: str) -> Node:
    """The same of JSON, where there is nothing that reads YAML: whole, but without positions inside the file."""
    import json  # noqa: PLC0415

    at = At(file, 1, 1)
    if len(data) > SIZE:
        raise Mistake(f"{at}: larger than {SIZE >> 20} MiB")
    try:
        return _noded(json.loads(decoded(data, file), object_pairs_hook=lambda pairs: _unique(pairs, at)), at)
    except (ValueError, RecursionError) as error:
        raise Mistake(f"{at}: not JSON: {error}") from None


def _unique(pairs: List[Tuple[str, object]], at: At) -> Dict[str, object]:
    found: Dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise Mistake(f"{at}: `{name}` stands here twice")
        found[name] = value
    return found


def _noded(data: object, at: At) -> Node:
    if isinstance(data, dict):
        return mapping(at, ((word(name, at), _noded(value, at)) for name, value in data.items()))
    if isinstance(data, list):
        return sequence(at, [_noded(value, at) for value in data])
    if data is None or isinstance(data, bool):  # 1 would equal True
        return word({None: "", True: "true", False: "false"}[data], at, null=data is None)
    return word(str(data), at)


def opened(path: str, flags: int) -> int:
    """A file as `open` opens it, but that a pipe which nobody writes to is empty rather than waited for."""
    handle = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(handle, True)
    return handle


def decoded(data: bytes, file: str) -> str:
    """Its text; Mistake, with the position, where it is none."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Mistake(f"{after(data[: error.start], file)}: not UTF-8 text") from None


def after(data: bytes, file: str) -> At:
    """The position behind these bytes of a file."""
    return At(file, data.count(b"\n") + 1, len(data) - data.rfind(b"\n"))


# nodes of the wanted shape


def items(node: Node, what: str) -> Iterator[Tuple[Word, Node]]:
    """The keys and values of a mapping that says something."""
    if not isinstance(node, Map):
        raise Wrong(node, f"{what} wants a mapping")
    if not node:
        raise Wrong(node, f"{what} says nothing")
    return iter([(key if isinstance(key, Word) else word(key, node.at), node[key]) for key in node])


def listed(node: Node) -> Seq:
    """A list that says something, and nothing twice."""
    if not isinstance(node, Seq):
        raise Wrong(node, "a list is wanted here")
    if not node:
        raise Wrong(node, "an empty list says nothing")
    return distinct(node)


def distinct(node: Seq) -> Seq:
    """A list that says nothing twice."""
    before: Set[str] = set()
    for one in node:
        if isinstance(one, Word):
            if one in before:
                raise Wrong(one, f"`{one}` stands here twice")
            before.add(one)
    return node


def text(node: Node, what: str) -> str:
    """A text that is not empty, its blanks folded."""
    if not isinstance(node, Word) or node.null or not node.strip():
        raise Wrong(node, f"`{what}` wants a text")
    return " ".join(node.split())


def known(node: Map, names: Tuple[str, ...]) -> None:
    """Refuse keys that are not among `names`."""
    for wrong in unknown_keys(node, names):
        raise wrong


def unknown_keys(node: Map, names: Tuple[str, ...]) -> List[Wrong]:
    """A problem for each key that is not among `names`."""
    return [Wrong(name, f"`{name}` is unknown here{nearest(name, names)}") for name in node if name not in names]
