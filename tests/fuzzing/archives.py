"""Images as somebody else made them: tars, what is compressed, layouts of OCI, what `docker save` writes."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import lzma
import os
import tarfile
from typing import TYPE_CHECKING, Mapping, cast

from feed import Parser, bomb, by_bytes, by_parts
from hosts import File, looked, planted, write
from made_images import Put, filed, folder, hard, layout, link, saved, tar

from nodespec.errors import UsageError
from nodespec.formats.byte_source import PIECE_BYTES, DamagedError
from nodespec.formats.byte_source import File as Opened
from nodespec.formats.decompress import open_decompressed
from nodespec.formats.tar_header import BLOCK
from nodespec.images import open as image

if TYPE_CHECKING:
    from mutation import Json, Program

FACTS = File("", ("os", "packages"), ("containerd",))
RELEASE = b"ID=debian\nVERSION_ID=12\n"
STATUS = b"Package: containerd\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.6.20~ds1-1\n"


def opened(data: bytes) -> None:
    """No image, or one that can be looked at."""
    path = f"{planted()}/image"
    write(path, data)
    with contextlib.suppress(UsageError):
        looked(image.open_image(path), FACTS)


def tars() -> Parser:
    puts = (
        folder("etc/"),
        Put("./etc/os-release", RELEASE, mode=0o600, uid=3),
        link("usr", "/.././usr2"),
        Put("var/lib/dpkg/status", STATUS),
        hard("etc/hard", "etc/os-release"),
        Put("a" * 120, b"x" * 600),
        Put("dev/null", type=tarfile.CHRTYPE),
        link("etc/loop", "loop"),
    )
    forms = (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)
    layered = layout([tar(puts[:3]), tar([Put("etc/.wh.os-release"), Put("etc/.wh..wh..opq"), *puts[3:5]])])
    seeds = (*tuple(tar(puts, form) for form in forms[:2]), tar(puts[:5], forms[2]), filed(layered), sparse())
    words = "GNU.sparse.map GNU.sparse.size path linkpath size ustar 0000644 77777777777 ../../etc .wh. 30"
    made = by_bytes(opened, seeds, words, summed, most=1 << 15)
    return made._replace(extremes=lambda: (bomb(seeds[0][:1024]), bomb(), lzma.compress(bytes(1 << 28))))


def sparse() -> bytes:
    """A file with holes, as pax of GNU tar writes it: its map stands before what is left of it."""
    listed = b"2\n0\n4\n4096\n4\n"
    said = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "etc/os-release"}
    info = tarfile.TarInfo("x")
    info.pax_headers, content = {**said, "GNU.sparse.realsize": "4100"}, listed.ljust(BLOCK, b"\0") + b"ID=a\nb=c"
    info.size = len(content)
    return info.tobuf(tarfile.PAX_FORMAT) + content.ljust(2 * BLOCK, b"\0") + bytes(2 * BLOCK)


def summed(data: bytes, program: Program) -> bytes:
    """Mostly with the sums of its headers put right, so that what they say is read; sometimes compressed."""
    how = program.below(8)
    if how:
        blocks = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]
        data = b"".join(_summed(block) if block[257:262] == b"ustar" else block for block in blocks)
    return gzip.compress(data, 1, mtime=0) if how == 7 else data


def _summed(block: bytes) -> bytes:
    if len(block) < BLOCK:
        return block
    total = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
    return block[:148] + b"%06o\0 " % total + block[156:]


def compressed(data: bytes) -> None:
    """Truncated, or unpacked to its end."""
    path = f"{planted()}/packed"
    write(path, data)
    with contextlib.suppress(DamagedError):
        source, at = open_decompressed(Opened(os.open(path, os.O_RDONLY))), 0
        while piece := source.read(at, PIECE_BYTES):
            at += len(piece)


def streams() -> Parser:
    plain = bytes(range(256)) * 8
    seeds = (
        gzip.compress(plain, mtime=0) * 2,
        gzip.compress(plain, mtime=0) + bytes(100),
        lzma.compress(plain[:900]),
        plain,
    )
    return by_bytes(compressed, seeds, "\\x1f\\x8b\\x08 x")


def parted(data: bytes) -> None:
    """The files of a container image, as a JSON object of texts, documents, and binary ones in base64."""
    try:
        files = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(files, dict):
        opened(filed({name: _content(one) for name, one in files.items() if name and "\0" not in name}))


def _content(said: Json) -> bytes:
    if isinstance(said, dict) and isinstance(said.get("base64"), str):
        with contextlib.suppress(ValueError):
            return base64.b64decode(cast("str", said["base64"]))
    return said.encode("utf-8", "backslashreplace") if isinstance(said, str) else json.dumps(said).encode()


def _parts(files: Mapping[str, bytes]) -> Json:
    return cast("Json", {name: _part(data) for name, data in files.items()})


def _part(data: bytes) -> Json:
    if data[:1] in (b"{", b"["):
        return cast("Json", json.loads(data))
    return {"base64": base64.b64encode(data).decode()}


def layouts() -> Parser:
    layers = [tar([folder("etc"), Put("etc/os-release", RELEASE)]), gzip.compress(tar([Put("etc/x", b"y")]), mtime=0)]
    return by_parts(parted, [_parts(layout(layers)), _parts(saved(layers))], "application/vnd.oci.image.index.v1+json")
