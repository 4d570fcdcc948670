"""Compare two reports of one node: what both decided must agree, or have a written reason."""

from __future__ import annotations

import re
from collections import Counter
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple, Sequence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodespec.model.report import Finding, Part, Report

DECIDED = ("pass", "fail", "not-applicable")


class Difference(NamedTuple):
    """Where the two may differ: a pattern of places, what each then says (a regular expression), and why.

    One that shows nowhere is an error.
    """

    place: str
    first: str
    second: str
    why: str

    def meets(self, place: str, first: str, second: str) -> bool:
        said = re.fullmatch(self.first, first) and re.fullmatch(self.second, second)
        return bool(said) and fnmatchcase(place, self.place)


def compared(title: str, first: Report, second: Report, allowed: Sequence[Difference], *, least: int) -> Iterator[str]:
    """What differs for no reason, which reasons are needless, and that fewer than `least` were decided by both."""
    count: Counter[str] = Counter()
    used: dict[Difference, set[str]] = {}
    there = {finding.id: finding for finding in second.findings}
    if list(there) != [finding.id for finding in first.findings]:
        yield f"{title}: not the same requirements"
        return
    for finding in first.findings:
        wrong, reasons = _judged(finding, there[finding.id], allowed)
        for place, reason in reasons:
            used.setdefault(reason, set()).add(place)
        count[_kind(finding, there[finding.id], wrong=bool(wrong), explained=bool(reasons))] += 1
        yield from (f"{title}: {finding.id}: {one}" for one in wrong)
    for reason, places in used.items():
        print(f"differs  {title}: {', '.join(sorted(places))}: {reason.why}")
    both = count["agree"] + count["explained"] + count["wrong"]
    print(
        f"{title}: {len(there)} requirements; decided by both {both} (at least {least} required): "
        f"{count['agree']} agree, {count['explained']} differ for a written reason, {count['wrong']} for none; "
        f"left open {count['open']}, not applicable {count['not-applicable']}"
    )
    yield from (f"{title}: needless: {one.place}: {one.why}" for one in allowed if one not in used)
    if both < least:
        yield f"{title}: only {both} are decided by both"


def _kind(one: Finding, other: Finding, *, wrong: bool, explained: bool) -> str:
    if wrong:
        return "wrong"
    if explained:
        return "explained"
    if one.outcome == other.outcome == "not-applicable":
        return "not-applicable"
    return "agree" if {one.outcome, other.outcome} <= set(DECIDED) else "open"


def _judged(
    one: Finding, other: Finding, allowed: Sequence[Difference]
) -> tuple[list[str], list[tuple[str, Difference]]]:
    """What differs for no reason, and the reasons of what differs for one, each with its place."""
    reasons, wrong = [], []
    theirs = {(part.place, part.expected): part for part in other.parts}
    for part in one.parts:
        match = theirs.get((part.place, part.expected))
        said, answered = told(part), told(match or part)  # a place that was not observed is not a difference
        if said != answered and "deferred" not in (said, answered):
            known = next((reason for reason in allowed if reason.meets(part.place, said, answered)), None)
            if known:
                reasons.append((part.place, known))
            else:
                wrong.append(f"{part.place}: {said}; {answered}")
    if one.outcome != other.outcome and "deferred" not in (one.outcome, other.outcome) and not reasons and not wrong:
        wrong.append(f"{one.outcome}: {one.sentence}; {other.outcome}: {other.sentence}")
    return wrong, reasons


def told(part: Part) -> str:
    """What was observed: a value's text, `absent`, `unknown: ` and why, or `deferred`."""
    seen = part.observed
    return seen.text if seen.state == "value" else f"unknown: {seen.text}" if seen.state == "unknown" else seen.state
