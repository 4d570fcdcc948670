r"""Read Go's build information from a program.

`mod\tgithub.com/containerd/containerd/v2\tv2.1.5` is its module and version. Since Go 1.18 the text is inline, after a
header of 32 bytes that begins with `\xff Go buildinf:`. It is aligned to 16 bytes in the writable data of the file. See
https://pkg.go.dev/debug/buildinfo and cmd/link/internal/ld/data.go.
"""

from __future__ import annotations

import re
import struct

from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Dict, Iterator, Optional, Tuple, TypeAlias

MAGIC, ALIGNMENT, HEADER = b"\xff Go buildinf:", 16, 32
INLINE = 2  # Flag: the strings are inline. Older releases have pointers instead.
MAX_TEXT, MAX_SEGMENTS, MAX_DATA = 1 << 20, 64, 1 << 26
MARK = 16  # Bytes of a random word before and after the modules.
LOADED, WRITABLE = 1, 2  # Type and flag of a segment.
ORDERS = {1: "<", 2: ">"}


class ElfForm(NamedTuple):
    """The layout of an ELF file of 32 or 64 bits.

    `at` is the offset of the used part of its header. `header` and `segment` are struct formats.
    """

    at: int
    header: str
    segment: str
    fields: Tuple[int, int, int, int]  # Indexes of type, offset, size in the file, flags.


FORMS = {
    1: ElfForm(28, "I10xHH", "IIIIIIII", (0, 1, 4, 6)),
    2: ElfForm(32, "Q14xHH", "IIQQQQQQ", (0, 2, 5, 1)),
}


class BuildInfo(NamedTuple):
    """The build information of a Go program.

    `settings` holds its `build` lines, such as `-ldflags` and `vcs.revision`.
    """

    go: str
    path: str
    module: str
    version: str
    settings: Dict[str, str]


Read: TypeAlias = "Callable[[int, int], bytes]"  # Returns bytes at an offset, fewer at the end of the file.


def read_build_info(read: Read) -> Optional[BuildInfo]:
    """Return the build information of an ELF file, or None if it has none.

    Raises ValueError if the file is not ELF or is damaged.
    """
    for offset, size in _find_writable_segments(read):
        data = read(offset, min(size, MAX_DATA))
        at = data.find(MAGIC)
        while at >= 0 and (offset + at) % ALIGNMENT:
            at = data.find(MAGIC, at + 1)
        if at >= 0 and data[at + 15 : at + 16] and data[at + 15] & INLINE:
            go, after = _read_string(data, at + HEADER)
            modules, _ = _read_string(data, after)
            marked = len(modules) > 2 * MARK and modules[-MARK - 1 : -MARK] == b"\n"
            text = modules[MARK:-MARK] if marked else modules
            return parse_modules(go.decode("utf-8", "replace"), text.decode("utf-8", "replace"))
    return None


def parse_modules(go: str, text: str) -> BuildInfo:
    """Parse the lines `path`, `mod`, `dep`, `=>` and `build`, with tabs as separators."""
    path = module = version = ""
    settings: Dict[str, str] = {}
    for line in text.split("\n"):
        kind, _, rest = line.partition("\t")
        fields = rest.split("\t")
        if kind == "path":
            path = rest
        elif kind == "mod" and len(fields) > 1:
            module, version = fields[:2]
        elif kind == "build":
            name, _, value = rest.partition("=")
            settings[_unquote_field(name)] = _unquote_field(value)
    return BuildInfo(go, path, module, version, settings)


def _unquote_field(text: str) -> str:
    """Unquote a field that may be a string in double quotes or backquotes."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in '"`':
        text = re.sub(r"\\(.)", r"\1", text[1:-1]) if text[0] == '"' else text[1:-1]
    return text


def _read_string(data: bytes, offset: int) -> Tuple[bytes, int]:
    """Return a string after its length, and its end.

    The length is a varint: 7 bits a byte, the lowest first.
    """
    size = 0
    for number, byte in enumerate(data[offset : offset + 10]):
        size |= (byte & 0x7F) << 7 * number
        if not byte & 0x80:
            start = offset + number + 1
            if size <= MAX_TEXT and start + size <= len(data):
                return data[start : start + size], start + size
            break
    raise ValueError("Go build information with an invalid length")


def _find_writable_segments(read: Read) -> Iterator[Tuple[int, int]]:
    """Yield offset and size of the writable segments of an ELF file.

    Linkers put the build information there.
    """
    head = read(0, 64)
    if len(head) < 64 or not head.startswith(b"\x7fELF") or head[4] not in FORMS or head[5] not in ORDERS:  # noqa: PLR2004
        raise ValueError("is not an ELF file")
    form, order = FORMS[head[4]], ORDERS[head[5]]
    table, entry, count = struct.unpack_from(order + form.header, head, form.at)
    if entry < struct.calcsize(order + form.segment) or count > MAX_SEGMENTS:
        raise ValueError("is an ELF file with an invalid segment table")
    segments = read(table, entry * count)
    for place in range(len(segments) // entry):
        fields = struct.unpack_from(order + form.segment, segments, place * entry)
        kind, offset, size, flags = (fields[field] for field in form.fields)
        if kind == LOADED and flags & WRITABLE:
            yield offset, size


_RELEASE = re.compile(r"v?(\d+\.\d+\.\d+(?:-(?:alpha|beta|rc)[.\d]*)?(?:\+[\w.+~-]*)?)", re.ASCII)
_PSEUDO = re.compile(r"-(?:0\.|[\w.]*\.0\.)?\d{14}-[0-9a-f]{12}", re.ASCII)  # A commit without a tag.
_LINKED = re.compile(r"""-X[ =]['"]?[\w./-]+\.[vV]ersion=([^\s'"]+)""", re.ASCII)


def find_released_version(info: BuildInfo) -> str:
    """Return the version that a program was released as, without `v`.

    It is empty if the program was not built from a release.
    """
    linked = _LINKED.search(info.settings.get("-ldflags", ""))
    for text in ((linked[1] if linked else ""), info.version):
        match = _RELEASE.fullmatch(text)
        if match and not _PSEUDO.search(text):
            return match[1]
    return ""
