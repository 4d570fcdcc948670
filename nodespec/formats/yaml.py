"""Parse YAML strictly: what two parsers could read differently is an error, never a guess.

`a: {b: [1, x]}` is a tree of `DataNode`. Block and flow collections, plain, quoted and block scalars are read. Anchors,
aliases, tags, merge keys, directives, complex keys and several documents raise UnsupportedSyntaxError. Other text that
YAML does not allow raises ValueError. Specification: https://yaml.org/spec/1.2.2/
"""

from __future__ import annotations

import re

from nodespec.formats.data_tree import MAX_DEPTH, DataNode
from nodespec.formats.yaml_flow import MARKER, PLAIN, LineScanner, make_plain_node
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Dict, List

_BREAKS = re.compile("[\r\x85\u2028\u2029]")
# Characters that YAML does not allow, and a byte order mark within the text.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff\ufeff]")
_DASH = re.compile(r"-(?= |\Z)")
_HEADER = re.compile(r"([|>])(?:([+-])?([1-9])?|([1-9])([+-]))(?: +#.*| *)\Z")


def parse(text: str) -> DataNode:
    """Parse one document. Raises ValueError, and UnsupportedSyntaxError for what is not read."""
    text = text.replace("\r\n", "\n")
    text = text.removeprefix("\ufeff")
    for pattern, what in ((_FORBIDDEN, "a control character"), (_BREAKS, "an unusual line break")):
        match = pattern.search(text)
        if match:
            raise ValueError(f"line {text.count(chr(10), 0, match.start()) + 1}: {what}")
    return _YamlParser(text.split("\n")).parse_document()


class _YamlParser(LineScanner):
    """A parser of one document. Block collections are distinguished by the column where they begin."""

    def parse_document(self) -> DataNode:
        if self.lines[0].startswith("%"):
            raise self.make_unsupported("a directive is")
        if not self.skip_to_content(first=True):
            return DataNode("null", 1)
        node = self.parse_block(-1, 0)
        if self.skip_to_content():
            raise self.make_error("the indentation does not match")
        return node

    def skip_to_content(self, *, first: bool = False) -> bool:
        """Move to the next text; return False at the end of the document.

        At the start of a line the column becomes that of the text.
        """
        while self.row < len(self.lines):
            if self.column == 0 and MARKER.match(self.lines[self.row]):
                if not self._pass_marker(first=first):
                    return False
                first = False
                continue
            self.skip_blanks()
            if not self.at_end() and not (self.text.startswith("#") and self.column == self._indent()):
                return True
            self.row, self.column = self.row + 1, 0
        self.row = len(self.lines) - 1
        self.column = len(self.lines[self.row])
        return False

    def _indent(self) -> int:
        line = self.lines[self.row]
        return len(line) - len(line.lstrip(" "))

    def _pass_marker(self, *, first: bool) -> bool:
        """Pass `---` before the document, or return False at `...` after it."""
        if first and self.lines[self.row].startswith("..."):
            raise self.make_error("a document ends before it begins")
        marker, rest = self.lines[self.row][:3], self.lines[self.row][3:].strip(" ")
        if rest and not rest.startswith("#"):
            raise self.make_unsupported("text after a document marker is")
        if marker == "---" and first:
            self.row += 1
            return True
        below = self.lines[self.row + 1 :]
        if marker == "---" or any(line.strip() and not line.strip().startswith("#") for line in below):
            raise self.make_unsupported("more than one document is")
        self.row = len(self.lines) - 1
        self.column = len(self.lines[self.row])
        return False

    def parse_block(self, parent: int, depth: int) -> DataNode:
        """Return the node at this position. `parent` is the column of the collection that contains it."""
        if depth > MAX_DEPTH:
            raise self.make_error("nested too deep")
        if _DASH.match(self.text):
            return self.parse_sequence(depth)
        if self._at_key():
            return self.parse_mapping(depth)
        return self.parse_scalar(parent, depth)

    def _at_key(self) -> bool:
        """Return whether a mapping begins here: a key and a colon in this line."""
        if self.text[:1] in ("|", ">", "[", "{", "&", "*", "!"):
            # A collection or a node with properties could be a key too.
            return False
        if re.match(r"\?(\s|\Z)", self.text):
            raise self.make_unsupported("a key that is not a scalar is")
        row, column = self.row, self.column
        try:
            self.read_key(flow=False)
        except ValueError as error:
            if "expected `:`" in str(error) or "must end in its line" in str(error):
                return False
            raise
        finally:
            self.row, self.column = row, column
        return True

    def parse_sequence(self, depth: int) -> DataNode:
        column, line, items = self.column, self.line, []
        while True:
            self.column += 1
            items.append(self.parse_child(column, depth, item=True))
            if not self._has_next(column, depth) or not _DASH.match(self.text):
                break
        return DataNode(items, line)

    def parse_mapping(self, depth: int) -> DataNode:
        column, line = self.column, self.line
        mapping: Dict[str, DataNode] = {}
        while True:
            key_line = self.line
            key = self.read_key(flow=False)
            if key in mapping:
                raise ValueError(f"line {key_line}: duplicate key `{key}`")
            child = self.parse_child(column, depth, item=False)
            mapping[key] = child._replace(line=key_line) if isinstance(child.value, str) else child
            if not self._has_next(column, depth):
                break
            if _DASH.match(self.text):
                raise self.make_error("expected a key, not `-`")
        return DataNode(mapping, line)

    def _has_next(self, column: int, depth: int) -> bool:
        """Return whether another entry of a collection follows at its column."""
        if not self.skip_to_content():
            return False
        if self.column > column or self.column != self._indent():
            raise self.make_error("the indentation does not match")
        if self.column < column and not depth:
            raise self.make_error("the indentation does not match")
        return self.column == column

    def parse_child(self, parent: int, depth: int, *, item: bool) -> DataNode:
        """Return the value after `-` or `key:`, or null."""
        line = self.line
        self.skip_blanks()
        if not self.at_end():
            if item:
                return self.parse_block(parent, depth + 1)
            self._refuse_nested()
            return self.parse_scalar(parent, depth + 1)
        row = self.row
        self.row, self.column = self.row + 1, 0
        found = self.row < len(self.lines) and self.skip_to_content()
        if found and self.column > parent:
            return self.parse_block(parent, depth + 1)
        if found and not item and self.column == parent and _DASH.match(self.text):
            return self._parse_unindented(depth)
        if not found:
            self.row = max(self.row, row)
        else:
            self.column = 0
        return DataNode("null", line)

    def _parse_unindented(self, depth: int) -> DataNode:
        """Return a list below a key at the same column as the key."""
        if depth >= MAX_DEPTH:
            raise self.make_error("nested too deep")
        column, line, items = self.column, self.line, []
        while True:
            self.column += 1
            items.append(self.parse_child(column, depth + 1, item=True))
            if not self.skip_to_content():
                break
            if self.column != self._indent() or self.column > column:
                raise self.make_error("the indentation does not match")
            if self.column < column or not _DASH.match(self.text):
                self.column = 0
                break
        return DataNode(items, line)

    def _refuse_nested(self) -> None:
        if _DASH.match(self.text):
            raise self.make_error("a list must begin in a line of its own")

    # scalars

    def parse_scalar(self, parent: int, depth: int) -> DataNode:
        """Return a scalar or a flow collection, up to the end of its last line."""
        self.refuse_properties()
        line, first = self.line, self.text[:1]
        if first in ("|", ">"):
            return DataNode(self._parse_block_scalar(parent), line)
        if first in ("[", "{"):
            node = self.scan_flow(depth)
        elif first in ("'", '"'):
            node = DataNode(self.scan_quoted(), line)
        else:
            return make_plain_node(self._parse_plain(parent), line)
        self._require_end()
        return node

    def _require_end(self) -> None:
        if self.text.lstrip(" ").startswith("\t"):
            raise self.make_unsupported("a tab as white space is")
        if not self.at_end():
            raise self.make_error("expected the end of the line")
        self.row, self.column = self.row + 1, 0
        self._clamp()

    def _clamp(self) -> None:
        if self.row >= len(self.lines):
            self.row = len(self.lines) - 1
            self.column = len(self.lines[self.row])

    def _parse_plain(self, parent: int) -> str:
        """Return a plain scalar, whose further lines are indented deeper than `parent`."""
        pieces = [self.scan_plain(flow=False)]
        while True:
            if not self.at_end():
                raise self.make_error("`: ` within a plain scalar")
            commented = bool(self.text.strip())
            row, empty = self.row + 1, 0
            while row < len(self.lines) and not self.lines[row].strip(" "):
                row, empty = row + 1, empty + 1
            line = self.lines[row] if row < len(self.lines) else ""
            indent = len(line) - len(line.lstrip(" "))
            continues = bool(line) and indent > parent and line[indent : indent + 1] != "#" and not MARKER.match(line)
            if not continues:
                self.row, self.column = row - empty, 0
                self._clamp()
                return "".join(pieces)
            self.row, self.column = row, indent
            if commented:
                raise self.make_error("text after a comment within a plain scalar")
            self.skip_blanks()
            pieces += ["\n" * empty or " ", self._scan_continuation()]

    def _scan_continuation(self) -> str:
        """Return a further line of a plain scalar, which may begin with an indicator."""
        text = self.text
        match = PLAIN.match(text)
        if not match or "\t" in text:
            raise self.make_unsupported("this continuation of a plain scalar is")
        self.column += len(match[0])
        return match[0]

    def _parse_block_scalar(self, parent: int) -> str:
        header = _HEADER.match(self.text)
        if not header:
            raise self.make_error("not the header of a block scalar")
        if parent < 0:
            raise self.make_unsupported("a block scalar as the document is")
        chomping, folded = header[2] or header[5] or "", header[1] == ">"
        self.row, self.column = self.row + 1, 0
        lines: List[str] = []
        digit = header[3] or header[4]
        indent = parent + int(digit) if digit else self._detect_indent(parent)
        while self.row < len(self.lines):
            line = self.lines[self.row]
            if line[:indent].strip(" "):
                break
            lines.append(line[indent:])
            self.row += 1
        unended = self.row >= len(self.lines) and bool(lines and lines[-1])
        if self.row >= len(self.lines) and not unended:
            lines = lines[:-1]  # The text after the last line break is not a line.
        self._clamp()
        return _join_block(lines, chomping, folded=folded, unended=unended)

    def _detect_indent(self, parent: int) -> int:
        widest = 0
        for line in self.lines[self.row :]:
            indent = len(line) - len(line.lstrip(" "))
            if line.strip(" "):
                if indent <= parent:
                    return max(widest, parent + 1)
                if widest > indent:
                    raise self.make_unsupported("a blank line that is indented deeper than the text is")
                return max(indent, parent + 1)
            widest = max(widest, indent)
        return max(widest, parent + 1)


def _join_block(lines: List[str], chomping: str, *, folded: bool, unended: bool) -> str:
    """Return the text of a block scalar from its lines."""
    content = len(lines)
    while content and not lines[content - 1]:
        content -= 1
    text = _fold(lines[:content]) if folded else "\n".join(lines[:content])
    empty = len(lines) - content
    if unended and content == len(lines):
        return text
    if chomping == "+":
        return text + "\n" * (empty + bool(content))
    return text + ("\n" if content and not chomping else "")


def _fold(lines: List[str]) -> str:
    """Join lines by blanks; lines that begin with a blank keep their breaks."""
    pieces: List[str] = []
    before = None  # The last line with text.
    empty = 0
    for line in lines:
        if not line:
            empty += 1
            continue
        if before is None:
            pieces.append("\n" * empty)
        else:
            kept = before[0] in " \t" or line[0] in " \t"
            pieces.append("\n" * (empty + 1) if kept else "\n" * empty or " ")
        pieces.append(line)
        before, empty = line, 0
    return "".join(pieces)
