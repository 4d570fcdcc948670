"""TOML as programs' configuration files use it: what is said under which key, and on which line.

It is read with tolerance, since the program that owns the file is the one to complain: what cannot be understood is
left out, nothing raises, and a number, a date or a flag is its text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Dict, Iterator, Tuple

from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import TypeAlias

LONGEST = 1 << 12  # characters of one list or inline table

Key: TypeAlias = "Tuple[str, ...]"


class Entry(NamedTuple):
    """What a key is set to: one word, or those of a list."""

    words: Tuple[str, ...]
    line: int


_QUOTED = r'"(?:\\.|[^"\\])*"|' + r"'[^']*'"
_NAME = rf"(?:[\w-]+|{_QUOTED})"
_DOTTED = rf"{_NAME}(?:[ \t]*\.[ \t]*{_NAME})*"
_WORD = re.compile(rf"""{_QUOTED}|[^\s,=#"'\[\]{{}}]+""")
_TABLE = re.compile(rf"\[\[?\s*({_DOTTED})\s*\]")
_PAIR = re.compile(rf"({_DOTTED})\s*=\s*")
_INNER = re.compile(rf"[{{,]\s*{_PAIR.pattern}")  # of an inline table
_BARE = re.compile(rf"""(?:[^#"']+|{_QUOTED})*""")  # up to a comment
_BLOCK = re.compile(r'"{3}.*?"{3}|' + r"'{3}.*?'{3}", re.DOTALL)


def entries(text: str) -> Dict[Key, Entry]:
    """Every key that is set, with the tables around it. The last one counts."""
    found: Dict[Key, Entry] = {}
    table: Key = ()
    for number, line in _lines(_BLOCK.sub(_emptied, text)):
        header, pair = _TABLE.match(line), _PAIR.match(line)
        if header:
            table = _key(header[1])
        elif pair:
            key, said = (*table, *_key(pair[1])), line[pair.end() :][:LONGEST]
            found[key] = Entry(_words(said), number)
            for inner in _INNER.finditer(said) if said.startswith("{") else ():
                word = _WORD.match(said, inner.end())
                found[(*key, *_key(inner[1]))] = Entry((_plain(word[0]),) if word else (), number)
    return found


def _emptied(block: re.Match[str]) -> str:
    """A text of several lines is nothing that is looked for; its lines count."""
    return '""' + "\n" * block[0].count("\n")


def _lines(text: str) -> Iterator[Tuple[int, str]]:
    """The lines without comments; a list of several lines is one, with the number of its first."""
    held, start, depth = "", 0, 0
    for number, line in enumerate(text.split("\n"), 1):
        bare = _BARE.match(line)
        said = bare[0].strip() if bare else ""
        brackets = re.sub(_QUOTED, "", said)
        depth += brackets.count("[") - brackets.count("]")
        held, start = f"{held} {said}".strip(), start or number
        if depth <= 0 or len(held) > LONGEST or not _PAIR.match(held):
            yield start, held
            held, start, depth = "", 0, 0
    yield start, held


def _key(dotted: str) -> Key:
    return tuple(map(_plain, re.findall(_NAME, dotted)))


def _words(said: str) -> Key:
    return tuple(map(_plain, _WORD.findall(said)))


def _plain(word: str) -> str:
    if word[0] == '"':
        return re.sub(r'\\(["\\])', r"\1", word[1:-1])
    return word[1:-1] if word[0] == "'" else word
