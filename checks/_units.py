"""What a boot starts, as files say it: the init system, and which units of systemd it starts.

Nothing below /run counts, since that is empty when a machine boots; and so this means the same live and at rest.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from os.path import basename, join, normpath
from typing import Dict, Iterable, Iterator, Mapping, Tuple, Union

from nodespec.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.tree import Tree

INIT = "/sbin/init"
SHARED = ("busybox", "sysvinit")  # which start OpenRC where that is
SYSTEMD = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")
UNITS = (  # the first that has a unit counts
    "/etc/systemd/system.control",
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
PATH = ":".join(UNITS)
MACHINE_ID = "/etc/machine-id"
SOURCES = (INIT, "*/systemd/system*")
ELSEWHERE = ("initrd", "rescue.", "emergency.", "shutdown.", "reboot.", "poweroff.", "halt.")  # no boot leads to these
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


def init(tree: Tree) -> Observation[str]:
    """The init system that a boot starts, by the program that stands as /sbin/init: systemd, openrc, sysvinit, ..."""
    target, entry = tree.link(INIT), tree.entry(INIT, follow=False)
    if isinstance(entry, Absent):  # an initramfs starts systemd itself, where that is
        found = next((path for path in SYSTEMD if isinstance(tree.entry(path), Value)), "")
        return Value("systemd", Evidence(found, inferred=True)) if found else entry
    if isinstance(entry, Unknown):
        return entry
    program = basename(normpath(target.value)) if isinstance(target, Value) else "sysvinit"
    if program == "openrc-init" or (program in SHARED and isinstance(tree.program("openrc"), Value)):
        program = "openrc"
    return Value(program, Evidence(INIT, inferred=True))


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
    """Whether the file of a unit says that it must not be started: a link to /dev/null, or empty."""
    target, entry = tree.link(path), tree.entry(path, follow=False)
    if isinstance(target, Value):
        return normpath(join(path, "..", target.value)) == "/dev/null"
    return isinstance(entry, Value) and entry.value.kind == "file" and not entry.value.size


def enabled(tree: Tree, name: str) -> Observation[bool]:
    """Whether a boot starts a unit: something wants it, or a preset will see to it at a first boot, and no mask."""
    file = _readable(tree, name)
    if not isinstance(file, Value):
        return file
    if is_masked(tree, file.value):
        return Value(value=False, evidence=file.evidence)
    links = tree.once(_links)
    if isinstance(links, Unknown):
        return links
    return Value(value=True, evidence=Evidence(links[name])) if name in links else _first_boot(tree, name, file)


def wanted(tree: Tree) -> Iterable[str]:
    """The units that others pull in by links."""
    links = tree.once(_links)
    return () if isinstance(links, Unknown) else sorted(links)


def _readable(tree: Tree, name: str) -> Observation[str]:
    """The file of a unit, where systemd is what boots."""
    system = init(tree)
    if isinstance(system, Absent):
        return Unknown("not found", f"there is no init system: {INIT} is not there")
    if isinstance(system, Value) and system.value != "systemd":
        return Unknown("unsupported", f"which services {system.value} starts cannot be read yet")
    return unit(tree, name) if isinstance(system, Value) else system


def _links(tree: Tree) -> Union[Mapping[str, str], Unknown]:
    """Every unit that another one pulls in by a link, with the link."""
    found: Dict[str, str] = {}
    for folder in UNITS:
        names = tree.names(folder)
        if isinstance(names, Unknown):
            return names
        for name in names.value if isinstance(names, Value) else ():
            if name.endswith((".wants", ".requires", ".upholds")) and not name.startswith(ELSEWHERE):
                linked = tree.names(f"{folder}/{name}")
                if isinstance(linked, Unknown):
                    return linked
                for one in linked.value if isinstance(linked, Value) else ():
                    found.setdefault(one, f"{folder}/{name}/{one}")
    return found


INSTALLS = r"^[ \t]*(WantedBy|RequiredBy|UpheldBy)[ \t]*=[ \t]*\S"


def _first_boot(tree: Tree, name: str, file: Value[str]) -> Observation[bool]:
    """Without a link a unit is not started, unless a first boot enables it, as presets have it."""
    identity, text = tree.line(MACHINE_ID), said(tree, file.value)
    for look in (identity, text):
        if isinstance(look, Unknown):
            return look
    first = isinstance(identity, Absent) or (isinstance(identity, Value) and identity.value == "uninitialized")
    if not first or not isinstance(text, Value) or not re.search(INSTALLS, text.value, re.MULTILINE):
        return Value(value=False, evidence=file.evidence)
    return preset(tree, name)


def preset(tree: Tree, name: str) -> Observation[bool]:
    """Whether presets enable a unit: the first line whose pattern it matches; without one they do."""
    files = merged(tree, PRESETS, ".preset")
    if not isinstance(files, Value):
        return files
    for path in files.value:
        text = said(tree, path)
        if not isinstance(text, Value):
            return text
        for number, line in lines(text.value):
            verb, pattern = (*line.split(), "", "")[:2]
            if verb in ("enable", "disable", "ignore") and fnmatchcase(name, pattern):
                return Value(verb == "enable", Evidence(path, number, inferred=True))
    return Value(value=True, evidence=files.evidence._replace(inferred=True))


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
