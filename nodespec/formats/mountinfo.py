"""What is mounted where, as a process's mountinfo tells it, and which of it paths still lead to."""

from __future__ import annotations

import re
from typing import FrozenSet, List, Sequence

from nodespec.records import NamedTuple


class Mount(NamedTuple):
    """A line of mountinfo (from 1): what stands at `point`, on top of the mount `parent`."""

    line: int
    number: str
    parent: str
    root: str
    point: str
    kind: str
    options: FrozenSet[str]  # of the file system, not of the mount point
    device: str  # its number, `0:39`


def parsed(mountinfo: str) -> List[Mount]:
    """All mounts; ValueError where a line is none, or nothing is mounted at all."""
    mounts = [_mount(number, line) for number, line in enumerate(mountinfo.split("\n"), 1) if line]
    if not mounts:
        raise ValueError("no mounts at all")
    return mounts


def reached(mounts: Sequence[Mount], *kinds: str) -> List[Mount]:
    """Of the mounts of these kinds those that a path leads to: another mount may cover one, or a folder above it."""
    wanted = [mount for mount in mounts if mount.kind in kinds]
    ways = {way for mount in wanted for way in _ways(mount.point)}
    near = [mount for mount in mounts if mount.point in ways]  # of the thousands that a node may have
    return [mount for mount in wanted if _leads(near, mount)]


def unescaped(text: str) -> str:
    r"""A path with the kernel's octal escapes undone: blanks, newlines and backslashes are `\040` and the like."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _mount(number: int, line: str) -> Mount:
    row = line.split(" ")
    try:
        kind = row[row.index("-", 6) + 1]
        options = frozenset(row[-1].split(","))
        return Mount(number, row[0], row[1], unescaped(row[3]), unescaped(row[4]), kind, options, row[2])
    except (ValueError, LookupError):
        raise ValueError(f"line {number} is no mount") from None


def _leads(mounts: Sequence[Mount], wanted: Mount) -> bool:
    """Whether the path of a mount leads to it: goes down the path and, at every step, on to what was mounted there.

    The first mount stands on one that the process cannot see, or on itself.
    """
    on = {(mount.parent, mount.point): mount for mount in mounts}
    seen = {mount.number for mount in mounts if mount.number != mount.parent}
    ground = {mount.parent for mount in mounts} - seen
    top = None
    for point in _ways(wanted.point):
        while above := next((on.pop((number, point)) for number in ground if (number, point) in on), None):
            top, ground = above, {above.number}
    return top is wanted


def _ways(path: str) -> List[str]:
    """All folders on the way to a path, from the root on, and the path."""
    names = [name for name in path.split("/") if name]
    return ["/" + "/".join(names[:depth]) for depth in range(len(names) + 1)]
