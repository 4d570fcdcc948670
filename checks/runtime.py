"""Container runtimes: which are installed, which answer, and what they report.

Requests go to the socket that the kubelet uses: `Version`, `Status`, `RuntimeConfig` and `ImageFsInfo` of the CRI, and
`GET /info` of Docker and CRI-O. If nothing answers, `--version` of the program and the configuration files are used.
"""

from __future__ import annotations

from functools import partial

from nodespec.checks import _runtime_catalog, _services_at_boot
from nodespec.checks._kernel_release import PACKAGED
from nodespec.checks._runtime_catalog import ALIASES, CONFIGURATION, CONTAINERD, CRIO, DOCKER, RUNTIMES
from nodespec.errors import suggest_name
from nodespec.facts.declaration import Columns, Row, Rows, table
from nodespec.facts.value_numbers import Version
from nodespec.facts.value_types import Datum, Flag, FreeText, Kind, OneOf, SetOf
from nodespec.facts.versions import RELEASE
from nodespec.host.machine import Machine
from nodespec.host.tree import PROGRAMS, Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Value, select_first

if TYPE_CHECKING:
    from typing import Callable, Dict, Mapping

PROGRAM_SOURCES = (f"{':'.join(PROGRAMS)}*", *(f"*/{runtime.program}" for runtime in RUNTIMES.values()))
FILES = (*CONFIGURATION, *_services_at_boot.SOURCES)
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
    "runtime_config": Flag(),
    "default_handler": FreeText(),
    "handler_features": SetOf(FreeText()),
    "sandbox_image": FreeText(),
    "registry_config_path": FreeText(),
    "cdi": Flag(),
    "cni_conf_dir": FreeText(),
    "cni_bin_dirs": SetOf(FreeText()),
    "root": FreeText(),
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
    - `runtime_config`: whether it answers `RuntimeConfig` of the CRI, with which the kubelet gets its cgroup driver.
    - `default_handler`: the handler of pods without a RuntimeClass, such as runc or nvidia.
    - `handler_features`: the features of each handler as `HANDLER/FEATURE`, such as runc/user_namespaces.
    - `sandbox_image`: the pause image. `registry_config_path`: the directories of hosts.toml; absent if not set.
    - `cdi`: whether devices of the Container Device Interface can be requested.
    - `cni_conf_dir`, `cni_bin_dirs`: the directories of network configurations and plugins.
    - `root`: the directory of its images and snapshots; `mounts` has the file system below it.

    The last six are read from the configuration files of containerd; other runtimes leave most of them unknown.

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
        "path": _runtime_catalog.find_path,
        "enabled": _runtime_catalog.is_runtime_enabled,
        "starts_at_boot": _runtime_catalog.is_runtime_started_at_boot,
        "running": _is_running,
        "socket": _runtime_catalog.find_socket,
    }
    there = select_first(probe(machine, name) for probe in (probes["path"], probes["socket"]))
    if isinstance(there, Absent):
        return there._replace(say=f"{name} is not installed")
    looks = {column: partial(probes.get(column) or partial(_ask, column), machine, name) for column in COLUMNS}
    return there.then(lambda _: Columns(**looks))


def _ask(column: str, machine: Machine, name: str) -> Observation[Datum]:
    if column in _runtime_catalog.MORE_COLUMNS:
        from nodespec.checks import _runtime_more_answers  # noqa: PLC0415 - few checks need these columns

        return _runtime_more_answers.PROBES[column](machine, name)
    from nodespec.checks import _runtime_answers  # noqa: PLC0415 - only needed for a runtime that is installed

    return _runtime_answers.PROBES[column](machine, name)


def _is_running(machine: Machine, name: str) -> Observation[bool]:
    socket = _runtime_catalog.find_socket(machine, name)
    if isinstance(socket, Absent) and RUNTIMES[name].sockets:
        return Value(value=False, evidence=socket.evidence)
    return socket.then(lambda _: True)
