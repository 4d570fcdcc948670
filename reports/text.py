"""Render the report for a terminal: the conclusion, then failures and their fixes."""

from __future__ import annotations

from functools import lru_cache

from nodespec.escape import escape_line
from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.model.report import Concluded, Finding, Report, Style, Waiver, compute_exit_code
from nodespec.records import NamedTuple
from nodespec.reports import words

if TYPE_CHECKING:
    from typing import Callable, Dict, Iterator, List, Sequence, Tuple

    from nodespec.judge.fleet_summary import Gist, Summary

MARGIN = 9  # The width of a label: fail, unknown, warning, deferred.
MAX_LISTED = 8  # Items of a kind that are listed without --all.
MAX_MEMOIZED, MAX_MEMOIZED_CHARS = (
    2000,
    10_000,
)  # Memoized findings and paragraphs; characters of a finding that is too large to keep.
MAX_COLUMNS = 120  # Columns. Wider lines are hard to read.
BOLD = "1"
COLORS = {"fail": "31", "unknown": "35", "warning": "33", "waived": "36", "pass": "32", "notice": "1;33"}
CONCLUSIONS = {"conformant": "1;32", "nonconformant": "1;31", "indeterminate": "1;35"}


def render(reports: Sequence[Report], style: Style) -> str:
    """Render the reports of all hosts in sequence; several begin with a summary."""
    if not reports:
        return "no host was judged\n"
    stream, several = Stream(style), cast("Sequence[Concluded]", reports)
    if len(reports) > 1:
        from nodespec.judge.fleet_summary import make_gist  # noqa: PLC0415 - only needed for several hosts

        several = [make_gist(report) for report in reports]
    return stream.begin(several) + stream.between.join(map(stream.part, reports)) + stream.end(several)


class Stream:
    """The same document host by host."""

    between = "\n"

    def __init__(self, style: Style) -> None:
        self.page = TextPage(style._replace(width=min(style.width, MAX_COLUMNS)))
        # By identity. The raw finding is kept too, so that its identity stays unique.
        self.escaped: Dict[int, Tuple[Finding, Finding]] = {}

    def begin(self, gists: Sequence[Concluded]) -> str:
        """Render the summary of all hosts, if there are several."""
        return "\n".join((*_render_hosts(self.page, cast("Sequence[Gist]", gists)), "", "")) if len(gists) > 1 else ""

    def part(self, report: Report) -> str:
        """Render one host."""
        if len(self.escaped) > MAX_MEMOIZED:
            self.escaped.clear()
        return "\n".join((*_render_report(self.page, report, self._escape_finding), ""))

    def _escape_finding(self, finding: Finding) -> Finding:
        """Return a finding escaped; memoized unless it is large.

        Hosts may share a finding.
        """
        if id(finding) not in self.escaped:
            made = words.escape_record(finding, escape_line)
            if len(repr(finding)) > MAX_MEMOIZED_CHARS:
                return made
            self.escaped[id(finding)] = finding, made
        return self.escaped[id(finding)][1]

    def end(self, gists: Sequence[Concluded]) -> str:
        """Render the meaning of the exit code."""
        return self.page.paint(f"exit {compute_exit_code(gists)}: {words.format_advice(gists)}", BOLD) + "\n"


class TextPage(NamedTuple):
    """Lines with a margin of labels, and wrapped text."""

    style: Style

    def paint(self, text: str, colour: str) -> str:
        """Return text in a color; the words alone carry the meaning."""
        return f"\x1b[{colour}m{text}\x1b[0m" if self.style.colour and colour else text

    def render_entry(self, label: str, text: str, hang: int = MARGIN) -> Iterator[str]:
        """Yield a labeled paragraph."""
        first, *rest = _wrap_text(label.ljust(MARGIN), text, hang, self.style.width)
        yield self.paint(first[: len(label)], COLORS.get(label, "")) + first[len(label) :]
        yield from rest

    def render_detail(self, label: str, text: str) -> Iterator[str]:
        """Yield a paragraph below an entry, or nothing for an empty text."""
        lead = " " * MARGIN + label.ljust(6)
        if text:
            yield from _wrap_text(lead, text, len(lead), self.style.width)

    def render_list(self, items: Sequence[str]) -> Iterator[str]:
        """Yield names below an entry."""
        yield from _wrap_text(" " * MARGIN, ", ".join(self.shorten(items)), MARGIN, self.style.width)

    def measure_column(self, names: Sequence[str]) -> int:
        """Return the width of a column of names.

        It is that of the longest name that takes two fifths of the page at most.
        """
        return max((len(name) for name in names if len(name) <= self.style.width * 2 // 5), default=0)

    def shorten(self, items: Sequence[str]) -> Tuple[str, ...]:
        """Return the items, or the first few of them and the number of others."""
        if self.style.every or len(items) <= MAX_LISTED:
            return tuple(items)
        return (*items[:MAX_LISTED], f"and {self.format_more(len(items) - MAX_LISTED)}")

    def format_more(self, count: int) -> str:
        """Return the text that replaces more items."""
        return f"{count} more (--all lists them)"


@lru_cache(MAX_MEMOIZED)  # A text of several hosts is wrapped once.
def _wrap_text(lead: str, text: str, hang: int, width: int) -> Sequence[str]:
    """Wrap words as textwrap does without breaking any.

    textwrap itself took a fifth of the time of a report.
    """
    room, indent = max(width, hang + 20), " " * hang
    lines: List[str] = []
    line, blanks, begun = lead, "", False
    for word in text.split(" "):
        if not word:
            blanks += " "
            continue
        if begun and len(line) + len(blanks) + len(word) > room:
            lines.append(line)
            line, blanks = indent, ""
        line, blanks, begun = line + blanks + word, " ", True
    return [*lines, line if begun else line.rstrip()]


def _render_hosts(page: TextPage, gists: Sequence[Gist]) -> Iterator[str]:
    """Yield the conclusion over several hosts, a line for each, and common causes."""
    from nodespec.judge import fleet_summary  # noqa: PLC0415 - only needed for several hosts

    conclusions = [one.conclusion for one in gists]
    counts = ", ".join(f"{conclusions.count(one)} {one}" for one in CONCLUSIONS if one in conclusions)
    worst = words.CONCLUSION_BY_CODE[compute_exit_code(gists)]
    yield page.paint(worst.upper(), CONCLUSIONS[worst]) + f": {words.format_count(len(gists), 'host')}: {counts}"
    together = words.escape_record(fleet_summary.summarize_gists(gists), escape_line)
    wide = page.measure_column([row.host for row in together.matrix])
    for row, one in zip(together.matrix, gists):
        yield from _wrap_text(f"{row.host.ljust(wide)}  ", one.headline, wide + 2, page.style.width)
    yield from _render_matrix(page, together)
    hits = together.hits if page.style.every else together.hits[:MAX_LISTED]
    told = list(fleet_summary.format_summary(together._replace(hits=hits), page.shorten))
    yield from [""] if told else []
    for label, text in told:
        yield from page.render_entry(label, text)
    if len(hits) < len(together.hits):
        yield from page.render_entry("causes", page.format_more(len(together.hits) - len(hits)))


def _render_matrix(page: TextPage, together: Summary) -> Iterator[str]:
    """Yield the result of each of several specs on each host."""
    if len(together.specs) < 2:  # noqa: PLR2004 - for one spec the line of the host states it
        return
    rows = [("", *together.specs), *((row.host, *row.cells) for row in together.matrix)]
    wide = [page.measure_column([row[at] for row in rows]) for at in range(len(rows[0]))]
    yield ""
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, wide)).rstrip()


def _render_report(page: TextPage, raw: Report, escape: Callable[[Finding], Finding]) -> Iterator[str]:
    """Yield the report on one host.

    All shown text is escaped. Findings that are only counted are not.
    """
    every = words.group_by_section(raw)
    told = [one for section in every for one in every[section] if page.style.every or section not in COUNTED_SECTIONS]
    report = words.escape_record(raw._replace(findings=()), escape_line)._replace(findings=tuple(map(escape, told)))
    conclusion, counts = raw.headline.split(": ", 1)
    first, *rest = _wrap_text(f"{conclusion.upper()}: ", counts, MARGIN, page.style.width)
    yield page.paint(first[: len(conclusion)], CONCLUSIONS[report.conclusion]) + first[len(conclusion) :]
    yield from rest
    yield from _wrap_text("", f"{words.format_subject(report)}, {report.time}", MARGIN, page.style.width)
    for notice in report.notices:
        yield from page.render_entry("notice", notice)
    for spec in report.specs:
        if spec.drops:
            yield from page.render_entry("dropped", f"{', '.join(spec.drops)} (inherited, dropped by {spec.name})")
    yield ""
    found = words.group_by_section(report)
    yield from _render_failures(page, report, found[words.FAIL])
    yield from _render_unknowns(page, report, found[words.UNKNOWN])
    yield from _render_warnings(page, found[words.WARNING])
    yield from _render_waivers(page, report)
    for section, words_ in OTHER_SECTIONS:
        yield from _render_section(page, section, words_, found[section], len(every[section]))
    yield from _render_foot(page, report)


# Findings


def _render_failures(page: TextPage, report: Report, failures: Sequence[Finding]) -> Iterator[str]:
    groups, _ = words.group_by_cause(report, failures)
    for cause, members in groups:
        yield from page.render_entry("cause", f"{len(members)} fail with the same cause: {cause.say}")
        yield from page.render_list([one.id for one in members])
        yield from page.render_detail("hint", cause.look)
    wide = page.measure_column([one.id for one in failures])
    for finding in failures:
        yield from page.render_entry("fail", _format_finding(finding, wide), MARGIN + 6)
        yield from _render_details(page, finding)


def _render_unknowns(page: TextPage, report: Report, unknowns: Sequence[Finding]) -> Iterator[str]:
    groups, alone = words.group_by_cause(report, unknowns)
    for cause, members in groups:
        yield from page.render_entry("unknown", f"{len(members)} requirements with the same cause: {cause.say}")
        if page.style.every:
            for finding in members:
                yield from page.render_detail("", f"{finding.id}  {finding.sentence}")
        else:
            yield from page.render_list([one.id for one in members])
        yield from page.render_detail("hint", cause.look)
    wide = page.measure_column([one.id for one in alone])
    for finding in alone:
        yield from page.render_entry("unknown", _format_finding(finding, wide), MARGIN + 6)
        yield from _render_details(page, finding)


def _render_warnings(page: TextPage, warnings: Sequence[Finding]) -> Iterator[str]:
    shown = warnings if page.style.every else warnings[:MAX_LISTED]
    wide = page.measure_column([one.id for one in shown])
    for finding in shown:
        yield from page.render_entry(
            "warning", _format_finding(finding, wide) + _format_aside(words.WARNING, finding), MARGIN + 6
        )
        if page.style.every:
            yield from _render_details(page, finding)
    if len(shown) < len(warnings):
        yield from page.render_entry("warning", page.format_more(len(warnings) - len(shown)))


def _format_finding(finding: Finding, wide: int = 0) -> str:
    return f"{finding.id.ljust(wide)}  {finding.sentence}"


IMPLIED = {words.WARNING: ("fail", "advisory"), words.WAIVED: ("fail", "waived"), words.SKIPPED: ("skipped", "skipped")}


def _format_aside(section: str, finding: Finding) -> str:
    """Return outcome and disposition, unless the label of the section implies them."""
    implied = IMPLIED.get(section, (section, "enforced"))
    told = [one for one in (finding.outcome, finding.disposition) if one not in implied]
    return f" ({', '.join(told)})" if told else ""


def _render_details(page: TextPage, finding: Finding) -> Iterator[str]:
    for number, line in enumerate(page.shorten(words.format_evidence(finding))):
        yield from page.render_detail("" if number else "seen", line)
    yield from page.render_detail("why", finding.why)
    hint = words.format_hints(finding)
    yield from page.render_detail("hint", hint)
    if finding.outcome != "unknown" or not hint:  # A fact that was not observed may need no fix.
        yield from page.render_detail("fix", finding.fix)
    yield from page.render_detail("see", finding.see)


# Sections that do not decide


def _render_waivers(page: TextPage, report: Report) -> Iterator[str]:
    for waiver, findings in words.list_waivers(report):
        for finding in findings:
            yield from page.render_entry(
                "waived", _format_finding(finding) + _format_aside(words.WAIVED, finding), MARGIN + 6
            )
        if findings:
            state = words.format_waiver_state(waiver)
            text = f"{state}: {words.format_permission(waiver)}{_format_coverage(waiver, report)}"
            yield from _wrap_text(" " * MARGIN, text, MARGIN, page.style.width)
        elif waiver.state != "elsewhere" or page.style.every:
            yield from page.render_entry("waiver", f"{_format_unused_waiver(waiver)}{_format_coverage(waiver, report)}")
    for finding in words.list_unwaived(report):
        yield from page.render_entry(
            "waived", _format_finding(finding) + _format_aside(words.WAIVED, finding), MARGIN + 6
        )
    elsewhere = sum(waiver.state == "elsewhere" for waiver in report.waivers)
    if elsewhere and not page.style.every:
        yield from page.render_entry("waiver", f"{elsewhere} more for other hosts")


def _format_coverage(waiver: Waiver, report: Report) -> str:
    covered = words.format_coverage(waiver, report)
    return f"; {covered}" if covered else ""


def _format_unused_waiver(waiver: Waiver) -> str:
    return f"{', '.join(waiver.ids)}: {words.format_waiver_state(waiver)}: {words.format_permission(waiver)}"


OTHER_SECTIONS = (
    (words.DEFERRED, "that require a running machine"),
    (words.SKIPPED, "not selected"),
    (words.NOT_APPLICABLE, "whose condition is false"),
    (words.PASS, ""),
)
COUNTED_SECTIONS = (
    words.NOT_APPLICABLE,
    words.PASS,
)  # Sections that are only counted, since they are long and rarely read.
LABELS = {words.NOT_APPLICABLE: "n/a"}


def _render_section(page: TextPage, section: str, what: str, findings: Sequence[Finding], number: int) -> Iterator[str]:
    label = LABELS.get(section, section)
    if page.style.every:
        wide = page.measure_column([one.id for one in findings])
        for finding in findings:
            yield from page.render_entry(
                label, _format_finding(finding, wide) + _format_aside(section, finding), MARGIN + 6
            )
    elif number or section == words.PASS:
        count = f"{words.format_count(number)} {what}".rstrip()
        ids = "" if section in COUNTED_SECTIONS else ": " + ", ".join(page.shorten([one.id for one in findings]))
        yield from page.render_entry(label, count + ids)


def _render_foot(page: TextPage, report: Report) -> Iterator[str]:
    for spec in report.specs:
        for note in spec.notes:
            yield from page.render_entry("note", f"{spec.name}: not converted: {note}")
    if page.style.every:
        yield from page.render_entry("host", f"{words.format_machine(report)}; judged by {report.tool}".lstrip("; "))
    if report.params:
        yield from page.render_entry("params", words.format_params(report))
