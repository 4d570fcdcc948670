"""Formats that are told host by host say what they say of all at once, and tell once what hosts have in common."""

from __future__ import annotations

import gc
import json as parser
from typing import TYPE_CHECKING, Sequence, Tuple
from unittest import mock

import pytest
import sample
from test_golden import CASES

from nodespec.judge.fleet_summary import make_gist
from nodespec.model.report import Report, Style
from nodespec.reports import json, text, words
from nodespec.reports.text_page import wrap_words

if TYPE_CHECKING:
    from types import ModuleType

SEVERAL = [reports for reports, *_ in CASES.values() if reports] + [
    [*sample.several(), sample.every(), sample.hostile()]
]


def streamed(format_: ModuleType, reports: Sequence[Report], style: Style) -> str:
    stream = format_.Stream(style)
    parts = [stream.part(report) for report in reports]
    gists = [make_gist(report) for report in reports]
    return str(stream.begin(gists) + stream.between.join(parts) + stream.end(gists))


@pytest.mark.parametrize("format_", [json, text])
@pytest.mark.parametrize("reports", SEVERAL)
@pytest.mark.parametrize("style", [Style(), Style(colour=True, every=True, width=60)])
def test_parts_are_the_whole(format_: ModuleType, reports: Sequence[Report], style: Style) -> None:
    assert streamed(format_, reports, style) == format_.render(reports, style)


@pytest.mark.parametrize("limit", [0, 10**9])
def test_parts_are_the_whole_however_little_is_kept(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    reports = [report for reports in SEVERAL for report in reports] * 2
    wanted = [format_.render(reports, Style()) for format_ in (json, text)]
    for module, name in ((json, "MAX_KEPT_CHARS"), (text, "MAX_MEMOIZED"), (text, "MAX_MEMOIZED_CHARS")):
        monkeypatch.setattr(module, name, limit)
    assert [streamed(format_, reports, Style()) for format_ in (json, text)] == wanted


def test_facts_of_any_shape_are_written_as_they_are() -> None:
    shapes: Tuple[object, ...] = (None, [], {}, [1], 5, "x", {"a": {}, '"\n\u2028': [{"b": [[], None, True, 1.5]}]})
    for facts in shapes:
        one = sample.every()._replace(facts=parser.loads(parser.dumps(facts)))
        assert streamed(json, [one, one], Style()) == json.render([one, one], Style())
    empty = sample.every()._replace(findings=())
    assert streamed(json, [empty], Style()) == json.render([empty], Style())


def test_what_is_one_object_is_written_and_escaped_once() -> None:
    report = sample.every()
    findings, counts = len(report.findings), []
    for times in (1, 50):
        with mock.patch.object(json, "_encode", side_effect=json._encode) as encode:  # noqa: SLF001 - what is written of it
            streamed(json, [report] * times, Style())
        counts.append([encode.call_args_list.count(mock.call(finding)) for finding in report.findings])
    assert counts == [[1] * findings] * 2
    with mock.patch.object(words, "escape_record", side_effect=words.escape_record) as escaped:
        streamed(text, [report] * 50, Style())
    assert [call.args[0] for call in escaped.call_args_list].count(report.findings[0]) == 1
    wrap_words.cache_clear()  # wrapped paragraphs are memoized for the process
    streamed(text, [report] * 50, Style())
    assert wrap_words.cache_info().misses < findings * 8


def test_what_is_kept_is_bounded() -> None:
    report = sample.every()
    stream, page = json.Stream(Style()), text.Stream(Style())
    for number in range(300):
        one = [finding._replace(why=f"{number}" * 500) for finding in report.findings]
        for way in (stream, page):
            way.part(report._replace(findings=tuple(one)))
    assert stream.size < json.MAX_KEPT_CHARS + len(stream.part(report))
    assert len(page.escaped) < text.MAX_MEMOIZED + len(report.findings)
    large = report._replace(findings=(report.findings[0]._replace(why="x" * text.MAX_MEMOIZED_CHARS),))
    page = text.Stream(Style())
    page.part(large)
    assert not page.escaped


def test_nothing_goes_in_circles() -> None:
    """Where there are many, nobody looks for what does."""
    report, stream, page = sample.every(), json.Stream(Style()), text.Stream(Style())
    gc.collect()
    gc.disable()
    try:
        for number in range(20):
            facts = parser.loads(f'{{"a": {{"b": [{number}, "x"]}}}}')
            for way in (stream, page):
                way.part(report._replace(facts=facts, host=report.host._replace(name=f"{number}")))
        assert gc.collect() < 20
    finally:
        gc.enable()
