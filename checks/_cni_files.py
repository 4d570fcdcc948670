"""Files of CNI as libcni and the runtimes read them.

The runtime takes the files that end in .conf, .conflist or .json, sorted by name. A .conflist has a list of plugins,
another file is one plugin: https://github.com/containerd/go-cni/blob/main/opts.go
"""

from __future__ import annotations

import json

from nodespec.facts.declaration import Columns
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Mapping, Optional, Tuple, Union

    from nodespec.host.tree import Tree

FOLDER = "/etc/cni/net.d"
SUFFIXES = (".conf", ".conflist", ".json")
BINARIES = ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")
PACKAGES = {
    "/opt/cni/bin": "kubernetes-cni",
    "/usr/lib/cni": "containernetworking-plugins",
    "/usr/libexec/cni": "containernetworking-plugins",
}
MAX_TEXT_BYTES = 1 << 20  # Bytes of a configuration.


class Configuration(NamedTuple):
    """A network configuration. An invalid one has no plugins."""

    valid: bool
    name: str
    version: str
    plugins: FrozenSet[str]


def list_configurations(tree: Tree) -> Observation[Tuple[str, ...]]:
    """Return the names of the configurations in the order of the runtime."""
    names = tree.names(FOLDER)
    if isinstance(names, Absent):
        return Value((), names.evidence)
    return names.then(lambda every: tuple(name for name in sorted(every) if _is_configuration(tree, name)))


def _is_configuration(tree: Tree, name: str) -> bool:
    entry = tree.entry(f"{FOLDER}/{name}")
    return name.endswith(SUFFIXES) and not (isinstance(entry, Value) and entry.value.kind == "directory")


def read_configurations(tree: Tree) -> Mapping[str, Observation[Configuration]]:
    """Return all configurations by the name of their file."""
    names = tree.once(list_configurations)
    listed = names.value if isinstance(names, Value) else ()
    return {name: _read_configuration(tree, name) for name in listed}


def _read_configuration(tree: Tree, name: str) -> Observation[Configuration]:
    path = f"{FOLDER}/{name}"
    text = tree.text(path, MAX_TEXT_BYTES)
    if isinstance(text, Absent):  # A broken link: the runtime cannot read it either.
        return Value(Configuration(valid=False, name="", version="", plugins=frozenset()), Evidence(path))
    return text.then(lambda content: parse_configuration(content, is_list=name.endswith(".conflist")))


def parse_configuration(text: str, *, is_list: bool) -> Configuration:
    """Parse a configuration: `{"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "bridge"}]}`."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        return Configuration(valid=False, name="", version="", plugins=frozenset())
    members = data.get("plugins") if is_list else [data]
    plugins = [member.get("type") if isinstance(member, dict) else None for member in members or ()]
    name, version = data.get("name", ""), data.get("cniVersion", "")
    texts = all(isinstance(field, str) for field in (name, version))
    valid = isinstance(members, list) and bool(plugins) and texts and all(isinstance(p, str) and p for p in plugins)
    valid = valid and bool(name or not is_list)
    if not valid:
        return Configuration(valid=False, name="", version="", plugins=frozenset())
    return Configuration(valid=True, name=name, version=version, plugins=frozenset(map(str, plugins)))


def list_plugins(tree: Tree) -> Tuple[Dict[str, str], Optional[Unknown]]:
    """Return the path of each plugin by its name, and why a directory could not be read."""
    found: Dict[str, str] = {}
    unread: Union[Unknown, None] = None
    for folder in BINARIES:
        names = tree.names(folder)
        if isinstance(names, Unknown):
            unread = unread or names
        for name in names.value if isinstance(names, Value) and not unread else ():
            entry = tree.entry(f"{folder}/{name}")
            if (
                isinstance(entry, Value)
                and entry.value.kind == "file"
                and not name.endswith((".md", ".txt", "LICENSE"))
            ):
                found.setdefault(name, f"{folder}/{name}")
    return found, unread


def find_missing(tree: Tree, plugins: Observation[FrozenSet[str]]) -> Observation[FrozenSet[str]]:
    """Return the plugins of a configuration without a program that can be run."""
    found, unread = tree.once(list_plugins)
    if unread:
        return unread
    return plugins.then(
        lambda names: frozenset(name for name in names if name not in found or not _is_executable(tree, found[name]))
    )


def _is_executable(tree: Tree, path: str) -> bool:
    entry = tree.entry(path)
    return isinstance(entry, Value) and bool(entry.value.mode & 0o111)


def make_plugin_row(tree: Tree, path: str) -> Columns:
    """Return the columns of a plugin."""
    return Columns(
        path=lambda: Value(path, Evidence(path)),
        executable=lambda: tree.entry(path).then(lambda entry: bool(entry.mode & 0o111)),
        version=lambda: _read_version(tree, path),
    )


def _read_version(tree: Tree, path: str) -> Observation[str]:
    from nodespec.checks._installed import read_go_build_info  # noqa: PLC0415 - few specs name it
    from nodespec.formats.go_buildinfo import find_released_version  # noqa: PLC0415 - likewise

    try:
        info = read_go_build_info(tree, path)
    except ValueError as error:
        return Unknown("malformed", f"{path}: {error}")
    version = find_released_version(info) if info else ""
    if version:
        return Value(version, Evidence(path))
    package = _read_package_version(tree, path)
    if isinstance(package, Value):
        return Value(package.value, package.evidence._replace(inferred=True))
    return Unknown(
        "unsupported", f"{path} has no version in its Go build information", "require a version of its package"
    )


def _read_package_version(tree: Tree, path: str) -> Observation[str]:
    """Return the version of the package that installs plugins in the directory of a path."""
    from nodespec.checks.packages import read_packages  # noqa: PLC0415 - few specs name it

    row = read_packages(tree).observe(PACKAGES.get(path.rpartition("/")[0], ""))
    if isinstance(row, Value) and isinstance(row.value, Columns):
        return row.value["version"].then(str)
    return Absent(Evidence(path))
