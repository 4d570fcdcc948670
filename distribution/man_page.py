"""Print the man page nodespec(1): `python distribution/man_page.py`.

argparse-manpage makes it from the parsers of the command line; the examples are those of `--help`.
"""

from __future__ import annotations

import os
import sys
from typing import Iterator

from argparse_manpage.manpage import Manpage  # type: ignore[import-untyped]

import nodespec
from nodespec.author.commands.examples import EXAMPLES
from nodespec.author.commands.main import make_parser

PURPOSE = "check whether a Linux machine conforms to a spec"
EXITS = (
    ("0", "The machine conforms. For commands without a verdict: success."),
    ("10", "The machine does not conform."),
    ("11", "It cannot be decided whether the machine conforms."),
    ("2", "Usage error: arguments, spec, waivers or recording."),
    ("74", "A report could not be written."),
    ("70", "A defect of nodespec."),
    ("130", "Interrupted."),
)
FILES = (
    ("/etc/nodespec/specs", "Specs of this machine, found by name before those of the library."),
    ("/etc/nodespec/preflight", "The bundle that the gate runs at boot."),
    ("/etc/nodespec/waivers.json", "Waivers that the gate applies."),
)


def page() -> str:
    """Return the page in the man macros of roff."""
    os.environ["COLUMNS"] = "4000"  # man wraps the lines
    top = make_parser()
    top.epilog = None  # examples and exit codes have sections
    data = {"project_name": "nodespec", "version": nodespec.__version__, "date": nodespec.BUILT}
    manual = Manpage(top, {**data, "description": PURPOSE, "manual_title": "User Commands"}, "single-commands-section")
    manual.add_section("exit status", ">", "\n".join(_entries(EXITS)))
    manual.add_section("files", ">", "\n".join(_entries(FILES)))
    manual.add_section("examples", ">", "\n".join(_entries(one for found in EXAMPLES.values() for one in found)))
    return str(manual).replace("\n.SH\nPOSITIONAL ARGUMENTS\n", "\n.SH COMMANDS\n")


def _entries(rows: Iterator[tuple[str, str]] | tuple[tuple[str, str], ...]) -> Iterator[str]:
    for name, meaning in rows:
        yield from (".TP", f"\\fB{_escape(name)}\\fR", _escape(meaning))


def _escape(text: str) -> str:
    r"""Escape a text for roff: `\`, `-`, and the two characters that begin a request."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    sys.stdout.write(page())
