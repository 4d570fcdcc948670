"""Options that the program and a bundle share: how a host is looked at, judged and reported on."""

from __future__ import annotations

import argparse
import os
from typing import NoReturn

from nodespec.errors import Mistake

ROOT = "a running host's root, mounted here"
COLUMNS = 80  # where nothing says how many


class Form(argparse.RawDescriptionHelpFormatter):
    """How help looks. Argparse makes one for every option, and asks a slow module how wide it is where none says."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    try:
        return int(os.environ.get("COLUMNS", "0")) or os.get_terminal_size().columns or COLUMNS
    except (ValueError, OSError):
        return COLUMNS


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes end where all mistakes end."""

    def error(self, message: str) -> NoReturn:
        raise Mistake(f"{self.prog}: {message}; {self.prog} --help shows how")


def looking(command: argparse.ArgumentParser) -> None:
    """How a host is looked at."""
    door = command.add_mutually_exclusive_group()
    door.add_argument("--root", default="/", metavar="DIR", help=ROOT)
    door.add_argument(
        "--image", metavar="PATH", help="at rest: a root directory, a tar, a container image; / is this one"
    )
    door.add_argument("--facts", metavar="FILE|DIR", help="recordings, as facts -o made them; - is standard input")
    command.add_argument("--kernel", default="", metavar="RELEASE", help="of an image that has several")
    _patience(command)


def comparing(command: argparse.ArgumentParser) -> None:
    """How two views of hosts are looked at."""
    command.add_argument("--root", default="/", metavar="DIR", help=ROOT)
    command.set_defaults(kernel="")
    _patience(command)


def _patience(command: argparse.ArgumentParser) -> None:
    command.add_argument("--platform", default="", metavar="OS/ARCH", help="of a container image that has several")
    command.add_argument("--deadline", type=seconds, default=20.0, metavar="S", help="seconds for the whole look (20)")


def recording(command: argparse.ArgumentParser) -> None:
    """What of a host is told, and whether it is recorded."""
    command.add_argument("--all", action="store_true", help="every row of every table")
    command.add_argument("-o", dest="record", metavar="FILE", help="record it, smaller as FILE.gz, for check --facts")
    command.add_argument("--reveal", action="store_true", help="record values that may be secret, too")


def judging(command: argparse.ArgumentParser) -> None:
    """On what terms it is judged."""
    command.add_argument("--waivers", metavar="FILE", help="dated permissions to fail")
    command.add_argument("--only", action="append", default=[], metavar="GLOB", help="judge only these requirements")
    command.add_argument("--skip", action="append", default=[], metavar="GLOB", help="leave these requirements out")
    command.add_argument("--strict", action="store_true", help="enforce recommendations too")
    command.add_argument("--wait", type=seconds, default=0.0, metavar="S", help="try again, up to S seconds, until fit")


def writing(command: argparse.ArgumentParser, *formats: str) -> None:
    """Which reports are written."""
    said = ", ".join(formats)
    command.add_argument("-o", dest="output", action="append", default=[], metavar="FORMAT[=FILE]", help=said)
    command.add_argument("--all", action="store_true", help="list what passes, too")


def seconds(text: str) -> float:
    """A time of up to a day; ValueError for what is none."""
    found = float(text)
    if not 0 <= found <= 86400:  # noqa: PLR2004 - a day
        raise ValueError(text)
    return found
