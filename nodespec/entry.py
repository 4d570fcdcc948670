"""Entry points: run a command, turn exceptions into exit codes, and end the process."""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
from contextlib import suppress
from typing import Callable, List, NoReturn

from nodespec.errors import DEFECT, INTERRUPTED, UNWRITTEN, USAGE, Mistake, complain, hush

REMEDIES = {
    "yaml": "install PyYAML (Debian: python3-yaml), or nodespec with pip",
    "jsonschema": "install jsonschema (Debian: python3-jsonschema), or nodespec with pip",
    "jinja2": "install Jinja2 (Debian: python3-jinja2), or nodespec with pip",
}
YOUNG = 50_000  # objects until Python looks for circles: what a check makes lives to its end, and has hardly any
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # what only writing meets, or a terminal hung up
WHOLE = "run a whole one, which on Debian is python3 rather than python3-minimal"


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


def exit_with(program: Callable[[], int]) -> NoReturn:
    """Run a program, flush its output and end the process with its exit code."""
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
