"""A tree of files, read as hostile: inside its root, bounded, regular files only, and nothing raises."""

from __future__ import annotations

import errno
import os
import stat
from typing import Callable, Dict, NamedTuple, Tuple, TypeVar, Union, cast

from .observation import Absent, Evidence, Observation, Unknown, Value

T = TypeVar("T")
S = TypeVar("S", bound="Tree")

LIMIT = 16 << 20  # bytes of one file
ENTRIES = 100_000  # names of one directory
LINKS = 40  # followed on the way to one file, as the kernel does
DEPTH = 256  # components of one path
CHUNK = 1 << 16  # /proc/sys answers ENOMEM to a read of 4 MiB and more

# searched for programs, whatever the caller's PATH says
PROGRAMS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
# below these, "no such file" means something only if the file system that they should be is there
ROOTS = {"proc": "/proc/self/stat", "sys": "/sys/kernel"}


class TimedOut(BaseException):
    """Raised into whatever blocks when an observation has used up its time; the engine catches it."""


class Entry(NamedTuple):
    """What stands at a path. `kind` is file, directory, link, fifo, socket or device; `mode` the permission bits."""

    kind: str
    mode: int
    uid: int
    gid: int
    size: int


class Tree:
    """Files below `root`. Every path is absolute, as the tree itself sees it; links stay inside."""

    running = False

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.realpath(root)
        self._known: Dict[object, object] = {}

    def once(self: S, look: Callable[[S], T]) -> T:  # noqa: PYI019 - Self cannot stand in a Callable
        """The answer of `look`, which is asked only once; one that timed out is not tried again."""
        if look not in self._known:
            self._known[look] = TimedOut()
            self._known[look] = look(self)
        answer = self._known[look]
        if isinstance(answer, TimedOut):
            raise answer
        return cast("T", answer)

    def read(self, path: str, limit: int = LIMIT) -> Observation[bytes]:
        """The content of a regular file; unknown (failed) where it is longer than `limit` bytes."""
        return self._ask(path, lambda: self._content(path, limit))

    def text(self, path: str, limit: int = LIMIT) -> Observation[str]:
        """The content as text: UTF-8, with every other byte written as its hexadecimal escape."""
        return self.read(path, limit).then(lambda data: data.decode("utf-8", "backslashreplace"))

    def line(self, path: str) -> Observation[str]:
        """The content of a small file, without blanks around it."""
        return self.text(path, CHUNK).then(str.strip)

    def names(self, path: str) -> Observation[Tuple[str, ...]]:
        """The names in a directory, sorted, as `text` writes them."""
        return self._ask(path, lambda: self._listing(path))

    def link(self, path: str) -> Observation[str]:
        """Where a link points, as written."""
        return self._ask(path, lambda: _text(self._at(path, _readlink)))

    def entry(self, path: str, *, follow: bool = True) -> Observation[Entry]:
        """What stands at a path, behind links unless told otherwise."""
        return self._ask(path, lambda: _entry(self._status(path, follow=follow)))

    def program(self, name: str) -> Observation[str]:
        """Where a program stands on the fixed search path."""
        unread = None
        for folder in PROGRAMS:
            path = f"{folder}/{name}"
            found = self.entry(path)
            if isinstance(found, Value) and found.value.kind == "file" and found.value.mode & 0o111:
                return Value(path, Evidence(path))
            if isinstance(found, Unknown):
                unread = unread or found
        return unread or Absent(Evidence(":".join(PROGRAMS)))

    def _ask(self, path: str, ask: Callable[[], T]) -> Observation[T]:
        try:
            return Value(ask(), Evidence(path))
        except (FileNotFoundError, NotADirectoryError):
            return self._missing(path)
        except PermissionError:
            return Unknown("no permission", f"{path} may not be read by {_reader()}", _more_rights())
        except OSError as error:
            return Unknown("failed", f"{path}: {error.strerror or error}")
        except ValueError:  # a NUL in the path
            return Absent(Evidence(path))

    def _missing(self, path: str) -> Union[Absent, Unknown]:
        """Absence, but below a /proc or /sys that is not there, where nothing could be seen."""
        root = path.split("/", 2)[1]
        mark = ROOTS.get(root)
        if mark and mark != path:
            try:
                self._status(mark, follow=True)
            except OSError:
                return Unknown("hidden", f"/{root} is not mounted here", f"mount /{root}")
        return Absent(Evidence(path))

    def _content(self, path: str, limit: int) -> bytes:
        if not stat.S_ISREG(self._status(path, follow=True).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")  # a device is not even opened
        handle = self._open(path, 0)
        try:
            data = bytearray()
            while piece := os.read(handle, CHUNK):
                data += piece
                if len(data) > limit:
                    raise OSError(errno.EFBIG, f"longer than {limit} bytes")
            return bytes(data)
        finally:
            os.close(handle)

    def _listing(self, path: str) -> Tuple[str, ...]:
        handle = self._open(path, os.O_DIRECTORY)
        try:
            names = []
            with os.scandir(handle) as entries:
                for entry in entries:
                    names.append(_text(entry.name))
                    if len(names) > ENTRIES:
                        raise OSError(errno.EFBIG, f"more than {ENTRIES} entries")
            return tuple(sorted(names))
        finally:
            os.close(handle)

    def _open(self, path: str, flags: int) -> int:
        return self._at(path, lambda name, folder: os.open(name, _flags(flags, folder), dir_fd=folder), follow=True)

    def _status(self, path: str, *, follow: bool) -> os.stat_result:
        return self._at(path, _lstat if not follow else _stat, follow=follow)

    def _at(self, path: str, act: Callable[[str, Union[int, None]], T], *, follow: bool = False) -> T:
        """`act` on the last component of a path and the folder that holds it."""
        if self.root == "/":
            return act(path, None)
        with _Walk(self.root) as walk:
            return act(walk.to(path, follow=follow), walk.folder)


class _Walk:
    """Goes down a path below a root one component at a time, so that a link is only ever a text."""

    def __init__(self, root: str) -> None:
        self._stack = [os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]

    def __enter__(self) -> _Walk:  # noqa: PYI034 - Self is Python 3.11's
        return self

    def __exit__(self, *_: object) -> None:
        self._ascend(0)

    @property
    def folder(self) -> int:
        return self._stack[-1]

    def to(self, path: str, *, follow: bool) -> str:
        """Stand in the folder that holds the last component, and say its name there."""
        ahead, links = _components(path), 0
        while ahead:
            name = ahead.pop()
            if name == "..":
                self._ascend(max(1, len(self._stack) - 1))
            elif not ahead and not follow:
                return name
            elif stat.S_ISLNK(_lstat(name, self.folder).st_mode):
                links += 1
                target = _readlink(name, self.folder)
                ahead += _components(target)
                if links > LINKS or len(ahead) > DEPTH:
                    raise OSError(errno.ELOOP, "too many links")
                if target.startswith("/"):
                    self._ascend(1)
            elif not ahead:
                return name
            else:
                flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                self._stack.append(os.open(name, flags, dir_fd=self.folder))
        return "."

    def _ascend(self, depth: int) -> None:
        while len(self._stack) > depth:
            os.close(self._stack.pop())


def _components(path: str) -> list[str]:
    """The components of a path, last first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _stat(name: str, folder: Union[int, None]) -> os.stat_result:
    return os.stat(name, dir_fd=folder, follow_symlinks=folder is None)


def _lstat(name: str, folder: Union[int, None]) -> os.stat_result:
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def _readlink(name: str, folder: Union[int, None]) -> str:
    return os.readlink(name, dir_fd=folder)


def _text(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _reader() -> str:
    return f"uid {os.geteuid()}"


def _more_rights() -> str:
    return "run as root" if os.geteuid() else "run outside of the sandbox that takes rights from root"


def _entry(found: os.stat_result) -> Entry:
    kinds = {
        stat.S_IFREG: "file",
        stat.S_IFDIR: "directory",
        stat.S_IFLNK: "link",
        stat.S_IFIFO: "fifo",
        stat.S_IFSOCK: "socket",
    }
    kind = kinds.get(stat.S_IFMT(found.st_mode), "device")
    return Entry(kind, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_size)


def _flags(more: int, folder: Union[int, None]) -> int:
    """Below a root the last component was seen to be no link, and shall not become one."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | more
    return flags if folder is None else flags | os.O_NOFOLLOW
