from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from nodespec.errors import UsageError
from nodespec.host import at_rest
from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
from nodespec.host.tree import MAX_LINKS
from nodespec.images.open import open_image
from nodespec.model.observation import Absent, Evidence, Unknown, Value

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import MakeTree

ROOT = "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n"


def mounted(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Let this be what is mounted, on the file system at `/`."""

    class Host(Machine):
        def text(self, path: str, limit: int = 0) -> Value[str]:
            assert (path, limit) == ("/proc/self/mountinfo", 0)
            return Value("".join(lines), Evidence(path))

    monkeypatch.setattr(at_rest, "Machine", Host)


def tmpfs(number: int, point: object) -> str:
    return f"{number} 20 0:{number} / {point} rw - tmpfs tmpfs rw\n"


def test_what_runs_in_the_live_root_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(monkeypatch, ROOT)
    tree = open_image("/")
    assert not tree.running
    for folder in ("/proc", "/sys", "/dev"):
        assert tree.names(folder) == Value((), Evidence(folder))
        entry = tree.entry(folder)
        assert isinstance(entry, Value)
        assert entry.value.kind == "directory"
    for path in ("/proc/self/stat", "/sys/kernel", "/dev/null", "/dev/../proc/self", "/proc/self/root/etc/passwd"):
        assert tree.entry(path) == Absent(Evidence(path))
    assert isinstance(tree.read("/etc/passwd"), Value)
    assert tree.read("/proc/../etc/passwd").then(bool) == Value(value=True, evidence=Evidence("/proc/../etc/passwd"))


def test_every_tmpfs_is_empty_and_links_into_it_lead_nowhere(
    monkeypatch: pytest.MonkeyPatch, make_tree: MakeTree
) -> None:
    root = make_tree(
        {"/etc/x": "kept", "/var/lost/x": "lost", "/var/lost/a/b": "lost", "/var/lost-not/x": "kept"},
        {"/etc/link": "../var/lost/x", "/etc/folder": "/var/lost", "/etc/back": "/var/lost/../../etc/x"},
    )
    mounted(monkeypatch, ROOT, tmpfs(21, f"{root}/var/lost"), tmpfs(22, f"{root}-other"))
    for tree, prefix in ((open_image(root), ""), (open_image("/"), root)):
        for path in ("/var/lost/x", "/var/lost/a", "/var/lost/a/b", "/etc/link", "/etc/folder/x"):
            if prefix and path in ("/etc/folder/x", "/etc/back"):
                continue  # from the live root these links lead elsewhere
            assert tree.read(prefix + path) == Absent(Evidence(prefix + path))
        assert tree.names(f"{prefix}/var/lost") == Value((), Evidence(f"{prefix}/var/lost"))
        assert tree.link(f"{prefix}/etc/link") == Value("../var/lost/x", Evidence(f"{prefix}/etc/link"))
        for path in ("/etc/x", "/var/lost-not/x", "/var/lost/../../etc/x"):
            assert tree.read(prefix + path) == Value(b"kept", Evidence(prefix + path))
    tree = open_image(root)
    assert tree.names("/etc/folder") == Value((), Evidence("/etc/folder"))
    assert tree.read("/etc/back") == Value(b"kept", Evidence("/etc/back"))


def test_a_file_that_memory_covers_is_unknown(monkeypatch: pytest.MonkeyPatch, make_tree: MakeTree) -> None:
    root = make_tree({"/etc/machine-id": "of this boot", "/etc/x": ""}, {"/etc/link": "machine-id"})
    mounted(monkeypatch, ROOT, tmpfs(21, f"{root}/etc/machine-id"))
    tree = open_image(root)
    for path in ("/etc/machine-id", "/etc/link"):
        hidden = Unknown(
            "hidden", f"{path} is covered by a file in memory", f"run nodespec before {path} is mounted over"
        )
        assert tree.read(path) == hidden
        assert tree.entry(path) == hidden
        assert tree.names(path) == hidden
    assert tree.names("/etc") == Value(("link", "machine-id", "x"), Evidence("/etc"))


@pytest.mark.parametrize("point", ["/etc", "/etc/sysctl.d", "/usr/lib", "/boot"])
def test_memory_on_a_directory_of_the_system_hides_the_files_of_the_next_boot(
    point: str, monkeypatch: pytest.MonkeyPatch, make_tree: MakeTree
) -> None:
    root = make_tree({f"{point}/x": "of this boot", "/srv/x": "kept", "/usr/bin/true": ""})
    mounted(monkeypatch, ROOT, tmpfs(21, f"{root}{point}"))
    tree = open_image(root)
    for seen in (tree.names(point), tree.read(f"{point}/x"), tree.entry(f"{point}/nosuch")):
        assert isinstance(seen, Unknown)
        assert seen.reason == "hidden"
    assert tree.read("/srv/x") == Value(b"kept", Evidence("/srv/x"))


def test_a_tree_that_is_in_memory_as_a_whole_is_looked_at(monkeypatch: pytest.MonkeyPatch, make_tree: MakeTree) -> None:
    root = make_tree({"/etc/x": "kept"})
    mounted(monkeypatch, ROOT, tmpfs(21, root), tmpfs(22, os.path.dirname(root)))
    assert open_image(root).read("/etc/x") == Value(b"kept", Evidence("/etc/x"))


def test_of_a_live_root_in_memory_a_boot_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(monkeypatch, "20 1 0:1 / / rw - rootfs rootfs rw\n")
    with pytest.raises(UsageError, match=r"^--image /: the root file system is in memory"):
        open_image("/")


def test_without_proc_the_live_root_is_not_judged(monkeypatch: pytest.MonkeyPatch, make_tree: MakeTree) -> None:
    mounted(monkeypatch, "no mounts")
    with pytest.raises(UsageError, match=r"^--image /: cannot read /proc/self/mountinfo"):
        open_image("/")
    assert isinstance(open_image(make_tree({"/etc/x": ""})).read("/etc/x"), Value)


def test_at_rest_nothing_is_hidden_for_want_of_proc(make_tree: MakeTree) -> None:
    root = make_tree({"/etc/x": ""})
    assert DirectoryTree(root).read("/proc/cmdline") == Absent(Evidence("/proc/cmdline"))
    assert open_image(root).names("/sys/module") == Absent(Evidence("/sys/module"))
    assert Machine(root).read("/proc/cmdline") == Unknown("hidden", "/proc is not mounted here", "mount /proc")


@pytest.mark.usefixtures("tmp_path")
def test_the_live_root_is_walked_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(monkeypatch, ROOT)
    os.symlink("loop", tmp_path / "loop")
    tree = open_image("/")
    assert tree.read(f"{tmp_path}/loop") == Unknown("failed", f"{tmp_path}/loop: too many links")
    assert MAX_LINKS == 40
