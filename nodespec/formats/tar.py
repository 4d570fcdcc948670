"""Read the members of a tar archive: ustar, pax, GNU and V7.

Python's tarfile treats a truncated or damaged archive as complete. It also keeps all headers, and reads as much as a
header requests. This reader raises `DamagedError`, keeps nothing, and is bounded.
"""

from __future__ import annotations

import stat

from nodespec.formats import tar_sparse
from nodespec.formats.byte_source import PIECE_BYTES, ByteSource, DamagedError
from nodespec.formats.tar_header import (
    BLOCK,
    ZEROS,
    check_header,
    decode_decimal,
    decode_octal,
    decode_text,
    split_records,
)
from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Iterator, Optional, Tuple

MAX_HEADER_BYTES = 1 << 20  # Bytes of one extended header.
MAX_TRAILING_BYTES = 16 << 20  # Bytes to read after the end of the archive. A compressed stream has its checksum there.

_TYPES = {
    b"2": stat.S_IFLNK,
    b"3": stat.S_IFCHR,
    b"4": stat.S_IFBLK,
    b"5": stat.S_IFDIR,
    b"D": stat.S_IFDIR,  # Its content is a list of names.
    b"6": stat.S_IFIFO,
}  # Other types are regular files.
_HARD = b"1"
_BARE = b"123456"  # Types without content; their size is ignored.
_PASSED = b"VMN"  # Types that are not files, such as a volume label.


class Member(NamedTuple):
    """A member of the archive.

    `mode` is as in stat(2), and 0 for a hard link, which is another name of `link`. The content is at offset `data`. A
    member with holes has only its `segments` there, in sequence. They are None if there are too many, or if they are
    not valid.
    """

    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    data: int
    link: bytes
    holes: bool = False
    segments: Optional[tar_sparse.Segments] = None


def read_members(source: ByteSource) -> Iterator[Member]:
    """Yield all members in order.

    Raises `DamagedError` if the archive cannot be read to its end.
    """
    offset, end, everywhere, here = 0, 0, _ExtendedHeaders(), _ExtendedHeaders()
    while block := _read_block(source, end):
        if block == ZEROS:
            _verify_end(source, offset + BLOCK)
            return
        try:
            kind, start, stored = check_header(block), offset + BLOCK, decode_octal(block[124:136])
            if kind in b"xXgLK":
                (everywhere if kind == b"g" else here).add(kind, _read_extension(source, start, stored))
                end = start + stored
            else:
                member, end = _make_member(source, start, block, {**everywhere, **here} if everywhere else here)
                here = _ExtendedHeaders()
                if kind not in _PASSED:
                    yield member
        except (ValueError, LookupError) as error:
            raise DamagedError(f"byte {offset} of the archive: {error}") from None
        offset = end + -end % BLOCK
    if not source.whole:
        raise DamagedError(f"the archive is truncated: no end after {end} bytes")


def is_archive(source: ByteSource) -> bool:
    """Return whether a source begins as an archive, which may be empty."""
    block = source.read(0, BLOCK)
    try:
        return block == ZEROS or bool(check_header(block))
    except ValueError:
        return False


def _read_block(source: ByteSource, end: int) -> bytes:
    """Return the block after an end offset, which the archive must reach.

    Only the padding of the last member may be missing.
    """
    before, filling = min(1, end), -end % BLOCK
    data = source.read(end - before, before + filling + BLOCK)
    if len(data) < before:
        raise DamagedError(f"the archive is truncated before byte {end}")
    return data[before + filling :]


def _verify_end(source: ByteSource, offset: int) -> None:
    """Verify the end: two blocks of zeros, or one block at the end of the data."""
    if source.read(offset, BLOCK).strip(b"\0"):
        raise DamagedError(f"byte {offset} of the archive: data follow the end")
    for step in range(0, MAX_TRAILING_BYTES, PIECE_BYTES):
        if len(source.read(offset + step, PIECE_BYTES)) < PIECE_BYTES:
            return


class _ExtendedHeaders(dict[bytes, bytes]):
    """The values of extended headers, for the next member or for all members."""

    def add(self, kind: bytes, data: bytes) -> None:
        """Add one extended header: records of pax, or a long name of GNU."""
        if kind in b"LK":
            self[b"path" if kind == b"L" else b"linkpath"] = data.partition(b"\0")[0]
            return
        for key, value in split_records(data):
            if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):  # Version 0.0 repeats these keys.
                self[tar_sparse.MAP] = b",".join(filter(None, (self.get(tar_sparse.MAP), value)))
            else:
                self[key] = value


def _read_extension(source: ByteSource, start: int, size: int) -> bytes:
    if size > MAX_HEADER_BYTES:
        raise ValueError(f"an extended header has {size} bytes, which is too many")
    data = source.read(start, size)
    if len(data) < size:
        raise ValueError("truncated extended header")
    return data


def _make_member(source: ByteSource, data: int, block: bytes, said: Dict[bytes, bytes]) -> Tuple[Member, int]:
    """Return a member, and the end of its stored data."""
    kind = block[156:157]
    stored = decode_decimal(said[b"size"]) if b"size" in said else decode_octal(block[124:136])
    name = said.get(b"GNU.sparse.name") or said.get(b"path") or _get_name(block)
    member = Member(
        name=name,
        mode=_get_mode(kind, name) | decode_octal(block[100:108]) & 0o7777 if kind != _HARD else 0,
        uid=_get_identity(said, b"uid", block[108:116]),
        gid=_get_identity(said, b"gid", block[116:124]),
        size=stored,
        data=data,
        link=said.get(b"linkpath") or decode_text(block[157:257]),
    )
    if kind in _BARE:
        return member._replace(size=0), data
    if kind == b"S":
        found = tar_sparse.read_old_format(source, data, block, stored)
    elif stat.S_ISREG(member.mode) and any(key.startswith(b"GNU.sparse.") for key in said):
        found = tar_sparse.read_pax_format(source, data, said, stored)
    else:
        return member, data + stored
    return member._replace(
        size=found.size, data=found.data, holes=True, segments=tar_sparse.make_segments(found)
    ), found.end


def _get_mode(kind: bytes, name: bytes) -> int:
    """Return the file type.

    Before ustar, a directory was a file whose name ends in `/`.
    """
    if kind in b"0\0" and name.endswith(b"/"):
        return stat.S_IFDIR
    return _TYPES.get(kind, stat.S_IFREG)


def _get_identity(said: Dict[bytes, bytes], key: bytes, field: bytes) -> int:
    found = decode_decimal(said[key]) if key in said else decode_octal(field)
    if found >= 1 << 32:
        raise ValueError(f"{key.decode()} {found}")
    return found


def _get_name(block: bytes) -> bytes:
    """Return the name, with the prefix of ustar.

    GNU uses the bytes of the prefix for other fields, and star has a shorter prefix.
    """
    name, prefix = decode_text(block[:100]), b""
    if block[257:263] == b"ustar\0":
        prefix = decode_text(block[345:476] if block[508:512] == b"tar\0" else block[345:500])
    return prefix + b"/" + name if prefix else name
