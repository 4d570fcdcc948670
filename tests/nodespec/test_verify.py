"""A stored report says by itself what its findings came from, and comes to them again."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Dict, List, Tuple, Type, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pretended import Said, planned, report

from nodespec.__main__ import main
from nodespec.author.spec.library import Library
from nodespec.author.spec.resolver import resolve
from nodespec.author.verify import verification
from nodespec.checks.files import Mode
from nodespec.facts import declaration
from nodespec.facts.value_numbers import Option, UntypedValue, Version, Whole
from nodespec.facts.value_types import Datum, Flag, Kind, OneOf, Presence, SetOf
from nodespec.judge import pattern
from nodespec.judge.conclusion import Choice
from nodespec.judge.pattern import list_clauses
from nodespec.model.json_types import Json
from nodespec.model.observation import REASONS, Absent, Evidence, Observation, Unknown, Value
from nodespec.model.plan import Plan, decode_plan
from nodespec.model.plan_json import encode_plan
from nodespec.model.report import Cause, Param, Report, Waiver
from nodespec.model.report_json import decode_reports as unpacked_report
from nodespec.model.report_json import encode_reports as packed_report

if TYPE_CHECKING:
    from pathlib import Path

SPEC = """
params:
  stage: {default: joining, choices: [joining, joined], why: when}
  least: {default: '>=5.8'}
  running: {default: yes, type: flag}
require:
  kernel: {version: {param: least}, config: {A: {is: enabled, aliases: [B]}, HZ: '>=250', LSM: {matches: '.*bpf.*'}}}
  cgroups: {version: 2, controllers: {all: [cpu, memory], none: [blkio]}}
  packages: {runc: {is: present, version: '>=1.1', deb: '>=1.1-1'}, telnet: absent}
  sysctl: {net.ipv4.ip_forward: 1, vm.swappiness: {any: [absent, '<=60']}}
  files: {/etc/x: {mode: 0644, empty: false, size: '<1Ki'}}
  kubelet: {running: {param: running}}
recommend:
  memory: {total: '>=2Gi'}
  os: {id: {not: alpine}}
  kernel: {lockdown: present}
rules:
  - {name: runtimes, any: [{runtime: {crio: {version: '>=1.30'}}}, {not: {packages: {telnet: present}}}]}
  - {name: joined, when: {params: {stage: joined}}, require: {ports: {10250: listening}}}
  - {name: later, when: {cgroups: {version: 1}}, require: {ports: {6443: free}}}
  - {name: rows, every: modules, where: {not: blocked}, require: [loaded, builtin], or-none: true}
  - {name: columns, some: packages, where: {architecture: amd64}, require: {version: '>=1'}}
"""
PLAN = planned(a=SPEC)
PLACES = {
    ".".join(place.path): place.kind
    for one in PLAN.requirements
    if not {"every", "some"} & one.pattern.keys()
    for data in (one.pattern, one.when)
    if data
    for clause in list_clauses(pattern.parse_pattern(data, {param.name: param for param in PLAN.params}))
    for place in (clause.place, *clause.aliases)
    if place.path[0] != pattern.PARAMS
}
TEXTS = st.sampled_from(["", "y", "1", "present", "bpf", "<script>", "\x1b[31m", "a\nb", "\ud800", "4096 1"])
EVIDENCE = st.builds(Evidence, st.sampled_from(["/proc/x", "a b"]), st.integers(0, 9), st.booleans())
UNKNOWNS = st.builds(Unknown, st.sampled_from(REASONS), TEXTS, TEXTS)


def values(kind: Kind[Datum]) -> st.SearchStrategy[Datum]:
    """What a host may say of a fact, nonsense among it."""
    if isinstance(kind, OneOf):
        return st.sampled_from([*kind.choices, "strange"])
    of_types: List[Tuple[Type[Kind[Datum]], st.SearchStrategy[Datum]]] = [
        (Presence, st.just("there")),
        (SetOf, st.frozensets(st.sampled_from(["cpu", "memory", "blkio", "strange"]))),
        (Flag, st.booleans()),
        (Whole, st.integers(0, 1 << 40)),
        (Version, st.sampled_from(["1.1", "5.8", "6.1.176", "2:1.0-1", "none", "1.1-1"])),
        (Mode, st.sampled_from(["0644", "4755"])),
        (Option, st.sampled_from(["y", "m", "n", "undefined", "250", "lockdown,bpf"])),
        (UntypedValue, TEXTS | st.sampled_from(["60", "61", "0x3c"])),
    ]
    return next((drawn for type_, drawn in of_types if isinstance(kind, type_)), TEXTS)


@cache  # hypothesis looks a strategy through when it is first drawn from
def observations(kind: Kind[Datum]) -> st.SearchStrategy[Observation[Datum]]:
    value = values(kind)
    seen = st.builds(Value, value, EVIDENCE, st.just(()) | value.map(lambda other: (other,)))
    return seen | st.builds(Absent, EVIDENCE, TEXTS) | UNKNOWNS


@st.composite
def hosts(draw: st.DrawFn) -> Dict[str, Said]:
    said: Dict[str, Said] = {name: draw(observations(kind)) for name, kind in PLACES.items()}
    for table, columns in (("modules", ("",)), ("packages", (".architecture", ".version"))):
        names = tuple(draw(st.lists(st.sampled_from(["a", "b", "c"]), unique=True)))
        said[f"{table}.*"] = draw(st.just(names) | UNKNOWNS)
        for name in names:
            for column in columns:
                path = (table, name, *filter(None, [column.lstrip(".")]))
                said[".".join(path)] = draw(observations(declaration.resolve_place(path).kind))
    return said


WAIVERS = st.lists(
    st.builds(
        Waiver,
        st.lists(st.sampled_from(["kernel.*", "*.version", "rows", "nothing"]), min_size=1, max_size=2).map(tuple),
        st.sampled_from([("*",), ("node-17",), ("other",)]),
        st.just("because"),
        st.just("ann"),
        st.sampled_from(["2020-01-01", "2027-01-15", "2030-12-31"]),
        st.just("w:1:1"),
    ),
    max_size=2,
)
GLOBS = st.lists(st.sampled_from(["kernel", "*.version", "rows", "packages.runc.*", "recommended"]), max_size=2).map(
    tuple
)
CHOICES = st.builds(Choice, GLOBS, GLOBS, st.booleans())


def kept(made: Report) -> Report:
    """A report as it comes out of a file."""
    (back,) = unpacked_report(cast("Dict[str, Json]", json.loads(json.dumps(packed_report([made])))))
    return back


@settings(max_examples=60, deadline=None)
@given(hosts(), CHOICES, WAIVERS, st.sampled_from([0.0, 1_800_000_000.0]))
def test_a_report_comes_to_the_same_again(
    said: Dict[str, Said], choice: Choice, waivers: List[Waiver], now: float
) -> None:
    made = report(PLAN, said, choice=choice, waivers=waivers, now=now)
    back = kept(made)
    assert back == made
    found = verification.judge_again(back)
    assert found.findings == made.findings
    assert (found.conclusion, found.waivers, found.causes) == (made.conclusion, made.waivers, made.causes)
    assert found._replace(facts=None) == made._replace(facts=None)


def test_a_plan_is_data() -> None:
    for plan in (PLAN, resolve(["kubernetes/1.35"], Library(), {}), planned("b", b="extends: [a]", a=SPEC)):
        back = decode_plan(cast("Dict[str, Json]", json.loads(json.dumps(encode_plan(plan)))))
        assert back == plan


@pytest.mark.parametrize(
    "change",
    [
        {"conclusion": "conformant"},
        {"strict": True},
        {"params": (Param("size", "large", "set"),)},
        {"specs": ()},
        {"causes": (Cause("fail", "a lie", "", ("cpu.count",)),)},
        {"asked": 1},
        {"findings": ()},
    ],
)
def test_what_was_changed_in_a_report_shows(
    change: Dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = report(planned(a="require: {cpu: {count: 4}}\nrecommend: {cpu: {count: 8}}"), {"cpu.count": 2})
    path = tmp_path / "r.json"
    path.write_text(json.dumps(packed_report([made._replace(**change)])))  # type: ignore[arg-type]
    assert main(["verify", str(path)]) == 10
    assert "the report says" in capsys.readouterr().out


def test_a_finding_that_was_taken_out_is_one_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = report(planned(a="require: {cpu: {count: 4}, memory: {total: 8}}"), {"cpu.count": 2, "memory.total": 1})
    (tmp_path / "r.json").write_text(json.dumps(packed_report([made._replace(findings=made.findings[1:])])))
    assert main(["verify", str(tmp_path / "r.json")]) == 10
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.endswith(": 1 difference")
    assert rest[:1] == ["  ids: the report says nothing else, but the result is ['cpu.count']"]


def test_what_a_report_says_moves_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = report(planned(a="require: {cpu: {count: 4}}"), {"cpu.count": 2})
    made = made._replace(host=made.host._replace(name="a\x1b[31mb\u202ec"))
    (tmp_path / "r.json").write_text(json.dumps(packed_report([made])))
    assert main(["verify", str(tmp_path / "r.json")]) == 0
    assert capsys.readouterr().out.startswith("a\\x1b[31mb\\u202ec: ")


def test_nothing_is_read_into_a_report_that_embeds_too_little() -> None:
    made = kept(report(PLAN, {"modules.*": (), "packages.*": ()}))._replace(facts={})
    found = verification.judge_again(made)
    outcomes = {one.outcome for one in found.findings}
    assert outcomes == {"unknown", "not-applicable"}
    assert {part.observed.reason for one in found.findings for part in one.parts if one.outcome == "unknown"} == {
        "not recorded"
    }


def test_the_plan_of_a_library_spec_is_one_for_all_hosts() -> None:
    plans: List[Plan] = [resolve(["container-host"], Library(), {}) for _ in range(2)]
    assert plans[0] == plans[1]


MADE = report(
    PLAN,
    {"modules.*": ("a",), "packages.*": ("b",)},
    waivers=[Waiver(("*.x",), ("*",), "b", "a", "2030-12-31", "w:1:1")],
)
SCRAPS: List[Json] = [
    None,
    1,
    "",
    "x",
    "\0",
    [],
    ["a"],
    {},
    {"any": []},
    {"fact": ["kernel"]},
    {"not": {}},
    1e99,
    "9" * 400,
]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_report_that_was_tampered_with_is_no_defect(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    document = cast("Dict[str, Json]", json.loads(json.dumps(packed_report([MADE]))))
    here: Json = document
    while isinstance(here, (dict, list)) and here:
        steps = list(here) if isinstance(here, dict) else list(range(len(here)))
        step = data.draw(st.sampled_from(steps))
        below = here[step]  # type: ignore[call-overload,index]
        if not isinstance(below, (dict, list)) or not below or data.draw(st.integers(0, 4)) == 0:
            here[step] = data.draw(st.sampled_from(SCRAPS))  # type: ignore[call-overload,index]
            break
        here = below
    path = tmp_path_factory.getbasetemp() / "r.json"
    path.write_text(json.dumps(document))
    assert main(["verify", str(path)]) in (0, 2, 10)
