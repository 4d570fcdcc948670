from __future__ import annotations

import contextlib
import gzip
import json
import os
from typing import TYPE_CHECKING, Callable, Mapping, NamedTuple, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_images import MEDIA, Blobs, Put, filed, folder, hard, laid, layout, link, saved, tar, written, zstd

from nodespec.errors import UsageError
from nodespec.formats.byte_source import ByteSource
from nodespec.host.tree import Tree
from nodespec.images import oci
from nodespec.images.archive import ArchiveTree
from nodespec.images.open import open_image
from nodespec.model.observation import Absent, Evidence, Observation, Value

if TYPE_CHECKING:
    from pathlib import Path

ETC = [folder("etc/"), Put("etc/hostname", b"node-17")]


class Held(ByteSource):
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size]


def stacked(*layers: list[Put]) -> ArchiveTree:
    return ArchiveTree("image", [Held(tar(layer)) for layer in layers], layered=True)


def value(seen: Observation[bytes]) -> bytes:
    assert isinstance(seen, Value)
    return seen.value


def names(tree: Tree, path: str) -> tuple[str, ...]:
    seen = tree.names(path)
    assert isinstance(seen, Value)
    return seen.value


def every(tree: Tree, path: str = "") -> dict[str, Optional[bytes]]:
    """All files with their content, and all directories, of a tree without links."""
    found: dict[str, Optional[bytes]] = {}
    for name in names(tree, path or "/"):
        below = f"{path}/{name}"
        if isinstance(tree.names(below), Value):
            found.update({below: None, **every(tree, below)})
        else:
            found[below] = value(tree.read(below))
    return found


# layers


def test_an_upper_layer_is_above() -> None:
    tree = stacked(
        [folder("etc", 0o700), Put("etc/a", b"1"), Put("etc/b", b"1"), folder("etc/c"), Put("etc/c/d", b"1")],
        [folder("etc"), Put("etc/a", b"2"), folder("etc/b"), Put("etc/c", b"2")],
    )
    assert every(tree) == {"/etc": None, "/etc/a": b"2", "/etc/b": None, "/etc/c": b"2"}
    entry = tree.entry("/etc")
    assert isinstance(entry, Value)
    assert entry.value.mode == 0o755


def test_a_whiteout_hides_what_is_below_it() -> None:
    lower = [*ETC, folder("etc/a"), Put("etc/a/b", b"1"), Put("etc/a.wh.b")]
    assert every(stacked(lower, [Put("etc/.wh.a"), Put("etc/.wh.none"), Put("no/.wh.none")])) == {
        "/etc": None,
        "/etc/hostname": b"node-17",
        "/etc/a.wh.b": b"",
    }


@pytest.mark.parametrize("early", [True, False])
def test_a_whiteout_hides_nothing_of_its_own_layer(early: bool) -> None:  # noqa: FBT001
    lower = [folder("a"), Put("a/old"), folder("a/deep"), Put("a/deep/old"), folder("b"), Put("b/old"), Put("b/c/old")]
    hides = [Put(".wh.a"), Put("b/.wh..wh..opq")]
    own = [Put("a/new", b"2"), Put("a/deep/new", b"2"), Put("b/new", b"2"), Put("b/c/new", b"2")]
    tree = stacked(lower, [*hides, *own] if early else [*own, *hides])
    files = {path: content for path, content in every(tree).items() if content is not None}
    assert files == {f"/{put.name}": b"2" for put in own}


def test_an_opaque_directory_stays() -> None:
    tree = stacked([folder("a", 0o700), Put("a/old")], [Put("a/.wh..wh..opq")])
    assert every(tree) == {"/a": None}
    assert tree.entry("/a").then(lambda entry: entry.mode) == Value(0o700, Evidence("/a"))


def test_an_opaque_root_hides_all() -> None:
    assert every(stacked([*ETC], [Put(".wh..wh..opq"), Put("a", b"2")])) == {"/a": b"2"}


def test_what_is_reserved_is_no_file_and_hides_none() -> None:
    assert every(stacked([Put(".plnk"), Put(".wh.plnk")], [Put(".wh..wh.plnk")])) == {"/.plnk": b""}


def test_in_a_plain_tar_a_whiteout_is_a_file() -> None:
    tree = ArchiveTree("image", [Held(tar([Put("etc/a"), Put("etc/.wh.a")]))], layered=False)
    assert names(tree, "/etc") == (".wh.a", "a")


def test_a_layer_writes_through_the_links_of_those_below() -> None:
    lower = [folder("usr/lib"), link("lib", "usr/lib"), link("deep", "/lib/../lib"), Put("usr/lib/old")]
    tree = stacked(lower, [Put("lib/new", b"2"), Put("deep/.wh.old"), Put("deep/more", b"2")])
    assert names(tree, "/usr/lib") == ("more", "new")
    assert tree.link("/lib") == Value("usr/lib", Evidence("/lib"))


def test_a_directory_replaces_a_link() -> None:
    tree = stacked([folder("usr/lib"), link("lib", "usr/lib")], [folder("lib"), Put("lib/new", b"2")])
    assert every(tree) == {"/usr": None, "/usr/lib": None, "/lib": None, "/lib/new": b"2"}


def test_a_hard_link_to_a_lower_layer_has_its_content_and_its_own_fate() -> None:
    lower = [folder("a"), Put("a/file", b"1", mode=0o600)]
    tree = stacked(lower, [hard("a/other", "a/file"), Put("a/.wh.other"), Put("a/.wh.file")])
    assert every(tree) == {"/a": None, "/a/other": b"1"}


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


class Layer(NamedTuple):
    """What a layer puts, what it hides, and of what it hides what is below."""

    puts: Mapping[str, Optional[bytes]]
    hidden: list[str]
    emptied: list[str]

    def members(self, seed: int) -> list[Put]:
        """Its members: the own in their order, the whiteouts anywhere."""
        found = [folder(path) if data is None else Put(path, data) for path, data in self.puts.items()]
        for path in self.hidden:
            way, _, name = path.rpartition("/")
            found.insert(seed % (len(found) + 1), Put(f"{way}/.wh.{name}"))
        for path in self.emptied:
            found.insert(seed // 7 % (len(found) + 1), Put(f"{path}/.wh..wh..opq"))
        return found


def sound(puts: dict[str, Optional[bytes]]) -> dict[str, Optional[bytes]]:
    """What of it can stand beside each other, in the order in which a directory is walked."""
    return {
        path: data
        for path, data in sorted(puts.items())
        if not any(path.startswith(f"{other}/") and there is not None for other, there in puts.items())
    }


LAYERS = st.builds(
    Layer,
    st.dictionaries(PATHS, st.one_of(st.none(), st.binary(max_size=3)), max_size=6).map(sound),
    st.lists(PATHS, max_size=2),
    st.lists(PATHS, max_size=2),
)


def merged(layers: list[Layer]) -> dict[str, Optional[bytes]]:
    """What the specification says: whiteouts act on what is below, then the layer's own is put there."""
    whole: dict[str, Optional[bytes]] = {}
    for layer in layers:
        for path in layer.hidden:
            whole = {one: data for one, data in whole.items() if one != path and not one.startswith(f"{path}/")}
        for path in layer.emptied:
            whole = {one: data for one, data in whole.items() if not one.startswith(f"{path}/")}
        for path, data in layer.puts.items():
            parts = path.split("/")
            for depth in range(1, len(parts)):
                if whole.get("/".join(parts[:depth]), b"") is not None:
                    whole["/".join(parts[:depth])] = None
            if data is not None:
                whole = {one: held for one, held in whole.items() if not one.startswith(f"{path}/")}
            whole[path] = data
    return {f"/{path}": data for path, data in whole.items()}


@settings(max_examples=200, deadline=None)
@given(st.lists(LAYERS, min_size=1, max_size=4), st.integers(0, 99))
def test_layers_merge_as_the_specification_says(layers: list[Layer], seed: int) -> None:
    assert every(stacked(*(layer.members(seed) for layer in layers))) == merged(layers)


# which image


def several(*platforms: str) -> dict[str, bytes]:
    """A layout with an image for each platform, whose hostname is the platform."""
    blobs = Blobs()
    return blobs.index([blobs.image([tar([Put("etc/hostname", one.encode())])], one) for one in platforms])


def chosen(files: Mapping[str, bytes], where: Path, platform: str = "") -> str:
    return value(open_image(laid(files, where), platform).read("/etc/hostname")).decode()


@pytest.fixture
def on_arm64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", "6.1", "#1", "aarch64")))


@pytest.mark.usefixtures("on_arm64")
@pytest.mark.parametrize(
    ("there", "asked", "expected"),
    [
        (["linux/s390x"], "", "linux/s390x"),
        (["linux/amd64", "linux/arm64/v8"], "", "linux/arm64/v8"),
        (["linux/amd64", "linux/arm64"], "", "linux/arm64"),
        (["linux/amd64", "linux/arm64"], "linux/amd64", "linux/amd64"),
        (["linux/amd64/v3", "linux/amd64"], "linux/amd64", "linux/amd64"),
        (["linux/amd64/v3", "linux/arm64"], "linux/amd64", "linux/amd64/v3"),
        (["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7", "linux/arm/v7"),
        (["linux/arm64", "unknown/unknown"], "", "linux/arm64"),
    ],
)
def test_the_platform_chooses(there: list[str], asked: str, expected: str, tmp_path: Path) -> None:
    assert chosen(several(*there), tmp_path, asked) == expected


@pytest.mark.usefixtures("on_arm64")
@pytest.mark.parametrize(
    ("there", "asked", "say"),
    [
        (["linux/amd64", "linux/s390x"], "", "contains images for linux/amd64, linux/s390x, and none for this machine"),
        (["linux/amd64"], "linux/arm64", "--platform linux/arm64: not found in .*, which has linux/amd64"),
        (
            ["linux/arm/v6", "linux/arm/v7"],
            "linux/arm",
            r"contains several images, .* \(linux/arm/v6\), .*; copy one of",
        ),
        (["linux/amd64"], "amd64", r"--platform amd64: expected OS/ARCH\[/VARIANT\]"),
        ([], "", "contains no image of a file system"),
    ],
)
def test_without_one_image_it_lists_what_there_is(there: list[str], asked: str, say: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=say):
        chosen(several(*there), tmp_path, asked)


def test_two_names_of_one_image_are_one(tmp_path: Path) -> None:
    blobs = Blobs()
    image = blobs.image([tar(ETC)])
    tags = [{**image, "annotations": {"org.opencontainers.image.ref.name": name}} for name in ("a", "b")]
    assert chosen(blobs.index(tags), tmp_path / "one") == "node-17"
    other = blobs.image([tar([*ETC, Put("x")])], annotations={"org.opencontainers.image.ref.name": "c"})
    with pytest.raises(UsageError, match=r"contains several images, a \(linux/amd64\), c \(linux/amd64\); copy one"):
        chosen(blobs.index([*tags[:1], other]), tmp_path / "two")


def test_an_index_may_be_within_an_index(tmp_path: Path) -> None:
    blobs = Blobs()
    inner = {"schemaVersion": 2, "manifests": [blobs.image([tar(ETC)])]}
    for _ in range(3):
        inner = {"schemaVersion": 2, "manifests": [blobs.add(inner, "index.v1+json")]}
    assert chosen(blobs.index([blobs.add(inner, "index.v1+json")]), tmp_path) == "node-17"


def test_without_a_platform_in_the_index_the_configuration_says_it(tmp_path: Path) -> None:
    blobs = Blobs()
    bare = [{**blobs.image([tar(ETC)], one), "platform": None} for one in ("linux/amd64", "linux/riscv64")]
    assert chosen(blobs.index(bare), tmp_path, "linux/riscv64") == "node-17"


def test_a_platform_whose_manifest_was_not_copied_is_not_there(tmp_path: Path) -> None:
    files = several("linux/amd64", "linux/s390x")
    index = json.loads(files["index.json"])
    del files[f"blobs/{index['manifests'][0]['digest'].replace(':', '/')}"]
    assert chosen(files, tmp_path) == "linux/s390x"


def test_an_attestation_is_no_image(tmp_path: Path) -> None:
    blobs = Blobs()
    artifact = {"config": blobs.add({}, "empty.v1+json"), "layers": [blobs.add(b"{}", "layer.v1.in-toto")]}
    assert (
        chosen(blobs.index([blobs.add(artifact, "manifest.v1+json"), blobs.image([tar(ETC)])]), tmp_path) == "node-17"
    )


def test_a_platform_of_what_has_none_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--platform linux/amd64: .* is not a container image"):
        open_image(written(tmp_path / "image.tar", tar(ETC)), "linux/amd64")
    with pytest.raises(UsageError, match=r"^--platform linux/amd64: .* is not a container image"):
        open_image(laid({"etc/x": b""}, tmp_path / "root"), "linux/amd64")


# layers as they lie


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_layers_may_be_compressed(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    layers = [pack(tar(ETC)), pack(tar([Put("etc/.wh.hostname")]))]
    assert every(open_image(laid(layout(layers), tmp_path))) == {"/etc": None}


def test_what_docker_saved_may_repeat_a_layer_by_a_link(tmp_path: Path) -> None:
    files = saved([tar(ETC), b"", tar([Put("etc/.wh.hostname")]), tar(ETC)])
    files.pop("1/layer.tar")
    data = tar([*(Put(name, content) for name, content in files.items()), link("1/layer.tar", "../0/layer.tar")])
    assert every(open_image(written(tmp_path / "image.tar", data))) == {"/etc": None, "/etc/hostname": b"node-17"}


def broken(tmp_path: Path, change: Mapping[str, object]) -> None:
    """A layout of one image, of whose manifest some fields are others."""
    blobs = Blobs()
    manifest = {"config": blobs.add({"os": "linux"}, "config.v1+json"), "layers": [blobs.add(tar(ETC), "layer.v1.tar")]}
    open_image(laid(blobs.index([blobs.add({**manifest, **change}, "manifest.v1+json")]), tmp_path))


DIGEST = f"sha256:{'0' * 64}"
LAYER = {"mediaType": f"{MEDIA}.layer.v1.tar", "digest": DIGEST, "size": 1}


@pytest.mark.parametrize(
    ("change", "say"),
    [
        ({"layers": [LAYER]}, "layer .* cannot be read"),
        ({"layers": [{**LAYER, "digest": "sha256:../../x"}]}, "a descriptor has no digest"),
        (
            {"layers": [{**LAYER, "mediaType": f"{MEDIA}.layer.v1.tar+encrypted"}]},
            r"unsupported layer type .*\+encrypted",
        ),
        ({"layers": [{**LAYER, "size": None}]}, "the layer has no size"),
        ({"layers": [{**LAYER, "size": True}]}, "the layer has no size"),
        ({"layers": 1}, "`layers` must be of the type list"),
        ({"layers": [1]}, "`layers` must be a list of objects"),
        ({"config": []}, "`config` must be of the type dict"),
    ],
)
def test_what_a_manifest_should_not_say_is_a_mistake(change: Mapping[str, object], say: str, tmp_path: Path) -> None:
    broken(tmp_path / "sound", {})
    with pytest.raises(UsageError, match=say):
        broken(tmp_path / "broken", change)


def test_a_layer_of_another_length_is_a_mistake(tmp_path: Path) -> None:
    files = layout([tar(ETC)])
    layer = next(name for name, data in files.items() if len(data) % 512 == 0)
    files[layer] += bytes(512)
    with pytest.raises(UsageError, match=r"layer .* has \d+ bytes; \d+ expected"):
        open_image(laid(files, tmp_path))


def test_indexes_without_end_are_a_mistake(tmp_path: Path) -> None:
    blobs = Blobs()
    itself = {"mediaType": f"{MEDIA}.index.v1+json", "digest": DIGEST, "size": 1}
    blobs.files[f"blobs/{DIGEST.replace(':', '/')}"] = json.dumps({"manifests": [itself] * 9}).encode()
    with pytest.raises(UsageError, match="the indexes name too many manifests"):
        open_image(laid(blobs.index([itself]), tmp_path))


JSON = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=5), st.just(DIGEST), st.just(f"{MEDIA}.manifest.v1+json")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["manifests", "mediaType", "digest", "layers", "Layers", "Config"]), inner),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["index.json", "manifest.json", "blob"]), JSON | st.binary(max_size=20))
def test_no_json_breaks_the_reader(where: str, said: object) -> None:
    data = said if isinstance(said, bytes) else json.dumps(said).encode()
    descriptor = {"mediaType": f"{MEDIA}.manifest.v1+json", "digest": DIGEST, "size": len(data)}
    files = {"oci-layout": b"{}", "index.json": json.dumps({"manifests": [descriptor]}).encode()}
    if where == "manifest.json":
        files = {}
    files[{"blob": f"blobs/{DIGEST.replace(':', '/')}"}.get(where, where)] = data
    store = ArchiveTree("image", [Held(filed(files))], layered=False)
    with contextlib.suppress(UsageError, OSError):
        oci.open_layers(store, "linux/amd64")
    assert oci.is_store(store) in (True, False)


def test_json_nested_without_end_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"/index.json: "):
        open_image(laid({"oci-layout": b"{}", "index.json": b"[" * 100_000}, tmp_path))


def test_a_layout_does_not_lead_out_of_itself(tmp_path: Path) -> None:
    files = layout([tar(ETC)])
    layer = next(name for name, data in files.items() if len(data) % 512 == 0)
    outside = written(tmp_path / "outside.tar", files.pop(layer))
    root = laid(files, tmp_path / "layout")
    os.symlink(outside, f"{root}/{layer}")
    with pytest.raises(UsageError, match=r"layer .* cannot be read: No such file or directory"):
        open_image(root)


def test_nothing_is_left_of_a_tree_of_which_all_was_hidden(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a root file system: /etc and /usr not found; it contains nothing"):
        open_image(laid(layout([tar(ETC), tar([Put(".wh.etc")])]), tmp_path))
    assert isinstance(stacked(ETC, [Put(".wh.etc")]).read("/etc/hostname"), Absent)
