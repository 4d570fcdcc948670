from __future__ import annotations

import shutil
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Mapping, Optional, Union, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks import _cgroups_mounted, cgroups
from nodespec.facts.declaration import Leaf, Table, load_family, resolve_place
from nodespec.facts.value_types import Datum
from nodespec.formats.mountinfo import list_reachable_mounts, parse_mounts
from nodespec.host.machine import Machine
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

    from nodespec.facts.declaration import Fact, Group

HOSTS = Path(__file__).parents[1] / "hosts"
NAMES = sorted(path.name for path in HOSTS.glob("cgroup-*"))

V2_ALL = "cpu cpuset hugetlb io memory misc pids rdma"
V1_SYSTEMD = "blkio cpu cpuacct cpuset devices freezer hugetlb memory net_cls net_prio perf_event pids"
V1_OPENRC = "blkio cpu cpuacct cpuset devices freezer memory pids"
V1_SPLIT = "cpuset devices freezer hugetlb net_cls net_prio perf_event pids"
V1_232 = "blkio cpu cpuacct cpuset devices freezer memory net_cls net_prio perf_event pids"

# what is in force, what is on version 1, what on version 2 (devices and freezer among it where they are usable)
LAYOUTS = {
    "unified": ("2", "", f"{V2_ALL} devices freezer"),
    "elsewhere": ("2", "", "cpu devices freezer io memory pids"),
    "hybrid-systemd": ("hybrid", f"{V1_SYSTEMD} rdma", ""),
    "hybrid-openrc": ("hybrid", V1_OPENRC, "hugetlb"),
    "hybrid-split": ("hybrid", V1_SPLIT, "cpu io memory"),
    "v232-hybrid": ("hybrid", V1_232, ""),
    "legacy": ("1", V1_SYSTEMD, ""),
    "legacy-beside-cilium": ("hybrid", V1_SYSTEMD, ""),
    "single-v1-mount": ("1", "blkio cpu cpuacct cpuset devices freezer memory", ""),
    "name-systemd-only": ("1", "", ""),
    "not-mounted": ("", "", ""),
    "not-built": ("", "", ""),
    "delegated-user-session": ("2", "", f"{V2_ALL} devices freezer"),
    "container-private-ns": ("2", "", "cpu devices freezer io memory pids"),
    "container-host-ns": ("2", "", f"{V2_ALL} devices freezer"),
    "container-v1": ("1", V1_OPENRC, ""),
    "outside-ns-root": ("2", "", "cpu devices freezer memory pids"),
    "raspberry-pi": ("2", "", "cpu cpuset devices freezer io pids"),
    "unified-beside-net-cls": ("2", "net_cls", f"{V2_ALL} devices freezer"),
    "v2-over-v1": ("2", "", "devices freezer hugetlb memory"),
}


def host(name: str) -> Machine:
    return Machine(str(HOSTS / f"cgroup-{name}"))


def edited(name: str, at: Path, files: Mapping[str, Optional[str]]) -> Machine:
    """A copy of a host with some files written anew, or (None) taken away."""
    shutil.copytree(HOSTS / f"cgroup-{name}", at, dirs_exist_ok=True)
    for path, content in files.items():
        if content is None:
            (at / path).unlink()
        else:
            (at / path).write_text(content)
    return Machine(str(at))


def seen(name: str, machine: Machine) -> Observation[Datum]:
    return cast("Leaf", resolve_place(("cgroups", name)).fact).probe(machine)


def value(name: str, machine: Machine) -> Union[Datum, None]:
    found = seen(name, machine)
    return found.value if isinstance(found, Value) else None


def binding(name: str, machine: Machine) -> Observation[Datum]:
    return cast("Observation[Datum]", cgroups.bindings.probe(machine).observe(name))


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def test_every_tree_is_in_the_table() -> None:
    assert {f"cgroup-{name}" for name in LAYOUTS} == set(NAMES)


@pytest.mark.parametrize("name", LAYOUTS)
def test_version(name: str) -> None:
    assert value("version", host(name)) == (LAYOUTS[name][0] or None)


@pytest.mark.parametrize("name", LAYOUTS)
def test_bindings(name: str) -> None:
    _, v1, v2 = LAYOUTS[name]
    rows = cgroups.bindings.probe(host(name)).every()
    assert {key: row.value for key, row in rows.items() if isinstance(row, Value)} == {
        **dict.fromkeys(words(v1), "v1"),
        **dict.fromkeys(words(v2), "v2"),
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_controllers_are_those_that_runtimes_look_for(name: str) -> None:
    version, v1, v2 = LAYOUTS[name]
    assert value("controllers", host(name)) == words(v2 if version == "2" else f"{v1} {v2}")


@pytest.mark.parametrize(
    ("name", "delegated", "granted"),
    [
        ("unified", "cpuset cpu io memory pids", "cpuset cpu io memory pids"),
        ("delegated-user-session", "cpuset cpu io memory hugetlb pids", "cpu memory pids"),
        ("container-private-ns", "", "cpu io memory pids"),
        ("container-host-ns", "cpu io memory pids", "cpu io memory pids"),
        ("hybrid-systemd", "", ""),
        ("hybrid-split", "cpu io memory", "cpu io memory"),
        ("hybrid-openrc", "", "hugetlb"),
        ("elsewhere", "", "cpu io memory pids"),
        ("legacy", "", ""),
        ("not-mounted", "", ""),
    ],
)
def test_delegation(name: str, delegated: str, granted: str) -> None:
    assert value("delegated", host(name)) == words(delegated)
    assert value("granted", host(name)) == words(granted)


@pytest.mark.parametrize(
    ("name", "nested"),
    [
        ("unified", False),
        ("delegated-user-session", False),
        ("hybrid-systemd", False),
        ("legacy", False),
        ("name-systemd-only", False),
        ("container-host-ns", False),
        ("container-private-ns", True),
        ("outside-ns-root", True),
        ("container-v1", True),
    ],
)
def test_nested_is_told_by_files_of_the_root(name: str, nested: bool) -> None:  # noqa: FBT001 - a column
    assert value("nested", host(name)) is nested


def test_the_line_that_tells_the_version_is_the_evidence() -> None:
    mountinfo = (HOSTS / "cgroup-hybrid-systemd/proc/1/mountinfo").read_text().splitlines()
    found = seen("version", host("hybrid-systemd"))
    assert isinstance(found, Value)
    assert " - cgroup cgroup rw,cpuset" in mountinfo[found.evidence.line - 1]
    assert seen("version", host("unified")) == Value("2", Evidence("/proc/1/mountinfo", 7))


def test_not_mounted_is_not_the_same_as_not_built() -> None:
    mounted, built = seen("version", host("not-mounted")), seen("version", host("not-built"))
    assert isinstance(mounted, Absent)
    assert mounted.say == "the kernel has control groups, but no cgroup file system is mounted"
    assert isinstance(built, Absent)
    assert built.say == "the kernel was built without control groups"
    assert seen("nested", host("not-built")) == built


@pytest.mark.parametrize(
    "listing", [None, "", "nonsense\n", "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t4\t1\t1\n"]
)
def test_proc_cgroups_is_not_believed_on_version_2(listing: Optional[str], tmp_path: Path) -> None:
    machine = edited("unified", tmp_path, {"proc/cgroups": listing})
    assert value("version", machine) == "2"
    assert value("controllers", machine) == words(LAYOUTS["unified"][2])
    assert binding("cpu", machine) == Value("v2", Evidence("/sys/fs/cgroup/cgroup.controllers"))


@pytest.mark.parametrize(
    ("name", "controller", "say"),
    [
        ("raspberry-pi", "memory", "disabled by cgroup_disable=memory on the kernel command line"),
        ("not-mounted", "memory", "bound to a version 1 hierarchy that is not mounted here"),
        ("v2-over-v1", "cpu", "bound to a version 1 hierarchy that is not mounted here"),
        ("container-private-ns", "cpuset", "not passed down to this container, even if the kernel has it"),
        ("container-private-ns", "memroy", "there is `memory`"),
        ("unified", "memroy", "there is `memory`"),
        ("unified", "net_cls", ""),
    ],
)
def test_why_a_controller_is_missing(name: str, controller: str, say: str) -> None:
    found = binding(controller, host(name))
    assert isinstance(found, Absent)
    assert found.say == say
    sources = cgroups.bindings.sources
    assert any(fnmatchcase(one, source) for one in found.evidence.source.split(", ") for source in sources)


def test_the_fix_of_missing_controllers_names_the_kernel_command_line() -> None:
    assert "cgroup_enable=memory" in cgroups.controllers.fix


@pytest.mark.parametrize(
    ("release", "more", "doubtful"),
    [
        ("4.9.0-19-amd64", "", "devices freezer"),
        ("4.14.98", "", "devices freezer"),
        ("4.15.0", "devices", "freezer"),
        ("5.1.21", "devices", "freezer"),  # which Red Hat's 4.18 has by a backport
        ("5.2", "devices freezer", ""),
        ("10.0.1", "devices freezer", ""),
    ],
)
def test_what_has_no_controller_is_inferred_from_the_kernel(
    release: str, more: str, doubtful: str, tmp_path: Path
) -> None:
    machine = edited("elsewhere", tmp_path, {"proc/sys/kernel/osrelease": f"{release}\n"})
    found = seen("controllers", machine)
    assert found == Value(
        words(f"cpu io memory pids {more} {doubtful}"),
        Evidence("/cgroup2/cgroup.controllers", 0, bool(more)),
        (words(f"cpu io memory pids {more}"),) if doubtful else (),
    )


def test_the_freezer_is_seen_in_any_cgroup_below_the_root(tmp_path: Path) -> None:
    old = {"proc/sys/kernel/osrelease": "4.18.0-553.el8.x86_64\n", "cgroup2/system.slice/cgroup.events": ""}
    for name in ("lacking", "having"):
        (tmp_path / name / "cgroup2/system.slice").mkdir(parents=True)
    assert binding("freezer", edited("elsewhere", tmp_path / "lacking", old)) == Absent(
        Evidence("/cgroup2/cgroup.controllers")
    )
    machine = edited("elsewhere", tmp_path / "having", {**old, "cgroup2/system.slice/cgroup.freeze": "0\n"})
    assert binding("freezer", machine) == Value("v2", Evidence("/cgroup2/system.slice/cgroup.freeze"))


def test_a_freezer_that_is_seen_is_not_inferred(tmp_path: Path) -> None:
    machine = edited("unified", tmp_path, {"proc/sys/kernel/osrelease": "4.18.0-553.el8.x86_64\n"})
    assert binding("freezer", machine) == Value("v2", Evidence("/sys/fs/cgroup/init.scope/cgroup.freeze"))
    assert binding("devices", machine) == Value("v2", Evidence("/proc/sys/kernel/osrelease", 0, inferred=True))


def test_hybrid_and_version_1_infer_nothing() -> None:
    assert seen("controllers", host("hybrid-split")) == Value(
        words(f"{V1_SPLIT} cpu io memory"), Evidence("/proc/1/mountinfo")
    )


@pytest.mark.parametrize(("release", "reason"), [(None, "hidden"), ("custom", "malformed")])
def test_without_a_release_two_controllers_are_in_doubt(release: Optional[str], reason: str, tmp_path: Path) -> None:
    machine = edited("elsewhere", tmp_path, {"proc/sys/kernel/osrelease": release})
    found = seen("controllers", machine)
    assert isinstance(found, Value)
    assert found.value == words("cpu devices freezer io memory pids")
    assert found.others == (words("cpu io memory pids"),)
    devices = binding("devices", machine)
    assert isinstance(devices, Unknown)
    assert devices.reason == reason


FACTS = ("version", "controllers", "delegated", "granted", "nested")


@pytest.mark.parametrize(
    ("mountinfo", "reason"),
    [
        (None, "hidden"),
        ("", "malformed"),
        ("\n", "malformed"),
        ("1 2 3\n", "malformed"),
        ("\ufffd" * 100_000, "malformed"),
    ],
)
def test_without_mountinfo_nothing_is_known_for_one_reason(
    mountinfo: Optional[str], reason: str, tmp_path: Path
) -> None:
    machine = edited("unified", tmp_path, {"proc/1/mountinfo": mountinfo})
    found = [seen(name, machine) for name in FACTS] + [binding("cpu", machine)]
    assert len(set(found)) == 1
    assert isinstance(found[0], Unknown)
    assert found[0].reason == reason


def test_without_proc_it_says_so(make_tree: MakeTree) -> None:
    found = seen("version", Machine(make_tree({"/etc/hostname": "bare\n"})))
    assert found == Unknown("hidden", "/proc is not mounted here", "mount /proc")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("controllers", "sys/fs/cgroup/cgroup.controllers"),
        ("delegated", "sys/fs/cgroup/cgroup.subtree_control"),
        ("granted", "sys/fs/cgroup/init.scope/cgroup.controllers"),
        ("granted", "proc/1/cgroup"),
        ("nested", "sys/fs/cgroup/cgroup.procs"),
    ],
)
def test_a_mount_whose_files_are_not_there_is_hidden_and_not_empty(name: str, file: str, tmp_path: Path) -> None:
    found = seen(name, edited("unified", tmp_path, {file: None}))
    assert isinstance(found, Unknown)
    assert found.reason == "hidden"
    assert file in found.say


ROOT = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n22 21 0:19 / /sys rw - sysfs sysfs rw\n"
TMPFS = "27 22 0:23 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
CPU = "28 27 0:24 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"


def of_mountinfo(mountinfo: str) -> _cgroups_mounted.Layout:
    return _cgroups_mounted._make_layout(list_reachable_mounts(parse_mounts(mountinfo), "cgroup", "cgroup2"))  # noqa: SLF001 - the parser itself


def laid_out(mountinfo: str) -> tuple[list[str], Optional[str]]:
    layout = of_mountinfo(mountinfo)
    return [mount.point for mount in layout.v1], layout.v2.point if layout.v2 else None


@pytest.mark.parametrize(
    ("mountinfo", "v1", "v2"),
    [
        (ROOT + TMPFS + CPU, ["/sys/fs/cgroup/cpu"], None),
        # the last mount on a path wins, whatever the order of the lines
        (ROOT + TMPFS + CPU + "29 27 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", [], "/sys/fs/cgroup"),
        (ROOT + "29 27 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n" + TMPFS + CPU, [], "/sys/fs/cgroup"),
        # a tmpfs over everything, or over a folder above
        (ROOT + TMPFS + CPU + "29 27 0:25 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n", [], None),
        (ROOT + TMPFS + CPU + "29 22 0:25 / /sys rw - tmpfs tmpfs rw\n", [], None),
        # the mount of a chroot's own root is not listed
        ("28 5 0:24 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", ["/sys/fs/cgroup/cpu"], None),
        # an initial file system stands on itself, and the root on it or beside it
        ("1 1 0:2 / / rw - rootfs rootfs rw\n" + ROOT + TMPFS + CPU, ["/sys/fs/cgroup/cpu"], None),
        ("1 1 0:2 / / rw - rootfs rootfs rw\n9 1 0:9 / /c rw - cgroup2 none rw\n", [], "/c"),
        # two cgroup2: the one that runtimes find, else the first
        (
            ROOT + "30 21 0:1 / /a rw - cgroup2 a rw\n31 22 0:1 / /sys/fs/cgroup rw - cgroup2 b rw\n",
            [],
            _cgroups_mounted.CGROUP_ROOT,
        ),
        (ROOT + "30 21 0:1 / /a rw - cgroup2 a rw\n31 21 0:1 / /b rw - cgroup2 b rw\n", [], "/a"),
        # octal escapes, an empty source, a dash among the optional fields
        (ROOT + "30 21 0:1 / /a\\040b\\134c rw - cgroup2  rw\n", [], "/a b\\c"),
        (ROOT + "30 21 0:1 / /a rw shared:1 master:2 - cgroup2 - rw\n", [], "/a"),
        # what only looks like the end of a line or of a field
        (ROOT + "30 21 0:1 / /a\u2028\x0b\xa0b rw - cgroup2 none rw\n", [], "/a\u2028\x0b\xa0b"),
        # mounts that stand on each other
        ("5 6 0:1 / /a rw - cgroup2 a rw\n6 5 0:1 / /a rw - cgroup2 a rw\n", [], None),
    ],
)
def test_what_paths_lead_to(mountinfo: str, v1: list[str], v2: Optional[str]) -> None:
    assert laid_out(mountinfo) == (v1, v2)


@pytest.mark.parametrize(
    ("root", "own", "folder"),
    [
        ("/", "/", "/c"),
        ("/", "/a/b", "/c/a/b"),
        ("/t1", "/t1", "/c"),
        ("/t1", "/t1/x", "/c/x"),
        ("/..", "/../x", "/c/x"),
        ("/t1", "/t12", None),
        ("/t1", "/", None),
        ("/", "/..", None),
        ("/", "/a/../../etc", None),
        ("/", "elsewhere", None),
    ],
)
def test_the_own_cgroup_below_a_mount(root: str, own: str, folder: Optional[str], make_tree: MakeTree) -> None:
    files = {
        "/proc/self/stat": "",
        "/proc/1/mountinfo": f"{ROOT}30 21 0:1 {root} /c rw - cgroup2 none rw\n",
        "/proc/1/cgroup": f"1:name=x:/\n0::{own}\n",
        **({f"{folder}/cgroup.controllers": "cpu\n"} if folder else {}),
    }
    found = seen("granted", Machine(make_tree(files)))
    if folder:
        assert found == Value(frozenset({"cpu"}), Evidence(f"{folder}/cgroup.controllers"))
    else:
        assert found == Unknown(
            "hidden", f"/proc/1/cgroup: {own} is outside what is mounted on /c", cgroups.OUTSIDE_HINT
        )


def test_mountinfo_of_a_busy_node() -> None:
    pods = "".join(f"{n} 21 0:{n} / /var/lib/kubelet/pods/{n} rw - tmpfs tmpfs rw\n" for n in range(1000, 21_000))
    assert laid_out(ROOT + TMPFS + CPU + pods) == (["/sys/fs/cgroup/cpu"], None)


FIELD = st.text(st.characters(codec="utf-8", exclude_characters=" \n"), max_size=8)
NUMBER = st.integers(0, 5).map(str)
LINE = st.tuples(
    NUMBER, NUMBER, st.just("0:1"), FIELD, st.sampled_from(["/", "/a", "/a/b", "/sys/fs/cgroup", "\\777"]), FIELD,
    st.just("-"), st.sampled_from(["cgroup", "cgroup2", "tmpfs"]), FIELD, FIELD,
).map(" ".join)  # fmt: skip


@settings(max_examples=150)
@given(st.one_of(st.text(), st.lists(LINE, max_size=8).map("\n".join)))
def test_no_mountinfo_breaks_the_parser(text: str) -> None:
    found = Value(text, Evidence("/proc/1/mountinfo")).then(of_mountinfo)
    assert isinstance(found, (Value, Unknown))


@settings(max_examples=100)
@given(st.text())
def test_no_release_and_no_membership_breaks_a_parser(text: str) -> None:
    for read in (cgroups._parse_major_minor, cgroups._parse_v2_path):  # noqa: SLF001
        assert isinstance(Value(text, Evidence("x")).then(read), (Value, Unknown))


def observations(fact: Fact[object], machine: Machine) -> Iterator[Observation[object]]:
    if isinstance(fact, Leaf):
        yield fact.probe(machine)
    elif isinstance(fact, Table):
        rows = fact.probe(machine)
        yield rows.rest
        yield from rows.every().values()
        yield from (rows.observe(name) for name in ("memory", "cpu", "nonsense"))


@pytest.mark.parametrize("name", NAMES)
def test_evidence_is_among_the_declared_sources(name: str) -> None:
    machine = Machine(str(HOSTS / name))
    for fact in cast("Group", load_family("cgroups")).members.values():
        for found in observations(cast("Fact[object]", fact), machine):
            if not isinstance(found, Unknown):
                assert any(fnmatchcase(found.evidence.source, pattern) for pattern in fact.sources), found


@pytest.mark.root
def test_mounts_of_a_live_kernel(tmp_path: Path) -> None:
    """Version 2 mounted over a version 1 hierarchy, in a mount namespace of its own."""
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    script = tmp_path / "covered.sh"
    script.write_text(f"""set -e
mount -t tmpfs none /sys/fs/cgroup
mkdir /sys/fs/cgroup/old
mount -t cgroup -o none,name=nodespec-test none /sys/fs/cgroup/old
mount -t cgroup2 none /sys/fs/cgroup
exec {sys.executable} -c '
from nodespec.checks import cgroups
from nodespec.host.machine import Machine
machine = Machine()
print(cgroups.version.probe(machine).value, cgroups.nested.probe(machine).value)
'
""")
    ran = subprocess.run(["/usr/bin/unshare", "-m", "/bin/sh", str(script)], capture_output=True, text=True, check=True)
    assert ran.stdout == "2 False\n"
