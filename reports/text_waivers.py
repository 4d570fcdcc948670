"""Render waivers and waived requirements for a terminal."""

from __future__ import annotations

from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.report import Finding, Report, Waiver
from nodespec.reports import words
from nodespec.reports.text_page import DETAIL_COLUMNS, LABEL_COLUMNS, TextPage, describe_aside, wrap_words

if TYPE_CHECKING:
    from typing import Iterator


def waiver_lines(page: TextPage, report: Report) -> Iterator[str]:
    """Yield each waiver with the requirements that it permits to fail."""
    for waiver, findings in words.list_waivers(report):
        for finding in findings:
            yield from _waived_lines(page, finding)
        if findings:
            text = f"{words.format_waiver_state(waiver)}: {words.format_permission(waiver)}"
            text += _describe_coverage(waiver, report)
            yield from wrap_words(" " * LABEL_COLUMNS, text, LABEL_COLUMNS, page.style.width)
        elif waiver.state != "elsewhere" or page.style.every:
            text = f"{', '.join(waiver.ids)}: {words.format_waiver_state(waiver)}: {words.format_permission(waiver)}"
            yield from page.entry("waiver", f"{text}{_describe_coverage(waiver, report)}")
    for finding in words.list_unwaived(report):
        yield from _waived_lines(page, finding)
    elsewhere = sum(waiver.state == "elsewhere" for waiver in report.waivers)
    if elsewhere and not page.style.every:
        yield from page.entry("waiver", f"{elsewhere} more for other hosts")


def _waived_lines(page: TextPage, finding: Finding) -> Iterator[str]:
    aside = describe_aside(words.WAIVED, finding)
    yield from page.entry("waived", f"{finding.id}: {finding.sentence}{aside}", DETAIL_COLUMNS)


def _describe_coverage(waiver: Waiver, report: Report) -> str:
    coverage = words.format_coverage(waiver, report)
    return f"; {coverage}" if coverage else ""
