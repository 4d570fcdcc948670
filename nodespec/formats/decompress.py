"""Decompress gzip, xz and zstd as a source, one stream or several in sequence.

Nothing is unpacked to a disk, and only a few pieces are in memory. The state of a gzip stream is saved at intervals
during the first pass, so that a second read starts near its offset. The other formats restart.
"""

from __future__ import annotations

import re
import zlib
from importlib import import_module

from nodespec.formats.byte_source import PIECE_BYTES, ByteSource, DamagedError, Flow
from nodespec.light_typing import TYPE_CHECKING, Protocol, cast
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, List, Mapping, Optional, Pattern, Tuple, Type

STEP_BYTES = 1 << 14  # Compressed bytes of one step.
SMALL_STEP_BYTES = 1 << 10  # The same for a library without an output bound. In zstd one byte can expand to 32 kB.
MARK_DISTANCE_BYTES = 16 << 20  # Initial distance in bytes between two saved states of a gzip stream.
MAX_MARKS = 16  # Saved states, 40 kB each. If there are more, every second state is dropped.
MAX_DECOMPRESSED_BYTES = 64 << 30  # Decompressed bytes. A larger stream is a decompression bomb.
MAX_DECODER_BYTES = 128 << 20  # Bytes of memory. `zstd --ultra -22` needs this much, `xz -9` half of it.

GZIP = re.compile(rb"\x1f\x8b")
XZ = re.compile(rb"\xfd7zXZ\0")
ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")  # A data frame, and a skippable frame.
ZSTD_LIBRARIES = ("compression.zstd", "backports.zstd", "zstandard")


class Decompressor(Protocol):
    """The interface of lzma and compression.zstd."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class CompressionFormat(NamedTuple):
    """A compression format: its magic number, its decompressor and the error of that."""

    magic: Pattern[bytes]
    make: Callable[[], Decompressor]
    error: Type[Exception]
    feed: int = STEP_BYTES


def open_decompressed(source: ByteSource, *, single: bool = False) -> ByteSource:
    """Return the decompressed source, or the source itself if it is not compressed.

    `single`: it is a single stream, and other data follows. Raises OSError if the required library is missing.
    """
    head = source.read(0, STEP_BYTES)
    for magic, way in ((GZIP, _make_gzip_format), (XZ, _make_xz_format), (ZSTD, _make_zstd_format)):
        if magic.match(head):
            return DecompressedSource(source, way(), single=single)
    return source


class DecompressedSource(Flow):
    """The decompressed content of another source."""

    def __init__(self, of: ByteSource, way: CompressionFormat, *, single: bool = False) -> None:
        super().__init__()
        self.way, self._of, self._single = way, of, single
        self.again, self.quick = of.again, False
        self._state: Optional[Decompressor] = None
        self._made = self._fed = 0
        self.marks: List[Tuple[int, int, _Inflate]] = []
        self._span = MARK_DISTANCE_BYTES

    def release(self) -> None:
        super().release()
        self._state = None
        self._of.release()

    def _begin(self, offset: int) -> int:
        self._made, self._fed, self._state = 0, 0, None
        for made, fed, state in self.marks:
            if made <= offset:
                self._made, self._fed, self._state = made, fed, state.copy()
        return self._made

    def _next(self) -> bytes:
        try:
            piece = self._decompress_step()
        except self.way.error as error:
            raise DamagedError(f"the compressed data are damaged: {error}") from None
        self._made += len(piece)
        if self._made > MAX_DECOMPRESSED_BYTES:
            raise DamagedError(f"the decompressed data are longer than {MAX_DECOMPRESSED_BYTES >> 30} GiB")
        self._save_mark()
        return piece

    def _decompress_step(self) -> bytes:
        while self._state or self._has_more():
            state = self._state = self._state or self.way.make()
            data = self._of.read(self._fed, self.way.feed) if state.needs_input else b""
            if state.needs_input and not data:
                raise DamagedError("the compressed data are truncated")
            self._fed += len(data)
            piece = state.decompress(data, PIECE_BYTES)
            if state.eof:
                self._fed -= len(state.unused_data)
                self._state = None
            if piece:
                return piece
        return b""

    def _has_more(self) -> bool:
        """Return whether another stream begins here.

        Zeros may precede it, and may follow the last stream.
        """
        if self._single and self._made:
            return False
        while head := self._of.read(self._fed, STEP_BYTES):
            if self.way.magic.match(head):
                return True
            zeros = len(head) - len(head.lstrip(b"\0"))
            if not zeros:
                raise DamagedError("other data follow the compressed data")
            self._fed += zeros
        return False

    def _save_mark(self) -> None:
        last = self.marks[-1][0] if self.marks else 0
        if isinstance(self._state, _Inflate) and self._made >= last + self._span:
            self.marks.append((self._made, self._fed, self._state.copy()))
            if len(self.marks) > MAX_MARKS:
                self.marks, self._span = self.marks[1::2], self._span * 2


def _make_gzip_format() -> CompressionFormat:
    return CompressionFormat(GZIP, _Inflate, zlib.error)


class _Inflate:
    """zlib with the interface of the others; it verifies gzip's checksums itself."""

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
        """Return a copy of the current state."""
        other = _Inflate()
        other._state = self._state.copy()
        return other


def _make_xz_format() -> CompressionFormat:
    import lzma  # noqa: PLC0415 - not in every Python, and rarely needed

    return CompressionFormat(XZ, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, MAX_DECODER_BYTES), lzma.LZMAError)


def _make_zstd_format() -> CompressionFormat:
    for name in ZSTD_LIBRARIES:
        try:
            library = cast("_Zstd", import_module(name))
        except ImportError:
            continue
        if name == "zstandard":
            return CompressionFormat(ZSTD, lambda: _Zstandard(library), library.ZstdError, SMALL_STEP_BYTES)  # noqa: B023 - the loop ends here
        window = {library.DecompressionParameter.window_log_max: MAX_DECODER_BYTES.bit_length() - 1}
        return CompressionFormat(ZSTD, lambda: library.ZstdDecompressor(options=window), library.ZstdError)  # noqa: B023
    raise OSError(
        "zstd requires Python 3.14 or the library zstandard "
        "(python3-zstandard in Debian and Fedora, or `pip install zstandard`); or decompress the file with `zstd -d`"
    )


class _Zstandard:
    """The library zstandard with the interface of the others.

    The length of its output is not bounded.
    """

    needs_input = True

    def __init__(self, library: _Zstd) -> None:
        whole = cast("_DecompressorMaker", library.ZstdDecompressor(max_window_size=MAX_DECODER_BYTES))
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
    """The used part of the libraries for zstd."""

    ZstdError: Type[Exception]
    DecompressionParameter: _Parameters

    def ZstdDecompressor(self, *, options: Mapping[int, int] = ..., max_window_size: int = ...) -> Decompressor: ...  # noqa: N802


class _Parameters(Protocol):
    window_log_max: int


class _DecompressorMaker(Protocol):
    def decompressobj(self) -> _State: ...


class _State(Protocol):
    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes) -> bytes: ...
