"""Columns of a container runtime that few checks need: by its answers, else by its files."""

from __future__ import annotations

from functools import partial

from nodespec.checks import _runtime_catalog, _runtime_containerd_more
from nodespec.checks._runtime_answers import (
    get_info,
    read_version,
    request_cgroup_driver,
    request_info,
    request_status,
    require_text,
)
from nodespec.checks._runtime_catalog import CONFIGURED, FILE_COLUMNS, RUNTIMES, find_socket
from nodespec.host.machine import Machine
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Observation, Unknown, Value, select_first

if TYPE_CHECKING:
    from typing import Callable, FrozenSet, Iterator, Mapping

    from nodespec.facts.value_types import Datum


def _answers_runtime_config(machine: Machine, name: str) -> Observation[bool]:
    """Return whether the runtime answers RuntimeConfig; false if it does not implement the method."""
    driver = request_cgroup_driver(machine, name)
    if isinstance(driver, Unknown) and driver.reason == "unsupported":
        return Value(value=False, evidence=Evidence(driver.say.partition(": ")[0]))
    return driver.then(lambda _: True)


def _read_handler_features(machine: Machine, name: str) -> Observation[FrozenSet[str]]:
    status = request_status(machine, name)
    if isinstance(status, Value) and not status.value.lists_features:
        return Unknown("unsupported", f"{status.evidence} lists no features of handlers", f"upgrade {name}")
    return status.then(lambda status: status.handler_features)


def _read_default_handler(machine: Machine, name: str) -> Observation[str]:
    def read_sources() -> Iterator[Observation[str]]:
        if name == "docker":
            yield request_info(machine, name).then(lambda info: require_text(get_info(info, "DefaultRuntime")))
        elif name == "containerd":
            yield request_status(machine, name).then(lambda status: require_text(status.default_handler))
        yield _read_setting("default_handler", machine, name).then(str)

    return select_first(read_sources()) if name in CONFIGURED else _runtime_catalog.report_no_images(name)


def _read_setting(column: str, machine: Machine, name: str) -> Observation[Datum]:
    """Return a setting that only files have."""
    where = find_socket(machine, name)
    if isinstance(where, Value) and where.value != RUNTIMES[name].sockets[0]:
        return Unknown("unsupported", f"which files the {name} at {where.value} reads is not known")
    return _runtime_containerd_more.read_setting(machine, name, column, lambda: read_version(machine, name))


PROBES: Mapping[str, Callable[[Machine, str], Observation[Datum]]] = {
    "runtime_config": _answers_runtime_config,
    "default_handler": _read_default_handler,
    "handler_features": _read_handler_features,
    **{column: partial(_read_setting, column) for column in FILE_COLUMNS},
}
