"""zram-generator: the units of compressed swap that it writes at boot.

https://github.com/systemd/zram-generator/blob/main/man/zram-generator.conf.md
"""

from __future__ import annotations

import re

from nodespec.checks import _systemd_switches, _systemd_units
from nodespec.checks._systemd_files import NORMAL, VENDOR, Link
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, Iterator, Tuple

    from nodespec.host.tree import Tree

FILE = "zram-generator.conf"
GENERATOR = "zram-generator"
CONFIGURATIONS = _systemd_units.list_search_folders(f"systemd/{FILE}")
SETUP = "systemd-zram-setup@"


def generate_zram_units(tree: Tree) -> Iterator[Tuple[str, object]]:
    """Yield units for each configured device: `dev-zram0.swap` for swap.target."""
    if not _systemd_switches.has_generator(tree, GENERATOR) or _systemd_switches.is_switched_off(tree, "systemd.zram"):
        return
    devices = read_zram_devices(tree)
    if isinstance(devices, Unknown) or not devices:
        return
    if not any(isinstance(tree.entry(f"{folder}/{SETUP}.service", follow=False), Value) for folder in VENDOR):
        yield f"stock/{SETUP}.service", "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/true\n"
    for name, at in devices.items():
        unit, setup = f"dev-{name}.swap", f"{SETUP}{name}.service"
        yield f"{NORMAL}/{unit}", f"[Unit]\nRequires={setup}\n[Swap]\nWhat=/dev/{name}\n"
        yield f"{NORMAL}/swap.target.wants/{unit}", Link(f"../{unit}", at)


def read_zram_devices(tree: Tree) -> Dict[str, Evidence] | Unknown:
    """Return the swap devices with their source.

    A section with a mount point or with size 0 does not count.
    """
    more = _systemd_units.merge_folders(tree, _systemd_units.list_search_folders(f"systemd/{FILE}.d"))
    if isinstance(more, Unknown):
        return more
    sections: Dict[str, Dict[str, str]] = {}
    first: Dict[str, Evidence] = {}
    main = next((path for path in CONFIGURATIONS if isinstance(tree.entry(path, follow=False), Value)), "")
    for path in (main, *(more.value if isinstance(more, Value) else ())):
        text = _systemd_units.read_optional_text(tree, path) if path else Value("", Evidence(""))
        if isinstance(text, Unknown):
            return text
        for line, section, name, value in _systemd_units.parse_settings(text.value) if isinstance(text, Value) else ():
            first.setdefault(section, Evidence(path, line))
            sections.setdefault(section, {})[name] = value
    return {name: first[name] for name, settings in sections.items() if is_swap_device(name, settings)}


def is_swap_device(name: str, settings: Dict[str, str]) -> bool:
    """Return whether a section is a swap device.

    Example: `[zram0]` without `mount-point`, with a size above 0.
    """
    if not re.fullmatch(r"zram\d{1,4}", name) or {"mount-point", "fs-type"} & settings.keys():
        return False
    if settings.get("fs-type", "swap") != "swap":
        return False
    return settings.get("zram-size", "").strip() != "0" and settings.get("zram-fraction", "").strip() not in (
        "0",
        "0.0",
    )
