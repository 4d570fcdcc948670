"""The report as one HTML file to hand on: it asks nothing of a network, and shows all without JavaScript.

Whatever a host or a spec says is made visible first and escaped by the template. The page's content security policy
names the hashes of its one style and its one script, so that nothing else in it can ever run, load or send.
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import Dict, List, Sequence, Tuple

from nodespec.escape import visible
from nodespec.judge.fleet_summary import summary
from nodespec.model.report import DISPOSITIONS, OUTCOMES, Report, Style, code
from nodespec.records import NamedTuple
from nodespec.reports import words

TICKED = re.compile(r"(?<!`)`([^`]+)`(?!`)")
OPTION = re.compile(r"(?<!\S)(--?\w[\w-]*)")  # which no line is to end within
FEW = 8  # hosts or requirements that are named without being asked for
FOLDED = {words.NOT_APPLICABLE: 16, words.PASS: 0}  # how many of a section are listed without being asked for


class Page(NamedTuple):
    """One host's report, and what the links to its findings begin with."""

    report: Report
    prefix: str

    def anchor(self, id_: str = "") -> str:
        """What a finding, or the host itself, is linked by: its id, without the blanks that HTML does not take."""
        return re.sub(r"\s", "_", f"{self.prefix}{'/' if self.prefix and id_ else ''}{id_}")


def render(reports: Sequence[Report], style: Style) -> str:  # noqa: ARG001 - the same call on every renderer
    """The file."""
    import jinja2  # noqa: PLC0415 - only who wants HTML waits for it

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(_source),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css, script = _source("report.css"), _source("report.js")
    shown = [words.escaped(report, visible) for report in reports]
    pages = _pages(shown)
    together = words.escaped(summary(reports), visible) if len(reports) > 1 else None
    return environment.get_template("report.html.j2").render(
        pages=pages,
        together=together,
        anchors={row.host: page.anchor() for row, page in zip(together.matrix, pages)} if together else {},
        few=FEW,
        exit=code(reports),
        worst=words.CONCLUSION[code(reports)],
        counts=[_counts(shown, 0, OUTCOMES), _counts(shown, 1, DISPOSITIONS)],
        css=css,
        script=script,
        policy=f"default-src 'none'; style-src {_hash(css)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        words=words,
        linked=words.LINK.fullmatch,
        ticked=TICKED.split,
        optioned=OPTION.split,
        folded=FOLDED,
    )


def _source(name: str) -> str:
    return (files("nodespec.reports") / "templates" / name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _pages(reports: Sequence[Report]) -> List[Page]:
    """A single host needs no prefix; of several with one name, the later ones are numbered."""
    if len(reports) == 1:
        return [Page(reports[0], "")]
    seen: Dict[str, int] = {}
    pages = []
    for report in reports:
        name = report.host.name or "host"
        seen[name] = seen.get(name, 0) + 1
        pages.append(Page(report, f"{name}~{seen[name]}" if seen[name] > 1 else name))
    return pages


def _counts(reports: Sequence[Report], which: int, names: Sequence[str]) -> List[Tuple[str, int]]:
    """How many findings of all hosts have each outcome (0) or disposition (1); those that none has are left out."""
    found = [(one.outcome, one.disposition)[which] for report in reports for one in report.findings]
    return [(name, found.count(name)) for name in names if name in found]
