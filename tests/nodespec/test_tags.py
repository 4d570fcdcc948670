"""Tags of requirements and rules: in the plan, in every format, and as a selection."""

from __future__ import annotations

import json
from typing import Dict

import pytest
from pretended import HERE, Pretended, Said, planned

from nodespec.author.verify.verification import compare_report
from nodespec.errors import UsageError
from nodespec.judge.conclusion import Choice
from nodespec.judge.judge import ALL_REQUIREMENTS, Terms, judge
from nodespec.model.observation import Value
from nodespec.model.plan import Plan, decode_plan
from nodespec.model.plan_json import encode_plan
from nodespec.model.report import Host, Report, Seat, Style
from nodespec.model.report_json import decode_reports
from nodespec.reports import html, junit, markdown, text
from nodespec.reports import json as json_format
from nodespec.run.check import check_choice

SPEC = """
require:
  os: {id: {is: debian, tags: [CIS-1.1, KEP-2254]}, name: Debian}
rules:
  - name: both
    tags: [CIS-2]
    require:
      files: {/x: {tags: [CIS-3], mode: {is: "0600", tags: [CIS-4.1.5]}}}
  - name: either
    tags: [KEP-1]
    any: [os: {id: a}, os: {id: b}]
"""
TAGS = {
    "os.id": ("CIS-1.1", "KEP-2254"),
    "os.name": (),
    "both.files./x.mode": ("CIS-2", "CIS-3", "CIS-4.1.5"),
    "either": ("KEP-1",),
}
FACTS: Dict[str, Said] = {
    "os.id": "debian",
    "os.name": "Fedora",
    "files./x.mode": "0644",
    "files./x": Value("there", HERE),
}


def judged(plan: Plan, choice: Choice = ALL_REQUIREMENTS) -> Report:
    return judge(plan, Pretended(FACTS), Seat("running", "live", Host("x")), Terms(0, choice))


def tags_of(plan: Plan) -> Dict[str, object]:
    return {requirement.id: requirement.tags for requirement in plan.requirements}


def test_a_requirement_has_its_tags_and_those_of_its_rule() -> None:
    plan = planned(a=SPEC)
    assert tags_of(plan) == TAGS
    assert tags_of(decode_plan(json.loads(json.dumps(encode_plan(plan))))) == TAGS
    assert {finding.id: finding.tags for finding in judged(plan).findings} == TAGS


def test_the_tags_of_all_specs_are_joined() -> None:
    plan = planned(
        a="extends: [b]\nrequire: {os: {id: {is: x, tags: [B, C]}}}", b="require: {os: {id: {is: x, tags: [A, B]}}}"
    )
    assert tags_of(plan)["os.id"] == ("A", "B", "C")


def test_a_plan_without_tags_is_that_of_earlier_versions() -> None:
    requirement = encode_plan(planned(a="require: {os: {id: x}}"))["requirements"]
    assert "tags" not in json.dumps(requirement)


@pytest.mark.parametrize("name", ["text", "json", "junit", "markdown", "html"])
def test_every_format_has_the_tags(name: str) -> None:
    render = {"text": text, "json": json_format, "junit": junit, "markdown": markdown, "html": html}[name].render
    page = render([judged(planned(a=SPEC))], Style(every=True))
    assert [tag for tags in TAGS.values() for tag in tags if tag not in page] == []


def test_a_stored_report_keeps_its_tags() -> None:
    report = judged(planned(a=SPEC))
    (stored,) = decode_reports(json.loads(json_format.render([report], Style())))
    assert {finding.id: finding.tags for finding in stored.findings} == TAGS
    assert compare_report(stored).differences == ()
    forged = stored._replace(findings=tuple(one._replace(tags=("CIS-9",)) for one in stored.findings))
    assert any("tags" in line for line in compare_report(forged).differences)


@pytest.mark.parametrize(
    ("choice", "selected"),
    [
        (Choice(only=("tag:CIS-*",)), ["os.id", "both.files./x.mode"]),
        (Choice(only=("tag:KEP-1", "os.name")), ["os.name", "either"]),
        (Choice(skip=("tag:CIS-*",)), ["os.name", "either"]),
        (Choice(only=("tag:*",), skip=("tag:KEP-*",)), ["both.files./x.mode"]),
    ],
)
def test_tags_select_requirements(choice: Choice, selected: object) -> None:
    plan = planned(a=SPEC)
    check_choice(choice, plan)
    assert [one.id for one in judged(plan, choice).findings if one.outcome != "skipped"] == selected


@pytest.mark.parametrize("glob", ["tag:CIS-9", "tag:cis-*", "CIS-*", "tag:"])
def test_a_tag_that_no_requirement_has_is_an_error(glob: str) -> None:
    with pytest.raises(UsageError, match="no requirement matches"):
        check_choice(Choice(only=(glob,)), planned(a=SPEC))


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ("[]", "must not be empty"),
        ("x", "list"),
        ("[a b]", "is not a tag"),
        ("[-x]", "is not a tag"),
        ("[x, x]", "duplicate"),
    ],
)
def test_what_is_no_tag_is_refused(tags: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        planned(a=f"require: {{os: {{id: {{is: x, tags: {tags}}}}}}}")


def test_a_condition_has_no_tags() -> None:
    with pytest.raises(UsageError, match="tags are not allowed in a pattern"):
        planned(a="rules: [{name: x, when: {os: {id: {is: x, tags: [A]}}}, require: {os: {name: y}}}]")
