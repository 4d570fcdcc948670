"""What `nodespec facts` prints can be pasted into a spec: it lints, and the host that said it meets it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List

import pytest
import yaml
from pretended import HERE, Pretended, Said, Shelf

from nodespec.author.spec.resolver import resolve
from nodespec.errors import UsageError
from nodespec.facts import declaration
from nodespec.facts.declaration import Place
from nodespec.facts.live import Live
from nodespec.host.at_rest import AtRestTree
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.judge.judge import Terms, judge
from nodespec.model.observation import Unknown, Value
from nodespec.model.report import Host, Seat
from nodespec.output.facts_yaml import format_facts

if TYPE_CHECKING:
    from conftest import MakeTree

HOSTS = sorted(path for path in (Path(__file__).parents[1] / "hosts").iterdir() if path.is_dir())


class Named(Pretended):
    """A pretended host of which no table is enumerated."""

    def names(self, place: Place) -> Unknown:
        raise AssertionError(place)


def pasted(said: List[str]) -> str:
    return "nodespec: 1\nrequire:\n" + "".join(f"  {line}\n" for line in said)


@pytest.mark.sampled(16)
@pytest.mark.parametrize("kind", [Machine, AtRestTree])
@pytest.mark.parametrize("host", HOSTS, ids=[path.name for path in HOSTS])
def test_the_facts_of_a_host_lint_when_they_are_pasted(host: Path, kind: type[Tree]) -> None:
    said: List[str] = []
    for family in declaration.list_families():  # of all of them at once a host says more than a spec may hold
        made = list(format_facts([family], Live(kind(str(host)), time.monotonic() + 60), every=True))
        if all(line.lstrip().startswith("#") for line in made):
            continue
        said.append(family)
        plan = resolve(["a"], Shelf({"a": pasted(made)}), {})
        context = "running" if kind is Machine else "at rest"
        seat = Seat(context, "live", Host("x"))
        report = judge(plan, Live(kind(str(host)), time.monotonic() + 60), seat, Terms(0))
        bad = [(one.id, one.sentence) for one in report.findings if one.outcome != "pass"]
        moving = ("memory.free", "memory.available")
        assert [one for one in bad if not one[0].startswith(moving)] == []
    assert said


PLACES: Dict[str, List[Said]] = {
    "packages.openssh.version": ["9.2p1", "1:9.2-1", "1.2+", "5.10+", "v1.2", "2026"],
    "os.pretty_name": [
        "<6",
        ">=5",
        "present",
        "absent",
        "null",
        "~",
        "",
        "- x",
        "-",
        "a: b",
        "a #b",
        "é",
        "\U0001f600",
    ],
    "os.id": [
        "on",
        "no",
        "1e3",
        "'x'",
        '"x"',
        "{a}",
        "[a]",
        "a,b",
        "*",
        "&a",
        "!x",
        "%x",
        "@x",
        "`x`",
        "| x",
        "\x1b[31m",
    ],
    "os.name": ["\udcff", "a\nb", "x" * 5000],
    "kernel.config.HZ": ["250", "y", "n", "undefined", "abc", "0x10", ""],
    "sysctl.kernel.x": ["0 1", "-1", "<none>", "enabled"],
    "files./x.mode": ["0600", "07777", "4755"],
    "modules.x": ["loaded", "from the future"],
    "cpu.count": [0, 1, 64],
    "memory.total": [0, 1, 1023, 1024, 16318024 << 10],
    "cgroups.controllers": [frozenset(), frozenset(["cpu"]), frozenset(["a b", "c,d", "#", ""])],
    "kubelet.running": [True, False],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, all_ in PLACES.items() for value in all_])
def test_any_value_is_stated_so_that_it_is_met_or_is_a_comment(name: str, value: Said) -> None:
    facts = Named({name: value, ".".join(name.split(".")[:-1]): Value("there", HERE)})
    made = list(format_facts([name], facts, every=True))
    assert made
    if all(line.lstrip().startswith("#") for line in made):
        return
    try:
        plan = resolve(["a"], Shelf({"a": pasted(made)}), {})
    except UsageError as mistake:  # a total count of 0 or more says nothing: no host fails on it
        pytest.fail(f"{made}: {mistake}")
    report = judge(plan, facts, Seat("running", "live", Host("x")), Terms(0))
    assert {one.outcome for one in report.findings} == {"pass"}, made


STATED: Dict[str, List[Said]] = {
    "os.pretty_name": ["<6", "present", "null", "- x", "a: b", "é"],
    "os.id": ["on", "no", "1e3"],
    "kernel.version": ["9.2p1"],
    "os.name": ["*", "&a"],
    "cgroups.controllers": [frozenset(), frozenset(["cpu"])],
    "memory.total": [1, 16318024 << 10],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, all_ in STATED.items() for value in all_])
def test_a_value_that_a_spec_can_state_is_no_comment(name: str, value: Said) -> None:
    made = list(format_facts([name], Named({name: value}), every=True))
    assert yaml.safe_load("\n".join(made))


def test_what_says_nothing_is_a_comment_with_its_name(make_tree: MakeTree) -> None:
    tree = make_tree({"/etc/os-release": "ID=x\n", "/usr/lib/x": ""})
    made = list(format_facts(["modules", "kernel.version"], Live(AtRestTree(tree), time.monotonic() + 60), every=True))
    assert all(re.match(r" *# ", line) for line in made), made
    assert any("version:" in line for line in made)
