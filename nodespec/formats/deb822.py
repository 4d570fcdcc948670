"""Stanzas of fields, as dpkg parses its own files.

    Package: bash
    Version: 5.2-1

A field's name ends at a colon; blanks around the colon are ignored, and case is too. A line that begins with a blank
continues the value. An empty line, or a control-Z at the start of a line, ends the stanza. The source is
lib/dpkg/parse.c of dpkg 1.21.
"""

from __future__ import annotations

import re

from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Container, Dict, Iterator, Tuple

_BLANK = r"[ \t\r\v\f]"
_FIELD = re.compile(
    rf"(?P<name>[^\s:\x1a]+){_BLANK}*:{_BLANK}*(?![ \t\r\v\f\x1a])"
    rf"(?P<value>[^\n\x1a]*(?:\n{_BLANK}[^\n\x1a]*)*)\n",
    re.ASCII,
)
_ENDS = "\n\x1a"
BLANKS = " \t\n\r\v\f"


class Field(NamedTuple):
    """The value of a field, and its line (from 1).

    The value begins with a newline if its first line is empty.
    """

    value: str
    line: int


class ControlStanza(NamedTuple):
    """The requested fields of a stanza, by name in lower case.

    `line` is the line of its first field. `error` is the reason why dpkg refuses it and all that follows, or empty.
    """

    line: int
    fields: Dict[str, Field]
    error: str = ""


def parse_stanzas(text: str, wanted: Container[str]) -> Iterator[ControlStanza]:
    """Yield all stanzas of a text.

    After a stanza with an error, parsing continues at the next empty line.
    """
    at, line = 0, 1
    while True:
        while at < len(text) and text[at] in _ENDS:
            line += text[at] == "\n"
            at += 1
        if at == len(text):
            return
        stanza, end = _parse_stanza(text, at, line, wanted)
        yield stanza
        if stanza.error:
            end = text.find("\n\n", end) + 1 or len(text)
        line += text.count("\n", at, end)
        at = end


def _parse_stanza(text: str, at: int, line: int, wanted: Container[str]) -> Tuple[ControlStanza, int]:
    """Return the stanza that begins at an offset, and its end."""
    fields: Dict[str, Field] = {}
    names = set()
    first = line
    while at < len(text) and text[at] not in _ENDS:
        match = _FIELD.match(text, at)
        if not match:
            return ControlStanza(first, fields, f"line {line} is not a field"), at
        name = _lower_name(match["name"])
        if name in names or name[0] == "-" or len(name) == 1:
            why = "occurs twice" if name in names else "is not a field name"
            return ControlStanza(first, fields, f"line {line}: `{name[:40]}` {why}"), at
        names.add(name)
        if name in wanted:
            fields[name] = Field(match["value"].rstrip(BLANKS), line)
        line += text.count("\n", at, match.end())
        at = match.end()
    return ControlStanza(first, fields), at


def _lower_name(name: str) -> str:
    """Return a name in lower case, ASCII only.

    Python would convert `KELVIN SIGN` to `k`.
    """
    return name.lower() if name.isascii() else name
