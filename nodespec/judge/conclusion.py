"""From findings to a conclusion: what is left out, waived, advisory or enforced, and what that comes to."""

from __future__ import annotations

import re
from typing import Callable, FrozenSet, List, Sequence, Tuple

from nodespec.model.report import Finding, Waiver
from nodespec.records import NamedTuple

NO_WAIVER = -1


class Choice(NamedTuple):
    """What the command line leaves out, and whether recommendations are enforced."""

    only: Tuple[str, ...] = ()
    skip: Tuple[str, ...] = ()
    strict: bool = False
    left: FrozenSet[str] = frozenset()  # ids that a stored report left out, whatever it was by


def selects(pattern: str, name: str) -> bool:
    """Whether a glob selects an id; `*` is the only wildcard and matches dots."""
    return bool(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL))


def left_out(choice: Choice, name: str) -> bool:
    """Whether a requirement is left out; a name also selects what stands beneath it."""

    def chosen(patterns: Sequence[str]) -> bool:
        return any(selects(one, name) or selects(f"{one}.*", name) for one in patterns)

    return name in choice.left or (bool(choice.only) and not chosen(choice.only)) or chosen(choice.skip)


def disposed(findings: Sequence[Finding], waivers: Sequence[Waiver], choice: Choice) -> Tuple[Finding, ...]:
    """The findings with their dispositions; a waiver counts only where its state is valid."""
    return tuple(_disposed(finding, waivers, choice) for finding in findings)


def _disposed(finding: Finding, waivers: Sequence[Waiver], choice: Choice) -> Finding:
    if finding.outcome == "skipped":
        return finding._replace(disposition="skipped")
    if finding.outcome in ("fail", "unknown"):
        for number, waiver in enumerate(waivers):
            if waiver.state == "valid" and any(selects(one, finding.id) for one in waiver.ids):
                return finding._replace(disposition="waived", waiver=number)
    advisory = finding.level == "recommended" and not choice.strict
    return finding._replace(disposition="advisory" if advisory else "enforced", waiver=NO_WAIVER)


def conclusion(findings: Sequence[Finding], context: str = "at rest") -> str:
    """What the enforced findings come to. Nothing required that passes is no conformance.

    What only a running machine can tell is left open at rest; of one that runs, as only a recording says it, it is not
    known.
    """
    unknown = {"unknown"} if context == "at rest" else {"unknown", "deferred"}
    enforced = [finding for finding in findings if finding.disposition == "enforced"]
    outcomes = {finding.outcome for finding in enforced}
    if "fail" in outcomes:
        return "nonconformant"
    passed = any(f.outcome == "pass" and f.level == "required" for f in enforced)
    return "conformant" if passed and not unknown & outcomes else "indeterminate"


def standing(waiver: Waiver, findings: Sequence[Finding], hosts: Sequence[str], today: str, built: str) -> Waiver:
    """A waiver with its state and days left, judged on the day `today`; before the day `built` no clock is believed."""
    from datetime import date  # noqa: PLC0415 - only where there are waivers

    days = (date.fromisoformat(waiver.expires) - date.fromisoformat(today)).days
    states: List[Tuple[str, Callable[[], bool]]] = [
        ("void", lambda: today < built),
        ("expired", lambda: days < 0),
        ("elsewhere", lambda: not any(selects(glob, host) for glob in waiver.hosts for host in hosts if host)),
        ("unmatched", lambda: not _named(waiver, findings)),
        ("unneeded", lambda: not any(f.outcome in ("fail", "unknown") for f in _named(waiver, findings))),
    ]
    state = next((name for name, holds in states if holds()), "valid")
    return waiver._replace(state=state, days=days + (days >= 0))


def _named(waiver: Waiver, findings: Sequence[Finding]) -> List[Finding]:
    return [finding for finding in findings if any(selects(one, finding.id) for one in waiver.ids)]
