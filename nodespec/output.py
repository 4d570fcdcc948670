"""Where reports go: to standard output or to files, each written whole or not at all."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Iterable, List, Sequence, TextIO, Tuple, Union, cast

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


def embeds(goal: Target) -> bool:
    """Whether a format has in it the plan and all that was observed, so that it can be verified."""
    return getattr(import_module(f"nodespec.reports.{goal.format}"), "EMBEDS", False) is True


def rendered(goal: Target, reports: Sequence[Report], *, every: bool) -> Tuple[str, ...]:
    """A format of several reports at once."""
    render = import_module(f"nodespec.reports.{goal.format}").render
    return (cast("str", render(reports, look(goal, every=every))),)


def look(goal: Target, *, every: bool) -> Style:
    """How a format looks where it goes."""
    return Style(every=every) if goal.file else style(sys.stdout, every=every)


def write(reports: Sequence[Report], goals: Sequence[Target], code: int, *, every: bool) -> int:
    """Write every report; the exit code, which a report that was not written whole turns from 0 to 74."""
    return put(((goal, rendered(goal, reports, every=every)) for goal in goals), code)


def put(documents: Iterable[Tuple[Target, Iterable[str]]], code: int) -> int:
    """Write texts, given in pieces, where they go; the exit code, likewise."""
    failed: List[str] = []
    whole = True
    for goal, pieces in documents:
        try:
            if goal.file:
                _replace(goal.file, (piece.encode() for piece in pieces))
            else:
                _print(pieces, sys.stdout)
        except OSError as error:
            whole = False
            if not isinstance(error, BrokenPipeError):  # whoever stopped reading has read enough
                failed.append(f"nodespec: {goal.file or 'standard output'}: {error.strerror or error}: not written")
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


def replace(path: str, content: Union[str, bytes]) -> None:
    """Write a file whole or not at all. What is no regular file, as /dev/stderr, is written to as it is."""
    _replace(path, (content.encode() if isinstance(content, str) else content,))


def _replace(path: str, pieces: Iterable[bytes]) -> None:
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as file:
            file.writelines(pieces)
        return
    beside = f"{path}.{os.getpid()}.tmp"
    try:
        with open(beside, "wb") as file:
            file.writelines(pieces)
        os.replace(beside, path)
    except OSError:
        if os.path.exists(beside):
            os.unlink(beside)
        raise
