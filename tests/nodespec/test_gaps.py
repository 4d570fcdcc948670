"""Lint tells where an absent fact switches off what is required for each of its values."""

from __future__ import annotations

from typing import TYPE_CHECKING, List

import pytest
from pretended import ABSENT, Shelf, found, planned

from nodespec.__main__ import main
from nodespec.author.spec.gaps import find_gaps
from nodespec.author.spec.library import Library
from nodespec.author.spec.resolver import resolve

if TYPE_CHECKING:
    from pathlib import Path

V2 = "{name: b, when: {cgroups: {version: 2}}, require: {cgroups: {delegated: [cpu]}}}"
V1 = "{name: a, when: {cgroups: {version: [1, hybrid]}}, require: {memory: {total: '>=1Gi'}}}"
BOTH = f"rules: [{V1}, {V2}]"


def gaps(text: str) -> List[str]:
    return list(find_gaps(resolve(["x"], Shelf({"x": text}), {}, trial=True)))


def test_rules_for_every_value_and_none_for_absence_are_reported() -> None:
    (gap,) = gaps(BOTH)
    assert gap.startswith("x:2:")
    assert "`a.memory.total`, `b.cgroups.delegated`" in gap
    assert "require `cgroups.version: present`" in gap


@pytest.mark.parametrize(
    "text",
    [
        f"rules: [{V1}]",
        f"rules: [{V1}, {V2.replace('version: 2', 'version: hybrid')}]",  # not every value
        f"require: {{cgroups: {{version: present}}}}\n{BOTH}",
        f"require: {{cgroups: {{version: 2}}}}\n{BOTH}",
        f"rules: [{V1}, {V2}, {{name: c, when: {{cgroups: {{version: absent}}}}, require: {{swap: {{total: 0}}}}}}]",
        f"rules: [{V1}, {V2.replace('{cgroups: {version: 2}}', '{not: {cgroups: {version: [1, hybrid]}}}')}]",
        BOTH.replace("require: {mem", "recommend: {mem"),
        # a fact that no sound machine lacks
        BOTH.replace("cgroups: {version: 2}", "swap: {total: 0}").replace(
            "cgroups: {version: [1, hybrid]}", "swap: {total: '>0'}"
        ),
    ],
)
def test_what_leaves_no_gap_is_not_reported(text: str) -> None:
    assert gaps(text) == []


def test_a_requirement_under_a_condition_of_its_own_closes_no_gap() -> None:
    text = f"{BOTH[:-1]}, {{name: c, when: {{memory: {{total: '>1Gi'}}}}, require: {{cgroups: {{version: present}}}}}}]"
    assert len(gaps(text)) == 1


def test_versions_are_covered_by_two_ranges() -> None:
    rules = "{name: a, when: {os: {version: '<12'}}, require: {memory: {total: '>=1'}}}"
    more = "{name: b, when: {os: {version: '>=%d'}}, require: {memory: {total: '>=2'}}}"
    assert len(gaps(f"rules: [{rules}, {more % 12}]")) == 1
    assert gaps(f"rules: [{rules}, {more % 13}]") == []


def test_lint_says_so_and_takes_the_spec(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(f"nodespec: 1\ntitle: x\n{BOTH}\n", encoding="utf-8")
    assert main(["lint", str(file)]) == 0
    assert f"{file}: warning: {file}:3:" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["container-host", "kubernetes/1.35", "sig-node/system-validators"])
def test_no_spec_of_the_library_has_a_gap(name: str) -> None:
    assert list(find_gaps(resolve([name], Library(), {}, trial=True))) == []


def test_a_host_without_control_groups_does_not_pass_a_sysspec() -> None:
    plan = planned(x="cgroups: [cpu]\ncgroupsV2: [cpu]\n")
    assert found(plan, {"cgroups.version": ABSENT})["cgroups.version"].outcome == "fail"
