"""Kernel parameters of tuned: section [sysctl] of its active profile.

Profiles that it includes count too. https://tuned-project.org
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Dict, Iterator, List, Optional, Set, Tuple

from nodespec.checks import _systemd_units
from nodespec.checks._sysctl_setters import ServiceSetting, key_of
from nodespec.model.observation import Evidence, Value

if TYPE_CHECKING:
    from nodespec.host.tree import Tree

ACTIVE, MAIN = "/etc/tuned/active_profile", "/etc/tuned/tuned-main.conf"
FOLDERS = ("/etc/tuned/profiles", "/etc/tuned", "/usr/lib/tuned/profiles", "/usr/lib/tuned")
REAPPLIED = ("/etc/sysctl.d", "/etc/sysctl.conf")  # tuned applies these again after its own settings
MAX_PROFILES = 200
Found = Dict[str, ServiceSetting]


def settings(tree: Tree) -> Iterator[ServiceSetting]:
    """Yield the settings of the active profile.

    Files of /etc that tuned applies again count last. Without an active profile, these are the parameters that any
    profile may set.
    """
    line = tree.line(ACTIVE)
    names = line.value.split() if isinstance(line, Value) else []
    found: Found = {}
    for name in names:
        _add(tree, name, found, set())
    if not names:
        for name in _installed(tree):
            one: Found = {}
            _add(tree, name, one, set())
            found.update((key, setting._replace(value=None)) for key, setting in one.items())
    yield from found.values()
    yield from _reapplied(tree, found)


def _installed(tree: Tree) -> List[str]:
    names = (tree.names(folder) for folder in FOLDERS)
    found = [name for seen in names if isinstance(seen, Value) for name in seen.value if _file(tree, name)]
    return list(dict.fromkeys(found))[:MAX_PROFILES]


def _file(tree: Tree, name: str) -> str:
    """Return the file of a profile; empty if it does not exist."""
    if not re.fullmatch(r"[\w.+-]+", name):
        return ""
    paths = (f"{folder}/{name}/tuned.conf" for folder in FOLDERS)
    return next((path for path in paths if isinstance(tree.entry(path), Value)), "")


def _add(tree: Tree, name: str, found: Found, seen: Set[str]) -> None:
    """Add the settings of a profile after those of the profiles that it includes."""
    path = _file(tree, name)
    if name in seen or not path or len(seen) > MAX_PROFILES:
        return
    seen.add(name)
    text = _systemd_units.said(tree, path)
    readings = list(_systemd_units.settings(text.value)) if isinstance(text, Value) else []
    for included in (value for _, section, key, value in readings if (section, key) == ("main", "include")):
        for one in re.split(r"[,;\s]+", included):
            _add(tree, one.lstrip("-"), found, seen)
    for line, key, value in _sysctls(readings):
        found.pop(key, None)
        found[key] = ServiceSetting(key, value, Evidence(path, line))


def _sysctls(readings: List[Tuple[int, str, str, str]]) -> Iterator[Tuple[int, str, Optional[str]]]:
    """Yield the parameters of sysctl sections.

    The value is None if tuned computes or compares it.
    """
    types = {section: value for _, section, key, value in readings if key == "type"}
    off = {section for _, section, key, value in readings if key == "enabled" and value.lower() in ("0", "false", "no")}
    for line, section, key, value in readings:
        if types.get(section, section) == "sysctl" and section not in off and re.search(r"[./]", key):
            plain = value.strip("\"'")
            yield line, key_of(key), None if re.search(r"[$<>]", plain) else " ".join(plain.split())


def _reapplied(tree: Tree, found: Found) -> Iterator[ServiceSetting]:
    """Yield the files of /etc that tuned applies again, unless `reapply_sysctl = 0`."""
    text = _systemd_units.said(tree, MAIN)
    readings = (line.partition("=") for _, line in _systemd_units.lines(text.value)) if isinstance(text, Value) else ()
    options = {name.strip(): value.strip() for name, _, value in readings}
    if options.get("reapply_sysctl", "1").lower() in ("0", "false", "no"):
        return
    from nodespec.checks import _sysctl_setters  # noqa: PLC0415 - it imports this module

    files = _systemd_units.merged(tree, REAPPLIED[:1])
    for path in (*(files.value if isinstance(files, Value) else ()), REAPPLIED[1]):
        said = _systemd_units.said(tree, path)
        for setting in _sysctl_setters.parse_assignments(said.value, path) if isinstance(said, Value) else ():
            if setting.key in found:
                yield setting
