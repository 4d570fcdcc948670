"""What the members of archives make: names of a file system that is nowhere unpacked, a million of them in 200 MiB.

Names are put where unpacking below the root would put them. A leading slash is ignored, `..` leads up to the root and
no further, and links on the way to a member are followed inside. Of two members of one name the later holds. What no
file system could hold is left out: a name longer than 255 bytes, a way through a loop of links, a hard link to nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from array import array
from typing import Dict, List, Optional, Sequence

from nodespec.formats.byte_source import Damaged
from nodespec.formats.tar import Member
from nodespec.formats.tar_sparse import Segments
from nodespec.host.tree import DEPTH, LINKS

WEIGHT = 190 << 20  # bytes that all names take, by and large
NAME, PATH = 255, 4096  # bytes of one name, and of a whole path
WHITEOUT, OPAQUE, RESERVED = b".wh.", b".wh..wh..opq", b".wh..wh."

_FOLDER = Member(b"", stat.S_IFDIR | 0o755, 0, 0, 0, 0, b"")
_ROW, _FIRST, _SIDE, _SEGMENT = 150, 330, 140, 120  # what is weighed: a row, a first child, a link, a segment


class Loop(OSError):
    """A way that leads nowhere."""


_LOST = (FileNotFoundError, NotADirectoryError, Loop)


class Inodes:
    """Rows of columns, of which the first is the root, and the names that lead to them.

    `layer` is the layer that put the row there, `source` the one that has its content.
    """

    def __init__(self) -> None:
        self.mode, self.uid, self.gid = array("H"), array("I"), array("I")
        self.size, self.data = array("Q"), array("Q")
        self.layer, self.source = array("H"), array("H")
        self.children: Dict[int, Dict[bytes, int]] = {}
        self.targets: Dict[int, bytes] = {}
        self.segments: Dict[int, Optional[Segments]] = {}
        self.weight = 0
        self._pruned: Dict[int, int] = {}  # rows, and the layer for which all below was pruned
        self._row(_FOLDER, 0)

    def find(self, path: str, *, follow: bool) -> int:
        """The row of what stands at a path, behind links or not; OSError where nothing does."""
        return self._walk(os.fsencode(path).split(b"/"), follow=follow)

    def put(self, parts: Sequence[bytes], member: Member, layer: int) -> int:
        """The row of a member that was put where `parts` say; 0 where it could not stand there, and for the root."""
        if not _possible(parts, member):
            return 0
        if not parts:
            self._change(0, member, layer)
            return 0
        try:
            folder = self._walk(parts[:-1], follow=True, make=layer)
        except Loop:
            return 0
        old = self.children.get(folder, {}).get(parts[-1], 0)
        if not member.mode:
            row = self._other_name(member, layer)
        elif old and stat.S_ISDIR(member.mode) and stat.S_ISDIR(self.mode[old]):
            row = self._change(old, member, layer)
        else:
            row = self._row(member, layer)
        if old != row:
            self._enter(folder, parts[-1], row)
        return row

    def whiteout(self, parts: Sequence[bytes], layer: int) -> None:
        """Hide what a whiteout says, where lower layers put it; the same layer's own it never hides."""
        *way, name = parts
        try:
            folder = self._walk(way, follow=True)
        except _LOST:
            return
        if name == OPAQUE:
            self._prune(folder, layer)
        elif not name.startswith(RESERVED):
            hidden = self.children.get(folder, {}).get(name[len(WHITEOUT) :], 0)
            if hidden:
                self._prune(hidden, layer)
                self._drop(folder, name[len(WHITEOUT) :], layer)

    def _walk(self, parts: Sequence[bytes], *, follow: bool, make: Optional[int] = None) -> int:
        """Where names lead. With `make` a layer, what is no directory on the way gives place to one."""
        stack, ahead, links = [0], _reversed(parts), 0
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
                ahead += _reversed(target.split(b"/"))
                if links > LINKS or len(ahead) > DEPTH:
                    raise Loop(errno.ELOOP, "too many links")
                if target.startswith(b"/"):
                    stack = [0]
                continue
            if make is not None and not (row and stat.S_ISDIR(self.mode[row])):
                row = self._enter(here, name, self._row(_FOLDER, make))
            elif not row:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            stack.append(row)
        return stack[-1]

    def _row(self, member: Member, layer: int) -> int:
        """A new row."""
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

    def _change(self, row: int, member: Member, layer: int) -> int:
        """What a member says of a directory that is there."""
        self.mode[row], self.uid[row], self.gid[row], self.layer[row] = member.mode, member.uid, member.gid, layer
        return row

    def _other_name(self, member: Member, layer: int) -> int:
        """The row that a hard link names, or one like it where a lower layer put it; 0 where there is none."""
        try:
            row = self._walk(lexical(member.link), follow=False)
        except _LOST:
            return 0
        if stat.S_ISDIR(self.mode[row]):
            return 0
        if self.layer[row] == layer:
            return row
        columns = (self.mode[row], self.uid[row], self.gid[row], self.size[row], self.data[row])
        link, sparse = self.targets.get(row, b""), row in self.segments
        copy = self._row(Member(b"", *columns, link, sparse, self.segments.get(row)), layer)
        self.source[copy] = self.source[row]
        return copy

    def _enter(self, folder: int, name: bytes, row: int) -> int:
        """Let a name lead to a row, or to nothing."""
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
        """Drop what lower layers put below a row; what only leads to this layer's own stays.

        What was pruned for a layer once holds nothing of lower layers while that layer is read, and is passed over.
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
        if self.weight > WEIGHT:
            raise Damaged(f"it holds more names than nodespec takes in: {len(self.mode)} and more")


def lexical(name: bytes) -> List[bytes]:
    """The parts of a member's name below the root: no slash or `..` leads out."""
    parts: List[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return parts


def _reversed(parts: Sequence[bytes]) -> List[bytes]:
    return [part for part in reversed(parts) if part not in (b"", b".")]


def _possible(parts: Sequence[bytes], member: Member) -> bool:
    """Whether a file system can hold it."""
    if not parts:
        return stat.S_ISDIR(member.mode)
    if b"\0" in member.name or b"\0" in member.link or max(map(len, parts)) > NAME:
        return False
    return max(len(member.name), len(member.link)) <= PATH and (bool(member.link) or not stat.S_ISLNK(member.mode))
