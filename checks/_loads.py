"""The modules that a boot loads because files say so, whatever hardware there is and whatever programs will want.

They are named by modules-load.d, by /etc/modules, on the command line, and by systemd itself, which always wants some,
and has units that do. What udev finds for devices, and what comes with a file system or a socket, is not among them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Dict, Iterator, List, Mapping, Tuple, Union

from nodespec.checks import _command_line, _kernel, _modprobe, _units
from nodespec.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.tree import Tree

if TYPE_CHECKING:
    from typing import TypeAlias

FOLDERS, FILE, OPENRC = _units.folders("modules-load.d"), "/etc/modules", "/etc/conf.d/modules"
SOURCES = ("*/modules-load.d*", FILE, OPENRC, "*/modules/*", *_kernel.LINE, *_units.SOURCES)
SERVICE = "systemd-modules-load.service"
PARAMETERS = ("modules_load", "rd.modules_load", "rd.driver.pre", "rd.driver.post")
REFUSED = ("module_blacklist", "modprobe.blacklist")  # by the kernel; by modprobe, unless it is asked by name
ALWAYS = ("autofs4", "ipv6", "unix")  # wanted by systemd's first process, where they are modules
WANTS = re.compile(r"^[ \t]*(?:Wants|Requires|BindsTo)[ \t]*=(.*)$", re.MULTILINE)
WANTED = re.compile(r"modprobe@([\w-]{1,64})\.service")
Named: TypeAlias = "Dict[str, Evidence]"


def loaded(tree: Tree) -> Observation[Mapping[str, Evidence]]:
    """Modules that are loaded then, each with what says so, and with what these need."""
    return tree.once(_loaded)


def banned(tree: Tree) -> Mapping[str, Evidence]:
    """Modules that the kernel itself will refuse."""
    return {name: at for key, name, at in _on_command_line(tree) if key == REFUSED[0]}


def _loaded(tree: Tree) -> Observation[Mapping[str, Evidence]]:
    installed, named = _kernel.installed(tree), _named(tree)
    if not isinstance(named, Value):
        return named
    if not isinstance(installed, Value):
        return Value({}, named.evidence) if isinstance(installed, Absent) else installed
    text = tree.text(installed.evidence.source)
    rows = text.value.split("\n") if isinstance(text, Value) else []
    kept = {name for key, name, _ in _on_command_line(tree) if key == REFUSED[1]}
    found: Named = {}
    for alias, at in named.value.items():
        name = alias if alias in installed.value else _aliased(tree, alias)
        if name not in installed.value or name in kept or _modprobe.blacklisted(tree, name):
            continue
        needed = [_kernel.module(file) for file in rows[installed.value[name] - 1].replace(":", " ").split()]
        if all(_may_load(tree, one) for one in needed):
            found.update((one, at) for one in needed if one not in found)
    return Value(found, named.evidence)


def _may_load(tree: Tree, name: str) -> bool:
    command = _modprobe.install(tree, name)
    return name not in banned(tree) and not (isinstance(command, _modprobe.Command) and command.blocks)


def _aliased(tree: Tree, name: str) -> str:
    """The module that goes by another name as well."""
    folder = _kernel.tree(tree)
    text = tree.text(f"{folder.value}/modules.alias") if isinstance(folder, Value) else folder
    if not isinstance(text, Value):
        return ""
    found = re.search(rf"^alias {re.escape(name).replace('_', '[-_]')} (\S+)$", text.value, re.MULTILINE)
    return _kernel.named(found[1]) if found else ""


def _named(tree: Tree) -> Observation[Named]:
    """All that is named anywhere, by what names it first."""
    system = _units.init(tree)
    if isinstance(system, Unknown):
        return system
    named: Named = {}
    at = Evidence(":".join(FOLDERS))
    for look in _looks(tree, system.value if isinstance(system, Value) else ""):
        if isinstance(look, Unknown):
            return look
        for name, where in look:
            named.setdefault(_kernel.named(name), where)
    return Value(named, at)


def _looks(tree: Tree, system: str) -> Iterator[Union[List[Tuple[str, Evidence]], Unknown]]:
    files = _units.merged(tree, FOLDERS)
    if isinstance(files, Unknown):
        yield files
    service = _units.unit(tree, SERVICE) if system == "systemd" else None
    masked = isinstance(service, Value) and _units.is_masked(tree, service.value)
    paths = files.value if isinstance(files, Value) and system and not masked else ()
    more = (FILE,) if system not in ("", "systemd") else ()  # systemd reads it by a link only
    for path in (*paths, *more):
        text = _units.said(tree, path)
        if not isinstance(text, Value):
            yield text if isinstance(text, Unknown) else []
            continue
        yield [(line.split()[0], Evidence(path, number)) for number, line in _units.lines(text.value)]
    yield [(name, at) for key, name, at in _on_command_line(tree) if key in PARAMETERS]
    if system == "openrc":
        yield list(_of_openrc(tree))
    if system == "systemd":
        yield [(name, Evidence(_units.INIT, inferred=True)) for name in ALWAYS]
        yield list(_of_units(tree))


def _of_openrc(tree: Tree) -> Iterator[Tuple[str, Evidence]]:
    text = _units.said(tree, OPENRC)
    for number, line in _units.lines(text.value) if isinstance(text, Value) else ():
        found = re.fullmatch(r"modules(?:_\w+)?=[\"']?([^\"']*)[\"']?", line)
        for name in found[1].split() if found else ():
            yield name, Evidence(OPENRC, number)


def _of_units(tree: Tree) -> Iterator[Tuple[str, Evidence]]:
    """What units that a boot starts want of modprobe@.service."""
    for name in _units.wanted(tree):
        path = _units.unit(tree, name)
        text = _units.said(tree, path.value) if isinstance(path, Value) else path
        if isinstance(text, Value):
            wanted = WANTED.findall(" ".join(WANTS.findall(text.value)))
            yield from ((name, text.evidence._replace(inferred=True)) for name in wanted)


def _on_command_line(tree: Tree) -> List[Tuple[str, str, Evidence]]:
    """Parameters that list modules: each with one of them."""
    line = _command_line.next_line(tree)
    if not isinstance(line, Value):
        return []
    pairs = _kernel.parameters(line.value.text)
    lists = (*PARAMETERS, *REFUSED)
    return [
        (key, _kernel.named(one), line.evidence) for key, names in pairs if key in lists for one in names.split(",")
    ]
