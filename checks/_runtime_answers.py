"""What a container runtime answers on its socket, else its program and its files."""

from __future__ import annotations

import re

from nodespec.checks import _program_places, _runtime_catalog
from nodespec.checks._runtime_catalog import CONFIGURED, RUNTIMES, find_path, find_socket, memoize
from nodespec.host.machine import Machine
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Observation, Unknown, Value, select_first

if TYPE_CHECKING:
    from typing import Callable, FrozenSet, Iterator, Mapping

    from nodespec.facts.value_types import Datum
    from nodespec.host.cri import CriRuntime, CriStatus

INFO_KEYS = {  # The keys of the cgroup driver and the storage driver in the HTTP API.
    "docker": ("CgroupDriver", "Driver"),
    "crio": ("cgroup_driver", "storage_driver"),
}


@memoize
def _request_version(machine: Machine, name: str) -> Observation[CriRuntime]:
    """Return its reply to `Version`; if this fails, no other request is sent."""
    socket = find_socket(machine, name)
    if not isinstance(socket, Value):
        return socket
    from nodespec.host import cri  # noqa: PLC0415 - only needed for a runtime that answers

    answer = Absent(socket.evidence) if name == "docker" else cri.identify_runtime(machine, socket.value)
    return answer._replace(say=RUNTIMES[name].silent) if isinstance(answer, Absent) else answer


@memoize
def request_status(machine: Machine, name: str) -> Observation[CriStatus]:
    hello = _request_version(machine, name)
    if not isinstance(hello, Value):
        return hello
    from nodespec.host import cri  # noqa: PLC0415 - only needed for a runtime that answers

    return cri.fetch_status(machine, hello.value)


@memoize
def request_info(machine: Machine, name: str) -> Observation[object]:
    """Return the HTTP reply of Docker and CRI-O; do not ask if the CRI request failed."""
    socket, hello = find_socket(machine, name), _request_version(machine, name)
    if isinstance(hello, Unknown):
        return hello
    if not isinstance(socket, Value):
        return socket
    from nodespec.host import cri, peer  # noqa: PLC0415 - only needed for a runtime that answers

    return peer.fetch_http(machine, socket.value, "/info").then(cri.parse_json)


def get_info(info: object, key: str) -> object:
    from nodespec.host import cri  # noqa: PLC0415 - only needed for a runtime that answers

    return cri.get_nested(info, key)


def _read_api(machine: Machine, name: str) -> Observation[str]:
    return _request_version(machine, name).then(lambda hello: hello.api)


def _read_conditions(machine: Machine, name: str) -> Observation[FrozenSet[str]]:
    return request_status(machine, name).then(lambda status: status.conditions)


def _read_features(machine: Machine, name: str) -> Observation[FrozenSet[str]]:
    return request_status(machine, name).then(lambda status: status.features)


def _read_handlers(machine: Machine, name: str) -> Observation[FrozenSet[str]]:
    if name == "docker":
        return request_info(machine, name).then(_parse_docker_handlers)
    status = request_status(machine, name)
    if isinstance(status, Value) and not status.value.handlers:
        return Unknown("unsupported", f"{status.evidence} lists no handlers", f"upgrade {name}")
    return status.then(lambda status: status.handlers)


def _parse_docker_handlers(info: object) -> FrozenSet[str]:
    runtimes = get_info(info, "Runtimes")
    if not isinstance(runtimes, dict):
        raise ValueError("no runtimes found")
    return frozenset(map(str, runtimes))


def read_version(machine: Machine, name: str) -> Observation[str]:
    return select_first(read(machine, name) for read in (_read_reported_version, _read_printed_version))


def _read_reported_version(machine: Machine, name: str) -> Observation[str]:
    if name == "docker":
        return request_info(machine, name).then(
            lambda info: _parse_version(require_text(get_info(info, "ServerVersion")))
        )
    hello = _request_version(machine, name)
    if name == "cri-dockerd" and isinstance(hello, Value):
        return Absent(hello.evidence)  # cri-dockerd reports the version of Docker, not its own.
    return hello.then(lambda hello: _parse_version(hello.version))


def _read_printed_version(machine: Machine, name: str) -> Observation[str]:
    path, program = find_path(machine, name), RUNTIMES[name].program
    word = _program_places.get_command_word(machine, program, path.value) if isinstance(path, Value) else program
    ran = machine.run([word, "--version"])
    if isinstance(ran, Value) and ran.value.status:
        return Unknown("failed", f"{ran.evidence} ended with status {ran.value.status}", f"reinstall {name}")
    return ran.then(lambda ran: _parse_version(ran.output))


def _parse_version(text: str) -> str:
    """Return the first version in a text.

    Example: `containerd github.com/containerd/containerd/v2 v2.1.5 fcd4322`.
    """
    match = re.search(r"(?:^|\s)v?(\d{1,9}\.\d{1,9}[\w.+~-]{0,99})", text[:1000], re.ASCII)
    if not match:
        raise ValueError(f"no version found in `{text[:80]}`")
    return match[1]


@memoize
def request_cgroup_driver(machine: Machine, name: str) -> Observation[str]:
    return _request_column(machine, name, "cgroup_driver")


def _request_column(machine: Machine, name: str, column: str) -> Observation[str]:
    """Return what a runtime answers by CRI: its `cgroup_driver` or its `snapshotter`."""
    hello = _request_version(machine, name)
    if not isinstance(hello, Value):
        return hello
    from nodespec.host import cri  # noqa: PLC0415 - only needed for a runtime that answers

    fetch = {"cgroup_driver": cri.fetch_cgroup_driver, "snapshotter": cri.fetch_snapshotter}[column]
    return fetch(machine, hello.value)


def _read_cgroup_driver(machine: Machine, name: str) -> Observation[str]:
    def read_sources() -> Iterator[Observation[str]]:
        yield request_cgroup_driver(machine, name)
        if name == "containerd":
            yield request_status(machine, name).then(lambda status: require_text(status.cgroup_driver))
        elif name in INFO_KEYS:
            yield request_info(machine, name).then(lambda info: require_text(get_info(info, INFO_KEYS[name][0])))

    asked = select_first(read_sources())
    if isinstance(asked, Value) or name not in CONFIGURED:
        return asked
    files = _read_configured(machine, name, "cgroup_driver")
    default = isinstance(files, Value) and files.evidence.inferred
    if default and isinstance(asked, Unknown) and asked.reason != "unsupported":
        return asked  # The running process may have started with another configuration.
    return select_first([asked, files])


def _read_configured(machine: Machine, name: str, column: str) -> Observation[str]:
    """Return what its files set; unknown for a runtime inside another program."""
    socket = find_socket(machine, name)
    if isinstance(socket, Value) and socket.value != RUNTIMES[name].sockets[0]:
        return Unknown("unsupported", f"which files the {name} at {socket.value} reads is not known")
    from nodespec.checks import _runtime_config  # noqa: PLC0415

    return _runtime_config.read_setting(machine, name, column, read_version(machine, name))


def _read_snapshotter(machine: Machine, name: str) -> Observation[str]:
    def read_sources() -> Iterator[Observation[str]]:
        if name in INFO_KEYS:
            yield request_info(machine, name).then(lambda info: require_text(get_info(info, INFO_KEYS[name][1])))
        else:
            yield _request_column(machine, name, "snapshotter")
        yield _read_configured(machine, name, "snapshotter")

    if name not in CONFIGURED:
        return _runtime_catalog.report_no_images(name)
    return select_first(read_sources())


def require_text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("the value is not set")
    return value


PROBES: Mapping[str, Callable[[Machine, str], Observation[Datum]]] = {
    "version": read_version,
    "api": _read_api,
    "conditions": _read_conditions,
    "handlers": _read_handlers,
    "features": _read_features,
    "cgroup_driver": _read_cgroup_driver,
    "snapshotter": _read_snapshotter,
}
