from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Optional, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks.files import Mode, files
from nodespec.facts.declaration import Record
from nodespec.facts.value_types import Datum
from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
from nodespec.host.tree import Entry
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree


@pytest.fixture
def root(make_tree: MakeTree) -> str:
    made = make_tree(
        {"/etc/passwd": "root\n", "/etc/.pwd.lock": "", "/etc/manifests": None, "/etc/manifests2/a.yaml": ""},
        {
            "/etc/mtab": "../etc/passwd",
            "/etc/absolute": "/etc/manifests",
            "/etc/dangling": "nowhere",
            "/etc/loop": "loop",
            "/etc/out": "../../../../../../etc",
        },
    )
    etc = Path(made) / "etc"
    os.mkfifo(etc / "fifo")
    (etc / "passwd").chmod(0o4755)
    (etc / ".pwd.lock").chmod(0o600)
    return made


def column(root: str, path: str, name: str) -> Observation[Datum]:
    row = files.probe(Machine(root)).observe(path)
    assert isinstance(row, Value), row
    return cast("Record", row.value)[name]


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/etc/passwd", "type", "file"),
        ("/etc/passwd", "mode", "4755"),
        ("/etc/passwd", "size", 5),
        ("/etc/passwd", "empty", False),
        ("/etc/.pwd.lock", "mode", "0600"),
        ("/etc/.pwd.lock", "size", 0),
        ("/etc/.pwd.lock", "empty", True),
        ("/etc/manifests", "type", "directory"),
        ("/etc/manifests", "empty", True),
        ("/etc/manifests2", "empty", False),
        ("/etc/mtab", "type", "file"),
        ("/etc/mtab", "size", 5),
        ("/etc/absolute", "type", "directory"),
        ("/etc/out", "type", "directory"),
        ("/etc/out/passwd", "size", 5),
        ("/etc/fifo", "type", "fifo"),
        ("/", "type", "directory"),
    ],
)
def test_what_stands_at_a_path(root: str, path: str, name: str, value: Datum) -> None:
    seen = column(root, path, name)
    assert seen == Value(value, Evidence(path))
    assert isinstance(seen, Value)
    assert type(seen.value) is type(value)


def test_owner_and_group_are_numbers(root: str) -> None:
    assert column(root, "/etc/passwd", "owner") == Value(os.getuid(), Evidence("/etc/passwd"))
    assert column(root, "/etc/passwd", "group") == Value(
        (Path(root) / "etc/passwd").stat().st_gid, Evidence("/etc/passwd")
    )


def test_a_socket_and_a_device_are_told_by_their_type(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        assert column(str(tmp_path), "/s", "type") == Value("socket", Evidence("/s"))
    assert column("/", "/dev/null", "type") == Value("device", Evidence("/dev/null"))


def test_what_is_not_there_is_absent(root: str) -> None:
    rows = files.probe(Machine(root))
    assert rows.observe("/etc/nothing") == Absent(Evidence("/etc/nothing"))
    assert rows.observe("/etc/passwd/x") == Absent(Evidence("/etc/passwd/x"))
    assert rows.observe("/etc/dangling") == Absent(Evidence("/etc/dangling"), "a broken link")


def test_what_cannot_be_looked_at_is_unknown(root: str) -> None:
    rows = files.probe(Machine(root))
    for path, reason in (("/etc/loop", "failed"), ("/proc/sys", "hidden")):
        seen = rows.observe(path)
        assert isinstance(seen, Unknown)
        assert seen.reason == reason


@pytest.mark.parametrize(
    ("path", "name", "say"),
    [
        ("/etc/manifests", "size", "a directory has no size"),
        ("/etc/fifo", "empty", "a fifo has no content"),
    ],
)
def test_a_column_that_makes_no_sense_is_absent(root: str, path: str, name: str, say: str) -> None:
    assert column(root, path, name) == Absent(Evidence(path), say)


def test_a_file_that_only_says_it_is_empty_is_read() -> None:
    assert column("/", "/proc/self/mounts", "size") == Value(0, Evidence("/proc/self/mounts"))
    assert column("/", "/proc/self/mounts", "empty") == Value(value=False, evidence=Evidence("/proc/self/mounts"))


def test_at_rest_says_the_same(root: str) -> None:
    assert files.resting is not None
    assert isinstance(files.resting(DirectoryTree(root)).observe("/etc/passwd"), Value)


@pytest.mark.parametrize(
    ("text", "key"),
    [("/etc/passwd", "/etc/passwd"), ("//etc//./passwd/", "/etc/passwd"), ("/", "/"), ("/a b/..c", "/a b/..c")],
)
def test_a_path_has_one_name(text: str, key: str) -> None:
    assert files.key(text) == key


@pytest.mark.parametrize("text", ["", "etc/passwd", "./etc", "~/x", "/etc/../x", "/..", "/a\0b"])
def test_a_path_that_depends_on_anything_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"absolute path|must not contain"):
        files.key(text)


@settings(max_examples=200)
@given(st.text(alphabet="/.a\0", max_size=12))
def test_names_are_stable(text: str) -> None:
    try:
        key = files.key(text)
    except ValueError:
        return
    assert files.key(key) == key == "/" + key.strip("/")


@pytest.mark.parametrize(("text", "mode"), [("644", "0644"), ("0644", "0644"), ("4755", "4755"), ("000", "0000")])
def test_permissions_are_read_as_they_are_observed(text: str, mode: str) -> None:
    assert Mode().read(text) == mode


@pytest.mark.parametrize("text", ["", "7", "64", "0o644", "u=rw", "888", "00644", "<=0644"])
def test_what_are_no_permissions_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"permissions (are bits and have no order|in octal)"):
        Mode().read(text)


UNSHARE = "/usr/bin/unshare"
MAPPED = """
import sys
from nodespec.checks.files import files
from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
for path in sys.argv[1:]:
    for tree in (DirectoryTree(), Machine()):
        row = files.probe(tree).observe(path).value
        print(*(getattr(row[name], "reason", None) or row[name].value for name in ("owner", "group")))
"""


def test_an_owner_that_the_user_namespace_does_not_map_is_unknown(tmp_path: Path) -> None:
    """Who maps only root sees 65534 for everybody else: neither `owner: 1234` nor `owner: 65534` is decided."""
    own, foreign = tmp_path / "own", tmp_path / "foreign"
    own.touch()
    foreign.touch()
    if os.geteuid() == 0:
        os.chown(foreign, 1234, 0)
    else:
        foreign = Path("/etc/passwd")
    done = subprocess.run(
        [UNSHARE, "--user", "--map-root-user", sys.executable, "-c", MAPPED, str(foreign), str(own)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr:
        pytest.skip(done.stderr.strip())
    group = "0" if os.geteuid() == 0 else "hidden"
    assert done.stdout.splitlines() == [f"hidden {group}"] * 2 + ["0 0"] * 2


@pytest.mark.parametrize(("shown", "known"), [(None, True), (65533, True), (65534, False)])
def test_65534_is_a_number_like_others_where_it_stands_for_none(
    root: str, monkeypatch: pytest.MonkeyPatch, shown: Optional[int], *, known: bool
) -> None:
    entry = Value(Entry("file", 0o644, 65534, 65534, 1), Evidence("/x"))
    monkeypatch.setattr(Machine, "entry", lambda *_, **__: entry)
    monkeypatch.setattr("nodespec.checks._files_columns._find_stand_ins", lambda _: {"uid": shown, "gid": shown})
    for name in ("owner", "group"):
        seen = column(root, "/x", name)
        assert seen == Value(65534, Evidence("/x")) if known else isinstance(seen, Unknown)
