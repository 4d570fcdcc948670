"""The kubelet of this node: whether it is installed, of which version, and whether it runs.

Looked for by its own name. A distribution of Kubernetes that has the kubelet inside another program, as k3s and RKE2
do, shows no kubelet here.
"""

from __future__ import annotations

import re
from typing import Optional

from nodespec.checks import _program_places
from nodespec.checks import _services_at_boot as _boot_services
from nodespec.checks._kernel_release import PACKAGED
from nodespec.facts.declaration import fact
from nodespec.facts.value_types import Flag, Text, Version
from nodespec.facts.versions import RELEASE
from nodespec.host.machine import Machine
from nodespec.host.tree import PROGRAMS, Tree
from nodespec.model.observation import Evidence, Observation, Unknown, Value

UNIT = "kubelet.service"
SEARCHED = ("*/kubelet", ":".join(PROGRAMS), *_program_places.SOURCES)


@fact(
    Version(RELEASE),
    sources=("*kubelet --version", *SEARCHED),
    optional=True,
    fix="install kubelet {want}",
)
def version(machine: Machine) -> Observation[str]:
    """The version of the installed kubelet, as `kubelet --version` prints it; absent where `path` is.

    It is that of the program, not of one that still runs since before an upgrade. Nothing below another root is run,
    so with `--root` it is unknown; there the version of the package may say the same. At rest it is that of the package
    `kubelet`, else of the release that Go's build information in the program names.
    """
    found = _program_places.find_program(machine, "kubelet")
    if not isinstance(found, Value):
        return found
    ran = machine.run([_program_places.word(machine, "kubelet", found.value), "--version"])
    if isinstance(ran, Value) and ran.value.status:
        return Unknown("failed", f"{ran.evidence} ended with status {ran.value.status}")
    return ran.then(lambda said: _printed(said.output))


@version.at_rest(*SEARCHED, *PACKAGED)
def _version_at_rest(tree: Tree) -> Observation[str]:
    from nodespec.checks import _installed  # noqa: PLC0415 - not for a machine that runs

    return _installed.version(tree, "kubelet", ("kubelet",))


@fact(Text(), sources=SEARCHED, optional=True, fix="install the kubelet", same_at_rest=True)
def path(tree: Tree) -> Observation[str]:
    """Where the kubelet stands: on the fixed search path, else where kubelet.service starts it.

    Else in a directory of a distribution: /opt/bin, /home/kubernetes/bin, those of k3s, RKE2, k0s and MicroK8s. Absent
    where it is in none of them. A unit that starts another program makes it unknown.
    """
    return _program_places.find_program(tree, "kubelet")


@fact(Flag(), sources=("/proc/*/comm",), fix="systemctl start kubelet, or stop it: {want} is wanted")
def running(machine: Machine) -> Observation[bool]:
    """Whether a process named kubelet runs.

    One inside a container of this machine counts too, as with a cluster of containers on a workstation. Where /proc
    shows only one's own processes (hidepid), nothing can be said unless as root.
    """
    names = machine.names("/proc")
    if not isinstance(names, Value):
        return names
    unread = _hidden(machine)
    for name in filter(str.isdigit, names.value):
        called = machine.line(f"/proc/{name}/comm")
        if isinstance(called, Value) and called.value == "kubelet":
            return Value(value=True, evidence=called.evidence)
        if isinstance(called, Unknown):
            unread = unread or called
    return unread or Value(value=False, evidence=Evidence("/proc/*/comm"))


@fact(
    Flag(),
    sources=_boot_services.SOURCES,
    optional=True,
    fix="systemctl enable kubelet, or disable it: {want} is wanted",
    same_at_rest=True,
)
def enabled(tree: Tree) -> Observation[bool]:
    """Whether the kubelet's service is enabled, as `systemctl is-enabled` says, or in a runlevel of OpenRC.

    At a first boot, which presets enable services at, it is the state that they leave. Not enabled where it is masked;
    absent where there is no such service. Whether a boot starts it is `kubelet.starts_at_boot`.
    """
    return _boot_services.enabled(tree, UNIT)


@fact(
    Flag(),
    sources=_boot_services.SOURCES,
    optional=True,
    fix="systemctl enable kubelet, or disable it: {want} is wanted",
    same_at_rest=True,
)
def starts_at_boot(tree: Tree) -> Observation[bool]:
    """Whether the next boot starts the kubelet: by whatever unit pulls it in, unless it is masked or cannot be loaded.

    With systemd that is the graph of units from default.target on, as the kernel's command line and presets of a first
    boot leave it. With OpenRC the runlevels of a boot count, and what their services need. Absent where there is no
    such service; what a socket or a timer starts later does not count.
    """
    return _boot_services.starts_at_boot(tree, UNIT)


def _hidden(machine: Machine) -> Optional[Unknown]:
    """Why processes may be missing from /proc: the first of all is there, if all are."""
    init = machine.line("/proc/1/comm")
    return init if isinstance(init, Unknown) else None


def _printed(text: str) -> str:
    """`1.35.0` of `Kubernetes v1.35.0`."""
    match = re.fullmatch(r"Kubernetes v(\d\S{0,99})\s*", text)
    if not match:
        raise ValueError(f"`{text[:80]}` is not what kubelet prints")
    return match[1]
