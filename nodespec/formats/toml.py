r"""Parse TOML 1.0 as nested tables whose settings have line numbers.

`[a]\nb = 1` is `{"a": {"b": Setting(1, 2)}}`. The parser is strict: text that the specification does not allow raises
ValueError with the line, since the program that owns the file refuses it too. Specification: https://toml.io/en/v1.0.0
"""

from __future__ import annotations

import re

from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, List, TypeAlias, Union

MAX_DEPTH = 32  # Nested arrays, inline tables and dotted keys.

Scalar: TypeAlias = "Union[str, int, float, bool]"  # A date or a time is a str.
Item: TypeAlias = "Union[Scalar, List[Item], Table]"
Table: TypeAlias = "Dict[str, Union[Table, TomlValue]]"


class TomlValue(NamedTuple):
    """The value of a key, and the line of the key.

    An array is a list; its elements have no line.
    """

    value: Union[Scalar, List[Item]]
    line: int


_BLANK = re.compile(r"[ \t]*")
_SPACE = re.compile(r"(?:[ \t\n]|\r\n|#[^\n]*)*")
_END = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\r?\n|\Z)")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BARE_WORD = re.compile(r"[^\s,#\]}=]+")
_WORD = re.compile(r"[^\s,#\]}=]+(?: \d[^\s,#\]}=]*)?")  # A date may have a blank before its time.
_BASIC = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_LITERAL = re.compile(r"'([^'\n]*)'")
_LONG_BASIC = re.compile(r'"""\r?\n?((?:[^"\\]|\\.|"{1,2}(?!"))*"{0,2})"""(?!")', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''\r?\n?((?:[^']|'{1,2}(?!'))*'{0,2})'''(?!')")
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[ \t]*\r?\n[ \t\r\n]*|.?)", re.DOTALL)
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_DECIMAL = r"[+-]?(?:0|[1-9](?:_?[0-9])*)"
_INTEGER = re.compile(rf"{_DECIMAL}|0x[0-9A-Fa-f](?:_?[0-9A-Fa-f])*|0o[0-7](?:_?[0-7])*|0b[01](?:_?[01])*")
_FLOAT = re.compile(rf"{_DECIMAL}(?:\.[0-9](?:_?[0-9])*)?(?:[eE][+-]?[0-9](?:_?[0-9])*)?|[+-]?(?:inf|nan)")
_TIME = r"\d\d:\d\d:\d\d(?:\.\d+)?"
_DATE = re.compile(rf"\d{{4}}-\d\d-\d\d(?:[Tt ]{_TIME}(?:[Zz]|[+-]\d\d:\d\d)?)?|{_TIME}")


def parse(text: str) -> Table:
    """Parse a document to nested tables. Raises ValueError if it is not TOML."""
    control = _CONTROL.search(text)
    if control:
        raise ValueError(f"line {text.count(chr(10), 0, control.start()) + 1}: a control character")
    return _TomlParser(text).parse_document()


class _TomlParser:
    """A parser that reads the text once.

    Tables are compared by identity. `fixed` tables cannot be declared or extended again.
    """

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.counted, self.line = 0, 1  # The offset up to which lines were counted.
        self.root: Table = {}
        self.fixed: Dict[int, object] = {}
        self.frozen: Dict[int, object] = {}  # Inline tables and arrays: nothing may be added at any depth.
        self.dotted: List[Table] = []

    def parse_document(self) -> Table:
        table = self.root
        while self.at < len(self.text):
            self.skip(_BLANK)
            if self.text.startswith("[", self.at):
                table = self.parse_header()
            elif self.text[self.at : self.at + 1] not in ("", "#", "\n", "\r"):
                self.parse_pair(table, self.dotted, 0)
            end = _END.match(self.text, self.at)
            if not end:
                raise self.make_error("expected the end of the line")
            self.at = end.end()
        return self.root

    def make_error(self, what: str) -> ValueError:
        return ValueError(f"line {self.count_lines()}: {what}")

    def count_lines(self) -> int:
        self.line += self.text.count("\n", self.counted, self.at)
        self.counted = self.at
        return self.line

    def skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def take(self, text: str) -> bool:
        found = self.text.startswith(text, self.at)
        self.at += len(text) if found else 0
        return found

    def parse_header(self) -> Table:
        for table in self.dotted:
            self.fixed[id(table)] = table
        self.dotted.clear()
        array = self.take("[[")
        if not array:
            self.take("[")
        *path, last = self.parse_keys()
        if not self.take("]]" if array else "]"):
            raise self.make_error("expected `]` at the end of the header")
        table = self.root
        for key in path:
            table = self.open_table(table, key, arrays=True)
        return self.append_table(table, last) if array else self.declare_table(table, last)

    def open_table(self, table: Table, key: str, *, arrays: bool = False) -> Table:
        """Return the table of a key within a dotted key.

        In an array of tables it is the last table.
        """
        found = table.setdefault(key, {})
        if (
            arrays
            and isinstance(found, TomlValue)
            and isinstance(found.value, list)
            and id(found.value) not in self.frozen
        ):
            found = found.value[-1]  # type: ignore[assignment]
        if not isinstance(found, dict) or id(found) in self.frozen:
            raise self.make_error(f"the table `{key}` cannot be extended")
        return found

    def declare_table(self, table: Table, key: str) -> Table:
        found = table.setdefault(key, {})
        if not isinstance(found, dict) or id(found) in self.fixed or id(found) in self.frozen:
            raise self.make_error(f"`{key}` is set twice")
        self.fixed[id(found)] = found
        return found

    def append_table(self, table: Table, key: str) -> Table:
        found = table.setdefault(key, TomlValue([], self.count_lines()))
        if not isinstance(found, TomlValue) or not isinstance(found.value, list) or id(found.value) in self.frozen:
            raise self.make_error(f"`{key}` is set twice")
        new: Table = {}
        found.value.append(new)
        return new

    def parse_pair(self, table: Table, opened: List[Table], depth: int) -> None:
        """Set a dotted key.

        The tables on the way are added to `opened`, and become fixed with the enclosing table.
        """
        line = self.count_lines()
        *path, last = self.parse_keys()
        for key in path:
            table = self.open_table(table, key)
            if id(table) in self.fixed:
                raise self.make_error(f"`{key}` is set twice")
            opened.append(table)
        if not self.take("="):
            raise self.make_error("expected `=`")
        self.skip(_BLANK)
        value = self.parse_value(depth)
        if last in table:
            raise self.make_error(f"`{last}` is set twice")
        table[last] = value if isinstance(value, dict) else TomlValue(value, line)

    def parse_keys(self) -> List[str]:
        """Parse a dotted key, with the blanks around it."""
        keys: List[str] = []
        while True:
            self.skip(_BLANK)
            keys.append(self.parse_key())
            self.skip(_BLANK)
            if len(keys) > MAX_DEPTH:
                raise self.make_error("nested too deep")
            if not self.take("."):
                return keys

    def parse_key(self) -> str:
        for pattern in (_BARE, _BASIC, _LITERAL):
            match = pattern.match(self.text, self.at)
            if match:
                self.at = match.end()
                return match[0] if pattern is _BARE else self.unescape_text(match[1], basic=pattern is _BASIC)
        raise self.make_error("expected a key")

    def parse_value(self, depth: int) -> Union[Scalar, List[Item], Table]:
        if depth > MAX_DEPTH:
            raise self.make_error("nested too deep")
        if self.take("["):
            return self.parse_array(depth)
        if self.take("{"):
            return self.parse_inline_table(depth)
        strings = ((_LONG_BASIC, True), (_BASIC, True), (_LONG_LITERAL, False), (_LITERAL, False))
        opening = self.text[self.at : self.at + 3]
        for pattern, basic in strings:
            if opening in ('"""', "'''") and pattern in (_BASIC, _LITERAL):
                continue
            match = pattern.match(self.text, self.at)
            if match:
                self.at = match.end()
                return self.unescape_text(match[1], basic=basic, long=pattern is _LONG_BASIC)
        match = _WORD.match(self.text, self.at)
        scalar = _parse_scalar(match[0]) if match else None
        if match and scalar is None:  # Not a date: the text after the blank is not part of a value.
            match = _BARE_WORD.match(self.text, self.at)
            scalar = _parse_scalar(match[0]) if match else None
        if not match or scalar is None:
            raise self.make_error("expected a value")
        self.at = match.end()
        return scalar

    def unescape_text(self, text: str, *, basic: bool, long: bool = False) -> str:
        text = text.replace("\r\n", "\n")
        return (
            _ESCAPE.sub(lambda match: self.decode_escape(match[1], long=long), text) if basic and "\\" in text else text
        )

    def decode_escape(self, word: str, *, long: bool) -> str:
        if word in _ESCAPES:
            return _ESCAPES[word]
        if word[:1] in ("u", "U") and len(word) > 1:
            code = int(word[1:], 16)
            if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF:  # noqa: PLR2004 - the scalar values of Unicode
                return chr(code)
        elif long and not word.strip() and "\n" in word:
            return ""
        raise self.make_error(f"unknown escape sequence `\\{word[:9]}`")

    def parse_array(self, depth: int) -> List[Item]:
        items: List[Item] = []
        self.frozen[id(items)] = items
        while True:
            self.skip(_SPACE)
            if self.take("]"):
                return items
            items.append(self.parse_value(depth + 1))
            self.skip(_SPACE)
            if not self.take(",") and not self.text.startswith("]", self.at):
                raise self.make_error("expected `,` or `]`")

    def parse_inline_table(self, depth: int) -> Table:
        table: Table = {}
        nested: List[Table] = [table]
        self.skip(_BLANK)
        while not self.take("}"):
            if table and not self.take(","):
                raise self.make_error("expected `,` or `}`")
            self.parse_pair(table, nested, depth + 1)
            self.skip(_BLANK)
        for one in nested:
            self.frozen[id(one)] = one
        return table


def _parse_scalar(word: str) -> Union[Scalar, None]:
    """Parse a number, a Boolean, or a date as text; None for other words."""
    if word in ("true", "false"):
        return word == "true"
    if _INTEGER.fullmatch(word):
        return int(word.replace("_", ""), 0 if word[1:2] in ("x", "o", "b") else 10)
    if _FLOAT.fullmatch(word):
        return float(word.replace("_", ""))
    return word if _DATE.fullmatch(word) else None
