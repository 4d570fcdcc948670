"""The marks by which a container is known: what the kernel numbers first, and what engines leave behind."""

from __future__ import annotations

from typing import Iterator, Mapping, Tuple

from nodespec.machine import Machine
from nodespec.observation import Value

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
    return process if isinstance(other, Value) and other.value == own.value else ""


def marks(machine: Machine) -> Iterator[Tuple[str, str]]:
    """What engines leave in their containers, and where it stands; the most telling first."""
    environments = [(path, _environment(machine, path)) for path in ("/proc/1/environ", f"{machine.process}/environ")]
    if isinstance(machine.entry("/run/secrets/kubernetes.io"), Value):
        yield "kubernetes", "/run/secrets/kubernetes.io"
    for path, environment in environments:
        if "KUBERNETES_SERVICE_HOST" in environment:
            yield "kubernetes", path
    for path in ("/run/host/container-manager", "/run/systemd/container"):
        said = machine.line(path)
        yield said.value if isinstance(said, Value) else "", path
    for path, environment in environments:
        yield environment.get("container", ""), path
    for path, engine in (("/run/.containerenv", "podman"), ("/.dockerenv", "docker")):
        yield engine if isinstance(machine.entry(path), Value) else "", path


def _environment(machine: Machine, path: str) -> Mapping[str, str]:
    said = machine.text(path)
    pairs = (row.partition("=") for row in said.value.split("\0")) if isinstance(said, Value) else ()
    return {variable: value for variable, _, value in pairs}
