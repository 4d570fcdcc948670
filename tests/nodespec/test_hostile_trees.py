"""Trees that want to be left, to flood or to stall who reads them: as a directory, and as an archive."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_images import Put, folder, hard, link, tar, written, zstd

from nodespec.errors import UsageError
from nodespec.escape import escape_line
from nodespec.formats import decompress
from nodespec.host import directory
from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
from nodespec.host.tree import MAX_FILE_BYTES, MAX_LINKS, Entry, Tree
from nodespec.images import archive, inodes
from nodespec.images.open import open_image
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

SECRET = b"what stands outside"
Plant = Callable[..., Tree]


@pytest.fixture(params=["directory", "tar", "root"])
def plant(request: pytest.FixtureRequest, tmp_path: Path) -> Plant:
    """Makes a tree of files and links, by each door, beside a file that it must not reach."""
    (tmp_path / "outside").write_bytes(SECRET)
    root = tmp_path / "root"

    def make(files: Mapping[str, bytes], links: Mapping[str, str]) -> Tree:
        for path in (*files, *links, "etc/x"):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
        for path, data in files.items():
            (root / path).write_bytes(data)
        for path, target in links.items():
            (root / path).symlink_to(target)
        if request.param == "root":
            return Machine(str(root))
        if request.param == "directory":
            return open_image(str(root))
        with tarfile.open(tmp_path / "image.tar", "w") as made:
            made.add(root, ".")
        return open_image(str(tmp_path / "image.tar"))

    return make


def absent(seen: Observation[bytes]) -> bool:
    return isinstance(seen, Absent)


# links


def test_an_absolute_link_begins_at_the_root_of_the_tree(plant: Plant, tmp_path: Path) -> None:
    host = plant(
        {"etc/passwd": b"the tree's own", "usr/lib/os-release": b"ID=x"},
        {"etc/out": f"{tmp_path}/outside", "etc/own": "/etc/passwd", "etc/os-release": "/../usr/lib/os-release"},
    )
    assert absent(host.read("/etc/out"))
    assert host.read("/etc/own") == Value(b"the tree's own", Evidence("/etc/own"))
    assert host.read("/etc/os-release") == Value(b"ID=x", Evidence("/etc/os-release"))
    assert host.link("/etc/out") == Value(f"{tmp_path}/outside", Evidence("/etc/out"))


def test_no_chain_of_dots_leads_out(plant: Plant) -> None:
    dots = "../" * 60
    host = plant(
        {"outside": b"the tree's own", "a/b/c": b""},
        {
            "etc/out": f"{dots}outside",
            "etc/up": "..",
            "etc/folder": f"/{dots}a/../{dots}",
            "a/b/back": "../../etc/up/a",
        },
    )
    for path in ("/etc/out", "/etc/up/outside", "/etc/folder/outside", f"/{dots}outside", "/etc/up/../../outside"):
        assert host.read(path) == Value(b"the tree's own", Evidence(path))
    assert host.read("/a/b/back/b/c") == Value(b"", Evidence("/a/b/back/b/c"))


def test_links_in_a_loop_end(plant: Plant) -> None:
    loops = {
        "etc/self": "self",
        "etc/one": "two",
        "etc/two": "/etc/one",
        "etc/deep": "deep/deep",
        "etc/here": "./here/x",
    }
    host = plant({}, loops)
    for path in (*loops, "etc/one/below"):
        assert host.read(f"/{path}") == Unknown("failed", f"/{path}: too many links")
        assert host.names(f"/{path}") == Unknown("failed", f"/{path}: too many links")


def test_links_are_followed_as_far_as_the_kernel_does(plant: Plant) -> None:
    chain = {f"etc/{number}": str(number + 1) for number in range(MAX_LINKS + 1)}
    host = plant({f"etc/{MAX_LINKS + 1}": b"there"}, chain)
    assert host.read("/etc/1") == Value(b"there", Evidence("/etc/1"))
    assert host.read("/etc/0") == Unknown("failed", "/etc/0: too many links")


def test_links_that_grow_on_the_way_end(plant: Plant) -> None:
    long = "/".join(["a"] * 300)
    host = plant({}, {"etc/long": long, **{f"etc/{number}": f"{number + 1}/{number + 1}" for number in range(40)}})
    assert host.read("/etc/long") == Unknown("failed", "/etc/long: too many links")
    assert isinstance(host.read("/etc/0"), (Absent, Unknown))


def test_links_through_proc_lead_nowhere(plant: Plant, tmp_path: Path) -> None:
    ways = [f"/proc/self/root{tmp_path}/outside", "/proc/self/cwd/outside", "/proc/1/root/etc/passwd", "/dev/fd/0"]
    host = plant({"proc/self/stat": b""}, {f"etc/{number}": way for number, way in enumerate(ways)})
    assert [absent(host.read(f"/etc/{number}")) for number in range(len(ways))] == [True] * len(ways)


def test_a_real_proc_within_the_tree_is_no_way_out(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(SECRET)
    with open(tmp_path / "outside", "rb") as file:
        for host in (DirectoryTree("/proc"), Machine("/proc")):
            assert host.link("/self/root") == Value("/", Evidence("/self/root"))
            names = host.names("/self/root")
            assert isinstance(names, Value)
            assert "meminfo" in names.value
            for way in (f"root{tmp_path}/outside", f"cwd{tmp_path}/outside", f"fd/{file.fileno()}", "exe"):
                assert isinstance(host.read(f"/self/{way}"), Absent)


PARTS = st.lists(st.sampled_from(["..", "a", "b", "etc", "OUT"]), min_size=1, max_size=6).map("/".join)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "etc/a", "etc/b", "etc/etc/a"]), PARTS), st.lists(PARTS, max_size=5))
def test_nothing_that_links_say_reads_what_is_outside(links: dict[str, str], paths: list[str]) -> None:
    with tempfile.TemporaryDirectory() as within:
        root = Path(within, "root")
        (root / "etc/etc").mkdir(parents=True)
        for name in ("a", "b", "etc", "OUT"):
            Path(within, name).write_bytes(SECRET)
        for path, target in links.items():
            (root / path).symlink_to(target.replace("OUT", within))
        with tarfile.open(f"{within}/image.tar", "w") as made:
            made.add(root, ".")
        for host in (open_image(str(root)), Machine(str(root)), open_image(f"{within}/image.tar")):
            for path in (*paths, *links):
                seen = host.read("/" + path.replace("OUT", within))
                assert not isinstance(seen, Value), path


# what stands in the place of a file


def test_a_fifo_is_not_opened(make_tree: MakeTree, tmp_path: Path) -> None:
    root = make_tree({"/etc/x": ""}, {"/etc/link": "fifo"})
    os.mkfifo(f"{root}/etc/fifo")
    with tarfile.open(tmp_path / "image.tar", "w") as made:
        made.add(root, ".", filter=lambda info: None if info.name.endswith(".tar") else info)
    for host in (open_image(root), Machine(root), open_image(str(tmp_path / "image.tar"))):
        for path in ("/etc/fifo", "/etc/link"):
            assert host.read(path) == Unknown("failed", f"{path}: not a regular file")
            assert absent(host.names(path).then(lambda _: b""))
            entry = host.entry(path)
            assert isinstance(entry, Value)
            assert entry.value.kind == "fifo"


def test_a_socket_is_not_opened(make_tree: MakeTree) -> None:
    root = make_tree({"/etc/x": ""})
    with socket.socket(socket.AF_UNIX) as listening:
        there = os.open(f"{root}/etc", os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{there}/socket")
        os.close(there)
        assert open_image(root).read("/etc/socket") == Unknown("failed", "/etc/socket: not a regular file")
        assert open_image(root).entry("/etc/socket").then(lambda entry: entry.kind) == Value(
            "socket", Evidence("/etc/socket")
        )


@pytest.mark.root
def test_a_device_is_not_opened(make_tree: MakeTree) -> None:
    root = make_tree({"/etc/x": ""})
    os.mknod(f"{root}/etc/zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    os.mknod(f"{root}/etc/tape", stat.S_IFBLK | 0o666, os.makedev(250, 250))
    for host in (open_image(root), Machine(root)):
        for name in ("zero", "tape"):
            assert host.read(f"/etc/{name}") == Unknown("failed", f"/etc/{name}: not a regular file")
            assert host.entry(f"/etc/{name}").then(lambda entry: entry.kind) == Value(
                "device", Evidence(f"/etc/{name}")
            )


def test_a_device_in_an_archive_is_one_and_has_no_content(tmp_path: Path) -> None:
    kinds = {"zero": tarfile.CHRTYPE, "tape": tarfile.BLKTYPE, "fifo": tarfile.FIFOTYPE}
    host = open_image(
        written(tmp_path / "image.tar", tar([Put(f"etc/{name}", type=kind) for name, kind in kinds.items()]))
    )
    for name, kind in {"zero": "device", "tape": "device", "fifo": "fifo"}.items():
        assert host.read(f"/etc/{name}") == Unknown("failed", f"/etc/{name}: not a regular file")
        assert host.entry(f"/etc/{name}") == Value(Entry(kind, 0o644, 0, 0, 0), Evidence(f"/etc/{name}"))


def test_a_device_or_directory_given_as_an_archive_is_a_mistake() -> None:
    for path, say in (("/dev/null", "not a directory, tar or container image"), ("/dev/zero", "it contains nothing")):
        with pytest.raises(UsageError, match=say):
            open_image(path)


# too much of it


def test_a_sparse_terabyte_is_not_read(make_tree: MakeTree, tmp_path: Path) -> None:
    root = make_tree({"/etc/large": ""})
    os.truncate(f"{root}/etc/large", 1 << 40)
    info = tarfile.TarInfo("etc/large")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 40)}
    content = f"1\n{1 << 40}\n0\n".encode().ljust(512, b"\0")
    info.size = len(content)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as made:
        made.addfile(info, io.BytesIO(content))
    for host in (open_image(root), Machine(root), open_image(written(tmp_path / "image.tar", data.getvalue()))):
        assert host.read("/etc/large") == Unknown("failed", f"/etc/large: longer than {MAX_FILE_BYTES} bytes")
        entry = host.entry("/etc/large")
        assert isinstance(entry, Value)
        assert entry.value.size == 1 << 40


def test_a_terabyte_of_an_archive_is_passed_over(tmp_path: Path) -> None:
    """As a file that has holes itself: its one member says 1 TB, and they are there."""
    path, block = tmp_path / "image.tar", tar([Put("etc/large")])[:512]
    changed = block[:124] + b"\x80" + (1 << 40).to_bytes(11, "big") + block[136:148] + b" " * 8 + block[156:]
    head = changed[:148] + b"%06o\0 " % sum(changed) + changed[156:]
    with path.open("wb") as file:
        file.write(head)
        file.seek((1 << 40) + 512)
        file.write(tar([Put("etc/after", b"x")]))
    host = open_image(str(path))
    assert host.read("/etc/large") == Unknown("failed", f"/etc/large: longer than {MAX_FILE_BYTES} bytes")
    assert host.read("/etc/after") == Value(b"x", Evidence("/etc/after"))


def test_a_directory_of_too_many_names_is_unknown(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MAX_NAMES", 100)
    monkeypatch.setattr(archive, "MAX_NAMES", 100)
    host = plant({f"etc/{number}": b"" for number in range(101)}, {})
    assert host.names("/etc") == Unknown("failed", "/etc: more than 100 entries")
    assert host.read("/etc/50") == Value(b"", Evidence("/etc/50"))


MANY = """
from nodespec.images.open import open_image
tree = open_image("-")
print(tree.read("/var/009/099/file-0999999"), tree.names("/var/000/000"))
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def many(count: int) -> int:
    """The memory, in KiB, that it takes to read so many members from a pipe."""
    block = bytearray(tar([Put("var/000/000/file-0000000")])[:512])
    with subprocess.Popen([sys.executable, "-c", MANY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(tar([folder("etc")])[:512])
        for number in range(count):
            block[:24] = b"var/%03d/%03d/file-%07d" % (number // 100_000, number // 1000 % 100, number)
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
            child.stdin.write(block)
        child.stdin.write(bytes(1024))
        child.stdin.close()
        seen, memory = child.stdout.read().decode().splitlines()
    last = "Value(b''" if count == 1_000_000 else "Absent("
    assert seen.startswith(last)
    assert "'file-0000999'" in seen
    return int(memory)


def test_thousands_of_members_take_little_memory() -> None:
    assert many(20_000) < 40 << 10


@pytest.mark.root
def test_a_million_members_take_no_more_memory_than_they_may() -> None:
    assert many(1_000_000) <= 256 << 10


def test_a_bomb_is_not_unpacked_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompress, "MAX_DECOMPRESSED_BYTES", 1 << 20)
    for pack in (gzip.compress, lzma.compress):
        with pytest.raises(UsageError, match="the decompressed data are longer than 0 GiB"):
            open_image(written(tmp_path / "image", pack(tar([Put("etc/x", bytes(2 << 20))]))))


def test_a_dictionary_that_wants_all_memory_is_refused(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    data = bytearray(lzma.compress(tar([Put("etc/x")]), filters=filters))
    at = data.index(b"\x21\x01") + 2  # the filter, the length of what it wants, and that: the dictionary's size
    data[at] = 40  # 4 GiB
    header = bytes(data[12 : 12 + (data[12] + 1) * 4 - 4])
    data[12 + len(header) : 16 + len(header)] = zlib.crc32(header).to_bytes(4, "little")
    with pytest.raises(UsageError, match="the compressed data are damaged: Memory usage limit exceeded"):
        open_image(written(tmp_path / "image", bytes(data)))


def test_a_zstd_window_that_wants_all_memory_is_refused(tmp_path: Path) -> None:
    zstd(b"")  # skips where nothing reads it
    frame = b"\x28\xb5\x2f\xfd\x00" + bytes([(30 - 10) << 3]) + b"\x01\x00\x00"  # a window of 1 GiB, an empty block
    with pytest.raises(UsageError, match="the compressed data are damaged"):
        open_image(written(tmp_path / "image", frame))


# members of an archive


def image(tmp_path: Path, *puts: Put) -> Tree:
    return open_image(written(tmp_path / "image.tar", tar([folder("etc"), *puts])))


@pytest.mark.parametrize(
    "name", ["/etc/x", "//etc//x", "./etc/./x", "../../../etc/x", "a/../../etc/x", "/../etc/x", "etc/a/../x"]
)
def test_a_member_stands_within_whatever_it_is_called(name: str, tmp_path: Path) -> None:
    host = image(tmp_path, Put(name, b"within"))
    assert host.read("/etc/x") == Value(b"within", Evidence("/etc/x"))
    assert host.names("/").then(len) == Value(1, Evidence("/"))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../../../etc/passwd", "etc/none", "etc", "loop/x", "."])
def test_a_hard_link_out_of_the_tree_is_nothing(target: str, tmp_path: Path) -> None:
    host = image(tmp_path, link("loop", "loop"), Put("etc/x", b"before"), hard("etc/x", target))
    assert absent(host.read("/etc/x"))


def test_a_hard_link_to_a_link_is_that_link(tmp_path: Path) -> None:
    host = image(tmp_path, link("etc/link", "../../outside"), hard("etc/other", "etc/link"), Put("outside", b"own"))
    assert host.link("/etc/other") == Value("../../outside", Evidence("/etc/other"))
    assert host.read("/etc/other") == Value(b"own", Evidence("/etc/other"))


def test_members_below_a_link_are_put_where_it_leads_within(tmp_path: Path) -> None:
    host = image(tmp_path, link("etc/out", f"{'../' * 9}var/new"), Put("etc/out/x", b"within"), link("etc/l", "l"))
    assert host.read("/var/new/x") == Value(b"within", Evidence("/var/new/x"))
    assert absent(image(tmp_path, link("etc/l", "l"), Put("etc/l/x")).read("/etc/x"))


def test_the_last_of_two_members_holds(tmp_path: Path) -> None:
    host = image(
        tmp_path,
        Put("etc/a", b"1"),
        link("etc/a", "b"),
        Put("etc/a", b"2", mode=0o600),
        folder("etc/b"),
        Put("etc/b/c"),
        Put("etc/b", b"3"),
        Put("etc/d"),
        Put("etc/d/e", b"4"),
    )
    assert [host.read(path) for path in ("/etc/a", "/etc/b", "/etc/d/e")] == [
        Value(b"2", Evidence("/etc/a")),
        Value(b"3", Evidence("/etc/b")),
        Value(b"4", Evidence("/etc/d/e")),
    ]
    assert absent(host.read("/etc/b/c"))


def test_what_no_file_system_holds_is_left_out(tmp_path: Path) -> None:
    long, deep = "x" * (inodes.MAX_NAME_BYTES + 1), "/".join(["x"] * inodes.MAX_PATH_BYTES)
    host = image(tmp_path, Put(f"etc/{long}"), Put(f"etc/{deep}"), link("etc/empty", ""), Put(".."), Put("/", b"x"))
    assert host.names("/etc") == Value((), Evidence("/etc"))
    assert host.names("/") == Value(("etc",), Evidence("/"))


# names


ODD = ["new\nline", "\x1b[2J\x1b]0;title\x07", "\u202egpj.exe", "-rf", "a\\x41", " ", "\udcff\udcfe"]


def test_odd_names_are_names_and_are_shown_harmless(plant: Plant) -> None:
    host = plant({f"etc/{name}": b"there" for name in ODD}, {"etc/link": "new\nline"})
    names = host.names("/etc")
    assert isinstance(names, Value)
    assert names.value == tuple(sorted(["link", *ODD[:-1], "\\xff\\xfe"]))
    for name in [*ODD, "link"]:
        assert host.read(f"/etc/{name}") == Value(b"there", Evidence(f"/etc/{name}"))
    shown = [escape_line(name) for name in names.value]
    assert all(name.isprintable() for name in shown)
    assert "new\\nline" in shown


def test_a_path_that_cannot_be_one_is_absent(plant: Plant) -> None:
    host = plant({"etc/x": b""}, {})
    for path in ("/etc/x\0", "/etc/\ud800", "/etc/x/y", "/etc/x/..", "/etc/x/../x"):
        assert absent(host.read(path)), path
