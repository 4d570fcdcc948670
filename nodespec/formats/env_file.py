"""Parse files of `KEY=VALUE`: /etc/default, /etc/sysconfig, EnvironmentFile= of systemd, /etc/environment.

`KUBELET_EXTRA_ARGS="--v=2"` has `--v=2` at `/KUBELET_EXTRA_ARGS`. Shells and systemd read a repeated key as its last
value. Where they differ, a value has several values. What only a shell can expand has a problem.
"""

from __future__ import annotations

import re

from nodespec.formats.data_tree import DataNode
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Dict

_LINE = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_WORD = re.compile(r"""(?:'[^']*'|"(?:[^"\\$`]|\\[\\"$`])*"|[^\s'"\\$`;&|<>()*?\[#]|(?<=\S)#)*""")
_PART = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|([^'"]+)""")


def parse(text: str) -> DataNode:
    """Parse a document. Raises ValueError for a line that is not an assignment."""
    root: Dict[str, DataNode] = {}
    continued = ""
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        stripped = line.strip(" \t")
        if continued:
            continued = continued if stripped.endswith("\\") else ""
            continue
        if not stripped or stripped[0] in "#;":
            continue
        match = _LINE.fullmatch(stripped)
        if not match:
            raise ValueError(f"line {number}: expected `KEY=VALUE`")
        root[match[1]] = _read_value(match[2], number)
        continued = match[1] if stripped.endswith("\\") else ""
    return DataNode(root, 1)


def _read_value(text: str, line: int) -> DataNode:
    word = _WORD.match(text)
    rest = text[word.end() :] if word else text
    if word and (not rest or re.match(r"[ \t]+#", rest)):
        value = "".join(_unquote(part) for part in _PART.finditer(word[0]))
        # systemd has no comments after a value.
        return DataNode(value, line, (value + rest,) if rest else ())
    if word and not re.search(r"""['"\\$`;&|<>()#]""", text):
        # A blank without quotes: systemd takes the whole line, a shell only its first word.
        return DataNode(text, line, (word[0],))
    return DataNode(text, line, (), f"line {line}: the value depends on the program that reads it")


def _unquote(part: re.Match[str]) -> str:
    if part[2] is not None:
        return re.sub(r"\\([\\\"$`])", r"\1", part[2])
    return part[1] if part[1] is not None else part[3]
