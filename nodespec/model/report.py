"""The report of a run, and the host that it is about: plain records that all renderers read and JSON stores."""

from __future__ import annotations

from collections import Counter

from nodespec.errors import DEFECT, EXIT
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence
from nodespec.model.plan import Spec
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Mapping, Protocol, Sequence, Tuple

    from nodespec.model.json_types import Json

    class Concluded(Protocol):
        """The fields that a summary line of several hosts needs: a report or a gist."""

        @property
        def context(self) -> str: ...
        @property
        def conclusion(self) -> str: ...
        @property
        def exit(self) -> int: ...
        @property
        def partial(self) -> bool: ...
        @property
        def defect(self) -> str: ...
        @property
        def headline(self) -> str: ...
else:
    Concluded = object  # used only in annotations, which type checkers read


OUTCOMES = ("fail", "unknown", "deferred", "not-applicable", "skipped", "pass")  # in the order of a report
DISPOSITIONS = ("enforced", "advisory", "waived", "skipped")
LEVELS = ("required", "recommended")
NO_WAIVER = -1


HEAD_FACTS: Mapping[str, Tuple[str, ...]] = {  # field of Host -> path of the fact that it repeats
    "os": ("os", "pretty_name"),
    "kernel": ("kernel", "release"),
    "next": ("kernel", "next"),
    "arch": ("kernel", "arch"),
    "container": ("os", "container"),
}


class Host(NamedTuple):
    """The host of a report.

    `id` is derived from the machine-id and does not reveal it.
    """

    name: str
    id: str = ""
    os: str = ""
    kernel: str = ""
    arch: str = ""
    container: str = ""
    user: str = ""  # the user of the process: root, or uid 1000
    next: str = ""  # release of the kernel that the next boot starts, if another kernel runs
    product: str = ""  # derived like `id`, from product_uuid of the firmware
    addresses: str = ""  # derived like `id`, from each hardware address, separated by spaces


class Seat(NamedTuple):
    """How a host is accessed.

    `context` is running or at rest. `door` is the access, for example live or root DIR.
    """

    context: str
    door: str
    host: Host
    notices: Tuple[str, ...] = ()


class Observed(NamedTuple):
    """An observation as a report shows it.

    `state` is value, absent, unknown or deferred; `text` is for people. A value has `value`, and `others` if it is
    ambiguous. An unknown observation has `reason` and `look`, a hint.
    """

    state: str
    text: str
    value: Json = None
    others: Tuple[Json, ...] = ()
    reason: str = ""
    look: str = ""


class Part(NamedTuple):
    """One expectation of one fact. A plain requirement has one part, a rule several."""

    place: str
    expected: str
    observed: Observed
    evidence: Tuple[Evidence, ...]
    outcome: str


class Finding(NamedTuple):
    """The result of one requirement.

    `source` holds the positions in the specs that state it, as file:line:column.
    """

    id: str
    level: str
    outcome: str
    disposition: str
    sentence: str
    why: str
    fix: str
    see: str
    source: Tuple[str, ...]
    parts: Tuple[Part, ...]
    waiver: int = NO_WAIVER  # index of the waiver in the report that permits the failure
    tags: Tuple[str, ...] = ()  # of the requirement, such as CIS-4.1.5


class Cause(NamedTuple):
    """Several findings with one cause. `outcome` is the outcome of each of them."""

    outcome: str
    say: str
    look: str
    ids: Tuple[str, ...]


class Waiver(NamedTuple):
    """A permission to fail, and its state.

    `state` is valid, expired, elsewhere (other hosts), unmatched (requirement not found), unneeded (nothing fails)
    or void (the clock is not trusted). `days` counts the remaining days, including the day of expiry.
    """

    ids: Tuple[str, ...]
    hosts: Tuple[str, ...]
    reason: str
    owner: str
    expires: str
    source: str
    state: str = "valid"
    days: int = 0


class Param(NamedTuple):
    """A parameter as bound.

    `source` is default, default (running), default (at rest) or set.
    """

    name: str
    value: str
    source: str
    why: str = ""


class Report(NamedTuple):
    """The result of judging one host."""

    conclusion: str
    context: str  # running or at rest
    door: str  # live, root DIR, image PATH or facts FILE
    time: str  # of judging, ISO 8601 in UTC
    tool: str  # nodespec and its version
    host: Host
    specs: Tuple[Spec, ...]
    params: Tuple[Param, ...]
    waivers: Tuple[Waiver, ...]
    findings: Tuple[Finding, ...]
    causes: Tuple[Cause, ...] = ()
    notices: Tuple[str, ...] = ()  # printed before anything else
    strict: bool = False
    asked: int = 0  # number of requirements that remain after --only and --skip
    plan: Json = None  # the resolved specs, so that the report can be verified
    facts: Json = None  # all observations, for the same reason
    only: Tuple[str, ...] = ()  # the globs of --only
    skip: Tuple[str, ...] = ()  # the globs of --skip
    defect: str = ""  # why nodespec could not judge the host; every requirement is then unknown

    @property
    def exit(self) -> int:
        """The exit code of this report alone."""
        return DEFECT if self.defect else EXIT[self.conclusion]

    @property
    def partial(self) -> bool:
        """Whether requirements were left out on the command line."""
        return any(finding.disposition == "skipped" for finding in self.findings)

    def select_findings(self, outcome: str, disposition: str) -> Tuple[Finding, ...]:
        """Return the findings with this outcome and disposition."""
        return tuple(f for f in self.findings if (f.outcome, f.disposition) == (outcome, disposition))

    @property
    def headline(self) -> str:
        """The conclusion in one line, with its counts."""
        count = Counter((finding.outcome, finding.disposition) for finding in self.findings)
        waived = sum(count[o, "waived"] for o in ("fail", "unknown"))
        parts = [
            (count["fail", "enforced"], "fail"),
            (count["unknown", "enforced"], "unknown"),
            (sum(count[o, "advisory"] for o in ("fail", "unknown")), "warning"),
            (waived, "waived"),
            (sum(count["deferred", d] for d in DISPOSITIONS), "deferred"),
        ]
        otherwise = "all pass" if self.conclusion == "conformant" else "no required requirement passes"
        counts = ", ".join(f"{n} {_pluralize(word, n)}" for n, word in parts if n) or otherwise
        total = len(self.findings)
        all_of = f"{total} {_pluralize('requirement', total)}"
        of = f"{self.asked} of {all_of} selected" if self.partial else all_of
        at_rest = " at rest" if self.context == "at rest" else ""
        failed = f"not judged (exit {DEFECT}), " if self.defect else ""
        return f"{self.conclusion}{at_rest}: {failed}{counts}; {of}"


def _pluralize(word: str, count: int) -> str:
    return f"{word}s" if word in ("warning", "requirement") and count != 1 else word


def compute_exit_code(reports: Sequence[Concluded]) -> int:
    """Return the exit code of several reports: the worst.

    The order is 10 (nonconformant), 70 (defect), 11 (indeterminate), 0.
    """
    return max((report.exit for report in reports), key=(0, 11, DEFECT, 10).index, default=0)


class Style(NamedTuple):
    """Options of a rendered report. Only the text format uses all of them."""

    colour: bool = False
    every: bool = False  # also list requirements that pass
    width: int = 100
    links: bool = False  # the terminal shows links (OSC 8)
