from __future__ import annotations

from typing import List, Optional, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks import _cmdline_pairs, _kernel_names
from nodespec.facts import declaration
from nodespec.facts.value_types import Datum, FreeText, Repeated
from nodespec.judge.expectation import parse_expectation
from nodespec.model.observation import Evidence, Value
from nodespec.model.plan import Node
from nodespec.recording.observation_decoding import decode_observation
from nodespec.recording.observation_json import encode_observation

LINE = "console=tty0 hugepagesz=1G hugepages=8 hugepagesz=2M hugepages=512 console=ttyS0,115200 panic=1 panic=2 quiet\n"


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        (LINE, "console", {"tty0", "ttyS0,115200"}),
        (LINE, "hugepages", {"8", "512"}),
        (LINE, "panic", "2"),
        (LINE, "quiet", ""),
        ("console=tty0 console=tty0", "console", "tty0"),
        ("rd.lvm.lv=a rd.lvm.lv=b", "rd.lvm.lv", {"a", "b"}),
        ("cgroup_disable=memory cgroup-disable=pids", "cgroup_disable", {"memory", "pids"}),
        ("module_blacklist=a module_blacklist=b", "module_blacklist", "b"),  # one text of the kernel's
        ("root=a -- root=b", "root", "a"),
    ],
)
def test_every_occurrence_counts_of_some_parameters(line: str, name: str, value: Union[str, set[str]]) -> None:
    wanted = frozenset(value) if isinstance(value, set) else value
    assert _kernel_names.collect_values(line)[name] == wanted


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(["console", "panic", "rd.x"]), st.text("ab", max_size=2)), max_size=6))
def test_the_values_are_those_of_the_line(pairs: List[tuple[str, str]]) -> None:
    values = _kernel_names.collect_values(" ".join(f"{name}={value}" for name, value in pairs))
    assert set(values) == {name for name, _ in pairs}
    for name, value in values.items():
        given_ = [each for one, each in pairs if one == name]
        several = len(set(given_)) > 1 and name != "panic"
        assert value == (frozenset(given_) if several else given_[-1])


SEVERAL = frozenset({"tty0", "ttyS0,115200"})


@pytest.mark.parametrize(
    ("expectation", "holds"),
    [
        ("tty0", True),
        ("ttyS0,115200", True),
        ("ttyS1", False),
        ("present", True),
        ("absent", False),
        ({"not": "tty0"}, False),
        ({"not": "ttyS1"}, True),
        (["ttyS1", "tty0"], True),
        ({"all": ["tty0", "ttyS0,115200"]}, True),
        ({"all": ["tty0", "ttyS1"]}, False),
        ({"none": ["tty0"]}, False),
        ({"matches": "ttyS.*"}, True),
        ({"equals": "tty0"}, False),
    ],
)
def test_one_value_that_meets_the_expectation_is_enough(expectation: Node, holds: bool) -> None:  # noqa: FBT001
    assert parse_expectation(expectation, Repeated()).test(SEVERAL) is holds


def test_an_expectation_of_several_values_is_satisfiable() -> None:
    several: Node = {"all": ["tty0", "ttyS0"]}
    assert any(
        parse_expectation(several, Repeated()).test(case) for case in parse_expectation(several, Repeated()).cases
    )
    assert not any(
        parse_expectation(several, FreeText()).test(case) for case in parse_expectation(several, FreeText()).cases
    )


def test_several_values_survive_a_recording() -> None:
    kind = declaration.resolve_place(("kernel", "cmdline", "console")).kind
    values: tuple[Datum, ...] = ("tty0", frozenset({"tty0", "ttyS0"}))
    for value in values:
        seen = Value(value, Evidence("/proc/cmdline"))
        assert decode_observation(encode_observation(seen, "/proc/cmdline"), kind, "/proc/cmdline") == seen


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hugepagesz=1G hugepages", "8"),
        ("hugepagesz=1024M hugepages", "8"),
        ("hugepagesz=2M hugepages", "512"),
        ("hugepagesz=64K hugepages", None),
        ("panic=1 panic", None),
        ("console=tty0 quiet", None),
        ("console=ttyS0,115200 quiet", ""),
    ],
)
def test_a_pair_is_the_value_after_a_parameter(key: str, value: Optional[str]) -> None:
    assert _cmdline_pairs.find_value(LINE, _cmdline_pairs.parse_key(key)) == value


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(["1G", "2M"]), st.integers(0, 9)), min_size=1, max_size=5))
def test_pairs_are_those_of_the_line(pairs: List[tuple[str, int]]) -> None:
    line = " ".join(f"hugepagesz={size} hugepages={count}" for size, count in pairs)
    for size in ("1G", "2M"):
        counts = {str(count) for one, count in pairs if one == size}
        seen = _cmdline_pairs.find_value(line, f"hugepagesz={size} hugepages")
        assert (seen if isinstance(seen, frozenset) else {seen} - {None}) == counts


@pytest.mark.parametrize("key", ["a b", "a= b", "=1 b", "a=1 b=2", "a=1  b", "a=1 b c"])
def test_what_is_no_pair_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="or a pair such as"):
        _cmdline_pairs.parse_key(key)
