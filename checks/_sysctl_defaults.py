"""Kernel parameters without a file: by command line, kernel defaults, modules."""

from __future__ import annotations

import re
from typing import Optional, Union

from nodespec.checks import _kernel_version, _sysctl_at_boot, _sysctl_values, _systemd_units
from nodespec.host.tree import Tree
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value

LOAD_FOLDERS = _systemd_units.list_search_folders("modules-load.d")

BUILD_OPTIONS = {
    "kernel.panic": "PANIC_TIMEOUT",
    "kernel.panic_on_oops": "PANIC_ON_OOPS_VALUE",
}  # build options that decide


# Parameters of the command line that set them.
CMDLINE_PARAMETERS = {"kernel.panic": ("panic", r"(-?\d+)"), "kernel.panic_on_oops": ("oops", "(panic)")}


def find_default(tree: Tree, key: str, at: Evidence) -> Optional[Observation[str]]:
    """Return the initial value of the kernel, if it is known."""
    given = _read_cmdline_value(tree, key)
    if given:
        return given
    if key in _sysctl_values.DEFAULTS:
        return Value(_sysctl_values.DEFAULTS[key], at._replace(line=0, inferred=True))
    if key not in BUILD_OPTIONS:
        return None
    from nodespec.checks import _kernel_options  # noqa: PLC0415

    said = _kernel_options.read_options_at_rest(tree).observe(BUILD_OPTIONS[key])
    if not isinstance(said, Value) or not re.fullmatch(r"-?\d+", str(said.value)):
        return None
    return Value(str(said.value), said.evidence._replace(inferred=True))


def _read_cmdline_value(tree: Tree, key: str) -> Union[Value[str], Unknown, None]:
    """Return the value on the command line.

    It is set by `sysctl.vm.swappiness=10`, or by a parameter of its own.
    """
    from nodespec.checks import _boot_cmdline  # noqa: PLC0415

    line = _boot_cmdline.resolve_cmdline(tree)
    if not isinstance(line, Value):
        return None
    said = dict(_kernel_version.parse_cmdline(line.value.text))
    word, form = CMDLINE_PARAMETERS.get(key, ("", ""))
    found = re.fullmatch(form, said[word]) if word in said else None
    text = said.get(f"sysctl.{key}".replace("-", "_"), found[1].replace("panic", "1") if found else None)
    if text is None:
        return None
    written = _sysctl_values.simulate_write(key, text, _sysctl_values.DEFAULTS.get(key))
    return None if written.value is None else _sysctl_at_boot.observe_write(written, line.evidence)


def read_module_loader(tree: Tree) -> Observation[str]:
    """Return the program that loads modules, by kernel.modprobe; absent if not set."""
    key = "kernel.modprobe"
    files = _sysctl_at_boot.read_sysctl_files(tree)
    said = (files.value.observe(key) if isinstance(files, Value) else None) or _read_cmdline_value(tree, key)
    if said:
        return said
    if isinstance(files, Unknown) and files.reason != DEFERRED and _sysctl_at_boot.may_contain_word(tree, "modprobe"):
        return files
    if isinstance(tree.entry("/nix/store"), Value):
        return Unknown(DEFERRED, "only a running machine can tell: NixOS sets kernel.modprobe when it boots")
    return Absent(Evidence(":".join(_sysctl_at_boot.FOLDERS)))


# Modules that are loaded only on explicit request. Others may be loaded for a device or a file system.
EXPLICIT_MODULES = frozenset(("br_netfilter", "nf_conntrack", "ip_vs", "mpls_router", "sctp", "smc", "rds", "vrf"))


def explain_missing_module(tree: Tree, module: str) -> Optional[Observation[str]]:
    """Return why a module's parameter is missing after boot, or may be; else None."""
    from nodespec.checks import modules  # noqa: PLC0415

    state = modules.resolve_module_state(tree, module)
    if not isinstance(state, Value):
        say = f"the module {module} brings it, and this kernel has none"
        return state._replace(say=say) if isinstance(state, Absent) else state
    if state.value in ("loaded", "builtin"):
        return None
    if state.value == "blocked":
        return Absent(state.evidence, f"the module {module} brings it, and may not be loaded")
    if module not in EXPLICIT_MODULES:
        return Unknown(DEFERRED, f"only a running machine can tell: the module {module} brings it")
    said = f"the module {module} brings it, and nothing loads that at boot: name it in a file of {LOAD_FOLDERS[0]}"
    return Absent(Evidence(":".join(LOAD_FOLDERS)), said)
