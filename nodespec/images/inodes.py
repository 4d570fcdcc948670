"""The names of a file system in archives that are not unpacked.

A million names take 200 MiB. Names are placed where unpacking below the root would place them. A leading slash is
ignored, `..` leads to the root at most, and links on the way to a member are resolved below the root. The later of two
members of one name is valid. Members that no file system can hold are omitted: a name longer than 255 bytes, a path
through a loop of links, a hard link to nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from array import array

from nodespec.formats.byte_source import DamagedError
from nodespec.formats.tar import Member
from nodespec.formats.tar_sparse import Segments
from nodespec.host.tree import MAX_LINKS, MAX_PATH_DEPTH
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence

MAX_WEIGHT_BYTES = 190 << 20  # Estimated bytes of all names.
MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 4096  # Bytes of one name, and of a whole path.
WHITEOUT, OPAQUE, RESERVED = b".wh.", b".wh..wh..opq", b".wh..wh."

_FOLDER = Member(b"", stat.S_IFDIR | 0o755, 0, 0, 0, 0, b"")
_ROW, _FIRST, _SIDE, _SEGMENT = 150, 330, 140, 120  # Estimated bytes of a row, a first child, a link, a segment.


class LinkLoopError(OSError):
    """A path through too many links."""


_LOST = (FileNotFoundError, NotADirectoryError, LinkLoopError)


class Inodes:
    """Rows of inodes in columns, and the names that lead to them.

    The first row is the root. `layer` is the layer that put the row there, `source` the layer that has its content.
    """

    def __init__(self) -> None:
        self.mode, self.uid, self.gid = array("H"), array("I"), array("I")
        self.size, self.data = array("Q"), array("Q")
        self.layer, self.source = array("H"), array("H")
        self.children: Dict[int, Dict[bytes, int]] = {}
        self.targets: Dict[int, bytes] = {}
        self.segments: Dict[int, Optional[Segments]] = {}
        self.weight = 0
        self._pruned: Dict[int, int] = {}  # Rows, and the layer for which their subtree was pruned.
        self._append_row(_FOLDER, 0)

    def find(self, path: str, *, follow: bool) -> int:
        """Return the row at a path; OSError if it is not found.

        With `follow` set, a final link is followed.
        """
        return self._walk_path(os.fsencode(path).split(b"/"), follow=follow)

    def put(self, parts: Sequence[bytes], member: Member, layer: int) -> int:
        """Put a member at a path and return its row.

        The row is 0 for the root, and for a member that cannot be there.
        """
        if not _is_possible(parts, member):
            return 0
        if not parts:
            self._update_row(0, member, layer)
            return 0
        try:
            folder = self._walk_path(parts[:-1], follow=True, make=layer)
        except LinkLoopError:
            return 0
        old = self.children.get(folder, {}).get(parts[-1], 0)
        if not member.mode:
            row = self._find_hard_link(member, layer)
        elif old and stat.S_ISDIR(member.mode) and stat.S_ISDIR(self.mode[old]):
            row = self._update_row(old, member, layer)
        else:
            row = self._append_row(member, layer)
        if old != row:
            self._set_name(folder, parts[-1], row)
        return row

    def whiteout(self, parts: Sequence[bytes], layer: int) -> None:
        """Hide what a whiteout names in lower layers, and nothing of its own layer."""
        *way, name = parts
        try:
            folder = self._walk_path(way, follow=True)
        except _LOST:
            return
        if name == OPAQUE:
            self._prune(folder, layer)
        elif not name.startswith(RESERVED):
            hidden = self.children.get(folder, {}).get(name[len(WHITEOUT) :], 0)
            if hidden:
                self._prune(hidden, layer)
                self._drop(folder, name[len(WHITEOUT) :], layer)

    def _walk_path(self, parts: Sequence[bytes], *, follow: bool, make: Optional[int] = None) -> int:
        """Return the row at a path.

        `make` is a layer: each component of the path that is not a directory is then replaced by one in that layer.
        """
        stack, ahead, links = [0], _reverse_parts(parts), 0
        while ahead:
            name, here = ahead.pop(), stack[-1]
            if not stat.S_ISDIR(self.mode[here]):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if name == b"..":
                del stack[max(1, len(stack) - 1) :]
                continue
            row = self.children.get(here, {}).get(name, 0)
            target = self.targets.get(row) if ahead or follow else None
            if target is not None:
                links += 1
                ahead += _reverse_parts(target.split(b"/"))
                if links > MAX_LINKS or len(ahead) > MAX_PATH_DEPTH:
                    raise LinkLoopError(errno.ELOOP, "too many links")
                if target.startswith(b"/"):
                    stack = [0]
                continue
            if make is not None and not (row and stat.S_ISDIR(self.mode[row])):
                row = self._set_name(here, name, self._append_row(_FOLDER, make))
            elif not row:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            stack.append(row)
        return stack[-1]

    def _append_row(self, member: Member, layer: int) -> int:
        """Append a row and return it."""
        row, size = len(self.mode), member.size if stat.S_ISREG(member.mode) else 0
        self._weigh(_ROW)
        if stat.S_ISLNK(member.mode):
            self._weigh(_SIDE + len(member.link))
            self.targets[row], size = member.link, len(member.link)
        if member.holes:
            self._weigh(_SIDE + _SEGMENT * len(member.segments or ()))
            self.segments[row] = member.segments
        self.mode.append(member.mode)
        self.uid.append(member.uid)
        self.gid.append(member.gid)
        self.size.append(size)
        self.data.append(member.data)
        self.layer.append(layer)
        self.source.append(layer)
        return row

    def _update_row(self, row: int, member: Member, layer: int) -> int:
        """Update the metadata of an existing directory."""
        self.mode[row], self.uid[row], self.gid[row], self.layer[row] = member.mode, member.uid, member.gid, layer
        return row

    def _find_hard_link(self, member: Member, layer: int) -> int:
        """Return the row that a hard link names; 0 if it is not found.

        A row of a lower layer is copied to this layer.
        """
        try:
            row = self._walk_path(split_member_name(member.link), follow=False)
        except _LOST:
            return 0
        if stat.S_ISDIR(self.mode[row]):
            return 0
        if self.layer[row] == layer:
            return row
        columns = (self.mode[row], self.uid[row], self.gid[row], self.size[row], self.data[row])
        link, sparse = self.targets.get(row, b""), row in self.segments
        copy = self._append_row(Member(b"", *columns, link, sparse, self.segments.get(row)), layer)
        self.source[copy] = self.source[row]
        return copy

    def _set_name(self, folder: int, name: bytes, row: int) -> int:
        """Let a name lead to a row, or remove it for row 0."""
        names = self.children.get(folder)
        if names is None:
            self._weigh(_FIRST)
            names = self.children[folder] = {}
        names.pop(name, None)
        if row:
            self._weigh(len(name))
            names[name] = row
        return row

    def _prune(self, top: int, layer: int) -> None:
        """Drop the rows that lower layers put below a row.

        Directories that lead to rows of this layer are kept. A subtree that was pruned for a layer is skipped, since it
        has no rows of lower layers while that layer is read.
        """
        folders: List[int] = [] if self._pruned.get(top) == layer else [top]
        for folder in folders:
            below = (row for row in self.children.get(folder, {}).values() if row in self.children)
            folders += [row for row in below if self._pruned.get(row) != layer]
            self._pruned[folder] = layer
        for folder in reversed(folders):
            for name in list(self.children.get(folder, ())):
                self._drop(folder, name, layer)

    def _drop(self, folder: int, name: bytes, layer: int) -> None:
        names = self.children[folder]
        row = names[name]
        if self.layer[row] < layer and not self.children.get(row):
            self.children.pop(row, None)
            del names[name]

    def _weigh(self, size: int) -> None:
        self.weight += size
        if self.weight > MAX_WEIGHT_BYTES:
            raise DamagedError(f"the archive has too many names: {len(self.mode)} and more")


def split_member_name(name: bytes) -> List[bytes]:
    """Return the components of a member's name; `/` and `..` stay below the root."""
    parts: List[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return parts


def _reverse_parts(parts: Sequence[bytes]) -> List[bytes]:
    return [part for part in reversed(parts) if part not in (b"", b".")]


def _is_possible(parts: Sequence[bytes], member: Member) -> bool:
    """Return whether a file system can hold the member."""
    if not parts:
        return stat.S_ISDIR(member.mode)
    if b"\0" in member.name or b"\0" in member.link or max(map(len, parts)) > MAX_NAME_BYTES:
        return False
    return max(len(member.name), len(member.link)) <= MAX_PATH_BYTES and (
        bool(member.link) or not stat.S_ISLNK(member.mode)
    )
