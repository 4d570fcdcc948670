"""Kernel modules: whether each is in the kernel or can be loaded."""

from __future__ import annotations

import re

from nodespec.checks import _kernel_config, _kernel_names, _kernel_version
from nodespec.facts.declaration import Rows, table
from nodespec.facts.value_types import OneOf
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING, TypeVar
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Mapping, Optional, Set, Tuple, Union

T = TypeVar("T")
SYSFS, DISABLED = "/sys/module", "/proc/sys/kernel/modules_disabled"
NOT_LOADED = ("loadable", "blacklisted", "blocked")
LOADER = "/proc/sys/kernel/modprobe"


def _validate_module_name(name: str) -> str:
    if not re.fullmatch(r"[\w+.-]{1,64}", name, re.ASCII):
        raise ValueError(f"`{name}` is not the name of a module; expected letters, digits, _ and -")
    return _kernel_names.normalize_name(name)


@table(
    OneOf(
        *("blocked", "blacklisted", "loadable", "builtin", "loaded"),
        ranked=True,
        usable=("loaded", "builtin", "loadable", "blacklisted"),
    ),
    sources=(
        _kernel_version.PROC_MODULES,
        f"{SYSFS}/*",
        *(f"{tree}/*" for tree in _kernel_version.MODULE_TREES),
        *_kernel_version.MODPROBE_FILES,
        DISABLED,
        LOADER,
        "*/modprobe",
        _kernel_version.PROC_CMDLINE,
        *_kernel_config.FILES,
        *_kernel_version.EVIDENCE_FILES,
    ),
    noun="module",
    key=_validate_module_name,
    closed=True,
    fix="modprobe {key}, and list it in /etc/modules-load.d for the next boot; if the module is not found, install"
    " the kernel's modules or boot a kernel that has it",
)
def modules(machine: Machine) -> Rows[str]:
    """State of each module: loaded, builtin, loadable, blacklisted or blocked.

    `usable` is any state except blocked. `-` and `_` are equal in names.

    loaded: /proc/modules lists the module. builtin: modules.builtin of the running release (/lib/modules/RELEASE) lists
    it, or modules.builtin.modinfo has its parameters. loadable: modules.dep lists it and `modprobe NAME` would load it.
    A module that no list has is absent: the kernel was built without it, or its package is not installed. If
    modules.dep is missing, empty or truncated, modprobe finds nothing. A module that modules.order lists and whose file
    exists is then unknown until depmod has run.

    blacklisted: the module is loaded by its exact name only, not automatically, by an alias, or at boot from
    modules-load.d. The cause is `blacklist NAME` in modprobe.d, or modprobe.blacklist=NAME on the command line. To
    require that a module is not loaded automatically: `nouveau: [absent, blocked, blacklisted]`.

    blocked: the module exists and cannot be loaded. Possible causes: an `install NAME` command in modprobe.d that loads
    nothing, such as /bin/false; an alias that leads from the name to another module (`alias NAME off`);
    module_blacklist=NAME on the command line; kernel.modules_disabled is 1; a required module is blocked. Without the
    program that kernel.modprobe names (/sbin/modprobe) nothing is loaded on demand, and every module that is not yet in
    the kernel is blocked. If an install command is not understood, its module is unknown.

    Without a module tree only modules in the kernel can be observed: in /sys/module, which lists built-in code that has
    parameters, and by the kernel's configuration. All others are unknown. On a kernel without support for loadable
    modules, code that the configuration leaves out is absent.

    At rest the modules are those of the kernel that the next boot starts. loaded are those that files load at boot, and
    their dependencies: modules-load.d, /etc/modules if the init system reads it, the command line (modules_load=), and
    modules that systemd itself loads. For systemd a line of modules-load.d is one name: `br_netfilter # for k8s` loads
    nothing. Modules that udev finds for devices, or that programs load while running, are loadable. If a command of a
    service, a script or an initramfs may load a module, it is loadable or loaded. Sysctl files count for
    kernel.modules_disabled.
    """
    return _make_rows(machine)


@modules.at_rest(
    *(f"{tree}/*" for tree in _kernel_version.MODULE_TREES),
    *_kernel_version.MODPROBE_FILES,
    *_kernel_version.CMDLINE_FILES,
    *_kernel_config.FILES,
    *("*/modules-load.d*", "/etc/modules", "/etc/conf.d/modules", "*/systemd/system*", "/sbin/init", "*/sysctl.*"),
    "*/modprobe",
    fix="list {key} in a file of /etc/modules-load.d; if the module is not found, install the kernel's modules",
)
def _modules_at_rest(tree: Tree) -> Rows[str]:
    return _make_rows(tree)


def _make_rows(tree: Tree) -> Rows[str]:
    return Rows(
        lambda name: _observe_state(tree, name),
        lambda: _list_states(tree),
        _limit_states(tree, tree.once(_resolve_rest)),
        lambda: _list_names(tree),
    )


def _observe_state(tree: Tree, name: str) -> Optional[Observation[str]]:
    state, loaded = _resolve_state(tree, name), tree.once(_read_loaded)
    listed = isinstance(loaded, Value) and name in loaded.value
    return _limit_states(tree, state) if isinstance(state, Unknown) and not listed else state


def _limit_states(tree: Tree, state: Union[Absent, Unknown]) -> Union[Absent, Unknown]:
    """Return the state of a name that the list of loaded modules, if it was read, does not have.

    If the state is unknown, it can still not be `loaded`.
    """
    loaded = tree.once(_read_loaded)
    if not isinstance(state, Unknown) or not isinstance(loaded, Value) or not tree.running:
        return state
    builtin = () if isinstance(tree.once(_kernel_version.list_builtin_modules), Value) else ("builtin",)
    return state._replace(may=Value(NOT_LOADED[0], loaded.evidence, (*NOT_LOADED[1:], *builtin)))


def _list_states(tree: Tree) -> Mapping[str, Observation[str]]:
    rows = {name: _resolve_state(tree, name) for name in sorted(_list_names(tree))}
    return {name: row for name, row in rows.items() if row and not isinstance(row, Absent)}


def _list_names(tree: Tree) -> Set[str]:
    from nodespec.checks import _modules_unlisted  # noqa: PLC0415

    return {*_list_present(tree), *_modules_unlisted.list_names(tree)}


def resolve_module_state(tree: Tree, name: str) -> Observation[str]:
    """Return the state of one module, for other families."""
    return _resolve_state(tree, name) or tree.once(_resolve_rest)


def _read_loaded(machine: Tree) -> Observation[Mapping[str, Union[Evidence, Unknown]]]:
    """Return the modules that are loaded, or that the next boot loads."""
    if isinstance(machine, Machine):
        rows = machine.once(_kernel_version.read_loaded_modules)
        return rows.then(
            lambda rows: {name: Evidence(_kernel_version.PROC_MODULES, row.line) for name, row in rows.items()}
        )
    from nodespec.checks import _modules_at_boot  # noqa: PLC0415

    return _modules_at_boot.resolve_loaded_modules(machine)


def _resolve_state(machine: Tree, name: str) -> Optional[Observation[str]]:
    loaded, builtin = machine.once(_read_loaded), machine.once(_kernel_version.list_builtin_modules)
    if isinstance(loaded, Value) and name in loaded.value:
        at = loaded.value[name]
        return at if isinstance(at, Unknown) else Value("loaded", at)
    if isinstance(builtin, Value) and name in builtin.value:
        return Value("builtin", builtin.evidence._replace(line=builtin.value[name]))
    if not isinstance(loaded, Value) or not isinstance(builtin, Value):
        shown = _find_in_sysfs(machine, name) or _infer_by_config(machine, name)
        if shown:
            return shown
    if isinstance(loaded, Unknown) and not machine.running:
        return loaded
    state = _resolve_loadable(machine, name) or _find_in_sysfs(machine, name) or _explain_unlisted(machine, name)
    if isinstance(state, Value) and state.value in NOT_LOADED and _may_be_loaded(machine, loaded, state.value, name):
        return Value(state.value, state.evidence, ("loaded",))
    return state


def _may_be_loaded(machine: Tree, loaded: object, state: str, name: str) -> bool:
    """Return whether /proc/modules is masked, or a command of the next boot may load the module."""
    if machine.running or state == "blocked":
        return isinstance(loaded, Unknown)
    from nodespec.checks import _modules_late  # noqa: PLC0415

    return bool(_modules_late.find_late_load(machine, name))


def _explain_unlisted(machine: Tree, name: str) -> Optional[Observation[str]]:
    """Return the state of a name that no list has; the build option that would add it is named."""
    unlisted = machine.once(_resolve_rest)
    if not isinstance(unlisted, Absent):
        return None
    from nodespec.checks import _kernel_config_inferred, _modules_unlisted  # noqa: PLC0415

    code, option = _modules_unlisted.find_builtin(machine, name), _kernel_config_inferred.find_module_option(name)
    if code or not option:
        return code
    built = _kernel_config.read_config_option(machine, option)
    # Lists of modules do not include code that can no longer be built as a module.
    if isinstance(built, Value) and built.value == "y":
        return Value("builtin", built.evidence._replace(inferred=True))
    return unlisted._replace(say=f"it requires a kernel built with CONFIG_{option}")


def _find_in_sysfs(machine: Tree, name: str) -> Union[Value[str], Unknown, None]:
    """Return the state of a module by its entry in /sys/module.

    A loaded module has a state there; built-in code has an entry if it has parameters.
    """
    if not machine.running:
        return None
    folder = f"{SYSFS}/{name}"
    shown, state = machine.entry(folder), machine.entry(f"{folder}/initstate")
    unread = next((entry for entry in (shown, state) if isinstance(entry, Unknown)), None)
    if unread or not isinstance(shown, Value):
        return None if not unread or unread.reason == "hidden" else unread
    return Value("loaded" if isinstance(state, Value) else "builtin", Evidence(folder, inferred=True))


def _infer_by_config(machine: Tree, name: str) -> Optional[Observation[str]]:
    """Return the state by the kernel's configuration, if no list has the module."""
    from nodespec.checks import _kernel_config_inferred  # noqa: PLC0415

    option = _kernel_config_inferred.find_module_option(name)
    if not option:
        return None
    running = isinstance(machine, Machine)
    options = _kernel_config.read_options(machine) if running else _kernel_config.read_options_at_rest(machine)
    built = options.observe(option)
    if not isinstance(built, Value):
        return None
    at, message = built.evidence._replace(inferred=True), f"built without {option}"
    if built.value == "y" and not built.others:
        return Value("builtin", at)
    may_be_built = {"y", "m"} & {str(built.value), *map(str, built.others)}
    none = isinstance(machine.once(_read_loaded), Absent) and not may_be_built
    return Absent(at, message) if none else None


def _resolve_loadable(machine: Tree, name: str) -> Optional[Observation[str]]:
    """Return the state of a module of the tree, which may be kept from loading."""
    if all(
        not isinstance(machine.once(read_list), Value)
        for read_list in (_kernel_version.list_installed_modules, _kernel_version.list_shipped_modules)
    ):
        return None
    from nodespec.checks import _modprobe_plan, _modules_on_demand  # noqa: PLC0415

    bans, unread = machine.once(_read_bans)
    seen = _modules_on_demand.resolve_loadable_state(
        machine, name, _modprobe_plan.KernelState(machine.once(_list_present), bans), unread
    )
    if isinstance(seen, Value) and isinstance(machine.once(_read_loaded), Absent):
        return Absent(Evidence(_kernel_version.PROC_MODULES), "this kernel does not support loadable modules")
    return seen


def _list_present(machine: Tree) -> Mapping[str, object]:
    """Return the modules that are in the kernel."""
    return {
        **_get_mapping(machine.once(_kernel_version.list_builtin_modules)),
        **_get_mapping(machine.once(_read_loaded)),
    }


def _get_mapping(observation: Observation[Mapping[str, T]]) -> Mapping[str, T]:
    return observation.value if isinstance(observation, Value) else {}


def _resolve_rest(machine: Tree) -> Union[Absent, Unknown]:
    """Return the state of all other names; absent only if all lists were read."""
    tree = machine.once(_kernel_version.find_module_tree)
    if isinstance(tree, Absent):
        hint = _suggest_reboot(machine) or "install the kernel's modules, or build them in"
        return Unknown("not found", f"{tree.evidence} not found", hint)
    if isinstance(tree, Unknown):
        return tree
    loaded = machine.once(_read_loaded)
    if machine.running and isinstance(loaded, Unknown):
        return loaded
    lacking = (
        machine.once(_kernel_version.list_builtin_modules),
        machine.once(_kernel_version.list_installed_modules),
        machine.once(_kernel_version.list_shipped_modules),
    )
    unread = next((hint for hint in lacking if isinstance(hint, Unknown)), None)
    if unread:
        return unread
    if isinstance(lacking[0], Value) and any(isinstance(hint, Value) for hint in lacking[1:]):
        return Absent(tree.evidence)
    hint = f"{machine.once(_kernel_version.suggest_depmod)}, or install the kernel's modules again"
    return Unknown("not found", f"{tree.value} lists no modules", hint)


def _suggest_reboot(machine: Tree) -> str:
    """Return the hint for a kernel whose modules were removed by an upgrade."""
    if not machine.running:
        return ""
    from nodespec.checks import _boot_next  # noqa: PLC0415

    running, following = _kernel_version.read_kernel_release(machine), _boot_next.resolve_next_release(machine)
    if not isinstance(following, Value) or not isinstance(running, Value) or following.value == running.value:
        return ""
    return f"reboot: the next boot starts {following.value}"


def _read_bans(machine: Tree) -> Tuple[Mapping[str, Evidence], Optional[Unknown]]:
    """Return the modules that the kernel refuses, and why there may be more.

    The empty name stands for all modules.
    """
    if not machine.running:
        from nodespec.checks import _modules_at_boot  # noqa: PLC0415

        return _modules_at_boot.read_bans(machine)
    disabled, line = machine.line(DISABLED), machine.line(_kernel_version.PROC_CMDLINE)
    bans = dict(_kernel_names.parse_denied_modules(line.value, line.evidence)) if isinstance(line, Value) else {}
    if isinstance(disabled, Value) and disabled.value == "1":
        bans[""] = disabled.evidence
    return bans, next((line_or_flag for line_or_flag in (disabled, line) if isinstance(line_or_flag, Unknown)), None)
