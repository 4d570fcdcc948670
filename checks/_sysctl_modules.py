"""Kernel parameters that a module adds, and why they are missing after a boot."""

from __future__ import annotations

import re

from nodespec.checks import _modules_late, _systemd_switches, _systemd_units, modules
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Optional, Union

# Modules that are loaded only on explicit request. Others may be loaded for a device or a file system.
EXPLICIT_MODULES = frozenset(("br_netfilter", "nf_conntrack", "ip_vs", "mpls_router", "sctp", "smc", "rds", "vrf"))
LOAD_FOLDERS = _systemd_units.list_search_folders("modules-load.d")


def explain_missing_module(tree: Tree, module: str) -> Optional[Observation[str]]:
    """Return why a module's parameter is missing after boot, or may be; else None."""
    state = modules.resolve_module_state(tree, module)
    if not isinstance(state, Value):
        message = f"the module {module} adds it, and this kernel does not have the module"
        return state._replace(say=message) if isinstance(state, Absent) else state
    if state.value in ("loaded", "builtin"):
        return None
    if state.value == "blocked":
        return Absent(state.evidence, f"the module {module} adds it, and must not be loaded")
    if module not in EXPLICIT_MODULES:
        return Unknown(DEFERRED, f"only a running machine can tell: the module {module} adds it")
    late = _modules_late.find_late_load(tree, module)
    if late:
        return Unknown(DEFERRED, f"only a running machine can tell: {late} may load the module {module}, which adds it")
    hint = f"the module {module} adds it, and nothing loads it at boot; list it in a file of {LOAD_FOLDERS[0]}"
    return Absent(Evidence(":".join(LOAD_FOLDERS)), hint)


def find_disabled_ipv6(tree: Tree, key: str) -> Union[Absent, Unknown, None]:
    """Return why IPv6 parameters are missing.

    `ipv6.disable=1` is set on the command line, or as an option of the module.
    """
    if not key.startswith("net.ipv6."):
        return None
    from nodespec.checks import _boot_cmdline  # noqa: PLC0415

    unknown = _boot_cmdline.find_open_parameter(tree, "ipv6.disable")
    if unknown:
        return unknown
    given = [(value, at) for name, value, at in _systemd_switches.read_boot_parameters(tree) if name == "ipv6.disable"]
    if given and given[-1][0] == "1":
        return Absent(given[-1][1], "the kernel command line has ipv6.disable=1")
    return _find_disabled_module(tree)


def _find_disabled_module(tree: Tree) -> Optional[Absent]:
    """Return the line `options ipv6 disable=1` of modprobe.d.

    It counts only if IPv6 is a module.
    """
    files = _systemd_units.merge_folders(tree, _systemd_units.list_search_folders("modprobe.d"))
    for path in files.value if isinstance(files, Value) else ():
        text = _systemd_units.read_optional_text(tree, path)
        for number, line in _systemd_units.list_content_lines(text.value) if isinstance(text, Value) else ():
            if re.match(r"options\s+ipv6\s(.*\s)?disable=1(\s|$)", line):
                state = modules.resolve_module_state(tree, "ipv6")
                built = isinstance(state, Value) and state.value == "builtin"
                return None if built else Absent(Evidence(path, number), "the module ipv6 is loaded with disable=1")
    return None
