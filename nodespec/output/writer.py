"""Where reports go: to standard output or to files, each written whole or not at all."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Iterable, List, Optional, Sequence, TextIO, Tuple, Union

from nodespec.errors import UNWRITTEN, Mistake, complain, hush, nearest
from nodespec.model.report import Report, Style
from nodespec.output.renderer import load_renderer
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from nodespec.output.file import Access


COLUMNS = 80  # of a terminal that does not know its width


class ReportOutput(NamedTuple):
    """A format and the file that it goes to; standard output where there is none."""

    format: str
    file: str = ""


def formats() -> Tuple[str, ...]:
    """The formats that nodespec brings."""
    from nodespec.reports import FORMATS  # noqa: PLC0415 - the registry is a word in that package

    return FORMATS


def check_format(name: str) -> None:
    """Raise Mistake for a format that nodespec does not have."""
    if name not in formats():
        near = nearest(name, formats())
        raise Mistake(f"-o {name}: no such format{near}; there are {', '.join(formats())}")


def targets(said: Sequence[str]) -> Tuple[ReportOutput, ...]:
    """The targets of `-o FORMAT[=FILE]`; text on standard output where nothing is said."""
    found = [ReportOutput(*one.split("=", 1)) for one in said] or [ReportOutput("text")]
    for target in found:
        check_format(target.format)
    if sum(not target.file for target in found) > 1:
        raise Mistake("-o: only one report can go to standard output: give the others a file, as in -o json=FILE")
    files = [os.path.realpath(target.file) for target in found if target.file]
    twice = next((path for path in files if files.count(path) > 1 and not path.startswith("/dev/")), "")
    if twice:
        raise Mistake(f"-o: only one report can go to {twice}")
    return tuple(found)


def style(stream: TextIO, *, every: bool) -> Style:
    """How a report looks on a stream: coloured only on a terminal that wants it."""
    terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    try:
        width = os.get_terminal_size(stream.fileno()).columns or COLUMNS if terminal else Style().width
    except OSError:
        width = Style().width
    return Style(colour=terminal and not os.environ.get("NO_COLOR"), every=every, width=max(width, 40))


def embeds(goal: ReportOutput) -> bool:
    """Whether a format has in it the plan and all that was observed, so that it can be verified."""
    return load_renderer(goal.format).embeds


def rendered(goal: ReportOutput, reports: Sequence[Report], *, every: bool) -> Tuple[str, ...]:
    """A format of several reports at once."""
    return (load_renderer(goal.format).render(reports, look(goal, every=every)),)


def look(goal: ReportOutput, *, every: bool) -> Style:
    """How a format looks where it goes."""
    return Style(every=every) if goal.file else style(sys.stdout, every=every)


def write(
    reports: Sequence[Report],
    goals: Sequence[ReportOutput],
    code: int,
    *,
    every: bool,
    deadline: Optional[float] = None,
) -> int:
    """Write every report; the exit code, which a report that was not written whole turns from 0 to 74."""
    return put(((goal, rendered(goal, reports, every=every)) for goal in goals), code, deadline)


def put(documents: Iterable[Tuple[ReportOutput, Iterable[str]]], code: int, deadline: Optional[float] = None) -> int:
    """Write texts, given in pieces, where they go; the exit code, likewise."""
    failed: List[str] = []
    whole = True
    for goal, pieces in documents:
        try:
            if goal.file:
                from nodespec.output.file import write_file  # noqa: PLC0415 - most reports go to standard output

                write_file(goal.file, (piece.encode() for piece in pieces), deadline=deadline)
            else:
                _print(pieces, sys.stdout)
        except OSError as error:
            whole = False
            if goal.file or not isinstance(error, BrokenPipeError):  # whoever stopped reading has read enough
                failed.append(not_written(goal.file or "standard output", error))
            if not goal.file:
                hush(sys.stdout)
    for line in failed:
        complain(line)
    return code if whole else code or UNWRITTEN


def _print(pieces: Iterable[str], stream: TextIO) -> None:
    """Text that the stream's encoding can carry: LC_ALL=C is no reason to end."""
    encoding = stream.encoding or "ascii"
    stream.writelines(text.encode(encoding, "backslashreplace").decode(encoding) for text in pieces)
    stream.flush()


def not_written(name: str, error: OSError) -> str:
    """Say that something was not written, and why."""
    return f"nodespec: {name}: not written: {error.strerror or error}"


def write_one(path: str, content: Union[str, bytes], access: Access, deadline: Optional[float] = None) -> int:
    """Write the one file that a command makes: the exit code. Mistake where its directory does not exist."""
    from nodespec.output.file import write_file  # noqa: PLC0415 - for who makes one

    try:
        write_file(path, (content.encode() if isinstance(content, str) else content,), access=access, deadline=deadline)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Mistake(f"{path}: {error.strerror}; make its directory first") from None
    except OSError as error:
        complain(not_written(path, error))
        return UNWRITTEN
    return 0
