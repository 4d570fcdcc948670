"""Every requirement of the library passes, through its probe, on a fit node, and fails once that is edited in a place.

`EDITS` says by family how the one place of the tree is edited on which a fact stands; `OF_ITS_OWN` what else is edited
for requirements that several facts can meet.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Callable, Dict, FrozenSet, List, Mapping, NamedTuple, Tuple

import pytest
from fit_node import Change, Node, aufs, containerd_1, image, joined, legacy, listening, plan, planted, report, swapping

from nodespec.judge.pattern import list_clauses, parse_pattern
from nodespec.model.report import Report

if TYPE_CHECKING:
    from nodespec.model.plan import Plan

Given = Tuple[Tuple[str, str], ...]


class Setting(NamedTuple):
    """Under which params a spec is judged, and how the node differs from the fit one to be fit for that."""

    params: Given = ()
    changes: Tuple[Change, ...] = ()


def given(*changes: Change, **params: str) -> Setting:
    return Setting(tuple(params.items()), changes)


SETTINGS: Mapping[str, Tuple[Setting, ...]] = {
    "container-host": (given(), given(legacy)),
    "kubernetes/1.35": (
        given(),
        given(role="control-plane"),
        given(ip_family="dual"),
        given(proxy_mode="ipvs"),
        given(proxy_mode="nftables"),
        given(proxy_mode="none"),
        given(swapping, swap="limited"),
        given(protect_kernel_defaults="true"),
        given(user_namespaces="true"),
        given(image, stage="image"),
        given(image, containerd_1, stage="image"),
        given(joined, stage="joined", role="control-plane"),
        given(containerd_1),
        given(legacy),
    ),
    "sig-node/system-validators": (given(), given(kubelet="1.34"), given(legacy), given(aufs)),
}


@cache
def asked(spec: str, params: Given) -> Plan:
    return plan([spec], dict(params))


EVERY = [(spec, one.id) for spec in SETTINGS for one in asked(spec, ()).requirements]


class Nodes:
    """The node of each setting, planted once, and the report on it."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self.factory = factory
        self._nodes: Dict[Tuple[Change, ...], Node] = {}
        self._reports: Dict[Tuple[str, Setting], Report] = {}

    def node(self, setting: Setting) -> Node:
        if setting.changes not in self._nodes:
            self._nodes[setting.changes] = planted(self.factory.mktemp("node"), *setting.changes)
        return self._nodes[setting.changes]

    def report(self, spec: str, setting: Setting) -> Report:
        if (spec, setting) not in self._reports:
            self._reports[spec, setting] = report(self.node(setting), asked(spec, setting.params))
        return self._reports[spec, setting]

    def first(self, spec: str, name: str) -> Setting:
        """The first setting in which a requirement passes."""
        outcomes: List[str] = []
        for setting in SETTINGS[spec]:
            outcomes += [one.outcome for one in self.report(spec, setting).findings if one.id == name]
            if outcomes[-1] == "pass":
                return setting
        raise AssertionError(f"{name} passes nowhere: {outcomes}")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Nodes:
    return Nodes(tmp_path_factory)


# how one place of a tree is edited so that what is asked of it no longer holds; `key` is what stands behind the family


def kernel(node: Node, key: str) -> None:
    fact, _, name = key.partition(".")
    edits = {"config": option, "config_sources": elsewhere, "version": version, "arch": arch, "lockdown": lockdown}
    edits[fact](node, name)


def option(node: Node, name: str) -> None:
    """What is on is off, and what is off is on."""
    (path,) = node.paths("/boot/config-*")
    (row,) = re.findall(rf"^CONFIG_{name}=[ym]$|^# CONFIG_{name} is not set$", node.text(path), re.MULTILINE)
    off = f"# CONFIG_{name} is not set"
    node.replace(path, f"\n{row}\n", f"\n{f'CONFIG_{name}=y' if row == off else off}\n")


def elsewhere(node: Node, _: str) -> None:
    """The configuration is where nodespec looks for it, and kubeadm does not."""
    (path,) = node.paths("/boot/config-*")
    node.write(f"/usr/src/linux-rt-{path.partition('config-')[2]}/.config", node.text(path))
    node.remove(path)


def options(node: Node, *names: str) -> None:
    for name in names:
        option(node, name)


def version(node: Node, _: str) -> None:
    node.replace("/proc/version", " Debian 6.12.107-1 ", " Debian 5.7.10-1 ")


def arch(node: Node, _: str) -> None:
    node.write("/proc/sys/kernel/arch", "armv7l\n")


def lockdown(node: Node, _: str) -> None:
    node.write("/sys/kernel/security/lockdown", "none integrity [confidentiality]\n")


def modules(node: Node, key: str) -> None:
    """The kernel is without them: neither loaded, nor built in, nor installed, nor built."""
    gone = key.split()
    for path in ("/proc/modules", *node.paths("/usr/lib/modules/*/modules.*")):
        lines = node.text(path).splitlines(keepends=True)
        kept = [line for line in lines if module(line) not in gone]
        if kept != lines:
            node.write(path, "".join(kept))


def module(line: str) -> str:
    """The name in a line of /proc/modules, modules.dep and the like."""
    return re.split(r"[ :\n]", line)[0].rpartition("/")[2].partition(".")[0].replace("-", "_")


def cgroups(node: Node, key: str) -> None:
    if key == "version":
        node.replace("/proc/1/mountinfo", "- cgroup2 cgroup2 rw,", "- cgroup cgroup rw,pids,")
    else:
        controller(node, "pids")


def controller(node: Node, name: str) -> None:
    """Booted with cgroup_disable=: what does not come down from the root of version 2, or has no hierarchy."""
    unified = "/sys/fs/cgroup/cgroup.controllers"
    if node.paths(unified):
        node.write(unified, " ".join(word for word in node.text(unified).split() if word != name))
    else:
        lines = node.text("/proc/1/mountinfo").splitlines(keepends=True)
        node.write("/proc/1/mountinfo", "".join(line for line in lines if name not in line.strip().split(",")))


def namespaces(node: Node, key: str) -> None:
    assert key == "kinds"
    node.remove("/proc/1/ns/cgroup")


def os(node: Node, key: str) -> None:
    {"init": init, "machine_id": machine_id, "container": container}[key](node)


def init(node: Node) -> None:
    """Another init than systemd has started the system."""
    node.remove("/run/systemd/system")
    node.write("/proc/1/comm", "runit\n")


def machine_id(node: Node) -> None:
    own = node.text("/etc/machine-id").strip()
    node.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n" if own == "uninitialized" else "")


def container(node: Node) -> None:
    node.link("/proc/1/ns/mnt", "mnt:[4026532201]")
    node.link("/proc/1/ns/pid", "pid:[4026532204]")


SYSCTLS = {"net.ipv4.ip_local_port_range": "1024\t60999", "vm.panic_on_oom": "1"}  # what fails; of all others, 0


def sysctl(node: Node, key: str) -> None:
    node.write(f"/proc/sys/{key.replace('.', '/')}", SYSCTLS.get(key, "0") + "\n")


CRI = "/answers/run/containerd/containerd.sock/runtime.v1.RuntimeService"


def runtime(node: Node, key: str) -> None:
    """Bytes of an answer are changed: one number in a message, or of a version."""
    {
        "containerd.api": lambda: node.remove(f"{CRI}/Version"),
        "containerd.version": lambda: node.replace(f"{CRI}/Version", b"2.1.9", b"1.6.9"),
        "containerd.conditions": lambda: node.replace(f"{CRI}/Status", b"RuntimeReady\x10\1", b"RuntimeReady\x10\0"),
        "containerd.features": lambda: featureless(node),
        "containerd.cgroup_driver": lambda: cgroupfs(node),
        "runc.version": lambda: node.write("/answers/programs/runc", "runc version 1.0.3\n"),
    }[key]()


def featureless(node: Node) -> None:
    """Of the default handler: neither recursive read-only mounts nor user namespaces."""
    node.replace(f"{CRI}/Status", b"\x1a\6\x12\4\x08\1\x10\1", b"\x1a\6\x12\4\x08\0\x10\0")


def cgroupfs(node: Node) -> None:
    if node.paths(f"{CRI}/RuntimeConfig"):
        node.write(f"{CRI}/RuntimeConfig", b"\n\2\x08\1")
    else:
        node.replace(f"{CRI}/Status", b'"SystemdCgroup":true', b'"SystemdCgroup":null')


def swap(node: Node, key: str) -> None:
    """Where there was none there is one now, and where there was one there is none."""
    assert key == "total"
    head, *areas = node.text("/proc/swaps").splitlines(keepends=True)
    node.write("/proc/swaps", head if areas else f"{head}/dev/vdb2 partition\t2097148\t0\t-2\n")


def memory(node: Node, _: str) -> None:
    node.write("/proc/meminfo", re.sub(r"(MemTotal: +)\d+", r"\g<1>1000000", node.text("/proc/meminfo")))


def cpu(node: Node, _: str) -> None:
    node.write("/sys/devices/system/cpu/online", "0\n")


def commands(node: Node, key: str) -> None:
    (path,) = node.paths(f"/usr/*bin/{key}")
    node.remove(path)


def ports(node: Node, key: str) -> None:
    """Where somebody listened nobody does now, and the other way round."""
    lines, table = listening(int(key)), "/proc/1/net/tcp"
    if lines in node.text(table):
        node.replace(table, lines, "")
    else:
        node.write(table, node.text(table) + lines)


def files(node: Node, key: str) -> None:
    path, _, column = key.rpartition(".") if key.endswith((".type", ".mode", ".owner")) else (key, "", "")
    if column == "mode":
        node.write(path, node.text(path), 0o644)
    elif column == "owner":
        node.write("/answers/strangers", path)
    elif node.paths(path):
        node.remove(path)
    else:
        node.write(path, "left over\n")


def kubelet(node: Node, key: str) -> None:
    {
        "version": lambda: node.write("/answers/programs/kubelet", "Kubernetes v1.36.0\n"),
        "path": lambda: node.remove("/usr/bin/kubelet"),
        "starts_at_boot": lambda: node.remove("/etc/systemd/system/multi-user.target.wants/kubelet.service"),
        "running": lambda: node.write("/proc/1234/comm", "sleep\n"),
    }[key]()


FAMILIES = (
    kernel,
    modules,
    cgroups,
    namespaces,
    os,
    sysctl,
    runtime,
    swap,
    memory,
    cpu,
    commands,
    ports,
    files,
    kubelet,
)
EDITS: Mapping[str, Callable[[Node, str], None]] = {edit.__name__: edit for edit in FAMILIES}


def edit_of(place: str) -> Change:
    family, _, key = place.partition(".")
    return lambda node: EDITS[family](node, key)


def unfrozen(node: Node) -> None:
    """A kernel whose groups of version 2 have no freezer."""
    node.remove("/sys/fs/cgroup/init.scope/cgroup.freeze")


def unmounted(node: Node) -> None:
    """Nobody has mounted control groups."""
    lines = node.text("/proc/1/mountinfo").splitlines(keepends=True)
    node.write("/proc/1/mountinfo", "".join(line for line in lines if " - cgroup" not in line))


REDIRECT = ("NETFILTER_XT_TARGET_REDIRECT", "IP_NF_TARGET_REDIRECT")
# what several facts can meet, or may be met by any of several members
OF_ITS_OWN: Mapping[str, Change] = {
    # of whichever version
    "cgroups.version": unmounted,
    "cgroups-mounted.cgroups.version": unmounted,
    # on version 2 devices and freezer are never named
    "cgroup-v2.cgroups.controllers": unfrozen,
    "cgroup-v2.recommended.cgroups.controllers": lambda node: controller(node, "io"),
    "on-cgroup-v2.recommended.cgroups.controllers": lambda node: controller(node, "io"),
    "cgroup-v1.cgroups.controllers": lambda node: controller(node, "freezer"),
    "on-cgroup-v1.recommended.cgroups.controllers": lambda node: controller(node, "blkio"),
    # the kernel has both
    "access-control": lambda node: options(node, "SECURITY_APPARMOR", "SECURITY_SELINUX"),
    "kubeadm.kernel.config.NETFILTER_XT_TARGET_REDIRECT": lambda node: options(node, *REDIRECT),
    "kernel.config.NETFILTER_XT_TARGET_REDIRECT": lambda node: options(node, *REDIRECT),
    "iptables-backend": edit_of("modules.nft_compat iptable_nat"),
    # a second runtime comes along
    "one-runtime": lambda node: node.write("/usr/bin/crio", "", 0o755),
    "empty-etcd": lambda node: node.write("/var/lib/etcd/member/snap/db", ""),
    "user-namespaces.namespaces.kinds": lambda node: node.remove("/proc/1/ns/user"),
}
# families that see an edit besides the one that it is of
SEEN_ALSO: Mapping[str, FrozenSet[str]] = {
    "recommended.os.container": frozenset({"sysctl"}),  # kernel.pid_max is that of another PID namespace then
    "user-namespaces.namespaces.kinds": frozenset({"sysctl"}),  # user.max_user_namespaces likewise
}


@pytest.mark.sampled(60)
@pytest.mark.parametrize(("spec", "name"), EVERY)
def test_a_requirement_passes_on_a_fit_node_and_fails_after_one_edit(spec: str, name: str, nodes: Nodes) -> None:
    setting = nodes.first(spec, name)
    before = {one.id: one for one in nodes.report(spec, setting).findings}
    place = before[name].parts[-1].place
    node = nodes.node(setting)
    with node.edited():
        OF_ITS_OWN.get(name, edit_of(place))(node)
        after = {one.id: one for one in report(node, asked(spec, setting.params)).findings}
    assert after[name].outcome == "fail", after[name].sentence
    changed = {one for one in after if after[one].outcome != before[one].outcome}
    families = families_of(spec, setting.params)
    seen = {place.partition(".")[0]} | SEEN_ALSO.get(name, frozenset())
    assert not [one for one in changed if not families[one] & seen]


@cache
def families_of(spec: str, params: Given) -> Mapping[str, FrozenSet[str]]:
    """Of each requirement, the families whose facts it or its condition asks for."""
    whole = asked(spec, params)
    bound = {param.name: param for param in whole.params}
    return {
        one.id: frozenset(
            clause.place.path[0]
            for data in (one.pattern, one.when)
            if data
            for clause in list_clauses(parse_pattern(data, bound))
        )
        for one in whole.requirements
    }
