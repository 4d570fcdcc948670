"""Usage errors and spec errors, how they are printed, and how the documents that cause them are opened.

They are raised anywhere, and caught and printed in one place.
"""

from __future__ import annotations

import os
import sys

from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Iterable, List, Optional, TextIO

# Exit code by conclusion. It is never 1, which is the exit code of a traceback.
EXIT = {"conformant": 0, "nonconformant": 10, "indeterminate": 11}
USAGE, DEFECT, UNWRITTEN, INTERRUPTED = 2, 70, 74, 130
MAX_DOCUMENT_BYTES = 1 << 20  # maximum size of one file in bytes


class FilePosition(NamedTuple):
    """A position in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class UsageError(Exception):
    """One or more errors in the input of the user; the exit code is 2.

    The input is the arguments, a spec, waivers or a recording.
    """

    def __init__(self, *messages: str) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages


def open_nonblocking(path: str, flags: int) -> int:
    """Open a file without waiting for a writer: a FIFO that has none reads as empty.

    For use as the `opener` of `open`.
    """
    handle = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(handle, True)
    return handle


def print_error(line: str) -> None:
    """Print a line on standard error, escaped.

    If standard error cannot be written, the line is dropped and the run continues.
    """
    from nodespec.escape import escape_line  # noqa: PLC0415 - most runs print no error

    if sys.stderr is None:  # The caller closed standard error.
        return
    try:
        print(escape_line(line), file=sys.stderr, flush=True)  # noqa: T201
    except OSError:  # The terminal was closed.
        silence_stream(sys.stderr)


def silence_stream(stream: TextIO) -> None:
    """Redirect a stream that failed to /dev/null.

    Otherwise Python would fail to flush it at exit, with status 120.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class DocumentError(ValueError):
    """A part of a document that is not valid.

    `node` is that part. It may have an attribute `at`, its position in the file.
    """

    def __init__(self, node: object, message: str) -> None:
        super().__init__(message)
        self.node = node

    def __str__(self) -> str:
        at = getattr(self.node, "at", None)
        return f"{at}: {self.args[0]}" if at else str(self.args[0])


class ConsequentError(DocumentError):
    """A problem that follows from a problem that is already reported.

    It is not reported itself.
    """

    def __init__(self) -> None:
        super().__init__(None, "follows from another problem")


class ErrorCollector:
    """Context manager that collects raised problems, so that all are reported at once."""

    def __init__(self, problems: List[DocumentError]) -> None:
        self.problems = problems

    def __enter__(self) -> None:
        """Return nothing; there is nothing to prepare."""

    def __exit__(self, _kind: object, error: Optional[BaseException], _trace: object) -> bool:
        if isinstance(error, DocumentError):
            if not isinstance(error, ConsequentError):
                self.problems.append(error)
            return True
        if isinstance(error, UsageError):
            self.problems += [DocumentError(None, message) for message in error.messages]
        return isinstance(error, UsageError)


def suggest_name(word: str, names: Iterable[str], likeness: float = 0.6) -> str:
    """Return `; did you mean `X`?` with the nearest of `names`, or an empty string.

    `likeness` is the least similarity ratio of a suggestion, from 0 to 1.
    """
    others = [name for name in names if name != word]
    if not others:
        return ""
    from difflib import get_close_matches  # noqa: PLC0415 - only needed for an error message

    close = get_close_matches(word, others, 1, likeness)
    return f"; did you mean `{close[0]}`?" if close else ""
