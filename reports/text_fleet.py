"""Render the summary of several hosts for a terminal: failing hosts, conformant hosts, shared causes."""

from __future__ import annotations

from nodespec.escape import escape_line
from nodespec.judge import fleet_summary
from nodespec.judge.fleet_summary import Gist, HostRow, Summary
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.report import compute_exit_code
from nodespec.reports import words
from nodespec.reports.text_page import CONCLUSION_COLOURS, LABEL_COLUMNS, MAX_LISTED, TextPage, wrap_words

if TYPE_CHECKING:
    from typing import Iterator, List, Sequence

CONCLUSIONS = ("nonconformant", "indeterminate", "conformant")


def summary_lines(page: TextPage, gists: Sequence[Gist]) -> Iterator[str]:
    """Yield the conclusion over several hosts, a line for each that is not conformant, and common causes."""
    conclusions = [gist.conclusion for gist in gists]
    counts = ", ".join(f"{conclusions.count(one)} {one}" for one in CONCLUSIONS if one in conclusions)
    number = compute_exit_code(gists)
    worst = words.CONCLUSION_BY_CODE[number]
    head = f"{words.format_count(len(gists), 'host')}: {counts}; exit {number}: {words.format_advice(gists)}"
    first, *rest = wrap_words(f"{worst.upper()}: ", head, LABEL_COLUMNS, page.style.width)
    yield page.paint(first[: len(worst)], CONCLUSION_COLOURS[worst]) + first[len(worst) :]
    yield from rest
    together = words.escape_record(fleet_summary.summarize_gists(gists), escape_line)
    yield from _host_lines(page, gists, together.matrix)
    yield from _matrix_lines(page, together)
    hits = together.hits if page.style.every else together.hits[:MAX_LISTED]
    shared = list(fleet_summary.format_summary(together._replace(hits=hits), page.few))
    yield from [""] if shared else []
    for label, text in shared:
        yield from page.entry(label, text)
    if len(hits) < len(together.hits):
        yield from page.entry("causes", page.more(len(together.hits) - len(hits)))


def _host_lines(page: TextPage, gists: Sequence[Gist], rows: Sequence[HostRow]) -> Iterator[str]:
    """Yield a line for each host that is not conformant, the worst first, and a list of the others."""
    ordered: List[int] = sorted(range(len(gists)), key=lambda index: CONCLUSIONS.index(gists[index].conclusion))
    failing = [index for index in ordered if gists[index].conclusion != "conformant"]
    conformant = [rows[index].host for index in ordered if gists[index].conclusion == "conformant"]
    columns = page.column([rows[index].host for index in failing])
    for index in failing:
        lead = f"{rows[index].host.ljust(columns)}  "
        yield from wrap_words(lead, escape_line(gists[index].headline), columns + 2, page.style.width)
    if conformant:
        yield from wrap_words("conformant: ", ", ".join(conformant), 2, page.style.width)


def _matrix_lines(page: TextPage, together: Summary) -> Iterator[str]:
    """Yield the result of each of several specs on each host."""
    if len(together.specs) < 2:  # noqa: PLR2004 - for one spec the line of the host states it
        return
    rows = [("", *together.specs), *((row.host, *row.cells) for row in together.matrix)]
    columns = [page.column([row[index] for row in rows]) for index in range(len(rows[0]))]
    yield ""
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, columns)).rstrip()
