"""What reports on several hosts come to together."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Dict, List, Sequence

import pytest
from pretended import NOW, Pretended, Said, planned
from unhurried import PROGRAM

from nodespec.facts.declaration import resolve_place
from nodespec.judge.fleet_summary import UNIQUE_VALUES, format_summary, label_hosts, summarize_reports
from nodespec.judge.judge import Terms, judge
from nodespec.model.observation import Unknown
from nodespec.model.plan import Plan
from nodespec.model.report import Host, Report, Seat, Style
from nodespec.reports import markdown, text

TOP = Path(__file__).parents[2]

FIRST = "name: first\nrequire: {swap: {total: 0}, kernel: {config: {VETH: enabled, VXLAN: enabled}}}"
SECOND = "name: second\nrequire: {cgroups: {version: 2}}"
HIDDEN = Unknown("hidden", "/proc is not mounted here", "mount /proc")
FIT: Dict[str, Said] = {
    "swap.total": 0,
    "cgroups.version": "2",
    "kernel.config.VETH": "y",
    "kernel.config.VXLAN": "y",
}


def both() -> Plan:
    return planned("first", "second", first=FIRST, second=SECOND)


def report(name: str, said: Dict[str, Said], identity: str = "", **host: str) -> Report:
    seat = Seat("running", f"facts {name}.json", Host(name, identity, **host))
    return judge(both(), Pretended({**FIT, **said}), seat, Terms(NOW))


def three() -> List[Report]:
    blind: Dict[str, Said] = {"kernel.config.VETH": HIDDEN, "kernel.config.VXLAN": HIDDEN}
    return [
        report("a", {"swap.total": 1, **blind}, "id-1", kernel="6.1"),
        report("b", {"swap.total": 2, "cgroups.version": "1"}, "id-2", kernel="6.1"),
        report("c", {"kernel.config.VETH": HIDDEN}, "id-1", kernel="6.12"),
    ]


def test_each_spec_on_each_host() -> None:
    found = summarize_reports(three())
    assert found.specs == ("first", "second")
    assert [row.host for row in found.matrix] == ["a", "b", "c"]
    assert [row.cells for row in found.matrix] == [
        ("1 fail, 2 unknown", "conformant"),
        ("1 fail", "1 fail"),
        ("1 unknown", "conformant"),
    ]


def test_a_spec_that_was_not_asked_for_on_a_host_has_an_empty_cell() -> None:
    only = judge(planned("first", first=FIRST), Pretended(FIT), Seat("running", "live", Host("d")), Terms(NOW))
    assert summarize_reports([*three(), only]).matrix[-1].cells == ("conformant", "")


def test_causes_stand_by_how_many_hosts_they_hit_and_once_for_all_that_they_hit() -> None:
    hits = summarize_reports(three()).hits
    assert [(hit.outcome, hit.say, hit.ids, hit.hosts) for hit in hits] == [
        ("fail", "", ("swap.total",), ("a", "b")),
        ("unknown", HIDDEN.say, ("kernel.config.VETH", "kernel.config.VXLAN"), ("a", "c")),
    ]
    assert hits[1].look == "mount /proc"


def test_what_a_waiver_permits_and_what_is_only_recommended_is_no_cause() -> None:
    plan = planned("advice", advice="recommend: {swap: {total: 0}}\nrequire: {cgroups: {version: 2}}")
    seats = [Seat("running", "live", Host(name)) for name in "ab"]
    assert not summarize_reports(
        [judge(plan, Pretended({**FIT, "swap.total": 1}), seat, Terms(NOW)) for seat in seats]
    ).hits


def test_what_is_a_host_s_own_and_is_shared() -> None:
    twins = [*three(), report("a", {}, "id-9")]
    assert [(one.what, one.hosts) for one in summarize_reports(twins).shared] == [
        ("hostname", ("a (facts a.json)", "a (facts a.json)")),
        ("machine-id", ("a (facts a.json)", "c")),
    ]


def test_what_a_copied_virtual_machine_keeps_is_shared() -> None:
    hosts = (Host("a", product="p", addresses="m1 m2"), Host("b", product="p", addresses="m3 m2"), Host("c"))
    reports = [
        judge(planned("first", first=FIRST), Pretended(FIT), Seat("running", "live", host), Terms(NOW))
        for host in hosts
    ]
    assert [(one.what, one.value, one.hosts) for one in summarize_reports(reports).shared] == [
        ("product_uuid", "p", ("a", "b")),
        ("hardware address", "m2", ("a", "b")),
    ]


def test_hosts_without_an_identity_share_none() -> None:
    assert not summarize_reports([report("a", {}), report("b", {})]).shared


def test_what_should_be_alike_and_differs() -> None:
    assert [(one.place, one.values) for one in summarize_reports(three()).differences] == [
        ("kernel.release", (("6.1", ("a", "b")), ("6.12", ("c",)))),
        ("cgroups.version", (("2", ("a", "c")), ("1", ("b",)))),
    ]


def test_what_is_not_known_of_a_host_does_not_differ() -> None:
    assert not summarize_reports([report("a", {}), report("b", {"cgroups.version": HIDDEN})]).differences


def test_a_summary_in_words_names_each_thing() -> None:
    assert list(format_summary(summarize_reports(three()))) == [
        ("fail", f"2 of 3 hosts (a, b): swap.total; fix: {resolve_place(('swap', 'total')).fix}"),
        (
            "unknown",
            "2 of 3 hosts (a, c): /proc is not mounted here: kernel.config.VETH, kernel.config.VXLAN; mount /proc",
        ),
        (
            "shared",
            f"a, c have the same machine-id: {UNIQUE_VALUES['machine-id'][1]}",
        ),
        ("differs", "kernel.release: 6.1 on a, b; 6.12 on c"),
        ("differs", "cgroups.version: 2 on a, c; 1 on b"),
    ]


def test_both_formats_for_people_tell_it_where_there_are_several() -> None:
    for format_ in (text, markdown):
        several = format_.render(three(), Style(width=200))
        for word in ("2 of 3 hosts", "have the same machine-id", "kernel.release: 6.1 on a, b"):
            assert word in several
        assert "of 1 hosts" not in format_.render(three()[:1], Style())
    assert "| a | 1 fail, 2 unknown | conformant |" in markdown.render(three(), Style())


def test_what_a_host_says_is_escaped_in_it() -> None:
    hostile = [report(f"\x1b[31m{name}", {}, "id", kernel=f"<b>{name}\u202e") for name in "ab"]
    for format_ in (text, markdown):
        rendered = format_.render(hostile, Style())
        assert "\x1b" not in rendered
        assert "\u202e" not in rendered
    assert "<b>" not in markdown.render(hostile, Style())


def test_a_thousand_reports_of_nothing_are_no_trouble() -> None:
    one = report("a", {})
    found = summarize_reports([one] * 1000)
    assert len(found.matrix) == 1000
    assert set(label_hosts([one] * 1000)) == {"a (facts a.json)"}


@pytest.mark.parametrize("facts", [None, [], {"cgroups.version": 5}, {"runtime": []}, {"kubelet.version": {"rows": 1}}])
def test_embedded_facts_that_cannot_be_read_differ_from_none(facts: object) -> None:
    odd = report("a", {})._replace(facts=json.loads(json.dumps(facts)))
    assert not [one for one in summarize_reports([odd, report("b", {})]).differences if one.place == "cgroups.version"]


# a directory of recordings


def recorded(name: str, version: str) -> bytes:
    document = {
        "nodespec-facts": 1,
        "context": "running",
        "door": "live",
        "host": {"name": name, "id": f"id of {name}"},
        "tool": "nodespec 0.1.0",
        "time": "2026-11-21T12:00:00Z",
        "facts": {"cgroups.version": [version, 31, "/proc/self/mountinfo"]},
    }
    return json.dumps(document).encode()


def check(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    (folder / "second.yaml").write_text(f"nodespec: 1\n{SECOND}\n", encoding="utf-8")
    return subprocess.run(
        [*PROGRAM, "check", str(folder / "second.yaml"), *args],
        env={"PYTHONPATH": str(TOP), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("versions", "code"), [(["2", "2"], 0), (["2", "1"], 10)])
def test_a_directory_gives_a_report_each_and_the_worst_of_their_codes(
    versions: Sequence[str], code: int, tmp_path: Path
) -> None:
    fleet = tmp_path / "fleet"
    fleet.mkdir()
    for number, version in enumerate(versions):
        (fleet / f"{number}.json").write_bytes(recorded(f"node-{number}", version))
    (fleet / "README").write_text("no recording, and not taken for one", encoding="utf-8")
    done = check(tmp_path, "--facts", str(fleet), "-o", "json")
    assert done.returncode == code, done.stderr
    reports = json.loads(done.stdout)["reports"]
    assert [one["host"]["name"] for one in reports] == ["node-0", "node-1"]
    assert [one["door"] for one in reports] == [f"facts {fleet}/{number}.json" for number in (0, 1)]


def test_a_damaged_recording_is_named_and_the_others_are_judged(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet"
    fleet.mkdir()
    (fleet / "a.json").write_bytes(recorded("node-a", "2"))
    (fleet / "b.json").write_bytes(recorded("node-b", "2")[:-20])
    (fleet / "c.json").symlink_to("/nowhere")
    done = check(tmp_path, "--facts", str(fleet))
    assert done.returncode == 2
    assert done.stdout.startswith("CONFORMANT")
    assert f"{fleet}/b.json: not a recording of nodespec" in done.stderr
    assert f"{fleet}/c.json" in done.stderr
    assert "exit 2: 2 of 3 recordings not judged" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_directory_without_any_recording_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "fleet").mkdir()
    done = check(tmp_path, "--facts", str(tmp_path / "fleet"))
    assert (done.returncode, done.stdout) == (2, "")


def test_what_was_recorded_says_so(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(recorded("node-r", "2"))
    report_ = json.loads(check(tmp_path, "--facts", str(tmp_path / "r.json"), "-o", "json").stdout)["reports"][0]
    assert report_["notices"] == ["recorded on 2026-11-21T12:00:00Z (live) by nodespec 0.1.0"]
    assert report_["findings"][0]["parts"][0]["evidence"] == [
        {"source": "/proc/self/mountinfo", "line": 31, "inferred": False}
    ]
