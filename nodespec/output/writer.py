"""Write reports to standard output or to files, each completely or not at all."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from nodespec.errors import UNWRITTEN, UsageError, print_error, silence_stream, suggest_name
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.report import Report, Style, compute_exit_code
from nodespec.output.renderer import load_renderer
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Iterable, List, Optional, Sequence, TextIO, Tuple, Union

    from nodespec.model.report import Concluded
    from nodespec.output.file import FileAccess


DEFAULT_COLUMNS = 80  # The width of a terminal that does not report it.
MIN_COLUMNS = 40
FILE_FORMATS = ("html",)  # Formats that are of no use on a terminal.


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
        raise UsageError(f"-o {name}: unknown format; expected one of {', '.join(list_formats())}{near}")
    for module in load_renderer(name).requires:
        import_module(module)


def parse_outputs(values: Sequence[str]) -> Tuple[ReportOutput, ...]:
    """Parse the values of `-o FORMAT[=FILE]`; the default is text on standard output, which `-` names too."""
    outputs = [_parse_output(value) for value in values] or [ReportOutput("text")]
    if sum(not output.file for output in outputs) > 1:
        raise UsageError("-o: only one report can go to standard output; give the others a file, as in -o json=FILE")
    files = [os.path.realpath(output.file) for output in outputs if output.file]
    duplicate = next((path for path in files if files.count(path) > 1 and not path.startswith("/dev/")), "")
    if duplicate:
        raise UsageError(f"-o: only one report can go to {duplicate}; name another file")
    return tuple(outputs)


def _parse_output(value: str) -> ReportOutput:
    """Parse one value of `-o`. Raises `UsageError` for an unknown format, or one that a terminal cannot show."""
    name, _, file = value.partition("=")
    check_format(name)
    file = "" if file == "-" else file
    if name in FILE_FORMATS and not file and sys.stdout.isatty():
        raise UsageError(f"-o {name}: standard output is a terminal; write -o {name}=report.{name}")
    return ReportOutput(name, file)


def make_style(stream: TextIO, *, every: bool) -> Style:
    """Return the style for a stream.

    A terminal gets color and links, unless TERM is dumb. NO_COLOR switches color off; FORCE_COLOR and CLICOLOR_FORCE
    switch it on without a terminal (https://no-color.org, https://bixense.com/clicolors). COLUMNS overrides the width.
    """
    terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    forced = any(os.environ.get(name, "") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE"))
    colour = (terminal or forced) and not os.environ.get("NO_COLOR")
    return Style(colour, every, max(_read_width(stream, terminal=terminal), MIN_COLUMNS), links=terminal)


def _read_width(stream: TextIO, *, terminal: bool) -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdecimal() and len(columns) < 6 and int(columns):  # noqa: PLR2004 - no wider screen
        return int(columns)
    if not terminal:
        return Style().width
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_COLUMNS
    except OSError:
        return DEFAULT_COLUMNS


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
    summary: str = "",
) -> int:
    """Write all reports and return the exit code. If all were written, print `summary` on standard error.

    If a report was not written completely, 74 replaces 0.
    """
    documents = ((output, render_reports(output, reports, every=every)) for output in outputs)
    return write_documents(documents, code, deadline, summary)


def summarize_files(reports: Sequence[Concluded], outputs: Sequence[ReportOutput]) -> str:
    """Return the conclusion and the files in one line if all reports go to files, else an empty string."""
    if not reports or not all(output.file for output in outputs):
        return ""
    files = ", ".join(output.file for output in outputs)
    counts = reports[0].headline if len(reports) == 1 else f"{len(reports)} hosts"
    return f"nodespec: {counts}; exit {compute_exit_code(reports)}; reports: {files}"


def write_documents(
    documents: Iterable[Tuple[ReportOutput, Iterable[str]]],
    code: int,
    deadline: Optional[float] = None,
    summary: str = "",
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
    for line in (*failed, *([summary] if complete and summary else ())):
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
    """Write the single file of a command, and return the exit code; `-` is standard output.

    Raises `UsageError` if its directory does not exist.
    """
    from nodespec.output.file import write_file  # noqa: PLC0415 - only needed for a file

    try:
        file = "/dev/stdout" if path == "-" else path
        write_file(file, (content.encode() if isinstance(content, str) else content,), access=access, deadline=deadline)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{path}: {error.strerror}; create its directory first") from None
    except OSError as error:
        print_error(format_not_written(path, error))
        return UNWRITTEN
    return 0
