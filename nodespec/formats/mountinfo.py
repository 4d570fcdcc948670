"""Parse mountinfo of a process, and find the mounts that paths still lead to.

    36 35 98:0 /sub /mnt rw,noatime master:1 - ext3 /dev/root rw

https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
"""

from __future__ import annotations

import re

from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import FrozenSet, List, Optional, Sequence


class Mount(NamedTuple):
    """A line of mountinfo (from 1): a mount at `point`, on top of mount `parent`."""

    line: int
    number: str
    parent: str
    root: str
    point: str
    kind: str
    options: FrozenSet[str]  # Options of the file system, not of the mount point.
    device: str  # The device number, `0:39`.


def parse_mounts(mountinfo: str) -> List[Mount]:
    """Parse all mounts. Raises ValueError for a malformed line or an empty text."""
    mounts = [_parse_mount(number, line) for number, line in enumerate(mountinfo.split("\n"), 1) if line]
    if not mounts:
        raise ValueError("contains no mounts")
    return mounts


def list_reachable_mounts(mounts: Sequence[Mount], *kinds: str) -> List[Mount]:
    """Return the mounts of these kinds that a path leads to.

    Another mount may cover a mount, or a directory above it.
    """
    wanted = [mount for mount in mounts if mount.kind in kinds]
    ways = {way for mount in wanted for way in _list_ancestors(mount.point)}
    # Only mounts on the way matter; a node may have thousands.
    near = [mount for mount in mounts if mount.point in ways]
    return [mount for mount in wanted if _is_reachable(near, mount)]


def unescape_path(text: str) -> str:
    r"""Decode the kernel's octal escapes in a path, such as `\040` for a blank."""
    if "\\" not in text:
        return text
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _parse_mount(number: int, line: str) -> Mount:
    row = line.split(" ")
    try:
        kind = row[row.index("-", 6) + 1]
        options = frozenset(row[-1].split(","))
        return Mount(number, row[0], row[1], unescape_path(row[3]), unescape_path(row[4]), kind, options, row[2])
    except (ValueError, LookupError):
        raise ValueError(f"line {number} is not a mount") from None


def _is_reachable(mounts: Sequence[Mount], wanted: Mount) -> bool:
    """Return whether the path of a mount leads to it.

    The first mount is on top of one that the process cannot see, or of itself.
    """
    return _descend(mounts, _list_ancestors(wanted.point)) is wanted


def find_mount(mounts: Sequence[Mount], path: str) -> Optional[Mount]:
    """Return the mount that a path leads to, or None if its root directory is in none of them."""
    ways = _list_ancestors(path)
    return _descend([mount for mount in mounts if mount.point in ways], ways)


def _descend(mounts: Sequence[Mount], ways: Sequence[str]) -> Optional[Mount]:
    """Descend a path, and at each step enter what is mounted there."""
    on = {(mount.parent, mount.point): mount for mount in mounts}
    seen = {mount.number for mount in mounts if mount.number != mount.parent}
    ground = {mount.parent for mount in mounts} - seen
    top = None
    for point in ways:
        while above := next((on.pop((number, point)) for number in ground if (number, point) in on), None):
            top, ground = above, {above.number}
    return top


def _list_ancestors(path: str) -> List[str]:
    """Return all directories on the way to a path, from the root on, and the path."""
    names = [name for name in path.split("/") if name]
    return ["/" + "/".join(names[:depth]) for depth in range(len(names) + 1)]
