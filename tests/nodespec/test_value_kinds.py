"""Permissions, CPU lists, addresses, prefixes, durations, percentages and dates: what a spec means by them."""

from __future__ import annotations

import re
from typing import FrozenSet, List, Tuple, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.author.spec.satisfiability import find_outcomes
from nodespec.checks.files import Mode
from nodespec.errors import DocumentError
from nodespec.facts.declaration import Leaf, Place
from nodespec.facts.live import check_observation
from nodespec.facts.value_quantities import Date, Duration, Percentage
from nodespec.facts.value_sets import Address, CpuList, Prefix, format_cpus, parse_cpus
from nodespec.facts.value_types import Datum, FreeText, Kind, Repeated, SetOf, UndecidedError
from nodespec.judge.clause_result import evaluate_clause, format_value
from nodespec.judge.expectation import parse_expectation
from nodespec.judge.pattern import Clause
from nodespec.model.observation import Absent, Evidence, Unknown, Value
from nodespec.model.plan import Node
from nodespec.recording.observation_decoding import decode_observation
from nodespec.recording.observation_json import encode_observation

HERE = Evidence("/x")
CPUS, ADDRESS, PREFIX, DURATION = CpuList(), Address(), Prefix(), Duration()
ADDRESSES, USED, DATE, MODE = SetOf(Address()), Percentage(), Date(), Mode()


def place(kind: Kind[Datum]) -> Place:
    leaf = Leaf(lambda _: Absent(HERE), (), "", sensitive=False)
    leaf.kind, leaf.optional = kind, True
    return Place(("x", "y"), leaf)


def outcome(kind: Kind[Datum], expects: Node, value: Datum) -> str:
    """The outcome of an expectation, of a value that was observed, recorded and replayed."""
    seen = check_observation(place(kind), decode_observation(encode_observation(Value(value, HERE)), kind))
    assert not isinstance(seen, Unknown), seen
    return evaluate_clause(Clause(place(kind), parse_expectation(expects, kind)), seen).outcome


def of(*members: str) -> FrozenSet[str]:
    return frozenset(members)


MEANING: List[Tuple[Kind[Datum], Node, List[Datum], List[Datum]]] = [
    # a type, an expectation, values that meet it, and values that do not
    (MODE, {"within": "0600"}, ["0600", "0400", "0000", "0200"], ["0640", "0700", "4600", "1600", "0601"]),
    (MODE, {"within": "600"}, ["0600"], ["0640"]),
    (MODE, {"within": "01777"}, ["1777", "0777", "1000"], ["2777", "4755"]),
    (MODE, {"includes": "0111"}, ["0755", "4711", "0111"], ["0644", "0750"]),
    (MODE, {"not": {"within": "0755"}}, ["0775", "4755"], ["0755", "0700"]),
    (MODE, {"within": "0755", "includes": "0500"}, ["0755", "0500"], ["0400", "0775"]),
    (MODE, "644", ["0644"], ["0640"]),
    (MODE, {"matches": "0[0246]00"}, ["0600"], ["0644"]),
    (CPUS, "2-15", ["2,3-15", "2-15", "3-15,2", "2-15:1/1"], ["2-14", "", "0-15"]),
    (CPUS, "0-7:1/2", ["0,2,4,6"], ["0-7"]),
    (CPUS, ["0-1", "2-3"], ["2,3", "1,0"], ["0-3"]),
    (CPUS, {"within": "2-15"}, ["2-15", "4,7", ""], ["1-15", "16"]),
    (CPUS, {"includes": "4-5"}, ["4-5", "0-7"], ["4", "5-8"]),
    (CPUS, {"not": "0"}, ["1"], ["0"]),
    (CPUS, {"equals": "1-2"}, ["1,2"], ["1"]),
    (FreeText(), {"cpus": "2-15"}, ["2,3-15", "managed_irq,domain,2-15", "nohz,2-15"], ["2-14", "none", "", "2-"]),
    (FreeText(), {"cpus": {"includes": "3"}}, ["domain,2-15"], ["domain,4"]),
    (Repeated(), {"cpus": "2-15"}, [of("2-15", "on"), "2-15"], [of("on", "1")]),
    (ADDRESS, "::1", ["::1", "0:0:0:0:0:0:0:1", "::0001"], ["::2", "1.2.3.4"]),
    (ADDRESS, "FD00::A", ["fd00::a"], ["fd00::b"]),
    (ADDRESS, {"within": "10.0.0.0/8"}, ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0", "::1"]),
    (ADDRESS, {"within": "0.0.0.0/0"}, ["10.0.0.1"], ["::"]),
    (ADDRESS, {"within": "fe80::/10"}, ["fe80::1", "fe80::1%eth0"], ["fec0::"]),
    (ADDRESS, {"not": {"within": "127.0.0.0/8"}}, ["10.0.0.1", "::1"], ["127.0.0.53"]),
    (ADDRESSES, ["10.0.0.1", {"within": "fd00::/8"}], [of("10.0.0.1", "fd00::0:1")], [of("10.0.0.1")]),
    (ADDRESSES, {"only": [{"within": "10.0.0.0/8"}]}, [of("10.0.0.1", "10.1.1.1"), of()], [of("10.0.0.1", "8.8.8.8")]),
    (ADDRESSES, {"none": [{"within": "127.0.0.0/8"}]}, [of("10.0.0.1"), of()], [of("127.0.0.53")]),
    (PREFIX, "fd00::/8", ["fd00:0::/8", "FD00::/8"], ["fd00::/9", "fe00::/8"]),
    (PREFIX, {"within": "10.0.0.0/8"}, ["10.0.0.0/8", "10.244.0.0/16"], ["0.0.0.0/0", "11.0.0.0/16", "::/0"]),
    (PREFIX, {"includes": "10.96.0.10"}, ["10.96.0.0/12", "0.0.0.0/0"], ["10.97.0.0/16"]),
    (DURATION, ">=30d", [2_592_000, 2_592_001], [2_591_999, -1, 0]),
    (DURATION, "<1h30m", [5399, -7200], [5400]),
    (DURATION, "0s", [0], [1, -1]),
    (DURATION, ">-1m", [0, -59], [-60]),
    (Duration("ms"), "<=100ms", [100, 0], [101]),
    (Duration("us"), "<=0s", [0], [1]),
    (USED, "<=85%", [0, 85], [86, 100]),
    (USED, "100%", [100], [99]),
    (DATE, ">=2026-12-31", ["2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z"], ["2026-12-30T23:59:59Z"]),
    (DATE, "<=2026-12-31", ["2026-12-31T23:59:59Z", "2026-12-31"], ["2027-01-01T00:00:00Z"]),
    (DATE, "2024-02-29", ["2024-02-29T12:00:00Z"], ["2024-03-01T00:00:00Z"]),
    (DATE, ">2026-12-31T10:00Z", ["2026-12-31T10:01:00Z"], ["2026-12-31T10:00:59Z"]),
]


@pytest.mark.parametrize(("kind", "expects", "met", "unmet"), MEANING)
def test_an_expectation_means_this(kind: Kind[Datum], expects: Node, met: List[Datum], unmet: List[Datum]) -> None:
    assert [outcome(kind, expects, value) for value in met] == ["pass"] * len(met)
    assert [outcome(kind, expects, value) for value in unmet] == ["fail"] * len(unmet)


@pytest.mark.parametrize(("kind", "expects"), [(kind, expects) for kind, expects, *_ in MEANING])
def test_it_can_pass_and_fail_and_that_is_known(kind: Kind[Datum], expects: Node) -> None:
    assert find_outcomes(Clause(place(kind), parse_expectation(expects, kind))) == {"pass", "fail"}


REFUSED: List[Tuple[Kind[Datum], Node, str]] = [
    (MODE, "<=0600", "write `{within: 0600}`"),
    (MODE, {"within": "0888"}, "`0888` is not permissions in octal"),
    (MODE, {"within": ["0600"]}, "`within` must be a text"),
    (CPUS, "5-2", "the range is empty"),
    (CPUS, "0-8192", "the last CPU is at most 8191"),
    (CPUS, "0-N", "depends on the number of CPUs of the host; write the numbers"),
    (CPUS, "all", "depends on the number of CPUs"),
    (CPUS, "0-15:3/2", "of each group of 2 CPUs 3 cannot be used"),
    (CPUS, "0-15:0/2", "0 cannot be used"),
    (CPUS, ">=3", "is not a CPU, a range such as 2-15"),
    (CPUS, {"within": ""}, "needs at least one CPU"),
    (
        FreeText(),
        {"within": "1"},
        "`within` does not apply to text; it applies to permissions, CPU lists and IP prefixes",
    ),
    (FreeText(), {"cpus": "absent"}, "write `absent` without `cpus`"),
    (DURATION, {"cpus": "1"}, "`cpus` requires a fact that is text"),
    (ADDRESSES, {"within": "10.0.0.0/8"}, "write `only: [{within: ...}]`"),
    (ADDRESS, "10.0.0.0/8", "for the addresses in it write {within: 10.0.0.0/8}"),
    (ADDRESS, "10.0.0.256", "is not an IP address"),
    (ADDRESS, ">=10.0.0.1", "is not an IP address"),
    (ADDRESS, {"within": "10.0.0.1/8"}, "has bits beyond its length; write 10.0.0.0/8"),
    (ADDRESS, {"includes": "10.0.0.1"}, "`includes` does not apply"),
    (PREFIX, "10.1.0.0/8", "write 10.0.0.0/8"),
    (PREFIX, "10.0.0.1", "is not an IP prefix"),
    (DURATION, "30", "has no unit; write 30s, 30m, 30h or 30d"),
    (DURATION, ">=1y", "is not a duration"),
    (DURATION, "100ms", "is not a whole number of s"),
    (USED, "<85", "write 85%"),
    (USED, "101%", "is not from 0% to 100%"),
    (USED, "8.5%", "is not a percentage"),
    (DATE, "2026-02-29", "is not a date"),
    (DATE, "2026-13-01", "is not a date"),
    (DATE, "2026-12-31T24:00Z", "is not a date"),
    (DATE, "31.12.2026", "is not a date"),
]


@pytest.mark.parametrize(("kind", "expects", "message"), REFUSED)
def test_what_makes_no_sense_is_refused(kind: Kind[Datum], expects: Node, message: str) -> None:
    with pytest.raises(DocumentError, match=re.escape(message)):
        parse_expectation(expects, kind)


@pytest.mark.parametrize(
    ("kind", "expects", "ways"),
    [
        (USED, "<=100%", {"pass"}),
        (USED, ">=0%", {"pass"}),
        (MODE, {"within": "7777"}, {"pass"}),
        (MODE, {"within": "0600", "includes": "0040"}, {"fail"}),
        (CPUS, {"within": "0-3", "includes": "4"}, {"fail"}),
        (ADDRESS, {"all": [{"within": "10.0.0.0/8"}, {"within": "11.0.0.0/8"}]}, {"fail"}),
        (DURATION, ">2d <1d", {"fail"}),
        (DATE, ">2026-12-31 <2026-12-31", {"fail"}),
    ],
)
def test_what_cannot_pass_or_fail_is_known(kind: Kind[Datum], expects: Node, ways: set[str]) -> None:
    fact = place(kind)
    fact.fact.optional = False
    assert find_outcomes(Clause(fact, parse_expectation(expects, kind))) == ways


@pytest.mark.parametrize("value", ["0-N", "N", "all", "domain,2-N", "all:1/2"])
def test_a_list_that_depends_on_the_host_is_unknown(value: str) -> None:
    asked: List[Tuple[Kind[Datum], Node]] = [
        (FreeText(), {"cpus": "2-15"}),
        (CPUS, "2-15"),
        (CPUS, {"not": {"within": "2-3"}}),
    ]
    for kind, expects in asked:
        if kind is CPUS and "domain" in value:
            continue
        seen = check_observation(place(kind), Value(value, HERE))
        result = evaluate_clause(Clause(place(kind), parse_expectation(expects, kind)), seen)
        assert (result.outcome, result.part.observed.reason) == ("unknown", "unsupported")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (CPUS, "3-"),
        (CPUS, "on"),
        (ADDRESS, "10.0.0"),
        (ADDRESS, ""),
        (PREFIX, "10.0.0.1/8"),
        (USED, 101),
        (DATE, "soon"),
    ],
)
def test_a_value_of_another_form_is_malformed(kind: Kind[Datum], value: Union[str, int]) -> None:
    seen = check_observation(place(kind), Value(value, HERE))
    assert isinstance(seen, Unknown)
    assert seen.reason == "malformed"


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [(DURATION, 2_592_000, "30d"), (DURATION, 5400, "90m"), (DURATION, -90, "-90s"), (Duration("us"), 1500, "1500us"),
     (DURATION, 0, "0s"), (USED, 85, "85%")],
)  # fmt: skip
def test_a_value_is_shown_as_a_spec_writes_it(kind: Kind[Datum], value: int, text: str) -> None:
    assert format_value(value, kind) == kind.written(value) == text
    assert kind.read(text) == value


@settings(max_examples=50)
@given(st.frozensets(st.integers(0, 8191), max_size=40))
def test_cpus_are_read_as_they_are_written(cpus: FrozenSet[int]) -> None:
    assert parse_cpus(format_cpus(cpus)) == cpus


@settings(max_examples=50)
@given(st.integers(0, 63), st.integers(0, 63), st.integers(1, 9), st.integers(1, 9))
def test_a_region_is_that_of_the_kernel(start: int, length: int, used: int, group: int) -> None:
    """As bitmap_set_region of lib/bitmap-str.c: from each group on, `used` bits."""
    region = f"{start}-{start + length}:{used}/{group}"
    if used > group:
        with pytest.raises(ValueError, match="cannot be used"):
            parse_cpus(region)
        return
    expected = set()
    for first in range(start, start + length + 1, group):
        expected |= set(range(first, min(first + used, start + length + 1)))
    assert parse_cpus(region) == expected


@settings(max_examples=50)
@given(st.text("0123456789-,:/Nal mq_", max_size=12))
def test_any_text_is_a_list_or_an_error(text: str) -> None:
    try:
        cpus = parse_cpus(text)
    except (ValueError, UndecidedError):
        return
    assert parse_cpus(format_cpus(cpus)) == cpus
