"""Kernel parameters that no file sets: by the kernel's command line, by its defaults, by what modules bring."""

from __future__ import annotations

import re
from typing import Optional, Union

from nodespec.checks import _kernel_version as _kernel
from nodespec.checks import _sysctl_at_boot as _sysctl_files
from nodespec.checks import _sysctl_values
from nodespec.checks import _systemd_units as _units
from nodespec.host.tree import Tree
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value

LOADS = _units.folders("modules-load.d")

BUILT = {"kernel.panic": "PANIC_TIMEOUT", "kernel.panic_on_oops": "PANIC_ON_OOPS_VALUE"}  # options that decide


# and by what on the command line
GIVEN = {"kernel.panic": ("panic", r"(-?\d+)"), "kernel.panic_on_oops": ("oops", "(panic)")}


def default(tree: Tree, key: str, at: Evidence) -> Optional[Observation[str]]:
    """What the kernel begins with, where that is known."""
    given = _given(tree, key)
    if given:
        return given
    if key in _sysctl_values.DEFAULTS:
        return Value(_sysctl_values.DEFAULTS[key], at._replace(line=0, inferred=True))
    if key not in BUILT:
        return None
    from nodespec.checks import kernel  # noqa: PLC0415

    config = kernel.config.resting
    said = config(tree).look(BUILT[key]) if config else None
    if not isinstance(said, Value) or not re.fullmatch(r"-?\d+", str(said.value)):
        return None
    return Value(str(said.value), said.evidence._replace(inferred=True))


def _given(tree: Tree, key: str) -> Union[Value[str], Unknown, None]:
    """What the command line says: `sysctl.vm.swappiness=10`, or by a word of its own."""
    from nodespec.checks import _boot_cmdline as _command_line  # noqa: PLC0415

    line = _command_line.next_line(tree)
    if not isinstance(line, Value):
        return None
    said = dict(_kernel.parameters(line.value.text))
    word, form = GIVEN.get(key, ("", ""))
    found = re.fullmatch(form, said[word]) if word in said else None
    text = said.get(f"sysctl.{key}".replace("-", "_"), found[1].replace("panic", "1") if found else None)
    if text is None:
        return None
    written = _sysctl_values.written(key, text, _sysctl_values.DEFAULTS.get(key))
    return None if written.value is None else _sysctl_files.observed(written, line.evidence)


def loader(tree: Tree) -> Observation[str]:
    """The program that the kernel starts to load modules, as files set kernel.modprobe; absent where none does."""
    key = "kernel.modprobe"
    files = _sysctl_files.assigned(tree)
    said = (files.value.look(key) if isinstance(files, Value) else None) or _given(tree, key)
    if said:
        return said
    if isinstance(files, Unknown) and files.reason != DEFERRED and _sysctl_files.may_name(tree, "modprobe"):
        return files
    if isinstance(tree.entry("/nix/store"), Value):
        return Unknown(DEFERRED, "only a running machine can tell: NixOS sets kernel.modprobe when it boots")
    return Absent(Evidence(":".join(_sysctl_files.FOLDERS)))


# modules that are loaded only by who wants them; others may come with a device or a file system
WANTED = frozenset(("br_netfilter", "nf_conntrack", "ip_vs", "mpls_router", "sctp", "smc", "rds", "vrf"))


def lacking(tree: Tree, module: str) -> Optional[Observation[str]]:
    """Why a parameter that a module brings is not there after boot, or that this cannot be told; else nothing."""
    from nodespec.checks import modules  # noqa: PLC0415

    state = modules.state(tree, module)
    if not isinstance(state, Value):
        say = f"the module {module} brings it, and this kernel has none"
        return state._replace(say=say) if isinstance(state, Absent) else state
    if state.value in ("loaded", "builtin"):
        return None
    if state.value == "blocked":
        return Absent(state.evidence, f"the module {module} brings it, and may not be loaded")
    if module not in WANTED:
        return Unknown(DEFERRED, f"only a running machine can tell: the module {module} brings it")
    said = f"the module {module} brings it, and nothing loads that at boot: name it in a file of {LOADS[0]}"
    return Absent(Evidence(":".join(LOADS)), said)
