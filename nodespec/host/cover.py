"""Paths of an offline tree that memory covers while this machine runs."""

from __future__ import annotations

import errno
import os

from nodespec.host.tree import UnreadableError

# Nothing mounts memory there at each boot, so the next boot has the files below it.
KEPT_DIRECTORIES = ("/etc", "/usr", "/boot", "/efi", "/opt", "/bin", "/sbin", "/lib", "/lib64")


def make_cover_error(path: str) -> OSError:
    """Return the error of a path below memory that is mounted on a directory.

    It is hidden below a directory of the system, and does not exist elsewhere, as below /run and /tmp.
    """
    if f"{path}/".startswith(tuple(f"{kept}/" for kept in KEPT_DIRECTORIES)):
        hint = f"unmount {path}, or check before it is mounted"
        return UnreadableError("hidden", f"is covered by the memory that is mounted on {path}", hint)
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
