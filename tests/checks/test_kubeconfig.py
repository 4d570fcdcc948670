"""The kubeconfig of the kubelet: complete, or what it lacks."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Dict

import pytest
from test_certificates import PEM

from nodespec.checks._kubelet_kubeconfig import check_kubeconfig
from nodespec.host.directory import DirectoryTree
from nodespec.model.observation import Absent, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

CURRENT = "/var/lib/kubelet/pki/kubelet-client-current.pem"
KUBECONFIG = f"""\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {b64encode(PEM.encode()).decode()}
    server: https://192.168.122.10:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: system:node:worker-1
  name: c
current-context: c
kind: Config
preferences: {{}}
users:
- name: system:node:worker-1
  user:
    client-certificate: {CURRENT}
    client-key: {CURRENT}
"""
BARE = {"/etc/hostname": "x", "/usr/bin/x": ""}  # a search path without a kubelet
WHOLE = {**BARE, "/etc/kubernetes/kubelet.conf": KUBECONFIG, CURRENT: PEM}


def change(old: str, new: str) -> Dict[str, str]:
    assert old in KUBECONFIG
    return {**WHOLE, "/etc/kubernetes/kubelet.conf": KUBECONFIG.replace(old, new)}


@pytest.mark.parametrize(
    ("files", "word"),
    [
        (WHOLE, "complete"),
        (change("current-context: c", 'current-context: ""'), "no-context"),
        (change("  name: kubernetes", "  name: other"), "no-cluster"),
        (change("    server: https://192.168.122.10:6443\n", ""), "no-cluster"),
        (change("certificate-authority-data", "x"), "no-authority"),
        (change("certificate-authority-data: ", "certificate-authority-data: eA== # "), "no-authority"),
        (change("    user: system:node:worker-1", "    user: nobody"), "no-user"),
        (change(f"    client-key: {CURRENT}\n", ""), "no-user"),
        (change(f"client-key: {CURRENT}", "client-key: key.pem"), "no-user"),
        ({**change(f"client-key: {CURRENT}", "client-key: key.pem"), "/etc/kubernetes/key.pem": "secret"}, "complete"),
        (change(f"client-certificate: {CURRENT}", "token: abc"), "complete"),
        ({"/etc/kubernetes/kubelet.conf": KUBECONFIG}, "no-user"),
        ({**WHOLE, CURRENT: PEM[:200]}, "no-user"),
    ],
)
def test_what_a_kubeconfig_lacks(make_tree: MakeTree, files: Dict[str, str], word: str) -> None:
    seen = check_kubeconfig(DirectoryTree(make_tree({**BARE, **files})))
    assert isinstance(seen, Value), seen
    assert seen.value == word


def test_no_kubeconfig_is_absent_and_a_strange_one_unknown(make_tree: MakeTree) -> None:
    assert isinstance(check_kubeconfig(DirectoryTree(make_tree(BARE))), Absent)
    for text, reason in (("a: [", "malformed"), ("a: &x 1", "unsupported")):
        seen = check_kubeconfig(DirectoryTree(make_tree({**BARE, "/etc/kubernetes/kubelet.conf": text})))
        assert isinstance(seen, Unknown)
        assert seen.reason == reason
