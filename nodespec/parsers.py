"""Make argparse parsers of the options that the program and a bundle share."""

from __future__ import annotations

import argparse
import os

from nodespec.errors import UsageError
from nodespec.light_typing import TYPE_CHECKING
from nodespec.options import DAY_SECONDS, LIST, OPTIONS, SECONDS, SWITCH
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Mapping, NoReturn, Protocol, Tuple

    from nodespec.options import CommandOption

    class Command(Protocol):
        """A parser, or a group of its options."""

        @property
        def add_argument(self) -> Callable[..., argparse.Action]:
            """Add an option."""
            ...


# Messages are English only: searching for a translation catalog takes 1 ms of every start.
setattr(argparse, "_", str)  # noqa: B010 - a type checker knows no such attribute

DEFAULT_COLUMNS = 80  # The width if the terminal and the environment do not set it.


class OptionText(NamedTuple):
    """The name of an option's value, its help text, and examples by command: arguments and what they do."""

    metavar: str
    help: str
    examples: Mapping[str, Tuple[str, str]] = {}


TEXTS: Mapping[str, OptionText] = {
    "--specs": OptionText(
        "DIR",
        "search DIR for specs first; repeatable",
        {"check": ("site/edge --specs /srv/specs", "find the spec /srv/specs/site/edge.yaml")},
    ),
    "--set": OptionText(
        "K=V",
        "set a param of the spec; repeatable",
        {"check": ("kubernetes/1.35 --set role=control-plane", "set a param of the spec")},
    ),
    "--root": OptionText(
        "DIR",
        "check the running host whose root directory is mounted here (default: /)",
        {
            "check": ("kubernetes/1.35 --root /host", "in a container: check the host mounted at /host"),
            "facts": ("memory --root /host --deadline 5", "print facts of the host mounted at /host"),
        },
    ),
    "--image": OptionText(
        "PATH",
        "check an image offline: a root directory, tar, OCI or Docker image; / is this machine after a reboot",
        {"check": ("kubernetes/1.35 --image rootfs --set stage=image", "check an image without booting it")},
    ),
    "--facts": OptionText(
        "FILE|DIR",
        "check recordings that `facts -o` wrote; - reads standard input",
        {
            "check": ("kubernetes/1.35 --facts recordings/", "check every recording in a directory"),
            "facts": ("os --facts node.json", "print facts of a recording"),
        },
    ),
    "--kernel": OptionText(
        "RELEASE",
        "with --image: the installed kernel to check, instead of the one that boots",
        {
            "check": ("container-host --image / --kernel 6.12.9-amd64", "check the next boot with this kernel"),
            "facts": ("kernel --image / --kernel 6.12.9-amd64", "print what the next boot of this kernel gives"),
        },
    ),
    "--verbose": OptionText(
        "",
        "print each observation to standard error, with its source and time",
        {
            "check": ("kubernetes/1.35 --verbose", "print each observation to standard error, for a support case"),
            "facts": ("cgroups --verbose", "print each observation with its source and time"),
        },
    ),
    "--platform": OptionText(
        "OS/ARCH",
        "with --image: the platform of a multi-platform container image",
        {
            "check": ("container-host --image image.tar --platform linux/arm64", "choose the platform of an image"),
            "facts": ("os --image image.tar --platform linux/arm64", "print facts of a container image"),
        },
    ),
    "--deadline": OptionText(
        "S", "time limit for all observations in seconds (default: 20, with --image 300, reading the image included)"
    ),
    "--waivers": OptionText(
        "FILE",
        "read waivers: permissions to fail until a date",
        {"check": ("kubernetes/1.35 --waivers waivers.yaml", "accept known failures until a date")},
    ),
    "--only": OptionText(
        "GLOB",
        "check only the requirements whose id matches GLOB, or a tag: tag:CIS-*",
        {"check": ("kubernetes/1.35 --only 'kernel.*' --skip kernel.version", "check some requirements")},
    ),
    "--skip": OptionText("GLOB", "skip the requirements whose id matches GLOB"),
    "--strict": OptionText(
        "",
        "enforce recommendations like requirements",
        {"check": ("kubernetes/1.35 --strict", "treat recommendations like requirements")},
    ),
    "--wait": OptionText(
        "S",
        "retry for up to S seconds until the host conforms",
        {"check": ("kubernetes/1.35 --wait 120 --deadline 60", "retry for two minutes, each try a minute at most")},
    ),
    "-o": OptionText(
        "FORMAT[=FILE]",
        "write a report: {formats}; to standard output or a file; repeatable (default: text)",
        {"check": ("kubernetes/1.35 -o text -o html=report.html --all", "write two reports, with all that passes")},
    ),
    "--all": OptionText("", "also list what passes"),
}


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
    add_options(command.add_mutually_exclusive_group(), "exclusive")
    add_options(command, "access")
    add_options(command, "limits")


def add_diff_access_options(command: argparse.ArgumentParser) -> None:
    """Add the options that select how `diff` accesses its hosts."""
    add_option(command, "--root")
    command.set_defaults(kernel="")
    add_options(command, "limits")


def add_recording_options(command: argparse.ArgumentParser) -> None:
    """Add the options that select facts to show or record."""
    command.add_argument("--all", action="store_true", help="all rows of all tables")
    command.add_argument(
        "-o", dest="record", metavar="FILE", help="record to FILE for `check --facts`; FILE.gz is compressed"
    )
    command.add_argument("--reveal", action="store_true", help="with -o: also record values that may be secret")


def add_report_options(command: argparse.ArgumentParser, *formats: str) -> None:
    """Add the options that select reports."""
    add_options(command, "reports", formats=", ".join(formats))


def add_options(command: Command, group: str, **words: str) -> None:
    """Add the options of a group of the table; `words` replace names in braces in their help texts."""
    for option in OPTIONS:
        if option.group == group:
            _add_option(command, option, **words)


def add_option(command: Command, flag: str) -> None:
    """Add one option of the table."""
    _add_option(command, next(option for option in OPTIONS if option.flag == flag))


def _add_option(command: Command, option: CommandOption, **words: str) -> None:
    text = TEXTS[option.flag]
    shown = text.help.format(**words)
    if option.kind == SWITCH:
        command.add_argument(option.flag, dest=option.attribute, action="store_true", help=shown)
    elif option.kind == LIST:
        command.add_argument(
            option.flag, dest=option.attribute, action="append", default=[], metavar=text.metavar, help=shown
        )
    else:
        command.add_argument(
            option.flag,
            dest=option.attribute,
            type=parse_seconds if option.kind == SECONDS else str,
            default=option.default,
            metavar=text.metavar,
            help=shown,
        )


def parse_seconds(text: str) -> float:
    """Parse a number of seconds, up to a day. Raises argparse.ArgumentTypeError."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= DAY_SECONDS:
        raise argparse.ArgumentTypeError(f"`{text}` must be a number of seconds from 0 to 86400")
    return seconds
