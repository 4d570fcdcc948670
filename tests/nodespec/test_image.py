from __future__ import annotations

import contextlib
import gzip
import lzma
import os
import tarfile
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Mapping, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_images import PACKERS, Put, filed, folder, laid, layout, link, saved, tar, written

from nodespec.errors import UsageError
from nodespec.formats import decompress
from nodespec.formats.byte_source import ByteSource
from nodespec.host.tree import Entry, Tree
from nodespec.images.open import open_image
from nodespec.model.observation import DEFAULT_LIMITS, Evidence, Limits, Observation, TimedOut, Unknown, Value

if TYPE_CHECKING:
    from collections.abc import Iterator


class Piped(Protocol):
    """Opens an image that is written to standard input by another thread."""

    def __call__(self, data: bytes, limits: Limits = DEFAULT_LIMITS) -> Tree: ...


ETC = [folder("./"), folder("./etc/"), Put("./etc/hostname", b"node-17\n", mode=0o640, uid=7, gid=9)]


def value(seen: Observation[bytes]) -> bytes:
    assert isinstance(seen, Value)
    return seen.value


# one tree, through every door

NAMES = st.sampled_from(["a", "b", "c", "etc", ".wh.a", "new\nline", "\x1b[2J", "x" * 120, "\udcff"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
TARGETS = st.lists(st.sampled_from(["..", ".", "", "a", "b", "c", "etc"]), min_size=1, max_size=5).map("/".join)
THINGS = st.one_of(
    st.binary(max_size=40).map(lambda data: ("file", data)),
    st.just(("folder", None)),
    TARGETS.filter(bool).map(lambda target: ("link", target)),
    PATHS.map(lambda path: ("hard", path)),
    st.just(("fifo", None)),
)
TREES = st.dictionaries(PATHS, THINGS, max_size=10)


def planted(root: str, things: Mapping[str, tuple[str, object]]) -> None:
    """What of these things can stand there."""
    os.makedirs(f"{root}/etc")
    for path, (kind, what) in things.items():
        at = f"{root}/{path}"
        try:
            os.makedirs(os.path.dirname(at), exist_ok=True)
            if os.path.realpath(os.path.dirname(at)) != os.path.dirname(at):
                continue  # through a link, which leads who knows where
            if kind == "file" and isinstance(what, bytes):
                descriptor = os.open(at, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                os.write(descriptor, what)
                os.close(descriptor)
            elif kind == "folder":
                os.mkdir(at, 0o750)
            elif kind == "link":
                os.symlink(str(what), at)
            elif kind == "fifo":
                os.mkfifo(at)
            elif os.path.isfile(f"{root}/{what}") and not os.path.islink(f"{root}/{what}"):
                os.link(f"{root}/{what}", at, follow_symlinks=False)
        except OSError:
            continue


def seen(tree: Tree, paths: list[str]) -> list[object]:
    """All that a tree says of some paths."""
    return [
        (path, look(tree.entry(path)), look(tree.entry(path, follow=False)), tree.read(path), tree.link(path), names)
        for path in paths
        for names in [tree.names(path)]
    ]


def look(found: Observation[Entry]) -> object:
    """An entry, without the size that a file system gives directories."""
    return found.then(lambda entry: entry._replace(size=0) if entry.kind == "directory" else entry)


def asked(root: str) -> Iterator[str]:
    """All paths below a root, and some that are not there."""
    for way, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = f"{way}/{name}"[len(root) :]
            yield from (path, f"{path}/..", f"{path}/a", f"{path}/../etc")
    yield from ("/", "/..", "/../etc", "/no", "/no/..", "/etc/a/b/c/etc", "/a/..")


def doors(root: str, where: Path, form: int) -> Iterator[str]:
    """The same tree as each kind of image."""
    parts = sorted(Path(root).rglob("*"))
    paths = [str(part)[len(root) + 1 :] for part in parts]
    whole, halves = where / "whole.tar", (where / "lower.tar", where / "upper.tar")
    with tarfile.open(whole, "w", format=form) as made:
        made.add(root, ".")
    for half, some in zip(halves, (paths[::2], paths[1::2])):
        with tarfile.open(half, "w", format=form) as made:
            made.add(root, ".", recursive=False)
            for path in some:
                made.inodes = {}  # type: ignore[attr-defined]  # so that no name is a hard link
                made.add(f"{root}/{path}", f"./{path}", recursive=False)
    yield str(whole)
    yield written(where / "image.tar.gz", gzip.compress(whole.read_bytes(), 1))
    yield written(where / "image.tar.xz", lzma.compress(whole.read_bytes(), preset=0))
    if "wh." in "".join(paths):
        return  # in a layer it would hide another
    layers = [half.read_bytes() for half in halves]
    packed = [gzip.compress(layer, 1) for layer in layers]
    yield laid(layout(layers), where / "layout")
    yield laid(layout(packed), where / "packed")
    yield written(where / "oci.tar", filed(layout(packed)))
    yield written(where / "docker.tar", filed(saved(layers)))
    yield written(where / "docker.tar.gz", gzip.compress(filed(saved(layers)), 1))


@settings(max_examples=60, deadline=None)
@given(TREES, st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_one_tree_is_the_same_through_every_door(things: dict[str, tuple[str, object]], form: int) -> None:
    with tempfile.TemporaryDirectory() as within:
        root = os.path.realpath(f"{within}/root")
        planted(root, things)
        paths = list(asked(root))
        expected = seen(open_image(root), paths)
        for door in doors(root, Path(within), form):
            assert seen(open_image(door), paths) == expected, door


@pytest.mark.parametrize("way", PACKERS)
def test_a_tar_may_be_compressed(way: str, tmp_path: Path) -> None:
    path = written(tmp_path / "image", PACKERS[way](tar(ETC)) + PACKERS[way](b"") + bytes(8))
    tree = open_image(path)
    assert tree.line("/etc/hostname") == Value("node-17", Evidence("/etc/hostname"))
    assert tree.entry("/etc/hostname") == Value(Entry("file", 0o640, 7, 9, 8), Evidence("/etc/hostname"))


def test_without_a_library_for_zstd_it_says_which_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompress, "ZSTD_LIBRARIES", ("no_such_library",))
    with pytest.raises(UsageError, match=r"^--image .*/image: zstd requires.*`pip install zstandard`"):
        open_image(written(tmp_path / "image", b"\x28\xb5\x2f\xfd" + bytes(99)))


# from standard input


@pytest.fixture
def piped() -> Iterator[Piped]:
    """Opens an image that is written to standard input by another thread."""
    before = os.dup(0)
    writers = []

    def pipe(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Tree:
        out, into = os.pipe()
        os.dup2(out, 0)
        os.close(out)
        writers.append(threading.Thread(target=drained, args=(into, data), daemon=True))
        writers[-1].start()
        try:
            return open_image("-", limits=limits)
        finally:
            os.dup2(before, 0)

    yield pipe
    for writer in writers:
        writer.join(9)
    os.close(before)


def drained(into: int, data: bytes) -> None:
    """As a slow writer does, at first little by little."""
    with contextlib.suppress(BrokenPipeError), os.fdopen(into, "wb", 0) as pipe:
        for at in range(0, 5000, 100):
            pipe.write(data[at : at + 100])
        pipe.write(data[5000:])


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress], ids=["plain", "gzip", "xz"])
def test_a_tar_may_come_through_a_pipe(pack: Callable[[bytes], bytes], piped: Piped) -> None:
    data = pack(tar([*ETC, Put("etc/large", bytes(20_000)), Put("etc/empty"), link("etc/link", "large")]))
    tree = piped(data, Limits(kept_bytes=10_000))
    assert value(tree.read("/etc/hostname")) == b"node-17\n"
    assert value(tree.read("/etc/empty")) == b""
    assert tree.entry("/etc/link") == Value(Entry("file", 0o644, 0, 0, 20_000), Evidence("/etc/link"))
    assert tree.read("/etc/link") == Unknown(
        "unsupported",
        "/etc/link was not kept, because the image was read from a pipe",
        "give the image as a file",
    )


def test_a_file_on_standard_input_is_read_as_a_file(tmp_path: Path) -> None:
    path = written(tmp_path / "image.tar", tar([*ETC, Put("etc/large", bytes(20_000))]))
    before = os.dup(0)
    with open(path, "rb") as file:
        os.dup2(file.fileno(), 0)
    try:
        assert value(open_image("-", limits=Limits(kept_bytes=10_000)).read("/etc/large")) == bytes(20_000)
    finally:
        os.dup2(before, 0)
        os.close(before)


def test_a_container_image_does_not_come_through_a_pipe(piped: Piped) -> None:
    with pytest.raises(UsageError, match=r"^--image -: a container image must be a file, not a pipe"):
        piped(filed(saved([tar(ETC)])))


def test_a_pipe_without_end_is_not_waited_for(piped: Piped) -> None:
    with pytest.raises(
        UsageError, match=r"^--image -: not a root file system: /etc and /usr not found; it contains nothing"
    ):
        piped(bytes(64 << 20))


# what is kept of what flows by


def test_what_is_kept_is_bounded_and_of_most_worth(piped: Piped) -> None:
    texts = [Put(f"etc/{number}", b"t" * 500) for number in range(8)]
    bulk = [
        Put("usr/bin/a", b"\x7fELF" + bytes(400)),
        Put("usr/share/doc/b", b"text"),
        Put("etc/large", b"t" * 3000),
        Put("var/lib/dpkg/status", b"s" * 2000),
        Put("lib/modules/6.1.0/modules.alias", b"m" * 800),
        Put("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so", b"\x7fELF" + bytes(696)),
    ]
    tree = piped(tar([*ETC, *bulk, *texts]), Limits(kept_bytes=7500))
    kept = {put.name for put in [*bulk, *texts] if isinstance(tree.read(f"/{put.name}"), Value)}
    assert kept == {*(put.name for put in bulk[3:]), "etc/0", "etc/1", "etc/2"}


def test_names_take_room_from_what_is_kept(piped: Piped) -> None:
    many = [Put(f"etc/{number}") for number in range(60)]
    before, after = Put("etc/before", b"x" * 1000), Put("etc/after", b"x" * 1000)
    tree = piped(tar([*ETC, before, *many, after]), Limits(memory_bytes=10_000))
    assert [isinstance(tree.read(f"/etc/{name}"), Value) for name in ("before", "after", "59")] == [False, False, True]


def test_what_was_not_kept_is_unpacked_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(decompress, "MARK_DISTANCE_BYTES", 1 << 16)
    puts = [Put(f"etc/{number}", os.urandom(20_000)) for number in range(60)]
    for name, pack in (("gzip", gzip.compress), ("xz", lzma.compress)):
        tree = open_image(written(tmp_path / name, pack(tar([*ETC, *puts]))), limits=Limits(kept_bytes=0))
        for put in (puts[59], puts[0], puts[30], puts[31], puts[2]):
            assert value(tree.read(f"/{put.name}")) == put.content


def test_marks_of_a_gzip_stream_are_few_and_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompress, "MARK_DISTANCE_BYTES", 1 << 16)
    data = os.urandom(5 << 20)
    source = decompress.open_decompressed(Held(gzip.compress(data, 1)))
    assert source.read(0, len(data) + 1) == data
    assert isinstance(source, decompress.DecompressedSource)
    marks = [made for made, _, _ in source.marks]
    assert 4 <= len(marks) <= decompress.MAX_MARKS
    assert marks[-1] > len(data) // 2
    source.release()
    for offset in (4 << 20, 100, 2 << 20, (2 << 20) + 99):
        assert source.read(offset, 1000) == data[offset : offset + 1000]


class Held(ByteSource):
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size]


class Breaking(decompress.DecompressedSource):
    """Once, after so many steps, time is up."""

    fuse = 0

    def _decompress_step(self) -> bytes:
        piece = super()._decompress_step()
        self.fuse -= 1
        if not self.fuse:
            raise TimedOut
        return piece


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress], ids=["gzip", "xz"])
def test_a_look_that_was_broken_off_spoils_no_other(pack: Callable[[bytes], bytes]) -> None:
    data = os.urandom(200_000)
    whole = decompress.open_decompressed(Held(pack(data)))
    assert isinstance(whole, decompress.DecompressedSource)
    for fuse in range(1, 6):
        source = Breaking(Held(pack(data)), whole.way)
        source.fuse = fuse
        with pytest.raises(TimedOut):
            source.read(0, len(data) + 1)
        assert source.read(1000, 150_000) == data[1000:151_000]


# what is wrong with an archive


def cuts(data: bytes) -> Iterator[bytes]:
    for end in (*range(1, 600, 99), *range(600, len(data), 640)):
        yield data[:end]


def test_an_archive_that_is_cut_off_is_never_judged(tmp_path: Path) -> None:
    whole = tar([*ETC, Put("etc/other", b"x" * 700)]).rstrip(b"\0")
    whole += bytes(-len(whole) % 512)
    for cut in (*cuts(whole), whole):
        with pytest.raises(UsageError, match=r"^--image .*/image(.tar)?: "):
            open_image(written(tmp_path / "image", cut))
    for pack in (gzip.compress, lzma.compress):
        packed = pack(whole)
        for cut in (packed[:-1], packed[:-9], packed[: len(packed) // 2], packed[:20]):
            with pytest.raises(UsageError, match="truncated"):
                open_image(written(tmp_path / "image", cut))
        with pytest.raises(UsageError, match="truncated"):
            open_image(written(tmp_path / "image", pack(whole[:-512] + b"x")))


def test_a_sum_tells_that_a_compressed_archive_is_whole_without_its_end(tmp_path: Path) -> None:
    """As layers are that umoci makes of single files."""
    whole = tar(ETC).rstrip(b"\0")
    for end in (b"", bytes(-len(whole) % 512)):
        tree = open_image(written(tmp_path / "image", gzip.compress(whole + end)))
        assert value(tree.read("/etc/hostname")) == b"node-17\n"
    with pytest.raises(UsageError, match="truncated"):
        open_image(written(tmp_path / "image", gzip.compress(whole[:-1])))


def damaged(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("data", "say"),
    [
        (damaged(tar(ETC), 600), "byte 512 of the archive: not a header: the checksum is wrong"),
        (damaged(gzip.compress(tar(ETC)), 60), "the compressed data are damaged: .*"),
        (damaged(lzma.compress(tar(ETC)), 60), "the compressed data are damaged: .*"),
        (gzip.compress(tar(ETC)) + b"more", "other data follow the compressed data"),
        (tar(ETC)[:2048] + bytes(512) + tar(ETC), "byte 2560 of the archive: data follow the end"),
        (tar([Put("x")]), "not a root file system: /etc and /usr not found; it contains x"),
        (tar([]), "not a root file system: /etc and /usr not found; it contains nothing"),
        (b"QFI\xfb" + bytes(1000), "not a directory, tar or container image; for a disk image, run virt-tar-out .*"),
        (b"", "not a directory, tar or container image; .*"),
    ],
)
def test_what_is_no_image_is_a_mistake(data: bytes, say: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"^--image .*/image: {say}$"):
        open_image(written(tmp_path / "image", data))


def test_what_is_not_there_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"^--image .*/image: No such file or directory$"):
        open_image(str(tmp_path / "image"))
    with pytest.raises(UsageError, match="not a root file system: /etc and /usr not found; it contains nothing"):
        open_image(str(tmp_path))
    (tmp_path / "x").touch()
    monkeypatch.setattr("nodespec.host.directory.MAX_NAMES", 0)
    with pytest.raises(UsageError, match=r"^--image .*: /: more than 0 entries$"):
        open_image(str(tmp_path))
