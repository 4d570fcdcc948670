from __future__ import annotations

from html.parser import HTMLParser
from typing import List, Optional, Sequence, Tuple

import pytest
import sample
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from nodespec.escape import escape_line
from nodespec.model.report import DISPOSITIONS, OUTCOMES, Report, Style
from nodespec.reports.markdown import MAX_BYTES, escape_markdown, quote_code, render

BLOCKS = {"h1", "h2", "h3", "h4", "p", "ul", "li", "blockquote", "details", "summary"}
OURS = BLOCKS | {"a", "code", "strong", "table", "thead", "tbody", "tr", "th", "td"}
PLACES = {
    "fail.enforced": "1 fail",
    "unknown.enforced": "1 unknown",
    "fail.advisory": "Warnings",
    "unknown.advisory": "Warnings",
    "fail.waived": "Waived",
    "unknown.waived": "Waived",
    **{f"deferred.{one}": "Deferred" for one in ("enforced", "advisory", "waived")},
    **{f"not-applicable.{one}": "Not applicable" for one in ("enforced", "advisory", "waived")},
    **{f"pass.{one}": "Pass" for one in ("enforced", "advisory", "waived")},
    **{f"skipped.{one}": "Skipped" for one in DISPOSITIONS},
    **{f"{one}.skipped": "Skipped" for one in OUTCOMES},
}


class Page(HTMLParser):
    """What a browser would make of rendered Markdown: its elements, its text, and the targets of its links."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags: List[str] = []
        self.links: List[str] = []
        self.title = ""
        self.titled: List[Tuple[str, str]] = []  # a heading or summary, and the text below it
        self.text = ""
        self.feed(MarkdownIt("gfm-like").render(markdown))

    def handle_starttag(self, tag: str, attrs: List[Tuple[str, Optional[str]]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("href", "src")]
        if tag in ("h2", "h3", "summary"):
            self.titled.append(("", ""))
            self.title = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self.title:
            self.title = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.titled:
            title, below = self.titled[-1]
            self.titled[-1] = (title + data, below) if self.title else (title, below + data)


def page(*reports: Report) -> Page:
    return Page(render(reports, Style()))


def test_every_outcome_of_every_disposition_stands_below_its_title() -> None:
    assert set(PLACES) == {f"{outcome}.{disposition}" for outcome in OUTCOMES for disposition in DISPOSITIONS}
    found = page(sample.every())
    for name, title in PLACES.items():
        [below] = [below for head, below in found.titled if head.startswith(title)]
        assert name in below
        assert name.endswith("enforced") or f"{name} ({name.replace('.', ', ')})" in below


def test_the_counts_of_every_outcome_and_disposition_stand_in_the_table() -> None:
    rows = [line for line in render([sample.joining()], Style()).splitlines() if line.startswith("| ")]
    assert rows[1] == "| fail | 3 | 4 | 1 |  |"
    assert [row.split("|")[1].strip() for row in rows] == ["outcome", *OUTCOMES]


def test_the_conclusion_is_the_first_line_and_the_exit_code_the_last() -> None:
    lines = render([sample.joining()], Style()).splitlines()
    assert lines[0] == f"## {sample.joining().headline}"
    assert lines[-1] == "**exit 10**: do not join"


def test_several_hosts_are_counted_first() -> None:
    text = render(sample.several(), Style())
    assert text.startswith("# nonconformant: 3 hosts: 1 conformant, 1 nonconformant, 1 indeterminate\n")
    for report in sample.several():
        assert f"- `{report.host.name}`: {report.headline}" in text


def test_failures_share_their_cause_and_are_told_in_full() -> None:
    text = page(sample.lacking()).text
    assert "2 with the same cause: the module br_netfilter, which would bring it, is not loaded" in text
    assert "modprobe br_netfilter" in text
    assert "network.interfaces.eth1.mtu wanted >=1450, found 1400 /sys/class/net/eth1/mtu:1" in text


def test_links_lead_to_the_web_or_are_no_links() -> None:
    assert "https://kubernetes.io/docs/setup/" in page(sample.every()).links
    for see in ("javascript:alert(1)", "https://a/> <b>", "http://a b", "ftp://example.org", "data:text/html,x"):
        finding = sample.finding("fail")._replace(see=see)
        assert page(sample.report(finding)).links == []


def test_hostile_text_is_shown_and_renders_as_nothing() -> None:
    found = page(sample.hostile())
    assert set(found.tags) <= OURS
    assert found.links == []
    words = escape_line(" ".join(sample.HOSTILE))
    # every finding: its id, and in all but the cause's list its sentence
    assert found.text.count(words) > 2 * len(sample.hostile().findings)


@pytest.mark.parametrize("words", sample.HOSTILE)
def test_each_kind_of_hostile_text_is_shown_as_it_is(words: str) -> None:
    found = page(sample.report(sample.finding("fail", words=words, name=words)))
    assert found.text.count(escape_line(words).strip()) >= 5  # id, sentence, where it was seen, why, fix, see, source
    assert set(found.tags) <= OURS
    assert found.links == []


# no letters of a country's domain: the parser here links 1.aw, which GitHub does not
@given(st.text(st.sampled_from("`*_[]()<>!&#@:/\\~|$w.- x1\n"), max_size=20))
@settings(max_examples=200)
def test_text_and_code_render_as_themselves(words: str) -> None:
    said = escape_line(words)
    assert _inline(f"x {escape_markdown(said)} x") == _squeezed(f"x {said} x")
    assert _inline(f"x {quote_code(said)} x") == _squeezed(f"x {said} x")


def _inline(markdown: str) -> str:
    found = Page(markdown)
    assert set(found.tags) <= {"p", "code"}
    return _squeezed(found.text)


def _squeezed(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    "reports",
    [
        [sample.report(*(sample.finding("fail", name=f"n{n}", words="é" * 3000) for n in range(100)))],
        [sample.report(*(sample.finding("pass", name=f"n{n}" + "é" * 3000) for n in range(800)))],
        [sample.every()] * 250,
    ],
)
def test_a_summary_stays_below_a_megabyte(reports: Sequence[Report]) -> None:
    text = render(reports, Style())
    assert len(text.encode()) <= MAX_BYTES
    assert text.startswith("#")
    for name in {finding.id[:3] for finding in reports[0].findings} if len(reports) == 1 else ():
        assert name in text


def test_what_was_cut_says_so() -> None:
    assert "too long for a summary" in render([sample.every()] * 250, Style())
    long = [sample.report(*(sample.finding("fail", name=f"n{n}", words="e" * 3000) for n in range(100)))]
    assert "... (3000 characters)" in render(long, Style())
