"""What the configuration files of container runtimes set, by the column of `runtime` that it decides."""

from __future__ import annotations

from fnmatch import fnmatchcase
from os.path import dirname, join
from typing import TYPE_CHECKING, Callable, Dict, Iterator, Mapping, Tuple

from nodespec.host import cri
from nodespec.host.tree import Tree
from nodespec.model.observation import Absent, Evidence, Observation, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import TypeAlias

    from nodespec.formats.toml import Entry, Key

CONTAINERD, CRIO, DOCKER = "/etc/containerd/config.toml", "/etc/crio/crio.conf", "/etc/docker/daemon.json"
LIMIT, FILES = 1 << 18, 64  # bytes of one file, and how many may be imported

Settings: TypeAlias = "Dict[str, Value[str]]"


def containerd(tree: Tree) -> Observation[Settings]:
    """Of the CRI plugin. What is imported counts more than what imports it, and is read after it."""
    said: Dict[Key, Value[Key]] = {}
    paths = [CONTAINERD]
    for path in paths:
        file = _read(tree, path)
        if not isinstance(file, Value):
            return file
        said.update(_plugin(path, file.value))
        paths += [more for more in _imports(tree, path, file.value) if more not in paths][: FILES - len(paths)]
    return Value(_set(said), Evidence(CONTAINERD))


PLUGINS: Mapping[Key, Key] = {  # what makes up the CRI in each version of the file
    ("1",): ("cri",),
    ("2",): ("io.containerd.grpc.v1.cri",),
    ("3",): ("io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images"),
}


def _plugin(path: str, file: Mapping[Key, Entry]) -> Iterator[Tuple[Key, Value[Key]]]:
    plugins = PLUGINS.get(file[("version",)].words if ("version",) in file else ("1",), ())
    for key, entry in file.items():
        if key[0] == "plugins" and len(key) > 1 and key[1] in plugins:
            yield key[2:], Value(entry.words, Evidence(path, entry.line))


def _imports(tree: Tree, path: str, file: Mapping[Key, Entry]) -> Iterator[str]:
    """The files that a file imports: patterns only of names, relative to where it stands."""
    for pattern in file[("imports",)].words if ("imports",) in file else ():
        folder, _, last = join(dirname(path), pattern).rpartition("/")
        yield from (f"{folder}/{name}" for name in _names(tree, folder) if fnmatchcase(name, last))


def _set(said: Mapping[Key, Value[Key]]) -> Settings:
    """What counts is the default handler's driver."""
    default = (
        said[("containerd", "default_runtime_name")].value if ("containerd", "default_runtime_name") in said else ()
    )
    systemd = said.get(("containerd", "runtimes", *(default or ("runc",)), "options", "SystemdCgroup"))
    snapshotter = said.get(("snapshotter",)) or said.get(("containerd", "snapshotter"))
    found = {}
    if systemd:
        found["cgroup_driver"] = Value("systemd" if systemd.value == ("true",) else "cgroupfs", systemd.evidence)
    if snapshotter:
        found["snapshotter"] = Value(" ".join(snapshotter.value), snapshotter.evidence)
    return found


def _read(tree: Tree, path: str) -> Observation[Dict[Key, Entry]]:
    """The keys of a file; none where there is no such file."""
    text = tree.text(path, LIMIT)
    if isinstance(text, Absent):
        return Value({}, text.evidence)
    from nodespec.formats.toml import entries  # noqa: PLC0415 - only where there is a file

    return text.then(entries)


def _names(tree: Tree, folder: str) -> Key:
    names = tree.names(folder)
    return names.value if isinstance(names, Value) else ()


def crio(tree: Tree) -> Observation[Settings]:
    """The main file, and the drop-ins in the order of their names."""
    columns: Dict[Key, str] = {
        ("crio", "runtime", "cgroup_manager"): "cgroup_driver",
        ("crio", "storage_driver"): "snapshotter",
    }
    found = {}
    for path in (CRIO, *(f"{CRIO}.d/{name}" for name in _names(tree, f"{CRIO}.d")[:FILES])):
        file = _read(tree, path)
        if not isinstance(file, Value):
            return file
        for key, entry in file.value.items():
            if key in columns and any(entry.words):
                found[columns[key]] = Value(entry.words[0], Evidence(path, entry.line))
    return Value(found, Evidence(CRIO))


def docker(tree: Tree) -> Observation[Settings]:
    """JSON, where the cgroup driver is one of the options for running containers."""
    text = tree.text(DOCKER, LIMIT)
    return Value({}, text.evidence) if isinstance(text, Absent) else text.then(_daemon)


def _daemon(text: str) -> Settings:
    document = cri.parsed(text)
    options, driver = cri.inside(document, "exec-opts"), cri.inside(document, "storage-driver")
    found = {"snapshotter": Value(driver, Evidence(DOCKER))} if isinstance(driver, str) and driver else {}
    for option in options if isinstance(options, list) else ():
        name, _, value = str(option).partition("=")
        if name == "native.cgroupdriver":
            found["cgroup_driver"] = Value(value, Evidence(DOCKER))
    return found


class Configured(NamedTuple):
    """How the configuration of a runtime is read, and what the runtime does where that is silent."""

    read: Callable[[Tree], Observation[Settings]]
    defaults: Mapping[str, str]


CONFIGURED = {
    "containerd": Configured(containerd, {"snapshotter": "overlayfs"}),
    "crio": Configured(crio, {"cgroup_driver": "systemd"}),
    "docker": Configured(docker, {}),
}
