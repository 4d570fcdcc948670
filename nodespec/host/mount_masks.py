"""Recognize mounts that hide a directory of the host: /etc, /run, /dev and what else they cover.

A file that is missing there, or a directory that is empty, is hidden and not absent. A mount hides a directory if
process 1 has another file system there, as with PrivateDevices= and TemporaryFileSystem= of systemd.exec(5). That is
compared only if process 1 has the same root directory, since a container has files of its own. A mount over /etc, /run
or /dev also hides it if a sound machine cannot have it: it is empty, or without /dev/null, or without /run/systemd
where process 1 is systemd.
"""

from __future__ import annotations

from nodespec.formats.mountinfo import find_mount, parse_mounts
from nodespec.host import pseudofs
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Value

if TYPE_CHECKING:
    from typing import FrozenSet, Iterator, List, Tuple

    from nodespec.formats.mountinfo import Mount
    from nodespec.host.directory import DirectoryTree

INIT_MOUNTS, OWN_MOUNTS = "/proc/1/mountinfo", "/proc/self/mountinfo"
HIDDEN = "is hidden by another mount"


def is_hidden(machine: DirectoryTree, path: str) -> bool:
    """Return whether another mount hides a path, or the last directory on the way to it."""
    points = machine.once(find_hiding_mounts)
    if not points:
        return False
    reached = machine.resolved(path) or machine.find_last_directory(path)[0]
    return any(f"{reached}/".startswith(f"{point}/") for point in points)


def find_hiding_mounts(machine: DirectoryTree) -> FrozenSet[str]:
    """Return the mount points, below the root, that hide a directory of the host."""
    init = machine.text(INIT_MOUNTS)
    own = machine.text(OWN_MOUNTS) if machine.root == "/" else type(machine)("/").text(OWN_MOUNTS)
    if not isinstance(init, Value) or not isinstance(own, Value):
        return frozenset()
    try:
        ours = parse_mounts(own.value)
        points = {*_find_implausible(machine, ours)}
        if own.value != init.value:
            points.update(_compare(machine.root, ours, parse_mounts(init.value)))
    except ValueError:
        return frozenset()
    return frozenset(points)


def _compare(root: str, ours: List[Mount], theirs: List[Mount]) -> Iterator[str]:
    """Yield the mount points where process 1 has another file system."""
    if _find_source(ours, root) != _find_source(theirs, "/"):
        return
    below = root.rstrip("/")
    here = {(m.point[len(below) :] or "/", m.device, m.root) for m in ours if f"{m.point}/".startswith(f"{below}/")}
    points = {point for point, _, _ in here ^ {(m.point, m.device, m.root) for m in theirs}}
    for point in points:
        if not pseudofs.is_below(point) and _find_source(ours, below + point) != _find_source(theirs, point):
            yield point


def _find_source(mounts: List[Mount], path: str) -> Tuple[str, str]:
    """Return the device and the path on it that a path leads to."""
    mount = find_mount(mounts, path)
    if mount is None:
        return "", ""
    return mount.device, mount.root.rstrip("/") + path[len(mount.point.rstrip("/")) :].rstrip("/")


def _find_implausible(machine: DirectoryTree, ours: List[Mount]) -> Iterator[str]:
    """Yield the mount points with a content that no sound machine has."""
    points = {mount.point for mount in ours}
    below = machine.root.rstrip("/")
    for path in ("/etc", "/run", "/dev"):
        names = machine.list_unchecked(path) if below + path in points else ("",)
        systemd = path == "/run" and "" not in names and _is_systemd(machine)
        needed = "null" if path == "/dev" else "systemd" if systemd else ""
        if not names or (needed and "" not in names and needed not in names):
            yield path


def _is_systemd(machine: DirectoryTree) -> bool:
    name = machine.line("/proc/1/comm")
    return isinstance(name, Value) and name.value == "systemd"
