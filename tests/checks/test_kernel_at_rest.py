from __future__ import annotations

import gzip
import lzma
import struct
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Callable, Dict, Mapping, Optional, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks import _boot_cmdline, _kernel_image, _kernel_release
from nodespec.facts.declaration import Leaf, Table, resolve_place
from nodespec.host.directory import DirectoryTree
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

    from nodespec.facts.value_types import Datum

Files = Mapping[str, Union[str, bytes, None]]
RELEASE = "6.1.0-50-amd64"
IMAGE, CONFIG = f"/boot/vmlinuz-{RELEASE}", f"/boot/config-{RELEASE}"
HEADER = "# Linux/x86 6.1.176 Kernel Configuration\n"
BANNER = f"{RELEASE} (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian 6.1.170-3 (2026-05-01)"
NO_KERNEL = Unknown("deferred", "no kernel found in this tree")


def look(root: str, *path: str, kernel: str = "") -> Observation[Datum]:
    """A fact at rest; whatever it names as its source is declared."""
    fact, tree = resolve_place(("kernel", *path)).fact, DirectoryTree(root)
    tree.kernel = kernel
    assert fact.resting
    if isinstance(fact, Leaf):
        seen = fact.resting(tree)
    else:
        assert isinstance(fact, Table)
        row = fact.resting(tree).observe(path[-1])
        seen = row.then(str)
    if not isinstance(seen, Unknown):
        assert any(fnmatchcase(seen.evidence.source, glob) for glob in fact.resting_sources), seen
    return seen


def bzimage(banner: str = BANNER, *, wide: bool = True, payload: bytes = b"") -> bytes:
    """A kernel for x86, as far as its head says anything."""
    data = bytearray(0x4000)
    data[0x202:0x206] = b"HdrS"
    data[0x20E:0x210] = struct.pack("<H", 0x3000 - 0x200)
    data[0x236] = int(wide)
    data[0x3000 : 0x3000 + len(banner)] = banner.encode()
    return bytes(data) + payload


def pe(machine: int) -> bytes:
    return b"MZ" + bytes(0x3A) + struct.pack("<I", 0x80) + bytes(0x40) + b"PE\0\0" + struct.pack("<H", machine)


def elf(machine: int, order: str = "<") -> bytes:
    return b"\x7fELF\x02" + (b"\x01" if order == "<" else b"\x02") + bytes(12) + struct.pack(f"{order}H", machine)


def gzipped(data: bytes) -> bytes:
    """The same at every second, as what tests are named after has to be."""
    return gzip.compress(data, mtime=0)


FLAT = bytes(0x38) + b"ARM\x64" + bytes(64)


def ikconfig(text: str) -> bytes:
    """What CONFIG_IKCONFIG leaves in the kernel's data."""
    return bytes(5000) + b"IKCFG_ST" + gzipped(text.encode()) + b"IKCFG_ED" + bytes(5000)


class TestVersion:
    @pytest.mark.parametrize(
        ("files", "version", "source"),
        [
            ({IMAGE: bzimage(), CONFIG: HEADER + "CONFIG_X=y\n"}, "6.1.170", IMAGE),
            ({IMAGE: bzimage("6.1.0-50-amd64 (me@here) #1 SMP"), CONFIG: HEADER + "CONFIG_X=y\n"}, "6.1.176", CONFIG),
            ({IMAGE: FLAT, CONFIG: HEADER + "CONFIG_X=y\n"}, "6.1.176", CONFIG),
            (
                {
                    IMAGE: "",
                    "/var/lib/dpkg/status": f"Package: linux-image-{RELEASE}\nStatus: install ok installed\n"
                    "Architecture: amd64\nVersion: 6.1.175-1\n",
                },
                "6.1.175",
                "/var/lib/dpkg/status",
            ),
            (
                {
                    IMAGE: "",
                    f"/usr/src/linux-headers-{RELEASE}/Makefile": "VERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 9\n",
                },
                "6.1.9",
                f"/usr/src/linux-headers-{RELEASE}/Makefile",
            ),
            ({IMAGE: "", f"/lib/modules/{RELEASE}/build/Makefile": "VERSION = 6\n"}, "6.1.0", None),
            ({IMAGE: "", CONFIG: HEADER.replace("6.1.176", "5.10.9") + "CONFIG_X=y\n"}, "6.1.0", None),
        ],
    )
    def test_is_upstreams(self, make_tree: MakeTree, files: Files, version: str, source: Optional[str]) -> None:
        seen = look(make_tree(files), "version")
        assert isinstance(seen, Value)
        assert (seen.value, seen.evidence.source) == (version, source or IMAGE)
        assert seen.evidence.inferred == (source is None)


class TestArch:
    @pytest.mark.parametrize(
        ("content", "arch"),
        [
            (bzimage(), "x86_64"),
            (bzimage(wide=False), "i686"),
            (FLAT, "aarch64"),
            (gzipped(FLAT), "aarch64"),
            (bytes(0x38) + b"RSC\x05", "riscv64"),
            (pe(0xAA64), "aarch64"),
            (pe(0x6264), "loongarch64"),
            (elf(21), "ppc64le"),
            (elf(22, ">"), "s390x"),
        ],
        ids=["x86", "x86, narrow", "ARM", "ARM, packed", "RISC-V", "ARM as PE", "LoongArch as PE", "POWER", "s390"],
    )
    def test_is_in_the_kernel_s_head(self, make_tree: MakeTree, content: bytes, arch: str) -> None:
        assert look(make_tree({IMAGE: content}), "arch") == Value(arch, Evidence(IMAGE))

    def test_or_in_its_configuration(self, make_tree: MakeTree) -> None:
        root = make_tree({IMAGE: b"\0" * 9, CONFIG: HEADER + "CONFIG_ARM64=y\n"})
        assert look(root, "arch") == Value("aarch64", Evidence(CONFIG, 2))

    def test_else_deferred(self, make_tree: MakeTree) -> None:
        seen = look(make_tree({IMAGE: gzipped(b"nothing of the kind")}), "arch")
        say = f"only a running machine can tell: no file of the kernel {RELEASE} has its architecture"
        assert seen == Unknown("deferred", say)


class TestConfig:
    def option(self, root: str, name: str = "OVERLAY_FS") -> Observation[Datum]:
        return look(root, "config", name)

    @pytest.mark.parametrize(
        "path",
        [
            CONFIG,
            f"/usr/lib/modules/{RELEASE}/config",
            f"/lib/modules/{RELEASE}/build/.config",
            f"/usr/src/linux-headers-{RELEASE}/.config",
        ],
    )
    def test_is_read_from_files(self, make_tree: MakeTree, path: str) -> None:
        root = make_tree({IMAGE: "", path: HEADER + "CONFIG_OVERLAY_FS=m\n"})
        assert self.option(root) == Value("m", Evidence(path, 2))
        assert self.option(root, "VETH") == Value("undefined", Evidence(path))

    def test_is_that_of_the_kernel_that_boots(self, make_tree: MakeTree) -> None:
        other = "5.10.0-1-amd64"
        files = {f"/boot/vmlinuz-{other}": "", f"/boot/config-{other}": "CONFIG_OVERLAY_FS=y\n"}
        root = make_tree({IMAGE: "", CONFIG: "CONFIG_OVERLAY_FS=m\n", **files})
        assert self.option(root) == Value("m", Evidence(CONFIG, 1))
        assert look(root, "config", "OVERLAY_FS", kernel=other) == Value("y", Evidence(f"/boot/config-{other}", 1))

    def test_what_proc_of_an_image_holds_says_nothing(self, make_tree: MakeTree) -> None:
        root = make_tree({IMAGE: "", "/proc/config.gz": gzipped(b"CONFIG_OVERLAY_FS=y\n")})
        assert isinstance(self.option(root), Unknown)

    @pytest.mark.parametrize("packed", [bytes, gzipped, lzma.compress], ids=["plain", "gzip", "xz"])
    def test_may_be_inside_the_kernel(self, make_tree: MakeTree, packed: Callable[[bytes], bytes]) -> None:
        payload = packed(ikconfig(HEADER + "CONFIG_OVERLAY_FS=m\n")) + b"what follows"
        root = make_tree({IMAGE: bzimage(payload=payload)})
        assert self.option(root) == Value("m", Evidence(IMAGE, 2))
        make_tree({f"/lib/modules/{RELEASE}/modules.builtin": "kernel/fs/ext4/ext4.ko\n"})
        unread = self.option(root)  # its list says that it is not inside
        assert isinstance(unread, Unknown)
        make_tree({f"/lib/modules/{RELEASE}/modules.builtin": "kernel/kernel/configs.ko\n"})
        assert self.option(root) == Value("m", Evidence(IMAGE, 2))

    def test_or_inside_a_module(self, make_tree: MakeTree) -> None:
        folder = f"/lib/modules/{RELEASE}"
        module = f"{folder}/kernel/kernel/configs.ko.xz"
        text = ikconfig(HEADER + "CONFIG_OVERLAY_FS=m\n")
        lists = {f"{folder}/modules.builtin": "", f"{folder}/modules.dep": "kernel/kernel/configs.ko.xz:\n"}
        root = make_tree({IMAGE: "", **lists, module: lzma.compress(text)})
        assert self.option(root) == Value("m", Evidence(module, 2))

    @pytest.mark.parametrize(
        "content",
        [b"", b"IKCFG_ST", gzipped(b"x" * 99)[:20], lzma.compress(b"x"), b"\x1f\x8b\x08\0" * 99],
        ids=["empty", "only begun", "gzip, cut short", "xz", "heads of gzip"],
    )
    def test_what_holds_none_is_looked_through(self, make_tree: MakeTree, content: bytes) -> None:
        seen = self.option(make_tree({IMAGE: content}))
        assert isinstance(seen, Unknown)
        assert seen.reason in ("malformed", "tool missing")

    def test_lists_of_modules_show_some(self, make_tree: MakeTree) -> None:
        folder = f"/lib/modules/{RELEASE}"
        lists = {
            f"{folder}/modules.builtin": "kernel/fs/overlayfs/overlay.ko\n",
            f"{folder}/modules.order": "kernel/net/bridge/br_netfilter.ko\nkernel/net/netfilter/xt_comment.ko\n",
        }
        root = make_tree({IMAGE: "", **lists})
        assert self.option(root) == Value("y", Evidence(f"{folder}/modules.builtin", 1, inferred=True))
        assert self.option(root, "BRIDGE_NETFILTER") == Value(
            "m", Evidence(f"{folder}/modules.order", 1, inferred=True)
        )
        assert self.option(root, "NETFILTER_ADVANCED") == Value(
            "y", Evidence(f"{folder}/modules.order", 2, inferred=True)
        )
        for name in ("VETH", "CGROUPS", "NET_NS"):
            assert isinstance(self.option(root, name), Unknown), name


class TestCommandLine:
    GRUB = "/boot/grub/grub.cfg"

    def test_is_the_loader_s(self, make_tree: MakeTree) -> None:
        text = f"menuentry 'a' {{\nlinux /boot/vmlinuz-{RELEASE} ro mitigations=off cgroup-disable=memory\n}}\n"
        root = make_tree({IMAGE: "", self.GRUB: text})
        at = Evidence(self.GRUB, 2)
        assert look(root, "cmdline", "mitigations") == Value("off", at)
        assert look(root, "cmdline", "cgroup_disable") == Value("memory", at)
        assert look(root, "cmdline", "quiet") == Absent(at)
        added = look(root, "cmdline", "BOOT_IMAGE")
        assert isinstance(added, Unknown)
        assert added.reason == "deferred"

    def test_of_what_is_not_whole_nothing_is_absent(self, make_tree: MakeTree) -> None:
        root = make_tree({IMAGE: "", "/etc/default/grub": "GRUB_CMDLINE_LINUX=quiet\n"})
        assert look(root, "cmdline", "quiet") == Value("", Evidence("/etc/default/grub", inferred=True))
        seen = look(root, "cmdline", "root")
        assert isinstance(seen, Unknown)
        assert seen.reason == "deferred"


class TestLockdown:
    @pytest.mark.parametrize(
        ("config", "line", "seen"),
        [
            ("# CONFIG_SECURITY_LOCKDOWN_LSM is not set\nCONFIG_X=y\n", "", Absent(Evidence(CONFIG, 1))),
            (
                "CONFIG_SECURITY_LOCKDOWN_LSM=y\n",
                "lockdown=integrity",
                Value("integrity", Evidence("/etc/kernel/cmdline", inferred=True)),
            ),
            ("CONFIG_SECURITY_LOCKDOWN_LSM=y\n", "quiet", Unknown("deferred", "only a running machine can tell")),
        ],
    )
    def test_is_what_is_asked_for(self, make_tree: MakeTree, config: str, line: str, seen: Observation[Datum]) -> None:
        assert look(make_tree({IMAGE: "", CONFIG: config, "/etc/kernel/cmdline": line}), "lockdown") == seen


def test_without_a_kernel_all_of_it_is_deferred(make_tree: MakeTree) -> None:
    root = make_tree({"/etc/x": "", "/proc/sys/kernel/osrelease": "6.1"})
    for path in (("release",), ("version",), ("arch",), ("lockdown",), ("config", "VETH"), ("cmdline", "quiet")):
        assert look(root, *path) == NO_KERNEL, path
    none = look(root, "next")
    assert isinstance(none, Absent)
    assert none.say == "no kernel found in this tree"


def test_taints_have_no_meaning_at_rest() -> None:
    assert resolve_place(("kernel", "taints")).fact.resting is None


def test_next_is_the_same_as_release(make_tree: MakeTree) -> None:
    root = make_tree({IMAGE: ""})
    assert look(root, "next") == look(root, "release") == Value(RELEASE, Evidence(IMAGE))


HEADS = st.sampled_from(
    [bzimage()[:0x300], pe(0x8664), elf(62), gzipped(FLAT)[:30], b"HdrS", b"IKCFG_ST\x1f\x8b\x08\0"]
)


@given(st.lists(HEADS | st.binary(max_size=40), max_size=4).map(b"".join))
@settings(max_examples=150, deadline=None)
def test_no_image_breaks_a_reader(data: bytes) -> None:
    for parse in (_kernel_image._parse_banner, _kernel_image._parse_architecture, _kernel_image._find_config):  # noqa: SLF001 - hostile bytes
        try:
            seen = Value(data, Evidence("x")).then(parse)
        except OSError:  # compressed as nothing here can unpack
            continue
        assert isinstance(seen, (Value, Unknown))


@given(st.text(max_size=60), st.dictionaries(st.text(max_size=3), st.text(max_size=5), max_size=2))
@settings(max_examples=150)
def test_no_text_breaks_a_reader(text: str, said: Dict[str, str]) -> None:
    for name, value in _boot_cmdline._parse_shell_assignments(text, said):  # noqa: SLF001 - hostile text
        assert name
        assert isinstance(value, str)
    assert isinstance(Value(text, Evidence("x")).then(_kernel_release._parse_makefile), (Value, Unknown))  # noqa: SLF001
