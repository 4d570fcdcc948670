"""The marks by which a container is known: what the kernel numbers first, and what engines leave behind."""

from __future__ import annotations

from typing import Iterator, Mapping

from nodespec.host.machine import Machine
from nodespec.model.observation import Observation, Value

ROOT = "/proc/1/root"
FIRST = {"mnt": "mnt:[4026531832]", "pid": "pid:[4026531836]"}  # as the kernel numbers them; mnt since 6.18


def outside(machine: Machine) -> str:
    """The link that shows that this is no container; empty where none does."""
    mounts, process = f"{machine.process}/ns/mnt", f"{machine.process}/ns/pid"
    own, space = machine.link(mounts), machine.link(process)
    if isinstance(own, Value) and own.value == FIRST["mnt"]:
        return mounts
    if not isinstance(own, Value) or not isinstance(space, Value) or space.value != FIRST["pid"]:
        return ""
    other = machine.link("/proc/1/ns/mnt")
    if isinstance(other, Value) and other.value == own.value:
        return process
    return ROOT if machine.is_same("/", ROOT) else ""  # mounts of its own, as a systemd unit has, on the host's root


def marks(machine: Machine, *, inside: bool) -> Iterator[Observation[str]]:
    """What engines leave in their containers, the most telling first; empty where a mark is there and names none.

    Process 1 is the container's own only `inside` a PID namespace: else its environment says nothing of this.
    """
    processes = ("/proc/1", machine.process) if inside else (machine.process,)
    environments = [machine.text(f"{process}/environ").then(_variables) for process in processes]
    yield machine.entry("/run/secrets/kubernetes.io").then(lambda _: "kubernetes")
    for one in environments:
        yield one.then(lambda said: "kubernetes" if "KUBERNETES_SERVICE_HOST" in said else "")
    for path in ("/run/host/container-manager", "/run/systemd/container"):
        yield machine.line(path)
    for one in environments:
        yield one.then(lambda said: said.get("container", ""))
    yield machine.entry("/run/.containerenv").then(lambda _: "podman")
    yield machine.entry("/.dockerenv").then(lambda _: "docker")


def _variables(environment: str) -> Mapping[str, str]:
    pairs = (row.partition("=") for row in environment.split("\0"))
    return {variable: value for variable, _, value in pairs}
