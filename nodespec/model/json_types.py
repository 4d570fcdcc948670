"""The type of JSON data, and the nesting limit of documents that nodespec reads."""

from __future__ import annotations

from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Dict, List, TypeAlias, Union

Json: TypeAlias = "Union[bool, int, float, str, List[Json], Dict[str, Json], None]"
MAX_DEPTH = 200  # nested lists and objects; documents that nodespec writes are less than half as deep


def check_depth(document: object) -> None:
    """Raise ValueError if a document is nested deeper than MAX_DEPTH."""
    level = [document]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
            if child.__class__ in (dict, list)
        ]
        if not level:
            return
    raise ValueError(f"lists and objects must not be nested more than {MAX_DEPTH} deep")
