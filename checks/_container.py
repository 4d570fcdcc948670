"""Container detection: initial namespaces of the kernel, and marks of engines."""

from __future__ import annotations

from nodespec.facts.value_types import IDENTIFIER
from nodespec.host.machine import Machine
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Observation, Value

if TYPE_CHECKING:
    from typing import Iterator, Mapping

ROOT = "/proc/1/root"
# inode numbers of the initial namespaces; mnt since 6.18
INITIAL_NAMESPACES = {"mnt": "mnt:[4026531832]", "pid": "pid:[4026531836]"}


def find_host_proof(machine: Machine) -> str:
    """Return the link that proves that this is not a container; empty if none does."""
    mounts, process = f"{machine.process}/ns/mnt", f"{machine.process}/ns/pid"
    mount_namespace, pid_namespace = machine.link(mounts), machine.link(process)
    if isinstance(mount_namespace, Value) and mount_namespace.value == INITIAL_NAMESPACES["mnt"]:
        return mounts
    if (
        not isinstance(mount_namespace, Value)
        or not isinstance(pid_namespace, Value)
        or pid_namespace.value != INITIAL_NAMESPACES["pid"]
    ):
        return ""
    other = machine.link("/proc/1/ns/mnt")
    if isinstance(other, Value) and other.value == mount_namespace.value:
        return process
    # A systemd unit may have its own mounts; on the host's root they do not make a container.
    return ROOT if machine.is_same("/", ROOT) else ""


def list_engine_marks(machine: Machine, *, inside: bool) -> Iterator[Observation[str]]:
    """Yield the marks that engines leave in containers, the most reliable first.

    The value is empty for a mark that names no engine. Process 1 belongs to the container only `inside` a PID
    namespace; otherwise its environment is not evidence.
    """
    processes = ("/proc/1", machine.process) if inside else (machine.process,)
    environments = [machine.text(f"{process}/environ").then(_parse_environ) for process in processes]
    yield machine.entry("/run/secrets/kubernetes.io").then(lambda _: "kubernetes")
    for environment in environments:
        yield environment.then(lambda variables: "kubernetes" if "KUBERNETES_SERVICE_HOST" in variables else "")
    for path in ("/run/host/container-manager", "/run/systemd/container"):
        yield machine.line(path).then(_check_engine)
    for environment in environments:
        yield environment.then(lambda variables: _check_engine(variables.get("container", "")))
    yield machine.entry("/run/.containerenv").then(lambda _: "podman")
    yield machine.entry("/.dockerenv").then(lambda _: "docker")


def _check_engine(text: str) -> str:
    return text and IDENTIFIER.formed(text)


def _parse_environ(environment: str) -> Mapping[str, str]:
    pairs = (row.partition("=") for row in environment.split("\0"))
    return {variable: value for variable, _, value in pairs}
