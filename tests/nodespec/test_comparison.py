"""What two views of hosts say differently, what two reports conclude differently, and what is noise."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Sequence, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pretended import NOW, Pretended, Said, planned
from unhurried import PROGRAM

from nodespec.author.diff import reports, specs
from nodespec.author.diff.observations import compare_views, format_differences, iter_all_places, iter_places_within
from nodespec.author.spec.library import Library
from nodespec.author.spec.resolver import resolve
from nodespec.escape import escape_line
from nodespec.facts import declaration
from nodespec.facts.live import Live
from nodespec.host.at_rest import AtRestTree
from nodespec.host.machine import Machine
from nodespec.judge.judge import Terms, judge
from nodespec.model.json_types import Json
from nodespec.model.report import Host, Report, Seat
from nodespec.output.facts_yaml import list_places
from nodespec.recording.replay import ReplayedFacts
from nodespec.run import record

if TYPE_CHECKING:
    from conftest import MakeTree

TOP = Path(__file__).parents[2]
SEAT = Seat("running", "live", Host("node-17"))
BOOT = ("running", "at rest")
Notes = Dict[str, Json]
NEVER, ALWAYS = (lambda _: False), (lambda _: True)


def lines_of(before: Notes, after: Notes, contexts: Sequence[str] = ("", "")) -> Tuple[List[str], int]:
    views = ReplayedFacts(before), ReplayedFacts(after)
    found = compare_views(*views, iter_all_places(*views), contexts)
    return list(format_differences(found, NEVER)), len(found.silent)


def bare(lines: Sequence[str]) -> List[str]:
    """Lines without where it was seen."""
    return [line.split("  #")[0] for line in lines]


def machine(host: str) -> Live:
    return Live(Machine(str(TOP / "tests" / "hosts" / host)), time.monotonic() + 60)


def whole(host: str) -> Notes:
    return record.record_host(declaration.list_families(), machine(host), SEAT)[0].facts


# two recordings


def test_a_recording_says_the_same_as_itself_and_as_another_of_its_host() -> None:
    for host in ("fit-node", "debian-12-minbase"):
        some = record.record_host(["os", "kernel.config.USER_NS", "sysctl.net.ipv4.ip_forward"], machine(host), SEAT)[0]
        assert lines_of(whole(host), whole(host)) == ([], 0)
        found, silent = lines_of(whole(host), some.facts)
        assert not found
        assert silent


def test_what_two_recordings_say_differently_is_told_with_where_each_saw_it() -> None:
    before: Notes = {
        "kernel.version": ["6.1.170", 1, "/proc/version"],
        "kernel.config": {
            "from": "/boot/config-a",
            "rest": ["undefined"],
            "rows": {"VETH": ["m", 7], "VXLAN": ["y", 8]},
        },
        "swap.devices": {"rows": {"/dev/a": {"is": ["there", 2, "/proc/swaps"], "size": [5, 2, "/proc/swaps"]}}},
        "os.variant": {"absent": "", "from": "/etc/os-release"},
        "kernel.taints": [["die"], "/proc/sys/kernel/tainted"],
    }
    after: Notes = {
        "kernel.version": {"value": "6.1.176", "from": "/boot/vmlinuz", "inferred": True},
        "kernel.config": {"from": "/boot/config-b", "rest": ["undefined"], "rows": {"VETH": ["m", 9]}},
        "swap.devices": {"rest": {"absent": "", "from": "/proc/swaps"}, "rows": {}},
        "os.variant": {"absent": "", "from": "/usr/lib/os-release"},
        "kernel.taints": {"unknown": "no permission", "say": "it may not be read", "look": "run as root"},
    }
    found, silent = lines_of(before, after)
    assert found == [
        "kernel.version: 6.1.170 -> 6.1.176  # /proc/version:1; inferred from /boot/vmlinuz",
        "kernel.config.VXLAN: y -> undefined  # /boot/config-a:8; /boot/config-b",
        "swap.devices./dev/a: there -> no such swap area  # /proc/swaps:2; /proc/swaps",
    ]
    assert silent == 1  # the taints


@pytest.mark.parametrize("reason", ["deferred", "no permission", "not recorded"])
def test_what_only_one_side_knows_is_no_difference(reason: str) -> None:
    some: Notes = {"os.id": ["debian", "/etc/os-release"]}
    others: List[Notes] = [{}, {"os.id": {"unknown": reason, "say": "why"}}]
    for other in others:
        assert lines_of(some, other) == ([], 1)
        assert lines_of(other, some) == ([], 1)


def test_what_reads_otherwise_and_is_the_same_is_no_difference() -> None:
    table: Notes = {"rest": {"absent": "", "from": "/proc/sys"}}
    before: Notes = {
        "sysctl": {**table, "rows": {"kernel.sysrq": ["438"], "kernel.printk": ["4"]}},
        "runtime.runc": {"rows": {}},
        "kernel.version": ["6.1.170", "/a"],
        "kernel.config": {"rows": {"VETH": {"value": "y", "or": ["m"]}, "VXLAN": {"value": "y", "or": ["m"]}}},
    }
    after: Notes = {
        "sysctl": {**table, "rows": {"kernel.sysrq": ["0x1b6"], "kernel.printk": ["7"]}},
        "kernel.version": ["6.1.170+deb12", "/b"],
        "kernel.config": {"rows": {"VETH": ["m"], "VXLAN": ["n"]}},
    }
    found, _ = lines_of(before, after)
    assert [line.split("  #")[0] for line in found] == [
        "kernel.config.VXLAN: y or m -> n",
        "sysctl.kernel.printk: 4 -> 7",
    ]


def modules(**rows: str) -> Notes:
    return {"modules": {"rest": {"absent": "", "from": "/lib/modules/6"}, "rows": {n: [s] for n, s in rows.items()}}}


def test_that_the_kernel_will_load_on_demand_what_is_loaded_is_no_difference() -> None:
    running = modules(ext4="loaded", ip_vs="loaded", overlay="loadable", nfs="loaded", vxlan="loaded")
    resting = modules(ext4="loadable", ip_vs="blocked", overlay="loaded", vxlan="loadable")
    wanted = [
        "modules.ip_vs: loaded -> blocked",
        "modules.nfs: loaded -> no such module",
        "modules.overlay: loadable -> loaded",
    ]
    assert [line.split("  #")[0] for line in lines_of(running, resting, BOOT)[0]] == wanted
    assert len(lines_of(resting, running, ("at rest", "running"))[0]) == 3
    assert len(lines_of(running, resting, ("running", "running"))[0]) == 5  # two machines


def test_a_table_of_many_differences_is_counted_unless_it_is_asked_for() -> None:
    rows: Dict[str, Json] = {one: {f"OPTION_{n}": [one] for n in range(100)} for one in ("y", "m")}
    y, m = (ReplayedFacts({"kernel.config": {"from": f"/boot/{one}", "rows": rows[one]}}) for one in rows)
    found = compare_views(y, m, iter_all_places(y, m))
    counted = "kernel.config: 100 rows differ; name kernel.config as an operand to list them  # /boot/y; /boot/m"
    assert list(format_differences(found, NEVER)) == [counted]
    assert len(list(format_differences(found, ALWAYS))) == 100


def test_rows_that_go_for_one_reason_are_told_together() -> None:
    why = "the module br_netfilter adds it"
    names = [f"net.bridge.bridge-nf-call-{name}" for name in ("arptables", "iptables", "ip6tables", "other")]
    before: Notes = {"sysctl": {"from": "/proc/sys/*", "rows": {name: ["1"] for name in names}}}
    absent: Notes = {name: {"absent": why} for name in names}
    after: Notes = {"sysctl": {"from": "/etc/x", "rows": absent}}
    gone = f"no such kernel parameter: {why}"
    name, path = "sysctl.net.bridge.bridge-nf-call-arptables", "/proc/sys/net/bridge/bridge-nf-call-arptables"
    assert lines_of(before, after)[0] == [f"{name} and 3 more: there -> {gone}  # {path}; /etc/x"]
    assert lines_of(after, before)[0] == [f"{name} and 3 more: {gone} -> there  # /etc/x; {path}"]


# a machine and its next boot


def test_what_the_next_boot_changes_is_told_with_the_file_that_is_responsible(make_tree: MakeTree) -> None:
    root = make_tree(
        {
            "/proc/self/stat": "1 (x)",
            "/proc/sys/net/ipv4/ip_forward": "1\n",
            "/proc/sys/vm/swappiness": "60\n",
            "/proc/sys/kernel/sysrq": "438\n",
            "/proc/sys/fs/file-max": "99\n",
            "/etc/sysctl.d/99-x.conf": "# ours\nnet.ipv4.ip_forward = 0\nvm.swappiness = 10\nkernel.sysrq = 0x1b6\n",
            "/usr/lib/systemd/systemd": "",
        },
        {"/sbin/init": "/usr/lib/systemd/systemd"},
    )
    running, resting = (Live(one, time.monotonic() + 60) for one in (Machine(root), AtRestTree(root)))
    found = compare_views(
        running, resting, iter_places_within(declaration.resolve_place(("sysctl",)), running, resting), BOOT
    )
    assert list(format_differences(found, NEVER)) == [
        "sysctl.vm.swappiness: 60 -> 10  # /proc/sys/vm/swappiness; /etc/sysctl.d/99-x.conf:3"
    ]
    assert "sysctl.fs.file-max" in {one.name for one in found.silent}


# reports

SPEC = "name: first\nrequire: {swap: {total: 0}, cgroups: {version: 2}}\nrecommend: {kernel: {lockdown: none}}"
FIT: Dict[str, Said] = {"swap.total": 0, "cgroups.version": "2", "kernel.lockdown": "none"}


def report(said: Dict[str, Said], name: str = "a", spec: str = SPEC) -> Report:
    return judge(
        planned("first", first=spec), Pretended({**FIT, **said}), Seat("running", "live", Host(name)), Terms(NOW)
    )


def test_reports_differ_in_what_came_out_otherwise() -> None:
    assert list(reports.diff_reports([report({})], [report({})])) == []
    assert list(
        reports.diff_reports([report({})], [report({"swap.total": 1, "kernel.lockdown": "integrity"}, "b")])
    ) == [
        "conformant -> nonconformant",
        "swap.total: pass -> fail: wanted 0, found 1  # /pretended:7",
        "recommended.kernel.lockdown: pass (advisory) -> fail (advisory): wanted none, found integrity  # /pretended:7",
    ]


def test_reports_of_two_specs_differ_in_what_they_ask() -> None:
    less = report({"swap.total": 1}, spec="name: first\nrequire: {cgroups: {version: 2}}")
    digest, spec, *rest = reports.diff_reports([report({"swap.total": 1})], [less])
    assert (digest, rest[0]) == (
        "nonconformant -> conformant",
        "swap.total: fail -> not asked: wanted 0, found 1  # /pretended:7",
    )
    assert re.fullmatch(r"spec first: sha256:\w{16} -> sha256:\w{16}", spec)


def test_reports_on_several_hosts_are_compared_host_by_host() -> None:
    before = [report({}), report({}, "b"), report({}, "c")]
    after = [report({"swap.total": 1}, "b"), report({}), report({}, "d")]
    assert list(reports.diff_reports(before, after)) == [
        "b: conformant -> nonconformant",
        "b: swap.total: pass -> fail: wanted 0, found 1  # /pretended:7",
        "d: not judged -> conformant: all pass; 3 requirements",
        "c: conformant: all pass; 3 requirements -> not judged",
    ]


# specs


def moves(before: str, after: str) -> List[str]:
    one, other = (planned("s", s=f"name: s\n{text}") for text in (before, after))
    return bare(list(specs.diff_plans(one, other)))


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ("require: {swap: {total: 0}}", "require: {swap: {total: 0}}", []),
        (
            "require: {swap: {total: 0}}",
            "require: {swap: {total: 0}, cgroups: {version: 2}}",
            ["more   cgroups.version: not asked -> 2"],
        ),
        (
            "require: {kernel: {version: '>=5.8'}}",
            "require: {kernel: {version: '>=5.13'}}",
            ["more   kernel.version: >=5.8 -> >=5.13"],
        ),
        (
            "require: {kernel: {version: '>=5.13'}}",
            "require: {kernel: {version: '>=5.8'}}",
            ["less   kernel.version: >=5.13 -> >=5.8"],
        ),
        (
            "require: {kernel: {version: '>=5.8 <6'}}",
            "require: {kernel: {version: '>=5.13 <7'}}",
            ["other  kernel.version: >=5.8 <6 -> >=5.13 <7"],
        ),
        (
            "require: {kernel: {config: {VETH: enabled}}}",
            "require: {kernel: {config: {VETH: [y, m]}}}",  # said otherwise, and the same
            [],
        ),
        (
            "require: {kernel: {config: {VETH: enabled}}}",
            "recommend: {kernel: {config: {VETH: enabled}}}",
            ["less   kernel.config.VETH: enabled -> recommended enabled"],
        ),
        (
            "recommend: {kernel: {config: {VETH: enabled}}}",
            "require: {kernel: {config: {VETH: enabled}}}",
            ["more   kernel.config.VETH: recommended enabled -> enabled"],
        ),
        (
            "require: {swap: {total: 0}}",
            "rules: [{name: r, when: {cgroups: {version: 1}}, require: {swap: {total: 0}}}]",
            ["less   swap.total: 0 -> not asked"],
        ),
        (
            "rules: [{name: r, every: packages, require: {status: installed}}]",
            "rules: [{name: r, every: packages, require: {architecture: amd64}}]",
            ["other  r: every row of packages -> every row of packages"],
        ),
    ],
)
def test_a_move_from_one_spec_to_another_newly_demands_what_may_fail(before: str, after: str, lines: List[str]) -> None:
    assert moves(before, after) == lines


@pytest.mark.parametrize("name", ["container-host", "kubernetes/1.35", "sig-node/system-validators"])
def test_a_spec_demands_no_more_than_itself(name: str) -> None:
    plan = resolve([name], Library(), {}, trial=True)
    assert list(specs.diff_plans(plan, plan)) == []


# the command line


def nodespec(*args: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *args],
        cwd=folder,
        env={"PYTHONPATH": str(TOP), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this machine was recorded and judged; `other` is another."""
    made = tmp_path_factory.mktemp("views")
    (made / "node.yaml").write_text("nodespec: 1\nrequire: {os: {id: debian}, cgroups: {version: 2}}\n")
    (made / "junk.json").write_text("{}")
    assert nodespec("facts", "os", "-o", "os.json.gz", folder=made).returncode == 0
    assert nodespec("facts", "os", "-o", "os.json", folder=made).returncode == 0
    document = json.loads((made / "os.json").read_bytes())
    document["facts"]["os.id"] = ["none", "/etc/os-release"]
    (made / "other.json").write_text(json.dumps(document))
    document["facts"]["os.pretty_name"] = ["\u202eevil\u2028none", "/etc/os-release"]
    (made / "hostile.json").write_text(json.dumps(document))
    (made / "report.json").write_text(nodespec("check", "./node.yaml", "-o", "json", folder=made).stdout)
    again = json.loads((made / "report.json").read_text())
    again["reports"][0]["findings"][0]["outcome"] = "deferred"
    again["reports"][0]["findings"][0]["sentence"] = "\u202eevil"
    (made / "again.json").write_text(json.dumps(again))
    return made


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("os.json", "os.json.gz"), 0, "0 differ"),
        (("os.json", "other.json"), 10, "1 differs"),
        (("os.json", "other.json", "os.version"), 0, "0 differ"),
        (("os.json", "other.json", "os.id"), 10, "-> none  #"),
        (("os.json", "hostile.json", "os.pretty_name"), 10, "\\u202eevil\\u2028none"),
        (("os.json", "running", "os.id", "os.version"), 0, "running: "),
        (("running", "running", "./node.yaml"), 0, "0 differ"),
        (("report.json", "report.json"), 0, "0 differ"),
        (("report.json", "again.json"), 10, "\\u202eevil"),
        (("node.yaml", "./node.yaml"), 0, "0 differ"),
        (("container-host", "kubernetes/1.35"), 10, "more   kernel.arch: not asked -> x86_64"),
    ],
)
def test_what_differs_exits_10(args: Sequence[str], code: int, said: str, folder: Path) -> None:
    done = nodespec("diff", *args, folder=folder)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout
    assert not {"\x1b", "\u202e", "\u2028"} & {*done.stdout}


def test_alone_it_compares_this_machine_with_its_next_boot(folder: Path) -> None:
    done = nodespec("diff", folder=folder)
    assert done.returncode in (0, 10), done.stderr
    heads = done.stdout.splitlines()
    assert re.match(r"running: .*, running \(live\), ", heads[0])
    assert [line for line in heads if re.match(r"at-rest: .*, at rest \(image /\), ", line)]
    assert re.match(r"\d+ differs?; \d+ more are known to one side only", heads[-1])
    every = nodespec("diff", "running", "at-rest", "os", "memory", "--all", folder=folder)
    assert "memory.total: " in every.stdout
    assert "unknown (deferred: only a running machine can tell)" in every.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("running",), "a second operand is required"),
        (("running", "nothing.json"), "nothing.json: No such file"),
        (("running", "image:"), "expected image:PATH"),
        (("running", "image:/dev/null"), "--image /dev/null"),
        (("os.json", "node.yaml"), "os.json is a host or a recording, but node.yaml is a spec"),
        (("os.json", "junk.json"), "junk.json: not a recording"),
        (("os.json", "report.json"), "os.json is a host or a recording, but report.json is a report"),
        (("report.json", "again.json", "os"), "places can only be named to compare hosts; remove it"),
        (("os.json", "os.json.gz", "no-such-family"), "`no-such-family` is not a spec or a family of facts"),
        (("os.json", "os.json.gz", "os.ids"), "unknown fact `ids` of `os`"),
        (("os.json", "os.json.gz", "--root", "/host"), "applies only to running and at-rest"),
        (("running", "at-rest", "--root", "."), "no procfs"),
    ],
)
def test_a_mistake_is_told_and_exits_2(args: Sequence[str], said: str, folder: Path) -> None:
    done = nodespec("diff", *args, folder=folder)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert "Traceback" not in done.stderr


# what anybody may have written

NAMES = [".".join(place.path) for family in declaration.list_families() for place in list_places(family)]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1 << 65) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(("rows", "asked", "rest", "from", "is", "value", "absent", "unknown", "say", "or", "bash")),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=6), st.sampled_from([("", ""), BOOT]))
def test_no_recording_does_harm_to_a_comparison(facts: Notes, contexts: Tuple[str, str]) -> None:
    views = (
        ReplayedFacts(facts),
        ReplayedFacts({"os.id": ["debian", "/etc/os-release"], "modules": {"rows": {"bash": ["loaded"]}}}),
    )
    found = compare_views(*views, iter_all_places(*views), contexts)
    assert len(list(format_differences(found, ALWAYS))) == len(found.differing)
    assert all("\n" not in escape_line(one.line) for one in found.silent)
