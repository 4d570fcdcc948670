"""A tree of files, read as hostile: inside its root, bounded, regular files only, and nothing raises."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Callable, Dict, FrozenSet, List, Tuple, TypeVar, Union, cast

from nodespec.model.observation import (
    Absent,
    Evidence,
    Observation,
    TimedOut,
    Unknown,
    Value,
)
from nodespec.records import NamedTuple

T = TypeVar("T")
if TYPE_CHECKING:
    S = TypeVar("S", bound="Tree")

LIMIT = 16 << 20  # bytes of one file
ENTRIES = 100_000  # names of one directory
LINKS = 40  # followed on the way to one file, as the kernel does
DEPTH = 256  # components of one path
CHUNK = 1 << 16  # /proc/sys answers ENOMEM to a read of 4 MiB and more

# searched for programs, whatever the caller's PATH says
PROGRAMS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
NO_PROGRAMS = Unknown("not found", "no folder of the search path is there")


class Unseen(OSError):
    """Raised where more is known than the system says: which of the reasons it is, and what would let nodespec look."""

    def __init__(self, reason: str, say: str, look: str) -> None:
        super().__init__(say)
        self.reason, self.say, self.look = reason, say, look


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
    maps_ids = True  # whether the kernel shows owners as the user namespace of the reader maps them
    kernel = ""  # the release of the kernel that is asked for, of a tree that has several

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

    def head(self, path: str, size: int) -> Observation[bytes]:
        """So many bytes that a regular file begins with, or all where it has fewer."""
        return self._ask(path, lambda: self._beginning(path, size))

    def text(self, path: str, limit: int = LIMIT) -> Observation[str]:
        """The content as text: UTF-8, with every other byte written as its hexadecimal escape."""
        return self.read(path, limit).then(decoded)

    def line(self, path: str) -> Observation[str]:
        """The content of a small file, without blanks around it."""
        return self.text(path, CHUNK).then(str.strip)

    def names(self, path: str) -> Observation[Tuple[str, ...]]:
        """The names in a directory, sorted, as `text` writes them."""
        return self._ask(path, lambda: self._listing(path))

    def link(self, path: str) -> Observation[str]:
        """Where a link points, as written."""
        return self._ask(path, lambda: self._target(path))

    def entry(self, path: str, *, follow: bool = True) -> Observation[Entry]:
        """What stands at a path, behind links unless told otherwise."""
        return self._ask(path, lambda: self._standing(path, follow=follow))

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
        return unread or (Absent(Evidence(":".join(PROGRAMS))) if self.once(has_programs) else NO_PROGRAMS)

    def _ask(self, path: str, ask: Callable[[], T]) -> Observation[T]:
        try:
            return Value(ask(), Evidence(path))
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):  # the latter: a process that ended
            return self._missing(path)
        except PermissionError:
            return Unknown("no permission", f"{path} may not be read by {_reader()}", _more_rights())
        except Unseen as unseen:
            return Unknown(unseen.reason, f"{path} {unseen.say}", unseen.look)
        except OSError as error:
            return Unknown("failed", f"{path}: {error.strerror or error}")
        except ValueError:  # a NUL in the path
            return Absent(Evidence(path))

    def _missing(self, path: str) -> Union[Absent, Unknown]:
        """What it means that a path does not exist."""
        return Absent(Evidence(path))

    def _admit(self, path: str, found: os.stat_result) -> None:
        """Raise Unseen where what was found at a path must not be taken for what belongs there."""

    def _content(self, path: str, limit: int) -> bytes:
        data = self._beginning(path, limit + 1)
        if len(data) > limit:
            raise OSError(errno.EFBIG, f"longer than {limit} bytes")
        return data

    def _beginning(self, path: str, size: int) -> bytes:
        found = self._status(path, follow=True)
        self._admit(path, found)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")  # a device is not even opened
        handle = self._open(path, 0)
        try:
            data = bytearray()
            while len(data) < size and (piece := os.read(handle, CHUNK)):
                data += piece
            return bytes(data[:size])
        finally:
            os.close(handle)

    def _listing(self, path: str) -> Tuple[str, ...]:
        handle = self._open(path, os.O_DIRECTORY)
        try:
            self._admit(path, os.fstat(handle))
            names = []
            with os.scandir(handle) as entries:
                for entry in entries:
                    names.append(decoded(os.fsencode(entry.name)))
                    if len(names) > ENTRIES:
                        raise OSError(errno.EFBIG, f"more than {ENTRIES} entries")
            return tuple(sorted(names))
        finally:
            os.close(handle)

    def _target(self, path: str) -> str:
        return decoded(os.fsencode(self._at(path, _readlink)))

    def _standing(self, path: str, *, follow: bool) -> Entry:
        found = self._status(path, follow=follow)
        self._admit(path, found)
        return Entry(kind(found.st_mode), stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_size)

    def _open(self, path: str, flags: int) -> int:
        return self._at(path, lambda name, folder: os.open(name, _flags(flags, folder), dir_fd=folder), follow=True)

    def _status(self, path: str, *, follow: bool) -> os.stat_result:
        return self._at(path, _lstat if not follow else _stat, follow=follow)

    def _at(self, path: str, act: Callable[[str, Union[int, None]], T], *, follow: bool = False) -> T:
        """`act` on the last component of a path and the folder that holds it."""
        if self.root == "/":
            return act(path, None)
        with Walk(self.root) as walk:
            return act(walk.to(path, follow=follow), walk.folder)


def has_programs(tree: Tree) -> bool:
    """Whether any folder of the search path is there: where none is, no program can be said to be missing."""
    return not all(isinstance(tree.entry(folder), Absent) for folder in PROGRAMS)


class Walk:
    """Goes down a path below a root one component at a time, so that a link is only ever a text.

    What stands at the paths `covers` is read as empty.
    """

    def __init__(self, root: Union[str, int], covers: FrozenSet[str] = frozenset()) -> None:
        opened = os.dup(root) if isinstance(root, int) else os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._stack = [opened]
        self._names: List[str] = []
        self._covers = covers

    def __enter__(self) -> Walk:  # noqa: PYI034 - Self is Python 3.11's
        return self

    def __exit__(self, *_: object) -> None:
        self._ascend(0)

    @property
    def folder(self) -> int:
        return self._stack[-1]

    def to(self, path: str, *, follow: bool) -> str:
        """Stand in the folder that holds the last component, and say its name there."""
        ahead, links = components(path), 0
        while ahead:
            name = ahead.pop()
            if name == "..":
                self._ascend(max(1, len(self._stack) - 1))
            elif self._covers and self.path() in self._covers:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            elif not ahead and not follow:
                return name
            elif stat.S_ISLNK(_lstat(name, self.folder).st_mode):
                links += 1
                target = _readlink(name, self.folder)
                ahead += components(target)
                if links > LINKS or len(ahead) > DEPTH:
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
        """Where a name in this folder stands, below the root."""
        return "/" + "/".join(self._names if name == "." else [*self._names, name])

    def _ascend(self, depth: int) -> None:
        del self._names[depth - 1 :]
        while len(self._stack) > depth:
            os.close(self._stack.pop())


def components(path: str) -> list[str]:
    """The components of a path, last first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _stat(name: str, folder: Union[int, None]) -> os.stat_result:
    return os.stat(name, dir_fd=folder, follow_symlinks=folder is None)


def _lstat(name: str, folder: Union[int, None]) -> os.stat_result:
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def _readlink(name: str, folder: Union[int, None]) -> str:
    return os.readlink(name, dir_fd=folder)


def decoded(data: bytes) -> str:
    """Bytes of a host as text; it is here and nowhere else that they become so."""
    return data.decode("utf-8", "backslashreplace")


def kind(mode: int) -> str:
    """The kind of an entry, by its mode as stat(2) gives it."""
    return _KINDS.get(stat.S_IFMT(mode), "device")


_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


def _reader() -> str:
    return f"uid {os.geteuid()}"


def _more_rights() -> str:
    return "run as root" if os.geteuid() else "run outside of the sandbox that takes rights from root"


def _flags(more: int, folder: Union[int, None]) -> int:
    """Below a root the last component was seen to be no link, and shall not become one."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | more
    return flags if folder is None else flags | os.O_NOFOLLOW
