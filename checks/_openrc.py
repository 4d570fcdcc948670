"""OpenRC: services of the runlevels that a boot enters, and their dependencies.

https://github.com/OpenRC/openrc/blob/master/service-script-guide.md
"""

from __future__ import annotations

import re

from nodespec.checks import _init_system, _systemd_units
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Mapping, Optional, Tuple

    from nodespec.host.tree import Tree

RUNLEVELS, CONFIGURATION = "/etc/runlevels", "/etc/conf.d"
SCRIPTS = ("/etc/init.d", "/usr/local/etc/init.d")
BOOT_RUNLEVELS = ("sysinit", "boot")  # every boot enters these before the default runlevel
MAX_SERVICES = 2000
SOURCES = (f"{RUNLEVELS}*", *(f"{folder}/*" for folder in SCRIPTS), f"{CONFIGURATION}/*")


def is_service_enabled(tree: Tree, name: str) -> Observation[bool]:
    """Return whether a service is in any runlevel; absent if it does not exist."""
    script = find_script(tree, name)
    if not isinstance(script, Value):
        return script
    levels = tree.names(RUNLEVELS)
    if isinstance(levels, Unknown):
        return levels
    unread: Optional[Unknown] = None
    for level in levels.value if isinstance(levels, Value) else ():
        path = f"{RUNLEVELS}/{level}/{name}"
        entry = tree.entry(path, follow=False)
        if isinstance(entry, Value):
            return Value(value=True, evidence=Evidence(path))
        unread = unread or (entry if isinstance(entry, Unknown) else None)
    return unread or Value(value=False, evidence=Evidence(RUNLEVELS))


def is_service_started(tree: Tree, name: str) -> Observation[bool]:
    """Return whether a boot starts a service; absent if it does not exist."""
    script = find_script(tree, name)
    if not isinstance(script, Value):
        return script
    started, unread = tree.once(_list_started_services)
    if name in started:
        return Value(value=True, evidence=started[name])
    return unread or Value(value=False, evidence=Evidence(RUNLEVELS))


def find_script(tree: Tree, name: str) -> Observation[str]:
    for folder in SCRIPTS:
        entry = tree.entry(f"{folder}/{name}")
        if isinstance(entry, Value) and entry.value.kind == "file":
            return Value(f"{folder}/{name}", Evidence(f"{folder}/{name}"))
        if isinstance(entry, Unknown):
            return entry
    return Absent(Evidence(SCRIPTS[0]), f"service {name} not found")


def _list_started_services(tree: Tree) -> Tuple[Mapping[str, Evidence], Optional[Unknown]]:
    """Return the services that a boot starts, each with its source, and why there may be more."""
    started: Dict[str, Evidence] = {}
    level = _read_default_runlevel(tree)
    levels, seen = [*BOOT_RUNLEVELS, *([level.value] if isinstance(level, Value) else ())], set()
    looks: List[object] = [level]
    while levels:
        level_name = levels.pop(0)
        names = tree.names(f"{RUNLEVELS}/{level_name}") if level_name not in seen else Absent(Evidence(RUNLEVELS))
        seen.add(level_name)
        looks.append(names)
        for name in names.value if isinstance(names, Value) else ():
            path = f"{RUNLEVELS}/{level_name}/{name}"
            entry, script = tree.entry(path), find_script(tree, name)
            if isinstance(entry, Value) and entry.value.kind == "directory":
                levels.append(name)  # a stacked runlevel
                continue
            looks += [entry, script]
            if isinstance(script, Value):
                started.setdefault(name, Evidence(path))
    looks += _add_needed_services(tree, started)
    return started, next((look for look in looks if isinstance(look, Unknown)), None)


def _add_needed_services(tree: Tree, started: Dict[str, Evidence]) -> Iterator[object]:
    """Add the services that others need; yield what was read for that."""
    queue = list(started)
    while queue and len(started) < MAX_SERVICES:
        name = queue.pop()
        script = find_script(tree, name)
        text = _systemd_units.read_optional_text(tree, script.value) if isinstance(script, Value) else script
        for source in (text, _systemd_units.read_optional_text(tree, f"{CONFIGURATION}/{name}")):
            yield source
            for needed in parse_service_needs(source.value) if isinstance(source, Value) else ():
                found = find_script(tree, needed) if needed not in started else None
                yield found
                if isinstance(found, Absent):
                    found = _find_provider(tree, needed, started)
                    yield found
                service = found.value.rpartition("/")[2] if isinstance(found, Value) else ""
                if service and isinstance(source, Value):
                    started[service] = source.evidence._replace(inferred=True)
                    queue.append(service)


def _find_provider(tree: Tree, name: str, started: Mapping[str, Evidence]) -> Observation[str]:
    """Return the only service that has `provide NAME`; empty if a started service provides it, or none."""
    scripts = [tree.names(folder) for folder in SCRIPTS]
    names = dict.fromkeys(script for seen in scripts if isinstance(seen, Value) for script in seen.value)
    pattern = rf"^[ \t]*provide[ \t]+(?:[^\n;#]*[ \t])?{re.escape(name)}(?:[ \t;#]|$)"
    providers = []
    for script in list(names)[:MAX_SERVICES]:
        found = find_script(tree, script)
        text = _systemd_units.read_optional_text(tree, found.value) if isinstance(found, Value) else found
        if isinstance(text, Unknown):
            return text
        if isinstance(text, Value) and re.search(pattern, text.value, re.MULTILINE):
            providers.append(script)
    if len(providers) > 1 and not any(provider in started for provider in providers):
        return Unknown("unsupported", f"several services provide {name}: {', '.join(providers)}")
    alone = providers[0] if len(providers) == 1 and providers[0] not in started else ""
    return Value(alone, Evidence(SCRIPTS[0]))


def parse_service_needs(text: str) -> Iterator[str]:
    """Yield the services that a script needs or wants.

    The script has `need a b` or `want c`, or its configuration has `rc_need="a"`.
    """
    for match in re.finditer(r"^[ \t]*(?:need|want)[ \t]+([^\n;#}]+)", text, re.MULTILINE):
        yield from (word for word in match[1].split() if re.fullmatch(r"[\w.@-]+", word))
    for match in re.finditer(r"^[ \t]*rc_(?:need|want)=[\"']?([^\"'\n]*)", text, re.MULTILINE):
        yield from (word for word in match[1].split() if re.fullmatch(r"[\w.@-]+", word))


def _read_default_runlevel(tree: Tree) -> Observation[str]:
    """Return the default runlevel.

    It is `default`, unless inittab or `softlevel=` on the kernel's command line names another.
    """
    from nodespec.checks import _boot_cmdline, _systemd_switches  # noqa: PLC0415

    unknown = _boot_cmdline.find_open_parameter(tree, "softlevel")
    if unknown:
        return unknown
    level = "default"
    inittab = tree.text(_init_system.INITTAB)
    for line in inittab.value.split("\n") if isinstance(inittab, Value) else ():
        match = re.match(r"[^#:]*:[^:]*:[^:]*:\S*openrc[ \t]+([\w-]+)", line)
        if match and match[1] not in (*BOOT_RUNLEVELS, "shutdown", "single", "nonetwork", "reboot"):
            level = match[1]
    given = next(
        (value for key, value, _ in _systemd_switches.read_boot_parameters(tree) if key == "softlevel" and value), ""
    )
    if isinstance(inittab, Unknown) and not given:
        return inittab
    return Value(given or level, inittab.evidence if isinstance(inittab, Value) else Evidence(RUNLEVELS))
