"""The report: what a run found, as plain records that every renderer reads and JSON carries unchanged."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Callable, Dict, Mapping, Sequence, Tuple, cast

from nodespec.errors import DEFECT, EXIT
from nodespec.model.observation import Evidence
from nodespec.model.plan import Spec
from nodespec.model.subject import Host
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Protocol

    from nodespec.model.json_types import Json

    class Concluded(Protocol):
        """What a line about several hosts needs of each: a report, or the gist of one."""

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
    Concluded = object  # only checkers read it


OUTCOMES = ("fail", "unknown", "deferred", "not-applicable", "skipped", "pass")  # as a reader wants them
DISPOSITIONS = ("enforced", "advisory", "waived", "skipped")
LEVELS = ("required", "recommended")


class Observed(NamedTuple):
    """An observation. `state` is value, absent, unknown or deferred; `text` says it in words.

    A value has `value`, and `others` where it may be one of several; unknown has `reason` and `look`, what would help.
    """

    state: str
    text: str
    value: Json = None
    others: Tuple[Json, ...] = ()
    reason: str = ""
    look: str = ""


class Part(NamedTuple):
    """One expectation of one fact: a plain requirement has one part, a rule several."""

    place: str
    expected: str
    observed: Observed
    evidence: Tuple[Evidence, ...]
    outcome: str


class Finding(NamedTuple):
    """What came of one requirement. `source` is where the specs say it, as file:line:column."""

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
    waiver: int = -1  # which of the report's waivers permits it to fail


class Cause(NamedTuple):
    """Several findings with one cause. `outcome` is theirs."""

    outcome: str
    say: str
    look: str
    ids: Tuple[str, ...]


class Waiver(NamedTuple):
    """A permission to fail, and what became of it.

    `state` is valid, expired, elsewhere (other hosts), unmatched (no such requirement), unneeded (nothing fails)
    or void (the clock is not to be believed); `days` are left, the day of expiry included.
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
    """A parameter as bound. `source` is default, default (running), default (at rest) or set."""

    name: str
    value: str
    source: str
    why: str = ""


class Report(NamedTuple):
    """One host, judged."""

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
    notices: Tuple[str, ...] = ()  # said before anything else
    strict: bool = False
    asked: int = 0  # of a partial report: how many requirements, after --only and --skip
    plan: Json = None  # the resolved specs, so that the report can be verified
    facts: Json = None  # all that was observed, likewise
    only: Tuple[str, ...] = ()  # the globs of --only
    skip: Tuple[str, ...] = ()  # the globs of --skip
    defect: str = ""  # why nodespec could not judge the host; then all is unknown

    @property
    def exit(self) -> int:
        """The exit code that this report alone gives."""
        return DEFECT if self.defect else EXIT[self.conclusion]

    @property
    def partial(self) -> bool:
        """Whether requirements were left out on the command line."""
        return any(finding.disposition == "skipped" for finding in self.findings)

    def chosen(self, outcome: str, disposition: str) -> Tuple[Finding, ...]:
        """The findings with that outcome and disposition."""
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
        otherwise = "all pass" if self.conclusion == "conformant" else "nothing required passes"
        said = ", ".join(f"{n} {_plural(word, n)}" for n, word in parts if n) or otherwise
        total = len(self.findings)
        all_of = f"{total} {_plural('requirement', total)}"
        of = f"the {self.asked} of {all_of} asked for" if self.partial else all_of
        at_rest = " at rest" if self.context == "at rest" else ""
        failed = f"not judged (exit {DEFECT}), " if self.defect else ""
        return f"{self.conclusion}{at_rest}: {failed}{said}; {of}"


def _plural(word: str, count: int) -> str:
    return f"{word}s" if word in ("warning", "requirement") and count != 1 else word


def code(reports: Sequence[Concluded]) -> int:
    """The exit code of several reports: the worst. A defect hides no verdict, but outweighs too little knowledge."""
    return max((report.exit for report in reports), key=(0, 11, DEFECT, 10).index, default=0)


def packed(reports: Sequence[Report]) -> Dict[str, Json]:
    """Reports as the JSON document that every tool reads."""
    return {"nodespec": 1, "reports": [_packed(report) for report in reports]}


def _packed(item: object) -> Json:
    record = getattr(item, "_asdict", None)
    if record:
        return {name: _packed(value) for name, value in cast("Dict[str, object]", record()).items()}
    if isinstance(item, (tuple, list)):
        return [_packed(value) for value in item]
    return cast("Json", item)


def unpacked(document: Mapping[str, Json]) -> Tuple[Report, ...]:
    """Reports read back; KeyError or TypeError where the document is not one that `packed` made."""
    return cast("Tuple[Report, ...]", _field("reports", document["reports"]))


RECORDS = {
    "reports": Report,
    "host": Host,
    "specs": Spec,
    "params": Param,
    "waivers": Waiver,
    "causes": Cause,
    "findings": Finding,
    "parts": Part,
    "observed": Observed,
    "evidence": Evidence,
}
VERBATIM = ("plan", "facts", "value")


def _field(name: str, value: Json) -> object:
    kind = RECORDS.get(name)
    if name in VERBATIM:
        return value
    if isinstance(value, list):
        return tuple(_made(kind, item) if kind else item for item in value)
    return _made(kind, value) if kind else value


def waiver(data: Json) -> Waiver:
    """A waiver read back from JSON."""
    return cast("Waiver", _made(Waiver, data))


def listed(waiver_: Waiver) -> Json:
    """A waiver as JSON."""
    return _packed(waiver_)


def _made(kind: Callable[..., object], data: Json) -> object:
    if not isinstance(data, dict):
        raise TypeError(f"{data!r} is no {kind}")
    return kind(**{name: _field(name, value) for name, value in data.items()})


class Style(NamedTuple):
    """How a report is wanted by who reads it; only text heeds it all."""

    colour: bool = False
    every: bool = False  # passes are listed too
    width: int = 100
