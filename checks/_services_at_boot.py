"""Services: whether they are enabled, whether a boot starts them, what they read.

Files below /run do not count, because /run is empty when a machine boots. The result is therefore the same on a live
host and at rest. If memory is mounted on a directory of units, the files of the next boot are hidden.
"""

from __future__ import annotations

import re

from nodespec.checks import _init_system, _systemd_units
from nodespec.formats.mountinfo import list_reachable_mounts, parse_mounts
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Callable, Optional, Sequence

    from nodespec.host.tree import Tree

# The service that applies files at boot: unit of systemd, services of OpenRC, init script of System V.
READERS = {
    "sysctl": ("systemd-sysctl.service", ("sysctl",), "procps"),
    "modules": ("systemd-modules-load.service", ("modules",), "kmod"),
    "swap": ("swap.target", ("swap", "localmount"), "swap"),
}
GENERATED = ("mount", "automount", "swap", "target")  # types that exist without a file: by fstab, or in `stock`
MOUNTS = "/proc/1/mountinfo"
SYSV_FOLDERS = ("/etc/rcS.d", "/etc/rc.d/rcS.d", "/etc/rc2.d", "/etc/rc3.d", "/etc/rc5.d")
SOURCES = (
    *_init_system.SOURCES,
    *("*/systemd/system*", "/etc/machine-id", "/etc/fstab", "/etc/rc*", "/etc/init.d*", "/proc/cmdline", "generator*"),
    *("stock/*", "/etc/runlevels*", "/usr/local/etc/init.d*", "/etc/conf.d/*", "/system-update", "/etc/system-update"),
)


def is_enabled(tree: Tree, unit: str) -> Observation[bool]:
    """Return whether a systemd unit or the service of that name is enabled.

    Absent if neither exists.
    """
    return _ask_init_system(tree, unit, _is_enabled_by_systemd, _is_enabled_by_openrc)


def is_started_at_boot(tree: Tree, unit: str) -> Observation[bool]:
    """Return whether a boot starts a systemd unit or the service of that name.

    Absent if neither exists.
    """
    return _ask_init_system(tree, unit, _is_started_by_systemd, _is_started_by_openrc)


def _ask_init_system(
    tree: Tree,
    unit: str,
    systemd: Callable[[Tree, str], Observation[bool]],
    openrc: Callable[[Tree, str], Observation[bool]],
) -> Observation[bool]:
    volatile = _find_volatile_folder(tree) if tree.running else ""
    if volatile:
        return Unknown("hidden", f"{volatile} is in memory, and the next boot has other files there", "unmount it")
    system = _init_system.detect_init_system(tree)
    if isinstance(system, Absent):
        return Unknown("not found", f"no init system: {_init_system.INIT} not found")
    if isinstance(system, Unknown):
        return system
    if system.value == "systemd":
        return _confirm_missing_unit(tree, unit) or systemd(tree, unit)
    if system.value == "openrc":
        return openrc(tree, unit)
    return Unknown("unsupported", f"reading the services of {system.value} is not supported")


def _find_volatile_folder(tree: Tree) -> str:
    """Return the directory with units or configuration that is mounted from memory, unless the whole root is."""
    mounts = tree.text(MOUNTS).then(parse_mounts)
    if not isinstance(mounts, Value):
        return ""
    points = {mount.point for mount in list_reachable_mounts(mounts.value, "tmpfs", "ramfs")}
    folders = (*_systemd_units.UNITS, "/etc/runlevels", "/etc/init.d")
    below = (point for point in sorted(points) if any(f"{folder}/".startswith(f"{point}/") for folder in folders))
    return "" if "/" in points else next(below, "")


def _confirm_missing_unit(tree: Tree, unit: str) -> Optional[Absent]:
    """Return the absence of a unit without a file or init script.

    Most hosts lack most units, so this avoids loading the graph of all units.
    """
    prefix, _, kind = unit.rpartition(".")
    if kind in GENERATED or "@" in prefix:  # An instance has no file, but its template.
        return None
    files = (_systemd_units.find_unit_file(tree, unit), tree.entry(f"/etc/init.d/{prefix}"))
    missing = all(isinstance(file, Absent) for file in files)
    return Absent(Evidence(_systemd_units.UNIT_PATH), f"unit {unit} not found") if missing else None


def _is_enabled_by_systemd(tree: Tree, unit: str) -> Observation[bool]:
    from nodespec.checks import _systemd_at_boot  # noqa: PLC0415

    return _systemd_at_boot.is_enabled_after_presets(tree, unit)


def _is_started_by_systemd(tree: Tree, unit: str) -> Observation[bool]:
    from nodespec.checks import _systemd_at_boot  # noqa: PLC0415

    return _systemd_at_boot.is_unit_started(tree, unit)


def _is_enabled_by_openrc(tree: Tree, unit: str) -> Observation[bool]:
    from nodespec.checks import _openrc  # noqa: PLC0415

    return _openrc.is_service_enabled(tree, unit.partition(".")[0])


def _is_started_by_openrc(tree: Tree, unit: str) -> Observation[bool]:
    from nodespec.checks import _openrc  # noqa: PLC0415

    return _openrc.is_service_started(tree, unit.partition(".")[0])


def combine_any(observations: Sequence[Observation[bool]]) -> Observation[bool]:
    """Return whether any observation is true: a socket starts its service on demand."""
    values = [observation for observation in observations if isinstance(observation, Value)]
    unread = [observation for observation in observations if isinstance(observation, Unknown)]
    return next((observation for observation in values if observation.value), (*unread, *values, *observations)[0])


def is_applied_at_boot(tree: Tree, files: str) -> Observation[bool]:
    """Return whether a boot applies files of a kind: `sysctl`, `modules` or `swap`.

    Absent if the tree has no init system.
    """
    unit, services, script = READERS[files]
    system = _init_system.detect_init_system(tree)
    if not isinstance(system, Value):
        return system
    if system.value == "systemd":
        started = _is_started_by_systemd(tree, unit)
        return Value(value=False, evidence=started.evidence) if isinstance(started, Absent) else started
    if system.value == "openrc":
        return _is_applied_by_openrc(tree, services)
    linked = _find_sysv_link(tree, script) if system.value == "sysvinit" else ""
    if linked:
        return Value(value=True, evidence=Evidence(linked))
    return Unknown("unsupported", f"which files {system.value} applies at boot is not known")


def _is_applied_by_openrc(tree: Tree, services: Sequence[str]) -> Observation[bool]:
    """Return whether a boot starts the first of these services that is installed."""
    for service in services:
        started = _is_started_by_openrc(tree, service)
        if not isinstance(started, Absent):
            return started
    return Value(value=False, evidence=Evidence("/etc/runlevels"))


def _find_sysv_link(tree: Tree, script: str) -> str:
    """Return the link that starts a script in a System V runlevel.

    Example: /etc/rcS.d/S05procps.
    """
    for folder in SYSV_FOLDERS:
        names = tree.names(folder)
        for name in names.value if isinstance(names, Value) else ():
            if re.fullmatch(rf"S\d\d{re.escape(script)}(\.sh)?", name):
                return f"{folder}/{name}"
    return ""


def explain_no_init(what: str) -> Unknown:
    """Return the result for a tree that does not boot."""
    return Unknown(DEFERRED, f"nothing in this tree would {what}: {_init_system.INIT} not found")
