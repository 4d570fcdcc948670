"""Modules that a boot loads by configuration, whatever the hardware.

They are listed in modules-load.d, in /etc/modules and on the command line, or loaded by systemd itself or its units.
Modules that udev finds for devices, or that a file system or a socket needs, are not included.
"""

from __future__ import annotations

import re

from nodespec.checks import (
    _boot_cmdline,
    _init_system,
    _kernel_names,
    _kernel_version,
    _modprobe_plan,
    _services_at_boot,
    _systemd_units,
)
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Mapping, Optional, Tuple, TypeAlias, Union

FOLDERS, FILE, OPENRC = _systemd_units.list_search_folders("modules-load.d"), "/etc/modules", "/etc/conf.d/modules"
SOURCES = ("*/modules-load.d*", FILE, OPENRC, "*/modules/*", *_kernel_version.CMDLINE_FILES, *_services_at_boot.SOURCES)
SERVICE = "systemd-modules-load.service"
PARAMETERS = ("modules_load", "rd.modules_load", "rd.driver.pre", "rd.driver.post")
SYSTEMD_MODULES = ("autofs4", "ipv6", "unix")  # systemd loads these if they are modules
MODPROBE_UNIT = re.compile(r"modprobe@([\w-]{1,64})\.service")
ListedModules: TypeAlias = "Dict[str, Evidence]"
LoadedModules: TypeAlias = "Mapping[str, Union[Evidence, Unknown]]"


def resolve_loaded_modules(tree: Tree) -> Observation[LoadedModules]:
    """Return the modules loaded at boot, with the source of each, or unknown.

    Dependencies are included.
    """
    return tree.once(_resolve_loaded_modules)


def read_denied_modules(tree: Tree) -> Mapping[str, Evidence]:
    """Return the modules that the kernel itself will deny."""
    line = _boot_cmdline.resolve_cmdline(tree)
    return _kernel_names.parse_denied_modules(line.value.text, line.evidence) if isinstance(line, Value) else {}


def _resolve_loaded_modules(tree: Tree) -> Observation[LoadedModules]:
    installed, named = tree.once(_kernel_version.list_installed_modules), _collect_listed_modules(tree)
    if not isinstance(named, Value):
        return named
    if not isinstance(installed, Value):
        return Value({}, named.evidence) if isinstance(installed, Absent) else installed
    builtin = tree.once(_kernel_version.list_builtin_modules)
    present: Dict[str, object] = {**builtin.value} if isinstance(builtin, Value) else {}
    kernel = _modprobe_plan.KernelState(present, read_denied_modules(tree))
    modules: Dict[str, Union[Evidence, Unknown]] = {}
    for name, at in named.value.items():
        tried = _modprobe_plan.simulate_modprobe(tree, kernel, name, spares=True)
        if isinstance(tried, Unknown):
            return tried
        _add_inserted(tried, at, modules, present)
    doubt = _services_at_boot.is_applied_at_boot(tree, "modules")
    if isinstance(doubt, Unknown):
        _add_doubtful_modules(tree, kernel, doubt, modules)
    return Value(modules, named.evidence)


def _add_doubtful_modules(
    tree: Tree, kernel: _modprobe_plan.KernelState, doubt: Unknown, modules: Dict[str, Union[Evidence, Unknown]]
) -> None:
    """Add the modules of files that the init system may not read."""
    for path in _list_load_files(tree):
        text = _systemd_units.read_optional_text(tree, path)
        for _, name in parse_modules_load(text.value, "") if isinstance(text, Value) else ():
            tried = _modprobe_plan.simulate_modprobe(tree, kernel, _kernel_names.normalize_name(name), spares=True)
            for module in tried.inserted if not isinstance(tried, Unknown) else ():
                modules.setdefault(module, doubt)


def _list_load_files(tree: Tree) -> Tuple[str, ...]:
    files = _systemd_units.merge_folders(tree, FOLDERS)
    return (*(files.value if isinstance(files, Value) else ()), FILE)


def _add_inserted(
    tried: _modprobe_plan.ModprobeSimulation,
    at: Evidence,
    modules: Dict[str, Union[Evidence, Unknown]],
    present: Dict[str, object],
) -> None:
    for module, done in tried.inserted.items():
        reason = tried.reasons.get(module)
        if done:
            present[module] = modules[module] = at
        elif done is None and module not in modules:
            modules[module] = reason if isinstance(reason, Unknown) else Unknown("unsupported", f"{at} may load it")


def _collect_listed_modules(tree: Tree) -> Observation[ListedModules]:
    """Return all modules that any source lists, with the first source."""
    system = _init_system.detect_init_system(tree)
    named: ListedModules = {}
    at = Evidence(":".join(FOLDERS))
    for source in _read_module_sources(tree, system.value if isinstance(system, Value) else ""):
        if isinstance(source, Unknown):
            return source
        for name, where in source:
            named.setdefault(_kernel_names.normalize_name(name), where)
    return Value(named, at)


def _read_module_sources(tree: Tree, system: str) -> Iterator[Union[List[Tuple[str, Evidence]], Unknown]]:
    unknown = _boot_cmdline.find_open_parameter(tree, "module_blacklist", *PARAMETERS)
    if unknown:
        yield unknown
    yield [(name, at) for key, name, at in _read_cmdline_modules(tree) if key in PARAMETERS]
    files = _systemd_units.merge_folders(tree, FOLDERS)
    if isinstance(files, Unknown):
        yield files
    reads = _services_at_boot.is_applied_at_boot(tree, "modules")
    read = isinstance(reads, Value) and reads.value
    paths = files.value if isinstance(files, Value) and read else ()
    more = (FILE,) if system != "systemd" and read else ()  # systemd reads it by a link only
    for path in (*paths, *more):
        text = _systemd_units.read_optional_text(tree, path)
        if not isinstance(text, Value):
            yield text if isinstance(text, Unknown) else []
            continue
        yield [(name, Evidence(path, number)) for number, name in parse_modules_load(text.value, system)]
    if system == "openrc" and read:
        yield _read_openrc_modules(tree)
    if system == "systemd":
        yield [(name, Evidence(_init_system.INIT, inferred=True)) for name in SYSTEMD_MODULES]
        yield list(_read_unit_modules(tree))


def parse_modules_load(text: str, system: str) -> Iterator[Tuple[int, str]]:
    """Parse the modules that a file of modules-load.d names, with their lines.

    For systemd a whole line is the name, so `br_netfilter # for pods` names no existing module. A comment starts with #
    or ; at the beginning of a line. The scripts of other init systems use the first word.
    """
    lines = enumerate(text.split("\n"), 1)
    for number, line in _systemd_units.split_systemd_lines(text) if system == "systemd" else lines:
        name = line.strip(" \t\r")
        if name and name[0] not in "#;":
            yield number, name if system == "systemd" else re.split("[ \t\r]", name)[0]


def _read_openrc_modules(tree: Tree) -> Union[List[Tuple[str, Evidence]], Unknown]:
    """Return the modules of OpenRC's own configuration: `modules="br_netfilter overlay"`."""
    text = _systemd_units.read_optional_text(tree, OPENRC)
    if not isinstance(text, Value):
        return text if isinstance(text, Unknown) else []
    assignment: List[Tuple[str, Evidence]] = []
    for number, line in _systemd_units.list_content_lines(text.value):
        match = re.fullmatch(r"modules(?:_\w+)?=[\"']?([^\"']*)[\"']?", line)
        assignment += ((name, Evidence(OPENRC, number)) for name in (match[1].split() if match else ()))
    return assignment


def _read_unit_modules(tree: Tree) -> Iterator[Tuple[str, Evidence]]:
    """Yield the modules of the modprobe@.service instances that a boot starts."""
    from nodespec.checks import _systemd_at_boot  # noqa: PLC0415

    for name, at in _systemd_at_boot.list_started_units(tree).items():
        wanted = MODPROBE_UNIT.fullmatch(name)
        if wanted:
            yield wanted[1], at._replace(inferred=True)


def _read_cmdline_modules(tree: Tree) -> List[Tuple[str, str, Evidence]]:
    """Return the modules of the parameters that list modules."""
    line = _boot_cmdline.resolve_cmdline(tree)
    if not isinstance(line, Value):
        return []
    pairs = _kernel_names.parse_cmdline(line.value.text)
    return [
        (key, name, line.evidence) for key, names in pairs if key in PARAMETERS for name in names.split(",") if name
    ]


def read_bans(tree: Tree) -> Tuple[Mapping[str, Evidence], Optional[Unknown]]:
    """Return the modules that the kernel will refuse, and why there may be more.

    The empty name stands for all modules.
    """
    from nodespec.checks import _sysctl_at_boot  # noqa: PLC0415

    assigned = _sysctl_at_boot.read_sysctl_files(tree)
    disabled = assigned.value.observe("kernel.modules_disabled") if isinstance(assigned, Value) else None
    everything = {"": disabled.evidence} if isinstance(disabled, Value) and disabled.value == "1" else {}
    unread = (
        assigned
        if isinstance(assigned, Unknown) and _sysctl_at_boot.may_contain_word(tree, "modules_disabled")
        else None
    )
    return {**read_denied_modules(tree), **everything}, unread
