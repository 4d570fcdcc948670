"""The library of specs as content: complete, and with every requirement explained."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TypedDict

import pytest
import yaml

from nodespec.author.spec.library import BUILT_IN_DIR, Library
from nodespec.author.spec.resolver import resolve
from nodespec.model.plan import Plan

LIBRARY = Library()
SPECS = tuple(name for name in LIBRARY.names() if Path(BUILT_IN_DIR).resolve() in Path(LIBRARY.find(name).key).parents)
KUBEADM = Path(__file__).parent / "kubeadm.yaml"
# the names of `Checker` in cmd/kubeadm/app/preflight, those of 1.31 to 1.35
CHECKS = (
    "IsPrivilegedUser",
    "NumCPU",
    "Mem",
    "KubernetesVersion",
    "Firewalld",
    "Port-6443",
    "Port-10259",
    "Port-10257",
    "Port-10250",
    "Port-2379",
    "Port-2380",
    "FileAvailable--etc-kubernetes-manifests-kube-apiserver.yaml",
    "FileAvailable--etc-kubernetes-manifests-kube-controller-manager.yaml",
    "FileAvailable--etc-kubernetes-manifests-kube-scheduler.yaml",
    "FileAvailable--etc-kubernetes-manifests-etcd.yaml",
    "FileAvailable--etc-kubernetes-kubelet.conf",
    "FileAvailable--etc-kubernetes-bootstrap-kubelet.conf",
    "FileAvailable--etc-kubernetes-pki-ca.crt",
    "DirAvailable--var-lib-etcd",
    "HTTPProxy",
    "HTTPProxyCIDR",
    "CRI",
    "Swap",
    "FileExisting-conntrack",
    "FileExisting-mount",
    "FileExisting-losetup",
    "FileExisting-cp",
    "FileExisting-ip",
    "FileExisting-iptables",
    "FileExisting-nsenter",
    "FileExisting-ebtables",
    "FileExisting-ethtool",
    "FileExisting-socat",
    "FileExisting-tc",
    "FileExisting-touch",
    "SystemVerification",
    "Hostname",
    "KubeletVersion",
    "Service-Kubelet",
    "FileContent--proc-sys-net-ipv4-ip_forward",
    "FileContent--proc-sys-net-ipv6-conf-default-forwarding",
    "ExternalEtcdVersion",
    "ExternalEtcdClientCertificates",
    "ImagePull",
    "CreateJob",
    "ControlPlaneNodesReady",
    "StaticPodManifest",
    "CoreDNSUnsupportedPlugins",
    "CoreDNSMigration",
)


def plan(name: str, **given: str) -> Plan:
    return resolve([name], LIBRARY, given)


Row = TypedDict("Row", {"check": str, "about": str, "ids": list[str], "but": str, "not": str}, total=False)


def mapping() -> dict[str, list[Row]]:
    loaded: dict[str, list[Row]] = yaml.safe_load(KUBEADM.read_text())
    return loaded


def test_the_library_holds_what_it_is_said_to_hold() -> None:
    assert set(SPECS) >= {"container-host", "kubernetes/1.35", "sig-node/system-validators"}


def test_all_of_the_library_can_be_asked_at_once() -> None:
    assert {spec.name for spec in resolve(SPECS, LIBRARY, {}).specs} == set(SPECS)


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_bears_the_name_of_its_file(name: str) -> None:
    assert [spec.name for spec in plan(name).specs] == [name]


@pytest.mark.parametrize("name", SPECS)
def test_every_requirement_says_why_and_where_to_read_on(name: str) -> None:
    silent = [one.id for one in plan(name).requirements if not one.why or not re.fullmatch(r"https://\S+", one.see)]
    assert not silent


@pytest.mark.parametrize("name", SPECS)
def test_words_are_one_sentence_each_without_full_stop(name: str) -> None:
    for one in plan(name).requirements:
        for words in filter(None, (one.why, one.fix)):
            assert not words.endswith("."), one.id
            assert len(words) <= 120, one.id


@pytest.mark.parametrize("name", SPECS)
def test_every_param_says_why(name: str) -> None:
    assert all(param.why for param in plan(name).params)


@pytest.mark.parametrize("name", SPECS)
def test_ids_are_unique(name: str) -> None:
    assert not [id_ for id_, count in Counter(one.id for one in plan(name).requirements).items() if count > 1]


@pytest.mark.parametrize("name", SPECS)
def test_lines_fit_a_page(name: str) -> None:
    assert max(map(len, LIBRARY.find(name).data.decode().splitlines())) <= 120


@pytest.mark.parametrize("name", SPECS)
def test_every_choice_of_every_param_is_valid(name: str) -> None:
    for param in plan(name).params:
        for choice in param.choices:
            assert plan(name, **{param.name: choice}).requirements


def test_every_check_of_kubeadm_is_mapped_once() -> None:
    assert Counter(row["check"] for row in mapping()["checks"]) == Counter(CHECKS)


def test_a_check_has_requirements_or_a_reason_why_not() -> None:
    for row in mapping()["checks"]:
        assert ("ids" in row) != ("not" in row), row["check"]
        assert set(row) <= {"check", "ids", "but", "not"}, row["check"]
        assert row.get("ids") or len(row["not"].split()) > 3, row["check"]


def test_the_spec_is_what_kubeadm_checks_and_what_it_forgets() -> None:
    known = {one.id for one in plan("kubernetes/1.35").requirements}
    checked = {id_ for row in mapping()["checks"] for id_ in row.get("ids", ())}
    beyond = [id_ for row in mapping()["beyond"] for id_ in row["ids"]]
    assert checked <= known
    assert Counter(beyond) == Counter(known - checked)


def test_what_kubeadm_forgets_is_covered_or_has_a_reason() -> None:
    for row in mapping()["beyond"]:
        assert set(row) == {"about", "ids"}, row
        assert row["ids"], row["about"]
    assert all(set(row) == {"about", "not"} for row in mapping()["uncovered"])
