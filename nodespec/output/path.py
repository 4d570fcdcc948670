"""Resolve the path of an output file, and follow links only if it is safe.

The rules are those of `fs.protected_symlinks`, `fs.protected_fifos` and `fs.protected_regular`, independent of their
values on this machine: https://docs.kernel.org/admin-guide/sysctl/fs.html. Unlike in the kernel, the first rule also
applies to links in the directories of the path. A user who can place a link in /tmp must not choose where a report is
written.
"""

from __future__ import annotations

import errno
import os
import stat

from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import List, Optional

FOLDER_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
MAX_LINKS = 40  # The limit of the kernel.
SHARED_STICKY = stat.S_ISVTX | stat.S_IWOTH
OTHERS_ACCESS = stat.S_IRWXG | stat.S_IRWXO
PROCFS_ROOT_INODE = 1  # The inode number of the root of procfs.


class Destination(NamedTuple):
    """A resolved path: an open directory (O_PATH), a name in it, and its current file.

    The file is a link only in procfs, such as /proc/self/fd/1, since only the kernel can follow these.
    """

    folder: int
    name: str
    found: Optional[os.stat_result]


def resolve_destination(path: str) -> Destination:
    """Resolve a path as open(2) does, but refuse links of other users; OSError.

    The caller closes `folder`.
    """
    names, links = _split_path(path), 0
    folder = os.open("/" if path.startswith("/") else ".", FOLDER_FLAGS)
    try:
        while names:
            name = names.pop()
            status = _stat_component(name, folder, missing=not names)
            if status is not None and stat.S_ISLNK(status.st_mode) and not _is_in_procfs(status):
                links += 1
                target = _read_target(name, folder, links)
                names += _split_path(target)
                folder = _enter_folder(folder, "/") if target.startswith("/") else folder
            elif not names or status is None:
                return Destination(folder, name, status)
            else:
                folder = _enter_folder(folder, name, 0 if stat.S_ISLNK(status.st_mode) else os.O_NOFOLLOW)
        return Destination(folder, os.curdir, os.fstat(folder))
    except BaseException:
        os.close(folder)
        raise


def open_folder(path: str) -> int:
    """Open a directory by the same rules (O_PATH)."""
    return resolve_destination(f"{path}/").folder


def require_own(status: os.stat_result, folder: int, what: str) -> None:
    """Refuse a file or FIFO that another user placed in a sticky, shared directory."""
    if _is_planted(status, os.fstat(folder)):
        raise PermissionError(
            errno.EACCES,
            f"the {what} belongs to uid {status.st_uid}, in a sticky directory that anyone can write to;"
            " remove it, or write to another place",
        )


def _is_planted(status: os.stat_result, folder: os.stat_result) -> bool:
    shared = folder.st_mode & SHARED_STICKY == SHARED_STICKY
    return shared and status.st_uid not in (os.geteuid(), folder.st_uid)


def _split_path(path: str) -> List[str]:
    """Return the components of a path, last first.

    A path that ends with a slash names a directory.
    """
    names = [name for name in reversed(path.split("/")) if name not in ("", ".")]
    return [os.curdir, *names] if path.endswith(("/", "/.")) else names


def _stat_component(name: str, folder: int, *, missing: bool) -> Optional[os.stat_result]:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        if missing:
            return None
        raise


def _read_target(name: str, folder: int, links: int) -> str:
    """Return the target of a link, read from the inode that was checked."""
    if links > MAX_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        require_own(os.fstat(handle), folder, "link")
        return os.readlink("", dir_fd=handle)
    finally:
        os.close(handle)


def _enter_folder(folder: int, name: str, flags: int = 0) -> int:
    """Open the directory `name` in a directory, which is closed."""
    below = os.open(name, FOLDER_FLAGS | flags, dir_fd=folder)
    os.close(folder)
    return below


def _is_in_procfs(status: os.stat_result) -> bool:
    """Return whether a link is in procfs.

    The kernel follows such a link to an open file, and its text is only a description.
    """
    try:
        procfs = os.stat("/proc")
    except OSError:
        return False
    return status.st_dev == procfs.st_dev and procfs.st_ino == PROCFS_ROOT_INODE
