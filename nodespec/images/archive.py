"""The tree of a root file system in archives: a tar, or the layers of an image.

Memory holds the names and the offset of each content. Content is read on demand, which is as fast in a plain tar as in
a directory. Files of a compressed or piped archive are kept while it is read, up to 96 MiB, and 200 MiB together with
all names. Package databases, lists of modules and systemd's library are kept first, then files that are not a program,
compressed or documentation, the smallest first. Other files are decompressed again, from an offset before them (gzip)
or from the start (xz, zstd). That may take too long, so that they are unknown (timed out). In a pipe they are unknown.
"""

from __future__ import annotations

import errno
import heapq
import os
import re
import stat

from nodespec.formats.byte_source import ByteSource, DamagedError, SourceRange
from nodespec.formats.tar import Member, read_members
from nodespec.formats.tar_sparse import Segments
from nodespec.host.tree import MAX_NAMES, Entry, Tree, UnreadableError, decode_host_text, find_entry_kind
from nodespec.images.inodes import WHITEOUT, Inodes, split_member_name
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from typing import Dict, List, Sequence, Tuple, Union

CONTENT_OVERHEAD_BYTES = 300  # Bytes of overhead for each kept content.

_NEEDED_PATHS = re.compile(
    rb"(usr/lib/sysimage|usr/share|var/lib)/rpm/|var/lib/dpkg/status|(usr/)?lib/apk/db/"  # The installed packages.
    # The files that decide what a boot does.
    rb"|(usr/)?lib/modules/[^/]+/modules\.|(usr/)?lib(64)?/([^/]+/)?systemd/libsystemd-shared-"
)
_RARE_PATHS = re.compile(rb"usr/(share|include|src)/|var/cache/|var/lib/apt/")
_BULK_CONTENT = re.compile(rb"\x7fELF|\x1f\x8b|\xfd7zXZ|\x28\xb5\x2f\xfd|BZh")


class ArchiveTree(Tree):
    """A tree whose files are members of archives: the layers of an image, or one tar.

    Raises `DamagedError` if an archive cannot be read to its end: otherwise unread files would count as absent.
    """

    maps_ids = False

    def __init__(
        self, root: str, sources: Sequence[ByteSource], *, layered: bool, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        super().__init__(root)
        self._sources, self._limits = sources, limits
        self._inodes = Inodes()
        self._kept = _ContentCache(limits.kept_bytes)
        self._unpacked = 0  # Bytes of the layers so far.
        for layer, source in enumerate(sources):
            self._add_layer(layer, source, layered=layered)
            source.release()

    def source(self, path: str) -> ByteSource:
        """Return the content of a file as a source."""
        inodes, row = self._inodes, self._find_file(path)
        if row in inodes.segments:
            raise DamagedError(f"{path} is a sparse file that cannot be read")
        return SourceRange(self._sources[inodes.source[row]], inodes.data[row], inodes.size[row])

    def _add_layer(self, layer: int, source: ByteSource, *, layered: bool) -> None:
        end = 0
        for member in read_members(source):
            end = 0 if source.quick else member.data + member.size
            if self._unpacked + end > self._limits.unpacked_bytes:
                raise DamagedError(f"the unpacked content is longer than {self._limits.unpacked_bytes >> 30} GiB")
            parts = split_member_name(member.name)
            if layered and parts and parts[-1].startswith(WHITEOUT):
                self._inodes.whiteout(parts, layer)
                continue
            row = self._inodes.put(parts, member, layer)
            if row and member.size and not source.quick and stat.S_ISREG(member.mode) and not member.holes:
                self._kept.offer(row, b"/".join(parts), member, source)
            self._kept.shrink(self._limits.memory_bytes - self._inodes.weight)
        self._unpacked += end

    def _read_whole(self, path: str, limit: int) -> bytes:
        if self._inodes.size[self._find_file(path)] > limit:
            raise OSError(errno.EFBIG, f"longer than {limit} bytes")
        return self._read_start(path, limit)

    def _read_start(self, path: str, size: int) -> bytes:
        row = self._find_file(path)
        size, data = min(size, self._inodes.size[row]), self._inodes.data[row]
        if not size or row in self._kept.content:
            return self._kept.content.get(row, b"")[:size]
        source = self._sources[self._inodes.source[row]]
        if not source.again:
            say, look = "was not kept, because the image was read from a pipe", "give the image as a file"
            raise UnreadableError("unsupported", say, look)
        try:
            if row in self._inodes.segments:
                return _fill_holes(source, data, self._inodes.size[row], self._inodes.segments[row])[:size]
            return _read_exactly(source, data, size)
        finally:
            source.release()

    def _list_names(self, path: str) -> Tuple[str, ...]:
        row = self._inodes.find(path, follow=True)
        if not stat.S_ISDIR(self._inodes.mode[row]):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        names = self._inodes.children.get(row, {})
        if len(names) > MAX_NAMES:
            raise OSError(errno.EFBIG, f"more than {MAX_NAMES} entries")
        return tuple(sorted(map(decode_host_text, names)))

    def _read_target(self, path: str) -> str:
        row = self._inodes.find(path, follow=False)
        if row not in self._inodes.targets:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return decode_host_text(self._inodes.targets[row])

    def _read_entry(self, path: str, *, follow: bool) -> Entry:
        inodes, row = self._inodes, self._inodes.find(path, follow=follow)
        mode = inodes.mode[row]
        return Entry(find_entry_kind(mode), stat.S_IMODE(mode), inodes.uid[row], inodes.gid[row], inodes.size[row])

    def _find_file(self, path: str) -> int:
        row = self._inodes.find(path, follow=True)
        if not stat.S_ISREG(self._inodes.mode[row]):
            raise OSError(errno.EINVAL, "not a regular file")
        return row


def _read_exactly(source: ByteSource, data: int, size: int) -> bytes:
    content = source.read(data, size)
    if len(content) < size:
        raise DamagedError("the archive was truncated after it was opened")
    return content


def _fill_holes(source: ByteSource, data: int, size: int, segments: Union[Segments, None]) -> bytes:
    """Return the content of a sparse file, with its holes as zeros."""
    if segments is None:
        raise OSError(errno.EFBIG, "a sparse file with too many parts")
    content = bytearray(size)
    for offset, length in segments:
        content[offset : offset + length] = _read_exactly(source, data, length)
        data += length
    return bytes(content)


class _ContentCache:
    """Kept contents by row, and the order in which they are dropped."""

    def __init__(self, size: int) -> None:
        self.content: Dict[int, bytes] = {}
        # Worth, negative size and row. The least element is dropped first.
        self._order: List[Tuple[int, int, int]] = []
        self._size, self._room, self._max_size = 0, size, size

    def offer(self, row: int, path: bytes, member: Member, source: ByteSource) -> None:
        """Keep a file's content, if there is room or less valuable content to drop."""
        cost = member.size + CONTENT_OVERHEAD_BYTES
        if cost > self._room:
            return
        mark = (_rank_content(path, source.read(member.data, min(member.size, 8))), -cost, row)
        while self._size + cost > self._room:
            if self._order[0][:2] >= mark[:2]:
                return
            self._drop_least()
        self.content[row] = _read_exactly(source, member.data, member.size)
        self._size += cost
        heapq.heappush(self._order, mark)

    def shrink(self, room: int) -> None:
        """Reduce the room, and drop the content that exceeds it."""
        self._room = max(0, min(room, self._max_size))
        while self._size > self._room:
            self._drop_least()

    def _drop_least(self) -> None:
        _, less, row = heapq.heappop(self._order)
        self._size += less
        del self.content[row]


def _rank_content(path: bytes, head: bytes) -> int:
    if _NEEDED_PATHS.match(path):
        return 1
    return -1 if _RARE_PATHS.match(path) or _BULK_CONTENT.match(head) else 0
