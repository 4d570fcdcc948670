"""Where reports go: to standard output or to files, each written whole or not at all."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import List, Sequence, TextIO, Tuple, Union, cast

from .kinds import nearest
from .mistake import Mistake, complain, hush
from .named import NamedTuple
from .report import UNWRITTEN, Report, Style


class Target(NamedTuple):
    """A format and the file that it goes to; standard output where there is none."""

    format: str
    file: str = ""


def formats() -> Tuple[str, ...]:
    """The formats that nodespec brings."""
    from .reports import FORMATS  # noqa: PLC0415 - the registry is a word in that package

    return FORMATS


def targets(said: Sequence[str]) -> Tuple[Target, ...]:
    """The targets of `-o FORMAT[=FILE]`; text on standard output where nothing is said."""
    found = [Target(*one.split("=", 1)) for one in said] or [Target("text")]
    for target in found:
        if target.format not in formats():
            near = nearest(target.format, formats())
            raise Mistake(f"-o {target.format}: no such format{near}; there are {', '.join(formats())}")
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
        width = os.get_terminal_size(stream.fileno()).columns if terminal else Style().width
    except OSError:
        width = Style().width
    return Style(colour=terminal and not os.environ.get("NO_COLOR"), every=every, width=max(width, 40))


def write(reports: Sequence[Report], goals: Sequence[Target], code: int, *, every: bool) -> int:
    """Write every report; the exit code, which a report that was not written whole turns from 0 to 74."""
    failed: List[str] = []
    whole = True
    for goal in goals:
        stream = sys.stdout
        look = style(stream, every=every) if not goal.file else Style(every=every)
        text = cast("str", import_module(f"nodespec.reports.{goal.format}").render(reports, look))
        try:
            if goal.file:
                replace(goal.file, text)
            else:
                _print(text, stream)
        except OSError as error:
            whole = False
            if not isinstance(error, BrokenPipeError):  # whoever stopped reading has read enough
                failed.append(f"nodespec: {goal.file or 'standard output'}: {error.strerror or error}: not written")
            if not goal.file:
                hush(stream)
    for line in failed:
        complain(line)
    return code if whole else code or UNWRITTEN


def _print(text: str, stream: TextIO) -> None:
    """Text that the stream's encoding can carry: LC_ALL=C is no reason to end."""
    encoding = stream.encoding or "ascii"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def replace(path: str, content: Union[str, bytes]) -> None:
    """Write a file whole or not at all. What is no regular file, as /dev/stderr, is written to as it is."""
    data = content.encode() if isinstance(content, str) else content
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as file:
            file.write(data)
        return
    beside = f"{path}.{os.getpid()}.tmp"
    try:
        with open(beside, "wb") as file:
            file.write(data)
        os.replace(beside, path)
    except OSError:
        if os.path.exists(beside):
            os.unlink(beside)
        raise
