"""A report format that prints what a host says as it is, and calls everything but a pass `not ok`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from patching import replace_once

if TYPE_CHECKING:
    from pathlib import Path

TESTS = ("tests/reports/test_every_format.py",)
NOTICED_BY = (
    "test_every_outcome_with_every_disposition_gives_another_text",
    "test_an_outcome_is_called_by_its_own_name",
    "test_nothing_else_is_called_a_failure_or_a_pass",
    "test_no_field_shows_a_control_character_or_adds_markup",
)
FORMAT = '''"""The report as TAP."""

from __future__ import annotations

from typing import Sequence

from nodespec.model.report import Report, Style


def render(reports: Sequence[Report], style: Style) -> str:  # noqa: ARG001
    """One line a requirement."""
    findings = [(report, finding) for report in reports for finding in report.findings]
    lines = [
        f"{'ok' if one.outcome == 'pass' else 'not ok'} {number} - {report.host.name} {one.id}: {one.sentence}"
        for number, (report, one) in enumerate(findings, 1)
    ]
    return "\\n".join(["TAP version 13", f"1..{len(lines)}", *lines, ""])
'''


def apply(top: Path) -> None:
    """Add the format and its word in the registry."""
    (top / "reports/tap.py").write_text(FORMAT)
    replace_once(top / "reports/__init__.py", '"html")', '"html", "tap")')
