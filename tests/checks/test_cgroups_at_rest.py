from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Mapping, Union

import pytest

from nodespec.checks import _cgroups_at_boot
from nodespec.facts.declaration import Leaf, Table, resolve_place
from nodespec.host.directory import DirectoryTree
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

    from nodespec.facts.value_types import Datum

Files = Mapping[str, Union[str, bytes, None]]
INIT = {"/sbin/init": "/lib/systemd/systemd"}
OPTIONS = (
    *_cgroups_at_boot.V1.values(),
    *_cgroups_at_boot.V2.values(),
    "CGROUPS",
    "CGROUP_BPF",
    "NET_NS",
    "PID_NS",
    "IPC_NS",
    "UTS_NS",
)
CONFIG = "# Linux/x86 6.1.176 Kernel Configuration\n" + "".join(f"CONFIG_{name}=y\n" for name in sorted({*OPTIONS}))
KERNEL: Files = {"/boot/vmlinuz-6.1.0-50-amd64": "", "/boot/config-6.1.0-50-amd64": CONFIG}
UNIFIED = {"cpu", "cpuset", "devices", "dmem", "freezer", "hugetlb", "io", "memory", "misc", "pids", "rdma"}
LINE = "/etc/kernel/cmdline"


def systemd(number: str, default: str = "") -> Files:
    text = f"\0+PAM {default and f'default-hierarchy={default}'}\0"
    return {**KERNEL, f"/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-{number}.so": text}


def look(root: str, *path: str) -> Observation[Datum]:
    """A fact at rest; whatever it names as its source is declared."""
    fact = resolve_place(path).fact
    assert fact.resting
    if isinstance(fact, Leaf):
        seen = fact.resting(DirectoryTree(root))
    else:
        assert isinstance(fact, Table)
        row = fact.resting(DirectoryTree(root)).observe(path[-1])
        assert not isinstance(row, Value) or isinstance(row.value, str)
        seen = row.then(str)
    if not isinstance(seen, Unknown):
        assert any(fnmatchcase(seen.evidence.source, glob) for glob in fact.resting_sources)
    return seen


@pytest.mark.parametrize(
    ("number", "default", "line", "version"),
    [
        ("252", "unified", "quiet", "2"),
        ("239", "legacy", "quiet", "1"),
        ("234", "hybrid", "quiet", "hybrid"),
        ("239", "legacy", "systemd.unified_cgroup_hierarchy=1", "2"),
        ("239", "legacy", "systemd.unified_cgroup_hierarchy", "2"),
        ("239", "legacy", "cgroup_no_v1=all", "2"),
        ("239", "legacy", "systemd.unified_cgroup_hierarchy=0", "1"),
        ("252", "unified", "systemd.unified-cgroup-hierarchy=no", "hybrid"),
        ("252", "unified", "systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1", "1"),
        ("256.7-1.fc41", "", "quiet", "2"),
        ("256", "", "quiet", "2"),
        ("255", "hybrid", "quiet", "hybrid"),
        ("255", "unified", "systemd.unified_cgroup_hierarchy=0", "hybrid"),
        ("257", "", "systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1", "hybrid"),
        ("258", "", "systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1", "2"),
    ],
)
def test_systemd_mounts_what_it_was_built_for_or_told(
    make_tree: MakeTree, number: str, default: str, line: str, version: str
) -> None:
    seen = look(make_tree({**systemd(number, default), LINE: line}, INIT), "cgroups", "version")
    assert isinstance(seen, Value)
    assert (seen.value, seen.evidence.inferred) == (version, True)


@pytest.mark.parametrize(
    ("files", "links", "say"),
    [
        (systemd("252"), INIT, "libsystemd-shared-252.so has no default-hierarchy"),
        (KERNEL, INIT, "systemd's library, which has the default version, not found"),
        ({**systemd("256"), LINE: "systemd.unified_cgroup_hierarchy=0"}, INIT, "systemd 256 does not support"),
        ({**systemd("257"), LINE: "systemd.unified_cgroup_hierarchy=0"}, INIT, "systemd 257 does not support"),
        (KERNEL, {}, "the init system that mounts control groups is not known"),
        (KERNEL, {"/sbin/init": "openrc-init"}, "rc_cgroup_mode is not set"),
        ({}, INIT, "no kernel found in this tree"),
    ],
)
def test_what_cannot_be_told_is_deferred(make_tree: MakeTree, files: Files, links: Mapping[str, str], say: str) -> None:
    root = make_tree({"/etc/x": "", **files}, links)
    for path in (("cgroups", "version"), ("cgroups", "controllers"), ("cgroups", "bindings", "cpu")):
        seen = look(root, *path)
        assert isinstance(seen, Unknown)
        assert seen.reason == "deferred"
        assert say in seen.say


@pytest.mark.parametrize(("word", "version"), [('"unified"', "2"), ("hybrid", "hybrid"), ("'legacy'", "1")])
def test_openrc_has_a_mode(make_tree: MakeTree, word: str, version: str) -> None:
    root = make_tree(
        {**KERNEL, "/etc/rc.conf": f"#rc_cgroup_mode=x\nrc_cgroup_mode={word}\n"}, {"/sbin/init": "openrc-init"}
    )
    assert look(root, "cgroups", "version") == Value(version, Evidence("/etc/rc.conf", 2))


def test_without_cgroups_in_the_kernel_there_are_none(make_tree: MakeTree) -> None:
    config = CONFIG.replace("CONFIG_CGROUPS=y", "# CONFIG_CGROUPS is not set")
    root = make_tree({**systemd("258"), "/boot/config-6.1.0-50-amd64": config}, INIT)
    seen = look(root, "cgroups", "version")
    assert isinstance(seen, Absent)
    assert seen.say == "the kernel was built without control groups"
    controllers = look(root, "cgroups", "controllers")
    assert isinstance(controllers, Value)
    assert controllers.value == frozenset()


def test_controllers_are_what_the_kernel_was_built_with(make_tree: MakeTree) -> None:
    seen = look(make_tree(systemd("258"), INIT), "cgroups", "controllers")
    assert isinstance(seen, Value)
    assert (seen.value, seen.others) == (frozenset(UNIFIED), ())
    config = CONFIG.replace("CONFIG_MEMCG=y\n", "")
    root = make_tree({"/boot/config-6.1.0-50-amd64": config})
    seen = look(root, "cgroups", "controllers")
    assert isinstance(seen, Value)
    assert seen.value == frozenset(UNIFIED - {"memory"})
    row = look(root, "cgroups", "bindings", "memory")
    assert isinstance(row, Absent)
    assert row.say == "the kernel was built without MEMCG"


@pytest.mark.parametrize("name", ["io", "blkio"])
def test_the_command_line_disables(make_tree: MakeTree, name: str) -> None:
    root = make_tree({**systemd("258"), LINE: f"cgroup_disable=memory,{name}"}, INIT)
    seen = look(root, "cgroups", "controllers")
    assert isinstance(seen, Value)
    assert seen.value == frozenset(UNIFIED - {"memory", "io"})
    row = look(root, "cgroups", "bindings", "memory")
    assert row == Absent(Evidence(LINE), "disabled by cgroup_disable=memory on the kernel command line")


def test_on_version_1_they_have_other_names(make_tree: MakeTree) -> None:
    root = make_tree(systemd("239", "legacy"), INIT)
    seen = look(root, "cgroups", "controllers")
    assert isinstance(seen, Value)
    assert seen.value == frozenset(_cgroups_at_boot.V1)
    assert look(root, "cgroups", "bindings", "blkio").then(str) == Value(
        "v1",
        Evidence(
            "/boot/config-6.1.0-50-amd64", CONFIG[: CONFIG.index("CONFIG_BLK_CGROUP")].count("\n") + 1, inferred=True
        ),
    )
    config = f"{CONFIG}# CONFIG_MEMCG_V1 is not set\n"
    seen = look(make_tree({"/boot/config-6.1.0-50-amd64": config}), "cgroups", "controllers")
    assert isinstance(seen, Value)
    assert seen.value == frozenset({*_cgroups_at_boot.V1} - {"memory"})


def test_a_raspberry_pi_may_have_no_memory_controller(make_tree: MakeTree) -> None:
    release = "6.6.31+rpt-rpi-v8"
    files = {f"/boot/vmlinuz-{release}": "", f"/boot/config-{release}": CONFIG, **systemd("258")}
    tree = {path: text for path, text in files.items() if "6.1.0" not in path}
    root = make_tree({**tree, "/boot/firmware/cmdline.txt": "rootwait"}, INIT)
    seen = look(root, "cgroups", "controllers")
    assert isinstance(seen, Value)
    assert {seen.value, *seen.others} == {frozenset(UNIFIED), frozenset(UNIFIED - {"memory"})}
    make_tree({"/boot/firmware/cmdline.txt": "rootwait cgroup_enable=memory"})
    seen = look(root, "cgroups", "controllers")
    assert isinstance(seen, Value)
    assert (seen.value, seen.others) == (frozenset(UNIFIED), ())


def test_namespaces_are_what_the_kernel_was_built_with(make_tree: MakeTree) -> None:
    seen = look(make_tree(KERNEL), "namespaces", "kinds")
    assert isinstance(seen, Value)
    assert seen.value == frozenset({"cgroup", "ipc", "mnt", "net", "pid", "uts"})
    assert seen.evidence == Evidence("/boot/config-6.1.0-50-amd64", inferred=True)


def test_without_a_kernel_namespaces_are_deferred(make_tree: MakeTree) -> None:
    assert look(make_tree({}), "namespaces", "kinds") == Unknown("deferred", "no kernel found in this tree")
