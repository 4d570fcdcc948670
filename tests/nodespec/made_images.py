"""Images made of members: tars, and what container tools make of tars. Read by the tests of images beside it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import tarfile
from importlib import import_module
from typing import TYPE_CHECKING, Callable, Iterable, Mapping, NamedTuple, Sequence, Union

import pytest

from nodespec.formats.decompress import ZSTD_LIBRARIES

if TYPE_CHECKING:
    from pathlib import Path

MEDIA = "application/vnd.oci.image"


class Put(NamedTuple):
    """A member: a file with content, or by `type` another thing; `link` is what a link names."""

    name: str
    content: bytes = b""
    type: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


def folder(name: str, mode: int = 0o755) -> Put:
    return Put(name, type=tarfile.DIRTYPE, mode=mode)


def link(name: str, target: str) -> Put:
    return Put(name, type=tarfile.SYMTYPE, link=target)


def hard(name: str, target: str) -> Put:
    return Put(name, type=tarfile.LNKTYPE, link=target)


def tar(puts: Iterable[Put], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of members, in their order."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=form) as archive:
        for put in puts:
            info = tarfile.TarInfo(put.name)
            info.size, info.type, info.linkname = len(put.content), put.type, put.link
            info.mode, info.uid, info.gid = put.mode, put.uid, put.gid
            archive.addfile(info, io.BytesIO(put.content))
    return data.getvalue()


def zstd(data: bytes) -> bytes:
    """Compressed by whichever library there is; the test is skipped where there is none."""
    for name in ZSTD_LIBRARIES:
        try:
            library = import_module(name)
        except ImportError:
            continue
        packed = library.ZstdCompressor().compress(data) if name == "zstandard" else library.compress(data)
        assert isinstance(packed, bytes)
        return packed
    pytest.skip("no library reads zstd here")


PACKERS: Mapping[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "xz": lzma.compress, "zstd": zstd}


class Blobs:
    """An image layout in the making: files by their paths."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}

    def add(self, data: Union[bytes, object], kind: str, **more: object) -> dict[str, object]:
        """A blob; its descriptor."""
        blob = data if isinstance(data, bytes) else json.dumps(data).encode()
        digest = hashlib.sha256(blob).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = blob
        return {"mediaType": f"{MEDIA}.{kind}", "digest": f"sha256:{digest}", "size": len(blob), **more}

    def image(self, layers: Sequence[bytes], platform: str = "linux/amd64", **more: object) -> dict[str, object]:
        """A manifest of tars, which may be compressed."""
        config = self.add(told(platform), "config.v1+json")
        found = [self.add(layer, f"layer.v1.tar{suffix(layer)}") for layer in layers]
        manifest = {"schemaVersion": 2, "config": config, "layers": found}
        return self.add(manifest, "manifest.v1+json", **{"platform": told(platform), **more})

    def index(self, manifests: Sequence[Mapping[str, object]]) -> dict[str, bytes]:
        """All files, with their index."""
        index = {"schemaVersion": 2, "manifests": manifests}
        return {**self.files, "index.json": json.dumps(index).encode()}


def told(platform: str) -> dict[str, str]:
    return dict(zip(("os", "architecture", "variant"), platform.split("/")))


def suffix(layer: bytes) -> str:
    return {b"\x1f\x8b": "+gzip", b"\x28\xb5": "+zstd"}.get(layer[:2], "")


def layout(layers: Sequence[bytes]) -> dict[str, bytes]:
    """The layout of one image."""
    blobs = Blobs()
    return blobs.index([blobs.image(layers)])


def saved(layers: Sequence[bytes], platform: str = "linux/amd64") -> dict[str, bytes]:
    """What `docker save` writes."""
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": ["node:1"], "Layers": names}]
    files = {"config.json": json.dumps(told(platform)).encode(), **dict(zip(names, layers))}
    return {**files, "manifest.json": json.dumps(manifest).encode()}


def filed(files: Mapping[str, bytes]) -> bytes:
    """A tar of files."""
    return tar(Put(name, content) for name, content in files.items())


def laid(files: Mapping[str, bytes], under: Path) -> str:
    """Files in a directory."""
    for name, content in files.items():
        (under / name).parent.mkdir(parents=True, exist_ok=True)
        (under / name).write_bytes(content)
    return str(under)


def written(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)
