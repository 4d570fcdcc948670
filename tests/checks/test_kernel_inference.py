"""What a running kernel shows of how it was built. The hosts were recorded by tests/stages/inference.py."""

from __future__ import annotations

import os
import shutil
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Mapping, Optional, Union

import pytest
from conftest import HOSTS

from nodespec.checks import _kernel_config_evidence, _kernel_config_inferred, kernel
from nodespec.host.machine import Machine
from nodespec.model.observation import Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

    from nodespec.facts.declaration import Row

BAR = 95
LIVING = (Path(__file__).parent / "kernel_options.txt").read_text().split()
BUILT = {path.parent.name: path for path in sorted(HOSTS.glob("kernel-*/truth.config"))}
ON, NOT_ON = {"y", "m"}, {"n", "undefined"}


def truth(host: str) -> dict[str, str]:
    rows = dict(line[len("CONFIG_") :].split("=", 1) for line in BUILT[host].read_text().splitlines())
    return {name: rows.get(name, "undefined") for name in LIVING}


def may_be(row: Observation[Row]) -> set[str]:
    """Everything that an observation leaves open."""
    return {str(row.value), *map(str, row.others)} if isinstance(row, Value) else ON | NOT_ON


@pytest.mark.parametrize("host", BUILT)
def test_enough_is_decided_and_nothing_wrongly(host: str) -> None:
    rows = kernel.config.probe(Machine(str(HOSTS / host)))
    open_ = {name: may_be(rows.observe(name)) for name in LIVING}
    assert [name for name, built in truth(host).items() if built not in open_[name]] == []
    assert sum(values <= ON or values <= NOT_ON for values in open_.values()) >= BAR


def test_the_hosts_are_three_kernels_with_modules_and_one_without() -> None:
    assert len(BUILT) == 4
    assert sum((HOSTS / host / "proc/modules").exists() for host in BUILT) == 3


@pytest.mark.parametrize("host", BUILT)
def test_the_evidence_is_declared_and_says_that_it_is_inferred(host: str) -> None:
    rows = kernel.config.probe(Machine(str(HOSTS / host))).every()
    assert len(rows) > len(LIVING)
    for row in rows.values():
        assert isinstance(row, Value)
        assert row.evidence.inferred
        assert any(fnmatchcase(row.evidence.source, source) for source in kernel.config.sources)


@pytest.mark.parametrize("host", BUILT)
@pytest.mark.parametrize(
    "hidden",
    [
        "proc/kallsyms",
        "lib",
        "proc/filesystems",
        "proc/cgroups",
        "sys/fs",
        "sys",
        "proc/1",
        "proc/1/maps",
        "proc/1/status",
        "proc/cmdline",
        "proc/sys",
        "proc",
    ],
)
def test_what_cannot_be_seen_decides_nothing(host: str, hidden: str, tmp_path: Path) -> None:
    root = tmp_path / host
    shutil.copytree(HOSTS / host, root)
    gone = root / hidden
    if gone.is_dir():
        shutil.rmtree(gone)
    elif gone.exists():
        gone.unlink()
    rows = kernel.config.probe(Machine(str(root)))
    assert [name for name, built in truth(host).items() if built not in may_be(rows.observe(name))] == []


def test_every_option_that_lives_has_a_way_to_be_shown() -> None:
    ways = {
        *_kernel_config_evidence.MODULES,
        *_kernel_config_evidence.WITHIN,
        *_kernel_config_evidence.SIGNS,
        *_kernel_config_evidence.IMPLIED,
        *_kernel_config_evidence.ALIASES,
    }
    assert {*LIVING} - ways == {"CRYPTO_AEAD", "EXT4_USE_FOR_EXT2", "LEGACY_VSYSCALL_NONE"}


def look(make_tree: MakeTree, name: str, files: Mapping[str, Union[str, None]]) -> Optional[Value[str]]:
    base = {"/proc/self/stat": "", "/proc/1/stat": "", "/proc/sys/kernel/osrelease": "6.1.9", "/sys/kernel/x": ""}
    return _kernel_config_inferred.infer_option(Machine(make_tree({**base, **files})), name)


def seen(value: str, source: str, line: int = 0, *others: str) -> Value[str]:
    return Value(value, Evidence(source, line, inferred=True), others)


TREE = "/lib/modules/6.1.9"
BUILTIN, ORDER = f"{TREE}/modules.builtin", f"{TREE}/modules.order"
NET6 = "/proc/sys/net/ipv6"
NAMES, LOADED, FS = "/proc/kallsyms", "/proc/modules", "/proc/filesystems"


def tree(builtin: str = "", *order: str) -> dict[str, str]:
    """A module tree that lists these."""
    lines = "".join(f"kernel/x/{name}.ko\n" for name in order)
    return {BUILTIN: f"kernel/x/{builtin}.ko\n" if builtin else "", ORDER: lines}


def kernel_with(*symbols: str, modules: Optional[str] = None) -> dict[str, str]:
    """A kernel of these functions; if it loads modules, with these."""
    names = "".join(f"0000000000000000 t {name}\n" for name in ("schedule", "vfs_read", *symbols))
    rows = "".join(f"{name} 163840 0 - Live 0x0\n" for name in (modules or "").split())
    return {NAMES: names, **({} if modules is None else {LOADED: rows})}


def off(source: str, line: int = 0) -> Value[str]:
    return seen("n", source, line, "undefined")


@pytest.mark.parametrize(
    ("name", "files", "expected"),
    [
        ("EXT4_FS", tree("ext4"), seen("y", BUILTIN, 1)),
        ("VLAN_8021Q", tree("", "a", "8021q"), seen("m", ORDER, 2)),
        ("BLK_DEV_DM", tree("", "dm-mod"), seen("m", ORDER, 1)),
        ("BRIDGE", tree(), off(ORDER)),
        ("BRIDGE", {f"/usr{path}": "" for path in tree()}, off(f"/usr{ORDER}")),
        ("IPV6", {**tree(), **kernel_with("inet6_create", modules="")}, seen("y", NAMES)),  # no module any more: 7.x
        ("IPV6", {**tree(), **kernel_with(modules="")}, off(ORDER)),
        # without symbols: a module up to Linux 7.1, and part of the kernel later, which no list has
        ("IPV6", tree(), None),
        ("IPV6", {**tree(), "/proc/sys/net/ipv6/x": "", "/proc/sys/kernel/osrelease": "6.1.9"}, seen("y", NET6)),
        # one list alone does not say what is in neither
        ("BRIDGE", {BUILTIN: ""}, None),
        ("BRIDGE", {ORDER: "", f"{TREE}/modules.dep": "kernel/net/bridge/bridge.ko:"}, None),
        # what runs, where no list is
        ("OVERLAY_FS", kernel_with(modules="overlay"), seen("m", LOADED, 1)),
        ("WIREGUARD", {LOADED: "wireguard 94208 0 - Live 0x0 (OE)"}, None),  # not the kernel's own
        ("WIREGUARD", {LOADED: "wireguard 94208 0 - Live 0x0 (E)"}, seen("m", LOADED, 1)),
        ("IPV6", {LOADED: "", "/sys/module/ipv6/x": ""}, seen("y", "/sys/module/ipv6")),
        ("IPV6", {LOADED: "", "/sys/module/ipv6/initstate": "going"}, None),  # between two reads
        ("VETH", kernel_with("veth_xmit", modules=""), seen("y", NAMES)),
        ("VETH", kernel_with("veth_xmit.llvm.77", modules=""), seen("y", NAMES)),
        ("VETH", kernel_with("veth_xmit\t[veth]", modules=""), None),
        ("VETH", kernel_with("veth_xmit.cold\t[veth]", modules=""), None),
        ("VETH", kernel_with(modules=""), None),  # it may be a module that is not loaded
        ("VETH", kernel_with(), off(NAMES)),  # no modules at all
        ("VETH", {NAMES: "0000 T schedule\n"}, None),  # not the whole list
        ("XFS_FS", {LOADED: "", FS: "\txfs\n"}, seen("y", FS)),
        ("XFS_FS", {LOADED: None, FS: "\txfs\n"}, seen("y", FS, 0, "m")),
        ("EXT2_FS", {LOADED: "", FS: "\text2\n"}, None),  # ext4 may answer for it
        # what is no module
        ("NET_NS", {"/proc/1/ns/net": ""}, seen("y", "/proc/1/ns/net")),
        ("NET_NS", {"/proc/1/ns/mnt": ""}, off("/proc/1/ns/net")),
        ("NAMESPACES", {"/proc/1/ns/uts": ""}, seen("y", "/proc/1/ns/uts")),
        ("NAMESPACES", {"/proc/1/ns/mnt": ""}, None),
        ("POSIX_MQUEUE", {FS: "nodev\tproc\n"}, off(FS)),
        ("POSIX_MQUEUE", {FS: ""}, None),
        ("SMP", {"/proc/sys/kernel/version": "#1 SMP PREEMPT"}, seen("y", "/proc/sys/kernel/version")),
        ("SMP", {"/proc/sys/kernel/version": "#1 PREEMPT"}, off("/proc/sys/kernel/version")),
        # /proc/cgroups leaves out what has no version 1, and cgroup.controllers what is bound to it
        ("MEMCG", {"/proc/cgroups": "cpu 0 1 1\n"}, None),
        ("MEMCG", {"/proc/cgroups": "memory 0 1 0\n"}, seen("y", "/proc/cgroups")),
        ("MEMCG", {"/proc/cgroups": "", **kernel_with()}, off(NAMES)),
        (
            "BLK_CGROUP",
            {_kernel_config_evidence.CONTROLLERS: "cpu io\n"},
            seen("y", _kernel_config_evidence.CONTROLLERS),
        ),
        ("CGROUP_HUGETLB", {_kernel_config_evidence.HYBRID: "hugetlb\n"}, seen("y", _kernel_config_evidence.HYBRID)),
        # SELinux may be built in and not on: only its code tells
        ("SECURITY_SELINUX", {"/sys/kernel/security/lsm": "capability"}, None),
        ("SECURITY_SELINUX", kernel_with("selinux_inode_permission"), seen("y", NAMES)),
        # parts of modules
        ("EXT4_FS_POSIX_ACL", kernel_with("ext4_get_acl\t[ext4]", modules="ext4"), seen("y", NAMES)),
        ("EXT4_FS_POSIX_ACL", kernel_with("ext4_get_acl", modules="ext4"), off(NAMES)),
        ("EXT4_FS_SECURITY", {**tree("", "ext4"), **kernel_with(modules="")}, None),
        ("EXT4_FS_SECURITY", {**tree("ext4"), **kernel_with(modules="")}, off(NAMES)),
        ("EXT4_FS_SECURITY", {**kernel_with(), LOADED: None, FS: "\text4\n"}, None),  # y or m
        ("IP_VS_NFCT", {**tree(), **kernel_with(modules="")}, off(ORDER)),
        # an alias is off with what it needs, and else not told
        ("IP_NF_TARGET_REDIRECT", tree("", "xt_REDIRECT"), off(ORDER)),
        ("IP_NF_TARGET_REDIRECT", tree("", "iptable_nat"), off(ORDER)),
        ("IP_NF_TARGET_REDIRECT", tree("", "xt_REDIRECT", "iptable_nat"), None),
        ("NETFILTER_ADVANCED", tree("", "xt_comment"), seen("y", ORDER, 1)),
        ("NETFILTER_ADVANCED", tree(), None),
        ("CRYPTO_AEAD", tree("gcm", "seqiv"), seen("y", BUILTIN, 1)),
        ("CRYPTO_AEAD", tree("", "gcm"), seen("m", ORDER, 1, "y")),
        ("CRYPTO_AEAD", tree("", "aead"), None),
        ("CRYPTO_AEAD", tree(), off(ORDER)),
        ("EXT4_USE_FOR_EXT2", {**tree("ext4"), FS: "\text2\n\text4\n"}, seen("y", FS)),
        ("EXT4_USE_FOR_EXT2", {**tree("ext4"), FS: "\text4\n"}, off(FS)),
        ("EXT4_USE_FOR_EXT2", {**tree("ext4", "ext2"), FS: "\text2\n\text4\n"}, off(ORDER, 1)),
        ("EXT4_USE_FOR_EXT2", {**tree("", "ext4"), FS: "\txfs\n"}, None),
        ("NO_SUCH_OPTION", tree(), None),
    ],
)
def test_what_shows_an_option(
    name: str, files: Mapping[str, Optional[str]], expected: Optional[Value[str]], make_tree: MakeTree
) -> None:
    assert look(make_tree, name, files) == expected


VSYSCALL = {**kernel_with("map_vsyscall"), "/proc/cmdline": "quiet\n"}
STACK = "7ffd688ac000-7ffd688cd000 rw-p 00000000 00:00 0 [stack]\n"
PAGE = "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({**VSYSCALL, "/proc/1/maps": STACK}, seen("y", "/proc/1/maps")),
        ({**VSYSCALL, "/proc/1/maps": STACK + PAGE}, off("/proc/1/maps")),
        ({**VSYSCALL, "/proc/1/maps": "ff8ac000-ff8cd000 rw-p 0 00:00 0 [stack]\n"}, None),  # a 32-bit process
        ({**VSYSCALL, "/proc/1/maps": STACK, "/proc/cmdline": "vsyscall=none"}, None),
        ({**VSYSCALL, "/proc/1/maps": STACK, **kernel_with()}, None),  # another architecture
        ({**VSYSCALL, "/proc/1/maps": ""}, None),
    ],
)
def test_the_vsyscall_page(files: Mapping[str, str], expected: Optional[Value[str]], make_tree: MakeTree) -> None:
    assert look(make_tree, "LEGACY_VSYSCALL_NONE", files) == expected


PSI = {**kernel_with("psi_memstall_enter"), "/proc/cmdline": "quiet\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (PSI, seen("y", "/proc/pressure")),
        ({**PSI, "/proc/pressure/cpu": ""}, off("/proc/pressure")),
        ({**PSI, "/proc/cmdline": "psi=1", "/proc/pressure/cpu": ""}, None),
        ({**kernel_with(), "/proc/cmdline": ""}, off(NAMES)),
    ],
)
def test_psi_off_by_default(files: Mapping[str, str], expected: Optional[Value[str]], make_tree: MakeTree) -> None:
    assert look(make_tree, "PSI_DEFAULT_DISABLED", files) == expected


def test_a_process_that_is_hidden_says_nothing(make_tree: MakeTree) -> None:
    root = make_tree({"/proc/self/stat": "", "/proc/sys/kernel/osrelease": "6.1.9"})  # hidepid=2, and no /proc/1
    assert _kernel_config_inferred.infer_option(Machine(root), "NET_NS") is None


def test_what_is_not_decided_is_one_cause(make_tree: MakeTree) -> None:
    root = make_tree({"/proc/self/stat": "", "/proc/sys/kernel/osrelease": "6.1.9"})
    rows = kernel.config.probe(Machine(root))
    assert {rows.observe(name) for name in ("VETH", "HZ", "NETFILTER_ADVANCED")} == {rows.rest}
    assert isinstance(rows.rest, Unknown)


def test_a_file_that_says_it_is_not_overruled(make_tree: MakeTree) -> None:
    root = make_tree(
        {
            "/proc/self/stat": "",
            "/proc/sys/kernel/osrelease": "6.1.9",
            **tree("ext4"),
            "/boot/config-6.1.9": "CONFIG_HZ=1\n",
        }
    )
    assert kernel.config.probe(Machine(root)).observe("EXT4_FS") == Value("undefined", Evidence("/boot/config-6.1.9"))


@pytest.mark.skipif(not os.path.exists("/proc/config.gz"), reason="this kernel does not say how it was built")
def test_nothing_is_inferred_wrongly_of_the_kernel_that_runs() -> None:
    machine = Machine()
    built, inferred = kernel.config.probe(machine), _kernel_config_inferred.infer_options(machine)
    wrong = {}
    for name, row in inferred.items():
        said = built.observe(name)
        if not isinstance(said, Value) or said.value not in may_be(row):
            wrong[name] = (said, row)
    assert wrong == {}
