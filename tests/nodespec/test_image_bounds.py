"""An image is opened in bounded time: by the deadline, by the bytes of all its layers, and in linear work."""

from __future__ import annotations

import gzip
import io
import os
import stat
import sys
import tarfile
import threading
from typing import TYPE_CHECKING, Iterator, List, Optional

import pytest

from nodespec.__main__ import main
from nodespec.formats.byte_source import ByteSource, DamagedError
from nodespec.formats.tar import Member
from nodespec.images import archive
from nodespec.images.archive import ArchiveTree
from nodespec.images.inodes import Inodes
from nodespec.model.observation import DEFAULT_LIMITS
from nodespec.run.request import Target

if TYPE_CHECKING:
    from pathlib import Path


def steps(count: int, *, nested: bool) -> int:
    """Calls while a layer's opaque whiteouts are read, as many as it has files itself."""
    inodes = Inodes()
    folder = Member(b"d", stat.S_IFDIR | 0o755, 0, 0, 0, 0, b"")
    file = Member(b"f", stat.S_IFREG | 0o644, 0, 0, 1, 512, b"")
    names: List[List[bytes]] = [[b"d"]]
    for n in range(count):
        names.append([*names[-1], b"x"] if nested and n < 200 else [b"d", b"x%d" % n])
        inodes.put(names[-1], folder, 1)
        inodes.put([b"d", b"own%d" % n], file, 1)
    made = 0

    def note(_frame: object, event: str, _arg: object) -> None:
        nonlocal made
        made += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        for n in range(count):
            inodes.whiteout([*(names[-1 - n % len(names)] if nested else [b"d"]), b".wh..wh..opq"], 1)
    finally:
        sys.setprofile(None)
    return made


def test_opaque_whiteouts_of_one_directory_are_one_pass() -> None:
    assert steps(800, nested=False) / steps(200, nested=False) < 6


def test_opaque_whiteouts_still_hide_what_lower_layers_have() -> None:
    inodes = Inodes()
    folder = Member(b"", stat.S_IFDIR | 0o755, 0, 0, 0, 0, b"")
    file = Member(b"", stat.S_IFREG | 0o644, 0, 0, 1, 512, b"")
    for layer in range(4):
        inodes.put([b"d", b"e"], folder, layer)
        inodes.put([b"d", b"e", b"f%d" % layer], file, layer)
        if layer in (1, 3):
            inodes.whiteout([b"d", b"e", b".wh..wh..opq"], layer)
            inodes.whiteout([b"d", b".wh..wh..opq"], layer)
        if layer == 2:
            kept = [name for name in (b"f0", b"f1", b"f2") if name in inodes.children[inodes.find("/d/e", follow=True)]]
            assert kept == [b"f1", b"f2"]
    assert [*inodes.children[inodes.find("/d/e", follow=True)]] == [b"f3"]


class Claims(ByteSource):
    """A compressed layer of one file, whose header claims a size: its content is zeros that are never made."""

    quick = False

    def __init__(self, size: int) -> None:
        self.header = tarfile.TarInfo("f")
        self.header.size = size
        self.head = self.header.tobuf(tarfile.GNU_FORMAT)

    def read(self, offset: int, size: int) -> bytes:
        return (self.head[offset : offset + size] + bytes(size))[:size]


def test_all_layers_together_are_at_most_64_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive._ContentCache, "offer", lambda *_: None)  # noqa: SLF001 - no content is kept
    assert DEFAULT_LIMITS.unpacked_bytes == 68_719_476_736
    for beyond in (-1, 0):
        ArchiveTree("x", [Claims(34_359_738_368 - 512), Claims(34_359_738_368 - 512 + beyond)], layered=True)
    with pytest.raises(DamagedError, match="the unpacked content is longer than 64 GiB"):
        ArchiveTree("x", [Claims(34_359_738_368 - 512), Claims(34_359_738_368 - 512 + 1)], layered=True)


def test_one_layer_that_is_named_many_times_counts_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive._ContentCache, "offer", lambda *_: None)  # noqa: SLF001 - likewise
    with pytest.raises(DamagedError, match="longer than 64 GiB"):
        ArchiveTree("x", [Claims(1 << 30)] * 65, layered=True)


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[str]:
    """A pipe that begins as a tar does, and does not go on."""
    path = str(tmp_path / "pipe.tar")
    os.mkfifo(path)
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        info = tarfile.TarInfo("etc/x")
        info.size = 1 << 20
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    done = threading.Event()

    def feed() -> None:
        with open(path, "wb") as pipe:
            pipe.write(whole.getvalue()[:4096])
            pipe.flush()
            done.wait(60)

    writer = threading.Thread(target=feed)
    writer.start()
    yield path
    done.set()
    writer.join()


def test_an_image_that_is_not_read_within_the_deadline_is_told(
    endless: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "s.yaml"
    spec.write_text("nodespec: 1\nrequire: {os: {id: x}}\n", "utf-8")
    assert main(["check", str(spec), "--image", endless, "--deadline", "0.3"]) == 2
    assert f"--image {endless}: not read completely in 0.3 s; set a longer --deadline" in capsys.readouterr().err


def test_a_compressed_bomb_ends_at_the_deadline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    info = tarfile.TarInfo("etc/x")
    info.size = 1 << 33
    path = tmp_path / "bomb.tar.gz"
    zeros = gzip.compress(bytes(1 << 24))
    path.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT)) + zeros * 512)
    assert main(["check", "container-host", "--image", str(path), "--deadline", "0.2"]) == 2
    assert "not read completely in 0.2 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "image", "seconds"),
    [(None, "", 20.0), (None, "/x", 300.0), (5.0, "", 5.0), (5.0, "/x", 5.0), (0.0, "/x", 0.0)],
)
def test_the_default_deadline_depends_on_the_context(given: Optional[float], image: str, seconds: float) -> None:
    assert Target(image=image, deadline=given).limits.run_seconds == seconds
