"""Swap areas that the next boot switches on: from /etc/fstab, units of systemd, its zram generator, other services."""

from __future__ import annotations

import re
from functools import partial
from typing import Callable, Dict, Iterator, List, Tuple, Union

from nodespec.checks import _units
from nodespec.mounts import unescaped
from nodespec.named import NamedTuple
from nodespec.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value
from nodespec.tree import Tree

FSTAB = "/etc/fstab"
TARGET = "swap.target"
ZRAM = "zram-generator.conf"
GENERATORS = tuple(f"{folder}/zram-generator" for folder in _units.folders("systemd/system-generators"))
CONFIGURATIONS = _units.folders(f"systemd/{ZRAM}")
SERVICES = {  # what these switch on, whatever it is called in their own configuration
    "zramswap.service": "/dev/zram0",
    "zram-config.service": "/dev/zram0",
    "dphys-swapfile.service": "/var/swap",
}
TAGS = ("UUID", "LABEL", "PARTUUID", "PARTLABEL", "ID")
NAMED = ("/", *(f"{tag}=" for tag in TAGS))  # what an area can be named by
HEADING = 4096  # bytes of the page that heads an area


class Area(NamedTuple):
    """An area as it is declared: `path` may be a tag such as `UUID=...`."""

    path: str
    at: Evidence

    @property
    def type(self) -> str:
        """What a path may be before it is there."""
        return "partition" if self.path.startswith(("/dev/", *NAMED[1:])) else "file"

    def size(self, tree: Tree) -> Observation[int]:
        """That of a file is known before it is switched on."""
        entry = tree.entry(self.path) if self.type == "file" else None
        if isinstance(entry, Value) and entry.value.kind == "file":
            return Value(max(entry.value.size - HEADING, 0), Evidence(self.path, inferred=True))
        if isinstance(entry, Unknown):
            return entry
        return Unknown(DEFERRED, f"only a running machine can tell the size of {self.path}")


def areas(tree: Tree) -> Union[Tuple[Area, ...], Unknown]:
    """All that is declared and not held back, each path once."""
    return tree.once(_areas)


def _areas(tree: Tree) -> Union[Tuple[Area, ...], Unknown]:
    """Under systemd they come on with its target; others know /etc/fstab alone."""
    system = _units.init(tree)
    if isinstance(system, Unknown):
        return system
    if isinstance(system, Absent):
        return Unknown(DEFERRED, f"nothing here would switch swap on: {_units.INIT} is not there")
    looks: List[Callable[[Tree], Iterator[Union[Area, Unknown]]]] = [_in_fstab]
    if system.value == "systemd":
        looks = [] if _is_masked(tree, TARGET) else [partial(_unmasked, _in_fstab), partial(_unmasked, _in_units)]
        looks += [_by_generator, _by_services]
    found: Dict[str, Area] = {}
    for look in looks:
        for area in look(tree):
            if isinstance(area, Unknown):
                return area
            found.setdefault(area.path, area)
    return tuple(found.values())


def _in_fstab(tree: Tree) -> Iterator[Union[Area, Unknown]]:
    text = tree.text(FSTAB, _units.LIMIT)
    if isinstance(text, Unknown):
        yield text
    for number, line in enumerate(text.value.split("\n"), 1) if isinstance(text, Value) else ():
        what, _, kind, options = (*line.split(), "", "", "", "")[:4]
        if kind == "swap" and what.startswith(NAMED) and "noauto" not in options.split(","):
            yield Area(unescaped(what.replace('"', "")), Evidence(FSTAB, number))


def _in_units(tree: Tree) -> Iterator[Union[Area, Unknown]]:
    units = _units.merged(tree, _units.UNITS, ".swap")
    if isinstance(units, Unknown):
        yield units
    for path in units.value if isinstance(units, Value) else ():
        enabled, text = _units.enabled(tree, path.rpartition("/")[2]), _units.said(tree, path)
        for look in (enabled, text):
            if isinstance(look, Unknown):
                yield look
        if isinstance(enabled, Value) and enabled.value and isinstance(text, Value):
            for line, section, name, value in _units.settings(text.value):
                if (section, name) == ("Swap", "What") and value.startswith("/"):
                    yield Area(value, Evidence(path, line))


def _unmasked(look: Callable[[Tree], Iterator[Union[Area, Unknown]]], tree: Tree) -> Iterator[Union[Area, Unknown]]:
    """Of these areas those whose unit is not masked."""
    return (area for area in look(tree) if isinstance(area, Unknown) or not _is_masked(tree, _unit(area.path)))


def _unit(path: str) -> str:
    """The unit of an area; udev has a link for each tag."""
    tag, _, value = path.partition("=")
    return f"{_units.escaped(f'/dev/disk/by-{tag.lower()}/{value}' if tag in TAGS else path)}.swap"


def _is_masked(tree: Tree, name: str) -> bool:
    file = _units.unit(tree, name)
    return isinstance(file, Value) and _units.is_masked(tree, file.value)


def _by_generator(tree: Tree) -> Iterator[Union[Area, Unknown]]:
    """A section of the generator's configuration is a device: swap, unless it is to be mounted or of no size."""
    generator = _standing(tree, GENERATORS)
    if not generator or _units.is_masked(tree, generator):
        return
    more = _units.merged(tree, _units.folders(f"systemd/{ZRAM}.d"))
    sections: Dict[str, Dict[str, str]] = {}
    first: Dict[str, Evidence] = {}
    for path in (_standing(tree, CONFIGURATIONS), *(more.value if isinstance(more, Value) else ())):
        text = _units.said(tree, path) if path else Value("", Evidence(FSTAB))
        if not isinstance(text, Value):
            yield from [text] if isinstance(text, Unknown) else ()
            return
        for line, section, name, value in _units.settings(text.value):
            first.setdefault(section, Evidence(path, line))
            sections.setdefault(section, {})[name] = value
    for section, said in sections.items():
        if re.fullmatch(r"zram\d{1,4}", section) and not {"mount-point", "fs-type"} & said.keys():
            yield from [Area(f"/dev/{section}", first[section])] if said.get("zram-size") != "0" else ()


def _standing(tree: Tree, paths: Tuple[str, ...]) -> str:
    """The first path at which something stands."""
    return next((path for path in paths if isinstance(tree.entry(path, follow=False), Value)), "")


def _by_services(tree: Tree) -> Iterator[Union[Area, Unknown]]:
    for service, path in SERVICES.items():
        enabled = _units.enabled(tree, service)
        if isinstance(enabled, Unknown):
            yield enabled
        elif isinstance(enabled, Value) and enabled.value:
            yield Area(path, enabled.evidence)
