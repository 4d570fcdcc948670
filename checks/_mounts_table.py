"""Mounts of process 1 by mount point, and the mount that holds a path."""

from __future__ import annotations

from nodespec.formats.mountinfo import Mount, find_mount, parse_mounts, unescape_path
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Iterator, List, Optional, Tuple

    from nodespec.host.machine import Machine

INIT, OWN = "/proc/1/mountinfo", "/proc/self/mountinfo"
OPTIONS_FIELD = 5


class MountTable:
    """All mounts of a mount namespace, indexed by mount point, so that each path is looked up by its depth."""

    def __init__(self, text: str, source: str) -> None:
        self.source, self.lines = source, text.split("\n")
        self._by_point: Dict[str, List[Mount]] = {}
        for mount in parse_mounts(text):
            self._by_point.setdefault(mount.point, []).append(mount)

    @property
    def points(self) -> Iterator[str]:
        """Yield the mount points that their paths lead to."""
        for point in self._by_point:
            mount = self.find(point)
            if mount is not None and mount.point == point:
                yield point

    @property
    def automounts(self) -> FrozenSet[str]:
        """The mount points where only an automount is mounted."""
        found = ((point, self.find(point)) for point, mounts in self._by_point.items() if _has_automount(mounts))
        return frozenset(point for point, mount in found if mount is not None and mount.kind == "autofs")

    def find(self, path: str) -> Optional[Mount]:
        """Return the mount that holds a path without links."""
        names = [name for name in path.split("/") if name]
        ways = ["/" + "/".join(names[:depth]) for depth in range(len(names) + 1)]
        return find_mount([mount for way in ways for mount in self._by_point.get(way, ())], path)

    def read_fields(self, mount: Mount) -> Tuple[str, FrozenSet[str], str]:
        """Return source, options and propagation of a mount.

        The options are those of the mount and of the file system. Either of both makes it `ro`.
        """
        row = self.lines[mount.line - 1].split(" ")
        end = row.index("-", OPTIONS_FIELD + 1)
        own, shared = set(row[OPTIONS_FIELD].split(",")), set(mount.options)
        options = own | shared
        if "ro" in options:
            options.discard("rw")
        source = unescape_path(row[end + 2]) if len(row) > end + 2 else ""
        return (
            source,
            frozenset(option for option in options if option),
            _name_propagation(row[OPTIONS_FIELD + 1 : end]),
        )


def _has_automount(mounts: List[Mount]) -> bool:
    return any(mount.kind == "autofs" for mount in mounts)


def _name_propagation(fields: List[str]) -> str:
    """Return the propagation by the optional fields: `shared:1 master:2` is shared."""
    kinds = {field.partition(":")[0] for field in fields}
    names = (("shared", "shared"), ("master", "slave"), ("unbindable", "unbindable"))
    return next((name for kind, name in names if kind in kinds), "private")


def read_mount_table(machine: Machine) -> Observation[MountTable]:
    """Return the mounts of process 1; without the permission those of nodespec itself."""
    text = machine.text(INIT)
    if isinstance(text, Unknown) and text.reason == "no permission" and machine.root == "/":
        text = machine.text(OWN)
    return text.then(lambda content: MountTable(content, text.evidence.source if isinstance(text, Value) else INIT))
