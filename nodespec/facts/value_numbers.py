"""The types of facts that have an order: numbers, sizes, versions, kernel options."""

from __future__ import annotations

import re

from nodespec.errors import suggest_name
from nodespec.facts.value_types import OTHER, FreeText, Kind, Near, printable
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Iterable, Mapping, Tuple

    from nodespec.facts.value_types import Case, Datum
    from nodespec.facts.versions import Position, Scheme, Span

MAX_TEXT_CHARS = 256  # Characters of a version.


def is_decimal(text: str, digits: int) -> bool:
    """Return whether a text is a number of at most so many digits 0 to 9."""
    return text.isascii() and text.isdigit() and len(text) <= digits


class Whole(Kind[int]):
    """A whole number, zero or more."""

    noun, ordered, spans, pattern = "a whole number", True, True, r"^\d{1,18}$"

    def read(self, text: str) -> int:
        if not is_decimal(text, 18):
            raise ValueError(f"`{text}` is not {self.noun}")
        return int(text)

    def others(self) -> Iterable[Case]:
        return (0,)

    def near(self, text: str) -> Iterable[str]:
        return (text, *(self.written(n) for n in (self.read(text) + 1, self.read(text) - 1) if n >= 0))

    def position(self, value: Case) -> Position:
        if not isinstance(value, int):
            raise ValueError(f"{value!r} is not {self.noun}")
        return (value,), 0

    def span(self, text: str) -> Span:
        return ((self.read(text),), 0), ((self.read(text),), 1)

    def around(self, span: Span) -> Iterable[Case]:
        number = span[0][0][0]
        return (n for n in range(number - 1, number + 2) if n >= 0) if isinstance(number, int) else ()


class Size(Whole):
    """Bytes, written with K, M, G, T (powers of 1000) or Ki, Mi, Gi, Ti (of 1024)."""

    noun, pattern = "a size such as 1700M or 2Gi", r"^\d{1,12}([KMGT]i?)?$"
    UNITS: Mapping[str, int] = {
        "": 1,
        **{f"{unit}{i}": base**n for n, unit in enumerate("KMGT", 1) for i, base in (("", 1000), ("i", 1024))},
    }

    def read(self, text: str) -> int:
        unit = text.lstrip("0123456789")
        number = text[: len(text) - len(unit)]
        if unit not in self.UNITS or not is_decimal(number, 12):
            raise ValueError(f"`{text}` is not {self.noun}")
        return int(number) * self.UNITS[unit]

    def written(self, value: Case) -> str:
        if not isinstance(value, int):
            return ""
        unit = next((u for u in ("Ti", "Gi", "Mi", "Ki") if value and value % self.UNITS[u] == 0), "")
        return f"{value // self.UNITS[unit]}{unit}"


class Version(Kind[str]):
    """A version of a scheme; a version in a spec is a span."""

    ordered, spans, pattern = True, True, r"^v?\d\S*$"

    def __init__(self, scheme: Scheme) -> None:
        self.scheme, self.noun = scheme, f"a {scheme.name} version"
        if scheme.name == "rpm":  # RPM also orders letters.
            self.pattern = r"^(?![<>=!])\S+$"

    def read(self, text: str) -> str:
        self.scheme.span(text)
        return text

    def others(self) -> Iterable[Case]:
        return (Near(((), 0)),)

    def near(self, text: str) -> Iterable[str]:
        """Yield the version, the next and the previous, with as many numbers as written."""
        numbers = re.match(r"v?(\d{1,9}(?:\.\d{1,9})*)", text)
        yield text
        if numbers:
            first, _, last = numbers[1].rpartition(".")
            head = f"{first}." if first else ""
            yield f"{head}{int(last) + 1}"
            yield from ([f"{head}{int(last) - 1}"] if int(last) else [])
            before = [int(number) for number in first.split(".")] if first else []
            while before and not before[-1]:
                before.pop()
            if before:
                yield ".".join(map(str, (*before[:-1], before[-1] - 1)))

    def check(self, value: Datum) -> None:
        self.position(value)
        if " " in printable(str(value)):
            raise ValueError(f"`{value}` is not a version")

    def position(self, value: Case) -> Position:
        if isinstance(value, Near):
            return value.position
        return self.scheme.key(_shorten_text(str(value))), 0

    def span(self, text: str) -> Span:
        return self.scheme.span(_shorten_text(text))


def _shorten_text(text: str) -> str:
    if len(text) > MAX_TEXT_CHARS:  # A longer text only serves to make the comparison slow.
        raise ValueError(f"{len(text)} characters are not a version")
    return text


class UntypedValue(FreeText):
    """A value without a declared type, such as a file below /proc/sys.

    It is text with blanks folded, and in a range a number.
    """

    noun, ordered = "a number or text", True

    def position(self, value: Case) -> Position:
        return value.position if isinstance(value, Near) else ((_parse_number(str(value)),), 0)

    def written(self, value: Case) -> str:
        return str(value.position[0][0]) if isinstance(value, Near) else super().written(value)

    def near(self, text: str) -> Iterable[str]:
        yield text
        try:
            number = _parse_number(text)
        except ValueError:
            return
        yield from (str(number + 1), str(number - 1))

    def span(self, text: str) -> Span:
        return ((_parse_number(text),), 0), ((_parse_number(text),), 1)

    def around(self, span: Span) -> Iterable[Case]:
        number = span[0][0][0]
        return (Near(((n,), 0)) for n in range(number - 1, number + 2)) if isinstance(number, int) else ()


def _parse_number(text: str) -> int:
    if is_decimal(text, 20):
        return int(text)
    if not re.fullmatch(r"-?(0x[0-9a-fA-F]{1,16}|\d{1,20})", text, re.ASCII):
        raise ValueError(f"`{text[:40]}` is not a number")
    return int(text, 16 if "0x" in text else 10)


class Option(UntypedValue):
    """A kernel build option: only values of a .config, to find typing errors.

    `n` is "is not set", `undefined` an option that the configuration does not mention. Observed strings have no quotes.
    """

    noun = "y, m, n, undefined, enabled, disabled, a number, or text in double quotes as in a .config"
    pattern = r'^(y|m|n|undefined|-?\d+|0x[0-9a-fA-F]+|".*")$'
    words: Mapping[str, Tuple[str, ...]] = {"enabled": ("y", "m"), "disabled": ("n", "undefined")}
    PLAIN = ("undefined", "n", "m", "y")

    def read(self, text: str) -> str:
        if text not in self.PLAIN and not re.match(self.pattern, text):
            raise ValueError(f"`{text}` is not {self.noun}{suggest_name(text, (*self.PLAIN, *self.words))}")
        return text[1:-1] if text.startswith('"') else text

    def others(self) -> Iterable[Case]:
        return (*self.PLAIN, OTHER)

    def strength(self, value: Case) -> int:
        return self.PLAIN.index(str(value)) if value in self.PLAIN else len(self.PLAIN)
