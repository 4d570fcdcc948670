"""Run a command, convert exceptions to exit codes, and end the process."""

from __future__ import annotations

import errno
import gc
import io
import os
import sys

from nodespec.errors import DEFECT, INTERRUPTED, UNWRITTEN, USAGE, UsageError, print_error, silence_stream
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Callable, List, NoReturn, Sequence

REMEDIES = {
    "yaml": "install PyYAML (Debian: python3-yaml), or nodespec with pip",
    "jsonschema": "stored reports need the extra nodespec[reports] of pip, or python3-jsonschema of Debian",
    "jinja2": "HTML reports need the extra nodespec[html] of pip, or python3-jinja2 of Debian",
}
# Objects between two searches for reference cycles. Objects of a check live until its end and rarely form cycles.
GC_THRESHOLD = 50_000
# Errors that only writing causes, and EIO of a closed terminal.
WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
WITHOUT_VERDICT = ("facts", "specs", "explain", "schema", "help")  # Commands that only print.
COMPLETE_PYTHON = "install a complete Python (Debian: python3 instead of python3-minimal)"


def run_guarded(command: Callable[[List[str]], int], args: List[str]) -> int:
    """Run a command and return its exit code; no exception passes this function."""
    try:
        return command(args)
    except UsageError as error:
        for line in error.messages:
            print_error(line)
        return USAGE
    except BrokenPipeError:  # The reader closed the pipe because it has read enough, so nothing is printed.
        silence_stream(sys.stdout)
        return UNWRITTEN if has_verdict(args) else 0
    except KeyboardInterrupt:
        print_error("nodespec: interrupted")
        return INTERRUPTED
    except Exception as error:
        if os.environ.get("NODESPEC_DEBUG"):
            raise
        return _report_exception(error)


def has_verdict(args: Sequence[str]) -> bool:
    """Return whether the exit code of a command line is a verdict. A reader may close the pipe of any other."""
    return not (args[:1] and args[0] in WITHOUT_VERDICT) and not {"--help", "-h"} & {*args}


def _report_exception(error: Exception) -> int:
    if isinstance(error, OSError) and error.errno in WRITE_ERRORS:
        print_error(f"nodespec: standard output: not written: {error.strerror}")
        silence_stream(sys.stdout)
        return UNWRITTEN
    if isinstance(error, ModuleNotFoundError) and not (error.name or "nodespec").startswith("nodespec"):
        print_error(
            f"nodespec: this Python has no module `{error.name}`; {REMEDIES.get(error.name or '', COMPLETE_PYTHON)}"
        )
        return USAGE
    print_error(f"nodespec: a defect of nodespec: {type(error).__name__}: {error} (NODESPEC_DEBUG=1 shows where)")
    return DEFECT


def exit_with(program: Callable[[], int]) -> NoReturn:
    """Run a program, flush its output and end the process with its exit code."""
    gc.set_threshold(GC_THRESHOLD)
    # The caller closed standard output. Writing to /dev/full reports what is printed as not written.
    if sys.stdout is None:
        sys.stdout = open(os.open("/dev/full", os.O_WRONLY), "w", encoding="utf-8")  # noqa: SIM115 - open until the process ends
    # A character that the encoding lacks is escaped instead of ending the program.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = program()
    except SystemExit as end:  # `--help` raises it.
        code = end.code if isinstance(end.code, int) else 0
    try:
        sys.stdout.flush()
    except OSError as error:
        silence_stream(sys.stdout)
        closed = isinstance(error, BrokenPipeError) and not has_verdict(sys.argv[1:])
        code = code or (0 if closed else UNWRITTEN)
    if sys.stderr is not None:
        try:  # noqa: SIM105 - contextlib takes 1% of a check to import
            sys.stderr.flush()
        except OSError:
            pass
    os._exit(code)  # Python's own teardown takes 5% of a check; the kernel frees the memory at once.
