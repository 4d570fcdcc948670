"""The types of facts: how values are written in a spec, ordered and compared."""

from __future__ import annotations

import re

from nodespec.errors import suggest_name
from nodespec.light_typing import TYPE_CHECKING, Generic, TypeVar
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, FrozenSet, Iterable, Mapping, Tuple, TypeAlias, Union

    from nodespec.facts.versions import Position, Span

T_co = TypeVar("T_co", covariant=True)


class Near(NamedTuple):
    """A value known only by its position: just below, at or above a bound."""

    position: Position


Datum: TypeAlias = "Union[str, int, bool, FrozenSet[str]]"  # The value of a fact.
Case: TypeAlias = "Union[Datum, Near]"  # The value that an expectation is evaluated on.
MORE = 1 << 63  # An entry in the other values of a number: the number may be any larger one.
OTHER = "\0"  # A text that no spec names.
OPERATORS = ("<", ">", "=", "!=")


def begins_with_operator(text: str) -> bool:
    """Return whether a text of a spec is meant as a range."""
    return text.lstrip().startswith(OPERATORS)


class UndecidedError(Exception):
    """Raised by a test of a value that alone does not decide it, with the reason. The outcome is unknown."""


class Kind(Generic[T_co]):
    """A type.

    `words` name several values of the type: `enabled` is y or m.
    """

    noun = "text"
    ordered = False  # Whether a text with operators is a range.
    spans = False  # Whether a text without operators is a span.
    repeats = False  # Whether a host may have several values, as a frozenset. One that meets the expectation is enough.
    pattern = r"^(?!\s*([<>=]|!=))"  # The pattern of a plain scalar, for the JSON Schema.
    spellings = False  # Whether a value has several spellings: `normalize` returns the one that is compared.
    units = False  # Whether reports show a value as a spec writes it.
    signed = False  # Whether a number can be negative.
    relations: Tuple[str, ...] = ()  # The operators that `relate` implements: `within`, `includes`.
    words: Mapping[str, Tuple[str, ...]] = {}

    def read(self, text: str) -> T_co:
        """Parse a value of a spec. Raises ValueError with the reason."""
        raise NotImplementedError

    def check(self, value: Datum) -> None:
        """Raise ValueError for an observed value that is not one of this type."""

    def normalize(self, value: Datum) -> Datum:
        """Return the spelling of an observed value that is compared. Raises ValueError if it is not of this type."""
        return self.read(str(value))  # type: ignore[return-value]

    def equals(self, value: Case, wanted: Datum) -> bool:
        """Return whether a value of a type with several spellings is another."""
        return value == wanted

    def relate(self, operator: str, text: str) -> Tuple[Callable[[Case], bool], Tuple[Case, ...]]:
        """Return the test of an operator of `relations`, and the values that it distinguishes."""
        raise ValueError(f"`{operator}: {text}` does not apply to {self.noun}")

    def others(self) -> Iterable[Case]:
        """Return values that no expectation names.

        Together with the named values they suffice to decide which values an expectation allows.
        """
        return ()

    def near(self, text: str) -> Iterable[str]:
        """Return values as a spec writes them, near a value that a spec names.

        If that value does not pass, one of these may.
        """
        return (text,)

    def written(self, value: Case) -> str:
        """Return a value as a spec would write it; empty if it cannot be written."""
        return "" if isinstance(value, (Near, frozenset)) or value == OTHER else str(value)

    def position(self, value: Case) -> Position:
        """Return the position of a value in the order. Raises ValueError if it has none."""
        raise ValueError(f"{value!r}: {self.noun} has no order")

    def span(self, text: str) -> Span:
        """Return the span of a version or number, as written in a spec."""
        raise ValueError(f"`{text}` is a range, and {self.noun} has no order")

    def around(self, span: Span) -> Iterable[Case]:
        """Return values at both ends of a span, and just below and above them."""
        return (Near((key, side)) for key, _ in span for side in (-1, 0, 1))

    def strength(self, value: Case) -> int:
        """Return the rank of a value among aliases; the greatest rank decides."""
        raise ValueError(f"{value!r}: {self.noun} cannot have aliases")


class FreeText(Kind[str]):
    """Free text, compared with blanks folded."""

    def read(self, text: str) -> str:
        if begins_with_operator(text):
            raise ValueError(f"`{text}` is a range, and {self.noun} has no order")
        return " ".join(text.split())

    def check(self, value: Datum) -> None:
        for text in value if isinstance(value, frozenset) else (value,):
            printable(str(text))

    def others(self) -> Iterable[Case]:
        return (OTHER,)


# Control characters, and bytes that are not UTF-8, which `host.tree.decoded` writes as \x80 to \xff.
_UNPRINTABLE = r"[\x00-\x08\x0e-\x1f\x7f-\x9f]|\\x[89a-f][0-9a-f]"  # Compiled when it is first used.


def printable(text: str) -> str:
    """Return a text of a host, or raise ValueError if it has control characters.

    A file of zero bytes, as after a power loss, has them.
    """
    if not text.isprintable() and re.search(_UNPRINTABLE, text):
        raise ValueError("contains a control character")
    if "\\x" in text and re.search(_UNPRINTABLE, text):
        raise ValueError("contains bytes that are not UTF-8")
    return text


class Form(FreeText):
    """Text of a known form, with the longest length that it can have and an example."""

    def __init__(self, form: str, length: int, example: str) -> None:
        self.form, self.length, self.example = form, length, example

    def check(self, value: Datum) -> None:
        self.formed(str(value))

    def formed(self, text: str) -> str:
        """Return a text of this form, or raise ValueError."""
        if len(text) > self.length or not re.fullmatch(self.form, text, re.ASCII):
            raise ValueError(f"is not {self.example}")
        return text


# utsrelease.h: the version of the sources, then CONFIG_LOCALVERSION. uname(2) has 64 characters for each.
RELEASE_NAME = Form(r"\d{1,4}\.\d{1,5}[!-.0-~]*", 64, "the release of a kernel, such as 6.1.0-50-amd64")
ARCHITECTURE = Form(r"[A-Za-z][\w-]*", 64, "an architecture, such as x86_64")
# os-release(5) asks for lower case, but Deepin and others use capitals.
IDENTIFIER = Form(r"[\w.+~-]+", 1000, "one word of letters, digits, `.`, `_` and `-`")


class Repeated(FreeText):
    """Text that a host may have several times; different values form a set."""

    noun, repeats = "text", True


class OneOf(Kind[str]):
    """One of a closed list.

    The list binds the spec, not the host: a host may have a value that nodespec does not know. With `ranked` the list
    is in ascending order, so that ranges are allowed, and the strongest of several aliases decides.
    """

    def __init__(self, *choices: str, ranked: bool = False, **words: Tuple[str, ...]) -> None:
        self.choices, self.words, self.ordered = choices, words, ranked
        self.noun = "one of " + ", ".join((*choices, *words))
        self.pattern = f"^({'|'.join(map(re.escape, choices))})$"

    def read(self, text: str) -> str:
        if text not in self.choices:
            raise ValueError(f"`{text}` is not {self.noun}{suggest_name(text, (*self.choices, *self.words))}")
        return text

    def others(self) -> Iterable[Case]:
        return self.choices

    def position(self, value: Case) -> Position:
        if isinstance(value, Near) or not self.ordered:
            return value.position if isinstance(value, Near) else super().position(value)
        if value not in self.choices:
            raise ValueError(f"`{value}` is not {self.noun}")
        return (self.choices.index(str(value)),), 0

    def span(self, text: str) -> Span:
        if not self.ordered:
            return super().span(text)
        key = (self.choices.index(self.read(text)),)
        return (key, 0), (key, 1)

    def around(self, span: Span) -> Iterable[Case]:  # noqa: ARG002 - the list is short, so that all choices are returned
        return self.choices

    def strength(self, value: Case) -> int:
        if not self.ordered:
            return super().strength(value)
        return self.choices.index(str(value)) if value in self.choices else -1


class Flag(Kind[bool]):
    """A Boolean."""

    noun, pattern = "true or false", "^(true|false|yes|no|on|off)$"
    READ: Mapping[str, bool] = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

    def read(self, text: str) -> bool:
        if text not in self.READ:
            raise ValueError(f"`{text}` is not {self.noun}")
        return self.READ[text]

    def others(self) -> Iterable[Case]:
        return (True, False)

    def written(self, value: Case) -> str:
        return "true" if value else "false"


class SetOf(Kind["FrozenSet[str]"]):
    """Several texts without order. An empty set is a value too."""

    def __init__(self, element: Kind[str]) -> None:
        self.element, self.noun, self.spellings = element, f"a set ({element.noun})", element.spellings

    def check(self, value: Datum) -> None:
        for text in value if isinstance(value, frozenset) else ():
            self.element.check(text)

    def normalize(self, value: Datum) -> Datum:
        return frozenset(str(self.element.normalize(text)) for text in value) if isinstance(value, frozenset) else value

    def read(self, text: str) -> FrozenSet[str]:
        raise ValueError(f"a set must be a list: [{text}] requires {text}; {{only: [{text}]}} also excludes all others")

    def others(self) -> Iterable[Case]:
        return (frozenset(),)


class Presence(Kind[str]):
    """A row of a table as a whole: present or absent."""

    noun, pattern = "a row: present, absent, or expectations of its columns", "^(present|absent)$"

    def read(self, text: str) -> str:
        raise ValueError(f"`{text}` does not apply to {self.noun}")

    def others(self) -> Iterable[Case]:
        return ("there",)
