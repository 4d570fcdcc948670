"""Write files below a root directory.

Links are resolved inside the root, and a file is never written through a link.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from nodespec.host.directory import PathWalk
from nodespec.light_typing import TYPE_CHECKING
from nodespec.output.file import DEFAULT_ACCESS, DEFAULT_WRITE_SECONDS, FileAccess, replace_file
from nodespec.output.path import Destination, open_folder

if TYPE_CHECKING:
    from typing import Iterator, List, Optional

MAX_READ_BYTES = 16 << 20  # bytes of a file
FOLDER_MODE = 0o755


class TreeWriter:
    """Files below a root, by paths relative to it. Every method raises OSError, with the path as `filename`."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._folder = open_folder(root)

    def close(self) -> None:
        """Close the root."""
        os.close(self._folder)

    def status(self, path: str) -> Optional[os.stat_result]:
        """Return the status of a path itself, without following a link; None if it is not found."""
        with PathWalk(self._folder) as walk:
            try:
                return os.stat(walk.to(path, follow=False), dir_fd=walk.folder, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def read(self, path: str) -> Optional[bytes]:
        """Return the content of a regular file; None if it is not found or a link."""
        status = self.status(path)
        if status is None or not stat.S_ISREG(status.st_mode):
            return None
        with PathWalk(self._folder) as walk:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            handle = os.open(walk.to(path, follow=False), flags, dir_fd=walk.folder)
        with open(handle, "rb") as file:
            return file.read(MAX_READ_BYTES)

    def names(self, path: str) -> List[str]:
        """Return the sorted names in a directory; no names if it does not exist."""
        with PathWalk(self._folder) as walk:
            try:
                name = walk.to(path, follow=True)
                handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=walk.folder)
            except (FileNotFoundError, NotADirectoryError):
                return []
        try:
            return sorted(os.listdir(handle))
        finally:
            os.close(handle)

    def write(self, path: str, content: bytes, mode: int = 0) -> None:
        """Write a regular file in an existing directory; without `mode` its mode is kept."""
        with PathWalk(self._folder) as walk:
            name = walk.to(path, follow=False)
            status = self.status(path)
            if status and not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EEXIST, "it is not a regular file", path)
            access = FileAccess(exact=mode) if mode else DEFAULT_ACCESS
            replace_file(
                Destination(walk.folder, name, status), (content,), access, time.monotonic() + DEFAULT_WRITE_SECONDS
            )

    def make_folders(self, path: str) -> Iterator[str]:
        """Create the directories that a file needs, and yield each that was created."""
        names = path.split("/")[:-1]
        folders = ("/".join(names[: count + 1]) for count in range(len(names)))
        return filter(self._make_folder, folders)

    def _make_folder(self, path: str) -> bool:
        """Create a directory if it does not exist; return whether it was created."""
        status = self.status(path)
        if status is None:
            with PathWalk(self._folder) as walk:
                os.mkdir(walk.to(path, follow=False), FOLDER_MODE, dir_fd=walk.folder)
        elif not stat.S_ISDIR((status if not stat.S_ISLNK(status.st_mode) else self._stat_target(path)).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "it is not a directory; move it away", path)
        return status is None

    def _stat_target(self, path: str) -> os.stat_result:
        with PathWalk(self._folder) as walk:
            try:
                return os.stat(walk.to(path, follow=True), dir_fd=walk.folder, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                message = "the target of this link is not in the tree; replace it by a directory"
                raise NotADirectoryError(errno.ENOTDIR, message, path) from None

    def unlink(self, path: str) -> None:
        """Remove a file, or a link itself."""
        with PathWalk(self._folder) as walk:
            os.unlink(walk.to(path, follow=False), dir_fd=walk.folder)

    def remove_folder(self, path: str) -> None:
        """Remove an empty directory."""
        with PathWalk(self._folder) as walk:
            os.rmdir(walk.to(path, follow=False), dir_fd=walk.folder)
