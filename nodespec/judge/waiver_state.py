"""The state of waivers: which are valid, and which findings they permit to fail."""

from __future__ import annotations

from nodespec.formats.glob import matches_glob
from nodespec.judge.globs import GlobIndex
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.report import NO_WAIVER, Finding, Waiver

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Sequence, Tuple


class WaiverIndex:
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


def index_waivers(waivers: Sequence[Waiver]) -> WaiverIndex:
    """Return the index of waivers; reuse the last index for the same object.

    A memoized plan calls `assign_dispositions` for each finding separately.
    """
    if not _LAST_INDEX or _LAST_INDEX[0].waivers is not waivers:
        _LAST_INDEX[:] = [WaiverIndex(waivers)]
    return _LAST_INDEX[0]


_LAST_INDEX: List[WaiverIndex] = []


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
