"""The common text of the formats for people: sections, evidence, state of waivers."""

from __future__ import annotations

import re

from nodespec.errors import DEFECT, EXIT
from nodespec.judge.clause_result import describe_absence_reason, describe_absent_alternatives
from nodespec.light_typing import TYPE_CHECKING, TypeVar, cast
from nodespec.model.observation import Evidence
from nodespec.model.report import Cause, Concluded, Finding, Part, Report, Waiver, compute_exit_code
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Dict, Hashable, List, Sequence, Tuple

T = TypeVar("T")

FAIL, UNKNOWN, WARNING, WAIVED = "fail", "unknown", "warning", "waived"
DEFERRED, SKIPPED, NOT_APPLICABLE, PASS = "deferred", "skipped", "not-applicable", "pass"
# In the order in which a reader needs them.
SECTIONS = (FAIL, UNKNOWN, WARNING, WAIVED, DEFERRED, SKIPPED, NOT_APPLICABLE, PASS)
SECTION_BY_RESULT = {
    ("fail", "enforced"): FAIL,
    ("fail", "advisory"): WARNING,
    ("fail", "waived"): WAIVED,
    ("fail", "skipped"): SKIPPED,
    ("unknown", "enforced"): UNKNOWN,
    ("unknown", "advisory"): WARNING,
    ("unknown", "waived"): WAIVED,
    ("unknown", "skipped"): SKIPPED,
    ("deferred", "enforced"): DEFERRED,
    ("deferred", "advisory"): DEFERRED,
    ("deferred", "waived"): DEFERRED,
    ("deferred", "skipped"): SKIPPED,
    ("not-applicable", "enforced"): NOT_APPLICABLE,
    ("not-applicable", "advisory"): NOT_APPLICABLE,
    ("not-applicable", "waived"): NOT_APPLICABLE,
    ("not-applicable", "skipped"): SKIPPED,
    ("skipped", "enforced"): SKIPPED,
    ("skipped", "advisory"): SKIPPED,
    ("skipped", "waived"): SKIPPED,
    ("skipped", "skipped"): SKIPPED,
    ("pass", "enforced"): PASS,
    ("pass", "advisory"): PASS,
    ("pass", "waived"): PASS,
    ("pass", "skipped"): SKIPPED,
}
CONCLUSION_BY_CODE = {**{number: conclusion for conclusion, number in EXIT.items()}, DEFECT: "indeterminate"}
# The only links in a report: web pages whose host is written out, without a user name before it.
LINK = r"https?://[A-Za-z0-9][\w.-]*(?::\d+)?(?:[/?#][\w.~:/?#@!$&'()*+,;=%\[\]-]*)?"


def is_link(text: str) -> bool:
    """Return whether a text is a link that a browser may open."""
    return re.fullmatch(LINK, text, re.ASCII) is not None


SEARCH_PATH = r"(?:/[\w./-]+:){2,}/[\w./-]+"  # directories in which programs are searched


def escape_record(item: T, escape: Callable[[str], str]) -> T:
    """Return a record with every text in it escaped, at any depth.

    So no renderer can omit the escaping of a field. JSON values are unchanged.
    """
    if not isinstance(item, tuple):
        return cast("T", escape(item)) if isinstance(item, str) else item
    inner = [
        escape(one) if isinstance(one, str) else escape_record(one, escape) if one and isinstance(one, tuple) else one
        for one in item
    ]
    # This also creates a record, whatever its fields are.
    return tuple.__new__(type(item), inner)


def group_by_section(report: Report) -> Dict[str, List[Finding]]:
    """Return findings by section, in the order of the spec.

    Failures precede unknowns.
    """
    sections: Dict[str, List[Finding]] = {section: [] for section in SECTIONS}
    for finding in sorted(report.findings, key=lambda one: one.outcome == "unknown"):
        sections[SECTION_BY_RESULT[finding.outcome, finding.disposition]].append(finding)
    return sections


# Head


def format_subject(report: Report) -> str:
    """Return which host was judged by which specs, and how it was accessed."""
    host = report.host
    how = [report.context]
    how += [f"--{report.door}"] if report.door != "live" else []
    how += [f"as {host.user}"] if host.user else []
    how += [f"in {host.container}"] if host.container else []
    how += ["recommendations enforced"] if report.strict else []
    return f"{format_names(report)} on {host.name or 'a host without a name'} ({', '.join(how)})"


def format_names(report: Report) -> str:
    """Return the names of the given specs."""
    return " + ".join(spec.name for spec in report.specs)


def format_machine(report: Report) -> str:
    """Return operating system, kernel and architecture of the host."""
    host = report.host
    return ", ".join(
        one for one in (host.os, format_kernel(report) and f"kernel {format_kernel(report)}", host.arch) if one
    )


def format_kernel(report: Report) -> str:
    """Return the running kernel, and that of the next boot if it differs."""
    host = report.host
    return f"{host.kernel} (the next boot starts {host.next})" if host.next else host.kernel


def format_params(report: Report) -> str:
    """Return the parameters, with the source of each value that is not the default."""
    return ", ".join(f"{param.name}={param.value}{_format_source(param.source)}" for param in report.params)


def _format_source(source: str) -> str:
    """Return the source of a parameter's value, unless it is its only default."""
    return "" if source == "default" else f" ({source.replace('(', '').replace(')', '')})"


def format_judged(report: Report) -> str:
    """Return when the report was judged, and by which tool."""
    return f"{report.time} by {report.tool}"


def format_advice(reports: Sequence[Concluded]) -> str:
    """Return the meaning of the exit code as advice: whether to join the host, or to ship the image."""
    number_ = compute_exit_code(reports)
    at_rest = all(report.context == "at rest" for report in reports)
    refusal = "do not ship" if at_rest else "do not join"
    if number_ == DEFECT:
        return f"{refusal}: nodespec failed to judge {format_count(sum(bool(one.defect) for one in reports), 'host')}"
    if number_:
        return refusal if CONCLUSION_BY_CODE[number_] == "nonconformant" else f"{refusal}: too little is known"
    if any(report.context == "at rest" for report in reports):
        return "fit at rest; deferred requirements need the running machine"
    return "fit, for the selected requirements" if any(report.partial for report in reports) else "fit to join"


def format_count(count: int, noun: str = "requirement") -> str:
    """Return a count with its noun."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


# Findings


def select_deciding_parts(finding: Finding) -> Tuple[Part, ...]:
    """Return the parts that decide the outcome of the finding."""
    return tuple(part for part in finding.parts if part.outcome == finding.outcome) or finding.parts


def format_part(part: Part) -> str:
    """Return a part in one line."""
    lead = {"unknown": "not known: ", "deferred": ""}.get(part.observed.state, "found ")
    return f"wanted {part.expected}, {lead}{part.observed.text}"


def format_origin(evidence: Evidence) -> str:
    """Return where an observation comes from."""
    source = re.sub(SEARCH_PATH, "the search path", evidence.source, flags=re.ASCII)
    place = f"{source}:{evidence.line}" if evidence.line else source
    return f"inferred from {place}" if evidence.inferred else place


def format_failing_rows(finding: Finding, limit: int) -> str:
    """Return the first rows that made a quantified rule fail; empty for any other finding."""
    if not finding.sentence.startswith(("every row", "some row")):
        return ""
    rows = [f"{part.place} {format_part(part)}" for part in select_deciding_parts(finding)]
    more = (f"and {len(rows) - limit} more",) if len(rows) > limit else ()
    return "; ".join((*rows[:limit], *more))


def format_position(finding: Finding) -> str:
    """Return the file and line of a failure, or an empty string if it is not in one line of a file."""
    places = {(one.source, one.line) for part in select_deciding_parts(finding) for one in part.evidence}
    source, line = next(iter(places)) if len(places) == 1 else ("", 0)
    return f"{source}:{line}" if line else ""


def format_evidence(finding: Finding) -> List[str]:
    """Return the evidence of a finding, and the parts that its sentence omits."""
    parts = select_deciding_parts(finding)
    if len(finding.parts) == 1:
        return [where] if (where := _format_origins(parts[0])) else []
    together: Dict[str, List[str]] = {}
    for part in parts:
        parts_text = part.place if part.place in finding.sentence else f"{part.place} {format_part(part)}"
        together.setdefault(_format_origins(part), []).append(parts_text)
    return [", ".join(parts_text) + (f": {where}" if where else "") for where, parts_text in together.items()]


def _format_origins(part: Part) -> str:
    return ", ".join(map(format_origin, part.evidence))


def format_hints(finding: Finding) -> str:
    """Return the hints: what would let nodespec observe the facts."""
    return "; ".join(dict.fromkeys(part.observed.look for part in select_deciding_parts(finding) if part.observed.look))


class CauseGroup(NamedTuple):
    """Findings with a common cause."""

    cause: Cause
    findings: Tuple[Finding, ...]


def group_by_cause(report: Report, findings: Sequence[Finding]) -> Tuple[List[CauseGroup], List[Finding]]:
    """Split findings into groups with a common cause, and the others."""
    groups = [
        CauseGroup(cause, tuple(one for one in findings if one.outcome == cause.outcome and one.id in set(cause.ids)))
        for cause in report.causes
    ]
    groups = [group for group in groups if len(group.findings) > 1]
    grouped_ids = {finding.id for group in groups for finding in group.findings}
    return groups, [finding for finding in findings if finding.id not in grouped_ids]


class Block(NamedTuple):
    """Failures with the same observation: one sentence for all of them, and their distinct fixes."""

    findings: Tuple[Finding, ...]
    sentence: str
    fixes: Tuple[str, ...]


def group_by_observation(findings: Sequence[Finding]) -> List[Block]:
    """Return the findings in blocks, in the order of each block's first finding."""
    groups: Dict[Hashable, List[Finding]] = {}
    for finding in findings:
        groups.setdefault(_observation_key(finding), []).append(finding)
    return [
        Block(tuple(members), _describe_block(members), tuple(dict.fromkeys(f.fix for f in members if f.fix)))
        for members in groups.values()
    ]


def _observation_key(finding: Finding) -> Hashable:
    """Return what was observed: the reasons if everything is absent for a reason, else places and values."""
    parts = select_deciding_parts(finding)
    reasons = [describe_absence_reason(part) for part in parts]
    if reasons and all(reasons):
        return frozenset(reasons)
    return tuple((part.place, part.observed.text) for part in parts) or finding.id


def _describe_block(findings: Sequence[Finding]) -> str:
    sentences = list(dict.fromkeys(map(shorten_sentence, findings)))
    reasons = dict.fromkeys(describe_absence_reason(part) for part in select_deciding_parts(findings[0]))
    if len(sentences) == 1 or sentences[0].startswith("no "):
        return sentences[0]
    return "; ".join(filter(None, reasons)) or "; ".join(sentences)


def shorten_sentence(finding: Finding) -> str:
    """Return the sentence of a finding; that of a report by nodespec 0.1 names alternatives by their common noun."""
    parts = [(*part.place.split("."), "", "") for part in finding.parts]
    if not finding.sentence.startswith("none of: ") or len({family for family, *_ in parts}) != 1:
        return finding.sentence
    alternatives = [(place[1], place[2], part) for place, part in zip(parts, finding.parts) if part.outcome != "pass"]
    return describe_absent_alternatives(parts[0][0], alternatives, {}) or finding.sentence


# Waivers


def list_waivers(report: Report) -> List[Tuple[Waiver, List[Finding]]]:
    """Return every waiver with the findings that it permits to fail."""
    return [
        (
            waiver,
            [finding for finding in report.findings if finding.disposition == "waived" and finding.waiver == index],
        )
        for index, waiver in enumerate(report.waivers)
    ]


def list_unwaived(report: Report) -> List[Finding]:
    """Return waived findings without a waiver in the report.

    Only a report that was edited by hand has them.
    """
    numbers = range(len(report.waivers))
    return [finding for finding in group_by_section(report)[WAIVED] if finding.waiver not in numbers]


def format_waiver_state(waiver: Waiver) -> str:
    """Return the state of a waiver in words."""
    days = format_count(abs(waiver.days), "day")
    return {
        "valid": f"until {waiver.expires}, {days} left",
        "expired": f"expired on {waiver.expires}, {days} ago",
        "elsewhere": f"for other hosts: {', '.join(waiver.hosts)}",
        "unmatched": "matches no requirement of these specs",
        "unneeded": "not needed: no requirement that it matches fails",
        "void": "void: the clock is before the build date of nodespec",
    }[waiver.state]


def format_coverage(waiver: Waiver, report: Report) -> str:
    """Return how many requirements each glob of a waiver covers; empty without globs.

    A short glob may cover many.
    """
    from nodespec.judge.globs import matches_glob  # noqa: PLC0415 - only needed for waivers

    globs = [glob for glob in waiver.ids if "*" in glob]
    counts = [f"{glob} covers {sum(matches_glob(glob, finding.id) for finding in report.findings)}" for glob in globs]
    return f"{', '.join(counts)} of {format_count(len(report.findings), 'requirement')}" if counts else ""


def format_permission(waiver: Waiver) -> str:
    """Return the reason of a waiver, its owner and its source."""
    return f"{waiver.reason} ({waiver.owner}, {waiver.source})"
