"""Observations of a host: a value, an absence, or unknown with a reason; and their limits."""

from __future__ import annotations

from nodespec.light_typing import TYPE_CHECKING, Generic, TypeVar
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Iterable, Tuple, Union

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")

DEFERRED = "deferred"  # not an error: the part of the host that the fact describes does not run yet
REASONS = (
    "no permission",  # the process lacks a permission
    "hidden",  # the source of the fact is not visible from this process
    "not found",  # no source of the fact was found
    "tool missing",  # the required program or library is not installed
    "timed out",
    "malformed",  # the data was read and cannot be parsed
    "failed",  # the system call or program returned an error
    "not recorded",  # the recording does not contain the fact
    "unsupported",  # nodespec cannot observe this fact on this host
    "refused",  # nodespec does not take the action that the observation requires
    "defect",  # nodespec itself failed
    DEFERRED,
)


class TimedOut(BaseException):
    """Raised in a blocking call when an observation exceeds its timeout.

    The code that set the timeout catches it. It derives from BaseException so that `except Exception` does not.
    """


class Evidence(NamedTuple):
    """The source of an observation.

    `source` is a path, a command line, a socket with a method, or a system call. `line` counts from 1; 0 means no line.
    `inferred` is true if the value was derived from indirect signs.
    """

    source: str
    line: int = 0
    inferred: bool = False

    def __str__(self) -> str:
        return f"{self.source}{f':{self.line}' if self.line else ''}"


class Value(Generic[T_co]):
    """A value. `others` are further possible values if the evidence is ambiguous."""

    __slots__ = ("evidence", "others", "value")

    def __init__(self, value: T_co, evidence: Evidence, others: Tuple[T_co, ...] = ()) -> None:
        self.value, self.evidence, self.others = value, evidence, others

    def then(self, read: Callable[[T_co], U]) -> Observation[U]:
        """Apply `read` to the value and to `others`.

        Returns unknown (malformed) if `read` raises ValueError or LookupError.
        """
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
    """An absence: every source was read and does not contain the thing.

    The evidence names the sources. `say` adds a detail, for example the module that would provide the thing.
    """

    evidence: Evidence
    say: str = ""

    def then(self, read: object) -> Absent:  # noqa: ARG002 - the same call on every observation
        """Return the absence unchanged."""
        return self


class Unknown(NamedTuple):
    """An observation without a value: the fact could not be read.

    `reason` is one of REASONS. `say` is a sentence without a full stop. `look` is a hint how to make
    the fact readable. `may` has the values that remain possible, if some are not; the fact may also be absent.
    """

    reason: str
    say: str
    look: str = ""
    may: Union[Value[Union[str, int]], None] = None

    def then(self, read: object) -> Unknown:  # noqa: ARG002 - the same call on every observation
        """Return the unknown observation unchanged."""
        return self


if TYPE_CHECKING:
    Observation = Union[Value[T], Absent, Unknown]
    Lacking = Union[Absent, Unknown]
else:
    Observation = Lacking = Generic  # not a string, so that the code of a family can subscript it


def select_first(looks: Iterable[Observation[T]]) -> Observation[T]:
    """Return the first value of several observations, in their order.

    If there is none, return the first unknown observation, else an absence with the sources of all of them.
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


class Limits(NamedTuple):
    """Limits of a run, in seconds and bytes.

    The command line or the caller of the API makes one record, and the rooms get it as an argument. At a limit, an
    observation is unknown, or an image is refused. Bounds of a file format are constants of its parser.
    """

    run_seconds: float = 20.0  # All observations of a host, and writing its report.
    observation_seconds: float = 2.0  # One observation.
    peer_seconds: float = 1.5  # One operation of a socket, and the least limit of a program.
    pattern_seconds: float = 2.0  # One regular expression.
    output_bytes: int = 1 << 20  # The output of one program.
    layers: int = 512  # Layers of an image.
    unpacked_bytes: int = 64 << 30  # All compressed or piped layers of an image, counted for each reference.
    kept_bytes: int = 96 << 20  # Content of an image that is kept in memory.
    memory_bytes: int = 200 << 20  # Kept content and names of an image together.


DEFAULT_LIMITS = Limits()
IMAGE_SECONDS = 300.0  # The default of `run_seconds` for an image. It includes reading the image.
