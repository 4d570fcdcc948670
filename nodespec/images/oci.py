"""The layers of a container image, from an OCI image layout or `docker save`.

The blobs must exist with the size of their descriptor. Their digests are not computed.
https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Dict, Iterator, List, Protocol, Type, TypeVar

from nodespec.formats.byte_source import ByteSource, DamagedError
from nodespec.formats.decompress import unpacked
from nodespec.images.platform import Image, Platform, chosen, plain
from nodespec.model.observation import Absent, Observation, Value

if TYPE_CHECKING:
    from typing import TypeAlias

T = TypeVar("T")

DOCUMENT = 4 << 20  # Bytes of a manifest or configuration. Registries have the same limit.
DEPTH = 8  # Nested indexes.
MANIFESTS = 1000  # Manifests of all indexes together.
LAYERS = 512

_INDEX = re.compile(r"application/vnd\.(oci\.image\.index\.v1|docker\.distribution\.manifest\.list\.v2)\+json")
_MANIFEST = re.compile(r"application/vnd\.(oci\.image|docker\.distribution)\.manifest\.v[12]\+json")
_CONFIG = re.compile(r"application/vnd\.(oci\.image\.config|docker\.container\.image)\.v1\+json")
_LAYER = re.compile(
    r"application/vnd\.(oci\.image\.layer(\.nondistributable)?\.v1|docker\.image\.rootfs(\.foreign)?\.diff)"
    r"\.tar([+.](gzip|zstd))?"
)
_DIGEST = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([A-Za-z0-9=_-]+)")
_NAME = "org.opencontainers.image.ref.name"


class Store(Protocol):
    """A tree that contains images."""

    root: str

    def read(self, path: str, limit: int = ...) -> Observation[bytes]: ...
    def source(self, path: str) -> ByteSource: ...


Json: TypeAlias = "Dict[str, object]"


def layers(store: Store, wanted: str) -> List[ByteSource]:
    """Return the layers of the image for a platform, the lowest first.

    Raises `UsageError` if no image or several images match.
    """
    images = _layout(store) if isinstance(store.read("/oci-layout"), Value) else _saved(store)
    image = chosen(store.root, list(images), wanted)
    if len(image.layers) > LAYERS:
        raise DamagedError(f"an image of {len(image.layers)} layers")
    return [_layer(store, path, size) for path, size in image.layers]


def is_store(store: Store) -> bool:
    """Return whether a tree holds images rather than a root file system."""
    if isinstance(store.read("/oci-layout"), Value) and isinstance(store.read("/index.json"), Value):
        return True
    try:
        return bool(_entries(store))
    except DamagedError:
        return False


def _layer(store: Store, path: str, size: int) -> ByteSource:
    try:
        source = store.source(path)
    except OSError as error:
        raise DamagedError(f"its layer {path} cannot be read: {error.strerror or error}") from None
    if size not in (-1, source.size):
        raise DamagedError(f"its layer {path} is {source.size} bytes long, where {size} are told")
    return unpacked(source)


def _layout(store: Store) -> Iterator[Image]:
    """Yield the images of a layout.

    An image is skipped if its manifest is missing, since an index may name manifests that were not copied.
    """
    ahead = [(_document(store, "/index.json"), "", 0)]
    seen = 0
    while ahead:
        index, named, depth = ahead.pop(0)
        for descriptor in _each(index, "manifests"):
            seen += 1
            if seen > MANIFESTS or depth > DEPTH:
                raise DamagedError("its indexes name too many manifests")
            kind, path = _field(descriptor, "mediaType", str), _blob(descriptor)
            name = _field(_field(descriptor, "annotations", dict), _NAME, str) or named
            if not _there(store, path):
                continue
            if _INDEX.fullmatch(kind):
                ahead.append((_document(store, path), name, depth + 1))
            elif _MANIFEST.fullmatch(kind):
                yield from _image(store, descriptor, name)


def _there(store: Store, path: str) -> bool:
    try:
        store.source(path)
    except OSError:
        return False
    return True


def _image(store: Store, descriptor: Json, name: str) -> Iterator[Image]:
    """Yield the image that a manifest describes.

    Attestations and other artifacts have no file system and are skipped.
    """
    path = _blob(descriptor)
    manifest = _document(store, path)
    config = _field(manifest, "config", dict)
    if not _CONFIG.fullmatch(_field(config, "mediaType", str)):
        return
    told = _field(descriptor, "platform", dict) or _document(store, _blob(config))
    platform = _told(told)
    if platform.os == "unknown":
        return
    found = []
    for layer in _each(manifest, "layers"):
        kind, size = _field(layer, "mediaType", str), layer.get("size")
        if not _LAYER.fullmatch(kind):
            raise DamagedError(f"it has a layer of type {kind or '(none)'}, which nodespec does not read")
        if type(size) is not int or size < 0:
            raise DamagedError(f"{path}: a layer without a size")
        found.append((_blob(layer), size))
    yield Image(platform, name, path, tuple(found))


def _saved(store: Store) -> Iterator[Image]:
    """Yield the images that a `manifest.json` names."""
    for entry in _entries(store):
        config, paths = _field(entry, "Config", str), _texts(entry, "Layers")
        platform = _told(_document(store, f"/{config}"))
        yield Image(platform, ", ".join(_texts(entry, "RepoTags")), config, tuple((f"/{path}", -1) for path in paths))


def _entries(store: Store) -> List[Json]:
    entries = _each({"entries": _json(store, "/manifest.json")}, "entries")
    if not all("Layers" in entry for entry in entries):
        raise DamagedError("/manifest.json names no layers")
    return entries


def _told(document: Json) -> Platform:
    return plain(*(_field(document, key, str) for key in ("os", "architecture", "variant")))


def _blob(descriptor: Json) -> str:
    digest = _DIGEST.fullmatch(_field(descriptor, "digest", str))
    if not digest:
        raise DamagedError("a descriptor has no digest")
    return f"/blobs/{digest[1]}/{digest[2]}"


def _document(store: Store, path: str) -> Json:
    document = _json(store, path)
    if not isinstance(document, dict):
        raise DamagedError(f"{path} is no JSON object")
    return document


def _json(store: Store, path: str) -> object:
    data = store.read(path, DOCUMENT)
    if not isinstance(data, Value):
        raise DamagedError(f"{path} is not in it" if isinstance(data, Absent) else data.say)
    try:
        document: object = json.loads(data.value)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path}: {error}") from None
    return document


def _each(document: Json, key: str) -> List[Json]:
    found = _field(document, key, list)
    if not all(isinstance(one, dict) for one in found):
        raise DamagedError(f"`{key}` of its JSON is no list of objects")
    return found


def _texts(document: Json, key: str) -> List[str]:
    found = _field(document, key, list)
    if not all(isinstance(one, str) for one in found):
        raise DamagedError(f"`{key}` of its JSON is no list of texts")
    return found


def _field(document: Json, key: str, kind: Type[T]) -> T:
    """Return a field, or an empty value if it is missing."""
    found = document.get(key)
    if found is None:
        return kind()
    if not isinstance(found, kind):
        raise DamagedError(f"`{key}` of its JSON is no {kind.__name__}")
    return found
