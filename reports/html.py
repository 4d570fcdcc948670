"""Render the report as one HTML file that needs no network and no JavaScript.

Text of a host or a spec is escaped twice: hidden characters first, then by the template. The content security policy
contains the hashes of the only style and the only script. Nothing else in the page can run, load or send.
"""

from __future__ import annotations

import re
from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files

from nodespec.escape import escape_line
from nodespec.judge.fleet_summary import summarize_reports
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.report import DISPOSITIONS, OUTCOMES, Report, Style, compute_exit_code
from nodespec.records import NamedTuple
from nodespec.reports import words

if TYPE_CHECKING:
    from typing import Dict, List, Sequence, Tuple

    from jinja2 import Template

REQUIRES = ("jinja2",)  # Optional: a check without HTML does not need it.
CODE_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
OPTION = re.compile(r"(?<!\S)(--?\w[\w-]*)")  # A line must not break within an option.
MAX_LISTED = 8  # Hosts or requirements that are listed at first.
FOLDED_AFTER = {words.NOT_APPLICABLE: 16, words.PASS: 0}  # Findings of a section that are listed at first.


class HostPage(NamedTuple):
    """The report of one host, and the prefix of the links to its findings."""

    report: Report
    prefix: str

    def anchor(self, id_: str = "") -> str:
        """Return the link id of a finding or of the host, without blanks.

        HTML permits no blanks in an id.
        """
        return re.sub(r"\s", "_", f"{self.prefix}{'/' if self.prefix and id_ else ''}{id_}")


def render(reports: Sequence[Report], style: Style) -> str:  # noqa: ARG001 - all renderers have the same parameters
    """Render the file."""
    css, script = _read_template("report.css"), _read_template("report.js")
    shown = [words.escape_record(report, escape_line) for report in reports]
    pages = _make_pages(shown)
    together = words.escape_record(summarize_reports(reports), escape_line) if len(reports) > 1 else None
    return _compile_template("report.html.j2").render(
        pages=pages,
        together=together,
        anchors={row.host: page.anchor() for row, page in zip(together.matrix, pages)} if together else {},
        few=MAX_LISTED,
        exit=compute_exit_code(reports),
        worst=words.CONCLUSION_BY_CODE[compute_exit_code(reports)],
        counts=[_count_findings(shown, 0, OUTCOMES), _count_findings(shown, 1, DISPOSITIONS)],
        css=css,
        script=script,
        policy=f"default-src 'none'; style-src {_hash_source(css)}; script-src {_hash_source(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        words=words,
        linked=words.is_link,
        ticked=CODE_SPAN.split,
        optioned=OPTION.split,
        folded=FOLDED_AFTER,
    )


@lru_cache(maxsize=1)
def _compile_template(name: str) -> Template:
    """Return a template; compiling it takes longer than rendering a report."""
    import jinja2  # noqa: PLC0415 - only needed for HTML

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(_read_template),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _read_template(name: str) -> str:
    return (files("nodespec.reports") / "templates" / name).read_text("utf-8")


def _hash_source(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _make_pages(reports: Sequence[Report]) -> List[HostPage]:
    """Return the pages; links of several hosts get a prefix.

    Repeated names are numbered.
    """
    if len(reports) == 1:
        return [HostPage(reports[0], "")]
    seen: Dict[str, int] = {}
    pages = []
    for report in reports:
        name = report.host.name or "host"
        seen[name] = seen.get(name, 0) + 1
        pages.append(HostPage(report, f"{name}~{seen[name]}" if seen[name] > 1 else name))
    return pages


def _count_findings(reports: Sequence[Report], which: int, names: Sequence[str]) -> List[Tuple[str, int]]:
    """Return the count of findings of each outcome (0) or disposition (1).

    Counts of zero are omitted.
    """
    values = [(finding.outcome, finding.disposition)[which] for report in reports for finding in report.findings]
    return [(name, values.count(name)) for name in names if name in values]
