"""Content, names, links and digests of files."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, cast

import pytest

from nodespec.checks._files_globs import list_matching_paths
from nodespec.checks.files import files
from nodespec.facts.declaration import Record
from nodespec.facts.value_types import Datum
from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

ME, MY_GROUP = os.getuid(), os.getgid()


def column(root: str, path: str, name: str) -> Observation[Datum]:
    row = files.probe(Machine(root)).observe(path)
    assert isinstance(row, Value), row
    return cast("Record", row.value)[name]


def test_lines_match_in_full_without_blanks_around(make_tree: MakeTree) -> None:
    root = make_tree({"/etc/f": "# PermitRootLogin no\n  PermitRootLogin no \n"})
    assert column(root, "/etc/f", "lines:PermitRootLogin no") == Value("there", Evidence("/etc/f", 2))
    assert isinstance(column(root, "/etc/f", "lines:PermitRootLogin"), Absent)
    assert isinstance(column(root, "/etc", "lines:x"), Absent)


def test_the_text_after_the_last_line_break_is_no_line(make_tree: MakeTree) -> None:
    root = make_tree({"/etc/f": "a\n", "/etc/g": "a\n\n"})
    assert isinstance(column(root, "/etc/f", "lines:b?"), Absent)
    assert column(root, "/etc/g", "lines:b?") == Value("there", Evidence("/etc/g", 2))


@pytest.mark.parametrize(("length", "seen"), [(4095, Absent), (4096, Absent), (4097, Unknown)])
def test_a_long_line_is_not_matched(make_tree: MakeTree, length: int, seen: type) -> None:
    root = make_tree({"/etc/f": "a" * length + "\n"})
    assert isinstance(column(root, "/etc/f", "lines:b+"), seen)


@pytest.mark.parametrize("size", [(1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_structured_files_are_bounded(make_tree: MakeTree, size: int) -> None:
    root = make_tree({"/etc/f": "#" * (size - 5) + "\na: 1"})
    seen = column(root, "/etc/f", "yaml:/a")
    assert isinstance(seen, Unknown if size > 1 << 20 else Value)


def test_a_list_has_all_its_values_and_a_mapping_none(make_tree: MakeTree) -> None:
    root = make_tree({"/etc/f": "a: [x, z]\nb: {c: 1}\nd: [no]\n"})
    assert column(root, "/etc/f", "yaml:/a") == Value(frozenset({"x", "z"}), Evidence("/etc/f", 1))
    assert column(root, "/etc/f", "yaml:/b") == Value("{...}", Evidence("/etc/f", 2))
    assert isinstance(column(root, "/etc/f", "yaml:/d"), Unknown)
    assert column(root, "/etc/f", "yaml:/d/0") == Value("false", Evidence("/etc/f", 3), ("no",))


def test_malformed_and_unsupported_content_is_unknown(make_tree: MakeTree) -> None:
    root = make_tree({"/etc/f": "a: &x 1\n", "/etc/g": "{", "/etc/h": b"\xff\x00: 1\n"})
    reasons = {path: column(root, path, "yaml:/a") for path in ("/etc/f", "/etc/g", "/etc/h")}
    assert [seen.reason for seen in reasons.values() if isinstance(seen, Unknown)] == [
        "unsupported",
        "malformed",
        "malformed",
    ]


def test_entries_by_glob_are_absent_if_none_matches(make_tree: MakeTree) -> None:
    root = make_tree({"/etc/d/a.conf": "", "/etc/d/.b.conf": "", "/etc/d/c": ""})
    assert column(root, "/etc/d", "entries") == Value(frozenset({"a.conf", ".b.conf", "c"}), Evidence("/etc/d"))
    assert column(root, "/etc/d", "entries:*.conf") == Value(frozenset({"a.conf", ".b.conf"}), Evidence("/etc/d"))
    assert isinstance(column(root, "/etc/d", "entries:*.json"), Absent)
    assert isinstance(column(root, "/etc/d/c", "entries:*"), Absent)


def test_the_digest_is_sha256(make_tree: MakeTree) -> None:
    root = make_tree({"/etc/f": "text"})
    assert column(root, "/etc/f", "digest") == Value(
        f"sha256:{hashlib.sha256(b'text').hexdigest()}", Evidence("/etc/f")
    )


def test_a_broken_link_has_a_target(make_tree: MakeTree) -> None:
    root = make_tree({"/etc/f": ""}, {"/etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf"})
    rows = files.probe(Machine(root))
    assert isinstance(rows.observe("/etc/resolv.conf"), Absent)
    assert rows.own["target"]("/etc/resolv.conf") == Value(
        "../run/systemd/resolve/stub-resolv.conf", Evidence("/etc/resolv.conf")
    )
    assert isinstance(rows.own["target"]("/etc/f"), Absent)
    assert isinstance(rows.own["target"]("/etc/none"), Absent)


@pytest.mark.parametrize(
    ("tree", "seen"),
    [
        ({"/etc/passwd": f"me:x:{ME}:0::/:\nagain:x:{ME}:0::/:\n"}, "me"),
        ({"/etc/passwd": "", "/etc/nsswitch.conf": "passwd: files\n"}, Absent),
        ({"/etc/passwd": ""}, Absent),
        ({"/etc/passwd": "", "/etc/nsswitch.conf": "passwd: files sss\n"}, Unknown),
        ({"/etc/passwd": "", "/etc/nsswitch.conf": "passwd: compat # files\n"}, Unknown),
        ({"/etc/passwd": f"me:x:{ME}:0::/:\n", "/etc/nsswitch.conf": "passwd: sss files\n"}, "me"),
        (
            {
                "/etc/passwd": "",
                "/usr/lib/passwd": f"me:x:{ME}:0::/:\n",
                "/etc/nsswitch.conf": "passwd: files altfiles\n",
            },
            "me",
        ),
        ({"/etc/passwd": "", "/usr/lib/passwd": f"me:x:{ME}:0::/:\n"}, Absent),
        (
            {"/etc/passwd": "", "/etc/nsswitch.conf": "passwd: files [NOTFOUND=return] systemd\n", "/etc/userdb/x": ""},
            Unknown,
        ),
    ],
)
def test_names_come_from_the_files_of_the_host(make_tree: MakeTree, tree: dict[str, str], seen: object) -> None:
    root = make_tree({"/etc/f": "", **tree})
    name = column(root, "/etc/f", "owner_name")
    assert name == Value(seen, Evidence("/etc/f")) if isinstance(seen, str) else isinstance(name, cast("type", seen))


def test_a_group_has_a_name(make_tree: MakeTree) -> None:
    root = make_tree({"/etc/f": "", "/etc/group": f"mine:x:{MY_GROUP}:\n"})
    assert column(root, "/etc/f", "group_name") == Value("mine", Evidence("/etc/f"))


def test_files_of_the_running_kernel_are_deferred_at_rest(make_tree: MakeTree) -> None:
    root = make_tree({"/etc/f": "", "/sys/kernel/x": "1"})
    assert files.resting is not None
    seen = files.resting(DirectoryTree(root)).observe("/sys/kernel/x")
    assert isinstance(seen, Unknown)
    assert seen.reason == "deferred"
    assert isinstance(files.probe(Machine(root)).observe("/etc/f"), Value)


def test_ten_thousand_pointers_parse_the_file_once(make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_tree({"/etc/f": "a: 1\n"})
    rows, reads = files.probe(Machine(root)), []
    read = Machine._read_start  # noqa: SLF001 - counts the reads below the bounded ones

    def count(machine: Machine, path: str, size: int) -> bytes:
        reads.append(path)
        return read(machine, path, size)

    monkeypatch.setattr(Machine, "_read_start", count)
    for number in range(10_000):
        row = rows.observe("/etc/f")
        assert isinstance(row, Value)
        assert isinstance(cast("Record", row.value)[f"yaml:/b{number}"], Absent)
    assert reads == ["/etc/f"]


def test_paths_match_a_glob_name_by_name(make_tree: MakeTree) -> None:
    root = make_tree({"/home/a/.ssh/keys": "", "/home/b/.ssh/keys": "", "/home/c/x": "", "/home/file": ""})
    assert list_matching_paths(Machine(root), "/home/*/.ssh/keys") == ("/home/a/.ssh/keys", "/home/b/.ssh/keys")
    assert list_matching_paths(Machine(root), "/home/*") == ("/home/a", "/home/b", "/home/c", "/home/file")
    assert list_matching_paths(Machine(root), "/home/*/*/k*s") == ("/home/a/.ssh/keys", "/home/b/.ssh/keys")
    assert list_matching_paths(Machine(root), "/none/*") == ()
    assert isinstance(list_matching_paths(DirectoryTree(root), "/proc/*/comm"), Unknown)


@pytest.mark.parametrize("limit", [2, 3, 4])
def test_paths_of_a_glob_are_bounded(make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr("nodespec.checks._files_globs.MAX_PATHS", limit)
    found = list_matching_paths(Machine(make_tree({f"/d/{name}": "" for name in "abc"})), "/d/*")
    assert isinstance(found, Unknown) == (limit < 3)
