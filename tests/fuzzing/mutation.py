"""Samples, damaged: what a program of some bytes makes of them. The same program always makes the same."""

from __future__ import annotations

import json
import re
from typing import Callable, Dict, Iterable, List, Sequence, Tuple, Union, cast

Json = Union[str, int, float, bool, None, List["Json"], Dict[str, "Json"]]

PARTS, DEEPEST = 2000, 40  # of a document, which may be put into itself
RAW = 250  # a program that begins with this or more is the input itself
LONGEST = 1 << 14  # bytes of what is made
NUMBERS = (b"0", b"-1", b"255", b"65536", b"4294967296", b"18446744073709551616", b"1" * 400, b"1e999", b"0x7f", b"08")
BYTES = b"\0\1\7\x1b\x7f\x80\xc3\xff\n\r\t \"'\\/%${}[]()<>=:;,.#*?@&|!~^-+0"
STRANGE = cast(
    "Sequence[Json]",
    (
        *(None, True, 0, -1, 1 << 80, 1.5, "", "\0", "\x1b[2J", "\u202e", "a" * 5000, "../../etc/shadow", "absent"),
        *([], {}, [[]], {"": {}}, ["x", 1, None], {"unknown": "hidden"}, {"value": [1]}, {"absent": 0}),
    ),
)


class Program:
    """Bytes as instructions; at its end it says 0 for ever."""

    def __init__(self, said: bytes) -> None:
        self._said, self._at = said, 0

    @property
    def left(self) -> int:
        return len(self._said) - self._at

    def below(self, bound: int) -> int:
        """A number from 0 on, below a bound."""
        width = 1 if bound <= 256 else 2 if bound <= 65536 else 3
        said = int.from_bytes(self._said[self._at : self._at + width], "big")
        self._at += width
        return said % bound if bound > 0 else 0

    def rest(self) -> bytes:
        """All that is left of it, as it is."""
        at, self._at = self._at, len(self._said)
        return self._said[at:]


def mutated(said: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """One of the seeds, changed as a program says."""
    program = Program(said)
    if program.below(256) >= RAW:
        return program.rest()
    data = seeds[program.below(len(seeds))]
    while program.left > 0 and len(data) < LONGEST:
        data = CHANGES[program.below(len(CHANGES))](data, program, seeds, words)
    return data[:LONGEST]


Change = Callable[[bytes, Program, Sequence[bytes], Sequence[bytes]], bytes]


def _bit(data: bytes, program: Program, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> bytes:
    at = program.below(len(data))
    return data[:at] + bytes((data[at] ^ 1 << program.below(8),)) + data[at + 1 :] if data else data


def _byte(data: bytes, program: Program, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> bytes:
    at = program.below(len(data) + 1)
    return data[:at] + BYTES[program.below(len(BYTES)) :][:1] + data[at + 1 :]


def _put(data: bytes, program: Program, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> bytes:
    at = program.below(len(data) + 1)
    return data[:at] + BYTES[program.below(len(BYTES)) :][:1] * (1 << program.below(6)) + data[at:]


def _cut(data: bytes, program: Program, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> bytes:
    at = program.below(len(data) + 1)
    return data[:at] + data[at + 1 + program.below(64) :]


def _ended(data: bytes, program: Program, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> bytes:
    return data[: program.below(len(data) + 1)]


def _again(data: bytes, program: Program, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> bytes:
    at, size = program.below(len(data) + 1), 1 + program.below(256)
    return data[:at] + data[at : at + size] * (1 << program.below(7)) + data[at + size :]


def _word(data: bytes, program: Program, _seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """A word of the format in the place of one that is there, or beside it."""
    found = [match.span() for match in re.finditer(rb"[\w.-]+", data)]
    start, end = found[program.below(len(found))] if found else (0, 0)
    return data[:start] + words[program.below(len(words))] + data[start if program.below(4) == 0 else end :]


def _number(data: bytes, program: Program, _seeds: Sequence[bytes], _words: Sequence[bytes]) -> bytes:
    found = [match.span() for match in re.finditer(rb"\d+", data)]
    start, end = found[program.below(len(found))] if found else (0, 0)
    return data[:start] + NUMBERS[program.below(len(NUMBERS))] + data[end:]


def _lines(data: bytes, program: Program, seeds: Sequence[bytes], _words: Sequence[bytes]) -> bytes:
    """A line left out, said twice, moved, or taken from another sample."""
    lines, other = data.split(b"\n"), seeds[program.below(len(seeds))].split(b"\n")
    at, to, how = program.below(len(lines)), program.below(len(lines)), program.below(4)
    taken = other[to % len(other)] if how == 3 else lines[at]
    if how in (0, 2):
        del lines[at]
    if how:
        lines.insert(to, taken)
    return b"\n".join(lines)


def _spliced(data: bytes, program: Program, seeds: Sequence[bytes], _words: Sequence[bytes]) -> bytes:
    other = seeds[program.below(len(seeds))]
    return data[: program.below(len(data) + 1)] + other[program.below(len(other) + 1) :]


CHANGES: Tuple[Change, ...] = (_bit, _byte, _put, _cut, _ended, _again, _word, _number, _lines, _spliced, _word, _byte)


def document(said: bytes, seeds: Sequence[Json]) -> Json:
    """A JSON document, changed: a part of it is taken out, made strange, or put where another was."""
    program = Program(said)
    found: Json = json.loads(json.dumps(seeds[program.below(len(seeds))]))
    while program.left > 0:
        paths = _paths(found, ())
        if len(paths) > PARTS:
            break
        path, how = paths[program.below(len(paths))], program.below(6)
        other = _at(found, paths[program.below(len(paths))])
        new = STRANGE[program.below(len(STRANGE))] if how < 3 else other
        found = _with(found, path, json.loads(json.dumps(new)), gone=how == 5)  # a copy: it may be changed in turn
    return found


Path = Tuple[Union[str, int], ...]


def _paths(found: Json, path: Path) -> List[Path]:
    """The paths of all parts, but of those that lie deepest."""
    inner: Iterable[Tuple[Union[str, int], Json]] = ()
    if len(path) < DEEPEST:
        inner = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    return [path, *(one for key, value in inner for one in _paths(value, (*path, key)))]


def _at(found: Json, path: Path) -> Json:
    for step in path:
        if isinstance(found, dict) and isinstance(step, str):
            found = found[step]
        if isinstance(found, list) and isinstance(step, int):
            found = found[step]
    return found


def _with(found: Json, path: Path, new: Json, *, gone: bool) -> Json:
    if not path:
        return found if gone else new
    home, step = _at(found, path[:-1]), path[-1]
    if isinstance(home, dict) and isinstance(step, str):
        home.pop(step) if gone else home.update({step: new})
    elif isinstance(home, list) and isinstance(step, int):
        home[step : step + 1] = [] if gone else [new]
    return found
