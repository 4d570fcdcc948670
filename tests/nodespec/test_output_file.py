"""Output files: written whole or not at all, never through what somebody else placed, and with the access they had."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import re
import resource
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator, List, Sequence, Set, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_bundles import build_bundles_once
from unhurried import PROGRAM

from nodespec.__main__ import main
from nodespec.output.access import narrow_mode
from nodespec.output.file import FileAccess, write_file
from nodespec.output.path import resolve_destination

ROOT = Path(__file__).parents[2]
GOOD = "nodespec: 1\nrequire: {memory: {total: '>=1Mi'}}\n"
BAD = "nodespec: 1\nrequire: {memory: {total: '>=1000Ti'}}\n"


@pytest.fixture(scope="module", autouse=True)
def _one_build() -> Iterator[None]:
    with build_bundles_once():
        yield


@pytest.fixture
def spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("spec") / "good.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return str(path)


def check(spec: str, target: object, *more: str) -> int:
    return main(["check", spec, "-o", f"json={target}", *more])


def conclusion(path: Path) -> object:
    return json.loads(path.read_text(encoding="utf-8"))["reports"][0]["conclusion"]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# regular files


def test_a_file_that_cannot_be_written_whole_stays_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "r"
    target.write_text("before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            write_file(str(target), (b"x" * 100_000,))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert target.read_text() == "before"
    assert os.listdir(tmp_path) == ["r"]


def test_a_file_is_replaced_and_never_seen_in_between(tmp_path: Path) -> None:
    target = tmp_path / "r"
    target.write_text("before")

    def pieces() -> Iterator[bytes]:
        for piece in (b"af", b"ter"):
            assert target.read_text() == "before"
            yield piece

    write_file(str(target), pieces())
    assert target.read_text() == "after"
    assert os.listdir(tmp_path) == ["r"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ZeroDivisionError])
def test_an_interrupted_write_leaves_nothing_behind(tmp_path: Path, error: type[BaseException]) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise error

    with pytest.raises(error):
        write_file(str(tmp_path / "r"), pieces())
    assert os.listdir(tmp_path) == []


def test_a_link_planted_under_a_temporary_name_is_not_followed(spec: str, tmp_path: Path) -> None:
    victim, target = tmp_path / "victim", tmp_path / "r.json"
    victim.write_text("precious")
    (tmp_path / f"r.json.{os.getpid()}.tmp").symlink_to(victim)
    assert check(spec, target) == 0
    assert main(["facts", "memory", "-o", str(target)]) == 0
    assert main(["bundle", spec, "-o", str(target)]) == 0
    assert victim.read_text() == "precious"
    assert mode(victim) == 0o666 & ~umask()


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600), (0, 0o666)])
def test_a_new_file_has_what_the_umask_leaves(spec: str, tmp_path: Path, mask: int, expected: int) -> None:
    before = os.umask(mask)
    try:
        assert check(spec, tmp_path / "r.json") == 0
        assert main(["facts", "memory", "-o", str(tmp_path / "f.json")]) == 0
    finally:
        os.umask(before)
    assert (mode(tmp_path / "r.json"), mode(tmp_path / "f.json")) == (expected, expected)


@pytest.mark.parametrize("kept", [0o600, 0o400, 0o640, 0o666, 0o604])
def test_a_replaced_file_keeps_its_mode(spec: str, tmp_path: Path, kept: int) -> None:
    target = tmp_path / "r.json"
    for argv in (["check", spec, "-o", f"json={target}"], ["facts", "memory", "-o", str(target)]):
        target.touch()
        target.chmod(kept)
        assert main(argv) == 0
        assert mode(target) == kept
        assert target.stat().st_size > 100


def test_a_bundle_can_be_run_by_those_who_can_read_it(spec: str, tmp_path: Path) -> None:
    for before, after in ((None, 0o755), (0o600, 0o700), (0o640, 0o750), (0o755, 0o755)):
        target = tmp_path / f"bundle-{before}"
        if before:
            target.touch()
            target.chmod(before)
        assert main(["bundle", spec, "-o", str(target)]) == 0
        assert mode(target) == after


def test_a_replaced_file_keeps_its_access_control_list(spec: str, tmp_path: Path) -> None:
    target = tmp_path / "r.json"
    target.touch()
    everyone = 0xFFFFFFFF.to_bytes(4, "little")
    entries = [
        (1, 6, everyone),
        (2, 4, (1).to_bytes(4, "little")),
        (4, 0, everyone),
        (16, 4, everyone),
        (32, 0, everyone),
    ]
    acl = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + rights.to_bytes(2, "little") + who for tag, rights, who in entries
    )
    try:
        os.setxattr(target, "system.posix_acl_access", acl)
    except OSError as error:
        pytest.skip(f"no access control lists here: {error}")
    assert check(spec, target) == 0
    assert os.getxattr(target, "system.posix_acl_access") == acl  # its owning group still has nothing
    assert main(["facts", "memory", "--reveal", "-o", str(target)]) == 0
    assert mode(target) == 0o600
    with pytest.raises(OSError, match="No data"):
        os.getxattr(target, "system.posix_acl_access")


def test_other_names_of_a_replaced_file_keep_the_earlier_content(spec: str, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("before")
    os.link(tmp_path / "one", tmp_path / "other")
    assert check(spec, tmp_path / "one") == 0
    assert (tmp_path / "other").read_text() == "before"


@pytest.mark.parametrize("length", [254, 255])
def test_the_longest_name_can_be_written(spec: str, tmp_path: Path, length: int) -> None:
    assert check(spec, tmp_path / ("r" * length)) == 0
    assert os.listdir(tmp_path) == ["r" * length]
    assert check(spec, tmp_path / ("r" * 256)) == 74


def test_two_writers_leave_one_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "r"
    program = (
        "import sys; from nodespec.output.file import write_file\n"
        "for _ in range(60): write_file(sys.argv[1], (sys.argv[2].encode() * 50_000 for _ in range(4)))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, target, letter], cwd=ROOT) for letter in "abc"]
    seen: Set[Tuple[int, int]] = set()
    while any(writer.poll() is None for writer in writers):
        if target.exists():
            content = target.read_bytes()
            seen.add((len(content), len(set(content))))
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert seen == {(200_000, 1)}
    assert os.listdir(tmp_path) == ["r"]


def anyone(owner: int, group: int) -> Iterator[Tuple[int, Set[int]]]:
    """People: a uid, and the groups that they are in."""
    groups: List[Set[int]] = [set(), {owner}, {group}, {owner, group}]
    return ((uid, members) for uid in (1, 2, 3) for members in groups)


def rights(mode_: int, owner: int, group: int, uid: int, groups: Set[int]) -> int:
    return mode_ >> 6 & 7 if uid == owner else mode_ >> 3 & 7 if group in groups else mode_ & 7


def test_nobody_gains_access_by_a_file_that_changes_its_owner_or_group() -> None:
    old, new = (1, 10), (2, 20)
    for before, owner, group in itertools.product(range(0o1000), (True, False), (True, False)):
        after = narrow_mode(before, owner=owner, group=group)
        now = old[0] if owner else new[0], old[1] if group else new[1]
        for uid, groups in anyone(old[1], new[1]):
            if uid != now[0]:
                gained = rights(after, *now, uid, groups) & ~rights(before, *old, uid, groups)
                assert not gained, (oct(before), owner, group, uid, groups)
        assert after == before or not (owner and group)


# links and open descriptors


def test_through_a_link_its_target_is_replaced(spec: str, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    target = tmp_path / "below/r.json"
    target.touch(0o600)
    (tmp_path / "relative").symlink_to("below/../below/./r.json")
    (tmp_path / "chain").symlink_to("relative")
    (tmp_path / "absolute").symlink_to(target)
    (tmp_path / "folder").symlink_to("below")
    (tmp_path / "dangling").symlink_to("below/new.json")
    inodes = {target.stat().st_ino}
    for name in ("relative", "chain", "absolute", "folder/r.json"):
        assert check(spec, tmp_path / name) == 0
        inodes.add(target.stat().st_ino)
        assert mode(target) == 0o600
    assert len(inodes) > 1  # it was replaced, not written over
    assert check(spec, tmp_path / "dangling") == 0
    assert conclusion(tmp_path / "below/new.json") == "conformant"
    assert all((tmp_path / name).is_symlink() for name in ("relative", "chain", "absolute", "folder", "dangling"))
    assert sorted(os.listdir(tmp_path / "below")) == ["new.json", "r.json"]


def test_forty_links_are_followed_as_the_kernel_does(spec: str, tmp_path: Path) -> None:
    (tmp_path / "0").touch()
    for number in range(1, 42):
        (tmp_path / str(number)).symlink_to(str(number - 1))
    assert [check(spec, tmp_path / name) for name in ("39", "40", "41")] == [0, 0, 74]
    with pytest.raises(OSError, match="Too many levels"):
        (tmp_path / "41").open()
    (tmp_path / "40").open().close()
    (tmp_path / "loop").symlink_to("loop")
    assert check(spec, tmp_path / "loop") == 74


TARGETS = st.sampled_from(
    ["a", "b", "c", "d", "folder", "folder/", "./a", "folder/../b", "..", ".", "folder/e", "{}/c"]
)


@given(st.lists(TARGETS, min_size=6, max_size=6))
def test_links_lead_where_the_kernel_says(targets: List[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        (top / "folder").mkdir()
        (top / "file").touch()
        for link, target in zip(("a", "b", "c", "d", "folder/e", "folder/f"), targets):
            (top / link).symlink_to("file" if target == "d" else target.format(name))
        for path in ("a", "b/", "c/.", "folder/e", "folder/f", "a/file", "b/folder/e", "c/../d", "folder/new", "new/x"):
            assert resolved(f"{name}/{path}") == opened(f"{name}/{path}"), (path, targets)


def resolved(path: str) -> object:
    try:
        folder, _, found = resolve_destination(path)
    except OSError as error:
        return error.errno
    os.close(folder)
    return errno.ENOENT if found is None else (found.st_dev, found.st_ino)


def opened(path: str) -> object:
    try:
        found = os.stat(path)
    except OSError as error:
        return error.errno
    return found.st_dev, found.st_ino


def ran(*argv: object, redirect: str = "") -> subprocess.CompletedProcess[str]:
    line = ["/bin/sh", "-c", f'"$@" {redirect}', "sh", *PROGRAM, *map(str, argv)]
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/fd/3"])
def test_an_open_descriptor_is_written_to_as_it_is(spec: str, tmp_path: Path, name: str) -> None:
    out, number = tmp_path / "out", name[-1] if name[-1].isdigit() else "1"
    out.write_text("before\n")
    done = ran("check", spec, "-o", f"json={name}", redirect=f"{number}>>{out}")
    assert done.returncode == 0, done.stderr
    first, rest = out.read_text().split("\n", 1)
    assert first == "before"
    assert json.loads(rest)["reports"]
    assert Path("/dev/stdout").is_symlink()
    assert os.listdir(tmp_path) == ["out"]
    done = ran("check", spec, "-o", f"json={name}", redirect=f"{number}>&1 | cat")
    assert json.loads(done.stdout)["reports"]


def test_text_and_standard_output_by_name_keep_their_order(spec: str, tmp_path: Path) -> None:
    done = ran("check", spec, "-o", "text", "-o", "json=/dev/stdout", redirect=f">{tmp_path}/out")
    assert done.returncode == 0
    text, brace, data = (tmp_path / "out").read_text().partition("{\n")
    assert text.startswith("CONFORMANT")
    assert json.loads(brace + data)["reports"]


# FIFOs and devices


def test_a_fifo_that_nobody_reads_ends_with_the_deadline(
    spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    begun = time.monotonic()
    assert check(spec, tmp_path / "pipe", "--deadline", "1.5") == 74
    assert main(["facts", "memory", "-o", str(tmp_path / "pipe"), "--deadline", "1.5"]) == 74
    assert 3 <= time.monotonic() - begun < 20
    said = f"nodespec: {tmp_path}/pipe: not written: no process reads this FIFO; start its reader"
    assert capsys.readouterr().err.count(said) == 2
    Path(spec).write_text(BAD, encoding="utf-8")
    assert check(spec, tmp_path / "pipe", "--deadline", "0.1") == 10


def test_a_fifo_whose_reader_stops_reading_ends_with_the_deadline(
    spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    fcntl.fcntl(reader, 1031, 4096)  # F_SETPIPE_SZ
    try:
        assert main(["check", spec, "-o", f"html={tmp_path}/pipe", "--deadline", "1"]) == 74
    finally:
        os.close(reader)
    assert "the reader stopped reading" in capsys.readouterr().err


def test_a_fifo_takes_all_that_its_reader_reads(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["/bin/sh", "-c", f"sleep 1; cat {tmp_path}/pipe >{tmp_path}/out"]) as reader:
        write_file(str(tmp_path / "pipe"), (b"x" * 100_000 for _ in range(10)), deadline=time.monotonic() + 20)
        assert reader.wait(20) == 0
    assert (tmp_path / "out").read_bytes() == b"x" * 1_000_000


def test_what_takes_nothing_is_no_success(spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(spec, "/dev/null") == 0
    for target, said in ((tmp_path, "directory"), ("/dev/full", "No space left"), (f"{tmp_path}/no/r", "No such file")):
        assert check(spec, target) == 74
        assert re.search(f"nodespec: {target}: not written: .*{said}", capsys.readouterr().err)
    assert main(["bundle", spec, "-o", "/dev/full"]) == 74
    assert main(["facts", "memory", "-o", "/dev/full"]) == 74
    assert os.listdir(tmp_path) == []


# secrets


@pytest.mark.parametrize("before", [None, 0o644, 0o666, 0o640, 0o600, 0o400, 0o200])
def test_secrets_are_for_the_owner_alone(tmp_path: Path, before: int | None) -> None:
    target = tmp_path / "f.json"
    if before:
        target.touch()
        target.chmod(before)
    mask = os.umask(0)
    try:
        assert main(["facts", "kernel.cmdline", "--reveal", "-o", str(target)]) == 0
    finally:
        os.umask(mask)
    assert mode(target) == (0o600 if before is None else before & 0o700)
    assert json.loads(target.read_text()) if mode(target) & 0o400 else True


def test_secrets_do_not_reach_a_file_that_others_can_read(tmp_path: Path) -> None:
    for before, code in ((0o644, 74), (0o620, 74), (0o600, 0)):
        (tmp_path / "out").write_text("")
        (tmp_path / "out").chmod(before)
        done = ran("facts", "memory", "--reveal", "-o", "/dev/stdout", redirect=f">{tmp_path}/out")
        assert done.returncode == code
        assert ((tmp_path / "out").stat().st_size > 0) == (code == 0)
    os.mkfifo(tmp_path / "pipe", 0o644)
    assert (tmp_path / "pipe").stat().st_mode & 0o044
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert main(["facts", "memory", "--reveal", "-o", str(tmp_path / "pipe")]) == 74
    assert os.read(reader, 10) == b""
    (tmp_path / "pipe").chmod(0o600)
    assert main(["facts", "memory", "--reveal", "-o", str(tmp_path / "pipe")]) == 0
    os.close(reader)
    done = ran("facts", "memory", "--reveal", "-o", "/dev/stdout", redirect="| cat")
    assert json.loads(done.stdout)["facts"]
    assert "/dev/stdout: 1 facts" in done.stderr


# other users, mounts, labels

NOBODY = 65534


def as_nobody(argv: Sequence[str], groups: Sequence[int] = ()) -> int:
    """The exit code of nodespec in a process of another user."""
    child = os.fork()
    if not child:
        code = 99
        try:
            os.setgroups(groups)
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            code = main([*argv])
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory like /tmp. Everybody may go there, unlike to those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        (Path(folder) / "shared").mkdir()
        (Path(folder) / "shared").chmod(0o1777)
        yield Path(folder) / "shared"


FOREIGN = 12345
OWNERS = [(0, 0), (0, NOBODY), (0, FOREIGN), (NOBODY, 0), (NOBODY, NOBODY), (NOBODY, FOREIGN)]


def allowed(user: int, owner: int, folder: Path) -> bool:
    """What https://docs.kernel.org/admin-guide/sysctl/fs.html#protected-symlinks says."""
    return folder.stat().st_mode & 0o1002 != 0o1002 or owner in (user, folder.stat().st_uid)


@pytest.mark.root
@pytest.mark.parametrize("permissions", [0o1777, 0o777, 0o1775])
@pytest.mark.parametrize(("user", "owner"), OWNERS)
def test_a_link_of_somebody_else_is_followed_where_the_kernel_would(
    shared: Path, user: int, owner: int, permissions: int
) -> None:
    for folder_owner in (0, FOREIGN):
        os.chown(shared, folder_owner, 0)
        shared.chmod(permissions)
        home = shared.parent / f"home-{folder_owner}"
        home.mkdir()
        os.chown(home, user, user)
        (home / "r.json").write_text("before")
        os.chown(home / "r.json", user, user)
        (shared / "link").unlink(missing_ok=True)
        (shared / "link").symlink_to(home / "r.json")
        (shared / "folder").unlink(missing_ok=True)
        (shared / "folder").symlink_to(home)
        for name in ("link", "folder"):
            os.chown(shared / name, owner, owner, follow_symlinks=False)
        for name in ("link", "folder/r.json"):
            (home / "r.json").write_text("before")
            argv = ["facts", "memory", "-o", str(shared / name)]
            code = as_nobody(argv) if user else main(argv)
            assert code == (0 if allowed(user, owner, shared) else 74), (folder_owner, name)
            assert ((home / "r.json").read_text() == "before") == bool(code)


@pytest.mark.root
@pytest.mark.parametrize(("user", "owner"), OWNERS)
def test_a_fifo_of_somebody_else_is_written_to_where_the_kernel_would(shared: Path, user: int, owner: int) -> None:
    os.mkfifo(shared / "pipe")
    (shared / "pipe").chmod(0o666)
    os.chown(shared / "pipe", owner, owner)
    reader = os.open(shared / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    for folder_owner in (0, FOREIGN):
        os.chown(shared, folder_owner, 0)
        argv = ["facts", "memory", "-o", str(shared / "pipe")]
        code = as_nobody(argv) if user else main(argv)
        assert code == (0 if allowed(user, owner, shared) else 74)
        assert bool(code) == (_read(reader) == b"")
    os.close(reader)


def _read(reader: int) -> bytes:
    try:
        return os.read(reader, 1 << 20)
    except BlockingIOError:
        return b""


@pytest.mark.root
@pytest.mark.parametrize(("user", "owner"), OWNERS)
def test_a_file_of_somebody_else_is_not_replaced_where_anyone_may_place_one(
    shared: Path, user: int, owner: int, capfd: pytest.CaptureFixture[str]
) -> None:
    for folder_owner in (0, FOREIGN):
        os.chown(shared, folder_owner, 0)
        (shared / "r.json").write_text("before")
        (shared / "r.json").chmod(0o666)
        os.chown(shared / "r.json", owner, owner)
        argv = ["facts", "memory", "-o", str(shared / "r.json")]
        code = as_nobody(argv) if user else main(argv)
        assert code == (0 if allowed(user, owner, shared) else 74)
        assert ((shared / "r.json").read_text() == "before") == bool(code)
        assert (shared / "r.json").stat().st_uid == owner
        if code:
            said = f"{shared}/r.json: not written: the file belongs to uid {owner}, in a sticky directory"
            assert said in capfd.readouterr().err
    assert os.listdir(shared) == ["r.json"]


@pytest.mark.root
def test_owner_group_and_label_are_kept(tmp_path: Path) -> None:
    target, label = tmp_path / "r.json", b"system_u:object_r:etc_t:s0\0"
    for more in ([], ["--reveal"]):
        target.touch()
        target.chmod(0o640)
        os.chown(target, NOBODY, FOREIGN)
        try:
            os.setxattr(target, "security.selinux", label)
        except OSError as error:
            assert error.errno == errno.ENOTSUP  # noqa: PT017 - a file system without labels
            label = b""
        assert main(["facts", "memory", "-o", str(target), *more]) == 0
        found = target.stat()
        assert (found.st_uid, found.st_gid, mode(target)) == (NOBODY, FOREIGN, 0o600 if more else 0o640)
        assert not label or os.getxattr(target, "security.selinux") == label
        assert found.st_size > 100


@pytest.mark.root
def test_a_file_that_cannot_keep_its_owner_or_group_widens_no_access(shared: Path) -> None:
    shared.chmod(0o777)
    for gid, groups, before, after in (
        (FOREIGN, (FOREIGN,), 0o664, 0o664),
        (FOREIGN, (FOREIGN,), 0o264, 0o220),
        (FOREIGN, (), 0o640, 0o600),
        (FOREIGN, (), 0o666, 0o666),
        (FOREIGN, (), 0o606, 0o600),
    ):
        target = shared / "r.json"
        target.write_text("")
        target.chmod(before)
        os.chown(target, 0, gid)
        assert as_nobody(["facts", "memory", "-o", str(target)], groups) == 0
        found = target.stat()
        assert (found.st_uid, found.st_gid) == (NOBODY, gid if groups else NOBODY)
        assert mode(target) == after
        target.unlink()


@pytest.mark.root
def test_a_file_in_a_directory_that_takes_no_new_file_is_written_in_place(shared: Path) -> None:
    shared.chmod(0o755)
    target = shared / "r.json"
    target.write_text("before" * 10_000)
    os.chown(target, NOBODY, NOBODY)
    inode = target.stat().st_ino
    assert as_nobody(["facts", "memory", "-o", str(target)]) == 0
    assert json.loads(target.read_text())
    assert target.stat().st_ino == inode
    assert as_nobody(["facts", "memory", "--reveal", "-o", str(target)]) == 74  # others might have it open already
    target.chmod(0o600)
    assert as_nobody(["facts", "memory", "--reveal", "-o", str(target)]) == 0
    assert as_nobody(["facts", "memory", "-o", str(shared / "new.json")]) == 74


@pytest.mark.root
def test_a_bind_mounted_file_is_written_in_place(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.write_text("before" * 10_000)
    outside.chmod(0o640)
    inside.mkdir()
    (inside / "r.json").write_text("covered")
    spec = tmp_path / "s.yaml"
    spec.write_text(GOOD, encoding="utf-8")
    for read_only in ("", f"mount -t tmpfs none {inside} && touch {inside}/r.json &&"):
        bind = f"{read_only} mount --bind {outside} {inside}/r.json"
        bind += f" && mount -o remount,ro {inside}" if read_only else ""
        line = ["unshare", "-m", "sh", "-c", f'{bind} && exec "$@"', "sh", *PROGRAM]
        argv = [*line, "check", str(spec), "-o", f"json={inside}/r.json"]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        assert conclusion(outside) == "conformant"
        assert mode(outside) == 0o640
        assert (inside / "r.json").read_text() == "covered"
        assert os.listdir(inside) == ["r.json"]
        outside.write_text("before" * 10_000)


@pytest.mark.root
def test_two_writers_of_a_bind_mounted_file_leave_one_whole_file(tmp_path: Path) -> None:
    for name in ("outside", "inside"):
        (tmp_path / name).touch()
    program = (
        "import sys; from nodespec.output.file import write_file; letter = sys.argv[2].encode()\n"
        "for _ in range(40): write_file(sys.argv[1], [letter * 50_000] * (letter[0] - 95))"
    )
    line = f"mount --bind {tmp_path}/outside {tmp_path}/inside && "
    line += 'for letter in a b c; do "$0" -c "$1" "$2" $letter & done; wait'
    argv = ["unshare", "-m", "sh", "-c", line, sys.executable, program, f"{tmp_path}/inside"]
    subprocess.run(argv, cwd=ROOT, check=True, timeout=60)
    content = (tmp_path / "outside").read_bytes()
    assert content == content[:1] * 50_000 * (content[0] - 95)


def test_exact_access_ignores_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "r").touch(0o600)
    write_file(str(tmp_path / "r"), (b"x",), access=FileAccess(exact=0o755))
    assert mode(tmp_path / "r") == 0o755
