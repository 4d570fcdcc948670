"""Write one file: no other code of nodespec opens a file of the user for writing.

A regular file is replaced completely or not at all, by renaming a temporary file in its directory. It keeps its mode,
owner, group, access control list and SELinux label. If it cannot be replaced (a bind mount, a directory that accepts no
new file), it is written in place. A FIFO, a device or an open descriptor (/dev/stdout, /dev/fd/3) gets a stream.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from contextlib import suppress

from nodespec.light_typing import TYPE_CHECKING
from nodespec.output.path import OTHERS_ACCESS, Destination, require_own, resolve_destination
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Iterable, Iterator, Optional

DEFAULT_WRITE_SECONDS = 20.0  # Seconds that a reader has, if the command has no --deadline.
MIN_WRITE_SECONDS = 1.0  # Seconds that a reader always has, even if the deadline has passed.
RETRY_SECONDS = 0.05  # Seconds between two tries.
PIPE_BYTES = 4096  # Bytes that a pipe accepts without blocking after poll(2) reports it as writable.
COPY_BYTES = 1 << 18  # Bytes.
OPEN_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
NOT_CREATED_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS)  # Errors of a directory that accepts no new file.
# Errors for a target that is a mount point, or in a sticky directory.
NOT_RENAMED_ERRORS = (errno.EBUSY, errno.EXDEV, *NOT_CREATED_ERRORS)


class FileAccess(NamedTuple):
    """The access to the file.

    `exact` is its mode, independent of the replaced file. 0 keeps the mode, or uses that of the umask.
    """

    secret: bool = False  # Readable for its owner only.
    executable: bool = False
    exact: int = 0


DEFAULT_ACCESS = FileAccess()


def write_file(
    path: str, pieces: Iterable[bytes], *, access: FileAccess = DEFAULT_ACCESS, deadline: Optional[float] = None
) -> None:
    """Write pieces to a path; OSError, with a sentence.

    Readers are awaited until `deadline` (of time.monotonic).
    """
    until = time.monotonic() + DEFAULT_WRITE_SECONDS if deadline is None else deadline
    destination = resolve_destination(path)
    try:
        if destination.found is None or stat.S_ISREG(destination.found.st_mode):
            replace_file(destination, pieces, access, until)
        else:
            _write_stream(destination, destination.found, pieces, access, until)
    finally:
        os.close(destination.folder)


def append_line(path: str, line: str) -> None:
    """Append a line to a regular file, which is created if missing; OSError."""
    destination = resolve_destination(path)
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | OPEN_FLAGS
        handle = os.open(destination.name, flags, 0o666, dir_fd=destination.folder)
        try:
            status = os.fstat(handle)
            require_own(status, destination.folder, "file")
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file; remove it")
            _write_pieces(handle, (f"{line}\n".encode("utf-8", "backslashreplace"),))
        finally:
            os.close(handle)
    finally:
        os.close(destination.folder)


# Regular files


def replace_file(destination: Destination, pieces: Iterable[bytes], access: FileAccess, deadline: float) -> None:
    """Create a regular file, or replace it by a new one of the same name."""
    folder, _, before = destination
    if before:
        require_own(before, folder, "file")
    temporary = f".nodespec-{os.urandom(8).hex()}.tmp"
    mode = 0o666 if before is None and access == DEFAULT_ACCESS else 0o600
    try:
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, mode, dir_fd=folder)
    except OSError as error:
        if before is None or error.errno not in NOT_CREATED_ERRORS:
            raise
        _overwrite_file(destination, [*pieces], access, deadline)  # Collect all pieces before the old content is lost.
        return
    try:
        _write_pieces(handle, pieces)
        if before or access != DEFAULT_ACCESS:
            from nodespec.output.access import set_access  # noqa: PLC0415 - most files are new and have the mode of the umask

            set_access(handle, destination, secret=access.secret, executable=access.executable, exact=access.exact)
        _rename_temporary(handle, temporary, destination, access, deadline)
    finally:
        os.close(handle)
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)


def _rename_temporary(
    handle: int, temporary: str, destination: Destination, access: FileAccess, deadline: float
) -> None:
    folder, name, before = destination
    try:
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        if before is None or error.errno not in NOT_RENAMED_ERRORS:
            raise
        _overwrite_file(destination, _iter_content(handle), access, deadline)


def _overwrite_file(destination: Destination, pieces: Iterable[bytes], access: FileAccess, deadline: float) -> None:
    """Write a regular file in place, one writer at a time."""
    handle = os.open(destination.name, os.O_WRONLY | os.O_NONBLOCK | OPEN_FLAGS, dir_fd=destination.folder)
    try:
        status = os.fstat(handle)
        require_own(status, destination.folder, "file")
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.ESTALE, "the file was replaced while it was written; try again")
        if access.secret:
            _require_private(status)
        _lock_file(handle, deadline)
        os.ftruncate(handle, 0)
        _write_pieces(handle, pieces)
        if access.executable or access.exact:
            os.fchmod(handle, access.exact or status.st_mode & 0o777 | (status.st_mode & 0o444) >> 2)
    finally:
        os.close(handle)


def _lock_file(handle: int, deadline: float) -> None:
    from fcntl import LOCK_EX, LOCK_NB, flock  # noqa: PLC0415 - for bind mounts and similar files

    def lock() -> bool:
        try:
            flock(handle, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return False
        return True

    if not _retry_until(lock, deadline):
        raise OSError(
            errno.ETIMEDOUT, "another program has locked the file; end that program, or write to another file"
        )


def _retry_until(attempt: Callable[[], bool], deadline: float) -> bool:
    """Repeat an attempt until the deadline; return whether it succeeded."""
    until = max(deadline, time.monotonic() + MIN_WRITE_SECONDS)
    while not attempt():
        if time.monotonic() >= until:
            return False
        time.sleep(RETRY_SECONDS)
    return True


def _write_pieces(handle: int, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        unwritten = memoryview(piece)
        while unwritten:
            unwritten = unwritten[os.write(handle, unwritten) :]


def _iter_content(handle: int) -> Iterator[bytes]:
    os.lseek(handle, 0, os.SEEK_SET)
    yield from iter(lambda: os.read(handle, COPY_BYTES), b"")


def _require_private(status: os.stat_result) -> None:
    """Refuse to write secrets to a file that others can read."""
    if not stat.S_ISCHR(status.st_mode) and status.st_mode & OTHERS_ACCESS:
        raise PermissionError(
            errno.EACCES,
            f"others can read this file (mode {status.st_mode & 0o777:04o}), and the values may be secret;"
            " chmod it to 0600 first, or name a new file",
        )


# FIFOs, devices, open descriptors


def _write_stream(
    destination: Destination, status: os.stat_result, pieces: Iterable[bytes], access: FileAccess, deadline: float
) -> None:
    handle = _open_stream(destination, status, deadline)
    try:
        opened_status = os.fstat(handle)
        if stat.S_ISFIFO(opened_status.st_mode) and not stat.S_ISLNK(status.st_mode):
            require_own(opened_status, destination.folder, "FIFO")
        if access.secret and not _is_pipe_without_name(opened_status, status):
            _require_private(opened_status)
        _send_pieces(handle, pieces, deadline)
    finally:
        os.close(handle)


def _is_pipe_without_name(opened: os.stat_result, status: os.stat_result) -> bool:
    """Return whether it is a pipe or socket that only this descriptor leads to."""
    return stat.S_ISSOCK(opened.st_mode) or (stat.S_ISFIFO(opened.st_mode) and stat.S_ISLNK(status.st_mode))


def _open_stream(destination: Destination, status: os.stat_result, deadline: float) -> int:
    """Open a file that is not a regular file."""
    folder, name, _ = destination
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a directory; name a file")
    if stat.S_ISLNK(status.st_mode):
        return _duplicate_descriptor(folder, name)
    if stat.S_ISFIFO(status.st_mode):
        require_own(status, folder, "FIFO")
    handle = -1

    def attempt() -> bool:
        nonlocal handle
        try:
            handle = os.open(name, os.O_WRONLY | os.O_NONBLOCK | OPEN_FLAGS, dir_fd=folder)
        except OSError as error:
            if error.errno != errno.ENXIO or not stat.S_ISFIFO(status.st_mode):
                raise
        return handle >= 0

    if not _retry_until(attempt, deadline):
        raise OSError(errno.ETIMEDOUT, "no process reads this FIFO; start its reader, or set a longer --deadline")
    return handle


def _duplicate_descriptor(folder: int, name: str) -> int:
    """Duplicate an open descriptor, given by its link in procfs.

    Standard output is flushed first, so that the new output follows it.
    """
    if sys.stdout is not None:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
    if name.isdecimal() and os.path.samestat(os.fstat(folder), os.stat("/proc/self/fd")):
        return os.dup(int(name))
    flags = os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    return os.open(name, flags, dir_fd=folder)


def _send_pieces(handle: int, pieces: Iterable[bytes], deadline: float) -> None:
    """Write to a descriptor that may block.

    A reader that keeps reading gets more time.
    """
    from select import POLLOUT, poll  # noqa: PLC0415 - for FIFOs and devices

    ready = poll()
    ready.register(handle, POLLOUT)
    until = max(deadline, time.monotonic() + MIN_WRITE_SECONDS)
    for piece in pieces:
        unwritten = memoryview(piece)
        while unwritten:
            seconds = until - time.monotonic()
            if seconds <= 0 or not ready.poll(seconds * 1000):
                raise OSError(
                    errno.ETIMEDOUT, "the reader stopped reading before the deadline; the output is incomplete"
                )
            try:
                unwritten = unwritten[os.write(handle, unwritten[:PIPE_BYTES]) :]
                until = max(deadline, time.monotonic() + MIN_WRITE_SECONDS)
            except BlockingIOError:
                time.sleep(RETRY_SECONDS)
