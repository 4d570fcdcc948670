"""The specs of the library on whole nodes: which of their requirements fail where, and how the report on it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping, Sequence, Tuple

import pytest
from fit_node import Change, containerd_1, image, joined, laid, legacy, plan, planted, report, swapping

from nodespec.model.report import Style
from nodespec.reports import text

GOLDEN = Path(__file__).parent / "golden"
hybrid = laid("fit-node-hybrid")
# what is not there on a node that has yet to join
YET_TO_JOIN = (
    "joined.ports.10250",
    "joined-by-kubeadm.kubelet.running",
    "joined-by-kubeadm.files./etc/kubernetes/kubelet.conf.type",
    "joined-by-kubeadm.files./var/lib/kubelet/config.yaml.type",
    "joined-by-kubeadm.recommended.files./etc/kubernetes/kubelet.conf.mode",
    "joined-by-kubeadm.recommended.files./etc/kubernetes/kubelet.conf.owner",
    "joined-network",
    "joined-proxy.recommended.ports.10256",
)
JOINED_CONTROL_PLANE = tuple(f"joined-control-plane.ports.{port}" for port in (6443, 10257, 10259))
OLD_RUNTIME = (
    "tested-runtime",
    "next-release.recommended.runtime.containerd.version",
    "runtime-features",
    "runc-fixes.recommended.runtime.runc.version",
)
ANOTHER_JOIN = (
    "free-ports.ports.10250",
    "free-ports.ports.10248",
    "free-proxy-ports.recommended.ports.10256",
    "free-proxy-ports.recommended.ports.10249",
    "not-joined.files./etc/kubernetes/kubelet.conf",
)
NO_VERSION_1 = ("cgroup-v1.kernel.config.MEMCG_V1", "cgroup-v1.kernel.config.CPUSETS_V1")
AUFS = "recommended.kernel.config.AUFS_FS"  # which no current kernel has

# how the node differs from the fit one, the params, and what fails then
KUBERNETES: Sequence[Tuple[Sequence[Change], Mapping[str, str], Sequence[str]]] = (
    ((), {}, ()),
    ((), {"stage": "image"}, ("image.os.machine_id", "image.recommended.files./etc/ssh/ssh_host_ed25519_key")),
    ((), {"stage": "booting"}, ()),
    ((), {"stage": "joined"}, YET_TO_JOIN),
    ((), {"stage": "joined", "role": "control-plane"}, (*YET_TO_JOIN, *JOINED_CONTROL_PLANE)),
    ((), {"stage": "joined", "installer": "other", "proxy_mode": "none"}, ("joined.ports.10250", "joined-network")),
    ((), {"role": "control-plane"}, ()),
    ((), {"role": "control-plane", "etcd": "external"}, ()),
    ((), {"installer": "other"}, ()),
    ((), {"proxy_mode": "ipvs"}, ()),
    ((), {"proxy_mode": "nftables"}, ()),
    ((), {"proxy_mode": "none"}, ()),
    ((), {"ip_family": "ipv6"}, ()),
    ((), {"ip_family": "dual"}, ()),
    ((), {"etcd": "external"}, ()),
    ((), {"swap": "tolerated"}, ()),
    ((), {"swap": "limited"}, ("limited-swap.recommended.swap.total",)),
    ((), {"protect_kernel_defaults": "true"}, ()),
    ((), {"user_namespaces": "true"}, ()),
    ((hybrid,), {}, (*NO_VERSION_1, "cgroups.version")),
    ((legacy,), {}, ("cgroups.version",)),
    ((containerd_1,), {}, OLD_RUNTIME),
    ((containerd_1,), {"user_namespaces": "true"}, (*OLD_RUNTIME, "user-namespaces-runtime")),
    ((joined,), {}, ANOTHER_JOIN),
    ((joined,), {"stage": "booting"}, ("free-ports.ports.10250", "free-ports.ports.10248")),
    ((joined,), {"stage": "joined"}, ()),
    ((joined,), {"stage": "joined", "role": "control-plane"}, ()),
    ((image,), {}, ("identity.recommended.os.machine_id",)),
    ((image,), {"stage": "image"}, ()),
    ((swapping,), {}, ("no-swap.swap.total",)),
    ((swapping,), {"swap": "tolerated"}, ()),
    ((swapping,), {"swap": "limited"}, ()),
)
OTHERS: Sequence[Tuple[str, Sequence[Change], Mapping[str, str], Sequence[str]]] = (
    ("container-host", (), {}, ()),
    ("container-host", (hybrid,), {}, NO_VERSION_1),
    ("container-host", (legacy,), {}, ()),
    ("container-host", (containerd_1,), {}, ()),
    ("sig-node/system-validators", (), {}, (AUFS,)),
    ("sig-node/system-validators", (), {"kubelet": "1.34"}, (AUFS,)),
    ("sig-node/system-validators", (legacy,), {}, (AUFS, "cgroup-v1-refused.cgroups.version")),
    ("sig-node/system-validators", (hybrid,), {}, (AUFS, "cgroup-v1-refused.cgroups.version")),
    (
        "sig-node/system-validators",
        (legacy,),
        {"kubelet": "1.34"},
        (AUFS, "cgroup-v1-deprecated.recommended.cgroups.version"),
    ),
)
CASES: Sequence[Tuple[str, Sequence[Change], Mapping[str, str], Sequence[str]]] = (
    *(("kubernetes/1.35", changes, params, failing) for changes, params, failing in KUBERNETES),
    *OTHERS,
)


@pytest.mark.parametrize(("spec", "changes", "params", "failing"), CASES)
def test_what_fails_is_what_is_wrong_with_the_node(
    spec: str, changes: Sequence[Change], params: Mapping[str, str], failing: Sequence[str], tmp_path: Path
) -> None:
    made = report(planted(tmp_path, *changes), plan([spec], params))
    outcomes = {one.id: one.outcome for one in made.findings if one.outcome not in ("pass", "not-applicable")}
    assert outcomes == dict.fromkeys(failing, "fail")
    required = any(one.level == "required" for one in made.findings if one.id in failing)
    assert made.conclusion == ("nonconformant" if required else "conformant")


def test_every_choice_of_every_param_was_tried() -> None:
    tried = {pair for _, _, params, _ in CASES for pair in params.items()}
    for spec in {spec for spec, *_ in CASES}:
        for param in plan([spec]).params:
            choices = param.choices or {"flag": ("false", "true")}.get(param.kind, ())
            assert {(param.name, choice) for choice in choices if choice != param.value} <= tried, param.name


REPORTS: Mapping[str, Sequence[Change]] = {
    "fit-node.0.text": (),
    "fit-node-containerd-1.0.text": (containerd_1,),
    "fit-node-hybrid.10.text": (hybrid,),
}


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_on_a_node_reads_as_it_did(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    made = report(planted(tmp_path, *REPORTS[name]), plan(["kubernetes/1.35"]))
    assert made.exit == int(name.split(".")[-2])
    read = text.render([made], Style(width=100))
    if request.config.getoption("--update-golden"):
        GOLDEN.mkdir(exist_ok=True)
        (GOLDEN / name).write_text(read)
    assert read == (GOLDEN / name).read_text()


def test_no_golden_report_is_left_over() -> None:
    assert {file.name for file in GOLDEN.iterdir()} == set(REPORTS)
