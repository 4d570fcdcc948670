"""Boot loader entries of type 1, and systemd-boot's loader.conf.

https://uapi-group.org/specifications/specs/boot_loader_specification/ and systemd's src/boot/boot.c. Nothing raises: a
line that is not understood is ignored, as in the loaders.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import cmp_to_key

from nodespec.formats.version_order import compare_uapi
from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Iterable, Iterator, List, Optional, Tuple

MAX_LINE = 1 << 16  # Characters.
# The fields that name what an entry starts. The first of them that an entry has is used.
FIELDS = ("linux", "uki", "efi")


class BootEntry(NamedTuple):
    """An entry of a menu.

    `line` is the line that names the kernel. `left` and `done` are the boot counter: tries left and tries done.
    """

    id: str
    title: str = ""
    version: str = ""
    machine_id: str = ""
    sort_key: str = ""
    kernel: str = ""
    options: Tuple[str, ...] = ()
    line: int = 0
    left: Optional[int] = None
    done: int = 0
    field: str = ""


def parse_fields(text: str) -> Iterator[Tuple[int, str, str]]:
    """Yield line number, key and value: `title Debian`, `options root=/dev/vda quiet`."""
    for number, line in enumerate(text.split("\n"), 1):
        words = line.strip(" \t\r").split(None, 1) if len(line) <= MAX_LINE else []
        if words and not words[0].startswith("#"):
            yield number, words[0], words[1] if len(words) > 1 else ""


def parse(name: str, text: str) -> BootEntry:
    """Parse the entry in a file of this name."""
    said: Dict[str, str] = {}
    options: List[str] = []
    lines: Dict[str, int] = {}
    for number, field, value in parse_fields(text):
        if field == "options":
            options.append(value)
        else:
            said[field] = value
        lines[field] = number
    field = next((field for field in FIELDS if field in said), "")
    ident, left, done = split_boot_counter(name, ".conf")
    return BootEntry(
        ident,
        said.get("title", ""),
        said.get("version", ""),
        said.get("machine-id", ""),
        said.get("sort-key", ""),
        said.get(field, ""),
        tuple(options),
        lines.get(field, 0),
        left,
        done,
        field,
    )


def split_boot_counter(name: str, suffix: str) -> Tuple[str, Optional[int], int]:
    """Split a file name from its boot counter, tries left and done.

    `a+2-1.conf` is a.conf, 2, 1.
    """
    match = re.fullmatch(rf"(.+?)\+(\d{{1,9}})(?:-(\d{{1,9}}))?{re.escape(suffix)}", name, re.ASCII)
    if not match:
        return name, None, 0
    return match[1] + suffix, int(match[2]), int(match[3] or 0)


def sort_entries(entries: Iterable[BootEntry]) -> List[BootEntry]:
    """Sort entries as systemd-boot sorts its menu.

    Entries without tries left are last. Entries with a sort key are first. Versions are in descending order.
    """
    return sorted(entries, key=cmp_to_key(_compare_entries))


def _compare_entries(first: BootEntry, second: BootEntry) -> int:
    exhausted = (first.left == 0) - (second.left == 0)
    unsorted = (not first.sort_key) - (not second.sort_key)
    if exhausted or unsorted:
        return exhausted or unsorted
    if first.sort_key:
        order = _compare_words(first.sort_key, second.sort_key) or _compare_words(first.machine_id, second.machine_id)
        order = order or -compare_uapi(first.version, second.version)
        if order:
            return order
    return -compare_uapi(first.id, second.id) or _compare_tries(first, second)


def list_tied_entries(entry: BootEntry, entries: Iterable[BootEntry]) -> List[BootEntry]:
    """Return other entries of equal rank, whose order depends on the directory."""
    return [other for other in entries if other is not entry and _compare_entries(entry, other) == 0]


def _compare_words(first: str, second: str) -> int:
    return (first > second) - (first < second)


def _compare_tries(first: BootEntry, second: BootEntry) -> int:
    if first.left is None or second.left is None:
        return 0
    return (second.left - first.left) or (first.done - second.done)


def parse_default(text: str) -> str:
    """Return the value of the last `default` in a loader.conf; empty if there is none."""
    found = ""
    for _, field, value in parse_fields(text):
        if field == "default":
            found = value
    return found


def matches_entry(pattern: str, entry: BootEntry) -> bool:
    """Return whether a pattern matches an entry: fnmatch(3) on the id, in any case."""
    return fnmatchcase(entry.id.lower(), pattern.lower().replace("[^", "[!"))


class Sections(NamedTuple):
    """Sections of a unified kernel image.

    They are `uname -r` of its kernel, its command line and its os-release.
    """

    release: str
    options: Optional[str]
    system: Dict[str, str]


def parse_unified_image(name: str, sections: Sections) -> BootEntry:
    """Return the entry that systemd-boot makes of an image in EFI/Linux."""
    said = sections.system.get
    title = said("PRETTY_NAME") or said("IMAGE_ID") or said("NAME") or said("ID") or ""
    version = said("IMAGE_VERSION") or said("VERSION") or said("VERSION_ID") or said("BUILD_ID") or ""
    ident, left, done = split_boot_counter(name, name[-4:])
    options = () if sections.options is None else (sections.options,)
    sort_key = said("IMAGE_ID") or said("ID") or ""
    return BootEntry(ident, title, version, "", sort_key, "", options, 0, left, done, "uki")


def parse_os_release(text: str) -> Dict[str, str]:
    """Parse the assignments of an os-release file: `ID=debian`."""
    found: Dict[str, str] = {}
    for line in text.split("\n"):
        name, equals, value = line.strip().partition("=")
        if equals and re.fullmatch("[A-Z0-9_]+", name):
            value = value[1:-1] if value[:1] in ("'", '"') and value[:1] == value[-1:] and len(value) > 1 else value
            found[name] = re.sub(r"\\(.)", r"\1", value)
    return found
