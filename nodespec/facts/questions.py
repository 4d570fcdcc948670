"""Columns that are asked with an argument, such as `yaml:/a/b`, the value at `/a/b` of a YAML file.

A spec writes the arguments below the name of the question: `yaml: {/a/b: false}`. The observation is that of the column
`yaml:/a/b`, in places, recordings and reports.
"""

from __future__ import annotations

import re

from nodespec.facts.value_numbers import UntypedValue
from nodespec.facts.value_types import Datum, Kind, Near
from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable

    from nodespec.facts.value_types import Case
    from nodespec.facts.versions import Key, Position, Span


class Question(NamedTuple):
    """A question: the type of its answers, and how an argument is checked.

    `form` is how a spec writes arguments: `pointers`, `globs` or `patterns`. `secret` answers contain text of a file.
    """

    kind: Kind[Datum]
    form: str
    check: Callable[[str], object]
    secret: bool = False

    def __contains__(self, argument: object) -> bool:
        """Return whether a text is an argument of the question."""
        try:
            self.check(str(argument))
        except ValueError:
            return False
        return bool(argument)


class ContentValue(UntypedValue):
    """A value in a file: text, in a range a number. A list of scalars is several values; one that meets is enough."""

    noun, repeats = "a number or text", True

    def position(self, value: Case) -> Position:
        return value.position if isinstance(value, Near) else (_make_number_key(str(value)), 0)

    def span(self, text: str) -> Span:
        key = _make_number_key(text)
        return (key, 0), (key, 1)


def _make_number_key(text: str) -> Key:
    """Return the position of a number: the next lower whole number, then billionths."""
    match = re.fullmatch(r"([-+]?)(\d{1,18})(?:\.(\d{1,9})\d{0,20})?", text, re.ASCII)
    if not match:
        raise ValueError(f"`{text[:40]}` is not a number")
    billionths = int(match[2]) * 10**9 + int((match[3] or "0").ljust(9, "0"))
    whole, fraction = divmod(-billionths if match[1] == "-" else billionths, 10**9)
    return (whole, fraction) if fraction else (whole,)
