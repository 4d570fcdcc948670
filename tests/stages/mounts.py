"""Does nodespec see the mounts of a machine as findmnt, df and mkfs.xfs do, and end beside a server that never answers?

    python tests/stages/mounts.py

As root. In a mount and PID namespace of its own it mounts tmpfs, bind mounts, XFS in a file, and a FUSE file system
whose server never answers. Exit status 77: FUSE or a namespace is not available.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, Tuple, cast

sys.path.insert(0, str(Path(__file__).parents[2]))

from nodespec.checks._mounts_fstab import resolve_options
from nodespec.checks.mounts import mounts
from nodespec.facts.declaration import Record
from nodespec.host.machine import Machine
from nodespec.model.observation import Value

UNSHARE = "/usr/bin/unshare"
TOP = Path(__file__).parents[2]
SKIP, MOST_SECONDS = 77, 15.0
HERE = "/mnt"
COMMANDS = """
mount -t tmpfs 'a source' /mnt && cd /mnt && mkdir plain 'b c' bind fuse xfs shared slave
mount -t tmpfs -o nosuid,nodev,noexec,size=1m plain /mnt/plain && mount -t tmpfs blank '/mnt/b c'
mount --bind /mnt/plain /mnt/bind && mount -o remount,bind,ro /mnt/bind && ln -s 'b c' link && mkdir plain/deep
mount -t tmpfs shared shared && mount --make-shared shared
mount --bind shared slave && mount --make-slave slave
"""
XFS = "truncate -s 320M /mnt/x.img && mkfs.xfs -q /mnt/x.img && mount -o loop /mnt/x.img /mnt/xfs"
OPTIONS = (
    *("rw", "ro", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "async", "sync", "symfollow", "nosymfollow"),
    *("atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime"),
    *("lazytime", "nolazytime", "dirsync", "mand", "nomand", "silent", "loud", "defaults", "auto", "noauto", "nofail"),
    *("user", "users", "owner", "group", "nouser", "_netdev", "x-systemd.automount"),
)
LISTS = 60
PATHS = (
    "/",
    "/proc",
    "/mnt",
    "/mnt/plain/deep",
    "/mnt/bind",
    "/mnt/link",
    "/mnt/b c/not/there",
    "/mnt/shared",
    "/mnt/slave",
)


def observe(path: str) -> Dict[str, Any]:
    """The columns of a path that have a value."""
    row = mounts.probe(Machine()).observe(path)
    assert isinstance(row, Value), row
    record = cast("Record", row.value)
    shown: Dict[str, Any] = {}
    for name in record:
        seen = record[name]
        shown[name] = seen.value if isinstance(seen, Value) else seen
    return shown


def ask_findmnt(path: str) -> Dict[str, str]:
    """What findmnt(8) says of a path that exists."""
    command = (
        "findmnt",
        "--json",
        "--bytes",
        "--output",
        "TARGET,FSTYPE,SOURCE,PROPAGATION,OPTIONS,SIZE,AVAIL",
        "-T",
        path,
    )
    *_, found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["filesystems"]
    return {name: str(value) for name, value in found.items()}


def compare(path: str) -> int:
    """The number of differences for one path."""
    existing = path if os.path.exists(path) else "/mnt/b c"
    mine, theirs = observe(path), ask_findmnt(existing)
    options = set(theirs["options"].split(","))
    pairs = {
        "point": (mine["point"], theirs["target"]),
        "type": (mine["type"], theirs["fstype"]),
        "propagation": (mine["propagation"], (theirs["propagation"].removeprefix("private,").split(",")[0])),
        "options": (frozenset(mine["options"]), frozenset(options)),
        "size": (str(mine["size"]), theirs["size"].replace("None", "0")),
    }
    for name, (here, there) in pairs.items():
        if here != there:
            print(f"{path}: {name}: nodespec {here}, findmnt {there}")
    return sum(here != there for here, there in pairs.values())


def compare_options(number: int) -> int:
    """The number of differences between mount(8) with lists of options and what nodespec makes of them at rest."""
    chance, wrong = random.Random(17), 0  # noqa: S311 - the same lists each time
    for _ in range(number):
        written = chance.choices(OPTIONS, k=chance.randrange(6))
        command = ("/bin/mount", "-t", "tmpfs", "-o", ",".join(written) or "defaults", "none", "/mnt/plain")
        subprocess.run(command, check=True)
        shown = frozenset(ask_findmnt("/mnt/plain")["options"].split(",")) - {"inode64"}
        subprocess.run(("/bin/umount", "/mnt/plain"), check=True)
        if shown != resolve_options(written):
            print(f"{','.join(written)}: nodespec {sorted(resolve_options(written))}, findmnt {sorted(shown)}")
            wrong += 1
    return wrong


def hang() -> int:
    """Mount a FUSE file system whose server never answers; returns the handle of its server."""
    handle = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={handle},rootmode=40000,user_id=0,group_id=0".encode()
    if ctypes.CDLL(None, use_errno=True).mount(b"hung", b"/mnt/fuse", b"fuse.hung", 0, options):
        raise OSError(ctypes.get_errno(), "mount")
    return handle


def check_hung_server() -> Tuple[int, float]:
    """Run a check that names the hung file system; returns the exit status and the seconds."""
    spec = Path(HERE, "spec.yaml")
    rows = "/mnt/fuse: {type: fuse.hung, free: '>=1Gi'}, /mnt/fuse/deep: {type: fuse.hung}, /mnt/plain: {type: tmpfs}"
    spec.write_text(f"nodespec: 1\nrequire: {{mounts: {{{rows}}}}}\n", encoding="utf-8")
    begin = time.monotonic()
    command = f"'{sys.executable}' -m nodespec check {spec} | cat"  # cat ends when nobody holds the pipe any more
    done = subprocess.run(command, shell=True, cwd=TOP, capture_output=True, text=True, check=False)  # noqa: S602 - as written
    print(done.stdout)
    return int("2 unknown; 4 requirements" not in done.stdout), time.monotonic() - begin


def run_inside() -> int:
    """Make the mounts, and compare."""
    subprocess.run(["/bin/sh", "-ec", COMMANDS], check=True)
    wrong = sum(map(compare, PATHS))
    if subprocess.run(["/bin/sh", "-ec", XFS], check=False, capture_output=True).returncode == 0:
        found = observe("/mnt/xfs")
        wrong += compare("/mnt/xfs") + (found["ftype"] is not True) + (found["overlay_upper"] is not True)
        print(f"xfs: ftype {found['ftype']}")
        subprocess.run(["/bin/umount", "/mnt/xfs"], check=True)
    wrong += compare_options(LISTS)
    handle = hang()
    status, seconds = check_hung_server()
    os.close(handle)
    print(f"{len(PATHS)} paths and {LISTS} lists of options, {wrong} differences")
    print(f"a check beside a hung server took {seconds:.1f} s")
    return 1 if wrong or status or seconds > MOST_SECONDS else 0


def main() -> int:
    if sys.argv[1:] == ["inside"]:
        return run_inside()
    tried = subprocess.run([UNSHARE, "-mpf", "--mount-proc", "true"], check=False, capture_output=True)
    if tried.returncode or not os.path.exists("/dev/fuse"):
        print("no namespaces, or no /dev/fuse")
        return SKIP
    return subprocess.run(
        [UNSHARE, "-mpf", "--mount-proc", sys.executable, __file__, "inside"], check=False, timeout=120
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
