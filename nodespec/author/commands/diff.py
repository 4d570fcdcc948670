"""`nodespec diff`: compare two hosts or recordings, two reports, or two specs.

Without operands, compare this machine with its next boot.
"""

from __future__ import annotations

import os

from nodespec.author.commands import stored
from nodespec.author.commands.inquiry import resolve_library, resolve_names
from nodespec.author.diff import operands, reports, specs
from nodespec.author.diff.observations import compare_views, format_differences, iter_all_places, iter_places_within
from nodespec.author.diff.operands import View
from nodespec.author.spec.library import Library, is_file
from nodespec.author.spec.resolver import resolve
from nodespec.errors import UsageError
from nodespec.escape import escape_line
from nodespec.facts.declaration import Place
from nodespec.light_typing import TYPE_CHECKING
from nodespec.output.facts_yaml import find_place, iter_clauses, list_places
from nodespec.preflight.arguments import read_assignments, read_target
from nodespec.recording import file as recording

if TYPE_CHECKING:
    import argparse
    from typing import Iterator, Sequence, Union

    from nodespec.model.plan import Plan

EXIT_DIFFERENT = 10
VIEW, REPORT, SPEC = "a host or a recording", "a report", "a spec"


def diff(args: argparse.Namespace) -> int:
    """Print every difference; return 10 if there is one, else 0.

    Data that only one side knows is not a difference.
    """
    words, asked = args.what[:2] or operands.NEXT_BOOT, args.what[2:]
    if len(words) == 1:
        raise UsageError(
            f"diff {words[0]}: a second operand is required; `nodespec diff` alone compares "
            f"{' with '.join(operands.NEXT_BOOT)}"
        )
    if args.root != "/" and not {*words} & {*operands.NEXT_BOOT}:
        raise UsageError(f"--root {args.root}: it applies only to {' and '.join(operands.NEXT_BOOT)}")
    kinds = [_classify_operand(word, Library(tuple(args.specs))) for word in words]
    if kinds[0] != kinds[1]:
        raise UsageError(f"diff: {words[0]} is {kinds[0]}, but {words[1]} is {kinds[1]}; both must be of one kind")
    if kinds[0] == VIEW:
        return _diff_views(words, asked, args)
    if asked:
        raise UsageError(f"diff: {asked[0]}: places can only be named to compare hosts; remove it")
    lines = list(_diff_reports(words) if kinds[0] == REPORT else _diff_specs(words, args))
    _print_lines(*lines, _format_count(lines))
    return EXIT_DIFFERENT if lines else 0


def _diff_reports(words: Sequence[str]) -> Iterator[str]:
    return reports.diff_reports(*(stored.load_reports(word) for word in words))


def _diff_specs(words: Sequence[str], args: argparse.Namespace) -> Iterator[str]:
    library, given = Library(tuple(args.specs)), read_assignments(args.set)
    return specs.diff_plans(*(resolve([word], library, given, trial=True) for word in words))


def _classify_operand(word: str, library: Library) -> str:
    """Return the kind of an operand; a file names its kind in its content."""
    if operands.is_live_operand(word) or word == "-":
        return VIEW
    if not os.path.isfile(word):
        return SPEC if word in library.names() else VIEW
    try:
        with open(word, "rb") as file:
            content = file.read(recording.MAX_RECORDING_BYTES)
    except OSError as error:
        raise UsageError(f"{word}: {error.strerror or error}") from None
    if f'"{recording.KIND}"'.encode() in content:
        return VIEW
    return REPORT if b'"reports"' in content else SPEC if is_file(word) and b"nodespec" in content else VIEW


def _format_count(different: Sequence[object]) -> str:
    return f"{len(different)} differ{'s' * (len(different) == 1)}"


def _print_lines(*lines: str) -> None:
    for line in lines:
        print(escape_line(line))  # noqa: T201 - the requested output


# views


def _diff_views(words: Sequence[str], names: Sequence[str], args: argparse.Namespace) -> int:
    library = Library(tuple(args.specs))
    selection = resolve_names(names, library, read_assignments(args.set))
    before, after = (operands.open_view(word, read_target(args)) for word in words)
    places = dict.fromkeys(
        _iter_selected_places(selection, before, after) if selection else _iter_all_places(library, before, after)
    )
    comparison = compare_views(before.facts, after.facts, places, (before.seat.context, after.seat.context))
    requested = {place.owner for place in _iter_named_places(selection)}
    lines = list(format_differences(comparison, lambda place: args.all or place.owner in requested))
    count = _format_count(comparison.differing)
    if args.all:
        lines += [difference.line for difference in comparison.silent]
    elif comparison.silent:
        count += f"; {len(comparison.silent)} more are known to one side only; --all lists them"
    _print_lines(*_iter_heads(before, after), *lines, count)
    return EXIT_DIFFERENT if comparison.differing else 0


def _iter_heads(*both: View) -> Iterator[str]:
    for view in both:
        yield view.head
        yield from (f"notice: {notice}" for notice in view.seat.notices)


def _iter_all_places(library: Library, before: View, after: View) -> Iterator[Place]:
    """Yield all places that can be enumerated, and those that the specs of the library name."""
    yield from iter_all_places(before.facts, after.facts)
    named = _iter_selected_places(list(resolve_library(library)), before, after)
    yield from (place for place in named if not place.moves)


def _iter_selected_places(selection: Sequence[Union[str, Plan]], before: View, after: View) -> Iterator[Place]:
    """Yield the places in each named fact or family, and the places of each named spec."""
    for item in selection:
        if isinstance(item, str):
            for place in list_places(item):
                yield from iter_places_within(place, before.facts, after.facts)
        else:
            for clause in iter_clauses(item):
                yield from clause.places


def _iter_named_places(selection: Sequence[Union[str, Plan]]) -> Iterator[Place]:
    """Return the named single facts and tables."""
    for name in selection:
        place = find_place(name) if isinstance(name, str) else None
        if isinstance(place, Place):
            yield place
