"""Text of hosts and specs: it adds nothing to a report but itself, and only web pages are linked."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import import_module
from typing import List, Optional, Tuple

import pytest
import sample
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from nodespec.escape import escape_line
from nodespec.model.report import Host, Report, Style
from nodespec.output.writer import list_formats
from nodespec.reports.markdown import escape_markdown, render

PARSER = MarkdownIt("gfm-like")
BLOCKS = (
    "# CONFORMANT: all pass",
    "###### x",
    "#",
    "- x",
    "+ x",
    "* x",
    "-",
    "1. x",
    "123456789) x",
    "1.",
    "> x",
    "    code",
    " - x",
    "```",
    "~~~ x",
    "===",
    "---",
    "- - -",
    "***",
    "___",
    "| a |",
    "|---|",
    ":-: | :-:",
    "<div>",
    "</details>",
    "<!-- x",
    "<?x",
    "[x]: https://example.org",
    "[ ] x",
    "[^1]: x",
    "\t- x",
    "\n\n# x",
    "\r\n- x",
    "x\n===",
    "x  ",
    "x\\",
    "!!! note",
    "::: x",
    "> [!NOTE]",
)
INLINE = (
    "**x**",
    "_x_",
    "~~x~~",
    "`x`",
    "``",
    "[x](https://example.org)",
    "![x](https://example.org)",
    "<https://example.org>",
    "<b>x</b>",
    "&amp;",
    "&#35;",
    "https://example.org",
    "www.example.org",
    "example.org",
    "ftp://example.org",
    "mailto:a@example.org",
    "a@example.org",
    "HTTP://EXAMPLE.ORG",
    "//example.org",
)
NOTIFYING = (
    "@user",
    "#123",
    "GH-123",
    "owner/repo#1",
    "!12",
    "0123456789abcdef0123456789abcdef01234567",
    "deadbeef1",
    ":tada:",
)
LINKS = ("https://kubernetes.io/docs/", "http://example.org", "https://example.org:8443/a?b=c#d")
NO_LINKS = (
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " javascript:alert(1)",
    "\x01javascript:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,x",
    "file:///etc/passwd",
    "vbscript:x",
    "//example.org/x",
    "ftp://example.org",
    " https://example.org",
    "https://example.org x",
    "https://user@example.org/",
    "https://kubernetes.io@example.org",
    "https:///example.org",
    "https://",
    "https:javascript:alert(1)",
    "https://example.org/\u202egpj.exe",
)


def elements(markdown: str) -> List[Tuple[str, str]]:
    """The elements of rendered Markdown but code spans, in their order."""
    tokens = [token for block in PARSER.parse(markdown) for token in (block, *(block.children or []))]
    plain = ("text", "code_inline", "inline", "softbreak")
    return [(token.type, token.tag or token.content) for token in tokens if token.type not in plain]


class Text(HTMLParser):
    """The text of a page, and where its links lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.links = "", list[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: List[Tuple[str, Optional[str]]]) -> None:
        self.links += [value or "" for name, value in attrs if tag == "a" and name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


def squeezed(text: str) -> str:
    return " ".join(text.split())


def everywhere(words: str) -> List[Report]:
    """Two reports with the text wherever a host or a spec has the word."""
    base = sample.hostile()
    findings = tuple(
        sample.finding(f.outcome, f.disposition, name=words, words=words, waiver=f.waiver) for f in base.findings
    )
    findings = tuple(finding._replace(see="no link") for finding in findings)
    host = Host(*(words for _ in Host._fields))._replace(addresses="of one word each")
    spec = base.specs[0]
    names = spec._replace(
        name=words, title=words, digest=words, sources=(words,), extends=(words,), drops=(words,), notes=(words,)
    )
    one = base._replace(
        findings=findings,
        door=words,
        time=words,
        tool=words,
        host=host,
        specs=(names,),
        params=tuple(one._replace(name=words, value=words, why=words) for one in base.params),
        waivers=tuple(
            w._replace(ids=(words,), hosts=(words,), reason=words, owner=words, source=words, expires=words)
            for w in base.waivers
        ),
        causes=tuple(one._replace(say=words, look=words, ids=(words,)) for one in base.causes),
        notices=(words,),
    )
    other = one._replace(specs=(names, names._replace(name="other " + words)))
    return [one, other]


PLAIN = [elements(render(reports, Style())) for reports in (everywhere("x"), everywhere("x")[:1])]


def add_nothing(words: str) -> None:
    for reports, plain in zip((everywhere(words), everywhere(words)[:1]), PLAIN):
        markdown = render(reports, Style())
        assert elements(markdown) == plain
        shown = squeezed(Text(PARSER.render(markdown)).text)
        assert shown.count(squeezed(escape_line(words))) >= 20


@pytest.mark.parametrize("words", [*BLOCKS, *INLINE, *NOTIFYING])
def test_no_text_adds_an_element_to_a_report(words: str) -> None:
    add_nothing(words)


@given(st.text(st.sampled_from("#-+*_=~`|<>[]()!&@:/\\.$%^ 019axw\t\n\u00a0"), min_size=1, max_size=12))
@settings(max_examples=60)
def test_no_made_up_text_adds_an_element_to_a_report(words: str) -> None:
    said = escape_line(words)
    for before in ("", "# x\n\n", "- **why** ", "> ", "x\n\n"):
        plain, found = f"{before}x\n\n- y\n", f"{before}{escape_markdown(said)}\n\n- y\n"
        assert not said.strip() or elements(found) == elements(plain), found
        shown = squeezed(Text(PARSER.render(found)).text)
        assert squeezed(said) in shown


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30))
@settings(max_examples=200)
def test_text_in_any_script_is_shown_as_itself(words: str) -> None:
    said = escape_line(words)
    found = escape_markdown(said)
    assert not said.strip() or elements(found) == elements("x")
    assert squeezed(Text(PARSER.render(found)).text) == squeezed(said)


@pytest.mark.parametrize("words", NOTIFYING)
def test_a_reference_of_a_forge_is_code(words: str) -> None:
    assert escape_markdown(f"x {words} x") == f"x `{words}` x"


def test_ordinary_sentences_stay_readable() -> None:
    said = "wanted >=5.8, found 6.1.176: the kubelet needs 1073741824 bytes (1Gi)"
    assert escape_markdown(said) == said.replace(">", "&#62;")


@pytest.mark.parametrize("see", [*LINKS, *NO_LINKS])
@pytest.mark.parametrize("form", list_formats())
def test_only_web_pages_are_linked(form: str, see: str) -> None:
    report = sample.report(sample.finding("fail")._replace(see=see))
    text = import_module(f"nodespec.reports.{form}").render([report], Style(colour=True))
    if form in ("markdown", "html"):
        links = Text(PARSER.render(text) if form == "markdown" else text).links
        assert [link for link in links if not link.startswith("#")] == ([see] if see in LINKS else [])
    else:
        assert "\x1b]8" not in text
        assert not re.search(r"<a\b|href", text)
