r"""Scan the parts of YAML that stand within a line: scalars and flow collections.

`{a: 1, b: [x, "y\n"]}` becomes nodes with lines. The scanner moves through lines; block collections are read by
`formats.yaml`. Text that PyYAML and YAML 1.2 could read differently raises UnsupportedSyntaxError.
"""

from __future__ import annotations

import re

from nodespec.formats.data_tree import MAX_DEPTH, DataNode, UnsupportedSyntaxError
from nodespec.formats.yaml_scalars import resolve_plain_scalar
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Dict, List, Tuple

COMMENT_OR_END = re.compile(r"(?: +#.*| *)\Z")
INDICATORS = "-?:,[]{}#&*!|>'\"%@`"
_ESCAPES = dict(zip('0abt\tnvfre "/\\N_LP', '\0\a\b\t\t\n\v\f\r\x1b "/\\\x85\xa0\u2028\u2029'))
_HEXADECIMAL = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})")
PLAIN = re.compile(r"(?:[^\s:#]|:(?=[^\s])|(?<=[^\s])#| +(?=[^\s#:]|:[^\s]))+")
_FLOW_PLAIN = re.compile(r"(?:[^\s:#,\[\]{}]|:(?=[^\s,\[\]{}])|(?<=[^\s,\[\]{}])#| +(?=[^\s#,\[\]{}:]))+")
MARKER = re.compile(r"(?:---|\.\.\.)(?:\s|\Z)")


class LineScanner:
    """A position in the lines of a document, and the scalars and flow collections there."""

    def __init__(self, lines: List[str]) -> None:
        self.lines, self.row, self.column = lines, 0, 0

    @property
    def text(self) -> str:
        """The rest of the line."""
        return self.lines[self.row][self.column :]

    @property
    def line(self) -> int:
        """The number of the line, from 1."""
        return self.row + 1

    def make_error(self, what: str) -> ValueError:
        """Return an error at this line."""
        return ValueError(f"line {self.line}: {what}")

    def make_unsupported(self, what: str) -> UnsupportedSyntaxError:
        """Return the error for a feature that nodespec does not read."""
        return UnsupportedSyntaxError(f"line {self.line}: {what} not supported")

    def skip_blanks(self) -> None:
        """Skip the blanks before the next word of the line. A tab there is not valid."""
        text = self.text
        self.column += len(text) - len(text.lstrip(" "))
        if self.text.startswith("\t"):
            raise self.make_unsupported("a tab as white space is")

    def at_end(self) -> bool:
        """Return whether only a comment follows in this line."""
        if self.column and self.lines[self.row][self.column - 1] == " " and self.text.startswith("#"):
            return True
        return bool(COMMENT_OR_END.match(self.text))

    def next_line(self) -> None:
        """Move to the start of the next line. Raises ValueError at the end of the document."""
        self.row, self.column = self.row + 1, 0
        if self.row >= len(self.lines):
            self.row -= 1
            raise self.make_error("the document ends within a value")
        if MARKER.match(self.lines[self.row]):
            raise self.make_error("a document marker within a value")

    def refuse_properties(self) -> None:
        """Raise an error for a tag, an anchor or an alias, and for text that cannot start a scalar."""
        first = self.text[:1]
        if first in ("&", "*", "!"):
            raise self.make_unsupported({"&": "an anchor is", "*": "an alias is", "!": "a tag is"}[first])
        if first in ("%", "@", "`"):
            raise self.make_error(f"`{first}` cannot start a scalar")

    def scan_plain(self, *, flow: bool) -> str:
        """Return the text of a plain scalar in this line."""
        text = self.text
        indicated = text[:1] in INDICATORS and not (
            text[:1] in "-?:" and text[1:2] not in ("", " ", "\t") and not (flow and text[1:2] in ",[]{}")
        )
        match = None if indicated else (_FLOW_PLAIN if flow else PLAIN).match(text)
        if not match:
            raise self.make_error(f"`{text[:1]}` cannot start a scalar")
        odd = re.match(r"[?:]|-(?!\.?[0-9])", text) or re.search(r"\?(?:\s|\Z)", match[0])
        if flow and odd:
            raise self.make_unsupported("`?`, `:` or `-` in a plain scalar of a flow collection is")
        self.column += len(match[0])
        if self.text.lstrip(" ").startswith("\t"):
            raise self.make_unsupported("a tab as white space is")
        return match[0]

    def scan_quoted(self, *, one_line: bool = False) -> str:
        """Return the text of a quoted scalar, which may continue in further lines."""
        quote = self.text[0]
        self.column += 1
        pieces: List[str] = []
        while True:
            text, closed, escaped = self._scan_quoted_line(quote)
            pieces.append(text)
            if closed:
                return "".join(pieces)
            if one_line:
                raise self.make_error("a key must end in its line")
            pieces.append(self._skip_breaks(escaped=escaped))

    def _scan_quoted_line(self, quote: str) -> Tuple[str, bool, bool]:
        r"""Return the text up to the quote or the end of the line.

        Also return whether the quote closes it, and whether a backslash escapes the line break.
        """
        text, at, kept = self.lines[self.row], self.column, 0
        characters: List[str] = []
        while at < len(text) and (text[at] != quote or (quote == "'" and text[at + 1 : at + 2] == "'")):
            if quote == '"' and text[at] == "\\":
                if at + 1 == len(text):
                    return "".join(characters), False, True
                character, size = self._decode_escape(text[at + 1 : at + 10])
                kept = len(characters) + 1  # A blank that an escape wrote is not removed at the end of the line.
            else:
                character, size = text[at], int(text[at] == quote)
            characters.append(character)
            at += 1 + size
        if at < len(text):
            self.column = at + 1
            return "".join(characters), True, False
        return "".join(characters[:kept]) + "".join(characters[kept:]).rstrip(" \t"), False, False

    def _skip_breaks(self, *, escaped: bool) -> str:
        """Move to the next line with text, and return the folded line breaks."""
        empty = 0
        self.next_line()
        while not self.text.strip(" \t"):
            empty += 1
            self.next_line()
        self.column = len(self.text) - len(self.text.lstrip(" \t"))
        return "\n" * empty if empty or escaped else " "

    def _decode_escape(self, text: str) -> Tuple[str, int]:
        """Return the character of an escape sequence, and its length without the backslash."""
        if text[:1] in _ESCAPES:
            return _ESCAPES[text[0]], 1
        match = _HEXADECIMAL.match(text)
        code = int(match[1] or match[2] or match[3], 16) if match else -1
        if not match or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:  # noqa: PLR2004 - the scalar values of Unicode
            raise self.make_error(f"unknown escape sequence `\\{text[:1]}`")
        return chr(code), len(match[0])

    # flow collections

    def scan_flow(self, depth: int) -> DataNode:
        """Return a flow collection, a quoted scalar or a plain scalar within one."""
        if depth > MAX_DEPTH:
            raise self.make_error("nested too deep")
        self.refuse_properties()
        line, first = self.line, self.text[:1]
        if first in ("[", "{"):
            self.column += 1
            return DataNode(self._scan_flow_list(depth) if first == "[" else self._scan_flow_mapping(depth), line)
        if first in ("'", '"'):
            return DataNode(self.scan_quoted(), line)
        return make_plain_node(self.scan_plain(flow=True), line)

    def _scan_flow_list(self, depth: int) -> List[DataNode]:
        items: List[DataNode] = []
        while True:
            self._skip_space()
            if self._take("]"):
                return items
            items.append(self.scan_flow(depth + 1))
            self._skip_space()
            if self.text.startswith(":"):
                raise self.make_unsupported("a pair in a list is")
            if not self._take(",") and not self.text.startswith("]"):
                raise self.make_error("expected `,` or `]`")

    def _scan_flow_mapping(self, depth: int) -> Dict[str, DataNode]:
        mapping: Dict[str, DataNode] = {}
        while True:
            self._skip_space()
            if self._take("}"):
                return mapping
            key = self.read_key(flow=True)
            if key in mapping:
                raise self.make_error(f"duplicate key `{key}`")
            self._skip_space()
            mapping[key] = self._scan_flow_value(depth)
            self._skip_space()
            if not self._take(",") and not self.text.startswith("}"):
                raise self.make_error("expected `,` or `}`")

    def _scan_flow_value(self, depth: int) -> DataNode:
        if self.text[:1] in (",", "}"):
            return DataNode("null", self.line)
        return self.scan_flow(depth + 1)

    def read_key(self, *, flow: bool) -> str:
        """Return a key, and skip the colon after it."""
        self.refuse_properties()
        quoted = self.text[:1] in ("'", '"')
        if self.text[:1] in ("[", "{") or re.match(r"\?(\s|\Z)", self.text):
            raise self.make_unsupported("a key that is not a scalar is")
        key = self.scan_quoted(one_line=True) if quoted else self.scan_plain(flow=flow)
        self.skip_blanks()
        ends = ("", " ", *",[]{}") if flow else ("", " ")
        if not self.text.startswith(":") or not ((flow and quoted) or self.text[1:2] in ends):
            raise self.make_error("expected `:` after a key")
        self.column += 1
        if quoted:
            return key
        if key == "<<":
            raise self.make_unsupported("a merge key `<<` is")
        name, others = resolve_plain_scalar(key)
        if others:
            raise self.make_unsupported(f"the key `{key}`, which programs read differently, is")
        return name

    def _skip_space(self) -> None:
        """Skip blanks, comments and line breaks between the parts of a flow collection."""
        self.skip_blanks()
        while self.at_end():
            self.next_line()
            self.skip_blanks()
            if self.text.startswith("#"):
                self.column = len(self.lines[self.row])
        if self.text.startswith("#"):
            raise self.make_unsupported("a comment without a blank before it is")

    def _take(self, text: str) -> bool:
        taken = self.text.startswith(text)
        self.column += len(text) if taken else 0
        return taken


def make_plain_node(text: str, line: int) -> DataNode:
    """Return the node of a plain scalar."""
    value, others = resolve_plain_scalar(text)
    return DataNode(value, line, others)
