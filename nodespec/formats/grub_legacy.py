"""Menus of GRUB 0.97 (menu.lst, grub.conf) and of zipl, the loader of s390x.

https://www.gnu.org/software/grub/manual/legacy/ and zipl.conf(5).
"""

from __future__ import annotations

import re

from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, List, Tuple

MAX_ENTRIES = 512
MAX_LINE = 1 << 14  # Characters. Longer lines are ignored.


class LegacyEntry(NamedTuple):
    """A kernel of the menu, and the line that names it.

    `other` is what the entry starts instead of Linux.
    """

    name: str
    line: int
    kernel: str = ""
    options: str = ""
    other: str = ""


class LegacyMenu(NamedTuple):
    """A menu.lst; `default` is a number or `saved`."""

    entries: Tuple[LegacyEntry, ...]
    default: str
    fallback: Tuple[str, ...]
    other: str = ""  # A statement that reads another menu.


def parse_menu(text: str) -> LegacyMenu:
    """Parse a menu.lst.

    Example of the input:

        default 0
        title Linux
        kernel /vmlinuz root=/dev/sda1
    """
    entries: List[LegacyEntry] = []
    said: Dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        words = re.split(r"[\s=]+", line.strip(), maxsplit=1) if len(line) <= MAX_LINE else [""]
        field, value = words[0].lower(), words[1] if len(words) > 1 else ""
        if field == "title" and len(entries) < MAX_ENTRIES:
            entries.append(LegacyEntry(value, number))
        elif not entries:
            said[field] = value
        elif field == "kernel":
            kernel, _, options = re.sub(r"^(--\S+\s+)+", "", value).partition(" ")
            other = kernel if "xen" in kernel.rpartition("/")[2] else ""
            entries[-1] = entries[-1]._replace(kernel=kernel, options=options.strip(), line=number, other=other)
        elif field in ("chainloader", "configfile", "module"):
            entries[-1] = entries[-1]._replace(other=entries[-1].other or f"{field} {value}")
    other = next((f"{field} {said[field]}" for field in ("configfile",) if field in said), "")
    return LegacyMenu(tuple(entries), said.get("default", "0").strip(), tuple(said.get("fallback", "").split()), other)


class Zipl(NamedTuple):
    """A zipl.conf: its sections, the default section, and `automatic`.

    `default` is from `default=` or from the menu. `automatic`: entries of /boot/loader are used.
    """

    entries: Tuple[LegacyEntry, ...]
    default: str
    automatic: bool


def parse_zipl(text: str) -> Zipl:
    """Parse a zipl.conf.

    Example of the input:

        [defaultboot]
        default=linux
        [linux]
        image=/boot/vmlinuz
        parameters="root=/dev/dasda1"
    """
    sections: Dict[str, Dict[str, Tuple[str, int]]] = {}
    name = ""
    for number, line in enumerate(map(str.strip, text.split("\n")), 1):
        head = re.fullmatch(r"\[([^\]]+)\]|(:\S+)", line)
        if head and len(sections) < MAX_ENTRIES:
            name = (head[1] or head[2]).strip()
            sections.setdefault(name, {})
        elif name and line and line[0] != "#" and len(line) <= MAX_LINE:
            field, _, value = line.partition("=")
            sections[name][field.strip().lower()] = (_unquote_text(value.strip()), number)
    entries = [
        LegacyEntry(name, said["image"][1], said["image"][0].partition(",")[0], said.get("parameters", ("", 0))[0])
        for name, said in sections.items()
        if "image" in said
    ]
    boot = sections.get("defaultboot", {})
    default = boot.get("default", ("", 0))[0]
    menu = sections.get(f":{boot['defaultmenu'][0].lstrip(':')}", {}) if "defaultmenu" in boot else {}
    if menu:
        default = menu.get(menu.get("default", ("1", 0))[0], ("", 0))[0]
    return Zipl(tuple(entries), default, "defaultauto" in boot)


def _unquote_text(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
