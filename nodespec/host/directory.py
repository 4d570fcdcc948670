"""A directory of this host as a tree.

Its content may be hostile: links are resolved below the root, and devices are never opened.
"""

from __future__ import annotations

import errno
import os
import stat

from nodespec.host.tree import (
    CHUNK_BYTES,
    MAX_LINKS,
    MAX_NAMES,
    MAX_PATH_DEPTH,
    Entry,
    Tree,
    decode_host_text,
    find_entry_kind,
)
from nodespec.light_typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from typing import Callable, FrozenSet, List, Tuple, Union

T = TypeVar("T")


class DirectoryTree(Tree):
    """Files below a directory, or those of the host itself for `/`."""

    def __init__(self, root: str = "/") -> None:
        super().__init__(os.path.realpath(root))

    def _admit(self, path: str, status: os.stat_result) -> None:
        """Raise UnreadableError if the file at a path is not the one that belongs there."""

    def _read_start(self, path: str, size: int) -> bytes:
        return self._read_file(path, size)

    def _read_file(self, path: str, size: int, least: int = 1) -> bytes:
        """Return up to `size` bytes of a regular file. A read of fewer than `least` bytes is the last."""
        status = self._status(path, follow=True)
        self._admit(path, status)
        _require_regular(status)  # A device must not be opened at all.
        handle = self._open(path, 0)
        try:
            _require_regular(os.fstat(handle))  # The file may have been replaced since it was checked.
            data = bytearray()
            while len(data) < size:
                piece = os.read(handle, CHUNK_BYTES)
                data += piece
                if len(piece) < least:
                    break
            return bytes(data[:size])
        finally:
            os.close(handle)

    def list_unchecked(self, path: str) -> Tuple[str, ...]:
        """Return the names in a directory, masked or not; empty if it cannot be read."""
        try:
            return DirectoryTree._list_names(self, path)
        except OSError:
            return ()

    def find_last_directory(self, path: str) -> Tuple[str, int]:
        """Return the last existing directory on the way to a path, and its device number.

        The returned path contains no links.
        """
        with PathWalk(self.root) as walk:
            try:  # noqa: SIM105 - contextlib takes 1% of a check to import
                walk.to(path, follow=True)
            except OSError:
                pass
            return walk.path(), os.fstat(walk.folder).st_dev

    def resolved(self, path: str) -> str:
        """Return a path without links.

        It is empty if only the kernel can follow them, as below /proc/self/fd.
        """
        try:
            with PathWalk(self.root) as walk:
                return walk.path(walk.to(path, follow=True))
        except OSError:
            return ""

    def _list_names(self, path: str) -> Tuple[str, ...]:
        handle = self._open(path, os.O_DIRECTORY)
        try:
            self._admit(path, os.fstat(handle))
            names = []
            with os.scandir(handle) as entries:
                for entry in entries:
                    names.append(decode_host_text(os.fsencode(entry.name)))
                    if len(names) > MAX_NAMES:
                        raise OSError(errno.EFBIG, f"more than {MAX_NAMES} entries")
            return tuple(sorted(names))
        finally:
            os.close(handle)

    def _read_target(self, path: str) -> str:
        return decode_host_text(os.fsencode(self._at(path, _readlink)))

    def _read_entry(self, path: str, *, follow: bool) -> Entry:
        status = self._status(path, follow=follow)
        self._admit(path, status)
        return Entry(
            find_entry_kind(status.st_mode), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_size
        )

    def _open(self, path: str, flags: int) -> int:
        return self._at(
            path, lambda name, folder: os.open(name, _make_flags(flags, folder), dir_fd=folder), follow=True
        )

    def _status(self, path: str, *, follow: bool) -> os.stat_result:
        return self._at(path, _lstat if not follow else _stat, follow=follow)

    def _at(self, path: str, act: Callable[[str, Union[int, None]], T], *, follow: bool = False) -> T:
        """Call `act` with the last component of a path and the directory that holds it."""
        if self.root == "/":
            return act(path, None)
        with PathWalk(self.root) as walk:
            return act(walk.to(path, follow=follow), walk.folder)


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")


class PathWalk:
    """Descend a path below a root, component by component.

    The kernel never follows a link: its target is resolved as text. The paths in `covers` are read as empty.
    """

    def __init__(self, root: Union[str, int], covers: FrozenSet[str] = frozenset()) -> None:
        opened = os.dup(root) if isinstance(root, int) else os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._stack = [opened]
        self._names: List[str] = []
        self._covers = covers

    def __enter__(self) -> PathWalk:  # noqa: PYI034 - Self requires Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self._ascend(0)

    @property
    def folder(self) -> int:
        return self._stack[-1]

    def to(self, path: str, *, follow: bool) -> str:
        """Descend to the directory of the last component, and return its name there."""
        ahead, links = split_path(path), 0
        while ahead:
            name = ahead.pop()
            if name == "..":
                self._ascend(max(1, len(self._stack) - 1))
            elif self._covers and self.path() in self._covers:
                from nodespec.host.cover import make_cover_error  # noqa: PLC0415

                raise make_cover_error(self.path())
            elif not ahead and not follow:
                return name
            elif stat.S_ISLNK(_lstat(name, self.folder).st_mode):
                links += 1
                target = _readlink(name, self.folder)
                ahead += split_path(target)
                if links > MAX_LINKS or len(ahead) > MAX_PATH_DEPTH:
                    raise OSError(errno.ELOOP, "too many links")
                if target.startswith("/"):
                    self._ascend(1)
            elif not ahead:
                return name
            else:
                flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                self._stack.append(os.open(name, flags, dir_fd=self.folder))
                self._names.append(name)
        return "."

    def path(self, name: str = ".") -> str:
        """Return the path of a name in this directory, below the root."""
        return "/" + "/".join(self._names if name == "." else [*self._names, name])

    def _ascend(self, depth: int) -> None:
        del self._names[depth - 1 :]
        while len(self._stack) > depth:
            os.close(self._stack.pop())


def split_path(path: str) -> list[str]:
    """Return the components of a path, last first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _stat(name: str, folder: Union[int, None]) -> os.stat_result:
    return os.stat(name, dir_fd=folder, follow_symlinks=folder is None)


def _lstat(name: str, folder: Union[int, None]) -> os.stat_result:
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def _readlink(name: str, folder: Union[int, None]) -> str:
    return os.readlink(name, dir_fd=folder)


def _make_flags(more: int, folder: Union[int, None]) -> int:
    """Return the flags of open(2).

    Below a root the last component was not a link when it was checked. O_NOFOLLOW refuses it if it was replaced by a
    link.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | more
    return flags if folder is None else flags | os.O_NOFOLLOW
