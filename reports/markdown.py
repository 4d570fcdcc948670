"""Render the report as GitHub-flavored Markdown, for the summary of a CI job.

Text of hosts and specs is shown, never rendered: names, places and commands are code, sentences are escaped. Details
are folded. A job summary takes 1 MiB at most. In a larger report long texts are truncated, with a mark.
"""

from __future__ import annotations

import re
from functools import partial

from nodespec.escape import MAX_LINE_CHARS, escape_line
from nodespec.judge.fleet_summary import Summary, format_summary, summarize_reports
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.report import DISPOSITIONS, OUTCOMES, Finding, Report, Style, compute_exit_code
from nodespec.reports import words

if TYPE_CHECKING:
    from typing import Iterator, List, Sequence

MAX_BYTES = 1_000_000  # Bytes of UTF-8.
TEXT_LIMITS = (
    MAX_LINE_CHARS,
    400,
    80,
    20,
)  # Characters of one text; the first limit for which the document fits is used.
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
    for length in TEXT_LIMITS:
        text = _render_document(reports, length)
        if len(text.encode()) <= MAX_BYTES:
            return text
    heads = [f"- {_quote_host(report)}: {report.headline}\n" for report in reports]
    kept = "".join(heads).encode()[: MAX_BYTES // 2].decode(errors="ignore").rpartition("\n")[0]
    note = "The report is too long for a summary; the other formats contain all of it."
    return f"# {_render_conclusion(reports)}\n\n{kept}\n\n{note}\n"


def _render_document(raw: Sequence[Report], length: int) -> str:
    reports = [words.escape_record(report, partial(escape_line, longest=length)) for report in raw]
    lines: List[str] = []
    if len(reports) != 1:
        lines += [
            f"# {_render_conclusion(reports)}",
            "",
            *(f"- {_quote_host(one)}: {one.headline}" for one in reports),
            "",
        ]
        lines += _render_summary(words.escape_record(summarize_reports(raw), partial(escape_line, longest=length)))
    for report in reports:
        lines += [*_render_report(report), ""]
    lines.append(f"**exit {compute_exit_code(reports)}**: {words.format_advice(reports)}")
    return "\n".join(lines) + "\n"


def _render_summary(together: Summary) -> Iterator[str]:
    """Yield the summary of several hosts: each spec on each host, and common causes."""
    if len(together.specs) > 1:
        yield f"| host | {' | '.join(map(_escape_cell, together.specs))} |"
        yield f"|---|{'---|' * len(together.specs)}"
        yield from (f"| {_escape_cell(row.host)} | {' | '.join(row.cells)} |" for row in together.matrix)
        yield ""
    lines = [f"- **{label}** {escape_markdown(text)}" for label, text in format_summary(together)]
    if lines:
        yield from ("### All hosts", "", *lines, "")


def _escape_cell(name: str) -> str:
    """Return a name for a cell of a table, where `|` must be escaped."""
    return escape_markdown(name)


def _render_conclusion(reports: Sequence[Report]) -> str:
    conclusions = [report.conclusion for report in reports]
    counts = ", ".join(f"{conclusions.count(one)} {one}" for one in dict.fromkeys(conclusions))
    worst = words.CONCLUSION_BY_CODE[compute_exit_code(reports)]
    return f"{worst}: {words.format_count(len(reports), 'host')}{counts and f': {counts}'}"


def _quote_host(report: Report) -> str:
    return quote_code(report.host.name or "a host without a name")


def _render_report(report: Report) -> Iterator[str]:
    yield f"## {report.headline}"
    yield ""
    yield f"{escape_markdown(words.format_subject(report))}, judged {quote_code(words.format_judged(report))}"
    yield ""
    for notice in report.notices:
        yield from (f"> **Notice:** {escape_markdown(notice)}", "")
    yield from _render_counts(report)
    sections = words.group_by_section(report)
    yield from _render_failures(report, sections[words.FAIL])
    yield from _render_unknowns(report, sections[words.UNKNOWN])
    for section, name, what in OTHER_SECTIONS:
        findings = sections[section]
        if findings:
            yield from _fold_lines(
                f"{name} ({len(findings)}){what}", [line for one in findings for line in _render_brief(one)]
            )
    yield from _render_waivers(report)
    yield from _fold_lines("Machine, specs and parameters", list(_render_basis(report)))


OTHER_SECTIONS = (
    (words.WARNING, "Warnings", ": recommendations that fail or are unknown"),
    (words.WAIVED, "Waived", ""),
    (words.DEFERRED, "Deferred", ": require a running machine"),
    (words.SKIPPED, "Skipped", ": not selected"),
    (words.NOT_APPLICABLE, "Not applicable", ": the condition is false"),
    (words.PASS, "Pass", ""),
)


def _render_counts(report: Report) -> Iterator[str]:
    yield f"| outcome | {' | '.join(DISPOSITIONS)} |"
    yield f"|---|{'---:|' * len(DISPOSITIONS)}"
    for outcome in OUTCOMES:
        counts = (str(len(report.select_findings(outcome, disposition)) or "") for disposition in DISPOSITIONS)
        yield f"| {outcome} | {' | '.join(counts)} |"
    yield ""


# Findings


def _render_failures(report: Report, failures: Sequence[Finding]) -> Iterator[str]:
    if not failures:
        return
    yield from (f"### {len(failures)} fail", "")
    for cause, members in words.group_by_cause(report, failures)[0]:
        look = f"; {escape_markdown(cause.look)}" if cause.look else ""
        yield f"- {len(members)} with the same cause: {escape_markdown(cause.say)}{look}"
        yield from (*(f"  - {quote_code(one.id)}" for one in members), "")
    for finding in failures:
        yield from _render_finding(finding)


def _render_unknowns(report: Report, unknowns: Sequence[Finding]) -> Iterator[str]:
    if not unknowns:
        return
    groups, alone = words.group_by_cause(report, unknowns)
    yield from (f"### {len(unknowns)} unknown", "")
    for cause, members in groups:
        yield from (f"**{len(members)} with the same cause:** {escape_markdown(cause.say)}", "")
        if cause.look:
            yield from (f"- **hint** {escape_markdown(cause.look)}", "")
        yield from _fold_lines("Requirements", [line for one in members for line in _render_brief(one, cause.look)])
    for finding in alone:
        yield from _render_finding(finding)


def _render_finding(finding: Finding) -> Iterator[str]:
    yield from (f"#### {quote_code(finding.id)}", "", escape_markdown(finding.sentence), "")
    for part in words.select_deciding_parts(finding):
        where = ", ".join(quote_code(words.format_origin(evidence)) for evidence in part.evidence)
        part_text = (
            "" if len(finding.parts) == 1 else f"{quote_code(part.place)} {escape_markdown(words.format_part(part))} "
        )
        if where or part_text:
            yield f"- **seen** {part_text}{where}"
    if finding.why:
        yield f"- **why** {escape_markdown(finding.why)}"
    if look := words.format_hints(finding):
        yield f"- **hint** {escape_markdown(look)}"
    if finding.fix:
        yield f"- **fix** {quote_code(finding.fix)}"
    if finding.see:
        yield f"- **see** {_render_link(finding.see)}"
    if finding.tags:
        yield f"- **tags** {', '.join(map(quote_code, finding.tags))}"
    if finding.source:
        yield f"- **source** {', '.join(map(quote_code, finding.source))}"
    yield ""


def _render_brief(finding: Finding, omitted: str = "") -> Iterator[str]:
    outcome = f"{finding.outcome}, {finding.disposition}"
    tags = f" {', '.join(map(quote_code, finding.tags))}" if finding.tags else ""
    yield f"- {quote_code(finding.id)} ({outcome}): {escape_markdown(finding.sentence)}{tags}"
    if finding.outcome in ("fail", "unknown"):
        for label, text in (("why", finding.why), ("hint", words.format_hints(finding)), ("fix", finding.fix)):
            if text and text != omitted:
                yield f"  - {label}: {quote_code(text) if label == 'fix' else escape_markdown(text)}"


def _fold_lines(summary: str, lines: Sequence[str]) -> Iterator[str]:
    """Yield lines that unfold; Markdown resumes only after an empty line."""
    yield from (f"<details><summary>{summary}</summary>", "", *lines, "", "</details>", "")


# Waivers and inputs


def _render_waivers(report: Report) -> Iterator[str]:
    given = words.list_waivers(report)
    if not given:
        return
    yield from ("### Waivers", "")
    for waiver, findings in given:
        ids = ", ".join(map(quote_code, waiver.ids))
        used = f", for {', '.join(quote_code(one.id) for one in findings)}" if findings else ""
        state = f"{escape_markdown(words.format_waiver_state(waiver))}: {escape_markdown(waiver.reason)}"
        covered = words.format_coverage(waiver, report)
        wide = f"; {escape_markdown(covered)}" if covered else ""
        permission = f"{escape_markdown(waiver.owner)}, {quote_code(waiver.source)}"
        yield f"- **{waiver.state}** {ids}{used}: {state} ({permission}){wide}"
    yield ""


def _render_basis(report: Report) -> Iterator[str]:
    machine = words.format_machine(report)
    yield f"- {_quote_host(report)}{f': {escape_markdown(machine)}' if machine else ''}"
    if report.host.id:
        yield f"- id {quote_code(report.host.id)}"
    for spec in report.specs:
        yield f"- spec {quote_code(spec.name)}{f': {escape_markdown(spec.title)}' if spec.title else ''}"
        yield f"  - sha256 {quote_code(spec.digest)}"
        lists = (("from", spec.sources), ("extends", spec.extends), ("drops", spec.drops))
        yield from (f"  - {label} {', '.join(map(quote_code, items))}" for label, items in lists if items)
        yield from (f"  - not converted: {escape_markdown(note)}" for note in spec.notes)
    for param in report.params:
        why = f": {escape_markdown(param.why)}" if param.why else ""
        yield f"- {quote_code(f'{param.name}={param.value}')} ({param.source}){why}"


# Escaping


def escape_markdown(text: str) -> str:
    """Escape text so that it renders as itself in any position.

    Block, markup, HTML, link, mention, emoji and formula are covered. A word that a forge would link or notify somebody
    for (`@user`, `#12`, `www.`, a commit) is shown as code. Forges search for these in the rendered text, where an
    escape or a character reference has no effect.
    """
    pieces = (
        _escape_word(piece) if at % 2 else MARKUP.sub(_escape_match, piece) for at, piece in enumerate(WORD.split(text))
    )
    return EDGES.sub(_escape_edge, "".join(pieces))


def _escape_word(word: str) -> str:
    if REFERENCE.search(word):
        return f"`{word}`"
    return DOMAIN.sub(r"\\.", MARKUP.sub(_escape_match, word))


def _escape_match(match: re.Match[str]) -> str:
    punctuation, special = match.groups()
    return f"\\{punctuation}" if punctuation else f"&#{ord(special)};"


def _escape_edge(match: re.Match[str]) -> str:
    """Escape text at an edge: the start of a list, heading or code, or a blank."""
    number, mark = match.group(1, 2)
    return f"{number}\\{mark}" if mark else "&#32;"


def quote_code(text: str) -> str:
    """Return text as code, in a fence longer than any that it contains."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    edge = " " if not text.strip(" ") or text[0] in "` " or text[-1] in "` " else ""
    return f"{fence}{edge}{text}{edge}{fence}"


def _render_link(text: str) -> str:
    return f"<{text}>" if words.is_link(text) else quote_code(text)
