"""Observe the facts of this machine with each path of /proc and /sys masked in turn.

    unshare --mount [--map-root-user] python tests/masks.py [FOLDER]

In a mount namespace of its own. Prints JSON: for each mask its path, its kind, and each place whose observation
differs from what is observed without the mask, with both. FOLDER is for files that stand in for masked paths; without
it nothing is masked, and each place is printed with what is observed.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import socket
import sys
import time
from typing import Callable, Dict, Iterator, List, Set, TypeVar, Union

from nodespec.facts import declaration
from nodespec.facts.declaration import Leaf, Place, Table
from nodespec.facts.live import Live
from nodespec.host.machine import Machine
from nodespec.model.observation import Absent, Limits, Observation, Value

T = TypeVar("T")
MS_RDONLY, MS_BIND, MNT_DETACH = 1, 4096, 2
APART = ("commands", "kubelet", "packages", "runtime")  # what they read changes by itself, or is elsewhere
OTHERS = re.compile(r"/proc/(?!1/|1$)\d")  # processes besides the first
# rows that are asked for by key: some that a machine has, some that it has not
KEYS = {
    "cgroups.bindings": ("cpu", "devices", "freezer", "io", "memory", "nosuch", "pids"),
    "files": (
        *("/proc/cmdline", "/proc/nosuch", "/proc/self/nosuch", "/proc/sys/kernel/nosuch"),
        *("/sys/devices/nosuch", "/sys/kernel/nosuch", "/sys/kernel/security/lockdown", "/sys/fs/cgroup/nosuch"),
    ),
    "kernel.cmdline": ("console", "nosuch"),
    "kernel.config": ("NET_NS", "NOSUCH", "OVERLAY_FS", "SWAP"),
    "modules": ("ext4", "nosuch", "overlay"),
    "swap.devices": ("/dev/nosuch",),
    "sysctl": (
        *("fs.inotify.max_user_watches", "kernel.keys.maxkeys", "kernel.nosuch", "kernel.panic", "net.ipv4.ip_forward"),
        *("net.ipv4.nosuch", "net.nosuch", "nosuch.nosuch", "user.max_user_namespaces", "vm.swappiness"),
    ),
}


class Spy(Machine):
    """A machine that keeps which paths were looked at."""

    def __init__(self, root: str = "/") -> None:
        super().__init__(root)
        self.paths: Set[str] = set()

    def _at(self, path: str, act: Callable[[str, Union[int, None]], T], *, follow: bool = False) -> T:
        self.paths.add(path)
        return super()._at(path, act, follow=follow)

    def _status(self, path: str, *, follow: bool) -> os.stat_result:
        self.paths.add(path)
        return super()._status(path, follow=follow)


def main(folder: str) -> None:
    """Print what each mask changes, or without a folder what is observed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        places = list(asked(str(listener.getsockname()[1]) if folder else "2"))
        spy = Spy()
        before = observed(spy, places)
        found = [
            {"path": path, "mask": kind, "changed": changed}
            for path in sorted(below(spy.paths) if folder else ())
            for kind, source in sources(path, folder)
            if (changed := masked(path, source, before, places)) is not None
        ]
    json.dump(found if folder else before, sys.stdout)


def asked(port: str) -> Iterator[Place]:
    """Every leaf fact, and some rows of every table."""
    keys = {**KEYS, "ports": ("1", port)}
    for name in declaration.list_families():
        declared = declaration.load_family(name)
        members = {name: declared} if isinstance(declared, Table) else declared.members
        for member, fact in members.items() if name not in APART else ():
            path = (name,) if isinstance(declared, Table) else (name, member)
            if isinstance(fact, Leaf):
                if not fact.moves:  # such as the uptime, which differs between two observations
                    yield Place(path, fact)
                continue
            for key in keys.get(".".join(path), ()):
                yield from (declaration.resolve_place((*path, key, *column)) for column in ((), *zip(fact.columns)))


def observed(machine: Machine, places: List[Place]) -> Dict[str, str]:
    """Each place in words."""
    live = Live(machine, time.monotonic() + 60, Limits(observation_seconds=20))
    return {".".join(place.path): worded(live.observe(place)) for place in places}


def worded(seen: Observation[object]) -> str:
    """A value, `absent`, or `unknown` with the reason."""
    if isinstance(seen, Value):
        values = [sorted(value) if isinstance(value, frozenset) else value for value in (seen.value, *seen.others)]
        return " or ".join(map(repr, values))
    return "absent" if isinstance(seen, Absent) else f"unknown ({seen.reason}): {seen.say}"


def below(paths: Set[str]) -> Set[str]:
    """What of these paths, and of the directories above them, exists below /proc and /sys and can be mounted over."""
    found = set()
    for path in paths:
        at = path
        while at.startswith(("/proc/", "/sys/")) and at != "/proc/self":
            if os.path.exists(at) and not os.path.islink(at) and not OTHERS.match(at):
                found.add(at)
            at = at.rpartition("/")[0]
    return found


def sources(path: str, folder: str) -> Iterator[tuple[str, str]]:
    """What a path is masked with: as container runtimes do, and as systemd does (mode 000)."""
    kind = "directory" if os.path.isdir(path) else "file"
    yield ("tmpfs", "") if kind == "directory" else ("null", "/dev/null")
    source = f"{folder}/{kind}"
    if not os.path.exists(source):
        if kind == "directory":
            os.mkdir(source)
        else:
            os.close(os.open(source, os.O_CREAT))
        os.chmod(source, 0)
    yield "inaccessible", source


def masked(path: str, source: str, before: Dict[str, str], places: List[Place]) -> Union[Dict[str, List[str]], None]:
    """What differs while a path is masked; nothing where the kernel lets nobody mask it."""
    libc = ctypes.CDLL(None, use_errno=True)
    kind, flags = (b"", MS_BIND) if source else (b"tmpfs", MS_RDONLY)
    if libc.mount((source or "tmpfs").encode(), path.encode(), kind, flags, None):
        return None
    try:
        after = observed(Machine(), places)
    finally:
        libc.umount2(path.encode(), MNT_DETACH)
    return {name: [before[name], after[name]] for name in before if before[name] != after[name]}


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
