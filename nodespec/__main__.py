"""The program: exit codes, and the one place where exceptions end."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    try:  # noqa: SIM105 - `python3 -m` looks first in the current directory, where others may put a contextlib.py
        sys.path.remove(os.getcwd())
    except (OSError, ValueError):  # it was deleted
        pass

import errno
import gc
import io
from contextlib import suppress
from typing import Callable, List, NoReturn, Optional

from . import __version__
from .mistake import Mistake, complain, hush
from .report import DEFECT, INTERRUPTED, UNWRITTEN, USAGE

REMEDIES = {
    "yaml": "install PyYAML (Debian: python3-yaml), or nodespec with pip",
    "jsonschema": "install jsonschema (Debian: python3-jsonschema), or nodespec with pip",
    "jinja2": "install Jinja2 (Debian: python3-jinja2), or nodespec with pip",
}
YOUNG = 50_000  # objects until Python looks for circles: what a check makes lives to its end, and has hardly any
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # what only writing meets, or a terminal hung up
WHOLE = "run a whole one, which on Debian is python3 rather than python3-minimal"


def main(argv: Optional[List[str]] = None) -> int:
    """Run nodespec with these arguments and say the exit code; nothing is raised but SystemExit by `--help`."""
    args = sys.argv[1:] if argv is None else argv
    if args == ["--version"]:
        print(f"nodespec {__version__}")  # noqa: T201 - before anything else is imported
        return 0
    return guarded(_command, args)


def _command(args: List[str]) -> int:
    from .cli import run as command  # noqa: PLC0415

    return command(args)


def guarded(command: Callable[[List[str]], int], args: List[str]) -> int:
    """The exit code of a command: where every exception ends."""
    try:
        return command(args)
    except Mistake as mistake:
        for line in mistake.said:
            complain(line)
        return USAGE
    except BrokenPipeError:  # whoever stopped reading has read enough, and is told nothing
        hush(sys.stdout)
        return UNWRITTEN
    except KeyboardInterrupt:
        complain("nodespec: interrupted")
        return INTERRUPTED
    except Exception as error:
        if os.environ.get("NODESPEC_DEBUG"):
            raise
        return _unforeseen(error)


def _unforeseen(error: Exception) -> int:
    if isinstance(error, OSError) and error.errno in FULL:
        complain(f"nodespec: standard output: {error.strerror}: not written")
        hush(sys.stdout)
        return UNWRITTEN
    if isinstance(error, ModuleNotFoundError) and not (error.name or "nodespec").startswith("nodespec"):
        complain(f"nodespec: this Python has no module `{error.name}`: {REMEDIES.get(error.name or '', WHOLE)}")
        return USAGE
    complain(f"nodespec: a defect of nodespec: {type(error).__name__}: {error} (NODESPEC_DEBUG=1 shows where)")
    return DEFECT


def run(program: Callable[[], int] = main) -> NoReturn:
    """The console script: a program, and what is left of its output."""
    gc.set_threshold(YOUNG)
    if sys.stdout is None:  # closed by the caller: what is printed goes nowhere, and is said not to be written
        sys.stdout = open(os.open("/dev/full", os.O_WRONLY), "w", encoding="utf-8")  # noqa: SIM115 - until the end
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that it cannot carry is no reason to end
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = program()
    except SystemExit as end:  # as `--help` does
        code = end.code if isinstance(end.code, int) else 0
    try:
        sys.stdout.flush()
    except OSError:
        hush(sys.stdout)
        code = code or UNWRITTEN
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.flush()
    os._exit(code)  # the kernel takes back at once what Python would take apart first: a twentieth of a check


if __name__ == "__main__":
    run()
