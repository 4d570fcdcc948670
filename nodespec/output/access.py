"""Give a new file the access of the file that it replaces.

The access is owner, mode, access control list and SELinux label.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from nodespec.light_typing import TYPE_CHECKING
from nodespec.output.path import OTHERS_ACCESS, require_own

if TYPE_CHECKING:
    from typing import Optional, Tuple

    from nodespec.output.path import Destination

ACL_ATTRIBUTE = "system.posix_acl_access"
LABEL_ATTRIBUTE = "security.selinux"


def set_access(handle: int, destination: Destination, *, secret: bool, executable: bool, exact: int) -> None:
    """Set the access of the new file at `handle`, and the requested mode.

    The access is never wider than that of the file that it replaces.
    """
    mode = 0o755 if executable else 0o600
    before, acl = _copy_access(handle, destination)
    if before:
        owner, group = _set_owner(handle, before)
        mode = narrow_mode(stat.S_IMODE(before.st_mode) & 0o777, owner=owner, group=group)
        if acl and not (owner and group):
            mode, acl = mode & stat.S_IRWXU, None
        mode |= (mode & 0o444) >> 2 if executable else 0
    if secret or exact:
        mode, acl = exact or mode & stat.S_IRWXU, None
    _set_acl(handle, acl)
    _set_mode(handle, mode)
    if secret and os.fstat(handle).st_mode & OTHERS_ACCESS:
        raise PermissionError(
            errno.EACCES,
            "this file system lets others read every file, and the values may be secret; write to another file system",
        )


def _copy_access(handle: int, destination: Destination) -> Tuple[Optional[os.stat_result], Optional[bytes]]:
    """Copy the SELinux label of the replaced file; return its stat(2) and its ACL."""
    try:
        old = os.open(destination.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=destination.folder)
    except FileNotFoundError:
        return destination.found, None  # Another writer is replacing the file, or it did not exist.
    try:
        before = os.fstat(old)
        if not stat.S_ISREG(before.st_mode):
            return destination.found, None
        require_own(before, destination.folder, "file")
        _copy_label(old, handle)
        return before, _read_attribute(old, ACL_ATTRIBUTE)
    finally:
        os.close(old)


def _set_owner(handle: int, before: os.stat_result) -> Tuple[bool, bool]:
    """Set owner and group of the replaced file; return whether each was set."""
    with suppress(OSError):
        os.fchown(handle, -1, before.st_gid)
    with suppress(OSError):
        os.fchown(handle, before.st_uid, -1)
    made = os.fstat(handle)
    return made.st_uid == before.st_uid, made.st_gid == before.st_gid


def narrow_mode(mode: int, *, owner: bool, group: bool) -> int:
    """Return the mode of a file whose owner or group may have changed.

    A user who falls into another class gains no access.

    >>> oct(narrowed(0o664, owner=False, group=True)), oct(narrowed(0o640, owner=True, group=False))
    ('0o664', '0o600')
    """
    users, members, others = mode >> 6 & 7, mode >> 3 & 7, mode & 7
    if not owner:
        members, others = members & users, others & users
    if not group:
        others &= members
        members = others
    return users << 6 | members << 3 | others


def _copy_label(old: int, new: int) -> None:
    """Copy the SELinux label, if there is one and the policy permits it."""
    label = _read_attribute(old, LABEL_ATTRIBUTE)
    if label and label != _read_attribute(new, LABEL_ATTRIBUTE):
        with suppress(OSError):
            os.setxattr(new, LABEL_ATTRIBUTE, label)


def _read_attribute(handle: int, name: str) -> Optional[bytes]:
    try:
        return os.getxattr(f"/proc/self/fd/{handle}", name)  # By path, since O_PATH does not permit fgetxattr(2).
    except OSError:
        return None


def _set_acl(handle: int, acl: Optional[bytes]) -> None:
    """Set an access control list, or remove the one that the directory's default made."""
    if acl:
        os.setxattr(handle, ACL_ATTRIBUTE, acl)
    elif _read_attribute(handle, ACL_ATTRIBUTE):
        os.removexattr(handle, ACL_ATTRIBUTE)


def _set_mode(handle: int, mode: int) -> None:
    try:
        os.fchmod(handle, mode)
    except PermissionError:  # A file system without modes.
        if stat.S_IMODE(os.fstat(handle).st_mode) & ~mode & OTHERS_ACCESS:
            raise
