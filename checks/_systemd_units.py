"""Directories and files of configuration as systemd and its like read them: search paths, masks, unit names."""

from __future__ import annotations

import re
from os.path import join, normpath
from typing import Dict, Iterable, Iterator, Tuple

from nodespec.host.tree import Tree
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

UNITS = (  # the first that has a unit counts
    "/etc/systemd/system.control",
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
PATH = ":".join(UNITS)
MAX_NAME_CHARS = 255
MAX_LINKS = 16  # from a name to a mask
LIMIT = 1 << 18  # bytes of a file


def folders(name: str) -> Tuple[str, ...]:
    """Where systemd and its like look for files of one kind, such as `sysctl.d`: who runs a machine comes first."""
    return tuple(f"{parent}/{name}" for parent in ("/etc", "/usr/local/lib", "/usr/lib", "/lib"))


PRESETS = folders("systemd/system-preset")


def merged(tree: Tree, places: Iterable[str], suffix: str = ".conf") -> Observation[Tuple[str, ...]]:
    """The files of several folders in the order of their names; of those with one name, the first folder's."""
    found: Dict[str, str] = {}
    looked = tuple(places)
    for folder in looked:
        names = tree.names(folder)
        if isinstance(names, Unknown):
            return names
        for name in names.value if isinstance(names, Value) else ():
            if name.endswith(suffix) and not name.startswith("."):
                found.setdefault(name, f"{folder}/{name}")
    return Value(tuple(found[name] for name in sorted(found)), Evidence(":".join(looked)))


def said(tree: Tree, path: str) -> Observation[str]:
    """What a file says; nothing where a link that leads nowhere, or to what is no file, stands in its place."""
    entry = tree.entry(path)
    if isinstance(entry, Absent) or (isinstance(entry, Value) and entry.value.kind != "file"):
        return Value("", Evidence(path))
    return tree.text(path, LIMIT)


def lines(text: str) -> Iterator[Tuple[int, str]]:
    """The lines that say something, from 1: no blank ones, and no comments."""
    stripped = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
    return ((number, line) for number, line in stripped if line and line[0] not in "#;")


def unit(tree: Tree, name: str) -> Observation[str]:
    """The file of a unit."""
    for folder in UNITS:
        path = f"{folder}/{name}"
        entry = tree.entry(path, follow=False)
        if isinstance(entry, Value):
            return Value(path, Evidence(path))
        if isinstance(entry, Unknown):
            return entry
    return Absent(Evidence(PATH), f"there is no unit {name}")


def is_masked(tree: Tree, path: str) -> bool:
    """Whether a file is a mask: a link to /dev/null, or an empty file."""
    entry = tree.entry(path, follow=False)
    for _ in range(MAX_LINKS):
        if not isinstance(entry, Value) or entry.value.kind != "link":
            break
        target = tree.link(path)
        path = normpath(join(path, "..", target.value)) if isinstance(target, Value) else path
        if path == "/dev/null":  # which the tree need not have
            return True
        entry = tree.entry(path, follow=False)
    return isinstance(entry, Value) and (
        entry.value.kind == "device" or (entry.value.kind == "file" and not entry.value.size)
    )


def settings(text: str) -> Iterator[Tuple[int, str, str, str]]:
    """Line, section, name and value of what a unit or another file of this form says; a section alone has no name."""
    section = ""
    for number, line in lines(text):
        if line[0] == "[":
            section = line.strip("[]")
            yield number, section, "", ""
        else:
            name, _, value = line.partition("=")
            yield number, section, name.strip(), value.strip()


def escaped(path: str) -> str:
    """A path as it stands in the name of a unit, as `systemd-escape --path` writes it."""
    name = normpath(path).strip("/")
    if not name:
        return "-"
    kept = "".join("-" if c == "/" else c if re.match(r"[A-Za-z0-9:_.]", c) else _hexed(c) for c in name)
    return _hexed(".") + kept[1:] if kept[0] == "." else kept


def _hexed(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode())
