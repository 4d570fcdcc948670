"""What a user did wrong: raised wherever it is seen, caught and printed in one place."""

from __future__ import annotations

import os
import sys
from typing import Iterable, List, Optional, TextIO

from nodespec.records import NamedTuple

EXIT = {"conformant": 0, "nonconformant": 10, "indeterminate": 11}  # by conclusion; never 1, as a traceback
USAGE, DEFECT, UNWRITTEN, INTERRUPTED = 2, 70, 74, 130


class At(NamedTuple):
    """A position in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Mistake(Exception):
    """One or more mistakes in what the user gave: arguments, a spec, waivers, a recording. Exit code 2."""

    def __init__(self, *said: str) -> None:
        super().__init__("\n".join(said))
        self.said = said


def complain(line: str) -> None:
    """Say a line on standard error. Where that takes nothing, nobody is left to be told, and the run goes on."""
    from nodespec.escape import visible  # noqa: PLC0415 - most runs have nothing to complain of

    if sys.stderr is None:  # closed by the caller
        return
    try:
        print(visible(line), file=sys.stderr, flush=True)  # noqa: T201
    except OSError:  # a terminal that was hung up
        hush(sys.stderr)


def hush(stream: TextIO) -> None:
    """Let nothing more reach a stream that takes nothing more; Python would complain at its end, with status 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Wrong(ValueError):
    """A part of a document that cannot be meant. `node` is that part; where it stands, its author's half knows."""

    def __init__(self, node: object, say: str) -> None:
        super().__init__(say)
        self.node = node

    def __str__(self) -> str:
        at = getattr(self.node, "at", None)
        return f"{at}: {self.args[0]}" if at else str(self.args[0])


class Consequence(Wrong):
    """A problem that follows from another one, which is told; this one is not."""

    def __init__(self) -> None:
        super().__init__(None, "follows from another problem")


class Collecting:
    """Keep a problem that is raised within, and go on: all problems are told at once."""

    def __init__(self, problems: List[Wrong]) -> None:
        self.problems = problems

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, _kind: object, error: Optional[BaseException], _trace: object) -> bool:
        if isinstance(error, Wrong):
            if not isinstance(error, Consequence):
                self.problems.append(error)
            return True
        if isinstance(error, Mistake):
            self.problems += [Wrong(None, said) for said in error.said]
        return isinstance(error, Mistake)


def nearest(word: str, names: Iterable[str], likeness: float = 0.6) -> str:
    """Return `; did you mean `X`?` with the nearest of `names`, or an empty text where none is that much alike."""
    others = [name for name in names if name != word]
    if not others:
        return ""
    from difflib import get_close_matches  # noqa: PLC0415 - only ever for a mistake

    close = get_close_matches(word, others, 1, likeness)
    return f"; did you mean `{close[0]}`?" if close else ""
