"""Parse structured files of several formats to one form, the nodes of `formats.data_tree`."""

from __future__ import annotations

from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nodespec.formats.data_tree import DataNode

MAX_TEXT_BYTES = 1 << 20  # Bytes of a structured file.


def parse_structured(kind: str, text: str) -> DataNode:
    """Parse a text as `json`, `yaml`, `toml`, `ini` or `env`. Raises ValueError if it is not one."""
    if kind == "json":
        from nodespec.formats.json_lines import parse  # noqa: PLC0415 - a spec names few formats
    elif kind == "yaml":
        from nodespec.formats.yaml import parse  # noqa: PLC0415 - likewise
    elif kind == "toml":
        from nodespec.formats.toml_tree import parse  # noqa: PLC0415 - likewise
    elif kind == "ini":
        from nodespec.formats.ini import parse  # noqa: PLC0415 - likewise
    else:
        from nodespec.formats.env_file import parse  # noqa: PLC0415 - likewise
    return parse(text)
