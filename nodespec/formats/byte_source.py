"""Bytes by their offset: of a file, of a part of one, of a pipe that flows by once."""

from __future__ import annotations

import os

PIECE = 1 << 16  # bytes that one step brings forth


class Damaged(OSError):
    """What is read is cut off, or is not what it should be."""


class Source:
    """Bytes by their offset. `size` where it is known, else -1."""

    whole = True  # what carries it would tell if its end were cut off
    again = True  # it can be read a second time
    quick = True  # and anywhere at once
    size = -1

    def read(self, offset: int, size: int) -> bytes:
        """So many bytes from there on; fewer only at the end."""
        raise NotImplementedError

    def rest(self) -> None:
        """Let go of what only the next read would need."""


class File(Source):
    """A regular file, by a descriptor of its own."""

    whole = False

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.size = os.fstat(handle).st_size

    def read(self, offset: int, size: int) -> bytes:
        data = os.pread(self._handle, size, offset)
        while 0 < len(data) < size and (more := os.pread(self._handle, size - len(data), offset + len(data))):
            data += more
        return data

    def __del__(self) -> None:
        os.close(self._handle)


class Part(Source):
    """A part of another source, which is known to be there whole."""

    def __init__(self, of: Source, start: int, size: int) -> None:
        self._of, self._start, self.size = of, start, size
        self.again, self.quick = of.again, of.quick

    def read(self, offset: int, size: int) -> bytes:
        return self._of.read(self._start + offset, max(0, min(size, self.size - offset)))

    def rest(self) -> None:
        self._of.rest()


class Flow(Source):
    """What comes piece by piece. The last piece is kept; to go back further it must begin anew."""

    def __init__(self) -> None:
        self._at, self._piece = 0, b""
        self._lost = False

    def read(self, offset: int, size: int) -> bytes:
        if self._lost or offset < self._at:
            self._at, self._piece = self._begin(offset), b""
        data = bytearray()
        self._lost = True  # until all is in its place again: a look that takes too long is broken off anywhere
        while len(data) < size:
            start = offset + len(data) - self._at
            if start < len(self._piece):
                data += self._piece[start : start + size - len(data)]
                continue
            piece = self._next()
            if not piece:
                break
            self._at += len(self._piece)
            self._piece = piece
        self._lost = False
        return bytes(data)

    def rest(self) -> None:
        self._lost, self._piece = True, b""

    def _begin(self, offset: int) -> int:
        """Go back to where a piece begins that is not behind `offset`, and say where that is."""
        raise NotImplementedError

    def _next(self) -> bytes:
        """The next piece; empty at the end, and whenever it is asked for after that."""
        raise NotImplementedError


class Pipe(Flow):
    """What another program writes: it flows by once."""

    whole = again = quick = False

    def __init__(self, handle: int) -> None:
        super().__init__()
        self._handle = handle

    def _begin(self, offset: int) -> int:
        raise Damaged(f"byte {offset} has flowed by, and a pipe is read only once")

    def _next(self) -> bytes:
        data = bytearray()
        while len(data) < PIECE and (more := os.read(self._handle, PIECE - len(data))):
            data += more
        return bytes(data)

    def __del__(self) -> None:
        os.close(self._handle)
