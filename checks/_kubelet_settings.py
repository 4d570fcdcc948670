"""Facts of the kubelet's settings and state."""

from __future__ import annotations

from nodespec.checks import _kubelet_facts
from nodespec.checks._kubelet_fields import normalize_text, parse_field_key
from nodespec.facts.declaration import Row, Rows, fact, table
from nodespec.facts.value_numbers import UntypedValue
from nodespec.facts.value_types import FreeText, OneOf, SetOf
from nodespec.host.tree import PROGRAMS, Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Observation

if TYPE_CHECKING:
    from typing import FrozenSet

CONFIGURED = ("/proc/*/cmdline", "*/systemd/system*", "/etc/*", "/var/lib/kubelet*", "/*", ":".join(PROGRAMS))
STATE = ("/var/lib/kubelet/*", "/*")


class ConfigValue(UntypedValue):
    """The type of a field or a flag: a number, true or false, a duration, or text."""

    noun = "a number, true, false, or text as in the configuration file"

    def read(self, text: str) -> str:
        if text in ("yes", "no", "on", "off"):
            raise ValueError(f"`{text}` is not a value of a field; write true or false")
        return normalize_text(super().read(text))


@table(
    ConfigValue(),
    sources=CONFIGURED,
    noun="field of the kubelet's configuration",
    key=parse_field_key,
    closed=True,
    fix="set {key} to {want} in the kubelet's configuration file, and restart the kubelet",
    same_at_rest=True,
)
def config(tree: Tree) -> Rows[Row]:
    """The kubelet's configuration by field: its file, drop-ins and flags as one.

    A field is named by its path in KubeletConfiguration, such as `cgroupDriver`, `authentication.anonymous.enabled` or
    `evictionHard.memory.available`. The file of `--config` counts first, then the *.conf files of `--config-dir` by
    name, then flags. A field that none of them sets has the kubelet's default, which is inferred; without a file,
    anonymous requests and the read-only port are on. A list is joined by commas. A duration is in its largest whole
    unit of minutes, seconds or milliseconds: 240m is 4h.

    The flags are those of the running kubelet, else of its unit; the files are read as they are now. Absent if no
    kubelet is installed, if the field is not set and has no default, or if the file does not exist yet. Unknown if the
    kubelet is part of another program, such as k3s.
    """
    return _kubelet_facts.read_config(tree)


@table(
    ConfigValue(),
    sources=CONFIGURED,
    noun="flag of the kubelet",
    key=lambda text: text.lstrip("-").replace("_", "-"),
    closed=True,
    same_at_rest=True,
)
def flags(tree: Tree) -> Rows[Row]:
    """The flags of the kubelet by name, such as `node-ip` or `config`.

    Those of the running kubelet, else of the unit that starts it, with the variables of its environment files. A flag
    without a value is `true`. If a flag is repeated, the last counts, as in the kubelet. A flag that may hold a secret
    is not read.
    """
    return _kubelet_facts.read_flags(tree)


@fact(
    SetOf(FreeText()),
    sources=CONFIGURED,
    optional=True,
    fix="remove the flag from the kubelet's unit and from /var/lib/kubelet/kubeadm-flags.env",
    same_at_rest=True,
)
def removed_flags(tree: Tree) -> Observation[FrozenSet[str]]:
    """Flags of the kubelet that its installed release no longer has.

    With such a flag the kubelet does not start. Known for flags that Kubernetes 1.22 to 1.37 removed.
    """
    return _kubelet_facts.find_removed_flags(tree)


@table(
    FreeText(),
    sources=(*CONFIGURED, "/proc/*/environ"),
    noun="proxy variable of the kubelet",
    key=str.upper,
    closed=True,
    same_at_rest=True,
)
def proxies(tree: Tree) -> Rows[Row]:
    """Proxies in the environment of the kubelet's unit: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.

    Read from Environment= and EnvironmentFile= of the unit and its drop-ins. A lower-case variable counts under its
    upper-case name. A password in the address is left out.
    """
    return _kubelet_facts.read_proxies(tree)


@fact(SetOf(FreeText()), sources=CONFIGURED, fix="join the node, or reset it with `kubeadm reset`", same_at_rest=True)
def credentials(tree: Tree) -> Observation[FrozenSet[str]]:
    """Credentials of the kubelet that exist: `kubeconfig` and `bootstrap-kubeconfig`.

    They are the files that `--kubeconfig` and `--bootstrap-kubeconfig` name, else those of kubeadm in /etc/kubernetes.
    Their content is not read.
    """
    return _kubelet_facts.find_credentials(tree)


@fact(
    OneOf("complete", "no-context", "no-cluster", "no-authority", "no-user"),
    sources=(*CONFIGURED, "/*"),
    optional=True,
    fix="join the node again: kubeadm reset, then kubeadm join",
    same_at_rest=True,
)
def kubeconfig(tree: Tree) -> Observation[str]:
    """Whether the kubeconfig of the kubelet is complete, or what it lacks first.

    `complete` has a current context, a cluster with a server and a certificate authority, and a user with a certificate
    and a key, a token or a program. Certificates that it names must exist and be readable; the private key must only
    exist. Absent if the file does not exist. For the validity of certificates see `certificates`.
    """
    from nodespec.checks import _kubelet_kubeconfig  # noqa: PLC0415 - few specs name it

    return _kubelet_kubeconfig.check_kubeconfig(tree)


@fact(SetOf(FreeText()), sources=("/etc/kubernetes*", "/var/lib/etcd"), fix="kubeadm reset", same_at_rest=True)
def leftovers(tree: Tree) -> Observation[FrozenSet[str]]:
    """Files of an earlier cluster with which `kubeadm join` refuses to run.

    Paths among kubelet.conf, bootstrap-kubelet.conf and pki/ca.crt of /etc/kubernetes, and for a control plane the
    manifests of its components and a /var/lib/etcd with content. Whether its ports are free is in `ports`.
    """
    return _kubelet_facts.find_leftovers(tree)


@fact(
    FreeText(),
    sources=STATE,
    optional=True,
    fix="drain the node, stop the kubelet, and remove the file",
    same_at_rest=True,
)
def cpu_manager_state(tree: Tree) -> Observation[str]:
    """The policy in the state file of the CPU manager, such as none or static.

    With another policy than `config.cpuManagerPolicy` the kubelet does not start. Absent if the file does not exist.
    """
    return _kubelet_facts.read_manager_state(tree, "cpu_manager_state")


@fact(
    FreeText(),
    sources=STATE,
    optional=True,
    fix="drain the node, stop the kubelet, and remove the file",
    same_at_rest=True,
)
def memory_manager_state(tree: Tree) -> Observation[str]:
    """The policy in the state file of the memory manager, such as None or Static.

    With another policy than `config.memoryManagerPolicy` the kubelet does not start. Absent if the file does not exist.
    """
    return _kubelet_facts.read_manager_state(tree, "memory_manager_state")
