"""Convert TOML to nodes with lines. The elements of an array have the line of their key."""

from __future__ import annotations

from nodespec.formats import toml
from nodespec.formats.data_tree import DataNode
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nodespec.formats.toml import Item, Table


def parse(text: str) -> DataNode:
    """Parse a document. Raises ValueError if it is not TOML."""
    return _convert_table(toml.parse(text), 1)


def _convert_table(table: Table, line: int) -> DataNode:
    members = {
        name: _convert_item(value.value, value.line)
        if isinstance(value, toml.TomlValue)
        else _convert_table(value, line)
        for name, value in table.items()
    }
    first = min((node.line for node in members.values()), default=line)
    return DataNode(members, first)


def _convert_item(value: Item, line: int) -> DataNode:
    if isinstance(value, list):
        return DataNode([_convert_item(item, line) for item in value], line)
    if isinstance(value, dict):
        return _convert_table(value, line)
    if isinstance(value, bool):
        return DataNode("true" if value else "false", line)
    return DataNode(str(value), line)
