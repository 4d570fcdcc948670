"""The file of a kernel: its header, and the configuration that it may contain.

The header formats are those of the boot protocols (Documentation/arch/*/boot*). No part of the file is executed.
"""

from __future__ import annotations

import re
import struct
from functools import partial
from itertools import islice

from nodespec.formats.byte_source import ByteSource, DamagedError
from nodespec.host.tree import MAX_FILE_BYTES, Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Observation, Unknown

if TYPE_CHECKING:
    from typing import Callable, Iterator, Optional

MAX_HEAD_BYTES = 1 << 16  # bytes; x86 has its version in the first 32 KiB
MAX_KERNEL_BYTES, MAX_UNPACKED_BYTES = 64 << 20, 512 << 20  # of the whole file, compressed and decompressed
CHUNK_BYTES = 1 << 20
MAX_OFFSETS = 16  # offsets at which compressed data may start
MAX_VERSION_CHARS = 512  # characters of a version
CONFIG_MARK = b"IKCFG_ST"

MACHINES = {  # machine numbers of PE and ELF; those of ELF with width and byte order
    0x8664: "x86_64",
    0xAA64: "aarch64",
    0x5064: "riscv64",
    0x6264: "loongarch64",
    (62, 2, 1): "x86_64",
    (183, 2, 1): "aarch64",
    (243, 2, 1): "riscv64",
    (258, 2, 1): "loongarch64",
    (21, 2, 1): "ppc64le",
    (21, 2, 2): "ppc64",
    (22, 2, 2): "s390x",
}


def read_banner(tree: Tree, path: str) -> Observation[str]:
    """Return the version string of an x86 kernel: release, builder, date, package."""
    return tree.head(path, MAX_HEAD_BYTES).then(_parse_banner)


def read_architecture(tree: Tree, path: str) -> Observation[str]:
    """Return the architecture of a kernel, as `uname -m` prints it."""
    return tree.head(path, MAX_HEAD_BYTES).then(_parse_architecture)


def extract_config(tree: Tree, path: str) -> Observation[bytes]:
    """Return the configuration that CONFIG_IKCONFIG stores in the file.

    The file is a kernel or the module `configs`.
    """
    data = tree.read(path, MAX_KERNEL_BYTES)
    try:
        return data.then(_find_config)
    except OSError as error:
        return Unknown("tool missing", f"{path}: {error}")


def _parse_banner(head: bytes) -> str:
    if head[0x202:0x206] != b"HdrS":
        raise ValueError("no version found in the header")
    start = 0x200 + int.from_bytes(head[0x20E:0x210], "little")
    text = head[start : start + MAX_VERSION_CHARS].partition(b"\0")[0].decode("utf-8", "backslashreplace")
    if start == 0x200 or not re.match(r"\d+\.\d+", text):  # noqa: PLR2004 - the size of the header
        raise ValueError("no version found in the header")
    return text


def parse_head_release(head: bytes) -> str:
    """Return the release at the head of a kernel, as `uname -r` prints it."""
    return _parse_banner(head).split()[0]


def _parse_architecture(head: bytes) -> str:
    architecture = next(
        (name for parse in (_parse_x86, _parse_flat, _parse_pe, _parse_elf, _parse_gzipped) if (name := parse(head))),
        "",
    )
    if not architecture:
        raise ValueError("no architecture found in the header")
    return architecture


def _parse_x86(head: bytes) -> str:
    if head[0x202:0x206] != b"HdrS":
        return ""
    return "x86_64" if head[0x236] & 1 else "i686"


def _parse_flat(head: bytes) -> str:
    return {b"ARM\x64": "aarch64", b"RSC\x05": "riscv64"}.get(head[0x38:0x3C], "")


def _parse_pe(head: bytes) -> str:
    """Return the architecture of a PE file, also of a self-extracting UEFI image."""
    start = int.from_bytes(head[0x3C:0x40], "little")
    if head[:2] != b"MZ" or head[start : start + 4] != b"PE\0\0":
        return ""
    return MACHINES.get(int.from_bytes(head[start + 4 : start + 6], "little"), "")


def _parse_elf(head: bytes) -> str:
    if head[:4] != b"\x7fELF" or len(head) < 20:  # noqa: PLR2004 - the end of the machine field
        return ""
    (machine,) = struct.unpack_from("<H" if head[5] == 1 else ">H", head, 18)
    return MACHINES.get((machine, head[4], head[5]), "")


def _parse_gzipped(head: bytes) -> str:
    """Decompress the head of a kernel for Arm that is compressed as a whole."""
    if head[:2] != b"\x1f\x8b":
        return ""
    import zlib  # noqa: PLC0415

    try:
        return _parse_flat(zlib.decompressobj(31).decompress(head, 1 << 10))
    except zlib.error:
        return ""


def _find_config(data: bytes) -> bytes:
    missing: Optional[OSError] = None
    for source in _open_sources(data):
        try:
            config = _search_config(source())
        except OSError as error:
            missing = missing or error
            continue
        if config:
            return config
    if missing:
        raise missing
    raise ValueError("no embedded configuration found")


def _open_sources(data: bytes) -> Iterator[Callable[[], ByteSource]]:
    """Yield the file itself, and the data decompressed from each possible offset."""
    from nodespec.formats.decompress import open_decompressed  # noqa: PLC0415

    yield partial(_BytesSource, data)
    for match in islice(_COMPRESSED.finditer(data), MAX_OFFSETS):
        yield partial(open_decompressed, _BytesSource(data, match.start()), single=True)


_COMPRESSED = re.compile(rb"\x1f\x8b\x08[\0\x08]|\xfd7zXZ\0|\x28\xb5\x2f\xfd")


def _search_config(source: ByteSource) -> Optional[bytes]:
    """Search a source for the configuration, without holding the source in memory."""
    import zlib  # noqa: PLC0415

    offset, tail = 0, b""
    try:
        while offset < MAX_UNPACKED_BYTES and (piece := source.read(offset, CHUNK_BYTES)):
            offset += len(piece)
            window = tail + piece
            start = window.find(CONFIG_MARK)
            if start >= 0:
                packed = window[start + len(CONFIG_MARK) :] + source.read(offset, CHUNK_BYTES)
                return zlib.decompressobj(31).decompress(packed, MAX_FILE_BYTES)
            tail = window[-len(CONFIG_MARK) :]
    except (DamagedError, zlib.error):
        return None  # The data is not compressed, or is followed by other data.
    return None


class _BytesSource(ByteSource):
    """Reader of bytes in memory, from an offset on."""

    def __init__(self, data: bytes, start: int = 0) -> None:
        self._data, self._start, self.size = memoryview(data), start, len(data) - start

    def read(self, offset: int, size: int) -> bytes:
        start = self._start + offset
        return bytes(self._data[start : start + size])
