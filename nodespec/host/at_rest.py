"""A directory as after the next boot: the live root, or the tree of an image."""

from __future__ import annotations

import errno
import os
import stat

from nodespec.errors import UsageError
from nodespec.formats.byte_source import ByteSource, File
from nodespec.formats.mountinfo import list_reachable_mounts, parse_mounts
from nodespec.host.cover import make_cover_error
from nodespec.host.directory import DirectoryTree, PathWalk
from nodespec.host.machine import Machine
from nodespec.host.tree import UnreadableError
from nodespec.light_typing import TYPE_CHECKING, TypeVar
from nodespec.model.observation import Value

if TYPE_CHECKING:
    from typing import Callable, FrozenSet, Tuple, Union

T = TypeVar("T")

# File systems whose contents do not survive a boot.
VOLATILE_TYPES = ("tmpfs", "ramfs", "devtmpfs", "rootfs", "proc", "sysfs")
EMPTY_DIRECTORIES = (
    "/proc",
    "/sys",
    "/dev",
    "/run",
)  # Empty at boot in the live root. What is mounted there now does not survive.


class AtRestTree(DirectoryTree):
    """A tree below a directory; file systems in memory are read as empty.

    A single file that is mounted from memory, such as the machine-id of a first boot, is unknown. So is what memory
    covers in /etc, /usr and other directories that a boot reads from disk.
    """

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._covers = _list_covered_paths(self.root)

    def source(self, path: str) -> ByteSource:
        """Return the content of a file as a source."""
        if not stat.S_ISREG(self._status(path, follow=True).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return File(self._open(path, 0))

    def _list_names(self, path: str) -> Tuple[str, ...]:
        with PathWalk(self.root, self._covers) as walk:
            place = walk.path(walk.to(path, follow=True))
        if place not in self._covers or not stat.S_ISDIR(self._status(path, follow=True).st_mode):
            return super()._list_names(path)
        error = make_cover_error(place)
        if isinstance(error, UnreadableError):
            raise error
        return ()

    def _at(self, path: str, act: Callable[[str, Union[int, None]], T], *, follow: bool = False) -> T:
        with PathWalk(self.root, self._covers) as walk:
            name = walk.to(path, follow=follow)
            if walk.path(name) in self._covers:
                status = os.stat(name, dir_fd=walk.folder, follow_symlinks=False)
                if not stat.S_ISDIR(status.st_mode):
                    raise UnreadableError(
                        "hidden", "is covered by a file in memory", f"run nodespec before {path} is mounted over"
                    )
            return act(name, walk.folder)


def _list_covered_paths(root: str) -> FrozenSet[str]:
    """Return the paths below a root where memory is mounted.

    Raises `UsageError` if the live root is in memory itself.
    """
    mounts = Machine().text("/proc/self/mountinfo").then(parse_mounts)
    if not isinstance(mounts, Value):
        if root == "/":
            raise UsageError("--image /: cannot read /proc/self/mountinfo; mount /proc")
        return frozenset()
    points = {mount.point for mount in list_reachable_mounts(mounts.value, *VOLATILE_TYPES)}
    if root != "/":
        return frozenset(point[len(root) :] for point in points if point.startswith(f"{root}/"))
    if "/" in points:
        raise UsageError(
            "--image /: the root file system is in memory and does not survive a boot; give the image of the next boot"
        )
    return frozenset(points.union(EMPTY_DIRECTORIES))
