"""The parsers of what somebody else wrote: each takes bytes, and comes to nothing unforeseen.

A parser raises here what nodespec would end by: whatever its caller does not turn into a mistake that is told, or into
an observation that is unknown for a reason other than a defect.
"""

from __future__ import annotations

import contextlib
import gzip
import sqlite3
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict, Mapping, Sequence
from unittest import mock

import archives
import peers
import written
from feed import Parser, bomb, by_bytes, samples
from hosts import File, choices, on_host

from nodespec.checks import _kernel_config_inferred, _rpm
from nodespec.checks._kernel_config_inferred import infer_options
from nodespec.formats import mountinfo as mounts

if TYPE_CHECKING:
    from mutation import Program

    from nodespec.host.tree import Tree
    from nodespec.model.observation import Observation

HYBRID = ("cgroup-hybrid-systemd",)


def specs() -> Parser:
    words = "is any all none not only equals matches param present absent enabled >=1.2 <5 || require rules when every"
    more = "where some kernel.config packages version files sysctl aliases drop extends params choices why null ~ 1e9"
    seeds = (*written.bad_specs(), *written.shown_specs())
    return by_bytes(written.spec, seeds, f"{words} {more}")._replace(extremes=lambda: NESTED)


NESTED = (
    b"nodespec: 1\nrequire: " + b"{a: " * 50_000,
    b"nodespec: 1\nrequire: " + b"[" * 200_000,
    b"nodespec: 1\n" + b"- " * 200_000,
    b"nodespec: 1\nrequire: {kernel: {version: '" + b">=1 || " * 20_000 + b"<2'}}",
    b"nodespec: 1\nrequire: {kernel: {release: {matches: '" + b"(a*)*" * 2_000 + b"'}}}",
    b"nodespec: 1\nrules:\n"
    + b"".join(b"  - {name: r%d, require: {swap: {total: %d}}}\n" % (n, n) for n in range(900)),
    b"nodespec: 1\nrules:\n  - {name: r, any: [" + b"{swap: {total: 1}}, " * 9_000 + b"{swap: {total: 0}}]}",
    b"nodespec: 1\nrequire: {os: {id: [" + b"a, " * 90_000 + b"b]}}",
)


def sysspecs() -> Parser:
    words = "os kernelSpec required forbidden name aliases description cgroupsV2 packageSpecs versionRange osDistro >=1"
    return by_bytes(written.spec, samples("sysspec/*"), words)


def waivers() -> Parser:
    words = "ids hosts reason owner expires nodespec-waivers 2026-02-30 * [] {} null"
    return by_bytes(written.waiver, samples("waivers/*"), words)


def kernel_configs() -> Parser:
    read = on_host(
        File("/proc/config.gz", ("kernel.config",), ("USER_NS", "OVERLAY_FS", "HZ", "LSM", "X")), hosts=HYBRID
    )
    seeds = (*samples("kernel-*/boot/config-*", "fit-node/boot/config-*"), b'CONFIG_LSM="a,b"\nCONFIG_X=0x1f\n# X\n')
    words = "CONFIG_USER_NS =y =m is not set # Linux/x86 6.1.0 Kernel Configuration CONFIG_"

    inferred: Dict[str, Mapping[str, Observation[str]]] = {}

    def infer_once(machine: Tree) -> Mapping[str, Observation[str]]:
        """Infer what the rest of the host shows, which is the same for every input and costs ten times as much."""
        if machine.root not in inferred:
            inferred[machine.root] = infer_options(machine)
        return inferred[machine.root]

    def read_quickly(data: bytes) -> None:
        with mock.patch.object(_kernel_config_inferred, "infer_options", infer_once):
            read(data)

    def packed(data: bytes, program: Program) -> bytes:
        return gzip.compress(data, 1, mtime=0) if program.below(4) == 0 else data

    return by_bytes(read_quickly, seeds, words, packed)._replace(
        extremes=lambda: (bomb(b"CONFIG_X=y\n"), bytes(20 << 20))
    )


def os_release() -> Parser:
    read = on_host(File("/etc/os-release", ("os",)))
    return by_bytes(read, samples("*/usr/lib/os-release", "os-release/*"), "ID ID_LIKE VERSION_ID VERSION \\ ' $ `")


def dpkg() -> Parser:
    read = on_host(File("/var/lib/dpkg/status", ("packages",), ("containerd", "libc6:i386", "libc6", "bash")))
    words = "Package: Status: Version: Architecture: install ok installed config-files 1:2~rc1-1 +really \\n\\n amd64"
    return by_bytes(read, samples("dpkg/*", "debian-12-minbase/var/lib/dpkg/status"), words)


def apk() -> Parser:
    read = on_host(File("/lib/apk/db/installed", ("packages",), ("busybox", "musl")))
    return by_bytes(read, samples("apk/*"), "P: V: A: -r1 _git_rc1 busybox")


def header(**said: str) -> bytes:
    """A header as rpm writes one; of texts."""
    tags = {name: tag for tag, name in _rpm.TAGS.items()}
    index, store = b"", b""
    for name, value in said.items():
        index += struct.pack(">4I", tags[name], _rpm.STRING, len(store), 1)
        store += value.encode() + b"\0"
    return struct.pack(">2I", len(said), len(store)) + index + store


HEADERS = (
    header(name="containerd", version="2.1.5", release="1.el9", architecture="x86_64"),
    header(name="glibc", version="2.34", release="100.el9_4.2"),
    header(name="gpg-pubkey", version="1", release="2") + b"x" * 700,
)


def rpm_headers() -> Parser:
    def read(data: bytes) -> None:
        with contextlib.suppress(ValueError, LookupError):  # which its caller makes unknown (malformed)
            assert all(isinstance(text, str) for text in _rpm.parse_rpm_header(data).values())

    return by_bytes(read, HEADERS, "\0\0\x03\xe8 \0\0\0\6 x86_64")


def rpm_databases() -> Parser:
    """Pages of SQLite, of 512 bytes each."""
    read = on_host(File("/var/lib/rpm/rpmdb.sqlite", ("packages",), ("containerd", "glibc")))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "db"
        with contextlib.closing(sqlite3.connect(path)) as made:
            made.execute("PRAGMA page_size = 512")
            made.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
            made.execute("CREATE TABLE Name (key TEXT, hnum INTEGER, idx INTEGER)")
            made.executemany("INSERT INTO Packages (blob) VALUES (?)", [(one,) for one in HEADERS * 3])
            made.commit()
        data = path.read_bytes()
    return by_bytes(read, (data, data[:2048]), "Packages CREATE \x0d\0\0\0\5 \5\0\0\0\1", most=len(data))


def mountinfo() -> Parser:
    read = on_host(File("/proc/1/mountinfo", ("cgroups",), ("cpu", "io")), hosts=HYBRID)

    def both(data: bytes) -> None:
        with contextlib.suppress(ValueError):
            found = mounts.parse_mounts(data.decode("utf-8", "backslashreplace"))
            assert set(mounts.list_reachable_mounts(found, "cgroup", "cgroup2", "tmpfs")) <= set(found)
        read(data)

    return by_bytes(
        both, samples("*/proc/1/mountinfo"), "- cgroup cgroup2 tmpfs / \\040 rw,cpu shared:1 /sys/fs/cgroup"
    )


def several(
    files: Mapping[File, Sequence[str]], words: str, *, hosts: Sequence[str] = (), rest: bool = False
) -> Parser:
    """Files of one kind of host, each with patterns of its samples."""
    seeds = choices(tuple(files), [samples(*patterns) for patterns in files.values()])
    return by_bytes(on_host(*files, hosts=hosts, rest=rest), seeds, words)


def cgroups() -> Parser:
    asked = (("cgroups",), ("cpu", "io", "devices"))
    files = {
        File("/proc/1/cgroup", *asked): ("*/proc/1/cgroup",),
        File("/proc/cgroups", *asked): ("*/proc/cgroups",),
        File("/sys/fs/cgroup/unified/cgroup.controllers", *asked): ("*/sys/fs/cgroup/**/cgroup.controllers",),
    }
    return several(files, "0:: cpu,cpuacct memory io name=systemd 0 1 :/ ../", hosts=HYBRID)


def proc() -> Parser:
    files = {
        File("/proc/cpuinfo", ("cpu",)): ("*/proc/cpuinfo",),
        File("/sys/devices/system/cpu/online", ("cpu",)): ("*/sys/devices/system/cpu/online",),
        File("/proc/meminfo", ("memory",)): ("*/proc/meminfo",),
        File("/proc/swaps", ("swap",), ("/dev/vdb2",)): ("*/proc/swaps",),
        File("/proc/modules", ("modules",), ("overlay", "br_netfilter")): ("*/proc/modules",),
        File("/proc/cmdline", ("kernel.cmdline",), ("quiet", "a.b", "overlay")): ("*/proc/cmdline",),
        File("/proc/version", ("kernel.version",)): ("*/proc/version",),
        File("/proc/1/net/tcp", ("ports",), ("6443", "53/udp")): ("*/proc/1/net/tcp",),
        File("/proc/1/net/tcp6", ("ports",), ("6443",)): ("*/proc/1/net/tcp6",),
        File("/proc/sys/kernel/tainted", ("kernel.taints",)): ("*/proc/sys/kernel/tainted",),
        File("/sys/kernel/security/lockdown", ("kernel.lockdown",)): ("*/sys/kernel/security/lockdown",),
        File("/proc/sys/user/max_user_namespaces", ("namespaces", "sysctl"), ("user.max_user_namespaces",)): (
            "*/proc/sys/user/max_user_namespaces",
        ),
        File("/etc/machine-id", ("os",)): ("*/etc/machine-id",),
    }
    return several(
        files, "0A flags MemTotal: kB partition Live - 0-3,5 none [integrity] 00000000:192B", hosts=("fit-node",)
    )


def modules() -> Parser:
    asked = (("modules",), ("overlay", "br_netfilter", "nf-conntrack"))
    (kernel,) = (HOST / "usr/lib/modules").iterdir()
    lists = {File(f"/usr/lib/modules/{kernel.name}/{name}", *asked): (f"*/usr/lib/modules/*/{name}",) for name in LISTS}
    files = {File("/etc/modprobe.d/node.conf", *asked): ("modprobe/*", "*/usr/lib/modprobe.d/*"), **lists}
    return several(
        files,
        "install blacklist alias options softdep /bin/false : .ko.xz kernel/fs/ br_netfilter",
        hosts=("fit-node",),
    )


HOST = Path(__file__).parents[1] / "hosts" / "fit-node"
LISTS = ("modules.dep", "modules.builtin", "modules.order")


def sysctl() -> Parser:
    keys = ("net.ipv4.ip_forward", "net.ipv4.conf.eth0/100.forwarding", "vm.swappiness", "net.bridge.x", "kernel.panic")
    files = {File("/etc/sysctl.d/99-node.conf", ("sysctl",), keys): ("sysctl/*", "*/etc/sysctl.d/*")}
    return several(files, "net.ipv4.conf.* = - / # ; [a-z] ip_forward", rest=True)


def runtimes() -> Parser:
    asked = (("runtime",), ("containerd", "crio", "docker"))
    files = {
        File("/etc/containerd/config.toml", *asked): ("containerd/*.toml",),
        File("/etc/crio/crio.conf", *asked): ("containerd/*.conf",),
        File("/etc/docker/daemon.json", *asked): ("containerd/*.json",),
    }
    return several(
        files, "plugins SystemdCgroup true imports = [ ] { } ''' \" # snapshotter version options", rest=True
    )


def units() -> Parser:
    asked = (("swap", "kubelet", "sysctl"), ("/dev/vdb2", "vm.swappiness"))
    files = {
        File("/etc/fstab", *asked): ("units/fstab",),
        File("/etc/systemd/system/data.swap", *asked): ("units/*.swap",),
        File("/etc/systemd/system/kubelet.service", *asked): ("units/*.service",),
        File("/etc/systemd/zram-generator.conf", *asked): ("units/zram*",),
        File("/etc/systemd/system-preset/90-default.preset", *asked): ("units/*.preset",),
    }
    return several(files, "[Unit] [Swap] What= WantedBy=swap.target swap noauto none \\ % enable disable *", rest=True)


def boot_loaders() -> Parser:
    asked = (("kernel.next", "kernel.cmdline"), ("root", "quiet"))
    files = {
        File("/boot/grub/grub.cfg", *asked): ("*/boot/grub/grub.cfg", "*/boot/grub2/grub.cfg"),
        File("/boot/grub/grubenv", *asked): ("*/boot/grub/grubenv",),
        File("/boot/loader/entries/a+1-2.conf", *asked): ("*/boot/loader/entries/*.conf",),
        File("/boot/extlinux/extlinux.conf", *asked): ("*/boot/loader/entries/*.conf",),
    }
    words = """menuentry submenu function if then elif else fi for in do done { } [ ] "${x}" $1 set default=
    linux /vmlinuz-1
    source configfile load_env blscfg search --set=root saved_entry= label append include default menu title options"""
    return several(files, words, hosts=("rest-debian-12-grub",), rest=True)


PARSERS: Mapping[str, Callable[[], Parser]] = {
    "specs": specs,
    "sysspecs": sysspecs,
    "waivers": waivers,
    "recordings": written.recordings,
    "kernel-configs": kernel_configs,
    "os-release": os_release,
    "dpkg": dpkg,
    "apk": apk,
    "rpm-headers": rpm_headers,
    "rpm-databases": rpm_databases,
    "mountinfo": mountinfo,
    "cgroups": cgroups,
    "proc": proc,
    "modules": modules,
    "sysctl.d": sysctl,
    "runtime-files": runtimes,
    "units": units,
    "boot-loaders": boot_loaders,
    "cri": peers.replies,
    "grpc": peers.streams,
    "hpack": peers.compressed_headers,
    "protobuf": peers.messages,
    "tars": archives.tars,
    "compressed": archives.streams,
    "oci": archives.layouts,
}
