"""Contracts that every format of `reports.FORMATS` keeps; a new format is tested without a change here.

What markup is depends on the format, so the structure of the output is compared: with hostile text in a field it must
be the structure that harmless text gives. The kind of output (JSON, XML, HTML, Markdown, lines) is told by its start.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from importlib import import_module
from itertools import combinations
from typing import Callable, Dict, Iterator, List, Sequence, Tuple

import pytest
import sample
from markdown_it import MarkdownIt

from nodespec.judge.conclusion import derive_conclusion
from nodespec.judge.fleet_summary import make_gist
from nodespec.model.report import DISPOSITIONS, OUTCOMES, Finding, Report, Style
from nodespec.reports import FORMATS
from nodespec.reports.json import ALLOWED_VALUES

ALL = Style(every=True)
STYLES = (Style(), ALL, Style(colour=True, every=True, width=60))
COMBINATIONS = [(outcome, disposition) for outcome in OUTCOMES for disposition in DISPOSITIONS]
NAMES = {
    "fail": r"fail\w*",
    "unknown": r"unknown\w*|not known",
    "deferred": r"deferred",
    "not-applicable": r"not[- ]applicable|n/a",
    "skipped": r"skip\w*",
}
BLAME = r"fail\w*|not ok|nok|bad|broken|violat\w*|wrong|nonconformant"  # words that only a failure may have
PRAISE = r"(?<!not )ok|pass(?:ed|es)?|success\w*"  # words that only a pass may have
Path = Tuple[object, ...]


def render(form: str, *reports: Report, style: Style = ALL) -> str:
    return str(import_module(f"nodespec.reports.{form}").render(reports, style))


# outcomes and dispositions


def judged(outcome: str, disposition: str, beside: str = "fail") -> Report:
    """A report of a constant finding and of one in which nothing but outcome and disposition differs."""
    constant, one = sample.finding(beside, name="one"), sample.finding("pass", name="two")
    part = one.parts[0]._replace(outcome=outcome)
    one = one._replace(outcome=outcome, disposition=disposition, sentence="1 2", parts=(part,))
    findings = (constant, one)
    return sample.report(*findings, conclusion=derive_conclusion(findings))


@cache
def words_of(form: str, pattern: str, both: Tuple[str, str], style: Style, beside: str = "fail") -> Counter[str]:
    text = re.sub("\x1b\\[[0-9;]*m", "", render(form, judged(*both, beside=beside), style=style)).lower()
    return Counter(re.findall(f"(?<![a-z])(?:{pattern})(?![a-z])", text))


@pytest.mark.parametrize("form", FORMATS)
def test_every_outcome_with_every_disposition_gives_another_text(form: str) -> None:
    texts = {both: render(form, judged(*both)) for both in COMBINATIONS}
    assert [(one, other) for one, other in combinations(COMBINATIONS, 2) if texts[one] == texts[other]] == []


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("outcome", NAMES)
def test_an_outcome_is_called_by_its_own_name(form: str, outcome: str, style: Style) -> None:
    beside = "pass" if outcome == "fail" else "fail"
    counts = {
        other: sum(words_of(form, NAMES[outcome], (other, "enforced"), style, beside).values()) for other in OUTCOMES
    }
    own = counts.pop(outcome)
    assert [other for other, times in counts.items() if times >= own] == []


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", [("fail", BLAME, "pass"), ("pass", PRAISE, "fail")], ids=["failure", "pass"])
def test_nothing_else_is_called_a_failure_or_a_pass(form: str, kind: Tuple[str, str, str], style: Style) -> None:
    """A format may count them or explain a section, in the same words whatever the finding is."""
    outcome, pattern, opposite = kind
    plain = words_of(form, pattern, (opposite, "enforced"), style)
    for other, disposition in COMBINATIONS:
        own = words_of(form, pattern, (outcome, disposition), style)
        found = words_of(form, pattern, (other, disposition), style)
        most = max(sum(plain.values()), sum(own.values()) - 1)
        assert other == outcome or sum(found.values()) <= most, (other, disposition, found)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("context", "outcome"), [("running", "unknown"), ("running", "fail"), ("at rest", "deferred")])
def test_every_finding_of_a_report_is_named(form: str, context: str, outcome: str) -> None:
    findings = [sample.finding(outcome, name=f"requirement.{number}") for number in range(40)]
    text = render(form, sample.report(*findings)._replace(context=context))
    assert [finding.id for finding in findings if finding.id not in text] == []


# hostile text


CONTROL = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
HOSTILE = (
    *sample.HOSTILE,
    "\x1b]8;;https://example.org\x07x\x1b]8;;\x07 \x9b2J",
    "\x00\x07\x08\r\x0b\x0c\x7f",
    "x\nnot ok 1 - y # SKIP\n1..9\n---\n...\nBail out!",
    'x", "outcome": "pass", "y": "',
    "\"/><testcase name='x'/><failure/>]]><![CDATA[",
    "{{ 7 * 7 }} {% raw %} ${x} #{x} %s %(x)s {0}",
    "@everyone #1 ::error::x ##[error]x ##vso[task.complete]x ##teamcity[x]",
    "=cmd|'/C calc'!A0, ;\t'--",
)


def leaves(record: object, path: Path = ()) -> Iterator[Path]:
    """The place of every text that a host or an author may have written."""
    if isinstance(record, str):
        yield path
    elif hasattr(record, "_fields"):
        for name in record._fields:
            if (type(record), name) not in ALLOWED_VALUES and name not in ("plan", "facts"):
                yield from leaves(getattr(record, name), (*path, name))
    elif isinstance(record, tuple):
        for index, one in enumerate(record):
            yield from leaves(one, (*path, index))


def replaced(record: object, path: Path, text: str) -> object:
    """The record with a text at one place."""
    if not path:
        return text
    first, *rest = path
    if isinstance(first, str):
        inner = replaced(getattr(record, first), tuple(rest), text)
        return getattr(record, "_replace")(**{first: inner})  # noqa: B009 - of any record
    assert isinstance(record, tuple)
    assert isinstance(first, int)
    return (*record[:first], replaced(record[first], tuple(rest), text), *record[first + 1 :])


def small() -> Report:
    """A report with every field filled, and no more of each than is shown in a way of its own."""
    base = sample.every()
    kept = [base.findings[OUTCOMES.index(outcome) * len(DISPOSITIONS)] for outcome in OUTCOMES]
    waived = next(one for one in base.findings if (one.outcome, one.disposition) == ("fail", "waived"))
    advisory = next(one for one in base.findings if (one.outcome, one.disposition) == ("unknown", "advisory"))
    unknowns = [one for one in base.findings if one.outcome == "unknown"][:1]
    findings = (*kept, waived, advisory, *[one._replace(id="unknown.too") for one in unknowns])
    causes = [cause._replace(ids=(*cause.ids, "unknown.too")) for cause in base.causes]
    findings = tuple(one._replace(see="https://example.org/x") for one in findings)
    host = base.host._replace(container="docker", next="6.6.6", product="aa", addresses="bb")
    return base._replace(
        findings=findings,
        causes=tuple(causes),
        host=host,
        specs=(base.specs[0]._replace(notes=("x",)),),
        door="root /x",
    )


SMALL = small()
PLACES: Dict[str, List[Path]] = {}
for leaf in leaves(SMALL):
    PLACES.setdefault(".".join(name for name in leaf if isinstance(name, str)), []).append(leaf)
HARMLESS = "harmless"


def changed(place: str, text: str, report: Report = SMALL) -> Report:
    """The text in a field of all records of a kind."""
    found: object = report
    for path in PLACES[place]:
        found = replaced(found, path, text)
    assert isinstance(found, Report)
    return found


def everywhere(text: str) -> Report:
    """The text in every place at once."""
    found = SMALL
    for place in PLACES:
        found = changed(place, text, found)
    return found._replace(host=found.host._replace(addresses="bb"))  # each of its words is compared between hosts


@pytest.mark.parametrize("form", FORMATS)
def test_no_field_shows_a_control_character_or_adds_markup(form: str) -> None:
    words = "a" + "".join(HOSTILE) + "b"
    for place in PLACES:
        harmless, text = (render(form, changed(place, one)) for one in (HARMLESS, words))
        assert CONTROL.findall(text) == [], place
        text.encode()
        shape = shape_of(harmless)
        assert shape(text) == shape(harmless), place


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("place", ["host.name", "findings.sentence"])
def test_no_text_alone_adds_markup(form: str, place: str) -> None:
    harmless = render(form, changed(place, HARMLESS))
    shape = shape_of(harmless)
    for words in HOSTILE:
        assert shape(render(form, changed(place, words))) == shape(harmless), words


@pytest.mark.parametrize("form", FORMATS)
def test_several_hostile_hosts_show_nothing_but_text(form: str) -> None:
    words = "".join(HOSTILE)
    harmless, text = (render(form, *[everywhere(one)] * 3) for one in (HARMLESS, words))
    shape = shape_of(harmless)
    assert CONTROL.findall(text) == []
    assert shape(text) == shape(harmless)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("place", ["host.name", "findings.sentence", "notices", "specs.name"])
def test_a_very_long_text_is_cut_unless_the_format_is_the_record_itself(form: str, place: str) -> None:
    text = render(form, changed(place, "a<\x1b" * 400_000))
    assert CONTROL.findall(text) == []
    embeds = getattr(import_module(f"nodespec.reports.{form}"), "EMBEDS", False)
    assert embeds or len(text) < 1_000_000


Shape = Callable[[str], object]


def shape_of(text: str) -> Shape:
    """What tells the structure of an output of this kind from its text."""
    if text.startswith(("{", "[")):
        return lambda one: _skeleton(json.loads(one))
    if text.startswith("<?xml"):
        return lambda one: [(node.tag, sorted(node.attrib)) for node in ET.fromstring(one).iter()]  # noqa: S314 - ours
    if text.lstrip().lower().startswith("<"):
        return _tags
    if text.startswith("#"):
        return _blocks
    return lambda one: sum(bool(line[:1].strip()) for line in one.splitlines())


def _skeleton(item: object) -> object:
    if isinstance(item, dict):
        return {name: _skeleton(value) for name, value in item.items()}
    return [_skeleton(one) for one in item] if isinstance(item, list) else type(item).__name__


def _tags(page: str) -> List[Tuple[str, ...]]:
    found: List[Tuple[str, ...]] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Sequence[Tuple[str, object]]) -> None:
            if tag not in TEXTUAL:
                found.append((tag, *(name for name, _ in attrs if name != "class")))

    Tags().feed(page)
    return found


TEXTUAL = ("code", "span", "a")  # what a page makes of backticks, options and addresses: harmless around text


def _blocks(text: str) -> List[str]:
    tokens = MarkdownIt("gfm-like").parse(text)
    inner = [token for block in tokens for token in (block, *(block.children or []))]
    return [f"{token.type} {token.tag}" for token in inner if token.type not in INLINE]


INLINE = ("text", "code_inline", "softbreak", "link_open", "link_close")  # links: test_untrusted_text.py


# bytes


def documents() -> Dict[str, Tuple[Report, ...]]:
    several = sample.several()
    return {
        "none": (),
        "one": (sample.every(),),
        "several": several,
        "hostile": (*several, sample.hostile(), everywhere("".join(HOSTILE))),
        "without findings": (sample.report(conclusion="indeterminate"),),
    }


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", documents())
@pytest.mark.parametrize("style", STYLES)
def test_the_same_reports_give_the_same_bytes(form: str, name: str, style: Style) -> None:
    first = render(form, *documents()[name], style=style).encode()
    assert first == render(form, *documents()[name], style=style).encode()
    assert first.strip()


@pytest.mark.parametrize("form", FORMATS)
def test_several_reports_are_all_in_the_text(form: str) -> None:
    reports = [sample.report(sample.finding("fail", name=f"only.{n}")) for n in range(3)]
    reports = [one._replace(host=one.host._replace(name=f"machine-{n}")) for n, one in enumerate(reports)]
    text = render(form, *reports)
    assert [n for n in range(3) if f"machine-{n}" not in text or f"only.{n}" not in text] == []
    assert render(form, *reversed(reports)) != text


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", [name for name, reports in documents().items() if reports])
@pytest.mark.parametrize("style", STYLES)
def test_a_stream_says_what_render_says(form: str, name: str, style: Style) -> None:
    module, reports = import_module(f"nodespec.reports.{form}"), documents()[name]
    if not hasattr(module, "Stream"):
        pytest.skip("told at once")
    stream, gists = module.Stream(style), [make_gist(report) for report in reports]
    parts = [stream.part(report) for report in reports]
    assert stream.begin(gists) + stream.between.join(parts) + stream.end(gists) == module.render(reports, style)


def test_the_places_are_those_of_a_whole_report() -> None:
    named = {name for place in PLACES for name in place.split(".")}
    texts = {name for name in Finding._fields if isinstance(getattr(SMALL.findings[0], name), str)}
    assert texts - {"level", "outcome", "disposition"} <= named
    assert {"host", "specs", "params", "waivers", "causes", "notices", "evidence", "observed", "door", "tool"} <= named
    assert len(PLACES) > 45
