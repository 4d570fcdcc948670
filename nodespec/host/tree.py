"""The interface of a root file system: bounded reads of regular files whose errors are observations."""

from __future__ import annotations

import errno
import os
import stat
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Callable, Dict, List, Tuple, TypeVar, Union, cast

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


class Tree(ABC):
    """A root file system to observe. Every path is absolute, as the tree itself sees it; links never lead outside.

    A kind of tree implements the four methods that raise OSError; the methods without underscore turn what they
    return or raise into observations. A kind that lacks one cannot be instantiated.
    """

    running = False
    maps_ids = True  # whether the kernel shows owners as the user namespace of the reader maps them
    kernel = ""  # the release of the kernel that is asked for, of a tree that has several

    def __init__(self, root: str) -> None:
        self.root = root
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
        return self._ask(path, lambda: self._read_whole(path, limit))

    def head(self, path: str, size: int) -> Observation[bytes]:
        """So many bytes that a regular file begins with, or all where it has fewer."""
        return self._ask(path, lambda: self._read_start(path, size))

    def text(self, path: str, limit: int = LIMIT) -> Observation[str]:
        """The content as text: UTF-8, with every other byte written as its hexadecimal escape."""
        return self.read(path, limit).then(decoded)

    def line(self, path: str) -> Observation[str]:
        """The content of a small file, without blanks around it."""
        return self.text(path, CHUNK).then(str.strip)

    def names(self, path: str) -> Observation[Tuple[str, ...]]:
        """The names in a directory, sorted, as `text` writes them."""
        return self._ask(path, lambda: self._list_names(path))

    def link(self, path: str) -> Observation[str]:
        """Where a link points, as written."""
        return self._ask(path, lambda: self._read_target(path))

    def entry(self, path: str, *, follow: bool = True) -> Observation[Entry]:
        """What stands at a path, behind links unless told otherwise."""
        return self._ask(path, lambda: self._read_entry(path, follow=follow))

    def program(self, name: str) -> Observation[str]:
        """Where a program stands on the fixed search path; it may stand in a folder before that cannot be read."""
        unread: List[Tuple[str, Unknown]] = []
        for folder in PROGRAMS:
            path = f"{folder}/{name}"
            found = self.entry(path)
            if isinstance(found, Value) and found.value.kind == "file" and found.value.mode & 0o111:
                return Value(path, Evidence(path), tuple(before for before, _ in unread))
            if isinstance(found, Unknown):
                unread.append((path, found))
        if unread:
            return unread[0][1]
        return Absent(Evidence(":".join(PROGRAMS))) if self.once(has_programs) else NO_PROGRAMS

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

    @abstractmethod
    def _read_start(self, path: str, size: int) -> bytes:
        """Return up to `size` bytes from the start of a regular file; OSError."""

    @abstractmethod
    def _list_names(self, path: str) -> Tuple[str, ...]:
        """Return the names in a directory, sorted and decoded, MAX_ENTRIES at most; OSError."""

    @abstractmethod
    def _read_target(self, path: str) -> str:
        """Return what a symbolic link contains; OSError."""

    @abstractmethod
    def _read_entry(self, path: str, *, follow: bool) -> Entry:
        """Return the entry at a path, of the target of a final link where `follow` is set; OSError."""

    def _read_whole(self, path: str, limit: int) -> bytes:
        data = self._read_start(path, limit + 1)
        if len(data) > limit:
            raise OSError(errno.EFBIG, f"longer than {limit} bytes")
        return data


def has_programs(tree: Tree) -> bool:
    """Whether any folder of the search path is there: where none is, no program can be said to be missing."""
    return not all(isinstance(tree.entry(folder), Absent) for folder in PROGRAMS)


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
