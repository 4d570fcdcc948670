"""Whole reports as they stand in tests/reports/golden, CASE.EXITCODE.FORMAT: read a diff of them as a stranger would.

`pytest tests/reports --update-golden` writes them anew.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Mapping, Sequence, Tuple

import pytest
import sample

from nodespec.model.report import Report, Style, compute_exit_code

GOLDEN = Path(__file__).parent / "golden"
PLAIN = Style()
SCREEN = Style(width=80)
HOSTILE = sample.finding("fail", name="files./etc/issue", words=" ".join(sample.HOSTILE))
CASES: Mapping[str, Tuple[Sequence[Report], Style, Sequence[str]]] = {
    "joining": ([sample.joining()], SCREEN, ["text", "junit", "markdown"]),
    "joining-all": ([sample.joining()], Style(every=True), ["text"]),
    "joining-colour": ([sample.joining()], Style(colour=True, width=80), ["text"]),
    "fit": ([sample.fit()], PLAIN, ["text", "json", "junit", "markdown"]),
    "image": ([sample.at_rest()], PLAIN, ["text", "junit", "markdown"]),
    "hidden": ([sample.hidden()], SCREEN, ["text", "markdown"]),
    "lacking": ([sample.lacking()], SCREEN, ["text", "junit", "markdown"]),
    "partial": ([sample.partial()], PLAIN, ["text", "json", "junit", "markdown"]),
    "several": (sample.several(), SCREEN, ["text", "junit", "markdown"]),
    "every": ([sample.every()], PLAIN, ["text", "json", "junit", "markdown"]),
    "every-all": ([sample.every()], Style(every=True), ["text"]),
    "hostile": ([sample.report(HOSTILE)], PLAIN, ["text", "json", "junit", "markdown"]),
    "none": ([], PLAIN, ["text", "json", "junit", "markdown"]),
}
FILES = [
    pytest.param(
        reports,
        style,
        f"{case}.{compute_exit_code(reports)}.{format_}",
        id=f"{case}.{compute_exit_code(reports)}.{format_}",
    )
    for case, (reports, style, formats) in CASES.items()
    for format_ in formats
]


@pytest.mark.parametrize(("reports", "style", "name"), FILES)
def test_a_report_reads_as_it_did(
    reports: Sequence[Report], style: Style, name: str, request: pytest.FixtureRequest
) -> None:
    text = import_module(f"nodespec.reports.{name.rpartition('.')[2]}").render(reports, style)
    file = GOLDEN / name
    if request.config.getoption("--update-golden"):
        GOLDEN.mkdir(exist_ok=True)
        file.write_bytes(text.encode())
    assert text == file.read_bytes().decode()


def test_no_golden_report_is_left_over() -> None:
    assert {file.name for file in GOLDEN.iterdir()} == {str(param.id) for param in FILES}
