"""`nodespec diff`: what two views of hosts say differently; what two reports conclude, what two specs ask.

Without operands it tells what the next boot of this machine will change, and which file is responsible.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Iterator, Sequence, Union

from nodespec.author.commands import stored
from nodespec.author.commands.inquiry import known, named
from nodespec.author.diff import operands, reports, specs
from nodespec.author.diff.observations import compared, everywhere, told, within
from nodespec.author.diff.operands import View
from nodespec.author.spec.library import Library, is_file
from nodespec.author.spec.resolver import resolve
from nodespec.errors import UsageError
from nodespec.escape import escape_line
from nodespec.facts.declaration import Place
from nodespec.options import read_assignments
from nodespec.output.facts_yaml import asking, facts_of, find
from nodespec.preflight.arguments import read_target
from nodespec.recording import file as recording

if TYPE_CHECKING:
    import argparse

    from nodespec.model.plan import Plan

DIFFERENT = 10
VIEW, REPORT, SPEC = "a view of a host", "a report", "a spec"


def diff(args: argparse.Namespace) -> int:
    """0 where both say the same of all that both say; else every difference, and 10."""
    words, asked = args.what[:2] or operands.NEXT_BOOT, args.what[2:]
    if len(words) == 1:
        raise UsageError(
            f"diff {words[0]}: with what? Alone, `nodespec diff` compares {' with '.join(operands.NEXT_BOOT)}"
        )
    if args.root != "/" and not {*words} & {*operands.NEXT_BOOT}:
        raise UsageError(f"--root {args.root}: it applies only to {' and '.join(operands.NEXT_BOOT)}")
    kinds = [_kind(word, Library(tuple(args.specs))) for word in words]
    if kinds[0] != kinds[1]:
        raise UsageError(f"diff: {words[0]} is {kinds[0]}, and {words[1]} {kinds[1]}: two of a kind are compared")
    if kinds[0] == VIEW:
        return _views(words, asked, args)
    if asked:
        raise UsageError(f"diff: {asked[0]}: of two reports or specs all is compared")
    lines = list(_reports(words) if kinds[0] == REPORT else _specs(words, args))
    _say(*lines, _count(lines))
    return DIFFERENT if lines else 0


def _reports(words: Sequence[str]) -> Iterator[str]:
    return reports.changes(*(stored.load(word) for word in words))


def _specs(words: Sequence[str], args: argparse.Namespace) -> Iterator[str]:
    library, given = Library(tuple(args.specs)), read_assignments(args.set)
    return specs.moves(*(resolve([word], library, given, trial=True) for word in words))


def _kind(word: str, library: Library) -> str:
    """What an operand is, a file by what it says of itself."""
    if operands.is_door(word) or word == "-":
        return VIEW
    if not os.path.isfile(word):
        return SPEC if word in library.names() else VIEW
    try:
        with open(word, "rb") as file:
            content = file.read(recording.SIZE)
    except OSError as error:
        raise UsageError(f"{word}: {error.strerror or error}") from None
    if f'"{recording.KIND}"'.encode() in content:
        return VIEW
    return REPORT if b'"reports"' in content else SPEC if is_file(word) and b"nodespec" in content else VIEW


def _count(different: Sequence[object]) -> str:
    return f"{len(different)} differ{'s' * (len(different) == 1)}"


def _say(*lines: str) -> None:
    for line in lines:
        print(escape_line(line))  # noqa: T201 - this is what was asked for


# views


def _views(words: Sequence[str], asked: Sequence[str], args: argparse.Namespace) -> int:
    library = Library(tuple(args.specs))
    chosen = named(asked, library, read_assignments(args.set))
    before, after = (operands.open_view(word, read_target(args)) for word in words)
    places = dict.fromkeys(_places(chosen, before, after) if chosen else _everything(library, before, after))
    found = compared(before.facts, after.facts, places, (before.seat.context, after.seat.context))
    asked_for = {place.owner for place in _found(chosen)}
    lines = list(told(found, lambda place: args.all or place.owner in asked_for))
    count = _count(found.differing)
    if args.all:
        lines += [one.line for one in found.silent]
    elif found.silent:
        count += f"; {len(found.silent)} more only one side knows: --all lists them"
    _say(*_heads(before, after), *lines, count)
    return DIFFERENT if found.differing else 0


def _heads(*both: View) -> Iterator[str]:
    for view in both:
        yield view.head
        yield from (f"notice: {notice}" for notice in view.seat.notices)


def _everything(library: Library, before: View, after: View) -> Iterator[Place]:
    """All that can be enumerated, and what the specs of the library ask besides."""
    yield from everywhere(before.facts, after.facts)
    yield from _places(list(known(library)), before, after)


def _places(chosen: Sequence[Union[str, Plan]], before: View, after: View) -> Iterator[Place]:
    """All that stands at the places that were named, and what the specs that were named ask."""
    for what in chosen:
        if isinstance(what, str):
            for place in facts_of(what):
                yield from within(place, before.facts, after.facts)
        else:
            for clause in asking(what):
                yield from (clause.place, *clause.aliases)


def _found(chosen: Sequence[Union[str, Plan]]) -> Iterator[Place]:
    """The single facts and tables that were named."""
    for what in chosen:
        found = find(what) if isinstance(what, str) else None
        if isinstance(found, Place):
            yield found
