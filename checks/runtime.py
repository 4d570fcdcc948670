"""Container runtimes: which are installed, which answer, and what they report.

Requests go to the socket that the kubelet uses: `Version`, `Status`, `RuntimeConfig` and `ImageFsInfo` of the CRI, and
`GET /info` of Docker and CRI-O. If nothing answers, `--version` of the program and the configuration files are used.
"""

from __future__ import annotations

import re
from functools import partial

from nodespec.checks import _program_places, _runtime_catalog, _services_at_boot
from nodespec.checks._kernel_release import PACKAGED
from nodespec.checks._runtime_catalog import ALIASES, CONFIGURATION, CONFIGURED, CONTAINERD, CRIO, DOCKER, RUNTIMES
from nodespec.errors import suggest_name
from nodespec.facts.declaration import Columns, Row, Rows, table
from nodespec.facts.value_numbers import Version
from nodespec.facts.value_types import Datum, Flag, FreeText, Kind, OneOf, SetOf
from nodespec.facts.versions import RELEASE
from nodespec.host.machine import Machine
from nodespec.host.tree import PROGRAMS, Tree
from nodespec.light_typing import TYPE_CHECKING, TypeVar
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value, select_first

if TYPE_CHECKING:
    from typing import Callable, Dict, FrozenSet, Iterator, Mapping

    from nodespec.host.cri import CriRuntime, CriStatus

T = TypeVar("T")
PROGRAM_SOURCES = (f"{':'.join(PROGRAMS)}*", *(f"*/{runtime.program}" for runtime in RUNTIMES.values()))
FILES = (*CONFIGURATION, *_services_at_boot.SOURCES)
INFO_KEYS = {  # The keys of the cgroup driver and the storage driver in the HTTP API.
    "docker": ("CgroupDriver", "Driver"),
    "crio": ("cgroup_driver", "storage_driver"),
}
COLUMNS: Mapping[str, Kind[Datum]] = {
    "version": Version(RELEASE),
    "path": FreeText(),
    "enabled": Flag(),
    "starts_at_boot": Flag(),
    "running": Flag(),
    "socket": FreeText(),
    "api": OneOf("v1", "v1alpha2"),
    "conditions": SetOf(FreeText()),
    "handlers": SetOf(FreeText()),
    "features": SetOf(FreeText()),
    "cgroup_driver": OneOf("systemd", "cgroupfs"),
    "snapshotter": FreeText(),
}


def _resolve_runtime_name(key: str) -> str:
    name = ALIASES.get(key, key)
    if name not in RUNTIMES:
        raise ValueError(f"`{key}` is not one of {', '.join(RUNTIMES)}{suggest_name(key, RUNTIMES)}")
    return name


@table(
    COLUMNS,
    sources=(
        *PROGRAM_SOURCES,
        *(f"*{runtime.program} --version" for runtime in RUNTIMES.values()),
        *(f"{socket}*" for runtime in RUNTIMES.values() for socket in runtime.sockets),
        *FILES,
    ),
    noun="container runtime",
    labels={"crio": "CRI-O", "docker": "Docker"},
    key=_resolve_runtime_name,
    closed=True,
    fixes={
        "version": "install {key} {want}",
        "cgroup_driver": "set the cgroup driver of {key} to {want}, and restart it: SystemdCgroup in the options of "
        f"runc in {CONTAINERD}, cgroup_manager under [crio.runtime] in {CRIO}, native.cgroupdriver in {DOCKER}",
        "snapshotter": "set the snapshotter of {key} to {want}, and restart it",
    },
)
def runtime(machine: Machine) -> Rows[Row]:
    """Container runtimes: containerd, crio, docker, cri-dockerd, runc and crun.

    runc and crun are started by the others. A runtime has a row if its program is installed or something listens on its
    socket. A runtime may be part of another program, as in k3s. If it has several sockets, the first that answers
    counts. The columns are:

    - `version`: reported by the running runtime; else printed by the program. A leading v is left out.
    - `path`: the program on the fixed search path. For Docker it is `dockerd`: the `docker` command alone runs nothing.
    - `enabled`: whether its service or socket is enabled, as `systemctl is-enabled` prints. Absent if neither exists.
    - `starts_at_boot`: whether a boot starts its service or socket, by any unit that pulls it in; false if masked.
    - `running`: whether something listens on a socket, and `socket`: the path of that socket.
    - `api`: the version of the CRI that it serves; the kubelet needs v1 since 1.26. Absent if it serves none, such as
      containerd with its cri plugin disabled, which is the configuration of Docker's packages.
    - `conditions`: the conditions that hold: RuntimeReady, and NetworkReady, which a node has only after it joined.
    - `handlers`: the names that a RuntimeClass can use, such as runc.
    - `features`: features that the kubelet can rely on: supplemental_groups_policy, and for the default handler
      recursive_read_only_mounts and user_namespaces.
    - `cgroup_driver`: systemd or cgroupfs; it must equal the kubelet's. Reported by the running runtime, else read from
      the configuration file that its unit names, by the rules of its version. A default is inferred.
    - `snapshotter`: the snapshotter of containerd, or the storage driver of CRI-O and Docker; observed the same way.

    At rest `version` is that of the package, else that of the Go build information in the program. `api` is absent if
    the configuration disables it. Columns that only a running runtime can report are deferred.
    """
    return Rows(
        partial(_make_runtime_row, machine), partial(_list_runtime_rows, machine), Absent(Evidence(":".join(PROGRAMS)))
    )


@runtime.at_rest(f"{':'.join(PROGRAMS)}*", *(f"*/{one.program}" for one in RUNTIMES.values()), *FILES, *PACKAGED)
def _rows_at_rest(tree: Tree) -> Rows[Row]:
    from nodespec.checks import _runtime_at_rest  # noqa: PLC0415

    return _runtime_at_rest.read_rows(tree, COLUMNS)


def _list_runtime_rows(machine: Machine) -> Dict[str, Observation[Row]]:
    rows = {name: _make_runtime_row(machine, name) for name in RUNTIMES}
    return {name: row for name, row in rows.items() if not isinstance(row, Absent)}


def _make_runtime_row(machine: Machine, name: str) -> Observation[Row]:
    probes: Mapping[str, Callable[[Machine, str], Observation[Datum]]] = {
        "version": _read_version,
        "path": _find_path,
        "enabled": _runtime_catalog.is_runtime_enabled,
        "starts_at_boot": _runtime_catalog.is_runtime_started_at_boot,
        "running": _is_running,
        "socket": _find_socket,
        "api": _read_api,
        "conditions": _read_conditions,
        "handlers": _read_handlers,
        "features": _read_features,
        "cgroup_driver": _read_cgroup_driver,
        "snapshotter": _read_snapshotter,
    }
    there = select_first(probe(machine, name) for probe in (_find_path, _find_socket))
    if isinstance(there, Absent):
        return there._replace(say=f"{name} is not installed")
    return there.then(lambda _: Columns(**{column: partial(probe, machine, name) for column, probe in probes.items()}))


def _memoize(probe: Callable[[Machine, str], T]) -> Callable[[Machine, str], T]:
    """Memoize an observation for each runtime of a machine."""

    def of(name: str) -> Callable[[Machine], T]:
        return lambda machine: probe(machine, name)

    probes = {name: of(name) for name in RUNTIMES}
    return lambda machine, name: machine.once(probes[name])


def _find_path(tree: Tree, name: str) -> Observation[str]:
    return _program_places.find_program(tree, RUNTIMES[name].program)


@_memoize
def _find_socket(machine: Machine, name: str) -> Observation[str]:
    """Return the first socket on which something listens."""
    sockets = RUNTIMES[name].sockets
    if not sockets:
        return _runtime_catalog.report_no_service(name)
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


def _is_running(machine: Machine, name: str) -> Observation[bool]:
    socket = _find_socket(machine, name)
    if isinstance(socket, Absent) and RUNTIMES[name].sockets:
        return Value(value=False, evidence=socket.evidence)
    return socket.then(lambda _: True)


@_memoize
def _request_version(machine: Machine, name: str) -> Observation[CriRuntime]:
    """Return its reply to `Version`; if this fails, no other request is sent."""
    socket = _find_socket(machine, name)
    if not isinstance(socket, Value):
        return socket
    from nodespec.host import cri  # noqa: PLC0415 - only needed for a runtime that answers

    answer = Absent(socket.evidence) if name == "docker" else cri.identify_runtime(machine, socket.value)
    return answer._replace(say=RUNTIMES[name].silent) if isinstance(answer, Absent) else answer


@_memoize
def _request_status(machine: Machine, name: str) -> Observation[CriStatus]:
    hello = _request_version(machine, name)
    if not isinstance(hello, Value):
        return hello
    from nodespec.host import cri  # noqa: PLC0415 - likewise

    return cri.fetch_status(machine, hello.value)


@_memoize
def _request_info(machine: Machine, name: str) -> Observation[object]:
    """Return the HTTP reply of Docker and CRI-O; do not ask if the CRI request failed."""
    socket, hello = _find_socket(machine, name), _request_version(machine, name)
    if isinstance(hello, Unknown):
        return hello
    if not isinstance(socket, Value):
        return socket
    from nodespec.host import cri, peer  # noqa: PLC0415 - likewise

    return peer.fetch_http(machine, socket.value, "/info").then(cri.parse_json)


def _get_info(info: object, key: str) -> object:
    from nodespec.host import cri  # noqa: PLC0415 - likewise

    return cri.get_nested(info, key)


def _read_api(machine: Machine, name: str) -> Observation[str]:
    return _request_version(machine, name).then(lambda hello: hello.api)


def _read_conditions(machine: Machine, name: str) -> Observation[FrozenSet[str]]:
    return _request_status(machine, name).then(lambda status: status.conditions)


def _read_features(machine: Machine, name: str) -> Observation[FrozenSet[str]]:
    return _request_status(machine, name).then(lambda status: status.features)


def _read_handlers(machine: Machine, name: str) -> Observation[FrozenSet[str]]:
    if name == "docker":
        return _request_info(machine, name).then(_parse_docker_handlers)
    status = _request_status(machine, name)
    if isinstance(status, Value) and not status.value.handlers:
        return Unknown("unsupported", f"{status.evidence} lists no handlers", f"upgrade {name}")
    return status.then(lambda status: status.handlers)


def _parse_docker_handlers(info: object) -> FrozenSet[str]:
    runtimes = _get_info(info, "Runtimes")
    if not isinstance(runtimes, dict):
        raise ValueError("no runtimes found")
    return frozenset(map(str, runtimes))


def _read_version(machine: Machine, name: str) -> Observation[str]:
    return select_first(read(machine, name) for read in (_read_reported_version, _read_printed_version))


def _read_reported_version(machine: Machine, name: str) -> Observation[str]:
    if name == "docker":
        return _request_info(machine, name).then(
            lambda info: _parse_version(_require_text(_get_info(info, "ServerVersion")))
        )
    hello = _request_version(machine, name)
    if name == "cri-dockerd" and isinstance(hello, Value):
        return Absent(hello.evidence)  # cri-dockerd reports the version of Docker, not its own.
    return hello.then(lambda hello: _parse_version(hello.version))


def _read_printed_version(machine: Machine, name: str) -> Observation[str]:
    path, program = _find_path(machine, name), RUNTIMES[name].program
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


def _request_column(machine: Machine, name: str, column: str) -> Observation[str]:
    """Return what a runtime answers by CRI: its `cgroup_driver` or its `snapshotter`."""
    hello = _request_version(machine, name)
    if not isinstance(hello, Value):
        return hello
    from nodespec.host import cri  # noqa: PLC0415 - likewise

    fetch = {"cgroup_driver": cri.fetch_cgroup_driver, "snapshotter": cri.fetch_snapshotter}[column]
    return fetch(machine, hello.value)


def _read_cgroup_driver(machine: Machine, name: str) -> Observation[str]:
    def read_sources() -> Iterator[Observation[str]]:
        yield _request_column(machine, name, "cgroup_driver")
        if name == "containerd":
            yield _request_status(machine, name).then(lambda status: _require_text(status.cgroup_driver))
        elif name in INFO_KEYS:
            yield _request_info(machine, name).then(lambda info: _require_text(_get_info(info, INFO_KEYS[name][0])))

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
    socket = _find_socket(machine, name)
    if isinstance(socket, Value) and socket.value != RUNTIMES[name].sockets[0]:
        return Unknown("unsupported", f"which files the {name} at {socket.value} reads is not known")
    from nodespec.checks import _runtime_settings  # noqa: PLC0415

    return _runtime_settings.read_setting(machine, name, column, _read_version(machine, name))


def _read_snapshotter(machine: Machine, name: str) -> Observation[str]:
    def read_sources() -> Iterator[Observation[str]]:
        if name in INFO_KEYS:
            yield _request_info(machine, name).then(lambda info: _require_text(_get_info(info, INFO_KEYS[name][1])))
        else:
            yield _request_column(machine, name, "snapshotter")
        yield _read_configured(machine, name, "snapshotter")

    if name not in CONFIGURED:
        return _runtime_catalog.report_no_images(name)
    return select_first(read_sources())


def _require_text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("the value is not set")
    return value
