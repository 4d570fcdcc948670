"""`every` and `some` over the names of a table that match a glob."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Dict

import pytest
from pretended import Said, Shelf, found, planned

from nodespec.author.spec.resolver import resolve
from nodespec.author.verify.verification import compare_report
from nodespec.errors import UsageError
from nodespec.facts.live import Live
from nodespec.host.at_rest import AtRestTree
from nodespec.host.machine import Machine
from nodespec.judge.judge import Terms, judge
from nodespec.model.plan import Plan, decode_plan
from nodespec.model.plan_json import encode_plan
from nodespec.model.report import Finding, Host, Seat
from nodespec.model.report_json import decode_reports, encode_reports
from nodespec.recording.file import Recording, format_recording, parse_recording
from nodespec.recording.replay import ReplayedFacts
from nodespec.run.record import record_host

if TYPE_CHECKING:
    from conftest import MakeTree

SPEC = """
rules:
  - name: loose
    every: sysctl
    names: net.ipv4.conf.*.rp_filter
    require: [0, 2]
"""
PROC = {"/proc/self/stat": "", "/proc/version": "Linux version 6.1.0"}
CONF = "/proc/sys/net/ipv4/conf"
GOOD = {f"{CONF}/{name}/rp_filter": f"{value}\n" for name, value in (("all", 0), ("default", 2), ("eth0.100", 2))}
OWN = {f"/proc/1/ns/{space}": os.readlink(f"/proc/self/ns/{space}") for space in ("net", "user")}
SEAT = Seat("running", "live", Host("x"))


def judged(plan: Plan, root: str) -> Finding:
    return judge(plan, Live(Machine(root), time.monotonic() + 60), SEAT, Terms(0)).findings[0]


def test_every_name_that_matches_is_judged(make_tree: MakeTree) -> None:
    plan = decode_plan(json.loads(json.dumps(encode_plan(planned(a=SPEC)))))
    noise = {f"{CONF}/all/forwarding": "1\n", "/proc/sys/net/ipv4/rp_filter": "1\n"}
    assert judged(plan, make_tree({**PROC, **GOOD, **noise}, OWN)).outcome == "pass"
    finding = judged(plan, make_tree({f"{CONF}/eth1/rp_filter": "1\n"}))
    assert (finding.outcome, finding.sentence) == ("fail", "every row: 1 fail, 3 pass")
    assert [part.place for part in finding.parts] == ["sysctl.net.ipv4.conf.eth1.rp_filter"]


def test_one_part_of_a_name_can_have_dots(make_tree: MakeTree) -> None:
    plan = planned(a=SPEC.replace("every", "some").replace("[0, 2]", "2").replace("conf.*", "conf.eth0/*"))
    assert judged(plan, make_tree({**PROC, **GOOD}, OWN)).parts[0].place == "sysctl.net.ipv4.conf.eth0/100.rp_filter"


def test_no_name_that_matches_fails_unless_the_rule_allows_it(make_tree: MakeTree) -> None:
    root = make_tree({**PROC, "/proc/sys/kernel/x": "1"}, OWN)
    assert judged(planned(a=SPEC), root).sentence == "no kernel parameter matches"
    assert judged(planned(a=f"{SPEC}    or-none: true\n"), root).outcome == "pass"


def test_what_cannot_be_listed_is_unknown(make_tree: MakeTree) -> None:
    finding = judged(planned(a=SPEC), make_tree({**PROC, **GOOD}))
    assert (finding.outcome, "maybe not of the host" in finding.sentence) == ("unknown", True)
    tree = make_tree({"/etc/os-release": "ID=x\n"})
    at_rest = judge(planned(a=SPEC), Live(AtRestTree(tree), time.monotonic() + 60), SEAT, Terms(0))
    assert at_rest.findings[0].outcome == "deferred"


def test_a_recording_says_for_which_glob_it_has_all_names(make_tree: MakeTree) -> None:
    root = make_tree({**PROC, **GOOD}, OWN)
    plan, other = planned(a=SPEC), planned(a=SPEC.replace("conf.*", "conf.e*"))
    recording, _ = record_host([plan], Live(Machine(root), time.monotonic() + 60), SEAT)
    again = parse_recording(format_recording(Recording(SEAT, "2026-11-21T19:58:39Z", "x", recording.facts)).encode())
    facts = ReplayedFacts(again.facts)
    assert judge(plan, facts, SEAT, Terms(0)).findings == (judged(plan, root),)
    unknown = judge(other, facts, SEAT, Terms(0)).findings[0]
    assert (unknown.outcome, unknown.sentence) == ("unknown", "the recording does not contain it")


def test_a_report_is_verified_by_its_globs(make_tree: MakeTree) -> None:
    live = Live(Machine(make_tree({**PROC, **GOOD}, OWN)), time.monotonic() + 60)
    report = judge(planned(a=SPEC), live, SEAT, Terms(1_800_000_000))
    (stored,) = decode_reports(json.loads(json.dumps(encode_reports([report]))))
    assert compare_report(stored).differences == ()


def test_names_select_rows_of_a_closed_table() -> None:
    spec = "rules: [{name: x, every: modules, names: ['nf_*', overlay*], require: loaded}]"
    facts: Dict[str, Said] = {"modules.*": ("nf_nat", "overlay", "veth"), "modules.nf_nat": "loaded"}
    facts.update({"modules.overlay": "loaded", "modules.veth": "loadable"})
    assert found(planned(a=spec), facts)["x"].outcome == "pass"
    assert found(planned(a=spec), {**facts, "modules.nf_nat": "loadable"})["x"].outcome == "fail"


def test_ten_thousand_interfaces_are_listed_in_time(make_tree: MakeTree) -> None:
    root = make_tree({**PROC, **{f"{CONF}/veth{n}/rp_filter": "0\n" for n in range(2000)}}, OWN)
    begun = time.process_time()
    assert judged(planned(a=SPEC), root).sentence == "every row: 2000 pass"
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("every: sysctl, require: 0", "listed only by a glob; write it as `names`"),
        ("every: sysctl, names: net.ipv4.ip_forward, require: 0", "has no `*`; to require one kernel parameter"),
        ("every: sysctl, names: '*', require: 0", "matches every kernel parameter; write a part of the name"),
        ("every: modules, names: '*', require: loaded", "matches every module; remove `names`"),
        ("every: sysctl, names: [], require: 0", "must not be empty"),
        ("every: commands, names: k*, require: present", "is not a table whose rows can be listed"),
        ("any: [os: {id: a}, os: {id: b}], names: x*", "`names` is only allowed with `every` or `some`"),
    ],
)
def test_what_makes_no_sense_is_refused(rule: str, message: str) -> None:
    with pytest.raises(UsageError) as told:
        resolve(["a"], Shelf({"a": f"rules: [{{name: x, {rule}}}]"}), {})
    assert message in str(told.value)
