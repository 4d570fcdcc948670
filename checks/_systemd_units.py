"""Configuration directories of systemd and similar programs: search paths, masks."""

from __future__ import annotations

import re
from os.path import join, normpath

from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, Iterable, Iterator, Tuple

UNITS = (  # the first directory that has a unit counts
    "/etc/systemd/system.control",
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
UNIT_PATH = ":".join(UNITS)
MAX_NAME_CHARS = 255
MAX_LINKS = 16  # links from a name to a mask
MAX_TEXT_BYTES = 1 << 18  # bytes of a file


def list_search_folders(name: str) -> Tuple[str, ...]:
    """Return the directories of files such as `sysctl.d`, the administrator's first."""
    return tuple(f"{parent}/{name}" for parent in ("/etc", "/usr/local/lib", "/usr/lib", "/lib"))


PRESETS = list_search_folders("systemd/system-preset")


def merge_folders(tree: Tree, places: Iterable[str], suffix: str = ".conf") -> Observation[Tuple[str, ...]]:
    """Return the files of several directories, sorted by name.

    If several have the same name, the first directory counts.
    """
    files: Dict[str, str] = {}
    looked = tuple(places)
    for folder in looked:
        names = tree.names(folder)
        if isinstance(names, Unknown):
            return names
        for name in names.value if isinstance(names, Value) else ():
            if name.endswith(suffix) and not name.startswith("."):
                files.setdefault(name, f"{folder}/{name}")
    return Value(tuple(files[name] for name in sorted(files)), Evidence(":".join(looked)))


def read_optional_text(tree: Tree, path: str) -> Observation[str]:
    """Return the text of a file; empty if it is a broken link or not a file."""
    entry = tree.entry(path)
    if isinstance(entry, Absent) or (isinstance(entry, Value) and entry.value.kind != "file"):
        return Value("", Evidence(path))
    return tree.text(path, MAX_TEXT_BYTES)


def list_content_lines(text: str) -> Iterator[Tuple[int, str]]:
    """Yield the lines with content, numbered from 1; skip blank lines and comments."""
    stripped = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
    return ((number, line) for number, line in stripped if line and line[0] not in "#;")


def split_systemd_lines(text: str) -> Iterator[Tuple[int, str]]:
    """Yield the lines as systemd reads them, numbered from 1: a carriage return and a NUL end a line too.

    It refuses a line of 1 MiB, which no text here reaches.
    """
    for number, line in enumerate(text.split("\n"), 1):
        for piece in re.split("[\r\0]", line):
            yield number, piece


def read_variables(tree: Tree, path: str) -> Dict[str, str]:
    """Parse the `NAME=value` lines of a shell file, without quotes."""
    text = read_optional_text(tree, path)
    pairs = (line.partition("=") for _, line in list_content_lines(text.value)) if isinstance(text, Value) else ()
    return {name.strip(): value.strip().strip("\"'") for name, equals, value in pairs if equals}


def find_unit_file(tree: Tree, name: str) -> Observation[str]:
    """Return the file of a unit."""
    for folder in UNITS:
        path = f"{folder}/{name}"
        entry = tree.entry(path, follow=False)
        if isinstance(entry, Value):
            return Value(path, Evidence(path))
        if isinstance(entry, Unknown):
            return entry
    return Absent(Evidence(UNIT_PATH), f"unit {name} not found")


def is_masked(tree: Tree, path: str) -> bool:
    """Return whether a file is a mask: a link to /dev/null, or an empty file."""
    entry = tree.entry(path, follow=False)
    for _ in range(MAX_LINKS):
        if not isinstance(entry, Value) or entry.value.kind != "link":
            break
        target = tree.link(path)
        path = normpath(join(path, "..", target.value)) if isinstance(target, Value) else path
        if path == "/dev/null":  # the tree may lack this path
            return True
        entry = tree.entry(path, follow=False)
    return isinstance(entry, Value) and (
        entry.value.kind == "device" or (entry.value.kind == "file" and not entry.value.size)
    )


def parse_settings(text: str) -> Iterator[Tuple[int, str, str, str]]:
    """Yield line, section, name and value of a unit or a similar file.

    A section header has an empty name.
    """
    section = ""
    for number, line in list_content_lines(text):
        if line[0] == "[":
            section = line.strip("[]")
            yield number, section, "", ""
        else:
            name, _, value = line.partition("=")
            yield number, section, name.strip(), value.strip()


def escape_path(path: str) -> str:
    """Return a path as in a unit name, as `systemd-escape --path` prints it."""
    name = normpath(path).strip("/")
    if not name:
        return "-"
    kept = "".join("-" if c == "/" else c if re.match(r"[A-Za-z0-9:_.]", c) else _escape_character(c) for c in name)
    return _escape_character(".") + kept[1:] if kept[0] == "." else kept


def _escape_character(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode())
