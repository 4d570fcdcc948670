"""The types of facts that are quantities with a unit: durations, percentages and dates.

A module that few specs need: it is imported with the families that declare these types.
"""

from __future__ import annotations

import re

from nodespec.facts.value_numbers import Whole
from nodespec.facts.value_types import Kind, Near
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Iterable, Tuple

    from nodespec.facts.value_types import Case, Datum
    from nodespec.facts.versions import Position, Span

UNITS = {"w": 604_800_000_000, "d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000}
UNITS.update({"ms": 1_000, "us": 1})  # in microseconds, the longest first
TERM = r"(\d{1,12})(us|ms|[wdhms])"
MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Duration(Whole):
    """A duration, written with w, d, h, m, s, ms or us: `30d`, `1h30m`. It can be negative.

    A value is a whole number of `unit`.
    """

    noun, pattern, signed, units = "a duration such as 30d, 12h or 1h30m", rf"^-?({TERM})+$", True, True

    def __init__(self, unit: str = "s") -> None:
        self.unit = unit

    def read(self, text: str) -> int:
        if re.fullmatch(r"-?\d+", text):
            raise ValueError(f"`{text}` has no unit; write {text}s, {text}m, {text}h or {text}d")
        if not re.fullmatch(rf"-?({TERM}){{1,7}}", text, re.ASCII):
            raise ValueError(f"`{text}` is not {self.noun}; the units are {', '.join(UNITS)}")
        total = sum(int(number) * UNITS[unit] for number, unit in re.findall(TERM, text))
        if total % UNITS[self.unit]:
            raise ValueError(f"`{text}` is not a whole number of {self.unit}")
        return total // UNITS[self.unit] * (-1 if text.startswith("-") else 1)

    def near(self, text: str) -> Iterable[str]:
        return (text, *(self.written(self.read(text) + step) for step in (1, -1)))

    def around(self, span: Span) -> Iterable[Case]:
        number = span[0][0][0]
        return range(number - 1, number + 2) if isinstance(number, int) else ()

    def written(self, value: Case) -> str:
        if not isinstance(value, int):
            return ""
        size = abs(value) * UNITS[self.unit]
        if not size:
            return f"0{self.unit}"
        unit = next(unit for unit in UNITS if size % UNITS[unit] == 0 and unit != "w")
        return f"{'-' if value < 0 else ''}{size // UNITS[unit]}{unit}"


class Percentage(Whole):
    """A percentage from 0% to 100%, as a whole number."""

    noun, pattern, units = "a percentage such as 85%", r"^\d{1,3}%$", True

    def read(self, text: str) -> int:
        if re.fullmatch(r"\d{1,3}", text, re.ASCII):
            raise ValueError(f"`{text}` has no unit; write {text}%")
        match = re.fullmatch(r"(\d{1,3})%", text, re.ASCII)
        if not match:
            raise ValueError(f"`{text}` is not {self.noun}")
        number = int(match[1])
        self.check(number)
        return number

    def check(self, value: Datum) -> None:
        if isinstance(value, int) and not 0 <= value <= 100:  # noqa: PLR2004 - per cent
            raise ValueError(f"{value}% is not from 0% to 100%")

    def near(self, text: str) -> Iterable[str]:
        number = self.read(text)
        return (text, *(f"{n}%" for n in (number + 1, number - 1) if 0 <= n <= 100))  # noqa: PLR2004 - per cent

    def others(self) -> Iterable[Case]:
        return (0, 100)

    def around(self, span: Span) -> Iterable[Case]:
        return (n for n in super().around(span) if isinstance(n, int) and n <= 100)  # noqa: PLR2004 - per cent

    def written(self, value: Case) -> str:
        return f"{value}%" if isinstance(value, int) else ""


class Date(Kind[str]):
    """A moment in UTC, such as 2026-12-31T23:59:59Z.

    A date in a spec is the whole day, and a moment without seconds the whole minute: `<=2026-12-31` includes that day.
    """

    noun, ordered, spans, spellings = "a date such as 2026-12-31, or a time such as 2026-12-31T23:59Z", True, True, True
    FORM = r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d))?Z)?"
    pattern = f"^{FORM}$"

    def read(self, text: str) -> str:
        self.fields(text)
        return text

    def fields(self, text: str) -> Tuple[int, ...]:
        """Return the numbers of a date: 3, 5 or 6 of them. Raises ValueError."""
        match = re.fullmatch(self.FORM, text, re.ASCII)
        numbers = tuple(int(number) for number in match.groups() if number) if match else ()
        if not match or not _is_calendar_date(numbers):
            raise ValueError(f"`{text}` is not {self.noun}")
        return numbers

    def others(self) -> Iterable[Case]:
        return ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z")

    def position(self, value: Case) -> Position:
        return value.position if isinstance(value, Near) else (self.fields(str(value)), 0)

    def span(self, text: str) -> Span:
        fields = self.fields(text)
        return (fields, 0), ((*fields, 99), 0)


def _is_calendar_date(numbers: Tuple[int, ...]) -> bool:
    """Return whether numbers from the year on are a date and time."""
    year, month, day, *time = numbers
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not year or not 1 <= month <= len(MONTH_DAYS) or not 1 <= day <= MONTH_DAYS[month - 1]:
        return False
    if (month, day) == (2, 29) and not leap:
        return False
    return all(number <= most for number, most in zip(time, (23, 59, 60)))
