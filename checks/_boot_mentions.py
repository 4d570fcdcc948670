"""Kernel parameters that the files of boot loaders contain, where their default entry is not known.

A loader can only pass on what its files contain. A parameter that none of them has is therefore not set, even if the
entry that starts is not known.
"""

from __future__ import annotations

import re

from nodespec.checks import _boot_systemd_boot
from nodespec.checks._boot_default import OTHER_CONFIGS
from nodespec.checks._boot_offers import ESPS, MAX_CONFIG_BYTES, MAX_FILES, find_grub_configs
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Unknown, Value

if TYPE_CHECKING:
    from typing import Iterator, Optional, Sequence, Tuple

    from nodespec.host.tree import Tree

FOLDERS = (
    *("/boot", "/boot/grub", "/boot/grub2", "/boot/extlinux", "/boot/syslinux", "/boot/limine", "/boot/firmware"),
    *("/extlinux", "/efi", "/boot/efi"),
    *(f"{esp}/{folder}" for esp in ESPS for folder in ("loader", "loader/entries", "EFI/Linux", "extlinux")),
)
CONFIG_NAME = re.compile(r"(?i).*\.(?:cfg|conf|txt|lst|env|scr|efi)|grubenv|default|cmdline")
FILES = ("/etc/kernel/cmdline", "/usr/lib/kernel/cmdline", *OTHER_CONFIGS)
SHORT_NAME_CHARS = 2  # names such as `1` and `s` count only beside another parameter
KERNEL_LINE = re.compile(r"root=|vmlinu|append|options|kernel", re.IGNORECASE)


def may_be_set(tree: Tree, names: Sequence[str]) -> bool:
    """Return whether a file of a boot loader contains one of these parameters, or cannot be read.

    A `*` at the end of a name matches any continuation.
    """
    lines = tree.once(_read_lines)
    return lines is None or any(_is_mentioned(name, lines) for name in names if name)


def _is_mentioned(name: str, lines: Tuple[str, ...]) -> bool:
    whole = re.escape(name.rstrip("*")).replace("_", "[-_]") + (r"[\w.-]*" if name.endswith("*") else "")
    pattern = re.compile(rf"(?:^|[\s\"'=]){whole}(?:=|[\s\"'\\]|$)")
    short = len(name) <= SHORT_NAME_CHARS
    return any(pattern.search(line) and not (short and not KERNEL_LINE.search(line)) for line in lines)


def _read_lines(tree: Tree) -> Optional[Tuple[str, ...]]:
    """Return all lines of all files; None if there may be more."""
    configs = find_grub_configs(tree)
    hidden = not configs and any(
        not isinstance(tree.entry(path, follow=False), Absent) for path in _boot_systemd_boot.ENVIRONMENTS
    )
    lines = [] if hidden else list(_iter_texts(tree, configs))
    if hidden or None in lines or len(lines) > MAX_FILES:
        return None
    return tuple(line for text in lines if text for line in re.split("[\n\0]", text))


def _iter_texts(tree: Tree, configs: Tuple[str, ...]) -> Iterator[Optional[str]]:
    """Yield the text of each file; None for one that cannot be read."""
    paths = dict.fromkeys((*configs, *FILES))
    for folder in FOLDERS:
        names = tree.names(folder)
        if isinstance(names, Unknown) and names.reason != "malformed":
            yield None
        for name in names.value if isinstance(names, Value) else ():
            if CONFIG_NAME.fullmatch(name):
                paths[f"{folder}/{name}"] = None
    for path in list(paths)[: MAX_FILES + 1]:
        yield _read_mentions(tree, path)


def _read_mentions(tree: Tree, path: str) -> Optional[str]:
    """Return the text of a file, or the command line of an image; None if it cannot be read."""
    entry = tree.entry(path)
    if isinstance(entry, Absent) or (isinstance(entry, Value) and entry.value.kind != "file"):
        return ""
    if path.lower().endswith(".efi"):
        image = _boot_systemd_boot.read_image_sections(tree, path)
        return (image.value.options or "") if isinstance(image, Value) else None
    data = tree.read(path, MAX_CONFIG_BYTES)
    return data.value.decode("latin-1") if isinstance(data, Value) else None
