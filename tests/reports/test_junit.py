from __future__ import annotations

import re
from typing import Dict, Sequence
from xml.etree import ElementTree as ET

import pytest
import sample

from nodespec.escape import escape_line
from nodespec.model.report import DISPOSITIONS, OUTCOMES, Report, Style
from nodespec.reports.junit import ELEMENT, render

# what readers of JUnit agree on: an element's children, and its attributes, the needed ones first
GRAMMAR = {
    "testsuites": (["testsuite"], [], ["name", "tests", "failures", "errors"]),
    "testsuite": (
        ["properties", "testcase", "system-out"],
        ["name", "tests", "failures", "errors"],
        ["skipped", "timestamp", "hostname", "id"],
    ),
    "properties": (["property"], [], []),
    "property": ([], ["name", "value"], []),
    "testcase": (["skipped", "error", "failure"], ["name"], ["classname"]),
    "skipped": ([], [], ["type", "message"]),
    "error": ([], [], ["type", "message"]),
    "failure": ([], [], ["type", "message"]),
    "system-out": ([], [], []),
}
REPORTS = [
    [sample.every()],
    [sample.joining()],
    [sample.hostile()],
    sample.several(),
    [sample.fit()._replace(findings=())],
    [],
]


def tree(*reports: Report) -> ET.Element:
    return ET.fromstring(render(reports, Style()))  # noqa: S314 - made here


@pytest.mark.parametrize("reports", REPORTS)
def test_the_document_is_valid(reports: Sequence[Report]) -> None:
    text = render(reports, Style())
    for element in ET.fromstring(text).iter():  # noqa: S314
        children, needed, allowed = GRAMMAR[element.tag]
        assert {child.tag for child in element} <= set(children)
        assert set(needed) <= set(element.keys()) <= {*needed, *allowed}
    assert text.isascii()
    assert text.endswith("</testsuites>\n")


def test_every_outcome_of_every_disposition_is_a_case_that_says_so() -> None:
    assert set(ELEMENT) == {(outcome, disposition) for outcome in OUTCOMES for disposition in DISPOSITIONS}
    cases = {str(case.get("name")): case for case in tree(sample.every()).iter("testcase")}
    assert len(cases) == len(ELEMENT)
    for outcome in OUTCOMES:
        for disposition in DISPOSITIONS:
            said = [(one.tag, one.get("type")) for one in cases[f"{outcome}.{disposition}"]]
            if outcome == "pass" and disposition != "skipped":
                assert said == []
                continue
            [(element, kind)] = said
            enforced = {"fail": "failure", "unknown": "error"}.get(outcome) if disposition == "enforced" else None
            assert element == (enforced or "skipped")
            assert kind is not None
            assert outcome in kind.split()
            assert disposition in (*kind.split(), "enforced")


@pytest.mark.parametrize("reports", REPORTS)
def test_the_counts_are_those_of_the_cases(reports: Sequence[Report]) -> None:
    root = tree(*reports)
    names: Dict[str, str] = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
    for suite in root:
        assert {name: suite.get(name) for name in names} == {
            name: str(len(list(suite.iter(tag)))) for name, tag in names.items()
        }
    for name in ("tests", "failures", "errors"):
        assert root.get(name) == str(len(list(root.iter(names[name]))))


def test_a_failure_can_be_believed_by_itself() -> None:
    root = tree(sample.joining())
    case = root.find(".//testcase[@name='cgroups.version']")
    assert case is not None
    assert case.get("classname") == "kubernetes/1.35"
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("message") == "wanted 2, found hybrid"
    text = failure.text or ""
    for said in (
        "wanted 2, found hybrid [/proc/self/mountinfo:31, /proc/self/mountinfo:32]",
        "why: the kubelet refuses",
        "fix: boot with systemd.unified_cgroup_hierarchy=1",
        "see: https://kubernetes.io/docs/concepts/architecture/cgroups/",
        "source: kubernetes/1.35.yaml:31:5",
    ):
        assert said in text


def test_what_is_waived_says_until_when_and_why() -> None:
    skipped = tree(sample.joining()).find(".//testcase[@name='swap.total']/skipped")
    assert skipped is not None
    assert skipped.get("type") == "waived fail"
    assert "until 2026-12-31, 41 days left: disks are replaced in December (ann" in str(skipped.get("message"))


def test_waivers_that_permit_nothing_are_said_aloud() -> None:
    said = str(tree(sample.every()).findtext(".//system-out"))
    for words in ("expired on 2026-06-30", "matches no requirement", "not needed", "void", "for other hosts"):
        assert words in said


def test_a_suite_says_host_time_and_digest() -> None:
    suites = list(tree(*sample.several()))
    assert [suite.get("hostname") for suite in suites] == ["node-1", "node-17", "node-18"]
    assert suites[0].get("timestamp") == "2026-11-21T18:40:07"
    properties = {one.get("name"): one.get("value") for one in suites[0].iter("property")}
    assert properties["spec kubernetes/1.35"] == f"sha256:{sample.SPEC.digest}"
    assert properties["param proxy_mode"] == "nftables"


def test_hostile_text_is_text() -> None:
    text = render([sample.hostile()], Style())
    assert not re.search(r"[^\x20-\x7e\n]", text)
    root = ET.fromstring(text)  # noqa: S314
    tags = {
        "testsuites",
        "testsuite",
        "properties",
        "property",
        "testcase",
        "failure",
        "error",
        "skipped",
        "system-out",
    }
    assert {element.tag for element in root.iter()} == tags
    message = root.find(".//failure")
    assert message is not None
    assert message.get("message") == escape_line(" ".join(sample.HOSTILE))
