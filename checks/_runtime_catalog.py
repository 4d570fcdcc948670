"""Container runtimes by name: how each is found, and what files show of it."""

from __future__ import annotations

from nodespec.checks import _program_places, _services_at_boot
from nodespec.host.machine import Machine
from nodespec.host.tree import PROGRAMS, Tree
from nodespec.light_typing import TYPE_CHECKING, TypeVar
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value, select_first
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Tuple

T = TypeVar("T")


class Runtime(NamedTuple):
    """How a runtime is found; `silent` explains why it does not serve the CRI."""

    program: str
    packages: Tuple[str, ...]
    units: Tuple[str, ...] = ()
    sockets: Tuple[str, ...] = ()
    silent: str = ""


RUNTIMES = {
    "containerd": Runtime(
        "containerd",
        ("containerd.io", "containerd", "moby-containerd", "containerd2"),
        ("containerd.service",),
        (
            "/run/containerd/containerd.sock",
            "/run/k3s/containerd/containerd.sock",
            "/run/k0s/containerd.sock",
            "/var/snap/microk8s/common/run/containerd.sock",
        ),
        "the cri plugin of containerd is disabled or did not start; remove it from disabled_plugins in "
        "/etc/containerd/config.toml, or search containerd's log for its error, and restart containerd",
    ),
    "crio": Runtime(
        "crio", ("cri-o",), ("crio.service",), ("/run/crio/crio.sock",), "the program on its socket is not CRI-O"
    ),
    "docker": Runtime(
        "dockerd",
        ("docker-ce", "docker.io", "moby-engine", "docker"),
        ("docker.service", "docker.socket"),
        ("/run/docker.sock",),
        "Docker does not serve the CRI; cri-dockerd does so for Docker",
    ),
    "cri-dockerd": Runtime(
        "cri-dockerd",
        ("cri-dockerd",),
        ("cri-docker.service", "cri-docker.socket"),
        ("/run/cri-dockerd.sock",),
        "the program on its socket is not cri-dockerd",
    ),
    "runc": Runtime("runc", ("runc", "moby-runc")),
    "crun": Runtime("crun", ("crun",)),
}
CONTAINERD, CRIO, DOCKER = "/etc/containerd/config.toml", "/etc/crio/crio.conf", "/etc/docker/daemon.json"
CONFIGURATION = (CONTAINERD, CRIO, DOCKER, "*.toml", f"{CRIO}.d/*", "*crio*", "*.json")
CONFIGURED = ("containerd", "crio", "docker")  # the runtimes with a configuration that is read
# The columns that only configuration files have.
FILE_COLUMNS = ("sandbox_image", "registry_config_path", "cdi", "cni_conf_dir", "cni_bin_dirs", "root")
MORE_COLUMNS = ("runtime_config", "default_handler", "handler_features", *FILE_COLUMNS)
ALIASES = {"cri-o": "crio", "dockerd": "docker"}


def is_runtime_enabled(tree: Tree, name: str) -> Observation[bool]:
    """Return whether its service or its socket is enabled."""
    units = RUNTIMES[name].units
    return (
        _services_at_boot.combine_any([_services_at_boot.is_enabled(tree, unit) for unit in units])
        if units
        else report_no_service(name)
    )


def is_runtime_started_at_boot(tree: Tree, name: str) -> Observation[bool]:
    """Return whether a boot starts its service or its socket."""
    units = RUNTIMES[name].units
    seen = [_services_at_boot.is_started_at_boot(tree, unit) for unit in units]
    return _services_at_boot.combine_any(seen) if units else report_no_service(name)


def read_packaged_version(tree: Tree, name: str) -> Observation[str]:
    """Return the version of its package."""
    from nodespec.checks import _installed  # noqa: PLC0415

    return _installed.read_program_version(tree, RUNTIMES[name].program, RUNTIMES[name].packages)


def report_no_service(name: str) -> Absent:
    """Return the absence of a service, for a runtime that other runtimes start."""
    return Absent(Evidence(":".join(PROGRAMS)), f"{name} is not a service")


def report_no_images(name: str) -> Absent:
    """Return the absence of images, for a runtime that only runs unpacked ones."""
    return Absent(Evidence(":".join(PROGRAMS)), f"{name} does not store images")


def memoize(probe: Callable[[Machine, str], T]) -> Callable[[Machine, str], T]:
    """Memoize an observation for each runtime of a machine."""

    def of(name: str) -> Callable[[Machine], T]:
        return lambda machine: probe(machine, name)

    probes = {name: of(name) for name in RUNTIMES}
    return lambda machine, name: machine.once(probes[name])


def find_path(tree: Tree, name: str) -> Observation[str]:
    return _program_places.find_program(tree, RUNTIMES[name].program)


@memoize
def find_socket(machine: Machine, name: str) -> Observation[str]:
    """Return the first socket on which something listens."""
    sockets = RUNTIMES[name].sockets
    if not sockets:
        return report_no_service(name)
    listening = select_first(_probe_socket(machine, path) for path in sockets)
    if isinstance(listening, Absent):
        return listening._replace(say=f"{name} does not run: nothing listens on {sockets[0]}")
    return listening


def _probe_socket(machine: Machine, path: str) -> Observation[str]:
    connected = machine.connect(path)
    if isinstance(connected, (Absent, Unknown)):
        return connected
    connected.close()
    return Value(path, Evidence(path))
