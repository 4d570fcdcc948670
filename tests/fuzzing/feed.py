"""What is read, samples of it, and how they are changed."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Callable, NamedTuple, Sequence, Tuple

from hosts import HOSTS, Read
from mutation import Json, Program, document, mutated

SAMPLES = Path(__file__).parent / "samples"
MOST = 2000  # bytes of a sample: of a larger one the beginning


class Parser(NamedTuple):
    """What reads bytes, samples of them, what makes such bytes of a program, and what else is read once."""

    read: Read
    seeds: Tuple[bytes, ...]
    make: Callable[[bytes], bytes]
    extremes: Callable[[], Sequence[bytes]] = tuple


def by_bytes(
    read: Read,
    seeds: Sequence[bytes],
    words: str,
    wrap: Callable[[bytes, Program], bytes] = lambda data, _: data,
    *,
    most: int = MOST,
) -> Parser:
    """A format whose samples are changed byte by byte and word by word; `wrap` puts right what would hide the rest."""
    cut, said = tuple(seed[:most] for seed in seeds), tuple(word.encode() for word in words.split())
    return Parser(read, cut, lambda program: wrap(mutated(program, cut, said), Program(program[::-1])))


def by_parts(read: Read, seeds: Sequence[Json], words: str = "") -> Parser:
    """A format of JSON, of which parts are changed as often as bytes."""
    texts = tuple(json.dumps(seed).encode() for seed in seeds)
    plain = by_bytes(read, texts, words or "null true 1e5 \\ud800 [[[[ {} -0")

    def make(program: bytes) -> bytes:
        if program[:1] < b"\x60":
            return plain.make(program[1:])
        return json.dumps(document(program[1:], seeds)).encode()

    return Parser(read, texts, make)


def samples(*patterns: str) -> Tuple[bytes, ...]:
    """The content of files below tests/hosts and tests/fuzzing/samples, each once."""
    files = [file for pattern in patterns for top in (HOSTS, SAMPLES) for file in sorted(top.glob(pattern))]
    found = tuple(dict.fromkeys(file.read_bytes() for file in files if file.is_file()))
    assert found, f"no sample is {patterns}"
    return found


def bomb(head: bytes = b"") -> bytes:
    """What becomes a quarter of a gigabyte when it is unpacked."""
    stream, zeros = zlib.compressobj(1, zlib.DEFLATED, 31), bytes(1 << 20)
    return stream.compress(head) + b"".join(stream.compress(zeros) for _ in range(1 << 8)) + stream.flush()
