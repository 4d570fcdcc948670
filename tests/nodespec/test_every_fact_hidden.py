"""Every fact with each of its sources unreadable in turn: it is what it was, or unknown, and never another value."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Callable, ClassVar, Dict, Iterator, List, Mapping, Optional, Set, Tuple, Type, TypeVar

import pytest
from fit_node import Host, joined, planted

from nodespec.checks import FAMILIES
from nodespec.facts import declaration
from nodespec.facts.declaration import Leaf, Place, Table
from nodespec.facts.live import Live
from nodespec.host.directory import DirectoryTree
from nodespec.host.tree import Tree
from nodespec.model.observation import Absent, Limits, Observation, Unknown, Value

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
    """Every leaf fact, and some rows of every table with their columns, but for values that change by themselves."""
    for name in FAMILIES:
        declared = declaration.load_family(name)
        members = {name: declared} if isinstance(declared, Table) else declared.members
        for member, fact in members.items():
            path = (name,) if isinstance(declared, Table) else (name, member)
            if fact.moves is True:
                continue
            if isinstance(fact, Leaf):
                yield Place(path, fact)
                continue
            steady = [
                column for column in fact.columns if not isinstance(fact.moves, tuple) or column not in fact.moves
            ]
            for key in KEYS.get(".".join(path), ("nosuch",)):
                yield from (declaration.resolve_place((*path, key, *column)) for column in ((), *zip(steady)))


PLACES = list(places())


def broken(base: Type[Tree], root: str, path: str, number: int, seen: Set[str]) -> Tree:
    """A tree in which one path and all below it fail with an error."""

    made: Tree = breakable(base)(root)
    vars(made).update(broken=path, number=number, seen=seen)
    return made


@cache
def breakable(base: Type[Tree]) -> Type[Tree]:
    """The class of broken trees. One class serves all: a class is not freed before a garbage collection."""

    class Broken(base):  # type: ignore[valid-type,misc]
        broken, number = "", 0
        seen: ClassVar[Set[str]] = set()

        def _ask(self, asked: str, ask: Callable[[], T]) -> Observation[T]:
            self.seen.add(asked)

            def fail() -> T:
                raise OSError(self.number, os.strerror(self.number))

            below = self.broken and f"{asked}/".startswith(f"{self.broken}/")
            found: Observation[T] = super()._ask(asked, fail if below else ask)
            return found

    return Broken


def observed(tree: Tree) -> Dict[str, Observation[object]]:
    live = Live(tree, time.monotonic() + 600)
    live.limits = Limits(observation_seconds=60)
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


# What the reader of a file itself makes of garbage: nothing is assigned there, and that is no malformed source.
READ_AS_NOTHING = {
    "/etc/modules-load.d/kubernetes.conf": "systemd-modules-load logs an error for each line, and loads the others",
    "/etc/modules-load.d/k8s.conf": "likewise",
    "/etc/sysctl.d/90-kubernetes.conf": "systemd-sysctl logs an error for each line, and sets the others",
    "/usr/lib/systemd/system/kubelet.service": "a unit without ExecStart is not started",
    "/boot/loader/entries/8f1c7b0e5a5d4c0f9a3c1f2d3e4b5a69-6.11.4-301.fc41.x86_64.conf": "GRUB skips the entry",
    "/sys/class/dmi/id/sys_vendor": "a vendor that is not known",
    "/sys/class/dmi/id/product_name text": "any words are a product",
    "/boot/config-6.1.0-49-amd64": "the version is inferred from the release",
    "/proc/cmdline text": "any words are parameters",
    "/proc/sys/ text": "any words may be the value of a parameter of the kernel",
    "/sys/fs/cgroup/ text": "any words may be controllers",
}
GARBLED = {"text": b"not what belongs here\n", "zeros": b"\0" * 300, "bytes": b"\xff\xfe\x00 here\n\n\x01=[\n"}


def garbled(base: Type[Tree], root: str, path: str, data: bytes, seen: Set[str]) -> Tree:
    """A tree in which one file has other content."""

    made: Tree = garbleable(base)(root)
    vars(made).update(garbled=path, content=data, seen=seen)
    return made


@cache
def garbleable(base: Type[Tree]) -> Type[Tree]:
    """The class of garbled trees."""

    class Garbled(base):  # type: ignore[valid-type,misc]
        garbled, content = "", b""
        seen: ClassVar[Set[str]] = set()

        def _read_start(self, asked: str, size: int) -> bytes:
            self.seen.add(asked)
            read: bytes = super()._read_start(asked, size)
            return self.content[:size] if asked == self.garbled else read

    return Garbled


def believed(base: Type[Tree], root: str) -> Iterator[Tuple[str, str, str]]:
    """Each file that holds garbage, the kind, and a fact that then is another value or absent."""
    paths: Set[str] = set()
    before = observed(garbled(base, root, "", b"", paths))
    files = sorted(path for path in paths if os.path.isfile(root + path))
    assert len(files) > 5
    for kind, data in GARBLED.items():
        for path in files:
            for name, seen in observed(garbled(base, root, path, data, set())).items():
                was, now = meant(before[name]), meant(seen)
                own = name == f"files.{path}.digest"  # of what is there
                if now is not None and (was is None or not was <= now) and not own:
                    yield path, kind, f"{name} was {before[name]}, and is {seen}"


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", ["running", "joined", "rest-debian-12-grub", "rest-fedora-41-bls"])
def test_a_file_of_garbage_gives_no_value(tmp_path: Path, name: str) -> None:
    if name in ("running", "joined"):
        planted(tmp_path, *([joined] if name == "joined" else []))
    root = str(tmp_path if name in ("running", "joined") else HOSTS / name)
    for path, kind, what in believed(Host if name == "running" else DirectoryTree, root):
        assert any(
            f"{path} {kind}".startswith(one.partition(" ")[0]) and one.partition(" ")[2] in ("", kind)
            for one in READ_AS_NOTHING
        ), f"{path} ({kind}): {what}"


GARBAGE = b"\xff\xfe\x00 not what belongs here\n\n\x01=[\n"
MALFORMED = {
    "/etc/os-release": ("os.id", "os.version", "os.codename", "os.families", "os.pretty_name"),
    "/etc/machine-id": ("os.machine_id",),
    "/proc/1/mountinfo": ("cgroups.version", "cgroups.controllers", "cgroups.bindings.cpu", "cgroups.nested"),
    "/proc/cmdline": ("kernel.cmdline.quiet", "kernel.cmdline.nosuch"),
    "/proc/sys/kernel/arch": ("kernel.arch",),
    "/proc/sys/kernel/osrelease": ("kernel.release", "kernel.config_sources"),
    "/proc/sys/vm/swappiness": ("sysctl.vm.swappiness",),
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
        parts = name.split(".", 2 if name.startswith(("cgroups.bindings", "swap.devices", "kernel.cmdline")) else 1)
        seen = live.observe(declaration.resolve_place(tuple(parts)))
        assert isinstance(seen, Unknown), name
        assert seen.reason == "malformed"


NOBODY = 65534
BREAKS = ("permission", "loop", "input or output")
# What the break itself changes besides: the mode of the file, a name in its directory, the size of the mounted file,
# the program that is not executable, and the unit that is not a file any more.
CHANGED_BY_BREAK: Mapping[str, Tuple[str, ...]] = {
    "permission": ("files./etc/kubernetes.mode", "/usr/bin/", "/usr/sbin/iptables", "/sbin/modprobe"),
    "loop": (
        "files./etc/kubernetes.entries",
        "/lib/modules/6.12.107",
        "/usr/lib/modules/6.12.107",
        "/usr/lib/systemd/system/kubelet.service",
    ),
    "input or output": (
        "kernel.config_sources",
        "/usr/bin/",
        "/usr/sbin/iptables",
        "/sbin/modprobe",
        "/usr/lib/systemd/system/kubelet.service",
    ),
}


def changed_by_break(where: str, way: str) -> bool:
    """Whether the break itself changes a fact: `where` is the path, and the name of the fact."""
    path, _, name = where.partition(": ")
    return (way, name) == ("loop", f"files.{path}.target") or any(
        path.startswith(one) if one[0] == "/" else name.startswith(one) for one in CHANGED_BY_BREAK[way]
    )


@contextmanager
def broken_file(path: Path, way: str) -> Iterator[None]:
    """A path that the kernel itself refuses: without permissions, a loop of links, or with EIO, as of a broken disk."""
    aside = path.with_name(f"{path.name}.aside")
    mode = path.lstat().st_mode
    if way == "loop":
        path.rename(aside)
        path.symlink_to(path.name)
    elif way == "permission":
        path.chmod(0)
    else:  # a read of /proc/self/mem at 0 is EIO
        subprocess.run(["mount", "--bind", f"/proc/{os.getpid()}/mem", str(path)], check=True)  # noqa: S607
    try:
        yield
    finally:
        if way == "loop":
            path.unlink()
            aside.rename(path)
        elif way == "permission":
            path.chmod(mode & 0o7777)
        else:
            subprocess.run(["umount", str(path)], check=True)  # noqa: S607


@contextmanager
def as_user(user: int) -> Iterator[None]:
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.root
@pytest.mark.parametrize("way", BREAKS)
@pytest.mark.parametrize("access", ["running", "at rest"])
def test_what_the_kernel_refuses_is_unknown(tmp_path: Path, access: str, way: str) -> None:
    planted(tmp_path, *([joined] if access == "at rest" else []))
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/tmp"):  # noqa: S108 - where the kernel checks the way of another user
            folder.chmod(folder.stat().st_mode | 0o055)
    base, root = Host if access == "running" else DirectoryTree, str(tmp_path)
    user = NOBODY if way == "permission" else 0  # root has all permissions
    paths: Set[str] = set()
    with as_user(user):
        before = observed(broken(base, root, "", 0, paths))
    found = []
    tried = [path for path in above(root, paths) if way == "loop" or not os.path.islink(root + path)]
    tried = [path for path in tried if way != "input or output" or os.path.isfile(root + path)]
    tried = [path for path in tried if not f"{path}/".startswith("/answers/")]  # peers, which are no part of the host
    assert len(tried) > 10
    for path in tried:
        with broken_file(Path(root + path), way), as_user(user):
            after = observed(base(root))
        for name, seen in after.items():
            was, now = meant(before[name]), meant(seen)
            if now is not None and (was is None or not was <= now) and not (name in OF_UNAME and "/proc/sys" in path):
                found.append(f"{path}: {name} was {before[name]}, and is {seen}")
    found = [one for one in found if not changed_by_break(one.partition(" was ")[0], way)]
    assert found == [], "\n".join(found)


OBSERVE = """
import sys
sys.path[:0] = sys.argv[2:]
from test_every_fact_hidden import Host, meant, observed
print(*sorted(f"{name} {sorted(meant(seen) or [])}" for name, seen in observed(Host(sys.argv[1])).items()), sep="\\n")
"""


def test_a_user_namespace_that_maps_nobody_makes_nothing_another_value(tmp_path: Path) -> None:
    planted(tmp_path)
    words = ["unshare", "-U", sys.executable, "-c", OBSERVE, str(tmp_path), *sys.path]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if "unshare failed" in done.stderr:
        pytest.skip("user namespaces are not allowed here")
    inside = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line)
    outside = {name: str(sorted(meant(seen) or [])) for name, seen in observed(Host(str(tmp_path))).items()}
    assert inside.keys() == outside.keys()
    differ = {name: (outside[name], seen) for name, seen in inside.items() if seen not in (outside[name], "[]")}
    assert differ == {}
    assert sum(seen != "[]" for seen in inside.values()) > 60
