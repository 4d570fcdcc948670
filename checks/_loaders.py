"""What boot loaders are set up to start: GRUB, those that read the entries of /boot/loader, those that read extlinux.

https://uapi-group.org/specifications/specs/boot_loader_specification/ says what an entry is.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Dict, Iterator, List, Mapping, Optional, Tuple

from nodespec.checks import _grub, _kernel
from nodespec.checks._grub import Offer
from nodespec.checks._kernel import PARTITIONS
from nodespec.named import NamedTuple
from nodespec.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.tree import Tree

GRUB = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
LOADERS = tuple(f"{partition}/loader" for partition in PARTITIONS)
EXTLINUX = "/boot/extlinux/extlinux.conf"
SOURCES = (*GRUB, *(f"{loader}/entries/*" for loader in LOADERS), EXTLINUX)
LIMIT, MOST = 1 << 20, 256  # bytes of a file; entries


class Menu(NamedTuple):
    """All kernels that are offered, and that which is started without being asked for, if it is told."""

    offers: Tuple[Offer, ...]
    started: Optional[Offer]


def menu(tree: Tree) -> Observation[Menu]:
    """What the first loader that offers a kernel says."""
    for look in (_grub_menu, _entries_menu, _extlinux_menu):
        found = look(tree)
        if isinstance(found, Unknown) or (isinstance(found, Value) and found.value.offers):
            return found
    return Absent(Evidence(":".join((*GRUB, *LOADERS, EXTLINUX))))


def _grub_menu(tree: Tree) -> Observation[Menu]:
    for path in GRUB:
        text = tree.text(path, LIMIT)
        if isinstance(text, Unknown):
            return text
        if isinstance(text, Value):
            kept = tree.text(f"{path.rpartition('/')[0]}/grubenv", LIMIT)
            return _of_grub(tree, _grub.menu(path, text.value, _grub.environment(_said(kept))), text.evidence)
    return Absent(Evidence(":".join(GRUB)))


def _of_grub(tree: Tree, found: _grub.Menu, at: Evidence) -> Observation[Menu]:
    offers = list(found.offers)
    if found.entries is not None:
        entries = _entries(tree)
        if not isinstance(entries, Value):
            return entries
        newest = sorted(entries.value, key=lambda entry: _kernel.order(entry.offer.names[0]), reverse=True)
        offers[found.entries : found.entries] = [entry.filled(found.variables) for entry in newest]
    started = _grub.chosen(offers, found.default) if found.default is not None else None
    return Value(Menu(tuple(_grub.flat(offers)), started), at)


class _Entry(NamedTuple):
    """A file of /boot/loader/entries. `rank`: how these are told apart where one must come first."""

    offer: Offer
    rank: Tuple[bool, str, str]

    def filled(self, variables: Mapping[str, str]) -> Offer:
        """The offer with GRUB's variables filled in, as RHEL has them."""
        filled = re.sub(r"\$\{?(\w+)\}?", lambda found: variables.get(found[1], ""), self.offer.options)
        return self.offer._replace(options=filled)


def _entries(tree: Tree) -> Observation[List[_Entry]]:
    """Those of the first partition that has any."""
    for loader in LOADERS:
        names = tree.names(f"{loader}/entries")
        if isinstance(names, Unknown):
            return names
        files = [name for name in names.value if name.endswith(".conf")] if isinstance(names, Value) else []
        texts = [tree.text(f"{loader}/entries/{name}", LIMIT) for name in files[:MOST]]
        unread = next((text for text in texts if isinstance(text, Unknown)), None)
        if files:
            found = [_entry(text.value, text.evidence) for text in texts if isinstance(text, Value)]
            return unread or Value(found, Evidence(f"{loader}/entries"))
    return Absent(Evidence(":".join(LOADERS)))


def _entry(text: str, at: Evidence) -> _Entry:
    said: Dict[str, str] = {}
    line = 0
    for number, key, value in _fields(text):
        said[key] = f"{said[key]} {value}" if key == "options" and key in said else value
        line = number if key in ("linux", "efi", "uki") else line
    name = re.sub(r"(\+\d+(-\d+)?)?\.conf$", "", at.source.rpartition("/")[2])  # how often it is still to be tried
    kernel = said.get("linux") or said.get("uki") or said.get("efi", "")
    offer = Offer(
        (name, said.get("title", "")), at._replace(line=line), kernel, said.get("options", ""), said.get("version", "")
    )
    return _Entry(offer, ("sort-key" not in said, said.get("sort-key", ""), said.get("machine-id", "")))


def _fields(text: str) -> Iterator[Tuple[int, str, str]]:
    """Line, key and value of lines that begin with a word."""
    for number, line in enumerate(text.split("\n"), 1):
        words = line.strip().split(None, 1)
        if words and words[0][0] != "#" and len(line) <= _grub.LONGEST:
            yield number, words[0].lower(), words[1] if len(words) > 1 else ""


def _entries_menu(tree: Tree) -> Observation[Menu]:
    """As systemd-boot sorts them, and with the default of its loader.conf, which is a pattern."""
    entries = _entries(tree)
    if not isinstance(entries, Value):
        return entries
    ordered = sorted(
        entries.value, key=lambda entry: _kernel.order(entry.offer.version or entry.offer.names[0]), reverse=True
    )
    offers = [entry.offer for entry in sorted(ordered, key=lambda entry: entry.rank)]
    conf = tree.text(f"{entries.evidence.source.rpartition('/')[0]}/loader.conf", LIMIT)
    default = next((value for _, key, value in _fields(_said(conf)) if key == "default"), "")
    meant = [one for one in offers if fnmatchcase(one.names[0], re.sub(r"\.conf$", "", default))] if default else []
    started = None if default.startswith("@") else next(iter(meant or offers), None)  # `@saved` is in the firmware
    return Value(Menu(tuple(_grub.flat(offers)), started), entries.evidence)


def _extlinux_menu(tree: Tree) -> Observation[Menu]:
    text = tree.text(EXTLINUX, LIMIT)
    if not isinstance(text, Value):
        return text
    offers: List[Offer] = []
    default = ""
    for number, key, value in _fields(text.value):
        if key == "default":
            default = value
        elif key == "label":
            offers.append(Offer((value,), Evidence(EXTLINUX, number)))
        elif key in ("linux", "kernel") and offers:
            offers[-1] = offers[-1]._replace(kernel=value, at=Evidence(EXTLINUX, number))
        elif key == "append" and offers:
            offers[-1] = offers[-1]._replace(options=value)
    started = next((one for one in offers if default in one.names), next(iter(offers), None))
    return Value(Menu(tuple(_grub.flat(offers)), started), text.evidence)


def _said(text: Observation[str]) -> str:
    return text.value if isinstance(text, Value) else ""
