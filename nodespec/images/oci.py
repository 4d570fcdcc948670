"""The layers of a container image, from an OCI image layout or `docker save`.

The blobs must exist with the size of their descriptor. Their digests are not computed.
https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import json
import re

from nodespec.formats.byte_source import ByteSource, DamagedError
from nodespec.formats.decompress import open_decompressed
from nodespec.images.platform import Image, Platform, choose_image, normalize_platform
from nodespec.light_typing import TYPE_CHECKING, Protocol, TypeVar
from nodespec.model.observation import DEFAULT_LIMITS, Absent, Limits, Observation, Value

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Type, TypeAlias

T = TypeVar("T")

MAX_DOCUMENT_BYTES = 4 << 20  # Bytes of a manifest or configuration. Registries have the same limit.
MAX_INDEX_DEPTH = 8  # Nested indexes.
MAX_MANIFESTS = 1000  # Manifests of all indexes together.

_INDEX = re.compile(r"application/vnd\.(oci\.image\.index\.v1|docker\.distribution\.manifest\.list\.v2)\+json")
_MANIFEST = re.compile(r"application/vnd\.(oci\.image|docker\.distribution)\.manifest\.v[12]\+json")
_CONFIG = re.compile(r"application/vnd\.(oci\.image\.config|docker\.container\.image)\.v1\+json")
_LAYER = re.compile(
    r"application/vnd\.(oci\.image\.layer(\.nondistributable)?\.v1|docker\.image\.rootfs(\.foreign)?\.diff)"
    r"\.tar([+.](gzip|zstd))?"
)
_DIGEST = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([A-Za-z0-9=_-]+)")
_NAME = "org.opencontainers.image.ref.name"


class ImageStore(Protocol):
    """A tree that contains images."""

    root: str

    def read(self, path: str, limit: int = ...) -> Observation[bytes]: ...
    def source(self, path: str) -> ByteSource: ...


Json: TypeAlias = "Dict[str, object]"


def open_layers(store: ImageStore, wanted: str, limits: Limits = DEFAULT_LIMITS) -> List[ByteSource]:
    """Return the layers of the image for a platform, the lowest first.

    Raises `UsageError` if no image or several images match.
    """
    images = _read_layout(store) if isinstance(store.read("/oci-layout"), Value) else _read_saved_images(store)
    image = choose_image(store.root, list(images), wanted)
    if len(image.layers) > limits.layers:
        raise DamagedError(f"the image has {len(image.layers)} layers, which is too many")
    return [_open_layer(store, path, size) for path, size in image.layers]


def is_store(store: ImageStore) -> bool:
    """Return whether a tree holds images rather than a root file system."""
    if isinstance(store.read("/oci-layout"), Value) and isinstance(store.read("/index.json"), Value):
        return True
    try:
        return bool(_read_entries(store))
    except DamagedError:
        return False


def _open_layer(store: ImageStore, path: str, size: int) -> ByteSource:
    try:
        source = store.source(path)
    except OSError as error:
        raise DamagedError(f"layer {path} cannot be read: {error.strerror or error}") from None
    if size not in (-1, source.size):
        raise DamagedError(f"layer {path} has {source.size} bytes; {size} expected")
    return open_decompressed(source)


def _read_layout(store: ImageStore) -> Iterator[Image]:
    """Yield the images of a layout.

    An image is skipped if its manifest is missing, since an index may name manifests that were not copied.
    """
    ahead = [(_read_document(store, "/index.json"), "", 0)]
    seen = 0
    while ahead:
        index, named, depth = ahead.pop(0)
        for descriptor in _list_objects(index, "manifests"):
            seen += 1
            if seen > MAX_MANIFESTS or depth > MAX_INDEX_DEPTH:
                raise DamagedError("the indexes name too many manifests")
            kind, path = _get_field(descriptor, "mediaType", str), _make_blob_path(descriptor)
            name = _get_field(_get_field(descriptor, "annotations", dict), _NAME, str) or named
            if not _has_file(store, path):
                continue
            if _INDEX.fullmatch(kind):
                ahead.append((_read_document(store, path), name, depth + 1))
            elif _MANIFEST.fullmatch(kind):
                yield from _read_image(store, descriptor, name)


def _has_file(store: ImageStore, path: str) -> bool:
    try:
        store.source(path)
    except OSError:
        return False
    return True


def _read_image(store: ImageStore, descriptor: Json, name: str) -> Iterator[Image]:
    """Yield the image that a manifest describes.

    Attestations and other artifacts have no file system and are skipped.
    """
    path = _make_blob_path(descriptor)
    manifest = _read_document(store, path)
    config = _get_field(manifest, "config", dict)
    if not _CONFIG.fullmatch(_get_field(config, "mediaType", str)):
        return
    told = _get_field(descriptor, "platform", dict) or _read_document(store, _make_blob_path(config))
    platform = _read_platform(told)
    if platform.os == "unknown":
        return
    blobs = []
    for layer in _list_objects(manifest, "layers"):
        kind, size = _get_field(layer, "mediaType", str), layer.get("size")
        if not _LAYER.fullmatch(kind):
            raise DamagedError(f"unsupported layer type {kind or '(none)'}")
        if type(size) is not int or size < 0:
            raise DamagedError(f"{path}: the layer has no size")
        blobs.append((_make_blob_path(layer), size))
    yield Image(platform, name, path, tuple(blobs))


def _read_saved_images(store: ImageStore) -> Iterator[Image]:
    """Yield the images that a `manifest.json` names."""
    for entry in _read_entries(store):
        config, paths = _get_field(entry, "Config", str), _list_texts(entry, "Layers")
        platform = _read_platform(_read_document(store, f"/{config}"))
        yield Image(
            platform, ", ".join(_list_texts(entry, "RepoTags")), config, tuple((f"/{path}", -1) for path in paths)
        )


def _read_entries(store: ImageStore) -> List[Json]:
    entries = _list_objects({"entries": _parse_json(store, "/manifest.json")}, "entries")
    if not all("Layers" in entry for entry in entries):
        raise DamagedError("/manifest.json names no layers")
    return entries


def _read_platform(document: Json) -> Platform:
    return normalize_platform(*(_get_field(document, key, str) for key in ("os", "architecture", "variant")))


def _make_blob_path(descriptor: Json) -> str:
    digest = _DIGEST.fullmatch(_get_field(descriptor, "digest", str))
    if not digest:
        raise DamagedError("a descriptor has no digest")
    return f"/blobs/{digest[1]}/{digest[2]}"


def _read_document(store: ImageStore, path: str) -> Json:
    document = _parse_json(store, path)
    if not isinstance(document, dict):
        raise DamagedError(f"{path} is not a JSON object")
    return document


def _parse_json(store: ImageStore, path: str) -> object:
    data = store.read(path, MAX_DOCUMENT_BYTES)
    if not isinstance(data, Value):
        raise DamagedError(f"{path} not found in the image" if isinstance(data, Absent) else data.say)
    try:
        document: object = json.loads(data.value)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path}: {error}") from None
    return document


def _list_objects(document: Json, key: str) -> List[Json]:
    values = _get_field(document, key, list)
    if not all(isinstance(item, dict) for item in values):
        raise DamagedError(f"`{key}` must be a list of objects")
    return values


def _list_texts(document: Json, key: str) -> List[str]:
    values = _get_field(document, key, list)
    if not all(isinstance(item, str) for item in values):
        raise DamagedError(f"`{key}` must be a list of texts")
    return values


def _get_field(document: Json, key: str, kind: Type[T]) -> T:
    """Return a field, or an empty value if it is missing."""
    values = document.get(key)
    if values is None:
        return kind()
    if not isinstance(values, kind):
        raise DamagedError(f"`{key}` must be of the type {kind.__name__}")
    return values
