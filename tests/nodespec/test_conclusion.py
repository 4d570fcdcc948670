"""From findings to a conclusion and an exit code, with waivers of every state and a clock that is given."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from itertools import combinations_with_replacement, product
from typing import Dict, Iterator, List, Optional, Sequence

import pytest
from pretended import HIDDEN, Said, found, planned, report

from nodespec import BUILT
from nodespec.errors import EXIT
from nodespec.formats.glob import matches_glob
from nodespec.judge.conclusion import Choice, assign_dispositions, derive_conclusion, is_left_out
from nodespec.model.report import DISPOSITIONS, LEVELS, OUTCOMES, Finding, Report, Waiver, compute_exit_code

WAIVER = Waiver(("cpu.*",), ("node-*",), "the vendor is slow", "ann@example.com", "2027-03-31", "w:3:5")


def day(text: str, clock: str = "12:00:00") -> float:
    return datetime.strptime(f"{text} {clock}", "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc).timestamp()


def finding(outcome: str, level: str = "required", disposition: str = "enforced", name: str = "cpu.count") -> Finding:
    return Finding(name, level, outcome, disposition, "", "", "", "", (), ())


# disposition


@pytest.mark.parametrize(
    ("outcome", "level", "state", "strict"),
    [*product(OUTCOMES, LEVELS, (None, "valid", "expired", "elsewhere", "unneeded", "void"), (False, True))],
)
def test_the_disposition_of_every_outcome(outcome: str, level: str, state: Optional[str], strict: bool) -> None:  # noqa: FBT001
    waivers = [WAIVER._replace(state=state)] if state else []
    (made,) = assign_dispositions([finding(outcome, level)], waivers, Choice(strict=strict))
    if outcome == "skipped":
        expected = "skipped"
    elif state == "valid" and outcome in ("fail", "unknown"):
        expected = "waived"
    elif level == "recommended" and not strict:
        expected = "advisory"
    else:
        expected = "enforced"
    assert made.disposition == expected
    assert made.waiver == (0 if expected == "waived" else -1)
    assert made._replace(disposition="enforced", waiver=-1) == finding(outcome, level)


def test_the_first_valid_waiver_counts() -> None:
    waivers = [WAIVER._replace(state="expired"), WAIVER._replace(ids=("os.*",)), WAIVER, WAIVER]
    assert assign_dispositions([finding("fail")], waivers, Choice())[0].waiver == 2


# conclusion

EACH = [finding(outcome, level, disposition) for outcome, level, disposition in product(OUTCOMES, LEVELS, DISPOSITIONS)]


@pytest.mark.parametrize("size", [0, 1, 2])
def test_the_conclusion_of_every_combination(size: int) -> None:
    for findings in combinations_with_replacement(EACH, size):
        enforced = [(one.outcome, one.level) for one in findings if one.disposition == "enforced"]
        expected = "indeterminate"
        if any(outcome == "fail" for outcome, _ in enforced):
            expected = "nonconformant"
        elif ("pass", "required") in enforced and not any(outcome == "unknown" for outcome, _ in enforced):
            expected = "conformant"
        assert derive_conclusion(findings) == expected, findings
        if expected == "conformant" and any(outcome == "deferred" for outcome, _ in enforced):
            expected = "indeterminate"  # what runs can be asked now
        assert derive_conclusion(findings, "running") == expected, findings


def test_many_passes_do_not_outweigh_one_fail_or_unknown() -> None:
    passes = [finding("pass")] * 100
    assert derive_conclusion(passes) == "conformant"
    assert derive_conclusion([*passes, finding("unknown")]) == "indeterminate"
    assert derive_conclusion([*passes, finding("unknown"), finding("fail")]) == "nonconformant"
    assert (
        derive_conclusion([*passes, *(finding(o) for o in ("deferred", "not-applicable", "skipped"))]) == "conformant"
    )


def test_exit_codes() -> None:
    assert EXIT == {"conformant": 0, "nonconformant": 10, "indeterminate": 11}
    made = {name: report(planned(a="require: {cpu: {count: 2}}"), {})._replace(conclusion=name) for name in EXIT}
    assert {name: one.exit for name, one in made.items()} == EXIT
    for one, two, three in product(EXIT, repeat=3):
        codes = [EXIT[one], EXIT[two], EXIT[three]]
        worst = 10 if 10 in codes else 11 if 11 in codes else 0
        assert compute_exit_code([made[one], made[two], made[three]]) == worst


# waivers

SPEC = "require: {cpu: {count: '>=2'}, memory: {total: '>=2'}, os: {id: x}}\nrecommend: {cpu: {count: '>=4'}}"


def judged(waivers: Sequence[Waiver], now: float = day("2027-01-15"), **said: int) -> Report:
    return report(planned(a=SPEC), {"cpu.count": 1, "memory.total": 8, "os.id": "x", **said}, waivers=waivers, now=now)


def states(made: Report) -> List[str]:
    return [waiver.state for waiver in made.waivers]


def test_a_valid_waiver_changes_the_conclusion_and_hides_nothing() -> None:
    assert judged([]).conclusion == "nonconformant"
    made = judged([WAIVER])
    assert (made.conclusion, made.exit) == ("conformant", 0)
    assert (states(made), made.waivers[0].days) == (["valid"], 76)
    waived = [one for one in made.findings if one.disposition == "waived"]
    assert [(one.id, one.outcome, one.waiver) for one in waived] == [("cpu.count", "fail", 0)]
    assert waived[0].sentence == "wanted >=2, found 1"
    assert made.headline == "conformant: 1 warning, 1 waived; 4 requirements"


def test_unknown_is_waived_too() -> None:
    made = report(planned(a=SPEC), {"cpu.count": HIDDEN, "memory.total": 8, "os.id": "x"}, waivers=[WAIVER])
    assert (made.conclusion, states(made)) == ("conformant", ["valid"])


@pytest.mark.parametrize(
    ("now", "state", "days"),
    [
        (day("2026-12-01"), "valid", 121),
        (day("2027-03-30"), "valid", 2),
        (day("2027-03-31", "00:00:00"), "valid", 1),
        (day("2027-03-31", "23:59:59"), "valid", 1),
        (day("2027-04-01", "00:00:00"), "expired", -1),
        (day("2040-01-01"), "expired", -4659),
        (day("2020-01-01"), "void", 2647),
        (0.0, "void", 20909),
    ],
)
def test_a_waiver_lasts_through_the_end_of_its_day(now: float, state: str, days: int) -> None:
    made = judged([WAIVER], now)
    assert (states(made), made.waivers[0].days) == ([state], days)
    assert made.conclusion == ("conformant" if state == "valid" else "nonconformant")


@pytest.mark.parametrize(
    ("waiver", "state"),
    [
        (WAIVER._replace(hosts=("node-18",)), "elsewhere"),
        (WAIVER._replace(hosts=("other", "node-1?")), "elsewhere"),
        (WAIVER._replace(hosts=("other", "node-17")), "valid"),
        (WAIVER._replace(hosts=("0123456789abcdef",)), "valid"),
        (WAIVER._replace(hosts=("*",)), "valid"),
        (WAIVER._replace(ids=("cpu.flags",)), "unmatched"),
        (WAIVER._replace(ids=("cpu",)), "unmatched"),
        (WAIVER._replace(ids=("nothing", "cpu.count")), "valid"),
        (WAIVER._replace(ids=("*.count",)), "valid"),
        (WAIVER._replace(ids=("recommended.*",)), "valid"),
        (WAIVER._replace(ids=("memory.total",)), "unneeded"),
        (WAIVER._replace(ids=("memory.total", "os.id")), "unneeded"),
        (WAIVER._replace(expires="2026-12-31", hosts=("node-18",)), "expired"),
    ],
)
def test_the_state_of_a_waiver(waiver: Waiver, state: str) -> None:
    made = judged([waiver])
    assert states(made) == [state]
    if state != "valid":
        assert made.conclusion == "nonconformant"


@pytest.fixture(params=["UTC", "Etc/GMT-14", "Etc/GMT+12"])
def _zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The clock of a machine in UTC, at UTC+14 and at UTC-12."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_zone")
@pytest.mark.parametrize(
    ("now", "state"),
    [
        (day("2027-03-31", "00:00:00"), "valid"),
        (day("2027-03-31", "23:59:59"), "valid"),
        (day("2027-04-01", "00:00:00"), "expired"),
        (day("2027-04-01", "11:59:59"), "expired"),  # it is still March at UTC-12
        (day(BUILT, "00:00:00"), "valid"),
        (day(BUILT, "00:00:00") - 1, "void"),
        (day(BUILT, "00:00:00") - 14 * 3600, "void"),
        (0.0, "void"),
    ],
)
def test_the_last_day_of_a_waiver_ends_everywhere_at_once(now: float, state: str) -> None:
    made = judged([WAIVER], now=now)
    assert states(made) == [state]
    assert made.conclusion == ("conformant" if state == "valid" else "nonconformant")


def test_what_is_skipped_needs_no_waiver() -> None:
    said: Dict[str, Said] = {"cpu.count": 1, "memory.total": 8, "os.id": "x"}
    made = report(planned(a=SPEC), said, waivers=[WAIVER], choice=Choice(skip=("cpu.count", "recommended.*")))
    assert states(made) == ["unneeded"]
    assert {one.disposition for one in made.findings} == {"enforced", "skipped"}


# --only, --skip, --strict


@pytest.mark.parametrize(
    ("glob", "name", "selected"),
    [
        ("cpu.count", "cpu.count", True),
        ("cpu.coun", "cpu.count", False),
        ("*", "cpu.count", True),
        ("*count", "cpu.count", True),
        ("cpu*t", "cpu.count", True),
        ("k*.USER_*", "kernel.config.USER_NS", True),
        ("cpu?count", "cpu.count", False),
        ("cpu.[c]ount", "cpu.count", False),
        ("cpu.count", "cpuxcount", False),
        ("*.b", "a.\n.b", True),
        ("", "cpu.count", False),
    ],
)
def test_the_star_is_the_only_wildcard_and_matches_dots(glob: str, name: str, selected: bool) -> None:  # noqa: FBT001
    assert matches_glob(glob, name) is selected


@pytest.mark.parametrize(
    ("choice", "left"),
    [
        (Choice(), []),
        (Choice(only=("cpu",)), ["memory.total", "os.id", "recommended.cpu.count"]),
        (Choice(only=("cpu.count", "os")), ["memory.total", "recommended.cpu.count"]),
        (Choice(only=("*cpu*",)), ["memory.total", "os.id"]),
        (Choice(skip=("cpu",)), ["cpu.count"]),
        (Choice(skip=("recommended",)), ["recommended.cpu.count"]),
        (Choice(only=("cpu", "os"), skip=("cpu.count",)), ["cpu.count", "memory.total", "recommended.cpu.count"]),
        (Choice(only=("cp",)), ["cpu.count", "memory.total", "os.id", "recommended.cpu.count"]),
    ],
)
def test_what_is_left_out_is_listed_and_not_looked_at(choice: Choice, left: List[str]) -> None:
    made = report(planned(a=SPEC), {"cpu.count": 8, "memory.total": 8, "os.id": "x"}, choice=choice)
    assert [one.id for one in made.findings if one.outcome == "skipped"] == left
    assert [one.id for one in made.findings if one.disposition == "skipped"] == left
    assert len(made.findings) == 4
    assert (made.asked, made.partial) == (4 - len(left), bool(left))
    assert [one.id for one in made.findings if is_left_out(choice, one)] == left
    facts = made.facts
    assert isinstance(facts, dict)
    kept = {one.id.replace("recommended.", "") for one in made.findings if one.outcome != "skipped"}
    assert set(facts) == kept
    if left:
        assert f"{4 - len(left)} of 4 requirements selected" in made.headline


def test_nothing_required_that_passes_is_no_conformance() -> None:
    said: Dict[str, Said] = {"cpu.count": 8, "memory.total": 8, "os.id": "x"}
    assert report(planned(a=SPEC), said, choice=Choice(only=("recommended",))).conclusion == "indeterminate"
    assert report(planned(a=SPEC), said, choice=Choice(only=("recommended",), strict=True)).exit == 11
    assert report(planned(a="recommend: {cpu: {count: '>=4'}}"), said).conclusion == "indeterminate"


def test_strict_enforces_recommendations() -> None:
    said: Dict[str, Said] = {"cpu.count": 2, "memory.total": 8, "os.id": "x"}
    assert report(planned(a=SPEC), said).conclusion == "conformant"
    made = report(planned(a=SPEC), said, choice=Choice(strict=True))
    assert (made.conclusion, made.strict) == ("nonconformant", True)
    assert {one.disposition for one in made.findings} == {"enforced"}


def test_what_is_deferred_does_not_spoil_the_conclusion() -> None:
    deferred = found(planned(a="require: {cpu: {count: 2}}"), {})["cpu.count"]._replace(outcome="deferred")
    made = report(planned(a=SPEC), {"cpu.count": 8, "memory.total": 8, "os.id": "x"}, context="at rest")
    made = made._replace(findings=(*made.findings, deferred))
    assert derive_conclusion(made.findings) == "conformant"
    assert made.headline == "conformant at rest: 1 deferred; 5 requirements"


def test_the_headline_says_that_all_pass() -> None:
    made = report(planned(a="require: {cpu: {count: '>=2'}}"), {"cpu.count": 2})
    assert made.headline == "conformant: all pass; 1 requirement"
    made = report(planned(a="recommend: {cpu: {count: '>=2'}}"), {"cpu.count": 2})
    assert made.headline == "indeterminate: no required requirement passes; 1 requirement"
