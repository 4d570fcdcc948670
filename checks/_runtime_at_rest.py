"""Container runtimes of a tree that does not run."""

from __future__ import annotations

from functools import partial

from nodespec.checks import _runtime_catalog, _runtime_config
from nodespec.checks._runtime_catalog import CONFIGURED, FILE_COLUMNS, RUNTIMES, find_path
from nodespec.checks._runtime_config import read_containerd_settings
from nodespec.facts.declaration import Columns, Row, Rows
from nodespec.facts.value_types import Datum
from nodespec.host.tree import PROGRAMS, Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Callable, Dict, Iterable, Mapping

RUNNING_ONLY = Unknown(DEFERRED, "only a running machine can tell")


def read_rows(tree: Tree, columns: Iterable[str]) -> Rows[Row]:
    """Return the installed runtimes with these columns."""

    def find_row(name: str) -> Observation[Row]:
        there = find_path(tree, name)
        if isinstance(there, Absent):
            return there._replace(say=f"{name} is not installed")
        return there.then(
            lambda _: Columns(**{column: partial(_resolve_column, tree, name, column) for column in columns})
        )

    def every() -> Dict[str, Observation[Row]]:
        rows = {name: find_row(name) for name in RUNTIMES}
        return {name: row for name, row in rows.items() if not isinstance(row, Absent)}

    return Rows(find_row, every, Absent(Evidence(":".join(PROGRAMS))))


def _resolve_column(tree: Tree, name: str, column: str) -> Observation[Datum]:
    probes: Mapping[str, Callable[[Tree, str], Observation[Datum]]] = {
        "version": _runtime_catalog.read_packaged_version,
        "path": find_path,
        "enabled": _runtime_catalog.is_runtime_enabled,
        "starts_at_boot": _runtime_catalog.is_runtime_started_at_boot,
        "api": _resolve_api,
    }
    if column in probes and (column != "api" or RUNTIMES[name].units):
        return probes[column](tree, name)
    if column in ("cgroup_driver", "snapshotter") and name in CONFIGURED:
        return _runtime_config.read_setting(tree, name, column, _runtime_catalog.read_packaged_version(tree, name))
    if column == "snapshotter":
        return _runtime_catalog.report_no_images(name)
    if column in (*FILE_COLUMNS, "default_handler"):
        from nodespec.checks import _runtime_containerd_more  # noqa: PLC0415

        return _runtime_containerd_more.read_setting(
            tree, name, column, lambda: _runtime_catalog.read_packaged_version(tree, name)
        )
    return RUNNING_ONLY if RUNTIMES[name].units else _runtime_catalog.report_no_service(name)


def _resolve_api(tree: Tree, name: str) -> Observation[str]:
    """Return that the API is absent if the configuration disables it.

    Otherwise the result is deferred.
    """
    if name == "docker":
        return Absent(Evidence(":".join(PROGRAMS)), RUNTIMES[name].silent)
    if name == "containerd":
        settings = read_containerd_settings(tree, _runtime_catalog.read_packaged_version(tree, name))
        disabled = settings.value.disabled if isinstance(settings, Value) else settings
        if isinstance(disabled, Value) and disabled.value:
            return Absent(
                disabled.evidence, "the cri plugin of containerd is disabled; remove it from disabled_plugins"
            )
    return RUNNING_ONLY
