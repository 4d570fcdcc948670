"""Mounts by what holds a path: mountinfo of process 1, the helper process, and fstab at rest."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Dict, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks import _mounts_abilities
from nodespec.checks._mounts_fstab import resolve_options
from nodespec.checks._mounts_table import MountTable
from nodespec.checks.mounts import mounts
from nodespec.facts.declaration import Record
from nodespec.facts.value_types import Datum
from nodespec.host import path_helper
from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
from nodespec.host.path_helper import FilesystemAnswer, PathHelper, make_read_request
from nodespec.model.observation import Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

HERE = os.stat("/").st_dev
ROOT = f"22 1 {os.major(HERE)}:{os.minor(HERE)} / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
MOUNTINFO = (
    ROOT
    + "23 22 0:99 / /var/lib/kubelet rw,nosuid master:2 - xfs /dev/vdb rw,attr2\n"
    + "24 22 0:98 / /tm\\040x ro,noexec shared:3 master:4 - tmpfs t rw,size=1k\n"
    + "25 22 0:97 / /net rw - autofs systemd-1 rw\n"
    + "26 22 0:96 / /u rw unbindable - nfs4 s:/e rw\n"
)


def column(root: str, path: str, name: str) -> Observation[Datum]:
    row = mounts.probe(Machine(root)).observe(path)
    return cast("Record", row.value)[name] if isinstance(row, Value) else cast("Observation[Datum]", row)


def host(make_tree: MakeTree, files: Dict[str, str], links: Dict[str, str]) -> str:
    return make_tree({"/proc/self/stat": "", "/proc/1/mountinfo": MOUNTINFO, **files}, links)


def test_a_path_is_answered_by_the_mount_that_holds_it(make_tree: MakeTree) -> None:
    root = host(make_tree, {"/var/lib/kubelet/pods/x": "", "/tm x/f": ""}, {"/link": "/var/lib/kubelet/pods"})
    at = Evidence("/proc/1/mountinfo", 2)
    for path in ("/var/lib/kubelet", "/var/lib/kubelet/pods", "/link", "/link/x", "/var/lib/kubelet/not/there"):
        assert column(root, path, "point") == Value("/var/lib/kubelet", at), path
    assert column(root, "/var/lib", "point") == Value("/", at._replace(line=1))
    assert column(root, "/var/lib/kubelet", "options") == Value(frozenset({"rw", "nosuid", "attr2"}), at)
    assert column(root, "/tm x/f", "options") == Value(frozenset({"ro", "noexec", "size=1k"}), at._replace(line=3))


@pytest.mark.parametrize(
    ("path", "propagation"),
    [("/", "shared"), ("/var/lib/kubelet", "slave"), ("/tm x", "shared"), ("/u", "unbindable"), ("/net", "private")],
)
def test_propagation_is_that_of_mountinfo(make_tree: MakeTree, path: str, propagation: str) -> None:
    root = host(make_tree, {"/u/x": "", "/net/x": "", "/var/lib/kubelet/x": "", "/tm x/x": ""}, {})
    seen = column(root, path, "propagation")
    assert isinstance(seen, Value)
    assert seen.value == propagation


def test_an_automount_is_not_crossed(make_tree: MakeTree) -> None:
    root = host(make_tree, {"/net/host/f": ""}, {"/data": "/net/host"})
    assert column(root, "/net", "type") == Value("autofs", Evidence("/proc/1/mountinfo", 4))
    for path in ("/net/host", "/data/f"):
        seen = column(root, path, "type")
        assert isinstance(seen, Unknown)
        assert seen.reason == "refused"
    size = column(root, "/net", "size")
    assert isinstance(size, Unknown)


def test_sizes_of_another_file_system_than_that_of_process_1_are_hidden(make_tree: MakeTree) -> None:
    root = host(make_tree, {"/u/x": ""}, {})
    sizes = column(root, "/u", "size"), column(root, "/", "size")
    assert isinstance(sizes[0], Unknown)
    assert sizes[0].reason == "hidden"


def test_unreadable_and_malformed_mountinfo_is_unknown(make_tree: MakeTree) -> None:
    for text in ("", "x\n", "22 1 8:1 / / rw\n"):
        root = make_tree({"/proc/self/stat": "", "/proc/1/mountinfo": text})
        seen = column(root, "/", "type")
        assert isinstance(seen, Unknown)
        assert seen.reason == "malformed"


def test_ten_thousand_mounts_are_linear() -> None:
    lines = [f"{number} 22 0:{number} / /run/x/{number} rw - tmpfs t rw\n" for number in range(100, 10_100)]
    begin = time.process_time()
    table = MountTable(ROOT + "".join(lines), "/proc/1/mountinfo")
    assert len([*table.points]) == 10_001
    assert len(table.automounts) == 0
    assert time.process_time() - begin < 5


@settings(max_examples=50, deadline=None)
@given(st.text("ab\t \n\\#é", min_size=1, max_size=6))
def test_octal_escapes_of_mountinfo_are_decoded(name: str) -> None:
    escaped = "".join(f"\\{ord(c):03o}" if c in "\t \n\\#" else c for c in name)
    table = MountTable(ROOT + f"23 22 0:9 / /{escaped} rw - tmpfs {escaped} rw\n", "m")
    mount = table.find("/" + name)
    assert mount is not None
    assert mount.line == 2
    assert table.read_fields(mount)[0] == name


def test_a_helper_that_is_stopped_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    helper = PathHelper("/", frozenset())
    assert isinstance(helper.ask("/"), FilesystemAnswer)
    monkeypatch.setattr(path_helper, "_answer", lambda *_: time.sleep(60))
    begin = time.monotonic()
    for number in range(5):
        helper.give_up() if number == 0 else None
        answer = helper.ask("/", 0.05)
        assert isinstance(answer, OSError)
    assert time.monotonic() - begin < 3
    assert helper.lost == 3


def test_a_helper_that_was_killed_is_an_error_and_then_replaced() -> None:
    helper = PathHelper("/", frozenset())
    helper.ask("/")
    assert helper._pipes is not None  # noqa: SLF001 - the child's number
    os.kill(helper._pipes[0], signal.SIGKILL)  # noqa: SLF001 - likewise
    assert isinstance(helper.ask("/"), OSError)
    answer = helper.ask("/")
    assert isinstance(answer, FilesystemAnswer)
    sizes = os.statvfs("/")
    assert (answer.path, answer.blocks, answer.block_bytes) == ("/", sizes.f_blocks, sizes.f_frsize)
    helper.give_up()


def test_the_helper_follows_links_below_its_root_only(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "out").symlink_to("../../../../../../a")
    (tmp_path / "loop").symlink_to("loop")
    helper = PathHelper(str(tmp_path), frozenset())
    answer, loop = helper.ask("/out"), helper.ask("/loop")
    helper.give_up()
    assert isinstance(answer, FilesystemAnswer)
    assert answer.path == "/a"
    assert isinstance(loop, OSError)


@pytest.mark.parametrize(
    ("machine", "number"),
    # linux/fs/xfs/libxfs/xfs_fs.h: _IOR('X', 100, struct xfs_fsop_geom_v1), of 112 bytes
    [
        ("x86_64", 0x80705864),
        ("aarch64", 0x80705864),
        ("ppc64le", 0x40705864),
        ("mips64", 0x40705864),
        ("s390x", 0x80705864),
    ],
)
def test_the_number_of_the_geometry_request(machine: str, number: int) -> None:
    assert make_read_request(machine, "X", 100, 112) == number


@pytest.mark.parametrize(
    ("kind", "release", "seen"),
    [
        ("ext4", "5.11.0", False),
        ("ext4", "5.12.0-1-amd64", True),
        ("tmpfs", "6.2.9", False),
        ("tmpfs", "6.3", True),
        ("ext4", "5.4.17-2136.el8uek.x86_64", None),
        ("zfs", "6.12", None),
        ("nfs4", "6.12", False),
    ],
)
def test_idmapped_mounts_by_type_and_kernel(kind: str, release: str, seen: object) -> None:
    observation = _mounts_abilities.has_idmapped_mounts(kind, release, Evidence("m", 1))
    assert (observation.value if isinstance(observation, Value) else None) is seen


FSTAB = (
    "UUID=1 / ext4 errors=remount-ro 0 1\n"
    "/dev/vdb /var/lib xfs defaults,noatime,x-systemd.growfs 0 2\n"
    "/dev/vdc /mnt ext4 noauto\n"
)


def rest(root: str, path: str, name: str) -> Observation[Datum]:
    assert mounts.resting is not None
    row = mounts.resting(DirectoryTree(root)).observe(path)
    return cast("Record", row.value)[name] if isinstance(row, Value) else cast("Observation[Datum]", row)


def test_at_rest_fstab_decides(make_tree: MakeTree) -> None:
    root = make_tree({"/etc/fstab": FSTAB})
    at = Evidence("/etc/fstab", 2)
    assert rest(root, "/var/lib/kubelet", "type") == Value("xfs", at)
    assert rest(root, "/var/lib/kubelet", "options") == Value(frozenset({"rw", "noatime"}), at)
    assert rest(root, "/mnt/x", "point") == Value("/", at._replace(line=1))
    size = rest(root, "/", "size")
    assert isinstance(size, Unknown)
    assert size.reason == "deferred"


def test_at_rest_without_an_entry_for_the_root_is_deferred(make_tree: MakeTree) -> None:
    root = make_tree({"/etc/hostname": ""})
    seen = rest(root, "/var", "type")
    assert isinstance(seen, Unknown)
    assert seen.reason == "deferred"


def test_at_rest_a_mount_unit_that_a_boot_starts_counts(make_tree: MakeTree) -> None:
    lines = ("DefaultDependencies=no", "[Mount]", "What=tmpfs", "Where=/tmp", "Type=tmpfs")
    unit = "\n".join(("[Unit]", *lines, "Options=mode=1777,nosuid,size=50%%\n"))
    files = {
        "/etc/fstab": FSTAB,
        "/usr/lib/systemd/systemd": "",
        "/usr/lib/systemd/system/tmp.mount": unit,
        "/usr/lib/systemd/system/default.target": "[Unit]\nRequires=local-fs.target\n",
        "/usr/lib/systemd/system/local-fs.target": "[Unit]\n",
    }
    started = make_tree(
        files,
        {
            "/sbin/init": "/usr/lib/systemd/systemd",
            "/etc/systemd/system/local-fs.target.wants/tmp.mount": "/usr/lib/systemd/system/tmp.mount",
        },
    )
    seen = rest(started, "/tmp", "options")  # noqa: S108 - the mount point of the unit
    assert isinstance(seen, Value)
    assert seen.value == frozenset({"mode=1777", "nosuid", "rw", "relatime", "size=50%"})
    Path(started, "usr/lib/systemd/system/tmp.mount").write_text(unit.replace("What=tmpfs", "What=/dev/%i"))
    source = rest(started, "/tmp", "source")  # noqa: S108 - likewise
    assert isinstance(source, Unknown)
    assert "has a specifier of systemd: /dev/%i" in source.say


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("", "rw relatime"),
        ("defaults,nofail,x-systemd.automount,_netdev", "rw relatime"),
        ("nosuid,suid,nodev", "rw relatime nodev"),
        ("user,exec", "rw relatime nosuid nodev"),
        ("noatime,relatime", "rw noatime"),
        ("noatime,strictatime", "rw"),
        ("rw,ro,errors=remount-ro", "ro relatime errors=remount-ro"),
    ],
)
def test_options_at_rest_are_those_that_the_kernel_shows(written: str, shown: str) -> None:
    assert resolve_options(filter(None, written.split(","))) == frozenset(shown.split())


def test_a_child_ends_with_what_asked_it() -> None:
    helper = PathHelper("/", frozenset())
    assert not isinstance(helper.ask("/"), OSError)
    assert helper._pipes  # noqa: SLF001 - which child it is
    child = helper._pipes[0]  # noqa: SLF001
    del helper
    with suppress(ChildProcessError):  # reaped when it was given up
        os.waitpid(child, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
