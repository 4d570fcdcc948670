"""Render the report as JUnit XML: a suite a host, a case a requirement.

An enforced failure is a failure, and an enforced unknown an error. All others that did not pass are skipped, and the
type names their outcome: JUnit has no element for a warning, a waiver or a deferred requirement.
"""

from __future__ import annotations

from nodespec.escape import escape_line
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.report import Finding, Report, Style
from nodespec.records import NamedTuple
from nodespec.reports import words

if TYPE_CHECKING:
    from typing import Iterator, List, Mapping, Sequence, Tuple

FAILURE, ERROR, SKIPPED, PASSED = "failure", "error", "skipped", ""
ELEMENT = {
    ("fail", "enforced"): (FAILURE, "fail"),
    ("fail", "advisory"): (SKIPPED, "advisory fail"),
    ("fail", "waived"): (SKIPPED, "waived fail"),
    ("fail", "skipped"): (SKIPPED, "skipped fail"),
    ("unknown", "enforced"): (ERROR, "unknown"),
    ("unknown", "advisory"): (SKIPPED, "advisory unknown"),
    ("unknown", "waived"): (SKIPPED, "waived unknown"),
    ("unknown", "skipped"): (SKIPPED, "skipped unknown"),
    ("deferred", "enforced"): (SKIPPED, "deferred"),
    ("deferred", "advisory"): (SKIPPED, "advisory deferred"),
    ("deferred", "waived"): (SKIPPED, "waived deferred"),
    ("deferred", "skipped"): (SKIPPED, "skipped deferred"),
    ("not-applicable", "enforced"): (SKIPPED, "not-applicable"),
    ("not-applicable", "advisory"): (SKIPPED, "advisory not-applicable"),
    ("not-applicable", "waived"): (SKIPPED, "waived not-applicable"),
    ("not-applicable", "skipped"): (SKIPPED, "skipped not-applicable"),
    ("skipped", "enforced"): (SKIPPED, "skipped"),
    ("skipped", "advisory"): (SKIPPED, "advisory skipped"),
    ("skipped", "waived"): (SKIPPED, "waived skipped"),
    ("skipped", "skipped"): (SKIPPED, "skipped"),
    ("pass", "enforced"): (PASSED, ""),
    ("pass", "advisory"): (PASSED, "advisory pass"),
    ("pass", "waived"): (PASSED, "waived pass"),
    ("pass", "skipped"): (SKIPPED, "skipped pass"),
}
MARKUP = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&quot;"}


def render(reports: Sequence[Report], style: Style) -> str:  # noqa: ARG001 - all renderers have the same parameters
    """Render the document in ASCII, so that it is valid in any encoding."""
    suites = [Suite(words.escape_record(report, escape_line), number) for number, report in enumerate(reports)]
    total = {
        name: str(sum(suite.count_cases(kind) for suite in suites))
        for name, kind in COUNT_ATTRIBUTES
        if kind != SKIPPED
    }
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', _render_tag("testsuites", {"name": "nodespec", **total})]
    for suite in suites:
        lines += suite.render_lines()
    text = "\n".join([*lines, "</testsuites>", ""])
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


ANY_KIND = "all"
COUNT_ATTRIBUTES = (("tests", ANY_KIND), ("failures", FAILURE), ("errors", ERROR), ("skipped", SKIPPED))


class Suite(NamedTuple):
    """The suite of one host.

    It has no duration, since a fact is observed once for all requirements.
    """

    report: Report
    number: int

    def count_cases(self, kind: str) -> int:
        """Return the count of cases of a kind."""
        return sum(kind in (ANY_KIND, _select_element(finding)[0]) for finding in self.report.findings)

    def render_lines(self) -> Iterator[str]:
        """Yield the XML of the suite."""
        report = self.report
        specs = words.format_names(report)
        yield _render_tag(
            "testsuite",
            {
                "name": f"{specs} on {report.host.name}",
                **{name: str(self.count_cases(kind)) for name, kind in COUNT_ATTRIBUTES},
                "hostname": report.host.name,
                "timestamp": report.time.removesuffix("Z"),  # The format requires UTC without the letter.
                "id": str(self.number),
            },
        )
        yield "<properties>"
        for name, value in _list_properties(report):
            yield _render_tag("property", {"name": name, "value": value}, empty=True)
        yield "</properties>"
        for finding in report.findings:
            yield from _render_case(report, finding, specs)
        lines = [report.headline, *report.notices, *_list_notes(report)]
        yield f"<system-out>{_escape_markup(chr(10).join(lines))}</system-out>"
        yield "</testsuite>"


def _list_properties(report: Report) -> Iterator[Tuple[str, str]]:
    yield from (("conclusion", report.conclusion), ("context", report.context), ("door", report.door))
    yield from ((f"host {name}", value) for name, value in zip(report.host._fields, report.host) if value)
    yield "tool", report.tool
    yield "strict", "true" if report.strict else "false"
    for spec in report.specs:
        yield f"spec {spec.name}", f"sha256:{spec.digest}"
    for param in report.params:
        yield f"param {param.name}", param.value


def _list_notes(report: Report) -> Iterator[str]:
    """Yield notes that belong to no case.

    They are waivers, drops, unsupported parts of a foreign spec, and passes of recommendations.
    """
    for disposition in ("advisory", "waived"):
        if passes := report.select_findings("pass", disposition):
            yield f"{ELEMENT['pass', disposition][1]}: {', '.join(one.id for one in passes)}"
    for waiver, _ in words.list_waivers(report):
        covered = words.format_coverage(waiver, report)
        wide = f"; {covered}" if covered else ""
        state = f"{words.format_waiver_state(waiver)}: {words.format_permission(waiver)}"
        yield f"waiver {', '.join(waiver.ids)}: {state}{wide}"
    for spec in report.specs:
        yield from (f"dropped by {spec.name}: {drop}" for drop in spec.drops)
        yield from (f"{spec.name}: not converted: {note}" for note in spec.notes)


def _select_element(finding: Finding) -> Tuple[str, str]:
    return ELEMENT[finding.outcome, finding.disposition]


def _render_case(report: Report, finding: Finding, specs: str) -> Iterator[str]:
    element, kind = _select_element(finding)
    case = {"name": finding.id, "classname": specs}
    tags = f"<system-out>tags: {_escape_markup(', '.join(finding.tags))}</system-out>" if finding.tags else ""
    if not element:
        yield f"{_render_tag('testcase', case)}{tags}</testcase>" if tags else _render_tag("testcase", case, empty=True)
        return
    yield _render_tag("testcase", case)
    start = _render_tag(
        element, {"type": kind, "message": "; ".join([finding.sentence, *_describe_waiver(report, finding)])}
    )
    yield f"{start}{_escape_markup(chr(10).join(_render_body(finding)))}</{element}>{tags}"
    yield "</testcase>"


def _describe_waiver(report: Report, finding: Finding) -> List[str]:
    if finding.disposition != "waived" or finding.waiver not in range(len(report.waivers)):
        return []
    waiver = report.waivers[finding.waiver]
    return [f"waived {words.format_waiver_state(waiver)}: {words.format_permission(waiver)}"]


def _render_body(finding: Finding) -> Iterator[str]:
    """Yield the details of a finding: observations, sources, why and fix."""
    for part in finding.parts:
        where = ", ".join(map(words.format_origin, part.evidence))
        yield f"{part.place} ({part.outcome}): {words.format_part(part)}{f' [{where}]' if where else ''}"
    details = (("why", finding.why), ("hint", words.format_hints(finding)), ("fix", finding.fix), ("see", finding.see))
    yield from (f"{label}: {text}" for label, text in details if text)
    yield from (f"source: {source}" for source in finding.source)


def _render_tag(name: str, attributes: Mapping[str, str], *, empty: bool = False) -> str:
    attribute_text = "".join(f' {key}="{_escape_markup(value)}"' for key, value in attributes.items())
    return f"<{name}{attribute_text}{'/' if empty else ''}>"


def _escape_markup(text: str) -> str:
    return text.translate(MARKUP)
