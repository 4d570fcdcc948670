"""Give a new file the owner, mode, access control list and SELinux label of the one that it replaces."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Optional, Tuple

from nodespec.output.path import OTHERS, require_own

if TYPE_CHECKING:
    from nodespec.output.path import Destination

ACL = "system.posix_acl_access"
LABEL = "security.selinux"


def set_access(handle: int, destination: Destination, *, secret: bool, executable: bool, exact: int) -> None:
    """Set what the new file at `handle` has of the one that it replaces, and what is asked for; never wider access."""
    mode = 0o755 if executable else 0o600
    before, acl = _copied(handle, destination)
    if before:
        owner, group = _give(handle, before)
        mode = narrowed(stat.S_IMODE(before.st_mode) & 0o777, owner=owner, group=group)
        if acl and not (owner and group):
            mode, acl = mode & stat.S_IRWXU, None
        mode |= (mode & 0o444) >> 2 if executable else 0
    if secret or exact:
        mode, acl = exact or mode & stat.S_IRWXU, None
    _set_acl(handle, acl)
    _set_mode(handle, mode)
    if secret and os.fstat(handle).st_mode & OTHERS:
        raise PermissionError(
            errno.EACCES,
            "this file system lets others read every file, and the values may be secret; write to another place",
        )


def _copied(handle: int, destination: Destination) -> Tuple[Optional[os.stat_result], Optional[bytes]]:
    """Copy the SELinux label of the file that is replaced; what stat(2) says of that file, and its ACL."""
    try:
        old = os.open(destination.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=destination.folder)
    except FileNotFoundError:
        return destination.found, None  # another writer replaces it just now, or there was none
    try:
        before = os.fstat(old)
        if not stat.S_ISREG(before.st_mode):
            return destination.found, None
        require_own(before, destination.folder, "file")
        _copy_label(old, handle)
        return before, _attribute(old, ACL)
    finally:
        os.close(old)


def _give(handle: int, before: os.stat_result) -> Tuple[bool, bool]:
    """Give the file to the owner and the group that it had; whether each is so now."""
    with suppress(OSError):
        os.fchown(handle, -1, before.st_gid)
    with suppress(OSError):
        os.fchown(handle, before.st_uid, -1)
    made = os.fstat(handle)
    return made.st_uid == before.st_uid, made.st_gid == before.st_gid


def narrowed(mode: int, *, owner: bool, group: bool) -> int:
    """The mode of a file that kept its owner or group or not: who falls into another class gains nothing.

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
    """Copy the SELinux label, where there are labels and the policy lets us."""
    label = _attribute(old, LABEL)
    if label and label != _attribute(new, LABEL):
        with suppress(OSError):
            os.setxattr(new, LABEL, label)


def _attribute(handle: int, name: str) -> Optional[bytes]:
    try:
        return os.getxattr(f"/proc/self/fd/{handle}", name)  # by path: O_PATH gives no right to ask by descriptor
    except OSError:
        return None


def _set_acl(handle: int, acl: Optional[bytes]) -> None:
    """Set an access control list, or remove the one that the directory's default made."""
    if acl:
        os.setxattr(handle, ACL, acl)
    elif _attribute(handle, ACL):
        os.removexattr(handle, ACL)


def _set_mode(handle: int, mode: int) -> None:
    try:
        os.fchmod(handle, mode)
    except PermissionError:  # a file system without modes
        if stat.S_IMODE(os.fstat(handle).st_mode) & ~mode & OTHERS:
            raise
