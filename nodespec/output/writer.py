"""Write reports to standard output or to files, each completely or not at all."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from nodespec.errors import UNWRITTEN, UsageError, print_error, silence_stream, suggest_name
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.report import Report, Style
from nodespec.output.renderer import load_renderer
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Iterable, List, Optional, Sequence, TextIO, Tuple, Union

    from nodespec.output.file import FileAccess


DEFAULT_COLUMNS = 80  # The width of a terminal that does not report it.


class ReportOutput(NamedTuple):
    """A format and its file; an empty file is standard output."""

    format: str
    file: str = ""


def list_formats() -> Tuple[str, ...]:
    """Return the formats that nodespec contains."""
    from nodespec.reports import FORMATS  # noqa: PLC0415 - only needed to list the formats

    return FORMATS


def check_format(name: str) -> None:
    """Raise `UsageError` for an unknown format, ModuleNotFoundError if a module that it requires is not installed."""
    if name not in list_formats():
        near = suggest_name(name, list_formats())
        raise UsageError(f"-o {name}: no such format{near}; there are {', '.join(list_formats())}")
    for module in load_renderer(name).requires:
        import_module(module)


def parse_outputs(values: Sequence[str]) -> Tuple[ReportOutput, ...]:
    """Parse the values of `-o FORMAT[=FILE]`; the default is text on standard output."""
    outputs = [ReportOutput(*value.split("=", 1)) for value in values] or [ReportOutput("text")]
    for output in outputs:
        check_format(output.format)
    if sum(not output.file for output in outputs) > 1:
        raise UsageError("-o: only one report can go to standard output: give the others a file, as in -o json=FILE")
    files = [os.path.realpath(output.file) for output in outputs if output.file]
    duplicate = next((path for path in files if files.count(path) > 1 and not path.startswith("/dev/")), "")
    if duplicate:
        raise UsageError(f"-o: only one report can go to {duplicate}")
    return tuple(outputs)


def make_style(stream: TextIO, *, every: bool) -> Style:
    """Return the style for a stream; only a terminal that supports it gets color."""
    terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    try:
        width = os.get_terminal_size(stream.fileno()).columns or DEFAULT_COLUMNS if terminal else Style().width
    except OSError:
        width = Style().width
    return Style(colour=terminal and not os.environ.get("NO_COLOR"), every=every, width=max(width, 40))


def embeds_facts(output: ReportOutput) -> bool:
    """Return whether a format contains the plan and all observations.

    Such a report can be verified.
    """
    return load_renderer(output.format).embeds


def render_reports(output: ReportOutput, reports: Sequence[Report], *, every: bool) -> Tuple[str, ...]:
    """Render several reports at once."""
    return (load_renderer(output.format).render(reports, make_output_style(output, every=every)),)


def make_output_style(output: ReportOutput, *, every: bool) -> Style:
    """Return the style for the output of a format."""
    return Style(every=every) if output.file else make_style(sys.stdout, every=every)


def write_reports(
    reports: Sequence[Report],
    outputs: Sequence[ReportOutput],
    code: int,
    *,
    every: bool,
    deadline: Optional[float] = None,
) -> int:
    """Write all reports and return the exit code.

    If a report was not written completely, 74 replaces 0.
    """
    return write_documents(
        ((output, render_reports(output, reports, every=every)) for output in outputs), code, deadline
    )


def write_documents(
    documents: Iterable[Tuple[ReportOutput, Iterable[str]]], code: int, deadline: Optional[float] = None
) -> int:
    """Write texts, given in pieces, and return the exit code as `write_reports` does."""
    failed: List[str] = []
    complete = True
    for output, pieces in documents:
        try:
            if output.file:
                from nodespec.output.file import write_file  # noqa: PLC0415 - most reports go to standard output

                write_file(output.file, (piece.encode() for piece in pieces), deadline=deadline)
            else:
                _print_pieces(pieces, sys.stdout)
        except OSError as error:
            complete = False
            if output.file or not isinstance(error, BrokenPipeError):  # A reader that closed the pipe has read enough.
                failed.append(format_not_written(output.file or "standard output", error))
            if not output.file:
                silence_stream(sys.stdout)
    for line in failed:
        print_error(line)
    return code if complete else code or UNWRITTEN


def _print_pieces(pieces: Iterable[str], stream: TextIO) -> None:
    """Print text; characters that the stream's encoding lacks are escaped.

    LC_ALL=C must not make a report fail.
    """
    encoding = stream.encoding or "ascii"
    stream.writelines(text.encode(encoding, "backslashreplace").decode(encoding) for text in pieces)
    stream.flush()


def format_not_written(name: str, error: OSError) -> str:
    """Return the message that an output was not written, and why."""
    return f"nodespec: {name}: not written: {error.strerror or error}"


def write_one(path: str, content: Union[str, bytes], access: FileAccess, deadline: Optional[float] = None) -> int:
    """Write the single file of a command, and return the exit code.

    Raises `UsageError` if its directory does not exist.
    """
    from nodespec.output.file import write_file  # noqa: PLC0415 - only needed for a file

    try:
        write_file(path, (content.encode() if isinstance(content, str) else content,), access=access, deadline=deadline)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{path}: {error.strerror}; make its directory first") from None
    except OSError as error:
        print_error(format_not_written(path, error))
        return UNWRITTEN
    return 0
