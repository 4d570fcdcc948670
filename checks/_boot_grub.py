"""GRUB 2: evaluate grub.cfg with grubenv and the entries of /boot/loader.

Debian and Fedora keep a short grub.cfg on the EFI system partition that loads the one in /boot. RHEL 8 keeps the whole
file there. Each file is evaluated. If they start different kernels, the result is unknown, because the files do not
show which one the firmware uses.
"""

from __future__ import annotations

import re
from functools import cmp_to_key

from nodespec.checks._boot_offers import KERNEL_HINT, MAX_CONFIG_BYTES, PLACES, LoaderMenu, Offer
from nodespec.checks._boot_systemd_boot import list_entry_files, list_loader_folders
from nodespec.formats.boot_entry import parse as parse_entry
from nodespec.formats.grub_environment import HEADER, parse_environment
from nodespec.formats.grub_menu import GrubMenu as Script
from nodespec.formats.grub_state import GrubEntry, GrubKernel, UndecidedConditionError
from nodespec.formats.grub_syntax import parse_script
from nodespec.formats.grub_test import ANY
from nodespec.formats.version_order import compare_rpm_names
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Optional, Sequence, Tuple, Union

    from nodespec.host.tree import Tree


def read_grub_menus(tree: Tree, paths: Sequence[str]) -> Iterator[Observation[LoaderMenu]]:
    """Yield the menu of each grub.cfg."""
    seen: List[Tuple[Offer, ...]] = []
    for path in paths:
        menu = _read_grub_menu(tree, path)
        if isinstance(menu, Value) and menu.value.started in seen:
            continue
        if isinstance(menu, Value):
            seen.append(menu.value.started)
        yield menu


def _read_grub_menu(tree: Tree, path: str) -> Observation[LoaderMenu]:
    text = tree.text(path, MAX_CONFIG_BYTES)
    if not isinstance(text, Value):
        return text
    files = TreeFiles(tree, path)
    try:
        script = Script(files, path, text.value, _read_grubenv(files, path, text.value))
        started = tuple(map(_make_grub_offer, script.list_default_kernels()))
        fallbacks = tuple(tuple(map(_make_grub_offer, kernels)) for kernels in script.iterate_fallbacks())
        offers = tuple(map(_make_grub_offer, script.list_kernels())) if tree.kernel else ()
    except ValueError as error:
        reason = "hidden" if isinstance(error, UndecidedConditionError) else "unsupported"
        return files.unread or Unknown(reason, f"GRUB: {error}", KERNEL_HINT)
    return Value(LoaderMenu("GRUB", Evidence(path), started, offers, fallbacks, files.entered), Evidence(path))


def _read_grubenv(files: TreeFiles, path: str, text: str) -> Dict[str, str]:
    """Return the variables of grubenv for a script that does not load them itself.

    Such a script uses `${saved_entry}` without `load_env`.
    """
    if "load_env" in text or "${saved_entry}" not in text:
        return {}
    return parse_environment(files.text(f"{path.rpartition('/')[0]}/grubenv") or HEADER)


def _make_grub_offer(kernel: GrubKernel) -> Offer:
    lines = tuple(line.replace(ANY, " ") for line in kernel.options)
    is_whole = not any(ANY in line for line in kernel.options)
    return Offer(Evidence(kernel.file, kernel.line), kernel.path, lines, is_whole, name=kernel.entry)


class TreeFiles:
    """Files of a tree by GRUB path, which starts at a partition.

    Example: `($root)/grub2/grubenv`.
    """

    def __init__(self, tree: Tree, config: str) -> None:
        self._tree, self._config = tree, config
        self.unread: Optional[Unknown] = None
        self.entered = False  # whether the script reads the entries of /boot/loader

    def kind(self, path: str) -> Optional[str]:
        """Return the kind of a file; None if the path names an unknown device."""
        for place in self._list_places(path):
            entry = self._tree.entry(place)
            if isinstance(entry, Unknown):
                return None
            if isinstance(entry, Value):
                kind = "empty" if entry.value.kind == "file" and not entry.value.size else entry.value.kind
                return kind if _parse_device(path) in ("", ANY) else None
        return "" if _parse_device(path) in ("", ANY) else None

    def text(self, path: str) -> Optional[str]:
        """Return the content of a file; ValueError if it cannot be read."""
        for place in self._list_places(path):
            text = self._tree.text(place, MAX_CONFIG_BYTES)
            if isinstance(text, Unknown):
                self.unread = text
                raise ValueError(text.say)
            if isinstance(text, Value):
                return text.value
        return None

    def entries(self) -> Sequence[GrubEntry]:
        """Return the entries of /boot/loader in the order of Fedora's GRUB."""
        self.entered = True
        folders = [loader for loader in list_loader_folders(self._tree) if list_entry_files(self._tree, loader)]
        texts: Dict[str, str] = {}
        for path in list_entry_files(self._tree, folders[0]) if folders else ():
            text = self._tree.text(path, MAX_CONFIG_BYTES)
            if isinstance(text, Unknown):
                self.unread = text
                raise ValueError(text.say)
            texts[path] = text.value if isinstance(text, Value) else ""
        if len(folders) > 1:
            raise UndecidedConditionError(f"{folders[0]} and {folders[1]} both have entries")
        newest = sorted(texts, key=cmp_to_key(_compare_entry_paths), reverse=True)
        return [entry for path in newest if (entry := _convert_entry(path, texts[path]))]

    def _list_places(self, path: str) -> Iterator[str]:
        """Yield the paths in the tree that a GRUB path may have.

        A path below the folder of the configuration is taken as it is.
        """
        path = re.sub(r"^\([^)]*\)", "", path)
        if not path.startswith("/") or ".." in path:
            return
        folder = self._config.rpartition("/")[0]
        if path.startswith(f"{folder}/"):
            yield path
            return
        yield from (f"{place}{path}" for place in PLACES)


def _compare_entry_paths(first: str, second: str) -> int:
    return compare_rpm_names(_get_entry_id(first), _get_entry_id(second))


def _get_entry_id(path: str) -> str:
    return path.rpartition("/")[2][: -len(".conf")]


def _parse_device(path: str) -> str:
    return path[1:].partition(")")[0] if path.startswith("(") else ""


def _convert_entry(path: str, text: str) -> Union[GrubEntry, None]:
    """Convert an entry to the script that `blscfg` makes: `linux PATH OPTIONS`.

    GRUB expands the script and splits it into words.
    """
    entry = parse_entry(path.rpartition("/")[2], text)
    if entry.field != "linux":
        return None
    script = parse_script(f"linux {entry.kernel} {' '.join(entry.options[:1])}")
    body = tuple(command._replace(line=entry.line) for command in script if hasattr(command, "words"))
    return GrubEntry(entry.title or entry.kernel, _get_entry_id(path), path, entry.line, body)
