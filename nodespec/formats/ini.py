r"""Parse INI files: sections of `key=value`, as of systemd, NetworkManager and many programs.

`[Network]\nManageForeignRoutes=no` has `no` at `/Network/ManageForeignRoutes`; a key before any section is `/key`.
Programs differ in continued lines and repeated keys: such a value has a problem, or several values.
"""

from __future__ import annotations

import re

from nodespec.formats.data_tree import DataNode
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Dict, List

_SECTION = re.compile(r"\[([^\[\]\n]+)\]")
MAX_REPEATS = 100  # Values of one key.


def parse(text: str) -> DataNode:
    """Parse a document. Raises ValueError for a line that is neither a section nor a key."""
    root: Dict[str, DataNode] = {}
    below, last = root, ""
    continued = False
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        stripped = line.strip(" \t")
        indented = line[:1] in (" ", "\t")
        if not stripped or (stripped[0] in "#;" and not continued):
            continue
        section = _SECTION.fullmatch(stripped)
        if last and (continued or (indented and not section)):
            problem = f"line {number}: programs differ in whether it continues `{last}`"
            below[last] = below[last]._replace(problem=problem)
            continued = stripped.endswith("\\")
            continue
        if section:
            below, last = _open_section(root, section[1].strip(), number), ""
            continue
        last = _set_key(below, stripped, number)
        continued = stripped.endswith("\\")
        if continued:
            below[last] = below[last]._replace(problem=f"line {number}: programs differ in `\\` at the end of a line")
    return DataNode(root, 1)


def _open_section(root: Dict[str, DataNode], name: str, line: int) -> Dict[str, DataNode]:
    node = root.setdefault(name, DataNode({}, line))
    if not isinstance(node.value, dict):
        raise ValueError(f"line {line}: `{name}` is a section and a key")
    return node.value


def _set_key(section: Dict[str, DataNode], line: str, number: int) -> str:
    """Set a key of a section, and return its name. The values of a repeated key are all possible."""
    match = re.match(r"([^=:]*?)[ \t]*[=:]", line) if "=" not in line else re.match(r"([^=]*?)[ \t]*=", line)
    if not match or not match[1]:
        raise ValueError(f"line {number}: expected `key=value` or `[section]`")
    name, value = match[1], line[match.end() :].strip(" \t")
    before = section.get(name)
    if before is not None and isinstance(before.value, dict):
        raise ValueError(f"line {number}: `{name}` is a section and a key")
    others: List[str] = []
    if before is not None:
        others = [text for text in (str(before.value), *before.others) if text != value]
    if len(others) > MAX_REPEATS:
        raise ValueError(f"line {number}: more than {MAX_REPEATS} values of `{name}`")
    section[name] = DataNode(value, number, tuple(dict.fromkeys(others)), before.problem if before else "")
    return name
