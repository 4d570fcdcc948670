from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tarfile
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_images import Put, folder, tar, written

from nodespec.formats import tar_sparse
from nodespec.formats.byte_source import ByteSource, DamagedError, File
from nodespec.formats.tar import Member, read_members
from nodespec.host.tree import Entry
from nodespec.images.archive import ArchiveTree
from nodespec.images.open import open_image
from nodespec.model.observation import Evidence, Unknown, Value

if TYPE_CHECKING:
    from pathlib import Path

GNU = shutil.which("tar")
gnu = pytest.mark.skipif(GNU is None, reason="no tar here")
LONG = "/".join("x" * 90 + str(number) for number in range(12))


class Held(ByteSource):
    """Bytes in memory."""

    whole = False

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size]


def read(data: bytes) -> list[Member]:
    return list(read_members(Held(data)))


# every dialect


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_every_length(form: int) -> None:
    names = [LONG[: 40 * number] + "e" for number in range(1, 25) if form != tarfile.USTAR_FORMAT or number < 5]
    found = read(tar([Put(name, name.encode()) for name in names], form))
    assert [member.name.decode() for member in found] == names
    assert [member.size for member in found] == list(map(len, names))


def test_numbers_beyond_octal() -> None:
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        put = Put("x", uid=3_000_000_000, gid=2_097_152)
        assert [(one.uid, one.gid) for one in read(tar([put], form))] == [(3_000_000_000, 2_097_152)]


def header(name: bytes, size: bytes, kind: bytes, magic: bytes = b"", prefix: bytes = b"") -> bytes:
    """A header that no library would write."""
    block = name.ljust(100, b"\0") + b"0000755\0" + b"0000001\0" * 2 + size.rjust(11, b"0") + b" " + b"0" * 12
    block += b" " * 8 + kind + bytes(100) + magic.ljust(8, b"\0") + bytes(80) + prefix
    block = block.ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def test_before_ustar_a_slash_made_a_directory() -> None:
    found = read(header(b"etc/", b"0", b"\0") + header(b"etc/x", b"3", b"\0") + b"abc".ljust(512, b"\0") + bytes(1024))
    assert [(one.name, stat.S_IFMT(one.mode), one.size) for one in found] == [
        (b"etc/", stat.S_IFDIR, 0),
        (b"etc/x", stat.S_IFREG, 3),
    ]


def test_the_way_before_a_name_is_shorter_where_star_wrote() -> None:
    star = header(
        b"x", b"0", b"0", b"ustar\x0000", b"p" * 131 + b"12345678901 12345678901 ".ljust(32, b"\0") + b"tar\0"
    )
    ustar = header(b"x", b"0", b"0", b"ustar\x0000", b"p" * 155)
    other = header(b"x", b"0", b"0", b"ustar  ", b"p" * 155)
    assert [len(one.name) for one in read(star + ustar + other + bytes(1024))] == [133, 157, 1]


def test_links_and_devices_have_no_content_whatever_their_size() -> None:
    kinds = b"123456"
    found = read(b"".join(header(b"x", b"777", kinds[at : at + 1]) for at in range(6)) + bytes(1024))
    assert [(stat.S_IFMT(one.mode), one.size) for one in found] == [
        (0, 0),
        (stat.S_IFLNK, 0),
        (stat.S_IFCHR, 0),
        (stat.S_IFBLK, 0),
        (stat.S_IFDIR, 0),
        (stat.S_IFIFO, 0),
    ]


def test_what_is_no_file_is_passed_over() -> None:
    label = header(b"label", b"3", b"V") + b"abc".ljust(512, b"\0")
    assert [one.name for one in read(label + header(b"x", b"0", b"?") + bytes(1024))] == [b"x"]


def records(*pairs: tuple[str, str], kind: bytes = b"x") -> bytes:
    """A pax header."""
    data = b""
    for key, value in pairs:
        record = f" {key}={value}\n".encode()
        length = next(n for n in range(len(record), len(record) + 9) if n == len(record) + len(str(n)))
        data += str(length).encode() + record
    return header(b"pax", b"%o" % len(data), kind) + data + bytes(-len(data) % 512)


def test_what_pax_says_of_all_holds_until_a_member_says_otherwise() -> None:
    data = (
        records(("uid", "7"), kind=b"g") + header(b"a", b"0", b"0") + records(("uid", "8")) + header(b"b", b"0", b"0")
    )
    assert [one.uid for one in read(data + header(b"c", b"0", b"0") + bytes(1024))] == [7, 8, 7]


# sparse files, as GNU tar writes them


@gnu
@pytest.mark.parametrize("form", ["--format=gnu", "--format=posix", "--sparse-version=0.0", "--sparse-version=0.1"])
def test_a_sparse_file_has_its_holes(form: str, tmp_path: Path) -> None:
    etc = tmp_path / "root/etc"
    etc.mkdir(parents=True)
    contents = {"few": [3], "many": list(range(1, 90, 2)), "start": [0, 9], "none": []}
    for name, blocks in contents.items():
        with (etc / name).open("wb") as file:
            for block in blocks:
                file.seek(block * 16384)
                file.write(bytes([65 + block % 26]) * 5000)
            file.truncate(100 * 16384 + 77)
    (etc / "after").write_bytes(b"behind the holes")
    options = [form] if "version" not in form else ["--format=posix", form]
    assert GNU
    command = [GNU, "-C", str(tmp_path / "root"), "--sparse", *options, "-cf", str(tmp_path / "image.tar"), "."]
    subprocess.run(command, check=True)
    assert (tmp_path / "image.tar").stat().st_size < 1 << 20
    tree = open_image(str(tmp_path / "image.tar"))
    for name in (*contents, "after"):
        seen = tree.read(f"/etc/{name}")
        assert isinstance(seen, Value)
        assert seen.value == (etc / name).read_bytes(), name


def old_sparse(size: int, parts: list[tuple[int, int]], data: bytes) -> bytes:
    """A member in GNU's first way, with as many blocks of its map as it takes."""
    pairs = [b"%011o\0%011o\0" % part for part in parts]
    inline = b"".join(pairs[:4]).ljust(96, b"\0") + (b"\1" if pairs[4:] else b"\0") + b"%011o\0" % size
    block = bytearray(header(b"etc/sparse", b"%o" % len(data), b"S", b"ustar  "))
    block[386 : 386 + len(inline)] = inline
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    more = b""
    for at in range(4, len(pairs), 21):
        last = at + 21 >= len(pairs)
        more += b"".join(pairs[at : at + 21]).ljust(504, b"\0") + (b"\0" if last else b"\1") + bytes(7)
    return bytes(block) + more + data + bytes(-len(data) % 512)


def test_a_map_that_cannot_be_so_makes_only_its_file_unknown() -> None:
    after = tar([Put("etc/after", b"here")])
    bad = [
        old_sparse(10, [(0, 2), (1, 2)], b"abcd"),  # one part over another
        old_sparse(3, [(0, 4)], b"abcd"),  # behind the end
        old_sparse(10, [(0, 3)], b"abcd"),  # less than is stored
        old_sparse(1 << 40, [(0, 4)], b"abcd"),
        old_sparse(10, [(0, 0)] * (tar_sparse.MAX_SEGMENTS + 30), b""),
    ]
    for data in bad:
        tree = ArchiveTree("image", [Held(data + after)], layered=False)
        seen = tree.read("/etc/sparse", 1 << 50)
        assert seen == Unknown("failed", "/etc/sparse: a sparse file with too many parts")
        assert tree.read("/etc/after") == Value(b"here", Evidence("/etc/after"))
    tree = ArchiveTree("image", [Held(old_sparse(10, [(1, 2), (5, 2)], b"abcd") + after)], layered=False)
    assert tree.read("/etc/sparse") == Value(b"\0ab\0\0cd\0\0\0", Evidence("/etc/sparse"))


# what is wrong with an archive


@pytest.mark.parametrize(
    ("data", "say"),
    [
        (header(b"x", b"9z", b"0"), "a header has an invalid number"),
        (header(b"x", b"9", b"0"), "invalid literal for int"),
        (header(b"x", b"7777777777", b"x"), "an extended header has 1073741823 bytes, which is too many"),
        (header(b"x", b"77", b"x") + b"a" * 20, "truncated extended header"),
        (header(b"x", b"1000", b"x") + b"a" * 512, "an extended header has an invalid record"),
        (records(("size", "1_0")) + header(b"x", b"0", b"0"), "an extended header has an invalid number"),
        (records(("size", "9" * 19)) + header(b"x", b"0", b"0"), "a header has a number that is too large"),
        (records(("uid", "4294967296")) + header(b"x", b"0", b"0"), "uid 4294967296"),
        (records(("GNU.sparse.major", "1")) + header(b"x", b"0", b"0"), "GNU.sparse.size"),
        (
            records(("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "9"))
            + header(b"x", b"777777777", b"0")
            + b"9\n",
            "truncated map of a sparse file",
        ),
        (old_sparse(10, [(0, 0)] * 40, b"")[:600], "index out of range"),
        (header(b"x", b"0", b"0"), "the archive is truncated: no end after 512 bytes"),
        (header(b"x", b"1", b"0"), "the archive is truncated before byte 513"),
    ],
)
def test_what_cannot_be_read_is_damaged(data: bytes, say: str) -> None:
    with pytest.raises(DamagedError, match=say):
        read(data)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_archive_breaks_the_reader(data: st.DataObject) -> None:
    puts = [folder("etc"), Put("etc/x", b"1" * 700), Put(LONG, b"2"), Put("y", uid=1 << 31)]
    whole = bytearray(tar(puts, data.draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))))
    whole += old_sparse(9, [(0, 4)], b"abcd") + bytes(1024)
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=4)):
        whole[at] = byte
        start = at - at % 512
        if data.draw(st.booleans()):  # with a sum that is right
            whole[start + 148 : start + 156] = b" " * 8
            whole[start + 148 : start + 156] = b"%06o\0 " % sum(whole[start : start + 512])
    try:
        tree = ArchiveTree("image", [Held(bytes(whole))], layered=False)
    except DamagedError:
        return
    for path in ("/etc/x", f"/{LONG}", "/y", "/etc/sparse"):
        seen = tree.read(path)
        assert not isinstance(seen, Unknown) or seen.reason == "failed"


NAMES = st.lists(
    st.sampled_from(["a", "b", "..", ".", "", "\n", "\udcff", "ü", "x" * 101]), min_size=1, max_size=4
).map("/".join)
PUTS = st.builds(
    Put,
    NAMES.filter(lambda name: name.strip("/")),
    st.binary(max_size=600),
    st.sampled_from([tarfile.REGTYPE, tarfile.CONTTYPE]),
    st.just(""),
    st.integers(0, 0o7777),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, (1 << 32) - 1),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PUTS, max_size=6), st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_python_reads_the_same(puts: list[Put], form: int) -> None:
    data = tar(puts, form)
    with tarfile.open(fileobj=BytesIO(data)) as theirs:
        expected = [
            (info.name, info.mode, info.uid, info.gid, file.read() if file else b"")
            for info in theirs
            for file in [theirs.extractfile(info)]
        ]
    ours = [
        (os.fsdecode(one.name).rstrip("/"), one.mode & 0o7777, one.uid, one.gid, data[one.data :][: one.size])
        for one in read(data)
    ]
    assert ours == [(name.rstrip("/"), *rest) for name, *rest in expected]


# what names may take


def test_more_names_than_memory_may_hold_are_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodespec.images.inodes.MAX_WEIGHT_BYTES", 10_000)
    ArchiveTree("image", [Held(tar(Put(f"etc/{number}") for number in range(50)))], layered=False)
    with pytest.raises(DamagedError, match=r"the archive has too many names: \d+ and more"):
        ArchiveTree("image", [Held(tar(Put(f"etc/{number}") for number in range(70)))], layered=False)
    with pytest.raises(DamagedError, match="too many names"):
        ArchiveTree("image", [Held(tar([Put("/".join("ab" * 30))] * 30))], layered=False)
    links = [Put(f"{number}", type=tarfile.SYMTYPE, link="x" * 300) for number in range(30)]
    with pytest.raises(DamagedError, match="too many names"):
        ArchiveTree("image", [Held(tar(links))], layered=False)


def test_a_file_whose_end_was_cut_since_is_unknown(tmp_path: Path) -> None:
    path = written(tmp_path / "image.tar", tar([Put("etc/x", b"1" * 5000)]))
    tree = ArchiveTree("image", [File(os.open(path, os.O_RDONLY))], layered=False)
    os.truncate(path, 600)
    assert tree.read("/etc/x") == Unknown("failed", "/etc/x: the archive was truncated after it was opened")
    assert tree.entry("/etc/x") == Value(Entry("file", 0o644, 0, 0, 5000), Evidence("/etc/x"))
