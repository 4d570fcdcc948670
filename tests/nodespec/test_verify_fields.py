"""Every field of a report is in the table of docs/report-json.md, and `verify` treats a forged one as it says."""

from __future__ import annotations

import copy
import gzip
import json
import re
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, Tuple, Union, cast

import pytest
from pretended import ABSENT, HIDDEN, NOW, Pretended, Said, planned

from nodespec.__main__ import main
from nodespec.author.spec.library import Library
from nodespec.author.spec.resolver import resolve
from nodespec.author.verify import verification
from nodespec.judge import clause_result, evaluation
from nodespec.judge.conclusion import Choice
from nodespec.judge.judge import Terms, judge, make_failed_report
from nodespec.model import plan as plans
from nodespec.model import plan_json
from nodespec.model.json_types import Json
from nodespec.model.observation import Evidence, Unknown, Value
from nodespec.model.plan import Plan, Requirement, Spec, SpecParam
from nodespec.model.report import Host, Seat, Waiver
from nodespec.model.report_json import decode_reports, encode_reports
from nodespec.recording.replay import ReplayedFacts
from nodespec.reports.json import schema
from nodespec.run import host_identity

TOP = Path(__file__).parents[2]
EARLIER = TOP / "tests/compatibility/557f55d/reports"
ROW = re.compile(r"^\| `([^`]+)` \| (compared|derived|wording|not covered) \|", re.MULTILINE)
TABLE = dict(ROW.findall((TOP / "docs/report-json.md").read_text(encoding="utf-8")))
BASE = "title: the base\nrequire: {memory: {total: '>=1Gi'}, ports: {1: free}}"
SPEC = """
title: everything that a report can hold
extends: [base]
drop: ["ports.*"]
params:
  stage: {default: {running: joining, at-rest: joined}, choices: [joining, joined], why: when}
  least: {default: '>=5.8', why: the oldest}
require:
  kernel:
    version: {is: {param: least}, why: cgroup v2, fix: install another, see: https://example.org/, tags: [CIS-1.1]}
    config: {NET: enabled, HZ: '>=1000'}
  cgroups: {version: {is: 2, fix: {running: boot with version 2, at-rest: set it in the boot loader}}}
  cpu: {count: '>=4'}
  sysctl: {net.ipv4.ip_forward: 1, vm.swappiness: '<=10'}
  commands: {runc: present, crun: present}
  swap: {total: 0}
recommend:
  os: {id: debian}
rules:
  - {name: later, when: {params: {stage: joined}}, require: {ports: {10250: listening}}}
"""
HOST = Host("node-17", "0123", "Debian 13", "6.1.0", "x86_64", "docker", "root", "", "ab", "cd")
FACTS: Dict[str, Said] = {
    "kernel.version": "5.4",
    "kernel.config.NET": Value("y", Evidence("/boot/config", 3, inferred=True), ("m",)),
    "kernel.config.HZ": "250",
    "kernel.release": "6.1.0",
    "kernel.arch": "x86_64",
    "os.pretty_name": "Debian 13",
    "os.container": "docker",
    "os.id": "fedora",
    "memory.total": 4 << 30,
    "cgroups.version": "hybrid",
    "cpu.count": 8,
    "sysctl.net.ipv4.ip_forward": HIDDEN,
    "sysctl.vm.swappiness": HIDDEN,
    "commands.runc": ABSENT,
    "commands.crun": ABSENT,
    "swap.total": 7,
}
WAIVERS = (
    Waiver(("swap.*",), ("*",), "needs it", "ann", "2027-06-30", "w.yaml:1:1"),
    Waiver(("cgroups.*",), ("other",), "needs it", "ann", "2027-06-30", "w.yaml:2:1"),
)
PLAN = planned("spec", spec=SPEC, base=BASE)
CHOICE = Choice(skip=("cpu",))


def maximal(plan: Plan = PLAN, choice: Choice = CHOICE, waivers: Tuple[Waiver, ...] = WAIVERS) -> Dict[str, Json]:
    """A report with something in every field, as its file holds it."""
    seat = Seat("running", "live", HOST, host_identity.list_notices(HOST, "/"))
    made = judge(plan, Pretended(FACTS), seat, Terms(NOW, choice, waivers))
    return cast("Dict[str, Json]", json.loads(json.dumps(encode_reports([made]))))


def fields(document: Json, prefix: str = "") -> Iterator[str]:
    """The fields of records in a JSON schema, each by its path; lists of texts below `[]` only where globs are."""
    definitions = cast("Dict[str, Dict[str, Dict[str, Dict[str, Json]]]]", cast("Dict[str, Json]", document)["$defs"])

    def of(name: str, before: str) -> Iterator[str]:
        for field, said in definitions[name]["properties"].items():
            items = cast("Dict[str, str]", said.get("items", {}))
            reference = cast("str", said.get("$ref") or items.get("$ref") or "")
            path = f"{before}{field}{'[]' if 'items' in said and (reference or not before) else ''}"
            yield from of(reference.split("/")[-1], f"{path}.") if reference else (path,)

    return of("report", prefix)


PLAN_FIELDS = [
    "plan.nodespec",
    *(f"plan.specs[].{field}" for field in Spec._fields),
    *(f"plan.params[].{field}" for field in SpecParam._fields),
    *(f"plan.requirements[].{field}" for field in Requirement._fields),
    "plan.digest",
]


def test_the_table_holds_every_field() -> None:
    every = [field for field in fields(schema()) if field != "plan"] + PLAN_FIELDS
    assert sorted(TABLE) == sorted(every)
    (report,) = cast("List[Dict[str, Json]]", maximal()["reports"])
    assert cast("Dict[str, Json]", report["plan"]).keys() == {"nodespec", "specs", "params", "requirements", "digest"}


Place = Tuple[Union[Dict[str, Json], List[Json]], Union[str, int]]


def places(within: Json, path: str) -> Iterator[Place]:
    """Where the fields of a path are, each as its container and key."""
    name, _, rest = path.partition(".")
    field = name.removesuffix("[]") if hasattr(name, "removesuffix") else name.replace("[]", "")
    assert isinstance(within, dict)
    if name.endswith("[]"):
        several = within[field]
        assert isinstance(several, list)
        for number, one in enumerate(several):
            yield from places(one, rest) if rest else ((several, number),)
    elif rest:
        yield from places(within[field], rest)
    else:
        yield within, field


def value_at(place: Place) -> Json:
    """The value of a field; a field that is omitted if it is empty is an empty list."""
    return place[0].get(str(place[1]), []) if isinstance(place[0], dict) else place[0][cast("int", place[1])]


CHOICES: Mapping[str, Tuple[str, ...]] = {
    "conclusion": ("conformant", "nonconformant"),
    "context": ("at rest", "running"),
    "level": ("required", "recommended"),
    "outcome": ("pass", "fail"),
    "disposition": ("advisory", "enforced"),
    "observed.state": ("absent", "value"),
    "waivers[].state": ("expired", "valid"),
    "params[].source": ("set", "default"),
}
OTHERWISE: Mapping[str, Callable[[Json], Json]] = {
    "door": lambda _: "image /tmp/x",
    "time": lambda _: "2027-01-20T00:00:00Z",
    "waivers[].expires": lambda _: "2027-07-30",
    "waivers[].ids": lambda _: ["nothing.*"],
    "waivers[].hosts": lambda _: ["another"],
    "notices[]": lambda _: "nothing to see",
    "facts": lambda facts: {**cast("Dict[str, Json]", facts), "memory.free": [1, "/proc/meminfo"]},
}


UNREADABLE = ("plan.nodespec", "plan.params[].name")  # nothing is judged by such a plan: exit 2


def forged(path: str, value: Json) -> Json:
    """Another value that the schema allows."""
    if path in OTHERWISE:
        return OTHERWISE[path](value)
    for end, choices in CHOICES.items():
        if path.endswith(end) and isinstance(value, str):
            return next(one for one in choices if one != value)
    changes: List[Tuple[type, Callable[[Json], Json]]] = [
        (bool, lambda flag: not flag),
        (int, lambda number: cast("int", number) + 1),
        (list, lambda several: [*cast("List[Json]", several), "forged"]),
        (dict, lambda several: {**cast("Dict[str, Json]", several), "forged": "forged"}),
    ]
    change = next((change for type_, change in changes if isinstance(value, type_)), lambda text: f"{text or ''}forged")
    return change(value)


def verified(document: Json, folder: Path, capsys: pytest.CaptureFixture[str]) -> Tuple[int, str]:
    path = folder / "report.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    capsys.readouterr()
    return main(["verify", str(path)]), capsys.readouterr().out


def test_the_maximal_report_is_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = verified(maximal(), tmp_path, capsys)
    first, *rest = said.splitlines()
    assert code == 0
    assert first.endswith(": no difference")
    assert [line.partition(":")[0] for line in rest] == ["compared", "not covered", "a report is not signed"]


@pytest.mark.parametrize(("path", "how"), TABLE.items(), ids=TABLE)
def test_a_forged_field_is_treated_as_the_table_says(
    path: str, how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = maximal(choice=Choice(only=("*",), skip=("cpu",)))
    (report,) = cast("List[Json]", document["reports"])
    every = [*places(report, path)]
    place = next((one for one in every if value_at(one)), every[0])
    before = copy.deepcopy(value_at(place))
    after = forged(path, before)
    assert after != before
    cast("Dict[Union[str, int], Json]", place[0])[place[1]] = after
    code, said = verified(document, tmp_path, capsys)
    worded = " worded differently" in said
    expected = {"compared": (10, None), "derived": (10, None), "wording": (0, True), "not covered": (0, False)}[how]
    assert code == (2 if path in UNREADABLE else expected[0]), said
    assert expected[1] in (None, worded), said


def test_a_digest_that_a_later_version_wrote_is_not_taken_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = maximal(choice=Choice())
    report = only_report(document)
    del cast("Dict[str, Json]", report["plan"])["digest"]
    report["tool"] = "nodespec 0.1.1"
    code, said = verified(document, tmp_path, capsys)
    assert code == 10
    assert "digest of the plan: the report has none" in said
    report["tool"] = "nodespec 0.1.0"
    code, said = verified(document, tmp_path, capsys)
    assert code == 0
    assert "not compared: the titles and files of the specs" in said
    assert "not compared: the host's system and kernel" in said


# forgeries that change several fields alike


def only_report(document: Dict[str, Json]) -> Dict[str, Json]:
    (report,) = cast("List[Dict[str, Json]]", document["reports"])
    return report


def findings(report: Mapping[str, Json]) -> List[Dict[str, Json]]:
    return cast("List[Dict[str, Json]]", report["findings"])


def skip_failures(report: Dict[str, Json]) -> None:
    """Turn every finding that does not pass into one that was left out, and remove what they came from."""
    for finding in findings(report):
        if finding["outcome"] in ("fail", "unknown"):
            finding.update(
                outcome="skipped",
                disposition="skipped",
                sentence="not selected on the command line",
                fix="",
                parts=[],
                waiver=-1,
            )
    judged = sum(one["outcome"] != "skipped" for one in findings(report))
    report.update(conclusion="conformant", asked=judged, causes=[], waivers=[])
    (made,) = decode_reports({"nodespec": 1, "reports": [report]})
    report["facts"] = judge(
        plans.decode_plan(cast("Dict[str, Json]", report["plan"])),
        ReplayedFacts(report["facts"]),
        Seat(made.context, made.door, made.host),
        Terms(NOW, Choice(left=frozenset(one.id for one in made.findings if one.outcome == "skipped"))),
    ).facts


def test_failures_turned_into_skipped_are_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = maximal(choice=Choice(), waivers=())
    skip_failures(only_report(document))
    code, said = verified(document, tmp_path, capsys)
    assert code == 10
    assert "cgroups.version: outcome: the report says 'skipped', but the result is 'unknown'" in said
    assert "conclusion: the report says conformant, but the result is indeterminate" in said


def test_a_failure_turned_into_skipped_is_noticed_by_its_facts_without_globs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A report of an earlier version does not say what --skip was."""
    document = json.loads(gzip.decompress((EARLIER / "running.json.gz").read_bytes()))
    (report,) = document["reports"]
    facts = report["facts"]
    skip_failures(report)
    code, said = verified(document, tmp_path, capsys)
    assert code == 0
    assert "not compared: the skipped requirements" in said
    report["facts"] = facts
    code, said = verified(document, tmp_path, capsys)
    assert code == 10
    assert "facts: no judged requirement uses sysctl.vm.swappiness\n" in said
    assert re.search(r"facts: no judged requirement uses (modules\.\w+, ){2}modules\.\w+ and \d+ more\n", said)


def test_a_why_that_plan_and_finding_both_change_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for reseal in (False, True):
        document = maximal()
        report = only_report(document)
        plan = cast("Dict[str, Json]", report["plan"])
        for one in (*findings(report), *cast("List[Dict[str, Json]]", plan["requirements"])):
            if one["id"] == "kernel.version":
                one["why"] = "another reason"
        if reseal:
            plan["digest"] = plan_json.compute_seal(plan)
        code, said = verified(document, tmp_path, capsys)
        assert code == 10
        assert "digest of spec: the report says" in said
        assert ("digest of the plan: the report says" in said) is not reseal


def test_a_why_of_several_specs_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = maximal(planned("spec", "base", spec=SPEC, base=BASE))
    report = only_report(document)
    plan = cast("Dict[str, Json]", report["plan"])
    for one in (*findings(report), *cast("List[Dict[str, Json]]", plan["requirements"])):
        if one["id"] == "kernel.version":
            one["why"] = "another reason"
    code, said = verified(document, tmp_path, capsys)
    assert code == 10
    assert "digest of the plan: the report says" in said


@pytest.mark.parametrize("field", ["name", "title"])
def test_a_title_that_plan_and_report_both_change_is_noticed(
    field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = maximal()
    report = only_report(document)
    for within in (report, cast("Dict[str, Json]", report["plan"])):
        cast("List[Dict[str, Json]]", within["specs"])[0][field] = "kubernetes/1.35"
    assert verified(document, tmp_path, capsys)[0] == 10


def test_a_requirement_that_is_taken_out_of_plan_and_findings_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = maximal()
    report = only_report(document)
    plan = cast("Dict[str, Json]", report["plan"])
    for within, name in ((report, "findings"), (plan, "requirements")):
        within[name] = [one for one in cast("List[Dict[str, Json]]", within[name]) if one["id"] != "kernel.version"]
    assert verified(document, tmp_path, capsys)[0] == 10


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("recorded-container", {"notices": "first"}, "notices: the notice about the container is missing"),
        ("recorded-reboot-pending", {"notices": "first"}, "notices: the notice about the pending reboot is missing"),
        ("recorded", {"notices": "last"}, "notices: the notice with the time of the recording is missing"),
        ("at-rest-debian", {"context": "running"}, "context: the report says running"),
        ("at-rest-debian", {"context": "running", "door": "live"}, "context: the report says running"),
        ("running", {"context": "at rest", "door": "image /"}, "was read"),
        ("running", {"door": "nothing"}, "which is not a way to access a host"),
        ("recorded", {"context": "at rest"}, "access by root means running"),
    ],
)
def test_access_context_and_notices_must_agree(
    name: str, changes: Dict[str, str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(gzip.decompress((EARLIER / f"{name}.json.gz").read_bytes()))
    (report,) = document["reports"]
    assert verified(document, tmp_path, capsys)[0] == 0
    for field, value in changes.items():
        report[field] = {"first": report["notices"][1:], "last": report["notices"][:-1]}.get(value, value)
    code, printed = verified(document, tmp_path, capsys)
    assert code == 10
    assert said in printed


@pytest.mark.parametrize(
    ("fact", "note", "extra"),
    [
        ("memory.free", [1], "memory.free"),
        ("sysctl", {"asked": {"vm.swappiness": ["1"], "kernel.pid_max": ["1"]}}, "sysctl.kernel.pid_max"),
        ("sysctl", {"asked": {"vm.swappiness": ["1"]}, "comment": "x"}, "sysctl.comment"),
        ("packages", {"asked": {"runc": {"is": ["there"], "version": ["1"], "arch": ["x"]}}}, "packages.runc.arch"),
        ("modules", {"runs": [[1, ["ext4", "loaded"]]]}, "modules.ext4"),
    ],
)
def test_a_fact_that_nothing_asks_for_is_noticed(
    fact: str, note: Json, extra: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = "require: {packages: {runc: {version: '>=1'}}, modules: {overlay: loaded}, sysctl: {vm.swappiness: 1}}"
    document = maximal(planned(a=spec), Choice(), ())
    cast("Dict[str, Json]", only_report(document)["facts"])[fact] = note
    code, said = verified(document, tmp_path, capsys)
    assert code == 10
    assert f"  facts: no judged requirement uses {extra}\n" in said


def test_a_host_that_was_not_judged_is_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded = "recorded on 2026-11-28T12:00:00Z (live) by nodespec 0.1.0"
    for choice in (Choice(), CHOICE):
        seat = Seat("running", "facts x.json", HOST, (*host_identity.list_notices(HOST, "/"), recorded))
        made = make_failed_report(PLAN, seat, Terms(NOW, choice, WAIVERS), "a worker was killed", "")
        document = cast("Dict[str, Json]", json.loads(json.dumps(encode_reports([made]))))
        code, said = verified(document, tmp_path, capsys)
        assert code == 0, said
        only_report(document)["notices"] = [recorded]
        assert verified(document, tmp_path, capsys)[0] == 10


def test_true_is_not_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = maximal()
    (part,) = (
        part
        for finding in findings(only_report(document))
        for part in cast("List[Dict[str, Dict[str, Json]]]", finding["parts"])
        if cast("Json", part["place"]) == "swap.total"
    )
    part["observed"]["value"] = 7.0
    code, said = verified(document, tmp_path, capsys)
    assert code == 10
    assert "swap.total: observed value: the report says 7.0, but the result is 7" in said


Change = Callable[[Dict[str, Json]], object]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda report: report.update(skip=["cpu", "nosuch"]), "skip: the report says nosuch, but no requirement"),
        (lambda report: report.update(host={**report["host"], "kernel": ""}), "host.kernel: the report says nothing"),
        (lambda report: findings(report)[0].update(parts=[]), "memory.total: parts: the report says 0"),
        (
            lambda report: report.update(defect="killed", notices=[*report["notices"], "killed"]),
            "defect: the report says that the host was not judged, but memory.total was observed",
        ),
    ],
)
def test_a_change_is_noticed(change: Change, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = maximal()
    change(only_report(document))
    code, printed = verified(document, tmp_path, capsys)
    assert code == 10
    assert said in printed


def test_the_head_of_a_recording_may_say_less_than_its_facts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = "recorded on 2026-11-28T12:00:00Z (root /host) by nodespec 0.1.0"
    for host, code in ((Host("n"), 0), (Host("n", kernel="6.1.0"), 0), (Host("n", kernel="6.1.1"), 10)):
        seat = Seat("running", "facts x.json", host, (recorded,))
        plan = planned(a="require: {kernel: {release: 6.1.0}}")
        document = encode_reports([judge(plan, Pretended(FACTS), seat, Terms(NOW))])
        assert verified(document, tmp_path, capsys)[0] == code, host


def test_no_reboot_is_pending_where_the_next_kernel_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned(a="require: {kernel: {next: {matches: '6.*'}}}")
    for starts, code in (("6.1.0", 0), ("6.2.0", 10)):
        seat = Seat("running", "root /host", Host("n", kernel="6.1.0"))
        made = judge(plan, Pretended({**FACTS, "kernel.next": starts}), seat, Terms(NOW))
        assert verified(encode_reports([made]), tmp_path, capsys)[0] == code


# other versions


def test_another_outcome_names_both_versions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = maximal()
    report = only_report(document)
    report["tool"] = "nodespec 0.0.9"
    findings(report)[0]["outcome"] = "fail"
    code, said = verified(document, tmp_path, capsys)
    assert code == 10
    assert f"(written by nodespec 0.0.9, judged again by {verification.TOOL})" in said


def test_other_words_are_one_line_and_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = maximal()
    for finding in findings(only_report(document))[:3]:
        finding["sentence"] = f"in other words: {finding['sentence']}"
    code, said = verified(document, tmp_path, capsys)
    assert code == 0
    line = "  3 findings are worded differently: memory.total (sentence), kernel.version (sentence), kernel.config.NET"
    assert f"\n{line} (sentence)\n" in said


@pytest.mark.parametrize(
    "name",
    ["running-waivers", "running-skip", "running-several-specs", "at-rest-fedora", "recorded-container", "recorded"],
)
def test_a_version_that_words_everything_otherwise_verifies_earlier_reports(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rewording is no difference: only values are compared."""
    for module, function in (
        (evaluation, "format_sentence"),
        (evaluation, "describe_unmet_condition"),
        (evaluation, "select_default_fix"),
        (clause_result, "describe_absence"),
    ):
        monkeypatch.setattr(module, function, lambda *_, **__: "in other words")
    shown = clause_result.format_value
    monkeypatch.setattr(clause_result, "format_value", lambda value, kind: f"now {shown(value, kind)}")
    monkeypatch.setattr(host_identity, "iter_notices", other_notices)
    code, said = verified(json.loads(gzip.decompress((EARLIER / f"{name}.json.gz").read_bytes())), tmp_path, capsys)
    assert code == 0, said
    assert re.search(r"^  \d+ findings?( and notices)? (is|are) worded differently", said, re.MULTILINE)


def other_notices(host: Host, root: str) -> Iterator[Tuple[str, Tuple[str, ...], str]]:
    return ((kind, values, f"now {' '.join(values)}") for kind, values, _ in NOTICES(host, root))


NOTICES = host_identity.iter_notices


def test_causes_are_grouped_otherwise_only_by_another_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = maximal()
    report = only_report(document)
    assert report["causes"]
    report["causes"] = []
    assert verified(document, tmp_path, capsys)[0] == 10
    report["tool"] = "nodespec 0.0.9"
    code, said = verified(document, tmp_path, capsys)
    assert code == 0
    assert "causes are worded differently" in said
    report["causes"] = [{"outcome": "pass", "say": "", "look": "", "ids": ["kernel.version", "cgroups.version"]}]
    assert verified(document, tmp_path, capsys)[0] == 10


def test_a_spec_that_only_bears_a_name_of_the_library_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = resolve(["container-host"], Library(), {})
    code, said = verified(maximal(plan, Choice(), ()), tmp_path, capsys)
    assert code == 0
    assert "  container-host is the spec of this nodespec\n" in said
    weak = planned("container-host", **{"container-host": "require: {memory: {total: '>=1Mi'}}"})
    code, said = verified(maximal(weak, Choice(), ()), tmp_path, capsys)
    assert code == 0
    assert "  container-host is not the spec of that name in this nodespec\n" in said


def test_an_expectation_in_other_words_says_the_same_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, code in (("at least >=5.8", 0), (">=5.9", 10), ("any version", 10)):
        document = maximal()
        finding = next(one for one in findings(only_report(document)) if one["id"] == "kernel.version")
        cast("List[Dict[str, Json]]", finding["parts"])[0]["expected"] = text
        assert verified(document, tmp_path, capsys)[0] == code, text


def test_a_clock_that_the_earlier_version_believed_is_believed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later version was built later, and its own build day voids no waiver of an earlier report."""
    document = json.loads(gzip.decompress((EARLIER / "running-waivers.json.gz").read_bytes()))
    monkeypatch.setattr(verification, "BUILT", "2030-01-01")
    monkeypatch.setattr(verification, "TOOL", "nodespec 9.9.9")
    assert verified(document, tmp_path, capsys)[0] == 0
    for waiver in document["reports"][0]["waivers"]:
        waiver["state"] = "void"
    assert verified(document, tmp_path, capsys)[0] == 10  # what was waived is still waived


def test_a_clock_that_the_earlier_version_did_not_believe_is_not_believed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seat = Seat("running", "live", HOST, host_identity.list_notices(HOST, "/"))
    made = judge(PLAN, Pretended(FACTS), seat, Terms(0.0, CHOICE, WAIVERS))
    assert {waiver.state for waiver in made.waivers} == {"void"}
    assert verified(encode_reports([made._replace(tool="nodespec 0.0.9")]), tmp_path, capsys)[0] == 0


def test_this_machine_is_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for target in ([], ["--image", "/"]):
        for options in ([], ["--skip", "kernel"], ["--only", "kernel", "--strict"]):
            path = str(tmp_path / "live.json")
            main(["check", "container-host", *target, *options, "-o", f"json={path}"])
            assert main(["verify", path]) == 0, capsys.readouterr().out


def test_an_unknown_of_a_host_may_say_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned(a="require: {sysctl: {kernel.pid_max: 1}}")
    seat = Seat("running", "live", Host("n"))
    said: Dict[str, Said] = {"sysctl.kernel.pid_max": Unknown("failed", "\x1b[31m", "\u202e")}
    made = judge(plan, Pretended(said), seat, Terms(NOW))
    assert verified(encode_reports([made]), tmp_path, capsys)[0] == 0


def test_a_key_that_stands_twice_makes_it_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two values one program would take the first and another the last."""
    text = json.dumps(maximal()).replace('"conclusion": ', '"conclusion": "conformant", "conclusion": ', 1)
    (tmp_path / "report.json").write_text(text, encoding="utf-8")
    assert main(["verify", str(tmp_path / "report.json")]) == 2
    assert "`conclusion` is a duplicate key" in capsys.readouterr().err
