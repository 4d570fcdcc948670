from __future__ import annotations

import json
import typing
from importlib import import_module
from typing import Dict, List, cast

import jsonschema
import pytest
import sample
from pretended import Pretended, planned

from nodespec.judge.judge import Terms, judge
from nodespec.model import json_types
from nodespec.model.json_types import Json
from nodespec.model.observation import Evidence
from nodespec.model.report import DISPOSITIONS, OUTCOMES, Report, Seat, Style
from nodespec.model.report_json import RECORDS, decode_reports, encode_reports
from nodespec.output import writer
from nodespec.reports import FORMATS
from nodespec.reports.json import ALLOWED_VALUES, FIELD_DESCRIPTIONS, LATER_FIELDS, render, schema

SAMPLES = [
    sample.every(),
    sample.joining(),
    sample.fit(),
    sample.at_rest(),
    sample.hidden(),
    sample.partial(),
    sample.lacking(),
    sample.hostile(),
    sample.fit()._replace(plan={"a": [1, None, {"findings": "not one"}]}, facts={"value": {"b": [True, 1.5]}}),
]
VALIDATOR = jsonschema.Draft202012Validator(schema())


def data(*reports: Report) -> Dict[str, List[Dict[str, Json]]]:
    return cast("Dict[str, List[Dict[str, Json]]]", json.loads(render(reports, Style())))


@pytest.mark.parametrize("report", SAMPLES)
def test_a_report_comes_back_as_it_went(report: Report) -> None:
    text = render([report], Style())
    assert text.isascii()
    assert text.endswith("}\n")
    assert decode_reports(json.loads(text)) == (report,)
    assert render(decode_reports(json.loads(text)), Style()) == text


def test_several_reports_and_none_stand_in_one_document() -> None:
    assert decode_reports(json.loads(render(sample.several(), Style()))) == sample.several()
    assert json.loads(render([], Style())) == {"nodespec": 1, "reports": []}


def test_every_finding_stands_with_its_outcome_and_disposition() -> None:
    found = cast("List[Dict[str, str]]", data(sample.every())["reports"][0]["findings"])
    assert [(one["outcome"], one["disposition"]) for one in found] == [(o, d) for o in OUTCOMES for d in DISPOSITIONS]
    assert [one["id"] for one in found] == [f"{o}.{d}" for o in OUTCOMES for d in DISPOSITIONS]


def test_hostile_text_is_escaped_and_stays_what_it_was() -> None:
    text = render([sample.hostile()], Style())
    assert not [char for char in text if ord(char) < 0x20 and char != "\n"]
    assert decode_reports(json.loads(text))[0].host.name == " ".join(sample.HOSTILE)


# the schema


@pytest.mark.parametrize("report", SAMPLES)
def test_the_schema_takes_every_report(report: Report) -> None:
    VALIDATOR.check_schema(schema())
    VALIDATOR.validate(data(report))


def test_the_schema_names_every_field_of_every_record_and_no_other() -> None:
    definitions = cast("Dict[str, Dict[str, Dict[str, Dict[str, str]]]]", schema()["$defs"])
    assert set(definitions) == {kind.__name__.lower() for kind in RECORDS.values()}
    for kind in RECORDS.values():
        fields = definitions[kind.__name__.lower()]["properties"]
        assert tuple(fields) == getattr(kind, "_fields", None)
        required = cast("List[str]", definitions[kind.__name__.lower()]["required"])
        assert [*required, *LATER_FIELDS.get(kind, ())] == list(fields)
        assert all(field["description"] for field in fields.values())
    assert {record for record, _ in ALLOWED_VALUES} <= set(FIELD_DESCRIPTIONS)
    assert all(
        name in typing.get_type_hints(record, localns={**vars(typing), **vars(json_types)})
        for record, name in ALLOWED_VALUES
    )


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("conclusion",), "fine"),
        (("findings", 0, "outcome"), "warning"),
        (("findings", 0, "disposition"), "ignored"),
        (("findings", 0, "waiver"), "0"),
        (("findings", 0, "parts", 0, "observed", "state"), "seen"),
        (("findings", 0, "parts", 0, "evidence", 0, "line"), True),
        (("waivers", 0, "state"), "good"),
        (("specs", 0, "more"), "a field that no record has"),
        (("host", "more"), "likewise"),
        (("more",), "likewise"),
    ],
)
def test_the_schema_refuses_what_is_no_report(where: List[object], value: object) -> None:
    document = json.loads(render([sample.every()], Style()))
    at = document["reports"][0]
    for step in where[:-1]:
        at = at[step]
    at[where[-1]] = value
    assert not VALIDATOR.is_valid(document)


def test_the_schema_refuses_a_report_that_lacks_a_field() -> None:
    for name in Report._fields:
        document = cast("Dict[str, List[Dict[str, Json]]]", encode_reports([sample.fit()]))
        del document["reports"][0][name]
        assert VALIDATOR.is_valid(document) is (name in LATER_FIELDS[Report]), name


def test_a_record_can_be_told_from_text() -> None:
    part = cast("Dict[str, List[Dict[str, Json]]]", encode_reports([sample.lacking()]))["reports"][0]["findings"]
    first = cast("List[Dict[str, List[Dict[str, List[Json]]]]]", part)[0]["parts"][0]["evidence"][0]
    assert first == Evidence("/proc/sys/net")._asdict()


@pytest.mark.parametrize("form", FORMATS)
def test_only_what_embeds_plan_and_facts_is_given_them(form: str) -> None:
    """Of a check as text they are not made at all."""
    said = import_module(f"nodespec.reports.{form}").render
    whole, bare = SAMPLES[-1], SAMPLES[-1]._replace(plan=None, facts=None)
    differs = said([whole], Style()) != said([bare], Style())
    assert differs is writer.embeds_facts(writer.ReportOutput(form)) is (form == "json")
    plan, host = planned("one", one="require: {swap: {total: 0}}"), Pretended({"swap.total": 0})
    for embeds in (True, False):
        made = judge(plan, host, Seat("running", "live", bare.host), Terms(0.0, embeds=embeds))
        assert (made.plan is not None, made.facts is not None) == (embeds, embeds)


def test_a_finding_and_a_row_of_facts_take_one_line_each() -> None:
    report = sample.every()._replace(
        plan={"nodespec": 1, "requirements": [{"id": "a"}, {"id": "b"}]},
        facts={"os.id": ["debian", 1], "sysctl": {"from": "/proc/sys/*", "asked": {"a.b": ["1"], "c.d": ["2"]}}},
    )
    lines = [line.strip().rstrip(",") for line in render([report], Style()).splitlines()]
    for finding in report.findings:
        assert sum(line.startswith(f'{{"id": "{finding.id}", "level": ') for line in lines) == 1
    wanted = ('{"id": "a"}', '{"id": "b"}', '"os.id": ["debian", 1]', '"from": "/proc/sys/*"', '"a.b": ["1"]')
    assert [lines.count(line) for line in wanted] == [1] * len(wanted)
