"""A value that is not known is judged by the values that remain possible."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from pretended import HERE, Said, found, planned

from nodespec.facts.live import Live
from nodespec.facts.value_types import OneOf
from nodespec.host.at_rest import AtRestTree
from nodespec.host.machine import Machine
from nodespec.judge.judge import Terms, judge
from nodespec.model.observation import Unknown, Value
from nodespec.model.report import Host, Seat
from nodespec.recording.observation_decoding import decode_observation
from nodespec.recording.observation_json import encode_observation
from nodespec.recording.replay import ReplayedFacts
from nodespec.run.record import record_host

if TYPE_CHECKING:
    from conftest import MakeTree

    from nodespec.model.json_types import Json

SEAT = Seat("running", "live", Host("x"))
PROC = {
    "/proc/self/stat": "",
    "/proc/version": "Linux version 6.1.0-1-amd64",
    "/proc/sys/kernel/osrelease": "6.1.0-1-amd64",
}
LISTED = {**PROC, "/proc/modules": "veth 16384 0 - Live 0x0\n"}
CASES = [
    ("nouveau", "{not: loaded}", "pass"),
    ("nouveau", "{none: [loaded]}", "pass"),
    ("nouveau", "loaded", "fail"),
    ("nouveau", "{any: [absent, {not: loaded}]}", "pass"),
    ("nouveau", "usable", "unknown"),
    ("nouveau", "present", "unknown"),
    ("nouveau", "absent", "unknown"),
    ("nouveau", "[blocked, blacklisted, loadable, builtin]", "unknown"),
    ("nouveau", "{none: [loaded, blocked]}", "unknown"),
    ("veth", "{not: loaded}", "fail"),
]


@pytest.mark.parametrize(("module", "expects", "outcome"), CASES)
def test_the_list_of_loaded_modules_alone_decides(make_tree: MakeTree, module: str, expects: str, outcome: str) -> None:
    root, plan = make_tree(LISTED), planned(a=f"require: {{modules: {{{module}: {expects}}}}}")
    (finding,) = judge(plan, Live(Machine(root), time.monotonic() + 60), SEAT, Terms(0)).findings
    assert finding.outcome == outcome
    recording, _ = record_host([plan], Live(Machine(root), time.monotonic() + 60), SEAT)
    facts = json.loads(json.dumps(recording.facts))
    assert judge(plan, ReplayedFacts(facts), SEAT, Terms(0)).findings == (finding,)


def test_what_decided_is_shown_with_its_source(make_tree: MakeTree) -> None:
    plan = planned(a="require: {modules: {nouveau: loaded}}")
    (finding,) = judge(plan, Live(Machine(make_tree(LISTED)), time.monotonic() + 60), SEAT, Terms(0)).findings
    assert finding.sentence == "wanted loaded, found loadable or blacklisted or blocked or builtin"
    assert [evidence.source for evidence in finding.parts[0].evidence] == ["/proc/modules"]


def test_without_the_list_nothing_is_decided(make_tree: MakeTree) -> None:
    plan = planned(a="require: {modules: {nouveau: {not: loaded}}}")
    for tree in (Machine(make_tree(PROC)), AtRestTree(make_tree({"/etc/os-release": "ID=x\n"}))):
        (finding,) = judge(plan, Live(tree, time.monotonic() + 60), SEAT, Terms(0)).findings
        assert finding.outcome in ("unknown", "deferred")


@pytest.mark.parametrize(
    ("expects", "outcome"), [("'>=1.5'", "pass"), ("'<1'", "fail"), ("'>=1.7'", "unknown"), ("present", "unknown")]
)
def test_any_fact_can_be_known_in_part(expects: str, outcome: str) -> None:
    """An absence decides as well: it fails `>=1.5` here, so that the fact must not be one that can be absent."""
    may: Value[str] = Value("1.6", HERE, ("1.8",))
    seen: Said = Unknown("failed", "no answer", "ask again", may)
    name = "kernel.version" if expects != "present" else "packages.runc.version"
    body = f"kernel: {{version: {expects}}}" if expects != "present" else "packages: {runc: {version: present}}"
    assert found(planned(a=f"require: {{{body}}}"), {name: seen})[name].outcome == outcome


def test_what_remains_possible_is_recorded() -> None:
    seen = Unknown("failed", "no answer", "", Value("b", HERE, ("c",)))
    assert decode_observation(json.loads(json.dumps(encode_observation(seen))), OneOf("a", "b", "c")) == seen
    broken: Json = {"unknown": "failed", "say": "x", "may": {"value": 7}}
    assert decode_observation(broken, OneOf("a", "b")) == Unknown("failed", "x")
