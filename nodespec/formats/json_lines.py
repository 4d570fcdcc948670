"""Parse JSON with the line of each value. Numbers keep the text that they are written in.

`{"a": [1, 2.50]}` has 2.50 at `/a/1`. A duplicate key raises ValueError, since programs differ in which value they use.
"""

from __future__ import annotations

import json
import re

from nodespec.formats.data_tree import MAX_DEPTH, DataNode
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Dict, List

_BLANK = re.compile(r"[ \t\r\n]*")
_WORD = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?![\w.])")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*"')


def parse(text: str) -> DataNode:
    """Parse a document. Raises ValueError if it is not JSON."""
    return _JsonParser(text.removeprefix("\ufeff")).parse_document()


class _JsonParser:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.counted, self.line = 0, 1  # The offset up to which lines were counted.

    def parse_document(self) -> DataNode:
        node = self.parse_value(0)
        self.skip_blanks()
        if self.at < len(self.text):
            raise self.make_error("expected the end of the document")
        return node

    def make_error(self, what: str) -> ValueError:
        return ValueError(f"line {self.count_lines()}: {what}")

    def count_lines(self) -> int:
        self.line += self.text.count("\n", self.counted, self.at)
        self.counted = self.at
        return self.line

    def skip_blanks(self) -> str:
        """Skip blanks, and return the next character."""
        blank = _BLANK.match(self.text, self.at)
        self.at = blank.end() if blank else self.at
        return self.text[self.at : self.at + 1]

    def take(self, pattern: re.Pattern[str], what: str) -> str:
        match = pattern.match(self.text, self.at)
        if not match:
            raise self.make_error(f"expected {what}")
        self.at = match.end()
        return match[0]

    def parse_string(self) -> str:
        text = str(json.loads(self.take(_STRING, "a text in double quotes")))
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise self.make_error("half of a surrogate pair")
        return text

    def parse_value(self, depth: int) -> DataNode:
        first, line = self.skip_blanks(), self.count_lines()
        if depth > MAX_DEPTH:
            raise self.make_error("nested too deep")
        if first == "{":
            return DataNode(self.parse_object(depth), line)
        if first == "[":
            return DataNode(self.parse_array(depth), line)
        return DataNode(self.parse_string() if first == '"' else self.take(_WORD, "a value"), line)

    def parse_object(self, depth: int) -> Dict[str, DataNode]:
        members: Dict[str, DataNode] = {}
        self.at += 1
        if self.skip_blanks() == "}":
            self.at += 1
            return members
        while True:
            self.skip_blanks()
            key = self.parse_string()
            if key in members:
                raise self.make_error(f"duplicate key `{key}`")
            if self.skip_blanks() != ":":
                raise self.make_error("expected `:`")
            self.at += 1
            members[key] = self.parse_value(depth + 1)
            if self.is_last("}"):
                return members

    def parse_array(self, depth: int) -> List[DataNode]:
        items: List[DataNode] = []
        self.at += 1
        if self.skip_blanks() == "]":
            self.at += 1
            return items
        while True:
            items.append(self.parse_value(depth + 1))
            if self.is_last("]"):
                return items

    def is_last(self, closing: str) -> bool:
        """Skip a comma or the closing character, and return whether it was the latter."""
        character = self.skip_blanks()
        if character not in (",", closing) or not character:
            raise self.make_error(f"expected `,` or `{closing}`")
        self.at += 1
        return character == closing
