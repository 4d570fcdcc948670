"""What switches parts of a boot on and off: kernel parameters, installed generators."""

from __future__ import annotations

from nodespec.checks import _kernel_names, _systemd_units
from nodespec.checks._systemd_syntax import is_no
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Value

if TYPE_CHECKING:
    from typing import List, Tuple

    from nodespec.host.tree import Tree

CMDLINE = "/proc/cmdline"
GENERATORS = _systemd_units.list_search_folders("systemd/system-generators")


def read_boot_parameters(tree: Tree) -> List[Tuple[str, str, Evidence]]:
    """Return the known parameters of the next boot, with `_` for `-` in names."""
    return tree.once(_read_boot_parameters)


def _read_boot_parameters(tree: Tree) -> List[Tuple[str, str, Evidence]]:
    if tree.running:
        line = tree.line(CMDLINE)
        text, at = (line.value, line.evidence) if isinstance(line, Value) else ("", Evidence(CMDLINE))
    else:
        from nodespec.checks import _boot_cmdline  # noqa: PLC0415

        known = _boot_cmdline.resolve_cmdline(tree)
        text, at = (known.value.text, known.evidence) if isinstance(known, Value) else ("", Evidence(CMDLINE))
    return [(key, value, at) for key, value in _kernel_names.parse_cmdline(text)]


def read_switch(tree: Tree, key: str) -> str:
    """Return the last value of a switch; empty if it is not set."""
    values = [value or "yes" for name, value, _ in read_boot_parameters(tree) if name == key]
    return values[-1] if values else ""


def is_switched_off(tree: Tree, key: str) -> bool:
    """Return whether the command line disables something, as in `systemd.swap=no`."""
    return is_no(read_switch(tree, key))


def has_generator(tree: Tree, name: str) -> bool:
    """Return whether a generator is installed and not masked."""
    for folder in GENERATORS:
        path = f"{folder}/{name}"
        if isinstance(tree.entry(path, follow=False), Value):
            return not _systemd_units.is_masked(tree, path)
    return False


def runs_generator(tree: Tree, name: str) -> bool:
    """Return whether a boot runs one of systemd's own generators.

    It must be installed, unless the tree has none of them.
    """
    if has_generator(tree, name):
        return True
    masked = any(isinstance(tree.entry(f"{folder}/{name}", follow=False), Value) for folder in GENERATORS)
    return not masked and not tree.once(_has_generators)


def _has_generators(tree: Tree) -> bool:
    names = (tree.names(folder) for folder in GENERATORS)
    return any(name.startswith("systemd-") for seen in names if isinstance(seen, Value) for name in seen.value)
