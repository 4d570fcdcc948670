"""Derive the conclusion from findings: skipped, waived, advisory or enforced."""

from __future__ import annotations

from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.report import NO_WAIVER, Finding, Waiver
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import FrozenSet, Optional, Sequence, Tuple, Union

    from nodespec.judge.waiver_state import WaiverIndex
    from nodespec.model.plan import Requirement


class Choice(NamedTuple):
    """The requirements that the command line selects, and whether `--strict` is set.

    With `strict`, recommendations are enforced.
    """

    only: Tuple[str, ...] = ()
    skip: Tuple[str, ...] = ()
    strict: bool = False
    left: FrozenSet[str] = frozenset()  # ids that a stored report skipped, for any reason


def is_left_out(choice: Choice, requirement: Union[Requirement, Finding]) -> bool:
    """Return whether a requirement is skipped."""
    if not (choice.only or choice.skip):
        return requirement.id in choice.left
    from nodespec.judge.globs import is_selected  # noqa: PLC0415 - only needed for --only and --skip

    left, only = requirement.id in choice.left, choice.only
    return left or (bool(only) and not is_selected(only, requirement)) or is_selected(choice.skip, requirement)


def assign_dispositions(findings: Sequence[Finding], waivers: Sequence[Waiver], choice: Choice) -> Tuple[Finding, ...]:
    """Return the findings with their dispositions. Only valid waivers count."""
    if not waivers:
        return tuple(_assign_disposition(finding, None, choice) for finding in findings)
    from nodespec.judge.waiver_state import index_waivers  # noqa: PLC0415 - only needed for waivers

    permits = index_waivers(waivers)
    return tuple(_assign_disposition(finding, permits, choice) for finding in findings)


def _assign_disposition(finding: Finding, permits: Optional[WaiverIndex], choice: Choice) -> Finding:
    if finding.outcome == "skipped":
        return finding._replace(disposition="skipped")
    if permits and finding.outcome in ("fail", "unknown"):
        number = permits.find_first(finding.id)
        if number != NO_WAIVER:
            return finding._replace(disposition="waived", waiver=number)
    disposition = "advisory" if finding.level == "recommended" and not choice.strict else "enforced"
    if finding.disposition == disposition and finding.waiver == NO_WAIVER:
        return finding
    return finding._replace(disposition=disposition, waiver=NO_WAIVER)


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
