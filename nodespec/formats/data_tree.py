"""The common form of structured files: nested nodes with the line of each, and pointers into them.

A pointer is that of RFC 6901: `/users/0/name`, with `~1` for a slash and `~0` for a tilde in a name.
"""

from __future__ import annotations

import re

from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, List, Optional, Tuple, TypeAlias, Union

    Content: TypeAlias = "Union[str, Dict[str, DataNode], List[DataNode]]"

MAX_DEPTH = 32  # Nested collections.
INDEX = re.compile(r"0|[1-9][0-9]{0,5}", re.ASCII)


class UnsupportedSyntaxError(ValueError):
    """Raised for a valid file with a feature that the parser does not know."""


class DataNode(NamedTuple):
    """A text, a mapping or a list, and the line where it begins.

    `others` are further values of a text that programs read differently. `problem` states why a value cannot be known.
    """

    value: Content
    line: int
    others: Tuple[str, ...] = ()
    problem: str = ""


def parse_pointer(pointer: str) -> Tuple[str, ...]:
    """Return the names of a pointer. Raises ValueError if it is not one."""
    if not pointer.startswith("/") or re.search("~(?![01])", pointer):
        raise ValueError(f"`{pointer}` is not a pointer; expected a path such as /authentication/anonymous/enabled")
    return tuple(name.replace("~1", "/").replace("~0", "~") for name in pointer[1:].split("/"))


def find_node(root: DataNode, pointer: str) -> Optional[DataNode]:
    """Return the node that a pointer names, or None. The index of a list counts from 0."""
    node = root
    for name in parse_pointer(pointer):
        below: Optional[DataNode] = None
        if isinstance(node.value, dict):
            below = node.value.get(name)
        elif isinstance(node.value, list) and INDEX.fullmatch(name) and int(name) < len(node.value):
            below = node.value[int(name)]
        if below is None or below.problem:
            return below
        node = below
    return node
