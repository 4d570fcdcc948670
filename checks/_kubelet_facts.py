"""Facts of the kubelet's settings and state, from its command line and its files."""

from __future__ import annotations

import re

from nodespec.checks import _kubelet_command
from nodespec.facts.declaration import Leaf, Row, Rows, resolve_place
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Lacking, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, List

FOLDER = "/etc/kubernetes"
# The files that `kubeadm join` refuses to overwrite: JoinNodeChecks and InitNodeChecks of preflight/checks.go.
REFUSED_FILES = (
    *(f"{FOLDER}/{name}" for name in ("kubelet.conf", "bootstrap-kubelet.conf", "pki/ca.crt")),
    *(
        f"{FOLDER}/manifests/{name}.yaml"
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")
    ),
)
ETCD = "/var/lib/etcd"
CREDENTIALS = {
    "kubeconfig": f"{FOLDER}/kubelet.conf",
    "bootstrap-kubeconfig": f"{FOLDER}/bootstrap-kubelet.conf",
}
ROOT_DIRECTORY = "/var/lib/kubelet"
SECRET_FLAGS = ("manifest-url", "manifest-url-header", "storage-driver-password", "storage-driver-user")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
# The first minor version of Kubernetes without a flag; from cmd/kubelet/app/options of 1.20 to 1.37.
_REMOVED = {
    22: "chaos-chance enable-cadvisor-json-endpoints experimental-logging-sanitization",
    23: "experimental-bootstrap-kubeconfig seccomp-profile-root",
    24: "cni-bin-dir cni-cache-dir cni-conf-dir docker docker-endpoint docker-env-metadata-whitelist docker-only "
    "docker-root docker-tls docker-tls-ca docker-tls-cert docker-tls-key dynamic-config-dir "
    "experimental-check-node-capabilities-before-mount experimental-dockershim-root-directory "
    "image-pull-progress-deadline network-plugin network-plugin-mtu non-masquerade-cidr really-crash-for-testing",
    25: "experimental-kernel-memcg-notification",
    27: "container-runtime master-service-namespace",
    30: "azure-container-registry-config",
    31: "iptables-drop-bit iptables-masquerade-bit keep-terminated-pod-volumes",
    34: "cloud-config register-schedulable",
    35: "pod-infra-container-image",
    37: "application-metrics-count-limit boot-id-file container-hints containerd containerd-namespace "
    "enable-load-reader event-storage-age-limit event-storage-event-limit global-housekeeping-interval "
    "log-cadvisor-usage machine-id-file storage-driver-buffer-duration storage-driver-db storage-driver-host "
    "storage-driver-password storage-driver-secure storage-driver-table storage-driver-user",
}
REMOVED_FLAGS = {flag: minor for minor, flags in _REMOVED.items() for flag in flags.split()}


def read_version(tree: Tree) -> Observation[str]:
    """Return the version of the kubelet, which the family declares."""
    declared = resolve_place(("kubelet", "version")).fact
    assert isinstance(declared, Leaf)  # noqa: S101 - the family declares it
    assert declared.resting  # noqa: S101 - likewise
    seen = declared.probe(tree) if isinstance(tree, Machine) else declared.resting(tree)
    return seen.then(str)


def read_config(tree: Tree) -> Rows[Row]:
    """Return the fields of the configuration as a table."""
    from nodespec.checks import _kubelet_config  # noqa: PLC0415

    command = _kubelet_command.read_command(tree)
    if not isinstance(command, Value):
        return Rows.lacking(command)

    def find_row(key: str) -> Observation[Row]:
        return _kubelet_config.read_field(tree, key, lambda: read_version(tree))

    def list_rows() -> Dict[str, Observation[Row]]:
        rows = {key: find_row(key) for key in _kubelet_config.list_keys(tree)}
        return {key: row for key, row in rows.items() if not isinstance(row, Absent)}

    return Rows(find_row, list_rows, Absent(command.value.at, "the kubelet does not set it"))


def read_flags(tree: Tree) -> Rows[Row]:
    """Return the flags as a table."""
    from nodespec.checks._kubelet_fields import normalize_text  # noqa: PLC0415

    command = _kubelet_command.read_command(tree)
    if not isinstance(command, Value):
        return Rows.lacking(command)
    rows: Dict[str, Observation[Row]] = {}
    for name, value in command.value.flags:
        hidden = Unknown("refused", f"{command.value.at}: the value of --{name} may be a secret")
        rows[name] = hidden if name in SECRET_FLAGS else Value(normalize_text(value), command.value.at)
    return Rows.of(rows, Absent(command.value.at))


def find_removed_flags(tree: Tree) -> Observation[FrozenSet[str]]:
    """Return the flags in use that the installed release no longer has."""
    command = _kubelet_command.read_command(tree)
    if not isinstance(command, Value):
        return command
    used = frozenset(name for name, _ in command.value.flags if name in REMOVED_FLAGS)
    if not used:
        return Value(used, command.value.at)
    installed = read_version(tree)
    if not isinstance(installed, Value):
        return installed
    match = re.match(r"1\.(\d{1,3})\.", installed.value)
    if not match:
        return Unknown("unsupported", f"the flags of the kubelet {installed.value} are not known")
    return Value(frozenset(name for name in used if REMOVED_FLAGS[name] <= int(match[1])), command.value.at)


def read_proxies(tree: Tree) -> Rows[Row]:
    """Return the proxy variables of the kubelet's unit."""
    from nodespec.checks._systemd_command import UNRESOLVED, read_service_variables  # noqa: PLC0415

    variables = read_service_variables(tree, _kubelet_command.UNIT)
    if not isinstance(variables, Value):
        return Rows.lacking(variables)
    rows: Dict[str, Observation[Row]] = {}
    unread = Unknown("unsupported", f"{variables.evidence}: an environment file of the unit cannot be read")
    for name, value in variables.value.items():
        upper = name.upper()
        if upper in PROXIES and UNRESOLVED in value:
            rows[upper] = unread
        elif upper in PROXIES and value:
            rows[upper] = Value(re.sub(r"^(\w+://)?[^/@]*@", r"\1", value, count=1), variables.evidence)
    rest: Lacking = unread if "" in variables.value else Absent(variables.evidence)
    return Rows.of(rows, rest)


def find_credentials(tree: Tree) -> Observation[FrozenSet[str]]:
    """Return which credentials exist."""
    command = _kubelet_command.read_command(tree)
    if isinstance(command, Unknown):
        return command
    paths = {
        flag: (command.value.get(flag) if isinstance(command, Value) else "") or path
        for flag, path in CREDENTIALS.items()
    }
    return _find_existing(tree, {path: flag for flag, path in paths.items()})


def find_leftovers(tree: Tree) -> Observation[FrozenSet[str]]:
    """Return the files that `kubeadm join` refuses."""
    found = _find_existing(tree, {path: path for path in REFUSED_FILES})
    names = tree.names(ETCD)
    if isinstance(found, Value) and isinstance(names, Unknown):
        return names
    if isinstance(found, Value) and isinstance(names, Value) and names.value:
        return Value(found.value | {ETCD}, found.evidence)
    return found


def _find_existing(tree: Tree, words: Dict[str, str]) -> Observation[FrozenSet[str]]:
    """Return the words of the paths that exist."""
    found: List[str] = []
    for path in words:
        entry = tree.entry(path)
        if isinstance(entry, Unknown):
            return entry
        found += [path] if isinstance(entry, Value) else []
    return Value(frozenset(words[path] for path in found), Evidence(", ".join(found or words)))


def read_manager_state(tree: Tree, name: str) -> Observation[str]:
    """Return the policy in the state file of a resource manager."""
    command = _kubelet_command.read_command(tree)
    if isinstance(command, Unknown):
        return command
    folder = (command.value.get("root-dir") if isinstance(command, Value) else "") or ROOT_DIRECTORY
    return tree.text(f"{folder}/{name}").then(_parse_policy)


def _parse_policy(text: str) -> str:
    """Parse `{"policyName":"static",...}`; newer kubelets repeat it in the text `data`, which counts."""
    from nodespec.host import cri  # noqa: PLC0415

    state = cri.parse_json(text)
    data = cri.get_nested(state, "data")
    if isinstance(data, str) and data:
        state = cri.parse_json(data)
    policy = cri.get_nested(state, "policyName")
    if not isinstance(policy, str) or not policy:
        raise ValueError("no policyName found")
    return policy
