"""The interface of a root file system.

Reads are bounded and open regular files only. Errors are observations.
"""

from __future__ import annotations

import errno
import os
import stat
from abc import ABC, abstractmethod

from nodespec.light_typing import TYPE_CHECKING, TypeVar
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
    from typing import Callable, Dict, List, Tuple, Union

    S = TypeVar("S", bound="Tree")

MAX_FILE_BYTES = 16 << 20  # Bytes of one file.
MAX_NAMES = 100_000  # Names of one directory.
MAX_LINKS = 40  # Links followed on the way to one file, as in the kernel.
MAX_PATH_DEPTH = 256  # Components of one path.
CHUNK_BYTES = 1 << 16  # Bytes of one read. /proc/sys returns ENOMEM for reads of 4 MiB and more.

# The search path of programs. The PATH of the caller is not used.
PROGRAMS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
NO_PROGRAMS = Unknown("not found", "no directory of the search path exists")


class UnreadableError(OSError):
    """Raised if the reason is known better than errno states it.

    `reason` is a reason of `Unknown`. `look` is the hint: what would let nodespec observe the file.
    """

    def __init__(self, reason: str, say: str, look: str) -> None:
        super().__init__(say)
        self.reason, self.say, self.look = reason, say, look


class Entry(NamedTuple):
    """The metadata of a path.

    `find_entry_kind` is file, directory, link, fifo, socket or device. `mode` is the permission bits.
    """

    kind: str
    mode: int
    uid: int
    gid: int
    size: int


class Tree(ABC):
    """A root file system to observe.

    Every path is absolute within the tree. Links never lead outside. A subclass implements the four methods that raise
    OSError. The public methods convert their results and errors to observations. A subclass that lacks one of the four
    cannot be instantiated.
    """

    running = False
    maps_ids = True  # Whether the kernel maps owners to the user namespace of the reader.
    kernel = ""  # The release of the requested kernel, for a tree that has several.

    def __init__(self, root: str) -> None:
        self.root = root
        self._known: Dict[object, object] = {}

    def once(self: S, look: Callable[[S], T]) -> T:  # noqa: PYI019 - Self is not allowed in a Callable
        """Return the memoized result of `look`; a call that timed out is not repeated."""
        if look not in self._known:
            self._known[look] = TimedOut()
            self._known[look] = look(self)
        answer = self._known[look]
        if isinstance(answer, TimedOut):
            raise answer
        return answer  # type: ignore[return-value]

    def read(self, path: str, limit: int = MAX_FILE_BYTES) -> Observation[bytes]:
        """Read a regular file; unknown (failed) if it is longer than `limit` bytes."""
        return self._ask(path, lambda: self._read_whole(path, limit))

    def head(self, path: str, size: int) -> Observation[bytes]:
        """Read the first `size` bytes of a regular file, or all if it has fewer."""
        return self._ask(path, lambda: self._read_start(path, size))

    def text(self, path: str, limit: int = MAX_FILE_BYTES) -> Observation[str]:
        """Read a file as UTF-8 text; other bytes become hexadecimal escapes."""
        return self.read(path, limit).then(decode_host_text)

    def line(self, path: str) -> Observation[str]:
        """Read a small file as text, without blanks around it."""
        return self.text(path, CHUNK_BYTES).then(str.strip)

    def names(self, path: str) -> Observation[Tuple[str, ...]]:
        """Return the names in a directory, sorted and decoded as by `text`."""
        return self._ask(path, lambda: self._list_names(path))

    def link(self, path: str) -> Observation[str]:
        """Return the target of a link, as written."""
        return self._ask(path, lambda: self._read_target(path))

    def entry(self, path: str, *, follow: bool = True) -> Observation[Entry]:
        """Return the metadata of a path; links are followed by default."""
        return self._ask(path, lambda: self._read_entry(path, follow=follow))

    def program(self, name: str) -> Observation[str]:
        """Return the path of a program on the fixed search path.

        If directories before it cannot be read, the program may be there instead.
        """
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
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):  # The last: the process has ended.
            return self._missing(path)
        except PermissionError:
            return Unknown("no permission", f"{path} cannot be read by {_describe_reader()}", _suggest_rights())
        except UnreadableError as unseen:
            return Unknown(unseen.reason, f"{path} {unseen.say}", unseen.look)
        except OSError as error:
            return Unknown("failed", f"{path}: {error.strerror or error}")
        except ValueError:  # The path contains a NUL.
            return Absent(Evidence(path))

    def _missing(self, path: str) -> Union[Absent, Unknown]:
        """Return the observation of a path that does not exist."""
        return Absent(Evidence(path))

    @abstractmethod
    def _read_start(self, path: str, size: int) -> bytes:
        """Return up to `size` bytes from the start of a regular file; OSError."""

    @abstractmethod
    def _list_names(self, path: str) -> Tuple[str, ...]:
        """Return the names in a directory, sorted and decoded, ENTRIES at most; OSError."""

    @abstractmethod
    def _read_target(self, path: str) -> str:
        """Return the target of a symbolic link; OSError."""

    @abstractmethod
    def _read_entry(self, path: str, *, follow: bool) -> Entry:
        """Return the entry at a path; OSError.

        With `follow` set, a final link is followed.
        """

    def _read_whole(self, path: str, limit: int) -> bytes:
        return require_size(self._read_start(path, limit + 1), limit)


def require_size(data: bytes, limit: int) -> bytes:
    """Return the data; OSError if it is longer than `limit` bytes."""
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"longer than {limit} bytes")
    return data


def has_programs(tree: Tree) -> bool:
    """Return whether any directory of the search path exists.

    Without one no program can be reported as missing.
    """
    return not all(isinstance(tree.entry(folder), Absent) for folder in PROGRAMS)


def decode_host_text(data: bytes) -> str:
    """Decode bytes of a host as UTF-8; other bytes become hexadecimal escapes."""
    return data.decode("utf-8", "backslashreplace")


def find_entry_kind(mode: int) -> str:
    """Return the kind of an entry from its mode, as stat(2) returns it."""
    return _KINDS.get(stat.S_IFMT(mode), "device")


_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


def _describe_reader() -> str:
    return f"uid {os.geteuid()}"


def _suggest_rights() -> str:
    return "run as root" if os.geteuid() else "run outside of the sandbox that restricts root"
