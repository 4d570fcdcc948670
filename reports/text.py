"""Render the report for a terminal: the conclusion, then failures and their fixes."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Callable, Dict, Iterator, List, Sequence, Tuple, cast

from nodespec.escape import escape_line
from nodespec.model.report import Concluded, Finding, Report, Style, Waiver, code
from nodespec.records import NamedTuple
from nodespec.reports import words

if TYPE_CHECKING:
    from nodespec.judge.fleet_summary import Gist, Summary

MARGIN = 9  # The width of a label: fail, unknown, warning, deferred.
FEW = 8  # Items of a kind that are listed without --all.
MOST, LARGE = 2000, 10_000  # Memoized findings and paragraphs; characters of a finding that is too large to keep.
WIDEST = 120  # Columns. Wider lines are hard to read.
BOLD = "1"
COLOURS = {"fail": "31", "unknown": "35", "warning": "33", "waived": "36", "pass": "32", "notice": "1;33"}
CONCLUSIONS = {"conformant": "1;32", "nonconformant": "1;31", "indeterminate": "1;35"}


def render(reports: Sequence[Report], style: Style) -> str:
    """Render the reports of all hosts in sequence; several begin with a summary."""
    if not reports:
        return "no host was judged\n"
    stream, several = Stream(style), cast("Sequence[Concluded]", reports)
    if len(reports) > 1:
        from nodespec.judge.fleet_summary import gist  # noqa: PLC0415 - only needed for several hosts

        several = [gist(report) for report in reports]
    return stream.begin(several) + stream.between.join(map(stream.part, reports)) + stream.end(several)


class Stream:
    """The same document host by host."""

    between = "\n"

    def __init__(self, style: Style) -> None:
        self.page = TextPage(style._replace(width=min(style.width, WIDEST)))
        # By identity. The raw finding is kept too, so that its identity stays unique.
        self.escaped: Dict[int, Tuple[Finding, Finding]] = {}

    def begin(self, gists: Sequence[Concluded]) -> str:
        """Render the summary of all hosts, if there are several."""
        return "\n".join((*_hosts(self.page, cast("Sequence[Gist]", gists)), "", "")) if len(gists) > 1 else ""

    def part(self, report: Report) -> str:
        """Render one host."""
        if len(self.escaped) > MOST:
            self.escaped.clear()
        return "\n".join((*_report(self.page, report, self._escaped), ""))

    def _escaped(self, finding: Finding) -> Finding:
        """Return a finding escaped; memoized unless it is large.

        Hosts may share a finding.
        """
        if id(finding) not in self.escaped:
            made = words.escaped(finding, escape_line)
            if len(repr(finding)) > LARGE:
                return made
            self.escaped[id(finding)] = finding, made
        return self.escaped[id(finding)][1]

    def end(self, gists: Sequence[Concluded]) -> str:
        """Render the meaning of the exit code."""
        return self.page.paint(f"exit {code(gists)}: {words.advice(gists)}", BOLD) + "\n"


class TextPage(NamedTuple):
    """Lines with a margin of labels, and wrapped text."""

    style: Style

    def paint(self, text: str, colour: str) -> str:
        """Return text in a color; the words alone carry the meaning."""
        return f"\x1b[{colour}m{text}\x1b[0m" if self.style.colour and colour else text

    def entry(self, label: str, text: str, hang: int = MARGIN) -> Iterator[str]:
        """Yield a labeled paragraph."""
        first, *rest = _wrapped(label.ljust(MARGIN), text, hang, self.style.width)
        yield self.paint(first[: len(label)], COLOURS.get(label, "")) + first[len(label) :]
        yield from rest

    def detail(self, label: str, text: str) -> Iterator[str]:
        """Yield a paragraph below an entry, or nothing for an empty text."""
        lead = " " * MARGIN + label.ljust(6)
        if text:
            yield from _wrapped(lead, text, len(lead), self.style.width)

    def list(self, items: Sequence[str]) -> Iterator[str]:
        """Yield names below an entry."""
        yield from _wrapped(" " * MARGIN, ", ".join(self.few(items)), MARGIN, self.style.width)

    def column(self, names: Sequence[str]) -> int:
        """Return the width of a column of names.

        It is that of the longest name that takes two fifths of the page at most.
        """
        return max((len(name) for name in names if len(name) <= self.style.width * 2 // 5), default=0)

    def few(self, items: Sequence[str]) -> Tuple[str, ...]:
        """Return the items, or the first few of them and the number of others."""
        if self.style.every or len(items) <= FEW:
            return tuple(items)
        return (*items[:FEW], f"and {self.more(len(items) - FEW)}")

    def more(self, count: int) -> str:
        """Return the text that replaces more items."""
        return f"{count} more (--all lists them)"


@lru_cache(MOST)  # A text of several hosts is wrapped once.
def _wrapped(lead: str, text: str, hang: int, width: int) -> Sequence[str]:
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


def _hosts(page: TextPage, gists: Sequence[Gist]) -> Iterator[str]:
    """Yield the conclusion over several hosts, a line for each, and common causes."""
    from nodespec.judge import fleet_summary  # noqa: PLC0415 - only needed for several hosts

    conclusions = [one.conclusion for one in gists]
    counts = ", ".join(f"{conclusions.count(one)} {one}" for one in CONCLUSIONS if one in conclusions)
    worst = words.CONCLUSION[code(gists)]
    yield page.paint(worst.upper(), CONCLUSIONS[worst]) + f": {words.number(len(gists), 'host')}: {counts}"
    together = words.escaped(fleet_summary.together(gists), escape_line)
    wide = page.column([row.host for row in together.matrix])
    for row, one in zip(together.matrix, gists):
        yield from _wrapped(f"{row.host.ljust(wide)}  ", one.headline, wide + 2, page.style.width)
    yield from _matrix(page, together)
    hits = together.hits if page.style.every else together.hits[:FEW]
    told = list(fleet_summary.told(together._replace(hits=hits), page.few))
    yield from [""] if told else []
    for label, text in told:
        yield from page.entry(label, text)
    if len(hits) < len(together.hits):
        yield from page.entry("causes", page.more(len(together.hits) - len(hits)))


def _matrix(page: TextPage, together: Summary) -> Iterator[str]:
    """Yield the result of each of several specs on each host."""
    if len(together.specs) < 2:  # noqa: PLR2004 - for one spec the line of the host states it
        return
    rows = [("", *together.specs), *((row.host, *row.cells) for row in together.matrix)]
    wide = [page.column([row[at] for row in rows]) for at in range(len(rows[0]))]
    yield ""
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, wide)).rstrip()


def _report(page: TextPage, raw: Report, escape: Callable[[Finding], Finding]) -> Iterator[str]:
    """Yield the report on one host.

    All shown text is escaped. Findings that are only counted are not.
    """
    every = words.sections(raw)
    told = [one for section in every for one in every[section] if page.style.every or section not in COUNTED]
    report = words.escaped(raw._replace(findings=()), escape_line)._replace(findings=tuple(map(escape, told)))
    conclusion, counts = raw.headline.split(": ", 1)
    first, *rest = _wrapped(f"{conclusion.upper()}: ", counts, MARGIN, page.style.width)
    yield page.paint(first[: len(conclusion)], CONCLUSIONS[report.conclusion]) + first[len(conclusion) :]
    yield from rest
    yield from _wrapped("", f"{words.subject(report)}, {report.time}", MARGIN, page.style.width)
    for notice in report.notices:
        yield from page.entry("notice", notice)
    for spec in report.specs:
        if spec.drops:
            yield from page.entry("dropped", f"{', '.join(spec.drops)} (by {spec.name}, of what it extends)")
    yield ""
    found = words.sections(report)
    yield from _failures(page, report, found[words.FAIL])
    yield from _unknowns(page, report, found[words.UNKNOWN])
    yield from _warnings(page, found[words.WARNING])
    yield from _waivers(page, report)
    for section, words_ in REST:
        yield from _rest(page, section, words_, found[section], len(every[section]))
    yield from _foot(page, report)


# Findings


def _failures(page: TextPage, report: Report, failures: Sequence[Finding]) -> Iterator[str]:
    groups, _ = words.grouped(report, failures)
    for cause, members in groups:
        yield from page.entry("cause", f"{len(members)} fail for one reason: {cause.say}")
        yield from page.list([one.id for one in members])
        yield from page.detail("look", cause.look)
    wide = page.column([one.id for one in failures])
    for finding in failures:
        yield from page.entry("fail", _line(finding, wide), MARGIN + 6)
        yield from _details(page, finding)


def _unknowns(page: TextPage, report: Report, unknowns: Sequence[Finding]) -> Iterator[str]:
    groups, alone = words.grouped(report, unknowns)
    for cause, members in groups:
        yield from page.entry("unknown", f"{len(members)} requirements, one cause: {cause.say}")
        if page.style.every:
            for finding in members:
                yield from page.detail("", f"{finding.id}  {finding.sentence}")
        else:
            yield from page.list([one.id for one in members])
        yield from page.detail("look", cause.look)
    wide = page.column([one.id for one in alone])
    for finding in alone:
        yield from page.entry("unknown", _line(finding, wide), MARGIN + 6)
        yield from _details(page, finding)


def _warnings(page: TextPage, warnings: Sequence[Finding]) -> Iterator[str]:
    shown = warnings if page.style.every else warnings[:FEW]
    wide = page.column([one.id for one in shown])
    for finding in shown:
        yield from page.entry("warning", _line(finding, wide) + _aside(words.WARNING, finding), MARGIN + 6)
        if page.style.every:
            yield from _details(page, finding)
    if len(shown) < len(warnings):
        yield from page.entry("warning", page.more(len(warnings) - len(shown)))


def _line(finding: Finding, wide: int = 0) -> str:
    return f"{finding.id.ljust(wide)}  {finding.sentence}"


USUAL = {words.WARNING: ("fail", "advisory"), words.WAIVED: ("fail", "waived"), words.SKIPPED: ("skipped", "skipped")}


def _aside(section: str, finding: Finding) -> str:
    """Return outcome and disposition, unless the label of the section implies them."""
    implied = USUAL.get(section, (section, "enforced"))
    told = [one for one in (finding.outcome, finding.disposition) if one not in implied]
    return f" ({', '.join(told)})" if told else ""


def _details(page: TextPage, finding: Finding) -> Iterator[str]:
    for number, line in enumerate(page.few(words.seen(finding))):
        yield from page.detail("" if number else "seen", line)
    yield from page.detail("why", finding.why)
    hint = words.looks(finding)
    yield from page.detail("look", hint)
    if finding.outcome != "unknown" or not hint:  # A fact that was not observed may need no fix.
        yield from page.detail("fix", finding.fix)
    yield from page.detail("see", finding.see)


# Sections that do not decide


def _waivers(page: TextPage, report: Report) -> Iterator[str]:
    for waiver, findings in words.waivers(report):
        for finding in findings:
            yield from page.entry("waived", _line(finding) + _aside(words.WAIVED, finding), MARGIN + 6)
        if findings:
            text = f"{words.standing(waiver)}: {words.permission(waiver)}{_covered(waiver, report)}"
            yield from _wrapped(" " * MARGIN, text, MARGIN, page.style.width)
        elif waiver.state != "elsewhere" or page.style.every:
            yield from page.entry("waiver", f"{_idle(waiver)}{_covered(waiver, report)}")
    for finding in words.unwaived(report):
        yield from page.entry("waived", _line(finding) + _aside(words.WAIVED, finding), MARGIN + 6)
    elsewhere = sum(waiver.state == "elsewhere" for waiver in report.waivers)
    if elsewhere and not page.style.every:
        yield from page.entry("waiver", f"{elsewhere} more for other hosts")


def _covered(waiver: Waiver, report: Report) -> str:
    covered = words.covered(waiver, report)
    return f"; {covered}" if covered else ""


def _idle(waiver: Waiver) -> str:
    return f"{', '.join(waiver.ids)}: {words.standing(waiver)}: {words.permission(waiver)}"


REST = (
    (words.DEFERRED, "that only a running machine can tell"),
    (words.SKIPPED, "left out"),
    (words.NOT_APPLICABLE, "whose condition does not hold"),
    (words.PASS, ""),
)
COUNTED = (words.NOT_APPLICABLE, words.PASS)  # Sections that are only counted, since they are long and rarely read.
LABELS = {words.NOT_APPLICABLE: "n/a"}


def _rest(page: TextPage, section: str, what: str, findings: Sequence[Finding], number: int) -> Iterator[str]:
    label = LABELS.get(section, section)
    if page.style.every:
        wide = page.column([one.id for one in findings])
        for finding in findings:
            yield from page.entry(label, _line(finding, wide) + _aside(section, finding), MARGIN + 6)
    elif number or section == words.PASS:
        count = f"{words.number(number)} {what}".rstrip()
        ids = "" if section in COUNTED else ": " + ", ".join(page.few([one.id for one in findings]))
        yield from page.entry(label, count + ids)


def _foot(page: TextPage, report: Report) -> Iterator[str]:
    for spec in report.specs:
        for note in spec.notes:
            yield from page.entry("note", f"{spec.name} asks what nodespec cannot: {note}")
    if page.style.every:
        yield from page.entry("host", f"{words.machine(report)}; judged by {report.tool}".lstrip("; "))
    if report.params:
        yield from page.entry("params", words.params(report))
