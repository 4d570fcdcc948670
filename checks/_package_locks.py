"""Packages that the package manager must not upgrade: holds and version locks.

dpkg's desired state `hold`; dnf's plugin versionlock and excludes; locks of zypper; constraints in /etc/apk/world.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from nodespec.formats import package_sources
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Iterable, Iterator, List, Tuple

    from nodespec.host.tree import Tree

DNF_PLUGINS, YUM_PLUGINS = "/etc/dnf/plugins", "/etc/yum/pluginconf.d"
DNF5_LOCKS = "/etc/dnf/versionlock.toml"
DNF_CONFIG, DNF_REPOS = ("/etc/dnf/dnf.conf", "/etc/yum.conf"), "/etc/yum.repos.d"
ZYPPER_LOCKS, APK_WORLD = "/etc/zypp/locks", "/etc/apk/world"
SOURCES = (
    *(f"{DNF_PLUGINS}/versionlock*", f"{YUM_PLUGINS}/versionlock*", DNF5_LOCKS, *DNF_CONFIG),
    *(f"{DNF_REPOS}*", ZYPPER_LOCKS, APK_WORLD),
)
MAX_FILE_BYTES = 1 << 18  # bytes of a file


def find_rpm_lock(tree: Tree, name: str) -> Observation[bool]:
    """Return whether dnf, yum or zypper keeps a package of RPM at its version."""
    return _find_lock(name, _list_rpm_locks(tree))


def find_apk_lock(tree: Tree, name: str) -> Observation[bool]:
    """Return whether /etc/apk/world binds a package to a version."""
    return _find_lock(name, [tree.text(APK_WORLD, MAX_FILE_BYTES).then(_parse_apk_world)])


def _find_lock(name: str, lists: Iterable[Observation[List[Tuple[str, int]]]]) -> Observation[bool]:
    """Return whether a pattern of any list names a package; the lists have patterns with their lines."""
    unread = None
    looked: List[str] = []
    for locks in lists:
        looked.append(locks.evidence.source if not isinstance(locks, Unknown) else "")
        unread = unread or (locks if isinstance(locks, Unknown) else None)
        for pattern, line in locks.value if isinstance(locks, Value) else ():
            if matches_package(pattern, name):
                return Value(value=True, evidence=Evidence(looked[-1], line))
    return unread or Value(value=False, evidence=Evidence(next(filter(None, looked), APK_WORLD)))


def matches_package(pattern: str, name: str) -> bool:
    """Return whether a pattern of a lock names a package.

    It is a name, a glob, or a name with a version: `kubelet`, `kube*`, `kubelet-0:1.35.0-0.*`, `0:kubelet-1.35.0`.
    """
    pattern = re.sub(r"^\d+:", "", pattern)
    if fnmatchcase(name, pattern):
        return True
    return pattern.startswith(f"{name}-") and bool(re.match(r"(\d+:)?[\d*?]", pattern[len(name) + 1 :]))


def _list_rpm_locks(tree: Tree) -> Iterator[Observation[List[Tuple[str, int]]]]:
    for folder in (DNF_PLUGINS, YUM_PLUGINS):
        enabled = tree.text(f"{folder}/versionlock.conf", MAX_FILE_BYTES).then(_is_plugin_enabled)
        if isinstance(enabled, Unknown):
            yield enabled
        elif isinstance(enabled, Value) and enabled.value:
            yield tree.text(f"{folder}/versionlock.list", MAX_FILE_BYTES).then(_parse_version_locks)
    yield tree.text(DNF5_LOCKS, MAX_FILE_BYTES).then(_parse_dnf5_locks)
    names = tree.names(DNF_REPOS)
    if isinstance(names, Unknown):
        yield names
    repositories = (
        [f"{DNF_REPOS}/{name}" for name in names.value if name.endswith(".repo")] if isinstance(names, Value) else []
    )
    for path in (*DNF_CONFIG, *repositories):
        yield tree.text(path, MAX_FILE_BYTES).then(_parse_excludes)
    yield tree.text(ZYPPER_LOCKS, MAX_FILE_BYTES).then(_parse_zypper_locks)


def _is_plugin_enabled(text: str) -> bool:
    sections = package_sources.parse_ini(text)
    return any(
        section.get("enabled", "1").lower() in package_sources.YES for section in sections if section.name == "main"
    )


def _parse_version_locks(text: str) -> List[Tuple[str, int]]:
    """Parse versionlock.list; a line with `!` excludes a version and locks nothing."""
    lines = ((line.strip(), number) for number, line in enumerate(text.split("\n"), 1))
    return [(line, number) for line, number in lines if line and line[0] not in "#!"]


def _parse_dnf5_locks(text: str) -> List[Tuple[str, int]]:
    """Parse versionlock.toml: `[[packages]]` with `name = "kubelet"`."""
    locks = []
    for number, line in enumerate(text.split("\n"), 1):
        match = re.fullmatch(r"\s*name\s*=\s*[\"']([^\"']+)[\"']\s*(#.*)?", line)
        if match:
            locks.append((match[1], number))
    return locks


def _parse_excludes(text: str) -> List[Tuple[str, int]]:
    """Parse `exclude=` of [main] and of enabled repositories, which the documentation of kubeadm sets."""
    locks = []
    for section in package_sources.parse_ini(text):
        if section.name != "main" and section.get("enabled", "1").lower() not in package_sources.YES:
            continue
        for key in ("exclude", "excludepkgs"):
            value, line = section.values.get(key, ("", 0))
            locks += [(word, line) for word in re.split(r"[\s,]+", value) if word]
    return locks


def _parse_zypper_locks(text: str) -> List[Tuple[str, int]]:
    """Parse stanzas such as `type: package`, `match_type: glob`, `solvable_name: kubelet`."""
    return [
        (line.partition(":")[2].strip(), number)
        for number, line in enumerate(text.split("\n"), 1)
        if line.startswith("solvable_name:")
    ]


def _parse_apk_world(text: str) -> List[Tuple[str, int]]:
    """Parse /etc/apk/world: `kubelet=1.35.0-r0` and `kubelet~1.35` bind a version, `kubelet` does not."""
    locks = []
    for number, line in enumerate(text.split("\n"), 1):
        for word in line.split():
            match = re.fullmatch(r"([^=<>~@!]+)[=<>~]+\S+", word)
            if match:
                locks.append((match[1], number))
    return locks
