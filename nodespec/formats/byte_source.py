"""Bytes by offset: of a file, of a part of a source, or of a pipe."""

from __future__ import annotations

import os

PIECE_BYTES = 1 << 16  # Bytes of one step.


class DamagedError(OSError):
    """The input is truncated or not valid."""


class ByteSource:
    """Bytes by offset. `size` is -1 if it is not known."""

    whole = True  # Whether truncation would be detected by the container of the bytes.
    again = True  # Whether it can be read twice.
    quick = True  # Whether any offset can be read at once.
    size = -1

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from an offset; fewer only at the end."""
        raise NotImplementedError

    def release(self) -> None:
        """Free memory that only a following read would use."""


class File(ByteSource):
    """A regular file; it owns its descriptor."""

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


class SourceRange(ByteSource):
    """A part of another source; the caller has verified that it is complete."""

    def __init__(self, of: ByteSource, start: int, size: int) -> None:
        self._of, self._start, self.size = of, start, size
        self.again, self.quick = of.again, of.quick

    def read(self, offset: int, size: int) -> bytes:
        return self._of.read(self._start + offset, max(0, min(size, self.size - offset)))

    def release(self) -> None:
        self._of.release()


class Flow(ByteSource):
    """A stream of pieces.

    The last piece is kept. Reading before it restarts the stream.
    """

    def __init__(self) -> None:
        self._at, self._piece = 0, b""
        self._lost = False

    def read(self, offset: int, size: int) -> bytes:
        if self._lost or offset < self._at:
            self._at, self._piece = self._begin(offset), b""
        data = bytearray()
        # Set until the read completes: a timeout may interrupt it anywhere and leave the position undefined.
        self._lost = True
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

    def release(self) -> None:
        self._lost, self._piece = True, b""

    def _begin(self, offset: int) -> int:
        """Restart at the start of a piece, at or before `offset`; return where it is."""
        raise NotImplementedError

    def _next(self) -> bytes:
        """Return the next piece; empty at the end, and for every call after that."""
        raise NotImplementedError


class Pipe(Flow):
    """The output of another program, which can be read only once."""

    whole = again = quick = False

    def __init__(self, handle: int) -> None:
        super().__init__()
        self._handle = handle

    def _begin(self, offset: int) -> int:
        raise DamagedError(f"byte {offset} was read before, and a pipe can be read only once")

    def _next(self) -> bytes:
        data = bytearray()
        while len(data) < PIECE_BYTES and (more := os.read(self._handle, PIECE_BYTES - len(data))):
            data += more
        return bytes(data)

    def __del__(self) -> None:
        os.close(self._handle)
