"""The fit node of tests/hosts: planted as a tree, changed as nodes differ, edited in one place and put back."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple, Union

import fake_peers
from unhurried import PATIENCE

from nodespec.author.spec.library import Library
from nodespec.author.spec.resolver import resolve
from nodespec.facts.live import Live
from nodespec.host.machine import Machine, ProgramResult
from nodespec.host.tree import Entry
from nodespec.judge.judge import Terms, judge
from nodespec.model.observation import Absent, Evidence, Lacking, Observation, Unknown, Value
from nodespec.model.plan import Plan
from nodespec.model.report import Report, Seat
from nodespec.run import host_identity

HOSTS = Path(__file__).parent / "hosts"
NOW = 1_790_000_000.0  # 2026-09-21, the clock of every report on it
OWN = {space: os.readlink(f"/proc/self/ns/{space}") for space in ("net", "ipc", "uts", "user", "pid")}
SPACES = {"cgroup": "cgroup:[4026531835]", "mnt": "mnt:[4026531832]", "time": "time:[4026531834]", **OWN}
STRANGER = 1000  # whose files are, in answers/strangers


class Host(Machine):
    """The machine of which a tree is the root. What its programs and sockets answer stands in the tree as well."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.process = "/proc/self"  # as of a machine that is looked at from within

    def uname(self) -> Tuple[str, str]:
        named = self.line("/proc/sys/kernel/osrelease")
        return named.value if isinstance(named, Value) else "", "x86_64"

    def run(self, argv: Sequence[str]) -> Observation[ProgramResult]:
        assert [*argv[1:]] == ["--version"], argv
        program = self.program(argv[0])
        said = self.text(f"/answers/programs/{argv[0]}") if isinstance(program, Value) else program
        if isinstance(said, Value):
            return Value(ProgramResult(0, said.value), Evidence(" ".join(argv)))
        return Unknown("failed", f"{argv[0]} prints nothing") if isinstance(program, Value) else said

    def connect(self, path: str) -> Union[socket.socket, Lacking]:
        methods = Path(f"{self.root}/answers{path}")
        if not methods.is_dir():
            return Absent(Evidence(path))
        peer, server = socket.socketpair()
        peer.settimeout(self.patience)
        threading.Thread(target=_serve, args=(server, methods), daemon=True).start()
        return peer

    def entry(self, path: str, *, follow: bool = True) -> Observation[Entry]:
        """Who runs the tests owns the tree, and stands for root."""
        strangers = Path(f"{self.root}/answers/strangers")
        own = not strangers.exists() or path not in strangers.read_text().split()
        return super().entry(path, follow=follow).then(lambda found: found._replace(uid=0 if own else STRANGER))


def _serve(server: socket.socket, methods: Path) -> None:
    replies: Mapping[str, fake_peers.Reply] = {
        str(file.relative_to(methods)): file.read_bytes() for file in methods.rglob("*") if file.is_file()
    }
    with server, suppress(OSError):
        server.settimeout(PATIENCE)
        if server.recv(1, socket.MSG_PEEK):
            fake_peers.grpc(replies)(server)


class Before(NamedTuple):
    """What stood at a path: a link with its target, a file with content and mode, a folder, or nothing."""

    kind: str = ""
    content: bytes = b""
    mode: int = 0


class Node:
    """A planted tree. Every change is noted, so that `edited` can put back what was there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._before: Dict[Path, Before] = {}

    def lay(self, name: str) -> None:
        """Lay the files of a host over the tree, which has its control groups or those of the tree, never both."""
        if (HOSTS / name / "sys/fs/cgroup").exists() and (self.root / "sys/fs/cgroup").exists():
            shutil.rmtree(self.root / "sys/fs/cgroup")
        shutil.copytree(HOSTS / name, self.root, symlinks=True, dirs_exist_ok=True)

    def text(self, path: str) -> str:
        return self._at(path).read_text()

    def paths(self, pattern: str) -> List[str]:
        """The paths that match a pattern."""
        return [f"/{found.relative_to(self.root)}" for found in sorted(self.root.glob(pattern.lstrip("/")))]

    def write(self, path: str, content: Union[str, bytes], mode: int = 0o644) -> None:
        place = self._noted(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        place.chmod(mode)

    def link(self, path: str, target: str) -> None:
        place = self._noted(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(target)

    def remove(self, path: str) -> None:
        """Take away a file, a link or an empty folder."""
        place = self._noted(path)
        place.rmdir() if place.is_dir() and not place.is_symlink() else place.unlink()

    def replace(self, path: str, old: Union[str, bytes], new: Union[str, bytes]) -> None:
        """Change what stands in a file once and only once."""
        before, after = (one.encode() if isinstance(one, str) else one for one in (old, new))
        content = self._at(path).read_bytes()
        assert content.count(before) == 1, f"{path}: {before!r} stands there {content.count(before)} times"
        self.write(path, content.replace(before, after))

    @contextmanager
    def edited(self) -> Iterator[None]:
        """What is changed within is put back."""
        self._before.clear()
        try:
            yield
        finally:
            for place, before in reversed(self._before.items()):
                _put(place, before)

    def _at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def _noted(self, path: str) -> Path:
        place = self._at(path)
        missing = [folder for folder in place.parents if not folder.exists()]
        for one in (*reversed(missing), place):
            self._before.setdefault(one, _found(one))
        return place


def _found(place: Path) -> Before:
    if place.is_symlink():
        return Before("link", os.fsencode(os.readlink(place)))
    if place.is_dir():
        return Before("folder")
    return Before("file", place.read_bytes(), place.stat().st_mode) if place.exists() else Before()


def _put(place: Path, before: Before) -> None:
    if place.is_dir() and not place.is_symlink():
        place.rmdir()
    else:
        place.unlink(missing_ok=True)
    if before.kind == "link":
        place.symlink_to(os.fsdecode(before.content))
    elif before.kind == "folder":
        place.mkdir()
    elif before.kind == "file":
        place.write_bytes(before.content)
        place.chmod(before.mode)


Change = Callable[[Node], None]


def planted(root: Path, *changes: Change) -> Node:
    """A fit node below a folder, changed."""
    shutil.copytree(HOSTS / "fit-node", root, symlinks=True, dirs_exist_ok=True)
    node = Node(root)
    (root / "run/systemd/system").mkdir(parents=True, exist_ok=True)
    for space, link in SPACES.items():
        node.link(f"/proc/1/ns/{space}", link)
    for change in changes:
        change(node)
    return node


def laid(name: str) -> Change:
    """The change to what another host of tests/hosts has."""
    return lambda node: node.lay(name)


def containerd_1(node: Node) -> None:
    """containerd 1, which has no RuntimeConfig and tells its cgroup driver in its status alone."""
    node.lay("fit-node-containerd-1")
    node.remove("/answers/run/containerd/containerd.sock/runtime.v1.RuntimeService/RuntimeConfig")


def listening(port: int) -> str:
    """A line of /proc/net/tcp."""
    return f"   9: 00000000:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 999 1 0\n"


def joined(node: Node) -> None:
    """What kubeadm, the kubelet, kube-proxy and a control plane have brought about when a node is in a cluster."""
    node.lay("fit-node-joined")
    node.write("/etc/kubernetes/kubelet.conf", "apiVersion: v1\nkind: Config\n", 0o600)
    node.write("/var/lib/kubelet/config.yaml", "kind: KubeletConfiguration\n")
    node.write("/proc/1234/comm", "kubelet\n")
    ports = (10250, 10248, 10256, 10249, 6443, 10257, 10259, 2379, 2380)
    node.write("/proc/1/net/tcp", node.text("/proc/1/net/tcp") + "".join(map(listening, ports)))


def image(node: Node) -> None:
    """As the last step of making an image leaves it."""
    node.write("/etc/machine-id", "uninitialized\n")
    node.remove("/etc/ssh/ssh_host_ed25519_key")


def swapping(node: Node) -> None:
    node.write("/proc/swaps", node.text("/proc/swaps") + "/dev/vdb2 partition\t2097148\t0\t-2\n")


def legacy(node: Node) -> None:
    """On control groups version 1, by a kernel that has all of them."""
    node.lay("fit-node-legacy")
    for option in ("MEMCG_V1", "CPUSETS_V1"):
        configured(node, option, f"# CONFIG_{option} is not set", f"CONFIG_{option}=y")


def aufs(node: Node) -> None:
    """With a kernel that has the patches of aufs, as Ubuntu's had until 20.04."""
    configured(node, "AUFS_FS", "CONFIG_OVERLAY_FS=m", "CONFIG_OVERLAY_FS=m\nCONFIG_AUFS_FS=m")


def configured(node: Node, option: str, old: str, new: str) -> None:
    (path,) = node.paths("/boot/config-*")
    assert f"CONFIG_{option}=" not in node.text(path) or f"CONFIG_{option}=" in old
    node.replace(path, f"\n{old}\n", f"\n{new}\n")


LIBRARY = Library()


def plan(names: Sequence[str], given: Mapping[str, str] = {}) -> Plan:
    return resolve(names, LIBRARY, given)


def report(node: Node, asked: Plan) -> Report:
    """The report on a node as it would be read on it, by root."""
    host = Host(str(node.root))
    live = Live(host, float("inf"))
    found = host_identity.identify_host(host, live)._replace(user="root")
    seat = Seat("running", "live", found, host_identity.list_notices(found, "/"))
    return judge(asked, live, seat, Terms(NOW))
