"""`nodespec lint`: report the errors and warnings of specs, with positions, for people, GitHub or programs."""

from __future__ import annotations

import json
import os
import re

from nodespec.author.spec import resolver
from nodespec.author.spec.gaps import find_gaps
from nodespec.author.spec.library import Library, iter_files
from nodespec.errors import USAGE, DocumentError, UsageError
from nodespec.escape import escape_line
from nodespec.light_typing import TYPE_CHECKING
from nodespec.preflight.arguments import read_assignments
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    import argparse
    from typing import Iterator, List, Sequence

    from nodespec.model.plan import Plan

POSITION = re.compile(r"(?P<file>.+?):(?P<line>\d+):(?P<column>\d+): (?P<text>.*)", re.DOTALL)
SPEC_KEY = re.compile(rb"^nodespec:", re.MULTILINE)
SNIFFED_BYTES = 65536  # of a file in a directory, to see whether it is a spec


class LintMessage(NamedTuple):
    """One message about a spec: `level` is error, warning or note; a line of 0 is not known."""

    level: str
    file: str
    text: str
    line: int = 0
    column: int = 0


def lint(args: argparse.Namespace) -> int:
    """Print the messages about all specs; return 0 if none is an error, else 2."""
    messages: List[LintMessage] = []
    for name in expand_directories(args.spec):
        messages += check_spec(name, args)
    errors = [message for message in messages if message.level == "error"]
    if args.format == "json":
        print(json.dumps([message._asdict() for message in messages], indent=1))  # noqa: T201 - the requested output
    elif args.format == "github":
        for message in messages:
            print(format_annotation(message))  # noqa: T201
    else:
        for message in messages:
            if message.level != "error":
                print(escape_line(_format_message(message)))  # noqa: T201
        if errors:
            raise UsageError(*map(_format_message, errors))
    return USAGE if errors else 0


def check_spec(name: str, args: argparse.Namespace) -> Iterator[LintMessage]:
    """Yield the messages about one spec: its errors, or the number of its requirements, warnings and notes."""
    warnings: List[DocumentError] = []
    try:
        library, params = Library(tuple(args.specs)), read_assignments(args.set)
        plan = resolver.resolve([name], library, params, trial=True, warnings=warnings)
        count = len(plan.requirements)
        yield LintMessage("note", name, f"{count} requirement{'s' * (count != 1)}, no errors")
        for warning in dict.fromkeys(f"{getattr(one.node, 'at', name)}: {one.args[0]}" for one in warnings):
            yield _parse_message("warning", name, warning)
        yield from (_parse_message("note", name, line) for line in _iter_coverage(args, plan))
        yield from (LintMessage("note", name, f"cannot be converted: {note}") for note in plan.specs[0].notes)
        yield from (LintMessage("warning", name, gap) for gap in find_gaps(plan))
    except UsageError as error:
        yield from (_parse_message("error", name, text) for text in error.messages)


def expand_directories(names: Sequence[str]) -> Iterator[str]:
    """Yield the names, and instead of each directory the specs in it, in sorted order.

    Raises `UsageError` for a directory without specs.
    """
    for name in names:
        if not os.path.isdir(name):
            yield name
            continue
        files = sorted(iter_files(name))
        specs = [path if path.startswith("/") else f"./{os.path.normpath(path)}" for path in files if _is_spec(path)]
        if not specs:
            raise UsageError(f"{name}: no specs found; a spec is a YAML file with the key `nodespec`")
        yield from specs


def _is_spec(path: str) -> bool:
    if not path.endswith((".yaml", ".yml")) or not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            return bool(SPEC_KEY.search(file.read(SNIFFED_BYTES)))
    except OSError:
        return True  # The error is reported when the spec is read.


def _parse_message(level: str, name: str, text: str) -> LintMessage:
    """Split a message into its position and its text."""
    match = POSITION.fullmatch(text)
    if not match:
        return LintMessage(level, name, text)
    return LintMessage(level, match["file"], match["text"], int(match["line"]), int(match["column"]))


def _format_message(message: LintMessage) -> str:
    place = f"{message.file}:{message.line}:{message.column}" if message.line else message.file
    label = "warning: " if message.level == "warning" else ""
    if message.level == "error" and not message.line:
        return message.text
    return f"{place}: {label}{message.text}"


def format_annotation(message: LintMessage) -> str:
    """Return a workflow command of GitHub: a property escapes also `:` and `,`."""
    level = "notice" if message.level == "note" else message.level
    position = f",line={message.line},col={message.column}" if message.line else ""
    return f"::{level} file={_escape_property(message.file)}{position}::{_escape_data(message.text)}"


def _escape_data(text: str) -> str:
    return escape_line(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _escape_property(text: str) -> str:
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")


def _iter_coverage(args: argparse.Namespace, plan: Plan) -> Iterator[str]:
    """Yield how many requirements each glob of the waivers covers."""
    if not args.waivers:
        return
    from nodespec.author.spec.yaml_source import parse  # noqa: PLC0415 - only needed for waivers
    from nodespec.judge.waivers import describe_coverage, load, refuse_broad_waivers  # noqa: PLC0415 - likewise

    waivers = load(args.waivers, parse)
    ids = [requirement.id for requirement in plan.requirements]
    refuse_broad_waivers(waivers, ids)
    for waiver in waivers:
        yield f"{waiver.source}: {describe_coverage(waiver, ids)}"
