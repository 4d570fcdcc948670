"""Render the report as GitHub-flavored Markdown, for the summary of a CI job.

Text of hosts and specs is shown, never rendered: names, places and commands are code, sentences are escaped. Details
are folded. A job summary takes 1 MiB at most. In a larger report long texts are truncated, with a mark.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Iterator, List, Sequence

from nodespec.escape import MAX_LINE_CHARS, escape_line
from nodespec.judge.fleet_summary import Summary, summary, told
from nodespec.model.report import DISPOSITIONS, OUTCOMES, Finding, Report, Style, code
from nodespec.reports import words

MOST = 1_000_000  # Bytes of UTF-8.
LENGTHS = (MAX_LINE_CHARS, 400, 80, 20)  # Characters of one text; the first limit for which the document fits is used.
MARKUP = re.compile(r"([\\`*_\[\]~])|([&<>|$])")
WORD = re.compile(r"([^\s`|\\]+)")  # A word that can be shown as code, also in a table.
REFERENCE = re.compile(  # Text that GitHub or GitLab links, notifies a user for, or shows as an emoji.
    r"[@#](?=\w)|[!&](?=\d)|(?<!\w)[~%$^](?=\w)|//|www\.|:[\w+-]+:|(?<![^\W_])(?:GH-\d|(?=\d*[a-f])[\da-f]{7,}(?![^\W_]))",
    re.IGNORECASE,
)
DOMAIN = re.compile(  # A domain such as `node.example.org`: linkify-it links country codes and these.
    r"(?<=\S)\.(?=(?:[a-z]{2}|biz|com|edu|gov|net|org|pro|web|xxx|aero|asia|coop|info|museum|name|shop|рф|xn--[\w-]+)"
    r"(?![^\W_]))",
    re.IGNORECASE,
)
EDGES = re.compile(r"^(\d{0,9})([#+=:.)-])|^( )|( )$")  # Text after a number, or at the very start.


def render(reports: Sequence[Report], style: Style) -> str:  # noqa: ARG001 - all renderers have the same parameters
    """Render the summary, below 1 MB."""
    for length in LENGTHS:
        text = _document(reports, length)
        if len(text.encode()) <= MOST:
            return text
    heads = [f"- {_host(report)}: {report.headline}\n" for report in reports]
    kept = "".join(heads).encode()[: MOST // 2].decode(errors="ignore").rpartition("\n")[0]
    return f"# {_conclusion(reports)}\n\n{kept}\n\nToo long for a summary: the other formats have it all.\n"


def _document(raw: Sequence[Report], length: int) -> str:
    reports = [words.escaped(report, partial(escape_line, longest=length)) for report in raw]
    lines: List[str] = []
    if len(reports) != 1:
        lines += [f"# {_conclusion(reports)}", "", *(f"- {_host(one)}: {one.headline}" for one in reports), ""]
        lines += _together(words.escaped(summary(raw), partial(escape_line, longest=length)))
    for report in reports:
        lines += [*_report(report), ""]
    lines.append(f"**exit {code(reports)}**: {words.advice(reports)}")
    return "\n".join(lines) + "\n"


def _together(found: Summary) -> Iterator[str]:
    """Yield the summary of several hosts: each spec on each host, and common causes."""
    if len(found.specs) > 1:
        yield f"| host | {' | '.join(map(_cell, found.specs))} |"
        yield f"|---|{'---|' * len(found.specs)}"
        yield from (f"| {_cell(row.host)} | {' | '.join(row.cells)} |" for row in found.matrix)
        yield ""
    lines = [f"- **{label}** {escaped(text)}" for label, text in told(found)]
    if lines:
        yield from ("### Together", "", *lines, "")


def _cell(name: str) -> str:
    """Return a name for a cell of a table, where `|` must be escaped."""
    return escaped(name)


def _conclusion(reports: Sequence[Report]) -> str:
    conclusions = [report.conclusion for report in reports]
    counts = ", ".join(f"{conclusions.count(one)} {one}" for one in dict.fromkeys(conclusions))
    return f"{words.CONCLUSION[code(reports)]}: {words.number(len(reports), 'host')}{counts and f': {counts}'}"


def _host(report: Report) -> str:
    return quoted(report.host.name or "a host without a name")


def _report(report: Report) -> Iterator[str]:
    yield f"## {report.headline}"
    yield ""
    yield f"{escaped(words.subject(report))}, judged {quoted(words.judged(report))}"
    yield ""
    for notice in report.notices:
        yield from (f"> **Notice:** {escaped(notice)}", "")
    yield from _counts(report)
    found = words.sections(report)
    yield from _failures(report, found[words.FAIL])
    yield from _unknowns(report, found[words.UNKNOWN])
    for section, name, what in REST:
        findings = found[section]
        if findings:
            yield from _folded(f"{name} ({len(findings)}){what}", [line for one in findings for line in _brief(one)])
    yield from _waivers(report)
    yield from _folded("Machine, specs and parameters", list(_basis(report)))


REST = (
    (words.WARNING, "Warnings", ": recommendations that fail or are not known"),
    (words.WAIVED, "Waived", ""),
    (words.DEFERRED, "Deferred", ": only a running machine can tell"),
    (words.SKIPPED, "Skipped", ": left out"),
    (words.NOT_APPLICABLE, "Not applicable", ": the condition does not hold"),
    (words.PASS, "Pass", ""),
)


def _counts(report: Report) -> Iterator[str]:
    yield f"| outcome | {' | '.join(DISPOSITIONS)} |"
    yield f"|---|{'---:|' * len(DISPOSITIONS)}"
    for outcome in OUTCOMES:
        counts = (str(len(report.chosen(outcome, disposition)) or "") for disposition in DISPOSITIONS)
        yield f"| {outcome} | {' | '.join(counts)} |"
    yield ""


# Findings


def _failures(report: Report, failures: Sequence[Finding]) -> Iterator[str]:
    if not failures:
        return
    yield from (f"### {len(failures)} fail", "")
    for cause, members in words.grouped(report, failures)[0]:
        look = f"; {escaped(cause.look)}" if cause.look else ""
        yield f"- {len(members)} for one reason: {escaped(cause.say)}{look}"
        yield from (*(f"  - {quoted(one.id)}" for one in members), "")
    for finding in failures:
        yield from _full(finding)


def _unknowns(report: Report, unknowns: Sequence[Finding]) -> Iterator[str]:
    if not unknowns:
        return
    groups, alone = words.grouped(report, unknowns)
    yield from (f"### {len(unknowns)} unknown", "")
    for cause, members in groups:
        yield from (f"**{len(members)} for one reason:** {escaped(cause.say)}", "")
        if cause.look:
            yield from (f"- **look** {escaped(cause.look)}", "")
        yield from _folded("Which", [line for one in members for line in _brief(one, cause.look)])
    for finding in alone:
        yield from _full(finding)


def _full(finding: Finding) -> Iterator[str]:
    yield from (f"#### {quoted(finding.id)}", "", escaped(finding.sentence), "")
    for part in words.telling(finding):
        where = ", ".join(quoted(words.origin(one)) for one in part.evidence)
        said = "" if len(finding.parts) == 1 else f"{quoted(part.place)} {escaped(words.said(part))} "
        if where or said:
            yield f"- **seen** {said}{where}"
    if finding.why:
        yield f"- **why** {escaped(finding.why)}"
    if look := words.looks(finding):
        yield f"- **look** {escaped(look)}"
    if finding.fix:
        yield f"- **fix** {quoted(finding.fix)}"
    if finding.see:
        yield f"- **see** {_link(finding.see)}"
    if finding.source:
        yield f"- **source** {', '.join(map(quoted, finding.source))}"
    yield ""


def _brief(finding: Finding, told: str = "") -> Iterator[str]:
    outcome = f"{finding.outcome}, {finding.disposition}"
    yield f"- {quoted(finding.id)} ({outcome}): {escaped(finding.sentence)}"
    if finding.outcome in ("fail", "unknown"):
        for label, text in (("why", finding.why), ("look", words.looks(finding)), ("fix", finding.fix)):
            if text and text != told:
                yield f"  - {label}: {quoted(text) if label == 'fix' else escaped(text)}"


def _folded(summary: str, lines: Sequence[str]) -> Iterator[str]:
    """Yield lines that unfold; Markdown resumes only after an empty line."""
    yield from (f"<details><summary>{summary}</summary>", "", *lines, "", "</details>", "")


# Waivers and inputs


def _waivers(report: Report) -> Iterator[str]:
    given = words.waivers(report)
    if not given:
        return
    yield from ("### Waivers", "")
    for waiver, findings in given:
        ids = ", ".join(map(quoted, waiver.ids))
        used = f", for {', '.join(quoted(one.id) for one in findings)}" if findings else ""
        said = f"{escaped(words.standing(waiver))}: {escaped(waiver.reason)}"
        covered = words.covered(waiver, report)
        wide = f"; {escaped(covered)}" if covered else ""
        yield f"- **{waiver.state}** {ids}{used}: {said} ({escaped(waiver.owner)}, {quoted(waiver.source)}){wide}"
    yield ""


def _basis(report: Report) -> Iterator[str]:
    machine = words.machine(report)
    yield f"- {_host(report)}{f': {escaped(machine)}' if machine else ''}"
    if report.host.id:
        yield f"- id {quoted(report.host.id)}"
    for spec in report.specs:
        yield f"- spec {quoted(spec.name)}{f': {escaped(spec.title)}' if spec.title else ''}"
        yield f"  - sha256 {quoted(spec.digest)}"
        lists = (("from", spec.sources), ("extends", spec.extends), ("drops", spec.drops))
        yield from (f"  - {label} {', '.join(map(quoted, items))}" for label, items in lists if items)
        yield from (f"  - asks what nodespec cannot: {escaped(note)}" for note in spec.notes)
    for param in report.params:
        why = f": {escaped(param.why)}" if param.why else ""
        yield f"- {quoted(f'{param.name}={param.value}')} ({param.source}){why}"


# Escaping


def escaped(text: str) -> str:
    """Escape text so that it renders as itself in any position.

    Block, markup, HTML, link, mention, emoji and formula are covered. A word that a forge would link or notify somebody
    for (`@user`, `#12`, `www.`, a commit) is shown as code. Forges search for these in the rendered text, where an
    escape or a character reference has no effect.
    """
    pieces = (_word(piece) if at % 2 else MARKUP.sub(_harmless, piece) for at, piece in enumerate(WORD.split(text)))
    return EDGES.sub(_edge, "".join(pieces))


def _word(word: str) -> str:
    if REFERENCE.search(word):
        return f"`{word}`"
    return DOMAIN.sub(r"\\.", MARKUP.sub(_harmless, word))


def _harmless(match: re.Match[str]) -> str:
    punctuation, special = match.groups()
    return f"\\{punctuation}" if punctuation else f"&#{ord(special)};"


def _edge(match: re.Match[str]) -> str:
    """Escape text at an edge: the start of a list, heading or code, or a blank."""
    number, mark = match.group(1, 2)
    return f"{number}\\{mark}" if mark else "&#32;"


def quoted(text: str) -> str:
    """Return text as code, in a fence longer than any that it contains."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    edge = " " if not text.strip(" ") or text[0] in "` " or text[-1] in "` " else ""
    return f"{fence}{edge}{text}{edge}{fence}"


def _link(text: str) -> str:
    return f"<{text}>" if words.LINK.fullmatch(text) else quoted(text)
