"""Kernel parameters after the next boot: files, services, modules, defaults of the kernel."""

from __future__ import annotations

from nodespec.checks import _sysctl_at_boot, _sysctl_defaults, _sysctl_modules, _sysctl_setters, _sysctl_values
from nodespec.checks._sysctl_names import MAX_ROWS, MODULES, is_stable, refuse_secret
from nodespec.facts.declaration import Rows
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict


def read_rows(tree: Tree) -> Rows[str]:
    """Return the parameters that the next boot sets, and the known defaults."""
    assigned = _sysctl_at_boot.read_sysctl_files(tree)
    if not isinstance(assigned, Value):
        return Rows.lacking(assigned)
    otherwise = Unknown(DEFERRED, "only a running machine can tell: no file assigns it")

    def find_row(key: str) -> Observation[str]:
        module = next((module for beginning, module in MODULES.items() if key.startswith(beginning)), "")
        closed = refuse_secret(key) or (_sysctl_modules.explain_missing_module(tree, module) if module else None)
        closed = closed or _sysctl_modules.find_disabled_ipv6(tree, key)
        value = closed or _sysctl_setters.apply_services(tree, key, assigned.value.observe(key))
        value = value or _sysctl_defaults.find_default(tree, key, assigned.evidence)
        return value or assigned.value.explain_refusal(key) or otherwise

    def every() -> Dict[str, Observation[str]]:
        later = (setting.key for setting in _sysctl_setters.list_service_settings(tree))
        names = sorted({*filter(is_stable, (*assigned.value.list_names(), *later)), *_sysctl_values.DEFAULTS})
        return {name: seen for name in names[:MAX_ROWS] if isinstance(seen := find_row(name), Value)}

    return Rows(find_row, every, otherwise)
