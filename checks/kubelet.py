"""The kubelet of this node: its program, its service, its configuration, and what earlier runs left.

The program is found by its own name. A distribution of Kubernetes whose kubelet is part of another program, such as
k3s, has no kubelet here, and its configuration is unknown.
"""

from __future__ import annotations

import re

from nodespec.checks import _program_places, _services_at_boot
from nodespec.checks._kernel_release import PACKAGED
from nodespec.facts.declaration import fact
from nodespec.facts.value_numbers import Version
from nodespec.facts.value_types import Flag, FreeText
from nodespec.facts.versions import RELEASE
from nodespec.host.machine import Machine
from nodespec.host.tree import PROGRAMS, Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from types import ModuleType
    from typing import Optional

UNIT = "kubelet.service"
SEARCHED = ("*/kubelet", ":".join(PROGRAMS), *_program_places.SOURCES)


@fact(
    Version(RELEASE),
    sources=("*kubelet --version", *SEARCHED),
    optional=True,
    fix="install kubelet {want}",
)
def version(machine: Machine) -> Observation[str]:
    """The version of the installed kubelet, as `kubelet --version` prints it.

    Absent if `path` is absent. It is the version of the program on disk; a process started before an upgrade may be
    older. With `--root` no program is run, and the version is unknown; the version of the package may show the same. At
    rest it is the version of the package `kubelet`, else the release in the Go build information of the program.
    """
    program = _program_places.find_program(machine, "kubelet")
    if not isinstance(program, Value):
        return program
    ran = machine.run([_program_places.get_command_word(machine, "kubelet", program.value), "--version"])
    if isinstance(ran, Value) and ran.value.status:
        return Unknown("failed", f"{ran.evidence} ended with status {ran.value.status}")
    return ran.then(lambda result: _parse_printed_version(result.output))


@version.at_rest(*SEARCHED, *PACKAGED)
def _version_at_rest(tree: Tree) -> Observation[str]:
    from nodespec.checks import _installed  # noqa: PLC0415

    return _installed.read_program_version(tree, "kubelet", ("kubelet",))


@fact(FreeText(), sources=SEARCHED, optional=True, fix="install the kubelet", same_at_rest=True)
def path(tree: Tree) -> Observation[str]:
    """Path of the kubelet: on the search path, else by kubelet.service.

    The search path is fixed. If neither has it, it is searched in the directories of distributions: /opt/bin,
    /home/kubernetes/bin, and those of k3s, RKE2, k0s and MicroK8s. Absent if it is in none of them. Unknown if the unit
    starts another program.
    """
    return _program_places.find_program(tree, "kubelet")


@fact(Flag(), sources=("/proc/*/comm",), fix="start or stop the kubelet with systemctl; required: {want}")
def running(machine: Machine) -> Observation[bool]:
    """Whether a process named kubelet runs.

    A kubelet in a container of this machine counts too, for example that of a container-based cluster on a workstation.
    If /proc shows only the user's own processes (hidepid), the fact is unknown without root.
    """
    names = machine.names("/proc")
    if not isinstance(names, Value):
        return names
    unread = _find_hidden_processes(machine)
    for name in filter(str.isdigit, names.value):
        called = machine.line(f"/proc/{name}/comm")
        if isinstance(called, Value) and called.value == "kubelet":
            return Value(value=True, evidence=called.evidence)
        if isinstance(called, Unknown):
            unread = unread or called
    return unread or Value(value=False, evidence=Evidence("/proc/*/comm"))


@fact(
    Flag(),
    sources=_services_at_boot.SOURCES,
    optional=True,
    fix="enable or disable the kubelet with systemctl; required: {want}",
    same_at_rest=True,
)
def enabled(tree: Tree) -> Observation[bool]:
    """Whether the kubelet's service is enabled, by systemd or a runlevel of OpenRC.

    With systemd it is the state that `systemctl is-enabled` prints. If presets apply at the first boot, it is the state
    after they are applied. A masked service is not enabled. Absent if no such service exists. Whether a boot starts it
    is `kubelet.starts_at_boot`.
    """
    return _services_at_boot.is_enabled(tree, UNIT)


@fact(
    Flag(),
    sources=_services_at_boot.SOURCES,
    optional=True,
    fix="enable or disable the kubelet with systemctl; required: {want}",
    same_at_rest=True,
)
def starts_at_boot(tree: Tree) -> Observation[bool]:
    """Whether the next boot starts the kubelet, by any unit that pulls it in.

    False if the unit is masked or cannot be loaded. With systemd the result follows from the graph of units below
    default.target, with the kernel's command line and the presets of a first boot applied. With OpenRC the runlevels of
    a boot and the dependencies of their services count. Absent if no such service exists. A service that a socket or a
    timer starts later does not count.
    """
    return _services_at_boot.is_started_at_boot(tree, UNIT)


def import_more_facts() -> ModuleType:
    """Import the facts that few checks need."""
    from nodespec.checks import _kubelet_settings  # noqa: PLC0415

    return _kubelet_settings


def _find_hidden_processes(machine: Machine) -> Optional[Unknown]:
    """Return why processes may be missing from /proc.

    If process 1 is visible, all processes are.
    """
    init = machine.line("/proc/1/comm")
    return init if isinstance(init, Unknown) else None


def _parse_printed_version(text: str) -> str:
    """Parse `Kubernetes v1.35.0` to `1.35.0`."""
    match = re.fullmatch(r"Kubernetes v(\d\S{0,99})\s*", text)
    if not match:
        raise ValueError(f"`{text[:80]}` is not a version of the kubelet; expected `Kubernetes vX.Y.Z`")
    return match[1]
