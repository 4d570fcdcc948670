"""Kernel modules: what of the kernel's code is in it, or can be brought into it."""

from __future__ import annotations

import re
from typing import Mapping, Optional, Set, Tuple, TypeVar, Union

from nodespec.checks import _kernel_config as _configuration
from nodespec.checks import _kernel_version as _kernel
from nodespec.checks import kernel
from nodespec.facts.declaration import Rows, table
from nodespec.facts.value_types import Choice
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

T = TypeVar("T")
SYSFS, DISABLED = "/sys/module", "/proc/sys/kernel/modules_disabled"
NOT_LOADED = ("loadable", "blacklisted", "blocked")
LOADER = "/proc/sys/kernel/modprobe"


def _key(name: str) -> str:
    if not re.fullmatch(r"[\w+.-]{1,64}", name, re.ASCII):
        raise ValueError(f"`{name}` is not the name of a module: letters, digits, _ and -")
    return _kernel.named(name)


@table(
    Choice(
        *("blocked", "blacklisted", "loadable", "builtin", "loaded"),
        ranked=True,
        usable=("loaded", "builtin", "loadable", "blacklisted"),
    ),
    sources=(
        _kernel.LOADED,
        f"{SYSFS}/*",
        *(f"{tree}/*" for tree in _kernel.TREES),
        *_kernel.MODPROBE,
        DISABLED,
        LOADER,
        "*/modprobe",
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
    """Each module: loaded, builtin, loadable, blacklisted or blocked; `usable` is any but blocked. `-` and `_` are one.

    loaded is what /proc/modules lists, builtin what modules.builtin of the running release does (/lib/modules/RELEASE),
    loadable what modules.dep does and `modprobe NAME` would load. A module of no list is absent: the kernel was built
    without it, or its package is not installed. Where modules.dep is missing, empty or truncated, modprobe finds
    nothing; what modules.order lists and is there is unknown until depmod has run.

    blacklisted is what is loaded by its name only, and does not come by itself, by an alias or at boot from
    modules-load.d: `blacklist NAME` in modprobe.d, or modprobe.blacklist=NAME on the command line. To require that a
    module does not come by itself: `nouveau: [absent, blocked, blacklisted]`.

    blocked is what is there and is not loaded: modprobe.d has an `install NAME` command that loads nothing, such as
    /bin/false, or an alias that leads from the name to another module (`alias NAME off`); the command line has
    module_blacklist=NAME; kernel.modules_disabled is 1; and what needs a module that is blocked. Without the program
    that kernel.modprobe names (/sbin/modprobe) nothing is loaded on demand, and all that is not in the kernel yet is
    blocked. An install command that is not understood makes its module unknown.

    Without a module tree only what is in the kernel can be seen: by /sys/module, which shows built-in code that has
    parameters, and by the kernel's configuration. The rest is unknown, except on a kernel that loads no modules, where
    what the configuration leaves out is absent.

    At rest they are those of the kernel that the next boot starts, and loaded are those that files have it load, with
    what these need: modules-load.d, /etc/modules where that is read, the command line (modules_load=), and what systemd
    wants itself. To systemd a line of modules-load.d is one name, so that `br_netfilter # for pods` loads nothing. What
    udev finds for devices, and programs load as they go, is loadable. Sysctl files count for kernel.modules_disabled.
    """
    return _rows(machine)


@modules.at_rest(
    *(f"{tree}/*" for tree in _kernel.TREES),
    *_kernel.MODPROBE,
    *_kernel.LINE,
    *_configuration.FILES,
    *("*/modules-load.d*", "/etc/modules", "/etc/conf.d/modules", "*/systemd/system*", "/sbin/init", "*/sysctl.*"),
    "*/modprobe",
)
def _at_rest(tree: Tree) -> Rows[str]:
    return _rows(tree)


def _rows(tree: Tree) -> Rows[str]:
    return Rows(lambda name: _row(tree, name), lambda: _every(tree), tree.once(_rest), lambda: _names(tree))


def state(tree: Tree, name: str) -> Observation[str]:
    """The state of one module, for the families that need one."""
    return _row(tree, name) or tree.once(_rest)


def _loaded(machine: Tree) -> Observation[Mapping[str, Union[Evidence, Unknown]]]:
    """The modules that are loaded, or that boot loads."""
    if isinstance(machine, Machine):
        rows = machine.once(_kernel.loaded)
        return rows.then(lambda rows: {name: Evidence(_kernel.LOADED, row.line) for name, row in rows.items()})
    from nodespec.checks import _modules_at_boot as _loads  # noqa: PLC0415 - not for a machine that runs

    return _loads.loaded(machine)


def _row(machine: Tree, name: str) -> Optional[Observation[str]]:
    loaded, builtin = machine.once(_loaded), machine.once(_kernel.builtin)
    if isinstance(loaded, Value) and name in loaded.value:
        at = loaded.value[name]
        return at if isinstance(at, Unknown) else Value("loaded", at)
    if isinstance(builtin, Value) and name in builtin.value:
        return Value("builtin", builtin.evidence._replace(line=builtin.value[name]))
    if not isinstance(loaded, Value) or not isinstance(builtin, Value):
        shown = _in_sysfs(machine, name) or _configured(machine, name)
        if shown:
            return shown
    if isinstance(loaded, Unknown) and not machine.running:
        return loaded
    state = _loadable(machine, name) or _in_sysfs(machine, name) or _known(machine, name)
    if isinstance(state, Value) and isinstance(loaded, Unknown) and state.value in NOT_LOADED:
        return Value(state.value, state.evidence, ("loaded",))  # where /proc/modules is masked, it may be loaded
    return state


def _known(machine: Tree, name: str) -> Optional[Observation[str]]:
    """What any other name is, with the build option that would make it, of a module that Linux has."""
    from nodespec.checks import _kernel_config_inferred as _inference  # noqa: PLC0415 - where a module is missing

    rest, option = machine.once(_rest), _inference.option_of(name)
    if not option or not isinstance(rest, Absent):
        return None
    built = _configuration.option(machine, option)
    if isinstance(built, Value) and built.value == "y":  # what is no module any more stands in no list of modules
        return Value("builtin", built.evidence._replace(inferred=True))
    return rest._replace(say=f"a kernel built with CONFIG_{option} has it")


def _in_sysfs(machine: Tree, name: str) -> Union[Value[str], Unknown, None]:
    """What is loaded has a state there; what is built in stands there if it has parameters."""
    if not machine.running:
        return None
    folder = f"{SYSFS}/{name}"
    shown, state = machine.entry(folder), machine.entry(f"{folder}/initstate")
    unread = next((look for look in (shown, state) if isinstance(look, Unknown)), None)
    if unread or not isinstance(shown, Value):
        return None if not unread or unread.reason == "hidden" else unread
    return Value("loaded" if isinstance(state, Value) else "builtin", Evidence(folder, inferred=True))


def _configured(machine: Tree, name: str) -> Optional[Observation[str]]:
    """What the kernel's configuration says, where its lists of modules do not."""
    from nodespec.checks import _kernel_config_inferred as _inference  # noqa: PLC0415 - for machines that show no modules

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
    if all(not isinstance(machine.once(look), Value) for look in (_kernel.installed, _kernel.built)):
        return None
    from nodespec.checks import _modprobe_plan, _modules_on_demand  # noqa: PLC0415 - many machines have no module tree

    bans, unread = machine.once(_bans)
    seen = _modules_on_demand.state(machine, name, _modprobe_plan.Kernel(machine.once(_present), bans), unread)
    if isinstance(seen, Value) and isinstance(machine.once(_loaded), Absent):
        return Absent(Evidence(_kernel.LOADED), "this kernel loads no modules")
    return seen


def _present(machine: Tree) -> Mapping[str, object]:
    """The modules that are in the kernel."""
    return {**_value(machine.once(_kernel.builtin)), **_value(machine.once(_loaded))}


def _every(machine: Tree) -> Mapping[str, Observation[str]]:
    rows = {name: _row(machine, name) for name in sorted(_names(machine))}
    return {name: row for name, row in rows.items() if row and not isinstance(row, Absent)}


def _names(machine: Tree) -> Set[str]:
    """All names that may have a row."""
    names = {*_value(machine.once(_loaded)), *_value(machine.once(_kernel.builtin))}
    installed, shown = machine.once(_kernel.installed), machine.names(SYSFS) if machine.running else None
    names.update(_value(installed if isinstance(installed, Value) else machine.once(_kernel.built)))
    return names.union(shown.value if isinstance(shown, Value) else ())


def _value(found: Observation[Mapping[str, T]]) -> Mapping[str, T]:
    return found.value if isinstance(found, Value) else {}


def _rest(machine: Tree) -> Union[Absent, Unknown]:
    """What any other name is: absent only if the lists of this kernel were looked through."""
    tree = machine.once(_kernel.tree)
    if isinstance(tree, Absent):
        look = _reboot(machine) or "install the kernel's modules, or build them in"
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
    look = f"{machine.once(_kernel.depmod)}, or install the kernel's modules again"
    return Unknown("not found", f"{tree.value} lists no modules", look)


def _reboot(machine: Tree) -> str:
    """What helps where an upgrade removed the modules of the kernel that runs."""
    if not machine.running:
        return ""
    from nodespec.checks import _boot_next as _boot  # noqa: PLC0415 - where modules are missing

    running, following = _kernel.release(machine), _boot.release(machine)
    if not isinstance(following, Value) or not isinstance(running, Value) or following.value == running.value:
        return ""
    return f"reboot: the next boot starts {following.value}"


def _bans(machine: Tree) -> Tuple[Mapping[str, Evidence], Optional[Unknown]]:
    """Modules that the kernel itself refuses, the empty name is all of them; and why there may be more."""
    if not machine.running:
        return _bans_at_rest(machine)
    disabled, line = machine.line(DISABLED), machine.line(kernel.CMDLINE)
    bans = dict(_kernel.banned(line.value, line.evidence)) if isinstance(line, Value) else {}
    if isinstance(disabled, Value) and disabled.value == "1":
        bans[""] = disabled.evidence
    return bans, next((look for look in (disabled, line) if isinstance(look, Unknown)), None)


def _bans_at_rest(tree: Tree) -> Tuple[Mapping[str, Evidence], Optional[Unknown]]:
    from nodespec.checks import _modules_at_boot as _loads  # noqa: PLC0415 - as above
    from nodespec.checks import _sysctl_at_boot as _sysctl_files  # noqa: PLC0415 - as above

    assigned = _sysctl_files.assigned(tree)
    disabled = assigned.value.look("kernel.modules_disabled") if isinstance(assigned, Value) else None
    everything = {"": disabled.evidence} if isinstance(disabled, Value) and disabled.value == "1" else {}
    unread = assigned if isinstance(assigned, Unknown) and _sysctl_files.may_name(tree, "modules_disabled") else None
    return {**_loads.banned(tree), **everything}, unread
