"""Kernel modules: what of the kernel's code is in it, or can be brought into it."""

from __future__ import annotations

import re
from typing import Dict, Iterator, Mapping, Optional, Tuple, Union

from nodespec.checks import _configuration, _kernel, _modprobe, kernel
from nodespec.facts import Rows, table
from nodespec.kinds import Choice
from nodespec.machine import Machine
from nodespec.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value
from nodespec.tree import Tree

SYSFS, DISABLED = "/sys/module", "/proc/sys/kernel/modules_disabled"


def _key(name: str) -> str:
    if not re.fullmatch(r"[\w+.-]{1,64}", name, re.ASCII):
        raise ValueError(f"`{name}` is not the name of a module: letters, digits, _ and -")
    return _kernel.named(name)


@table(
    Choice("blocked", "loadable", "builtin", "loaded", ranked=True, usable=("loaded", "builtin", "loadable")),
    sources=(
        _kernel.LOADED,
        f"{SYSFS}/*",
        *(f"{tree}/*" for tree in _kernel.TREES),
        *_modprobe.SOURCES,
        DISABLED,
        kernel.CMDLINE,
        *_configuration.FILES,
        *_kernel.SHOWN,
    ),
    noun="module",
    key=_key,
    closed=True,
    fix="modprobe {key}, and name it in /etc/modules-load.d for the next boot; where there is no such module, install"
    " the kernel's modules or boot a kernel that has it",
)
def modules(machine: Machine) -> Rows[str]:
    """Each module: loaded, builtin, loadable or blocked; `usable` is any of the first three. `-` and `_` are one.

    loaded is what /proc/modules lists, builtin what modules.builtin of the running release does (/lib/modules/RELEASE),
    loadable what modules.dep does; before depmod ran, what modules.order does and is there. A module of neither list is
    absent: the kernel was built without it, or its package is not installed.

    blocked is what is there and may not be loaded: modprobe.d has `install NAME /bin/false` (or true), the command line
    has module_blacklist=NAME, or kernel.modules_disabled is 1; and so is what needs a module that is blocked.
    `blacklist NAME` in modprobe.d blocks nothing: it stops only that the module comes by itself, by an alias or at boot
    from modules-load.d; `modprobe NAME` still loads it.

    Without a module tree only what is in the kernel can be seen: by /sys/module, which shows built-in code that has
    parameters, and by the kernel's configuration. The rest is unknown, except on a kernel that loads no modules, where
    what the configuration leaves out is absent.

    At rest they are those of the kernel that the next boot starts, and loaded are those that files have it load, with
    what these need: modules-load.d, /etc/modules where that is read, the command line (modules_load=), and what systemd
    wants itself. What udev finds for devices, and programs load as they go, is loadable. Sysctl files count for
    kernel.modules_disabled.
    """
    return _rows(machine)


@modules.at_rest(
    *(f"{tree}/*" for tree in _kernel.TREES),
    *_modprobe.SOURCES,
    *_kernel.LINE,
    *_configuration.FILES,
    *("*/modules-load.d*", "/etc/modules", "/etc/conf.d/modules", "*/systemd/system*", "/sbin/init", "*/sysctl.*"),
)
def _at_rest(tree: Tree) -> Rows[str]:
    return _rows(tree)


def _rows(tree: Tree) -> Rows[str]:
    return Rows(lambda name: _row(tree, name), lambda: _every(tree), _rest(tree))


def state(tree: Tree, name: str) -> Observation[str]:
    """The state of one module, for the families that need one."""
    return _row(tree, name) or _rest(tree)


def _loaded(machine: Tree) -> Observation[Mapping[str, Evidence]]:
    """The modules that are loaded, or that boot loads."""
    if isinstance(machine, Machine):
        rows = machine.once(_kernel.loaded)
        return rows.then(lambda rows: {name: Evidence(_kernel.LOADED, row.line) for name, row in rows.items()})
    from nodespec.checks import _loads  # noqa: PLC0415 - not for a machine that runs

    return _loads.loaded(machine)


def _row(machine: Tree, name: str) -> Optional[Observation[str]]:
    loaded, builtin = machine.once(_loaded), machine.once(_kernel.builtin)
    if isinstance(loaded, Value) and name in loaded.value:
        return Value("loaded", loaded.value[name])
    if isinstance(builtin, Value) and name in builtin.value:
        return Value("builtin", builtin.evidence._replace(line=builtin.value[name]))
    if not isinstance(loaded, Value) or not isinstance(builtin, Value):
        shown = _in_sysfs(machine, name) or _configured(machine, name)
        if shown:
            return shown
    if isinstance(loaded, Unknown) and not machine.running:
        return loaded
    state = _loadable(machine, name) or _in_sysfs(machine, name)
    if isinstance(state, Value) and isinstance(loaded, Unknown) and state.value in ("loadable", "blocked"):
        return Value(state.value, state.evidence, ("loaded",))  # where /proc/modules is masked, it may be loaded
    return state


def _in_sysfs(machine: Tree, name: str) -> Optional[Value[str]]:
    """What is loaded has a state there; what is built in stands there if it has parameters."""
    folder = f"{SYSFS}/{name}"
    if not machine.running or not isinstance(machine.entry(folder), Value):
        return None
    state = machine.entry(f"{folder}/initstate")
    if isinstance(state, Unknown):
        return None
    return Value("loaded" if isinstance(state, Value) else "builtin", Evidence(folder, inferred=True))


def _configured(machine: Tree, name: str) -> Optional[Observation[str]]:
    """What the kernel's configuration says, where its lists of modules do not."""
    from nodespec.checks import _inference  # noqa: PLC0415 - for machines that show no modules

    option = _inference.option_of(name)
    if not option:
        return None
    resting = kernel.config.resting
    config = kernel.config.probe(machine) if isinstance(machine, Machine) else resting(machine) if resting else None
    built = config.look(option) if config else None
    if not isinstance(built, Value):
        return None
    at, say = built.evidence._replace(inferred=True), f"built without {option}"
    if built.value == "y" and not built.others:
        return Value("builtin", at)
    may_be_built = {"y", "m"} & {str(built.value), *map(str, built.others)}
    none = isinstance(machine.once(_loaded), Absent) and not may_be_built
    return Absent(at, say) if none else None


def _loadable(machine: Tree, name: str) -> Optional[Observation[str]]:
    """What the tree has, unless something keeps it from being loaded."""
    installed, built = machine.once(_kernel.installed), machine.once(_kernel.built)
    there: Optional[Value[str]] = None
    if isinstance(installed, Value) and name in installed.value:
        there = Value("loadable", installed.evidence._replace(line=installed.value[name]))
    elif isinstance(built, Value) and name in built.value:
        at = built.evidence._replace(line=built.value[name])
        if isinstance(installed, Value) or not _has_file(machine, at):
            return Absent(at, "this kernel's build has it, and it is not installed")
        there = Value("loadable", at)
    if not there:
        return None
    if isinstance(machine.once(_loaded), Absent):
        return Absent(Evidence(_kernel.LOADED), "this kernel loads no modules")
    return _allowed(machine, name, there)


def _has_file(machine: Tree, at: Evidence) -> bool:
    """Whether the file that a line of modules.order names is there, packed or not."""
    text, folder = machine.text(at.source), at.source.rpartition("/")[0]
    path = text.value.split("\n")[at.line - 1].strip() if isinstance(text, Value) else ""
    stem = path.rpartition(".")[0]
    return any(isinstance(machine.entry(f"{folder}/{stem}.ko{packed}"), Value) for packed in ("", ".xz", ".zst", ".gz"))


def _allowed(machine: Tree, name: str, there: Value[str]) -> Observation[str]:
    for one in (name, *_needs(machine, name, there)):
        held = _held(machine, one)
        if held:
            return held if isinstance(held, Unknown) else Value("blocked", held)
    return machine.once(_bans)[1] or there


def _held(machine: Tree, name: str) -> Union[Evidence, Unknown, None]:
    """What keeps a module from being loaded."""
    bans, command = machine.once(_bans)[0], _modprobe.install(machine, name)
    ban = bans.get("") or bans.get(name)
    if ban:
        return ban
    return command if isinstance(command, Unknown) else command.evidence if command and command.blocks else None


def _needs(machine: Tree, name: str, there: Value[str]) -> Iterator[str]:
    """The modules that are loaded before it, where anything is blocked at all and they are not in the kernel yet."""
    said = _modprobe.commands(machine)
    blocking = not isinstance(said, Unknown) and any(command.blocks for command in said)
    if not blocking and not machine.once(_bans)[0]:
        return
    loaded, needs = machine.once(_loaded), machine.once(_kernel.needs).get(name, ())
    for need in needs if there.evidence.source.endswith("modules.dep") else ():
        if not isinstance(loaded, Value) or need not in loaded.value:
            yield need


def _every(machine: Tree) -> Mapping[str, Observation[str]]:
    lists = (machine.once(_loaded), machine.once(_kernel.builtin), machine.once(_kernel.installed))
    names = {name for found in lists if isinstance(found, Value) for name in found.value}
    built, shown = machine.once(_kernel.built), machine.names(SYSFS) if machine.running else None
    if isinstance(built, Value) and not isinstance(lists[2], Value):
        names |= set(built.value)
    if isinstance(shown, Value):
        names |= set(shown.value)
    rows = {name: _row(machine, name) for name in sorted(names)}
    return {name: row for name, row in rows.items() if row and not isinstance(row, Absent)}


def _rest(machine: Tree) -> Union[Absent, Unknown]:
    """What any other name is: absent only if the lists of this kernel were looked through."""
    tree = machine.once(_kernel.tree)
    if isinstance(tree, Absent):
        look = "install the kernel's modules, or build them in"
        return Unknown("not found", f"{tree.evidence} does not exist", look)
    if isinstance(tree, Unknown):
        return tree
    loaded = machine.once(_loaded)
    if machine.running and isinstance(loaded, Unknown):
        return loaded
    lacking = machine.once(_kernel.builtin), machine.once(_kernel.installed), machine.once(_kernel.built)
    unread = next((look for look in lacking if isinstance(look, Unknown)), None)
    if unread:
        return unread
    if isinstance(lacking[0], Value) and any(isinstance(look, Value) for look in lacking[1:]):
        return Absent(tree.evidence)
    return Unknown("not found", f"{tree.value} lists no modules", "run depmod, or install the kernel's modules again")


def _bans(machine: Tree) -> Tuple[Mapping[str, Evidence], Optional[Unknown]]:
    """Modules that the kernel itself refuses, the empty name is all of them; and why there may be more."""
    if not machine.running:
        return _bans_at_rest(machine)
    bans: Dict[str, Evidence] = {}
    disabled, line = machine.line(DISABLED), machine.line(kernel.CMDLINE)
    if isinstance(disabled, Value) and disabled.value == "1":
        bans[""] = disabled.evidence
    for key, names in _kernel.parameters(line.value) if isinstance(line, Value) else ():
        if key == "module_blacklist":
            bans.update({_kernel.named(name): Evidence(kernel.CMDLINE) for name in names.split(",") if name})
    return bans, next((look for look in (disabled, line) if isinstance(look, Unknown)), None)


def _bans_at_rest(tree: Tree) -> Tuple[Mapping[str, Evidence], Optional[Unknown]]:
    from nodespec.checks import _loads, _sysctl_files  # noqa: PLC0415 - as above

    assigned = _sysctl_files.assigned(tree)
    disabled = assigned.value.look("kernel.modules_disabled") if isinstance(assigned, Value) else None
    everything = {"": disabled.evidence} if disabled and disabled.value == "1" else {}
    unread = assigned if isinstance(assigned, Unknown) and assigned.reason != DEFERRED else None
    return {**_loads.banned(tree), **everything}, unread
