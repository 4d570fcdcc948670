"""What looking at a host gave: a value, a true absence, or the reason why nothing can be said."""

from __future__ import annotations

from typing import Callable, Generic, Iterable, Tuple, TypeVar, Union

from nodespec.records import NamedTuple

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")

DEFERRED = "deferred"  # not a failure to look: the thing looked at does not run yet
REASONS = (
    "no permission",  # the process may not look
    "hidden",  # what would hold it is not visible from here
    "not found",  # nothing that could hold it was found
    "tool missing",  # the program or library that can read it is not here
    "timed out",
    "malformed",  # it was read and cannot be understood
    "failed",  # the system call or program failed
    "not recorded",  # a recording that does not say
    "unsupported",  # nodespec does not know how, here
    "refused",  # nodespec will not do what looking would take
    "defect",  # nodespec is at fault
    DEFERRED,
)


class TimedOut(BaseException):
    """Raised into whatever blocks when an observation has used up its time; the engine catches it."""


class Evidence(NamedTuple):
    """Where an observation came from: a path (and line, from 1), an argv, a socket and method, a system call."""

    source: str
    line: int = 0
    inferred: bool = False

    def __str__(self) -> str:
        return f"{self.source}{f':{self.line}' if self.line else ''}"


class Value(Generic[T_co]):
    """A value. `others` are what it may be instead, where the evidence cannot tell them apart."""

    __slots__ = ("evidence", "others", "value")

    def __init__(self, value: T_co, evidence: Evidence, others: Tuple[T_co, ...] = ()) -> None:
        self.value, self.evidence, self.others = value, evidence, others

    def then(self, read: Callable[[T_co], U]) -> Observation[U]:
        """What `read` makes of the value; unknown (malformed) where it raises ValueError or LookupError."""
        try:
            return Value(read(self.value), self.evidence, tuple(map(read, self.others)))
        except (ValueError, LookupError) as error:
            return Unknown("malformed", f"{self.evidence}: {error}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and (self.value, self.evidence, self.others) == (
            other.value,
            other.evidence,
            other.others,
        )

    def __hash__(self) -> int:
        return hash((self.value, self.evidence, self.others))

    def __repr__(self) -> str:
        return f"Value({self.value!r}, {self.evidence!r}, {self.others!r})"


class Absent(NamedTuple):
    """Looked through what would hold it, and it is not there. The evidence is what was looked through."""

    evidence: Evidence
    say: str = ""  # more than "no such": the module that would bring it, say

    def then(self, read: object) -> Absent:  # noqa: ARG002 - the same call on every observation
        """Itself."""
        return self


class Unknown(NamedTuple):
    """Could not look. `say` is a sentence without full stop; `look` what would let nodespec look."""

    reason: str
    say: str
    look: str = ""

    def then(self, read: object) -> Unknown:  # noqa: ARG002 - the same call on every observation
        """Itself."""
        return self


Observation = Union[Value[T], Absent, Unknown]  # no text: whoever writes a family may subscript it
Lacking = Union[Absent, Unknown]


def first(looks: Iterable[Observation[T]]) -> Observation[T]:
    """The first value of several places, in their order.

    Without one: the first reason why a place could not be read, else absence from all of them.
    """
    absent = []
    unknown = None
    for look in looks:
        if isinstance(look, Value):
            return look
        if isinstance(look, Unknown):
            unknown = unknown or look
        else:
            absent.append(look)
    if unknown:
        return unknown
    sources = ", ".join(dict.fromkeys(look.evidence.source for look in absent))
    return Absent(Evidence(sources), next((look.say for look in absent if look.say), ""))
