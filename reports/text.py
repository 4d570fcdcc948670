"""Render the report for a terminal: the conclusion, then failures and their fixes."""

from __future__ import annotations

from nodespec.escape import escape_line
from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.model.report import Concluded, Finding, Report, Style
from nodespec.reports import words
from nodespec.reports.text_page import (
    CONCLUSION_COLOURS,
    DETAIL_COLUMNS,
    LABEL_COLUMNS,
    TextPage,
    describe_aside,
    wrap_words,
)

if TYPE_CHECKING:
    from typing import Callable, Dict, Iterator, Sequence, Tuple

    from nodespec.judge.fleet_summary import Gist

MAX_MEMOIZED, MAX_MEMOIZED_CHARS = 2000, 10_000  # Escaped findings; a larger finding is escaped again each time.
MAX_COLUMNS = 120  # Wider lines are hard to read.
MAX_SENTENCES = 3  # Warnings with a sentence each; of more only the ids are listed.
MAX_BLOCK_ROWS = 3  # Rows of a failed `every` or `some`.
MAX_BLOCK_FIXES = 3  # Distinct fixes of failures with one observation.


def render(reports: Sequence[Report], style: Style) -> str:
    """Render the reports of all hosts in sequence; several begin with a summary."""
    if not reports:
        return "no host was judged\n"
    stream = Stream(style)
    if len(reports) == 1:
        lines = _report_lines(stream.page, reports[0], lambda finding: words.escape_record(finding, escape_line))
        return "\n".join((*lines, "")) + stream.end(())
    from nodespec.judge.fleet_summary import make_gist  # noqa: PLC0415 - only needed for several hosts

    several = cast("Sequence[Concluded]", [make_gist(report) for report in reports])
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
        if len(gists) < 2:  # noqa: PLR2004 - one host is its own summary
            return ""
        from nodespec.reports.text_fleet import summary_lines  # noqa: PLC0415 - only needed for several hosts

        return "\n".join((*summary_lines(self.page, cast("Sequence[Gist]", gists)), "", ""))

    def part(self, report: Report) -> str:
        """Render one host."""
        if len(self.escaped) > MAX_MEMOIZED:
            self.escaped.clear()
        return "\n".join((*_report_lines(self.page, report, self._escaped), ""))

    def _escaped(self, finding: Finding) -> Finding:
        """Return a finding escaped; memoized unless it is large.

        Hosts may share a finding.
        """
        if id(finding) not in self.escaped:
            made = words.escape_record(finding, escape_line)
            if len(repr(finding)) > MAX_MEMOIZED_CHARS:
                return made
            self.escaped[id(finding)] = finding, made
        return self.escaped[id(finding)][1]

    def end(self, _: Sequence[Concluded]) -> str:
        """Render how to see more."""
        if self.page.style.every:
            return ""
        return "\n".join((*wrap_words("", MORE_HELP, 0, self.page.style.width), ""))


MORE_HELP = "--all shows why, where and links; `nodespec explain ID` shows one requirement."


def _report_lines(page: TextPage, raw: Report, escape: Callable[[Finding], Finding]) -> Iterator[str]:
    """Yield the report on one host.

    All shown text is escaped. Findings that are only counted are not.
    """
    every = words.group_by_section(raw)
    listed = [one for section in every for one in every[section] if page.style.every or section not in COUNTED]
    report = words.escape_record(raw._replace(findings=()), escape_line)._replace(findings=tuple(map(escape, listed)))
    yield from _head_lines(page, report, raw)
    yield ""
    findings = words.group_by_section(report)
    yield from _failure_lines(page, findings[words.FAIL])
    yield from _unknown_lines(page, report, findings[words.UNKNOWN])
    yield from _warning_lines(page, findings[words.WARNING])
    if report.waivers or findings[words.WAIVED]:
        from nodespec.reports.text_waivers import waiver_lines  # noqa: PLC0415 - most hosts have no waivers

        yield from waiver_lines(page, report)
    for section, description in REST:
        yield from _rest_lines(page, section, description, findings[section], len(every[section]))
    yield from _foot_lines(page, report)


def _head_lines(page: TextPage, report: Report, raw: Report) -> Iterator[str]:
    """Yield the conclusion with counts and exit code, the subject, and notices."""
    conclusion, counts = raw.headline.split(": ", 1)
    exit_ = f"exit {raw.exit}: {words.format_advice([raw])}"
    first, *rest = wrap_words(f"{conclusion.upper()}: ", f"{counts}; {exit_}", LABEL_COLUMNS, page.style.width)
    yield page.paint(first[: len(conclusion)], CONCLUSION_COLOURS[report.conclusion]) + first[len(conclusion) :]
    yield from rest
    yield from wrap_words("", f"{words.format_subject(report)}, {report.time}", LABEL_COLUMNS, page.style.width)
    for notice in report.notices:
        yield from page.entry("notice", notice)
    for spec in report.specs:
        if spec.drops:
            yield from page.entry("dropped", f"{', '.join(spec.drops)} (inherited, dropped by {spec.name})")


# Findings


def _failure_lines(page: TextPage, failures: Sequence[Finding]) -> Iterator[str]:
    """Yield failures: each one with --all, else one block for those with the same observation."""
    if not failures:
        return
    if page.style.every:
        for finding in failures:
            yield from page.entry("fail", f"{finding.id}: {words.shorten_sentence(finding)}", DETAIL_COLUMNS)
            yield from _detail_lines(page, finding)
        return
    for block in words.group_by_observation(failures):
        ids = ", ".join(page.few([finding.id for finding in block.findings]))
        place = words.format_position(block.findings[0])
        text = f"{ids}: {block.sentence}" + (f" ({place})" if place else "")
        yield from page.entry("fail", text, LABEL_COLUMNS)
        yield from page.detail("rows", words.format_failing_rows(block.findings[0], MAX_BLOCK_ROWS))
        for fix in block.fixes[:MAX_BLOCK_FIXES]:
            yield from page.detail("fix", fix)
        if len(block.fixes) > MAX_BLOCK_FIXES:
            yield from page.detail("fix", page.more(len(block.fixes) - MAX_BLOCK_FIXES))


def _unknown_lines(page: TextPage, report: Report, unknowns: Sequence[Finding]) -> Iterator[str]:
    """Yield unknown findings, those with one cause together, with the hint of each."""
    groups, alone = words.group_by_cause(report, unknowns)
    for cause, members in groups:
        yield from page.entry("unknown", f"{len(members)} requirements with the same cause: {cause.say}")
        if page.style.every:
            for finding in members:
                yield from page.detail("", f"{finding.id}: {finding.sentence}")
        else:
            yield from page.list([one.id for one in members])
        yield from page.detail("hint", cause.look)
    for finding in alone:
        yield from page.entry("unknown", f"{finding.id}: {finding.sentence}", LABEL_COLUMNS)
        if page.style.every:
            yield from _detail_lines(page, finding)
        else:
            yield from page.detail("hint", words.format_hints(finding))


def _warning_lines(page: TextPage, warnings: Sequence[Finding]) -> Iterator[str]:
    """Yield recommended requirements that do not pass: each with --all or if they are few."""
    if page.style.every:
        for finding in warnings:
            aside = describe_aside(words.WARNING, finding)
            yield from page.entry("warning", f"{finding.id}: {finding.sentence}{aside}", DETAIL_COLUMNS)
            yield from _detail_lines(page, finding)
    elif len(warnings) <= MAX_SENTENCES:
        for finding in warnings:
            aside = describe_aside(words.WARNING, finding)
            yield from page.entry("warning", f"{finding.id}: {finding.sentence}{aside}")
    else:
        unknown = sum(finding.outcome == "unknown" for finding in warnings)
        lead = f"{len(warnings)} recommended" + (f" ({unknown} unknown)" if unknown else "")
        yield from page.entry("warning", f"{lead}: {page.fitting(lead, [one.id for one in warnings])}")


def _detail_lines(page: TextPage, finding: Finding) -> Iterator[str]:
    yield from page.detail("fix", finding.fix)
    yield from page.detail("hint", words.format_hints(finding))
    for number, line in enumerate(page.few(words.format_evidence(finding))):
        yield from page.detail("" if number else "seen", line)
    yield from page.detail("why", finding.why)
    yield from (line.replace(finding.see, page.link(finding.see)) for line in page.detail("see", finding.see))
    yield from page.detail("tags", ", ".join(finding.tags))


# Sections that do not decide

REST = (
    (words.DEFERRED, "that require a running machine"),
    (words.SKIPPED, "not selected"),
    (words.NOT_APPLICABLE, "whose condition is false"),
    (words.PASS, ""),
)
COUNTED = (words.NOT_APPLICABLE, words.PASS)  # Sections that are only counted, since they are long and rarely read.
LABELS = {words.NOT_APPLICABLE: "n/a"}


def _rest_lines(
    page: TextPage, section: str, description: str, findings: Sequence[Finding], total: int
) -> Iterator[str]:
    label = LABELS.get(section, section)
    if page.style.every:
        for finding in findings:
            aside = describe_aside(section, finding) + (f" [{', '.join(finding.tags)}]" if finding.tags else "")
            yield from page.entry(label, f"{finding.id}: {finding.sentence}{aside}", DETAIL_COLUMNS)
    elif total or section == words.PASS:
        lead = f"{words.format_count(total)} {description}".rstrip()
        if section in COUNTED:
            yield from page.entry(label, lead)
        else:
            yield from page.entry(label, f"{lead}: {page.fitting(lead, [one.id for one in findings])}")


def _foot_lines(page: TextPage, report: Report) -> Iterator[str]:
    for spec in report.specs:
        for note in spec.notes:
            yield from page.entry("note", f"{spec.name}: not converted: {note}")
    if page.style.every:
        yield from page.entry("host", f"{words.format_machine(report)}; judged by {report.tool}".lstrip("; "))
    params = report.params if page.style.every else tuple(one for one in report.params if one.source == "set")
    if params:
        yield from page.entry("params", words.format_params(report._replace(params=params)))
