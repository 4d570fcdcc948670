"""Kernel parameters of tuned: section [sysctl] of its active profile.

Profiles that it includes count too. https://tuned-project.org
"""

from __future__ import annotations

import re

from nodespec.checks import _systemd_units
from nodespec.checks._sysctl_settings import ServiceSetting, normalize_key, parse_assignments
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Value

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Optional, Set, Tuple, TypeAlias

    from nodespec.host.tree import Tree

ACTIVE, MAIN = "/etc/tuned/active_profile", "/etc/tuned/tuned-main.conf"
FOLDERS = ("/etc/tuned/profiles", "/etc/tuned", "/usr/lib/tuned/profiles", "/usr/lib/tuned")
REAPPLIED_FILES = ("/etc/sysctl.d", "/etc/sysctl.conf")  # tuned applies these again after its own settings
MAX_PROFILES = 200
SettingsByKey: TypeAlias = "Dict[str, ServiceSetting]"


def read_tuned_settings(tree: Tree) -> Iterator[ServiceSetting]:
    """Yield the settings of the active profile.

    Files of /etc that tuned applies again count last. Without an active profile, these are the parameters that any
    profile may set.
    """
    line = tree.line(ACTIVE)
    names = line.value.split() if isinstance(line, Value) else []
    settings: SettingsByKey = {}
    for name in names:
        _add_profile(tree, name, settings, set())
    if not names:
        for name in _list_profiles(tree):
            possible: SettingsByKey = {}
            _add_profile(tree, name, possible, set())
            settings.update((key, setting._replace(value=None)) for key, setting in possible.items())
    yield from settings.values()
    yield from _read_reapplied_files(tree, settings)


def _list_profiles(tree: Tree) -> List[str]:
    names = (tree.names(folder) for folder in FOLDERS)
    profiles = [name for seen in names if isinstance(seen, Value) for name in seen.value if _find_profile(tree, name)]
    return list(dict.fromkeys(profiles))[:MAX_PROFILES]


def _find_profile(tree: Tree, name: str) -> str:
    """Return the file of a profile; empty if it does not exist."""
    if not re.fullmatch(r"[\w.+-]+", name):
        return ""
    paths = (f"{folder}/{name}/tuned.conf" for folder in FOLDERS)
    return next((path for path in paths if isinstance(tree.entry(path), Value)), "")


def _add_profile(tree: Tree, name: str, settings: SettingsByKey, seen: Set[str]) -> None:
    """Add the settings of a profile after those of the profiles that it includes."""
    path = _find_profile(tree, name)
    if name in seen or not path or len(seen) > MAX_PROFILES:
        return
    seen.add(name)
    text = _systemd_units.read_optional_text(tree, path)
    readings = list(_systemd_units.parse_settings(text.value)) if isinstance(text, Value) else []
    for included in (value for _, section, key, value in readings if (section, key) == ("main", "include")):
        for parent in re.split(r"[,;\s]+", included):
            _add_profile(tree, parent.lstrip("-"), settings, seen)
    for line, key, value in _parse_sysctl_sections(readings):
        settings.pop(key, None)
        settings[key] = ServiceSetting(key, value, Evidence(path, line))


def _parse_sysctl_sections(readings: List[Tuple[int, str, str, str]]) -> Iterator[Tuple[int, str, Optional[str]]]:
    """Yield the parameters of sysctl sections.

    The value is None if tuned computes or compares it.
    """
    types = {section: value for _, section, key, value in readings if key == "type"}
    off = {section for _, section, key, value in readings if key == "enabled" and value.lower() in ("0", "false", "no")}
    for line, section, key, value in readings:
        if types.get(section, section) == "sysctl" and section not in off and re.search(r"[./]", key):
            plain = value.strip("\"'")
            yield line, normalize_key(key), None if re.search(r"[$<>]", plain) else " ".join(plain.split())


def _read_reapplied_files(tree: Tree, settings: SettingsByKey) -> Iterator[ServiceSetting]:
    """Yield the files of /etc that tuned applies again, unless `reapply_sysctl = 0`."""
    text = _systemd_units.read_optional_text(tree, MAIN)
    readings = (
        (line.partition("=") for _, line in _systemd_units.list_content_lines(text.value))
        if isinstance(text, Value)
        else ()
    )
    options = {name.strip(): value.strip() for name, _, value in readings}
    if options.get("reapply_sysctl", "1").lower() in ("0", "false", "no"):
        return
    files = _systemd_units.merge_folders(tree, REAPPLIED_FILES[:1])
    for path in (*(files.value if isinstance(files, Value) else ()), REAPPLIED_FILES[1]):
        text_of_file = _systemd_units.read_optional_text(tree, path)
        for setting in parse_assignments(text_of_file.value, path) if isinstance(text_of_file, Value) else ():
            if setting.key in settings:
                yield setting
