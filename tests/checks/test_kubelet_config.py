from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Dict, Mapping, Optional, Tuple, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks import _kubelet_settings as kubelet
from nodespec.checks._kubelet_command import parse_flags
from nodespec.checks._kubelet_fields import format_duration, load_fields, parse_duration, parse_field_key
from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
from nodespec.model.observation import Absent, Evidence, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

    from nodespec.facts.declaration import Table

Files = Dict[str, Union[str, bytes, None]]
UNIT = "/usr/lib/systemd/system/kubelet.service"
SYSTEMD = "/usr/lib/systemd/systemd"
CONFIG = "/var/lib/kubelet/config.yaml"
HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
PROCESS: Files = {
    "/proc/self/stat": "",
    "/proc/1/comm": "systemd\n",
    "/proc/meminfo": "",
    "/proc/self/mountinfo": "30 1 254:1 / / rw - ext4 /dev/vda rw\n",
    "/proc/712/comm": "kubelet\n",
    "/proc/712/mountinfo": "990 1 254:1 / / rw - ext4 /dev/vda rw\n",
}


def rest(make_tree: MakeTree, command: str, files: Optional[Files] = None) -> DirectoryTree:
    """A tree at rest whose unit starts the kubelet with this command line."""
    unit = f"[Service]\nExecStart={command}\n"
    root = make_tree({"/usr/bin/kubelet": "", UNIT: unit, "/etc/machine-id": "1" * 32, SYSTEMD: "", **(files or {})})
    Path(root + "/usr/bin/kubelet").chmod(0o755)
    return DirectoryTree(root)


def field(tree: DirectoryTree, key: str, table: Table = kubelet.config) -> object:
    """What the table says of a row: the value, None for an absence, or the reason of an unknown."""
    assert table.resting
    rows = table.probe(tree) if isinstance(tree, Machine) else table.resting(tree)
    seen = rows.observe(key)
    if isinstance(seen, Value):
        return (seen.value, *seen.others) if seen.others else seen.value
    return None if isinstance(seen, Absent) else seen.reason


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("maxPods: 0", "maxPods", "110"),  # zero stands for the default
        ("maxPods: 250", "maxPods", "250"),
        ("healthzPort: 0", "healthzPort", "0"),  # here it does not
        ('reservedSystemCPUs: "0"', "reservedSystemCPUs", "0"),
        ("syncFrequency: 0s", "syncFrequency", "1m"),
        ("syncFrequency: 1h30m", "syncFrequency", "90m"),
        ("syncFrequency: often", "syncFrequency", "malformed"),
        ("failSwapOn: maybe", "failSwapOn", "malformed"),
        ("failSwapOn: no", "failSwapOn", "false"),
        ("failSwapOn: null", "failSwapOn", "true"),
        ("maxPods: [1]", "maxPods", "malformed"),
        ("clusterDNS: 10.96.0.10", "clusterDNS", "malformed"),
        ("clusterDNS: [10.96.0.10, 'fd00::a']", "clusterDNS", "10.96.0.10,fd00::a"),
        ("resolvConf: run/resolv.conf", "resolvConf", "/var/lib/kubelet/run/resolv.conf"),
        ("evictionHard: {nodefs.available: 5%}", "evictionHard.nodefs.available", "5%"),
        ("evictionHard: {nodefs.available: 5%}", "evictionHard.memory.available", None),  # a map replaces the defaults
        ("port: 10250", "evictionHard.memory.available", "100Mi"),
        ("registerWithTaints: [{key: a, value: b, effect: NoSchedule}]", "registerWithTaints", "a=b:NoSchedule"),
        ("port: 10250", "failCgroupV1", ("true", "false")),  # the release is not known
        ("port: 10250", "clusterDomain", None),
        ("port: &a 10250", "port", "unsupported"),
        ("port: : 1", "port", "malformed"),
        ("port: 1\nport: 2", "port", "malformed"),
    ],
)
def test_a_field_is_what_the_kubelet_reads(make_tree: MakeTree, text: str, key: str, value: object) -> None:
    tree = rest(make_tree, f"/usr/bin/kubelet --config {CONFIG}", {CONFIG: f"{HEAD}{text}\n"})
    assert field(tree, key) == value


@pytest.mark.parametrize(
    ("flags", "key", "value"),
    [
        ("--max-pods=5 --max-pods=6", "maxPods", "6"),
        ("--cluster-dns=1.1.1.1 --cluster-dns=2.2.2.2,3.3.3.3", "clusterDNS", "1.1.1.1,2.2.2.2,3.3.3.3"),
        ("--eviction-hard=nodefs.available<5%", "evictionHard.nodefs.available", "5%"),
        ("--eviction-hard=nodefs.available<5%", "evictionHard.imagefs.available", None),
        ("--feature-gates=A=true", "featureGates.A", "true"),
        ("--feature-gates=A=true", "featureGates.B", "false"),
        ("--seccomp-default=false", "seccompDefault", "true"),  # the flag can only switch it on
        ("--fail_swap_on=false", "failSwapOn", "false"),
        ("--rotate-certificates --max-pods 7", "maxPods", "7"),
        ("--anonymous-auth", "authentication.anonymous.enabled", "true"),
        ("--max-pods=many", "maxPods", "malformed"),
    ],
)
def test_flags_come_after_files(make_tree: MakeTree, flags: str, key: str, value: object) -> None:
    text = (
        f"{HEAD}seccompDefault: true\nfeatureGates: {{A: false, B: false}}\nevictionHard: {{imagefs.available: 9%}}\n"
    )
    tree = rest(make_tree, f"/usr/bin/kubelet --config {CONFIG} {flags}", {CONFIG: text})
    assert field(tree, key) == value


def test_drop_ins_are_merged_by_path(make_tree: MakeTree) -> None:
    files: Files = {
        CONFIG: f"{HEAD}maxPods: 1\npodsPerCore: 1\n",
        "/d/20.conf": f"{HEAD}maxPods: 20\n",
        "/d/10.conf": f"{HEAD}maxPods: 10\npodsPerCore: 10\n",
        "/d/15/x.conf": f"{HEAD}podsPerCore: 15\n",
        "/d/30.yaml": f"{HEAD}maxPods: 30\n",
    }
    tree = rest(make_tree, f"/usr/bin/kubelet --config {CONFIG} --config-dir=/d", files)
    assert (field(tree, "maxPods"), field(tree, "podsPerCore")) == ("20", "15")
    for content in ("maxPods: 1\n", ""):
        tree = rest(make_tree, "/usr/bin/kubelet --config-dir=/d", {**files, "/d/40.conf": content})
        assert field(tree, "maxPods") == "malformed"
    assert field(rest(make_tree, "/usr/bin/kubelet --config-dir=/none"), "maxPods") == "not found"


def test_before_a_join_only_flags_are_known(make_tree: MakeTree) -> None:
    tree = rest(make_tree, f"/usr/bin/kubelet --config {CONFIG} --max-pods=9")
    assert (field(tree, "maxPods"), field(tree, "cgroupDriver")) == ("9", None)


@pytest.mark.parametrize("unit", ["k3s.service", "rke2-agent.service", "snap.microk8s.daemon-kubelite.service"])
def test_a_kubelet_inside_another_program_is_unknown(make_tree: MakeTree, unit: str) -> None:
    root = make_tree({f"/etc/systemd/system/{unit}": "[Service]\nExecStart=/x\n", "/usr/bin/x": "", SYSTEMD: ""})
    assert field(DirectoryTree(root), "cgroupDriver") == "unsupported"


def test_without_a_kubelet_it_is_absent(make_tree: MakeTree) -> None:
    root = make_tree({"/usr/bin/x": "", SYSTEMD: ""})
    assert field(DirectoryTree(root), "cgroupDriver") is None


def running(make_tree: MakeTree, more: Mapping[str, Union[str, bytes, None]]) -> Machine:
    return Machine(make_tree({**PROCESS, "/proc/1/mountinfo": PROCESS["/proc/self/mountinfo"], **more}))


def test_the_flags_of_the_process_count(make_tree: MakeTree) -> None:
    machine = running(make_tree, {"/proc/712/cmdline": b"/usr/bin/kubelet\0--max-pods\x0099\0--node-ip=10.0.0.1\0"})
    assert field(machine, "maxPods") == "99"
    assert kubelet.flags.probe(machine).observe("node-ip") == Value("10.0.0.1", Evidence("/proc/712/cmdline"))


def test_a_kubelet_in_a_container_is_another_machines(make_tree: MakeTree) -> None:
    container: Files = {
        "/proc/712/mountinfo": "990 1 0:55 / / rw - overlay overlay rw\n",
        "/proc/712/cmdline": b"kubelet\0",
    }
    assert field(running(make_tree, container), "maxPods") != "110"
    two: Files = {
        "/proc/712/cmdline": b"kubelet\0",
        "/proc/713/comm": "kubelet\n",
        "/proc/713/mountinfo": PROCESS["/proc/712/mountinfo"],
        "/proc/713/cmdline": b"kubelet\0--max-pods=1\0",
    }
    assert field(running(make_tree, two), "maxPods") == "unsupported"


def test_a_field_without_a_name_of_its_own_is_refused() -> None:
    for text, hint in (
        ("failSwapon", "did you mean `failSwapOn`"),
        ("evictionHard", "evictionHard.NAME"),
        ("x", "not a field"),
    ):
        with pytest.raises(ValueError, match=hint):
            parse_field_key(text)
    assert parse_field_key("evictionHard.memory.available") == "evictionHard.memory.available"
    with pytest.raises(ValueError, match="true or false"):
        kubelet.config.row.read("no")
    assert kubelet.config.row.read("5m0s") == kubelet.config.row.read("300s") == "5m"


def test_every_field_has_a_type_and_a_flag_is_one_field() -> None:
    fields = load_fields()
    kinds = {"boolean", "integer", "fraction", "text", "path", "duration", "list", "map", "taints"}
    assert {one.kind for one in fields.values()} <= kinds
    flags = [one.flag for one in fields.values() if one.flag]
    assert len(flags) == len(set(flags)) > 90


@settings(max_examples=50)
@given(st.integers(0, 10**17))
def test_a_duration_has_one_spelling(nanoseconds: int) -> None:
    text = format_duration(nanoseconds)
    if len(text) < 11:
        assert parse_duration(text) == nanoseconds


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from(["max-pods", "node-ip", "v"]), st.text(st.characters(codec="ascii"), max_size=5))
    )
)
def test_flags_with_a_value_are_read_back(pairs: list[Tuple[str, str]]) -> None:
    assert parse_flags([f"--{name}={value}" for name, value in pairs]) == tuple(pairs)
    spaced = [word for name, value in pairs for word in (f"--{name}", value)]
    assert parse_flags(spaced) == tuple(pairs)


STATE = "/var/lib/kubelet/cpu_manager_state"


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ('{"policyName":"none","defaultCpuSet":"","checksum":1}', "none"),
        ('{"policyName":"none","data":"{\\"policyName\\":\\"static\\"}","dataChecksum":1}', "static"),
        ("", "malformed"),
        ("[]", "malformed"),
        ('{"policyName":1}', "malformed"),
        (None, None),
    ],
)
def test_the_policy_of_a_state_file(make_tree: MakeTree, text: Optional[str], policy: Optional[str]) -> None:
    tree = rest(make_tree, "/usr/bin/kubelet", {STATE: text} if text is not None else {})
    assert kubelet.cpu_manager_state.resting
    seen = kubelet.cpu_manager_state.resting(tree)
    assert (seen.value if isinstance(seen, Value) else seen.reason if isinstance(seen, Unknown) else None) == policy


def test_the_state_file_is_in_the_kubelets_directory(make_tree: MakeTree) -> None:
    files: Files = {"/data/k/cpu_manager_state": '{"policyName":"static"}', STATE: '{"policyName":"none"}'}
    assert kubelet.cpu_manager_state.resting
    seen = kubelet.cpu_manager_state.resting(rest(make_tree, "/usr/bin/kubelet --root-dir=/data/k", files))
    assert seen == Value("static", Evidence("/data/k/cpu_manager_state"))


def test_proxies_have_no_password(make_tree: MakeTree) -> None:
    tree = rest(make_tree, "/usr/bin/kubelet\nEnvironment=https_proxy=http://u:p@proxy:3128 NO_PROXY=10.0.0.0/8")
    assert field(tree, "HTTPS_PROXY", kubelet.proxies) == "http://proxy:3128"
    assert field(tree, "NO_PROXY", kubelet.proxies) == "10.0.0.0/8"
    assert field(tree, "HTTP_PROXY", kubelet.proxies) is None
    unread = rest(make_tree, "/usr/bin/kubelet\nEnvironmentFile=/etc/x*")
    assert field(unread, "HTTP_PROXY", kubelet.proxies) == "unsupported"
