"""Sources of units besides unit files, and the transactions of a boot.

The sources are the kernel command line, generators, presets of a first boot, and systemd's own units.
"""

from __future__ import annotations

import re

from nodespec.checks import _systemd_graph, _systemd_switches, _systemd_units
from nodespec.checks._systemd_files import EARLY, LATE, NORMAL, Link, Units
from nodespec.checks._systemd_names import is_unit_name
from nodespec.checks._systemd_syntax import is_no, is_yes
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Mapping, Optional, Tuple

    from nodespec.host.tree import Tree

DEFAULT_TARGET = "default.target"
MACHINE_ID, FSTAB = "/etc/machine-id", "/etc/fstab"
RC_LOCAL = ("/etc/rc.local", "/etc/rc.d/rc.local")
UPDATE_LINKS = ("/system-update", "/etc/system-update")  # With one of these links a boot only installs updates.
RUNLEVELS = {
    "rescue": "rescue.target",
    "single": "rescue.target",
    "s": "rescue.target",
    "S": "rescue.target",
    "1": "rescue.target",
    "emergency": "emergency.target",
    "-b": "emergency.target",
    "2": "multi-user.target",
    "3": "multi-user.target",
    "4": "multi-user.target",
    "5": "graphical.target",
}
# Units of systemd itself, for trees without them; `stock/` is the last directory of the search path.
STOCK: Mapping[str, object] = {
    "default.target": Link("graphical.target"),
    "graphical.target": "[Unit]\nRequires=multi-user.target\nWants=display-manager.service\n",
    "multi-user.target": "[Unit]\nRequires=basic.target\nWants=getty.target remote-fs.target\n",
    "basic.target": "[Unit]\nRequires=sysinit.target\nWants=sockets.target timers.target paths.target slices.target\n",
    "sysinit.target": "[Unit]\nWants=local-fs.target swap.target\n"
    "Wants=systemd-sysctl.service systemd-modules-load.service\n",
    "rescue.target": "[Unit]\nRequires=sysinit.target\n",
    "emergency.target": "[Unit]\nDescription=Emergency\n",
    **dict.fromkeys(
        (
            f"{name}.target"
            for name in ("sockets", "timers", "paths", "slices", "getty", "remote-fs", "local-fs", "swap")
        ),
        "[Unit]\nDescription=Stock\n",
    ),
    **dict.fromkeys(("network.target", "network-online.target"), "[Unit]\nDescription=Network\n"),
    "dbus.socket": "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/dbus/system_bus_socket\n",
    **dict.fromkeys(
        ("systemd-sysctl.service", "systemd-modules-load.service", "modprobe@.service"),
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/true\n",
    ),
}


def is_unit_started(tree: Tree, name: str) -> Observation[bool]:
    """Return whether a boot of systemd starts a unit; absent if it does not exist."""
    from nodespec.checks import _boot_cmdline  # noqa: PLC0415

    unknown = _boot_cmdline.find_open_parameter(tree, *SWITCHES, *(name.replace("-", "_") for name in RUNLEVELS))
    return unknown or combine_presets(
        tree, name, [transaction.starts(name) for transaction in tree.once(_build_transactions)]
    )


def is_enabled_after_presets(tree: Tree, name: str) -> Observation[bool]:
    """Return whether a unit is enabled after the presets of a first boot; absent if it does not exist."""
    from nodespec.checks import _boot_cmdline, _systemd_install  # noqa: PLC0415

    unknown = _boot_cmdline.find_open_parameter(tree, "systemd.mask", "systemd.condition_first_boot")
    return unknown or combine_presets(
        tree, name, [_systemd_install.is_unit_enabled(units, name) for units in load_unit_files(tree)]
    )


def combine_presets(tree: Tree, name: str, seen: List[Observation[bool]]) -> Observation[bool]:
    """Return what is observed of a unit if it is the same for all possible presets, else why it is unknown."""
    first = seen[0]
    if all(isinstance(one, Value) and isinstance(first, Value) and one.value == first.value for one in seen):
        return first
    if all(isinstance(one, Absent) for one in seen):
        return first
    unread = next((one for one in seen if isinstance(one, Unknown)), None)
    return unread or _explain_unread_presets(tree) or Unknown("unsupported", PRESETS_DIFFER.format(name))


def list_started_units(tree: Tree) -> Mapping[str, Evidence]:
    """Return the units that a boot certainly starts, each with what pulls it in."""
    first, *others = build_transactions(tree)
    names = first.certain.intersection(*(other.certain for other in others))
    return {name: first.pulled.get(name, Evidence(DEFAULT_TARGET)) for name in sorted(names)}


SWITCHES = ("systemd.mask", "systemd.wants", "systemd.unit", "systemd.condition_first_boot", "init")
PRESETS_DIFFER = "whether a first boot presets {} depends on the version of systemd and on how it was built"


def build_transactions(tree: Tree) -> Tuple[_systemd_graph.Transaction, ...]:
    """Return the possible transactions: several if systemd's build options decide."""
    return tree.once(_build_transactions)


def load_unit_files(tree: Tree) -> Tuple[Units, ...]:
    """Return the unit files after the presets of a first boot.

    There are two results if systemd's build options decide.
    """
    return tree.once(_load_unit_files)


def _build_transactions(tree: Tree) -> Tuple[_systemd_graph.Transaction, ...]:
    return tuple(_systemd_graph.Transaction(units, resolve_default_unit(tree)) for units in load_unit_files(tree))


def _load_unit_files(tree: Tree) -> Tuple[Units, ...]:
    added = dict(_generate_units(tree))
    units = Units(tree, added)
    if "sysinit.target" not in units.ids:
        added.update((f"stock/{name}", entry) for name, entry in STOCK.items())
        units = Units(tree, added)
    first_boot = _is_first_boot(tree)
    if isinstance(first_boot, Value) and not first_boot.value:
        return (units,)
    from nodespec.checks import _systemd_install  # noqa: PLC0415

    made: List[Units] = []
    for mode in _systemd_install.detect_preset_modes(tree):
        for rules in _systemd_install.list_possible_rules(tree):
            links, removed = _systemd_install.apply_presets(rules, units, full=mode)
            made.append(Units(tree, {**added, **links}, removed))
    if isinstance(first_boot, Unknown) or units.malformed or units.has_broken_name():
        made.append(units)  # With such a file or link, systemd 252 stops and applies no presets.
    return tuple(made)


def _is_first_boot(tree: Tree) -> Observation[bool]:
    """Return whether the next boot is a first boot.

    /etc/machine-id is missing, not a regular file or `uninitialized`, unless the command line overrides it.
    """
    override = _systemd_switches.read_switch(tree, "systemd.condition_first_boot")
    if is_no(override) or is_yes(override):
        return Value(is_yes(override), Evidence(_systemd_switches.CMDLINE))
    identity = tree.line(MACHINE_ID)
    entry = tree.entry(MACHINE_ID)
    if isinstance(identity, Absent) or (isinstance(entry, Value) and entry.value.kind != "file"):
        return Value(value=True, evidence=Evidence(MACHINE_ID))
    return identity.then(lambda text: text == "uninitialized")


def _explain_unread_presets(tree: Tree) -> Optional[Unknown]:
    """Return why it is unknown whether a first boot follows, or what its presets are."""
    from nodespec.checks import _systemd_install  # noqa: PLC0415

    for seen in (_is_first_boot(tree), _systemd_install.read_preset_rules(tree)):
        if isinstance(seen, Unknown):
            return seen
    return None


def resolve_default_unit(tree: Tree) -> str:
    """Return the unit that a boot starts.

    It is default.target, unless the command line names another.
    """
    unit = DEFAULT_TARGET
    for path in UPDATE_LINKS:
        if isinstance(tree.entry(path, follow=False), Value):
            unit = "system-update.target"
    for key, value, _ in _systemd_switches.read_boot_parameters(tree):
        if key == "systemd.unit" and is_unit_name(value):
            unit = value
        elif not value and key.replace("_", "-") in RUNLEVELS:
            unit = RUNLEVELS[key.replace("_", "-")]
    return unit


def _generate_units(tree: Tree) -> Iterator[Tuple[str, object]]:
    """Yield what the generators of systemd write."""
    default = resolve_default_unit(tree)
    for key, value, at in _systemd_switches.read_boot_parameters(tree):
        name = value if is_unit_name(value) else f"{value}.service"
        if key == "systemd.mask" and value:
            yield f"{EARLY}/{name}", Link("/dev/null", at)
        elif key == "systemd.wants" and value:
            yield f"{EARLY}/{default}.wants/{name}", Link(f"/usr/lib/systemd/system/{name}", at)
    table = tree.text(FSTAB, _systemd_units.MAX_TEXT_BYTES)
    if isinstance(table, Value) and any(_systemd_units.list_content_lines(table.value)):
        from nodespec.checks import _swap_fstab  # noqa: PLC0415

        yield from _swap_fstab.generate_fstab_units(tree)
    if _systemd_switches.has_generator(tree, "zram-generator"):
        from nodespec.checks import _swap_zram  # noqa: PLC0415

        yield from _swap_zram.generate_zram_units(tree)
    yield from _generate_rc_local(tree)
    yield from _generate_initscripts(tree)


def _generate_rc_local(tree: Tree) -> Iterator[Tuple[str, object]]:
    """Yield `rc.local`, which systemd-rc-local-generator starts if it is executable."""
    for path in RC_LOCAL:
        entry = tree.entry(path)
        if isinstance(entry, Value) and entry.value.kind == "file" and entry.value.mode & 0o111:
            yield (
                f"{NORMAL}/multi-user.target.wants/rc-local.service",
                Link("/usr/lib/systemd/system/rc-local.service", entry.evidence),
            )


SCRIPTS = "/etc/init.d"
LEVELS = {"2": "multi-user.target", "3": "multi-user.target", "4": "multi-user.target", "5": "graphical.target"}


def _generate_initscripts(tree: Tree) -> Iterator[Tuple[str, object]]:
    """Yield scripts of /etc/init.d without a unit of their own.

    systemd-sysv-generator starts them by the links of rcN.d.
    """
    scripts = tree.names(SCRIPTS)
    names = [name for name in scripts.value if is_unit_name(f"{name}.service")] if isinstance(scripts, Value) else []
    if not names or not _systemd_switches.has_generator(tree, "systemd-sysv-generator"):
        return
    started: Dict[str, List[str]] = {}
    for level, target in LEVELS.items():
        links = tree.names(f"/etc/rc{level}.d")
        for link in links.value if isinstance(links, Value) else ():
            match = re.fullmatch(r"S\d\d(.+)", link)
            if match:
                started.setdefault(match[1], []).append(target)
    for name in names:
        entry = tree.entry(f"{SCRIPTS}/{name}")
        if isinstance(entry, Value) and entry.value.kind == "file" and entry.value.mode & 0o111:
            yield f"{LATE}/{name}.service", f"[Service]\nType=forking\nExecStart={SCRIPTS}/{name} start\n"
            for target in dict.fromkeys(started.get(name, ())):
                yield f"{LATE}/{target}.wants/{name}.service", Link(f"../{name}.service", entry.evidence)
