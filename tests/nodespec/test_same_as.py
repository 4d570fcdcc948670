"""`{same-as: PLACE}`: the value of another fact of the same host."""

from __future__ import annotations

import json
from typing import Dict, List, Tuple

import pytest
from pretended import ABSENT, HIDDEN, Pretended, Said, found, planned

from nodespec.errors import UsageError
from nodespec.judge.judge import Terms, judge
from nodespec.model.observation import Evidence, Value
from nodespec.model.plan import decode_plan
from nodespec.model.plan_json import encode_plan
from nodespec.model.report import Host, Seat
from nodespec.output.manual import format_plan
from nodespec.recording.replay import ReplayedFacts

KERNEL = "require: {kernel: {next: {is: {same-as: kernel.release}, why: reboot}}}"
A, B = "6.1.0-49-amd64", "6.1.0-50-amd64"


def at(value: str, path: str, *others: str) -> Value[str]:
    return Value(value, Evidence(path, 1), others)


CASES: List[Tuple[Said, Said, str]] = [
    (A, A, "pass"),
    (A, B, "fail"),
    (HIDDEN, A, "unknown"),
    (A, HIDDEN, "unknown"),
    (HIDDEN, HIDDEN, "unknown"),
    (at(A, "/x", B), at(A, "/y"), "unknown"),
    (at(A, "/x"), at(A, "/y", B), "unknown"),
    (at("6.9.1", "/x"), at(A, "/y", B), "fail"),
    (at("6.9.1", "/x", "6.9.2"), at(A, "/y", B), "fail"),
]


@pytest.mark.parametrize(("own", "other", "outcome"), CASES)
def test_two_facts_are_the_same(own: Said, other: Said, outcome: str) -> None:
    finding = found(planned(a=KERNEL), {"kernel.next": own, "kernel.release": other})["kernel.next"]
    assert finding.outcome == outcome
    negated = "rules: [{name: x, any: [{not: {kernel: {next: {same-as: kernel.release}}}}, {os: {id: nowhere}}]}]"
    opposite = found(planned(a=negated), {"kernel.next": own, "kernel.release": other, "os.id": "debian"})["x"]
    assert opposite.outcome == {"pass": "fail", "fail": "pass"}.get(outcome, outcome)


def test_a_finding_has_both_sources_and_both_values() -> None:
    facts: Dict[str, Said] = {"kernel.next": at(A, "/boot/grub/grub.cfg"), "kernel.release": at(B, "/proc/version")}
    (finding,) = found(planned(a=KERNEL), facts).values()
    (part,) = finding.parts
    assert [evidence.source for evidence in part.evidence] == ["/boot/grub/grub.cfg", "/proc/version"]
    assert finding.sentence == f"wanted the same as kernel.release ({B}), found {A}"


def test_an_absent_fact_is_the_same_as_none() -> None:
    spec = "require: {sysctl: {vm.a: {same-as: sysctl.vm.b}}}"
    for own, other in ((ABSENT, "1"), ("1", ABSENT), (ABSENT, ABSENT)):
        assert found(planned(a=spec), {"sysctl.vm.a": own, "sysctl.vm.b": other})["sysctl.vm.a"].outcome == "fail"


def test_values_are_compared_in_their_order() -> None:
    facts: Dict[str, Said] = {"sysctl.vm.a": "0x1b6", "sysctl.vm.b": "438"}
    spec = "require: {sysctl: {vm.a: {same-as: sysctl.vm.b}}}"
    assert found(planned(a=spec), facts)["sysctl.vm.a"].outcome == "pass"


def test_it_is_the_same_in_a_plan_a_recording_and_in_words() -> None:
    plan = planned(a=KERNEL)
    again = decode_plan(json.loads(json.dumps(encode_plan(plan))))
    seat = Seat("running", "live", Host("x"))
    report = judge(again, Pretended({"kernel.next": A, "kernel.release": B}), seat, Terms(0))
    replayed = judge(plan, ReplayedFacts(report.facts), seat, Terms(0))
    assert replayed.findings == report.findings
    assert "    wanted kernel.next the same as kernel.release" in format_plan(again)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("require: {kernel: {next: {same-as: kernel.next}}}", "is always the same as itself"),
        (
            "require: {kernel: {next: {same-as: kernel.version}}}",
            "`kernel.version` is a release version, and `kernel.next`",
        ),
        ("require: {kernel: {next: {same-as: memory.total}}}", "they are never the same"),
        ("require: {cpu: {count: {same-as: memory.total}}}", "they are never the same"),
        ("require: {kernel: {next: {same-as: cpu.flags}}}", "they are never the same"),
        ("require: {kernel: {next: {same-as: kernel.relase}}}", "did you mean `release`"),
        ("require: {kernel: {next: {same-as: kernel}}}", "is a family; name one of its facts"),
        ("require: {kernel: {next: {same-as: packages.runc}}}", "is a row of a table"),
        ("require: {kernel: {next: {same-as: kernel.release, equals: x}}}", "must be alone"),
        ("require: {kernel: {next: {not: {same-as: kernel.release}}}}", "must be the whole expectation"),
        ("require: {kernel: {lockdown: {same-as: cgroups.version}}}", "they are never the same"),
        (f"rules: [{{name: x, when: {{kernel: {{release: A, next: A}}}}, {KERNEL}}}]", "cannot fail under its `when`"),
        (f"rules: [{{name: x, when: {{kernel: {{release: A, next: B}}}}, {KERNEL}}}]", "cannot pass under its `when`"),
    ],
)
def test_what_makes_no_sense_is_refused(spec: str, message: str) -> None:
    with pytest.raises(UsageError) as told:
        planned(a=spec)
    assert message in str(told.value)


def test_a_condition_on_one_of_the_facts_leaves_both_ways() -> None:
    planned(a=f"rules: [{{name: x, when: {{kernel: {{release: A}}}}, {KERNEL}}}]")
