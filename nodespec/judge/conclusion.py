"""Derive the conclusion from findings: skipped, waived, advisory or enforced."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.report import Finding, Waiver
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Dict, FrozenSet, Iterable, List, Optional, Sequence, Tuple

NO_WAIVER = -1


class Choice(NamedTuple):
    """The requirements that the command line selects, and whether `--strict` is set.

    With `strict`, recommendations are enforced.
    """

    only: Tuple[str, ...] = ()
    skip: Tuple[str, ...] = ()
    strict: bool = False
    left: FrozenSet[str] = frozenset()  # ids that a stored report skipped, for any reason


def matches_glob(pattern: str, name: str) -> bool:
    """Return whether a glob selects an id.

    `*` is the only wildcard; it also matches dots.
    """
    head, *others = pattern.split("*")
    if not others:
        return pattern == name
    *middle, tail = others
    at, end = len(head), len(name) - len(tail)
    if at > end or not name.startswith(head) or not name.endswith(tail):
        return False
    for part in middle:
        offset = name.find(part, at, end)
        if offset < 0:
            return False
        at = offset + len(part)
    return True


class GlobIndex:
    """An index of names for fast selection by globs.

    A glob is tested only on names that contain the longest of its literal parts.
    """

    def __init__(self, all_names: Iterable[str]) -> None:
        names = tuple(all_names)
        self.known = {name: None for name in names if "\n" not in name}
        self.others = tuple(name for name in names if "\n" in name)  # an id from a file name can contain any character
        self.text = "".join(f"{name}\n" for name in self.known)
        self.names = tuple(self.known)
        self.ends = tuple(accumulate(len(name) + 1 for name in self.known))

    def find_matches(self, pattern: str) -> List[str]:
        """Return the names that a glob selects, in their order."""
        others = [name for name in self.others if matches_glob(pattern, name)]
        if "*" not in pattern:
            return [*([pattern] if pattern in self.known else []), *others]
        part = max(pattern.split("*"), key=len)
        if not part:
            return [*self.names, *others]
        matches: List[str] = []
        at = self.text.find(part)
        while at >= 0:
            row = bisect_right(self.ends, at)
            if matches_glob(pattern, self.names[row]):
                matches.append(self.names[row])
            at = self.text.find(part, self.ends[row])
        return [*matches, *others]


def is_left_out(choice: Choice, name: str) -> bool:
    """Return whether a requirement is skipped. An id also selects the ids below it."""

    def chosen(patterns: Sequence[str]) -> bool:
        return any(matches_glob(pattern, name) or matches_glob(f"{pattern}.*", name) for pattern in patterns)

    return name in choice.left or (bool(choice.only) and not chosen(choice.only)) or chosen(choice.skip)


def assign_dispositions(findings: Sequence[Finding], waivers: Sequence[Waiver], choice: Choice) -> Tuple[Finding, ...]:
    """Return the findings with their dispositions. Only valid waivers count."""
    permits = _index_waivers(waivers) if waivers else None
    return tuple(_assign_disposition(finding, permits, choice) for finding in findings)


class _WaiverIndex:
    """Valid waivers, indexed by id, so that only globs are compared one by one."""

    def __init__(self, waivers: Sequence[Waiver]) -> None:
        self.waivers = waivers
        self.exact: Dict[str, int] = {}
        self.globs: List[Tuple[int, str]] = []
        for number, waiver in enumerate(waivers):
            for glob in waiver.ids if waiver.state == "valid" else ():
                if "*" in glob:
                    self.globs.append((number, glob))
                else:
                    self.exact.setdefault(glob, number)

    def find_first(self, name: str) -> int:
        """Return the index of the first waiver that permits an id to fail."""
        exact = self.exact.get(name, len(self.waivers))
        number = next((number for number, glob in self.globs if number < exact and matches_glob(glob, name)), exact)
        return number if number < len(self.waivers) else NO_WAIVER


def _index_waivers(waivers: Sequence[Waiver]) -> _WaiverIndex:
    """Return the index of waivers; reuse the last index for the same object.

    A memoized plan calls `assign_dispositions` for each finding separately.
    """
    if not _LAST_INDEX or _LAST_INDEX[0].waivers is not waivers:
        _LAST_INDEX[:] = [_WaiverIndex(waivers)]
    return _LAST_INDEX[0]


_LAST_INDEX: List[_WaiverIndex] = []


def _assign_disposition(finding: Finding, permits: Optional[_WaiverIndex], choice: Choice) -> Finding:
    if finding.outcome == "skipped":
        return finding._replace(disposition="skipped")
    if permits and finding.outcome in ("fail", "unknown"):
        number = permits.find_first(finding.id)
        if number != NO_WAIVER:
            return finding._replace(disposition="waived", waiver=number)
    advisory = finding.level == "recommended" and not choice.strict
    return finding._replace(disposition="advisory" if advisory else "enforced", waiver=NO_WAIVER)


def derive_conclusion(findings: Sequence[Finding], context: str = "at rest") -> str:
    """Return the conclusion of the enforced findings.

    A report in which no required requirement passes is not conformant. Deferred findings do not count for an offline
    host. For a running host they count as unknown; they occur there only in recordings.
    """
    unknown = {"unknown"} if context == "at rest" else {"unknown", "deferred"}
    enforced = [finding for finding in findings if finding.disposition == "enforced"]
    outcomes = {finding.outcome for finding in enforced}
    if "fail" in outcomes:
        return "nonconformant"
    passed = any(f.outcome == "pass" and f.level == "required" for f in enforced)
    return "conformant" if passed and not unknown & outcomes else "indeterminate"


class FindingIndex:
    """An index of findings for the globs of waivers."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = {finding.id: finding for finding in findings}
        self.names = GlobIndex(self.findings)

    def find_covered(self, waiver: Waiver) -> List[Finding]:
        """Return the findings that a waiver covers."""
        return [self.findings[id_] for glob in waiver.ids for id_ in self.names.find_matches(glob)]


def evaluate_waiver(waiver: Waiver, named: FindingIndex, hosts: Sequence[str], today: str, built: str) -> Waiver:
    """Return a waiver with its state and remaining days on the day `today`.

    A clock that shows a day before `built`, the day of the build, is not trusted. Days are in ISO 8601 format.
    """
    from datetime import date  # noqa: PLC0415 - needed only for waivers

    days = (date.fromisoformat(waiver.expires) - date.fromisoformat(today)).days
    states: List[Tuple[str, Callable[[], bool]]] = [
        ("void", lambda: today < built),
        ("expired", lambda: days < 0),
        ("elsewhere", lambda: not any(matches_glob(glob, host) for glob in waiver.hosts for host in hosts if host)),
        ("unmatched", lambda: not named.find_covered(waiver)),
        ("unneeded", lambda: not any(f.outcome in ("fail", "unknown") for f in named.find_covered(waiver))),
    ]
    state = next((name for name, holds in states if holds()), "valid")
    return waiver._replace(state=state, days=days + (days >= 0))
