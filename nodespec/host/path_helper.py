"""Ask the kernel about file systems in a child process that is given up, not waited for.

A file server that never answers holds a process in the kernel, where no signal ends it. The child does all calls that a
file system may hold up. If it does not answer in time it is killed and left behind, and the next path gets a new child.
Automounts are not crossed: their mount points are given, and the child stops there.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import stat
import time
from contextlib import suppress

from nodespec.host.lifeline import Lifeline
from nodespec.host.tree import MAX_LINKS, MAX_PATH_DEPTH
from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import FrozenSet, List, Optional, Tuple, Union

ANSWER_SECONDS = 0.5  # Seconds that one path may take.
MAX_LOST = 3  # Children that are given up before no further path is asked.
MAX_ANSWER_BYTES = 1 << 16
XFS_GEOMETRY = "@8I4Q16s2Ii4I0Q"  # struct xfs_fsop_geom_v1 of linux/fs/xfs/libxfs/xfs_fs.h
XFS_FLAGS_FIELD, XFS_FLAG_FTYPE = 16, 1 << 16


class FilesystemAnswer(NamedTuple):
    """What the kernel says of a path: where it leads, the device there, and sizes.

    `path` is the last existing directory entry on the way, without links, and `stop` an automount that is not crossed.
    """

    path: str
    stop: str
    device: str
    block_bytes: int
    blocks: int
    free: int
    available: int
    inodes: int
    inodes_free: int
    ftype: str


class PathHelper:
    """A child that answers one path after another."""

    def __init__(self, root: str, automounts: FrozenSet[str]) -> None:
        self.root, self.automounts = root.rstrip("/"), automounts
        self.lost = 0
        self._pipes: Optional[Tuple[int, int, int, Lifeline]] = None

    def __del__(self) -> None:
        """End the child with the machine that was observed: a check that waits observes it several times."""
        self.give_up()

    def ask(self, path: str, seconds: float = ANSWER_SECONDS) -> Union[FilesystemAnswer, OSError]:
        """Return the answer on a path, or an error: EAGAIN if it did not come in time."""
        if self.lost >= MAX_LOST or seconds <= 0:
            return OSError(errno.EAGAIN, "did not answer")
        try:
            _, reader, writer, _ = self._pipes = self._pipes or self._start()
            os.write(writer, os.fsencode(path) + b"\0")
            answer = _read_answer(reader, seconds)
        except OSError as error:
            self.give_up()
            return error
        except BaseException:  # A timeout: the answer to this path must not become that to the next.
            self.give_up()
            raise
        if not answer:
            self.lost += 1
            self.give_up()
            return OSError(errno.EAGAIN, "did not answer")
        fields = os.fsdecode(answer).split("\n")
        if fields[0] == "error":
            return OSError(int(fields[1]), os.strerror(int(fields[1])))
        size, blocks, free, available, inodes, inodes_free = map(int, fields[4:10])
        return FilesystemAnswer(
            *(fields[1], fields[2], fields[3]), size, blocks, free, available, inodes, inodes_free, fields[10]
        )

    def give_up(self) -> None:
        """Kill the child and leave it behind."""
        if self._pipes:
            process, reader, writer, lifeline = self._pipes
            self._pipes = None
            for handle in (reader, writer):
                os.close(handle)
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, os.WNOHANG)
            lifeline.close()

    def _start(self) -> Tuple[int, int, int, Lifeline]:
        lifeline, requests, answers = Lifeline(), os.pipe(), os.pipe()
        process = os.fork()
        if process:
            os.close(requests[0])
            os.close(answers[1])
            return process, answers[0], requests[1], lifeline
        try:
            _serve(self.root, self.automounts, lifeline, requests[0], answers[1])
        finally:
            os._exit(0)


def _read_answer(reader: int, seconds: float) -> bytes:
    """Return one answer, without its end mark; empty if it does not come in time."""
    end, data = time.monotonic() + seconds, b""
    while not data.endswith(b"\0"):
        left = end - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            return b""
        piece = os.read(reader, MAX_ANSWER_BYTES)
        data += piece
        if not piece or len(data) > MAX_ANSWER_BYTES:
            return b""
    return data[:-1]


# The child


def _serve(root: str, automounts: FrozenSet[str], lifeline: Lifeline, reader: int, writer: int) -> None:
    """Answer paths until the pipe is closed. No other file of the parent stays open, so that nobody waits for it."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    if not lifeline.bind_self():
        return
    null = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(null, handle)
    keep = sorted({reader, writer, lifeline.reader})
    for low, high in zip([2, *keep], [*keep, 1 << 16]):
        os.closerange(low + 1, high)
    pending = b""
    while True:
        piece = os.read(reader, MAX_ANSWER_BYTES)
        if not piece:
            return
        pending += piece
        while b"\0" in pending:
            path, _, pending = pending.partition(b"\0")
            os.write(writer, _answer(root, automounts, os.fsdecode(path)) + b"\0")


def _answer(root: str, automounts: FrozenSet[str], path: str) -> bytes:
    try:
        reached, stop = _walk(root, automounts, path)
        if stop:
            fields: List[object] = [reached, stop, "", 0, 0, 0, 0, 0, 0, ""]
        else:
            there = (root + reached) or "/"
            status, sizes = os.stat(there, follow_symlinks=False), os.statvfs(there)
            device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
            counts = (sizes.f_frsize, sizes.f_blocks, sizes.f_bfree, sizes.f_bavail, sizes.f_files, sizes.f_ffree)
            fields = [reached, "", device, *counts, _read_ftype(there, status)]
    except OSError as error:
        return os.fsencode(f"error\n{error.errno or errno.EIO}")
    return os.fsencode("\n".join(["answer", *map(str, fields)]))


def _walk(root: str, automounts: FrozenSet[str], path: str) -> Tuple[str, str]:
    """Return the path without links, as far as it exists, and the automount where it stops."""
    ahead, done, links = [name for name in reversed(path.split("/")) if name not in ("", ".")], [""], 0
    while ahead:
        name = ahead.pop()
        if name == "..":
            done = done[:-1] or [""]
            continue
        here = "/".join([*done, name])
        if here in automounts:
            return here, here
        try:
            kind = os.stat(root + here, follow_symlinks=False).st_mode
        except (FileNotFoundError, NotADirectoryError):
            break
        if stat.S_ISLNK(kind):
            target, links = os.readlink(root + here), links + 1
            if links > MAX_LINKS or len(ahead) > MAX_PATH_DEPTH:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            done = [""] if target.startswith("/") else done
            ahead += [part for part in reversed(target.split("/")) if part not in ("", ".")]
            continue
        done.append(name)
    return "/".join(done) or "/", ""


def _read_ftype(path: str, status: os.stat_result) -> str:
    """Return 1 or 0 for an XFS with or without file types in its directories, and an empty text for others."""
    import fcntl  # noqa: PLC0415 - only needed in the child
    import struct  # noqa: PLC0415 - likewise

    if not stat.S_ISDIR(status.st_mode):
        return ""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return "unreadable"
    try:
        size = struct.calcsize(XFS_GEOMETRY)
        data = bytearray(size)
        fcntl.ioctl(handle, make_read_request(os.uname().machine, "X", 100, size), data)
        return str(int(bool(struct.unpack(XFS_GEOMETRY, data)[XFS_FLAGS_FIELD] & XFS_FLAG_FTYPE)))
    except OSError:
        return ""
    finally:
        os.close(handle)


def make_read_request(machine: str, letter: str, number: int, size: int) -> int:
    """Return the number of an ioctl that reads, as _IOR of asm/ioctl.h computes it for an architecture."""
    if machine.startswith(("alpha", "mips", "ppc", "sparc")):
        direction, shift = 2, 29
    else:
        direction, shift = (1, 30) if machine.startswith("parisc") else (2, 30)
    return direction << shift | size << 16 | ord(letter) << 8 | number
