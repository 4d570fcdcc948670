"""Directories that another mount hides: what is missing there is unknown, in real mount namespaces."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Dict

import pytest

from nodespec.formats.mountinfo import find_mount, parse_mounts

WORKS = subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True)  # noqa: S607
OBSERVE = """
import json, sys
from nodespec.facts.declaration import resolve_place
from nodespec.facts.live import Live
from nodespec.host.machine import Machine
import time
live = Live(Machine(sys.argv[1]), time.monotonic() + 60)
def show(path):
    seen = live.observe(resolve_place(("files", path)))
    return getattr(seen, "reason", type(seen).__name__)
def names(path):
    seen = live.host.names(path)
    return getattr(seen, "reason", type(seen).__name__)
print(json.dumps({path: names(path[:-1]) if path.endswith("/") else show(path) for path in sys.argv[2:]}))
"""


def observe(script: str, *paths: str, root: str = "/") -> Dict[str, str]:
    """Observe paths as `files` facts after a shell script in a mount namespace."""
    words = ["unshare", "-rm", "sh", "-ec", f'{script}\nexec "$@"', "sh", sys.executable, "-c", OBSERVE, root, *paths]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    found: Dict[str, str] = json.loads(done.stdout)
    return found


pytestmark = pytest.mark.skipif(WORKS.returncode != 0, reason="user namespaces are not allowed here")
NOSUCH = "/etc/nosuch"


def test_without_a_mask_a_missing_file_is_absent() -> None:
    paths = (NOSUCH, "/run/nosuch", "/dev/nosuch", "/var/lib/nosuch/deep", "/nosuch")
    assert observe("true", *paths) == dict.fromkeys(paths, "Absent")


@pytest.mark.parametrize("folder", ["/etc", "/run", "/dev", "/var/lib", "/usr/share"])
@pytest.mark.parametrize("mask", ["mount -t tmpfs tmpfs {0}", "mount --bind $(mktemp -d) {0}"])
def test_a_file_below_a_mask_is_hidden(folder: str, mask: str) -> None:
    paths = (f"{folder}/nosuch", f"{folder}/nosuch/deep", "/nosuch")
    assert observe(mask.format(folder), *paths) == {paths[0]: "hidden", paths[1]: "hidden", paths[2]: "Absent"}


def test_the_names_in_a_masked_directory_are_hidden() -> None:
    script = "mount -t tmpfs tmpfs /var/lib; mkdir -p /var/lib/dpkg/info"
    assert observe(script, "/var/lib/", "/var/lib/dpkg/info/", "/etc/") == {
        "/var/lib/": "hidden",
        "/var/lib/dpkg/info/": "hidden",
        "/etc/": "Value",
    }


def test_a_mask_with_files_hides_the_others() -> None:
    script = "mount -t tmpfs tmpfs /etc; echo x > /etc/passwd"
    assert observe(script, "/etc/passwd", "/etc/shadow") == {"/etc/passwd": "Value", "/etc/shadow": "hidden"}


def test_a_mask_behind_a_link_hides_too() -> None:
    script = "mount -t tmpfs tmpfs /mnt; ln -s /etc /mnt/there; mount -t tmpfs tmpfs /etc"
    assert observe(script, "/mnt/there/nosuch") == {"/mnt/there/nosuch": "hidden"}


def test_a_directory_that_is_mounted_over_itself_hides_nothing() -> None:
    script = "mount --bind /etc /etc; mount -o remount,bind,ro /etc"
    assert observe(script, NOSUCH, "/etc/passwd") == {NOSUCH: "Absent", "/etc/passwd": "Value"}


def test_a_mask_below_a_root_directory_hides_too() -> None:
    script = "mkdir -p /tmp/host.$$; mount --rbind / /mnt; mount -t tmpfs tmpfs /mnt/etc"
    paths = ("/etc/nosuch", "/nosuch")
    assert observe(script, *paths, root="/mnt") == {"/etc/nosuch": "hidden", "/nosuch": "Absent"}


def test_another_root_directory_is_not_compared() -> None:
    script = "mount -t tmpfs tmpfs /mnt; mkdir /mnt/etc /mnt/proc; mount --rbind /proc /mnt/proc"
    assert observe(script, NOSUCH, root="/mnt") == {NOSUCH: "Absent"}


def observe_inside(script: str, folder: Path, *paths: str) -> Dict[str, str]:
    """Observe paths in a PID namespace of its own, so that process 1, called systemd, sees the same mounts."""
    shell = folder / "systemd"
    shell.write_bytes(Path("/bin/sh").read_bytes())
    shell.chmod(0o755)
    words = ["unshare", "-rmpf", "--mount-proc", str(shell), "-ec", f'{script}\n"$@"\n:', "sh"]
    words += [sys.executable, "-c", OBSERVE, "/", *paths]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    found: Dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("script", "hidden"),
    [
        ("mount -t tmpfs tmpfs /etc", "/etc"),
        ("mount -t tmpfs tmpfs /run", "/run"),
        ("mount -t tmpfs tmpfs /dev", "/dev"),
        ("mount -t tmpfs tmpfs /dev; mkdir /dev/shm", "/dev"),
        ("mount -t tmpfs tmpfs /run; mkdir /run/lock", "/run"),
        ("mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/system", ""),
        ("mount -t tmpfs tmpfs /etc; echo x > /etc/passwd", ""),
        ("mount -t tmpfs tmpfs /mnt", ""),
    ],
)
def test_a_mount_that_no_sound_machine_has_hides_too(script: str, hidden: str, tmp_path: Path) -> None:
    paths = ("/etc/nosuch", "/run/nosuch", "/dev/nosuch", "/mnt/nosuch")
    wanted = {path: "hidden" if hidden and path.startswith(hidden) else "Absent" for path in paths}
    assert observe_inside(script, tmp_path, *paths) == wanted


MOUNTS = """\
1 0 8:1 / / rw - ext4 a rw
2 1 0:5 / /run rw - tmpfs t rw
3 2 0:6 / /run/lock rw - tmpfs t rw
4 1 8:1 /home/etc /etc rw - ext4 a rw
5 2 0:7 / /run rw - tmpfs t rw
"""


@pytest.mark.parametrize(
    ("path", "number"),
    [("/", "1"), ("/usr", "1"), ("/run", "5"), ("/run/lock", "5"), ("/etc/x", "4"), ("/etcetera", "1")],
)
def test_the_mount_that_a_path_leads_to(path: str, number: str) -> None:
    found = find_mount(parse_mounts(MOUNTS), path)
    assert found is not None
    assert found.number == number
