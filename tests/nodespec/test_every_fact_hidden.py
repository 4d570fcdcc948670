"""Every fact with each of its sources unreadable in turn: it is what it was, or unknown, and never another value."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Set, Type, TypeVar

import pytest
from fit_node import Host, joined, planted

from nodespec.checks import FAMILIES
from nodespec.facts import declaration
from nodespec.facts.declaration import Leaf, Place, Table
from nodespec.facts.live import Live
from nodespec.host.directory import DirectoryTree
from nodespec.host.tree import Tree
from nodespec.model.observation import Absent, Observation, Unknown, Value

T = TypeVar("T")
HOSTS = Path(__file__).parents[1] / "hosts"
ERRORS = (errno.EACCES, errno.ELOOP, errno.EIO)
KEYS = {
    "cgroups.bindings": ("cpu", "freezer", "memory", "nosuch"),
    "commands": ("kubelet", "nosuch", "runc", "sh"),
    "files": ("/etc/kubernetes", "/etc/os-release", "/nosuch", "/proc/nosuch", "/var/lib/etcd"),
    "kernel.cmdline": ("nosuch", "quiet", "root"),
    "kernel.config": ("BRIDGE_NETFILTER", "NET_NS", "NOSUCH", "OVERLAY_FS"),
    "modules": ("br_netfilter", "ext4", "nf_conntrack", "nosuch", "overlay"),
    "packages": ("bash", "containerd", "kubelet", "nosuch"),
    "ports": ("10250", "22"),
    "runtime": ("containerd", "crio", "runc"),
    "swap.devices": ("/dev/sda2", "/swapfile"),
    "sysctl": (
        *("kernel.nosuch", "kernel.panic", "net.bridge.bridge-nf-call-iptables", "net.ipv4.ip_forward"),
        *("nosuch.nosuch", "vm.swappiness"),
    ),
}
# the kernel's release comes of a file or of uname(2), and uname(2) is nobody's in a tree
OF_UNAME = {"kernel.release", "kernel.config_sources"}


def places() -> Iterator[Place]:
    """Every leaf fact, and some rows of every table with their columns."""
    for name in FAMILIES:
        declared = declaration.load_family(name)
        members = {name: declared} if isinstance(declared, Table) else declared.members
        for member, fact in members.items():
            path = (name,) if isinstance(declared, Table) else (name, member)
            if isinstance(fact, Leaf):
                yield Place(path, fact)
                continue
            for key in KEYS.get(".".join(path), ("nosuch",)):
                yield from (declaration.resolve_place((*path, key, *column)) for column in ((), *zip(fact.columns)))


PLACES = list(places())


def broken(base: Type[Tree], root: str, path: str, number: int, seen: Set[str]) -> Tree:
    """A tree in which one path and all below it fail with an error."""

    class Broken(base):  # type: ignore[valid-type,misc]
        def _ask(self, asked: str, ask: Callable[[], T]) -> Observation[T]:
            seen.add(asked)

            def fail() -> T:
                raise OSError(number, os.strerror(number))

            below = path and f"{asked}/".startswith(f"{path}/")
            found: Observation[T] = super()._ask(asked, fail if below else ask)
            return found

    made: Tree = Broken(root)
    return made


def observed(tree: Tree) -> Dict[str, Observation[object]]:
    live = Live(tree, time.monotonic() + 600)
    live.patience = 60
    return {".".join(place.path): live.observe(place) for place in PLACES}


def meant(seen: Observation[object]) -> Optional[Set[str]]:
    """What a fact may be; nothing where it is unknown."""
    if isinstance(seen, Value):
        return {repr(sorted(one) if isinstance(one, frozenset) else one) for one in (seen.value, *seen.others)}
    return {"absent"} if isinstance(seen, Absent) else None


def above(root: str, paths: Set[str]) -> List[str]:
    """The paths that exist, with the directories above them."""
    every = {"/".join(path.split("/")[:depth]) for path in paths for depth in range(2, path.count("/") + 2)}
    return sorted(path for path in every if os.path.lexists(root + path) and path not in ("/proc", "/sys"))


def wrong(base: Type[Tree], root: str) -> List[str]:
    """Each fact that an unreadable path makes something that it may not be."""
    paths: Set[str] = set()
    before = observed(broken(base, root, "", 0, paths))
    found = []
    for number, path in enumerate(above(root, paths)):
        after = observed(broken(base, root, path, ERRORS[number % len(ERRORS)], set()))
        for name, seen in after.items():
            was, now = meant(before[name]), meant(seen)
            if now is not None and (was is None or not was <= now) and not (name in OF_UNAME and "/proc/sys" in path):
                found.append(f"{path}: {name} was {before[name]}, and is {seen}")
    assert len(above(root, paths)) > 3
    return found


def test_a_running_machine(tmp_path: Path) -> None:
    planted(tmp_path)
    assert wrong(Host, str(tmp_path)) == []


def test_a_joined_machine_at_rest(tmp_path: Path) -> None:
    planted(tmp_path, joined)
    assert wrong(DirectoryTree, str(tmp_path)) == []


@pytest.mark.parametrize("name", ["rest-debian-12-grub", "rest-fedora-41-bls", "debian-12-minbase"])
def test_an_image(name: str) -> None:
    assert wrong(DirectoryTree, str(HOSTS / name)) == []


GARBAGE = b"\xff\xfe\x00 not what belongs here\n\n\x01=[\n"
MALFORMED = {
    "/etc/os-release": ("os.id", "os.version", "os.codename", "os.families", "os.pretty_name"),
    "/etc/machine-id": ("os.machine_id",),
    "/proc/1/mountinfo": ("cgroups.version", "cgroups.controllers", "cgroups.bindings.cpu", "cgroups.nested"),
    "/proc/1/net/tcp": ("ports.10250",),
    "/proc/cpuinfo": ("cpu.flags", "cpu.level"),
    "/proc/meminfo": ("memory.total",),
    "/proc/modules": ("modules.nosuch",),
    "/proc/swaps": ("swap.total", "swap.devices./swapfile"),
    "/sys/fs/cgroup/cgroup.controllers": ("cgroups.controllers", "cgroups.bindings.cpu", "cgroups.bindings.nosuch"),
    "/sys/fs/cgroup/cgroup.subtree_control": ("cgroups.delegated",),
    "/var/lib/dpkg/status": ("packages.bash", "packages.nosuch"),
}


@pytest.mark.parametrize("path", MALFORMED)
def test_a_malformed_source(tmp_path: Path, path: str) -> None:
    node = planted(tmp_path)
    node.write(path, GARBAGE)
    live = Live(Host(str(tmp_path)), time.monotonic() + 600)
    for name in MALFORMED[path]:
        parts = name.split(".", 2 if name.startswith(("cgroups.bindings", "swap.devices")) else 1)
        seen = live.observe(declaration.resolve_place(tuple(parts)))
        assert isinstance(seen, Unknown), name
        assert seen.reason == "malformed"
