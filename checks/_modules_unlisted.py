"""Modules by other lists than /proc/modules and modules.builtin, and built-in code that can never be a module.

modules.builtin.modinfo names the parameters of all built-in code since Linux 5.2.
"""

from __future__ import annotations

import re

from nodespec.checks import _kernel_names, _kernel_version
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Observation, Value

if TYPE_CHECKING:
    from typing import Dict, Mapping, Optional, Set

    from nodespec.host.tree import Tree

SYSFS = "/sys/module"
MODINFO = "modules.builtin.modinfo"


def find_builtin(machine: Tree, name: str) -> Optional[Value[str]]:
    """Return `builtin` if built-in code of this name has parameters."""
    prefixes = machine.once(list_builtin_prefixes)
    if isinstance(prefixes, Value) and name in prefixes.value:
        return Value("builtin", prefixes.evidence._replace(inferred=True))
    return None


def list_names(machine: Tree) -> Set[str]:
    """Return the names of modules that may be loaded, and of built-in code with parameters."""
    shown = machine.names(SYSFS) if machine.running else None
    names = {*(shown.value if isinstance(shown, Value) else ())}
    installed = machine.once(_kernel_version.list_installed_modules)
    listed = installed if isinstance(installed, Value) else machine.once(_kernel_version.list_shipped_modules)
    for source in (listed, machine.once(list_builtin_prefixes)):
        names.update(source.value if isinstance(source, Value) else ())
    return names


def list_builtin_prefixes(machine: Tree) -> Observation[Mapping[str, int]]:
    """Return the prefixes of built-in code with parameters or a license, by record of modules.builtin.modinfo.

    Most of it can never be a module. Kernels have the file since Linux 5.2.
    """
    folder = _kernel_version.find_module_tree(machine)
    return machine.read(f"{folder.value}/{MODINFO}").then(_parse_modinfo) if isinstance(folder, Value) else folder


def _parse_modinfo(data: bytes) -> Mapping[str, int]:
    r"""Parse `acpi.parm=ec_delay:...\0acpi.license=GPL\0`; the name of this example is acpi."""
    names: Dict[str, int] = {}
    for number, record in enumerate(data.split(b"\0"), 1):
        match = re.match(rb"([\w-]{1,64})\.parmtype=", record)
        if match:
            names.setdefault(_kernel_names.normalize_name(match[1].decode()), number)
    return names
