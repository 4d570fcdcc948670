"""Define command-line options that the program and a bundle share.

They select the access to a host, how it is judged, and its reports.
"""

from __future__ import annotations

import argparse
import os

from nodespec.errors import UsageError
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NoReturn

# Messages are English only: searching for a translation catalog takes 1 ms of every start.
setattr(argparse, "_", str)  # noqa: B010 - a type checker knows no such attribute

ROOT_HELP = "check the running host whose root directory is mounted here (default: /)"
DEFAULT_COLUMNS = 80  # The width if the terminal and the environment do not set it.


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Format help with a width that is computed once.

    Argparse makes a formatter for every option, and its own formatter imports a slow module to find the width.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_read_columns() - 2)


def _read_columns() -> int:
    try:
        return int(os.environ.get("COLUMNS", "0")) or os.get_terminal_size().columns or DEFAULT_COLUMNS
    except (ValueError, OSError):
        return DEFAULT_COLUMNS


class Parser(argparse.ArgumentParser):
    """A parser that raises usage errors instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` with the message of argparse."""
        raise UsageError(f"{self.prog}: {message}; {self.prog} --help shows how")


def add_access_options(command: argparse.ArgumentParser) -> None:
    """Add the options that select how a host is accessed."""
    door = command.add_mutually_exclusive_group()
    door.add_argument("--root", default="/", metavar="DIR", help=ROOT_HELP)
    door.add_argument(
        "--image",
        metavar="PATH",
        help="check an image offline: a root directory, tar, OCI or Docker image; / is this machine after a reboot",
    )
    door.add_argument(
        "--facts", metavar="FILE|DIR", help="check recordings that `facts -o` wrote; - reads standard input"
    )
    command.add_argument(
        "--kernel",
        default="",
        metavar="RELEASE",
        help="with --image: the installed kernel to check, instead of the one that boots",
    )
    command.add_argument(
        "--verbose",
        action="store_true",
        help="print each observation to standard error, with its source and time",
    )
    _add_limit_options(command)


def add_diff_access_options(command: argparse.ArgumentParser) -> None:
    """Add the options that select how `diff` accesses its hosts."""
    command.add_argument("--root", default="/", metavar="DIR", help=ROOT_HELP)
    command.set_defaults(kernel="")
    _add_limit_options(command)


def _add_limit_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--platform",
        default="",
        metavar="OS/ARCH",
        help="with --image: the platform of a multi-platform container image",
    )
    command.add_argument(
        "--deadline",
        type=parse_seconds,
        default=None,
        metavar="S",
        help="time limit for all observations in seconds (default: 20, with --image 300, reading the image included)",
    )


def add_recording_options(command: argparse.ArgumentParser) -> None:
    """Add the options that select facts to show or record."""
    command.add_argument("--all", action="store_true", help="all rows of all tables")
    command.add_argument(
        "-o", dest="record", metavar="FILE", help="record to FILE for `check --facts`; FILE.gz is compressed"
    )
    command.add_argument("--reveal", action="store_true", help="with -o: also record values that may be secret")


def add_judging_options(command: argparse.ArgumentParser) -> None:
    """Add the options for judging a host."""
    command.add_argument("--waivers", metavar="FILE", help="read waivers: permissions to fail until a date")
    command.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="GLOB",
        help="check only the requirements whose id matches GLOB, or a tag: tag:CIS-*",
    )
    command.add_argument(
        "--skip", action="append", default=[], metavar="GLOB", help="skip the requirements whose id matches GLOB"
    )
    command.add_argument("--strict", action="store_true", help="enforce recommendations like requirements")
    command.add_argument(
        "--wait", type=parse_seconds, default=0.0, metavar="S", help="retry for up to S seconds until the host conforms"
    )


def add_report_options(command: argparse.ArgumentParser, *formats: str) -> None:
    """Add the options that select reports."""
    formats_help = f"write a report: {', '.join(formats)}; to standard output or a file; repeatable (default: text)"
    command.add_argument("-o", dest="output", action="append", default=[], metavar="FORMAT[=FILE]", help=formats_help)
    command.add_argument("--all", action="store_true", help="also list what passes")


def parse_seconds(text: str) -> float:
    """Parse a number of seconds, up to a day. Raises argparse.ArgumentTypeError."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:  # noqa: PLR2004 - a day
        raise argparse.ArgumentTypeError(f"`{text}` must be a number of seconds from 0 to 86400")
    return seconds
