"""What is compressed, as a source of what is in it: gzip, xz and zstd, one stream or several one after the other.

Nothing is unpacked to a disk, and no more than some pieces are in memory. A gzip stream is marked on the first way
through, so that a second look begins near what is wanted; the others begin anew.
"""

from __future__ import annotations

import re
import zlib
from importlib import import_module
from typing import Callable, List, Mapping, Optional, Pattern, Protocol, Tuple, Type, cast

from nodespec.formats.byte_source import PIECE, Damaged, Flow, Source
from nodespec.records import NamedTuple

FEED = 1 << 14  # bytes that are taken in at once
LITTLE = 1 << 10  # where what they become has no bound; zstd makes up to 32 kB of one
SPAN = 16 << 20  # bytes between two marks of a gzip stream, at first
MARKS = 16  # of 40 kB each: where there are more, every other one is dropped
LONGEST = 64 << 30  # bytes of what is unpacked: more is a bomb
MEMORY = 128 << 20  # that unpacking may take: so much do `zstd --ultra -22` and, by half, `xz -9`

GZIP = re.compile(rb"\x1f\x8b")
XZ = re.compile(rb"\xfd7zXZ\0")
ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")  # a frame of data, and one to skip
ZSTD_LIBRARIES = ("compression.zstd", "backports.zstd", "zstandard")


class Decompressor(Protocol):
    """As lzma and compression.zstd have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class Way(NamedTuple):
    """A way of compressing: how a stream of it begins, what undoes it, and how that complains."""

    magic: Pattern[bytes]
    make: Callable[[], Decompressor]
    error: Type[Exception]
    feed: int = FEED


def unpacked(source: Source, *, single: bool = False) -> Source:
    """What is compressed in a source, or itself. OSError where nothing here can unpack it.

    `single`: it is one stream, and what follows is something else.
    """
    head = source.read(0, FEED)
    for magic, way in ((GZIP, _gzip), (XZ, _xz), (ZSTD, _zstd)):
        if magic.match(head):
            return Unpacked(source, way(), single=single)
    return source


class Unpacked(Flow):
    """What is compressed in another source."""

    def __init__(self, of: Source, way: Way, *, single: bool = False) -> None:
        super().__init__()
        self.way, self._of, self._single = way, of, single
        self.again, self.quick = of.again, False
        self._state: Optional[Decompressor] = None
        self._made = self._fed = 0
        self.marks: List[Tuple[int, int, _Inflate]] = []
        self._span = SPAN

    def rest(self) -> None:
        super().rest()
        self._state = None
        self._of.rest()

    def _begin(self, offset: int) -> int:
        self._made, self._fed, self._state = 0, 0, None
        for made, fed, state in self.marks:
            if made <= offset:
                self._made, self._fed, self._state = made, fed, state.copy()
        return self._made

    def _next(self) -> bytes:
        try:
            piece = self._step()
        except self.way.error as error:
            raise Damaged(f"its compressed data are damaged: {error}") from None
        self._made += len(piece)
        if self._made > LONGEST:
            raise Damaged(f"unpacked it is longer than {LONGEST >> 30} GiB")
        self._mark()
        return piece

    def _step(self) -> bytes:
        while self._state or self._more():
            state = self._state = self._state or self.way.make()
            data = self._of.read(self._fed, self.way.feed) if state.needs_input else b""
            if state.needs_input and not data:
                raise Damaged("it is cut off within its compressed data")
            self._fed += len(data)
            piece = state.decompress(data, PIECE)
            if state.eof:
                self._fed -= len(state.unused_data)
                self._state = None
            if piece:
                return piece
        return b""

    def _more(self) -> bool:
        """Whether another stream begins here. Zeros may stand before it, and behind the last."""
        if self._single and self._made:
            return False
        while head := self._of.read(self._fed, FEED):
            if self.way.magic.match(head):
                return True
            zeros = len(head) - len(head.lstrip(b"\0"))
            if not zeros:
                raise Damaged("something else follows its compressed data")
            self._fed += zeros
        return False

    def _mark(self) -> None:
        last = self.marks[-1][0] if self.marks else 0
        if isinstance(self._state, _Inflate) and self._made >= last + self._span:
            self.marks.append((self._made, self._fed, self._state.copy()))
            if len(self.marks) > MARKS:
                self.marks, self._span = self.marks[1::2], self._span * 2


def _gzip() -> Way:
    return Way(GZIP, _Inflate, zlib.error)


class _Inflate:
    """zlib, as the others are; it checks the sums and lengths of gzip by itself."""

    def __init__(self) -> None:
        self._state = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._state.eof

    @property
    def unused_data(self) -> bytes:
        return self._state.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._state.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._state.decompress(self._state.unconsumed_tail + data, max_length)

    def copy(self) -> _Inflate:
        """Another that goes on from here."""
        other = _Inflate()
        other._state = self._state.copy()
        return other


def _xz() -> Way:
    import lzma  # noqa: PLC0415 - not in every Python, and rarely wanted

    return Way(XZ, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, MEMORY), lzma.LZMAError)


def _zstd() -> Way:
    for name in ZSTD_LIBRARIES:
        try:
            library = cast("_Zstd", import_module(name))
        except ImportError:
            continue
        if name == "zstandard":
            return Way(ZSTD, lambda: _Zstandard(library), library.ZstdError, LITTLE)  # noqa: B023 - it is the last
        window = {library.DecompressionParameter.window_log_max: MEMORY.bit_length() - 1}
        return Way(ZSTD, lambda: library.ZstdDecompressor(options=window), library.ZstdError)  # noqa: B023
    raise OSError(
        "it is compressed with zstd, which Python reads from 3.14 on: before that the library zstandard is wanted "
        "(python3-zstandard in Debian and Fedora, or `pip install zstandard`); or unpack it with `zstd -d`"
    )


class _Zstandard:
    """The library zstandard, as the others are, but that the length of what it makes has no bound."""

    needs_input = True

    def __init__(self, library: _Zstd) -> None:
        whole = cast("_Maker", library.ZstdDecompressor(max_window_size=MEMORY))
        self._state = whole.decompressobj()

    @property
    def eof(self) -> bool:
        return self._state.eof

    @property
    def unused_data(self) -> bytes:
        return self._state.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:  # noqa: ARG002
        return self._state.decompress(data)


class _Zstd(Protocol):
    """What is used of the libraries for zstd."""

    ZstdError: Type[Exception]
    DecompressionParameter: _Parameters

    def ZstdDecompressor(self, *, options: Mapping[int, int] = ..., max_window_size: int = ...) -> Decompressor: ...  # noqa: N802


class _Parameters(Protocol):
    window_log_max: int


class _Maker(Protocol):
    def decompressobj(self) -> _State: ...


class _State(Protocol):
    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes) -> bytes: ...
