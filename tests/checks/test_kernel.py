from __future__ import annotations

import gzip
import os
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Mapping, Optional, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks import _kernel_config, _kernel_names, _kernel_release, kernel
from nodespec.facts.declaration import resolve_place
from nodespec.host.machine import Machine
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

    from nodespec.facts.declaration import Row

RELEASE = "6.1.0-50-amd64"
DEBIAN = (
    f"Linux version {RELEASE} (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0, GNU ld "
    "(GNU Binutils for Debian) 2.40) #1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-05-01)"
)
CONFIG = """\
#
# Automatically generated file; DO NOT EDIT.
# Linux/x86 6.1.176 Kernel Configuration
#
CONFIG_NET_NS=y
CONFIG_OVERLAY_FS=m
# CONFIG_RT_GROUP_SCHED is not set
CONFIG_HZ=250
CONFIG_FONT_8x16=y
CONFIG_CMDLINE="console=ttyS0 # CONFIG_VETH=y \\"quoted\\" \\\\"
CONFIG_UEVENT_HELPER_PATH=""
CONFIG_PHYSICAL_START=0x1000000
"""
AT = f"/boot/config-{RELEASE}"


def host(**files: Union[str, bytes, None]) -> dict[str, Union[str, bytes, None]]:
    return {"/proc/self/stat": "", "/proc/sys/kernel/osrelease": f"{RELEASE}\n", "/sys/kernel/x": "", **files}


def option(root: str, name: str) -> Observation[Row]:
    return kernel.config.probe(Machine(root)).observe(kernel.config.key(name))


def test_release_is_what_uname_prints(make_tree: MakeTree) -> None:
    seen = kernel.release.probe(Machine(make_tree(host())))
    assert seen == Value(RELEASE, Evidence("/proc/sys/kernel/osrelease"))
    assert kernel.release.probe(Machine()).then(str) == Value(
        os.uname().release, Evidence("/proc/sys/kernel/osrelease")
    )


def test_release_without_proc_is_asked_of_the_kernel(make_tree: MakeTree) -> None:
    assert kernel.release.probe(Machine(make_tree({}))) == Value(os.uname().release, Evidence("uname(2)"))


@pytest.mark.parametrize(
    ("files", "version", "evidence"),
    [
        (
            {"/proc/version_signature": "Ubuntu 6.8.0-31.31-generic 6.8.1\n"},
            "6.8.1",
            Evidence("/proc/version_signature"),
        ),
        ({"/proc/version": DEBIAN}, "6.1.176", Evidence("/proc/version")),
        ({"/proc/version": "Linux #1 SMP Debian 1:6.6.51-1+rpt3 (2024-10-08)"}, "6.6.51", Evidence("/proc/version")),
        ({"/proc/version": "Linux #1 SMP Debian 6.2~rc3-1~exp1 (2023)"}, "6.2-rc3", Evidence("/proc/version")),
        ({AT: CONFIG}, "6.1.176", Evidence(AT)),
        # the compiler's Debian is not the kernel's, and another series' configuration not this one's
        ({"/proc/version": DEBIAN.partition("#")[0] + "#1 SMP"}, "6.1.0", None),
        ({AT: CONFIG.replace("6.1.176", "5.10.9")}, "6.1.0", None),
        ({"/proc/version_signature": "\n", "/proc/version": "\n"}, "6.1.0", None),
        ({"/proc/sys/kernel/osrelease": "7.0-rc4-custom"}, "7.0-rc4", None),
        ({"/proc/sys/kernel/osrelease": "4.18.0-553.97.1.el8_10.x86_64"}, "4.18.0", None),
    ],
)
def test_version_is_upstreams(
    files: Mapping[str, str], version: str, evidence: Optional[Evidence], make_tree: MakeTree
) -> None:
    seen = kernel.version.probe(Machine(make_tree(host(**files))))
    assert seen == Value(version, evidence or Evidence("/proc/sys/kernel/osrelease", inferred=True))


def test_a_release_without_a_version_is_malformed(make_tree: MakeTree) -> None:
    seen = kernel.version.probe(Machine(make_tree(host(**{"/proc/sys/kernel/osrelease": "mine"}))))
    assert isinstance(seen, Unknown)
    assert seen.reason == "malformed"


def test_arch_is_the_kernels_own(make_tree: MakeTree) -> None:
    assert kernel.arch.probe(Machine(make_tree(host()))) == Value(os.uname().machine, Evidence("uname(2)"))
    own = make_tree(host(**{"/proc/sys/kernel/arch": "riscv64\n"}))
    assert kernel.arch.probe(Machine(own)) == Value("riscv64", Evidence("/proc/sys/kernel/arch"))


def test_cmdline_is_parted_as_the_kernel_does(make_tree: MakeTree) -> None:
    line = 'root=/dev/vda quiet console=tty0 console=ttyS0 cgroup-disable=memory dyndbg="file a" "x y=1 2" -- single\n'
    rows = kernel.cmdline.probe(Machine(make_tree(host(**{"/proc/cmdline": line}))))
    assert {name: row.value for name, row in rows.every().items() if isinstance(row, Value)} == {
        "root": "/dev/vda",
        "quiet": "",
        "console": frozenset({"tty0", "ttyS0"}),
        "cgroup_disable": "memory",
        "dyndbg": "file a",
        "x y": "1 2",
    }
    assert isinstance(rows.observe("single"), Absent)
    assert kernel.cmdline.key("cgroup-disable") == "cgroup_disable"
    assert kernel.cmdline.sensitive


def test_cmdline_without_proc_is_hidden(make_tree: MakeTree) -> None:
    row = kernel.cmdline.probe(Machine(make_tree({"/proc/x": ""}))).observe("quiet")
    assert isinstance(row, Unknown)
    assert row.reason == "hidden"


@pytest.mark.parametrize(
    ("mask", "flags"),
    [
        ("0", []),
        ("4097", ["proprietary_module", "oot_module"]),
        ("512", ["warn"]),
        (f"{1 << 63 | 128}", ["die", "bit 63"]),
    ],
)
def test_taints_are_flags(mask: str, flags: list[str], make_tree: MakeTree) -> None:
    seen = kernel.taints.probe(Machine(make_tree(host(**{kernel.TAINTED: f"{mask}\n"}))))
    assert seen == Value(frozenset(flags), Evidence(kernel.TAINTED))


@pytest.mark.parametrize("mask", ["", "none", "-1", f"{1 << 64}", "9" * 5000])
def test_no_mask_of_taints_is_malformed(mask: str, make_tree: MakeTree) -> None:
    seen = kernel.taints.probe(Machine(make_tree(host(**{kernel.TAINTED: mask}))))
    assert isinstance(seen, Unknown)
    assert seen.reason == "malformed"


def test_lockdown_is_the_level_in_brackets(make_tree: MakeTree) -> None:
    path = "/sys/kernel/security/lockdown"
    seen = kernel.lockdown.probe(Machine(make_tree(host(**{path: "none [integrity] confidentiality\n"}))))
    assert seen == Value("integrity", Evidence(path))


def test_lockdown_is_unknown_where_its_folder_cannot_be_listed(
    make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(make_tree(host()))
    refused = Unknown("no permission", "may not be read")
    monkeypatch.setattr(machine, "names", lambda _path: refused)
    assert kernel.lockdown.probe(machine) == refused


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, None),  # a kernel without securityfs
        ({"/sys/kernel/security/lsm": "capability"}, None),
        ({"/sys/kernel/security": None}, "hidden"),
        ({"/sys/kernel/security/lockdown": "none"}, "malformed"),
    ],
)
def test_without_lockdown(files: Mapping[str, Optional[str]], reason: Optional[str], make_tree: MakeTree) -> None:
    seen = kernel.lockdown.probe(Machine(make_tree(host(**files))))
    assert seen.reason == reason if isinstance(seen, Unknown) else isinstance(seen, Absent) and reason is None


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("NET_NS", "y", 5),
        ("CONFIG_NET_NS", "y", 5),
        ("OVERLAY_FS", "m", 6),
        ("RT_GROUP_SCHED", "n", 7),
        ("HZ", "250", 8),
        ("FONT_8x16", "y", 9),
        ("CMDLINE", 'console=ttyS0 # CONFIG_VETH=y "quoted" \\', 10),
        ("UEVENT_HELPER_PATH", "", 11),
        ("PHYSICAL_START", "0x1000000", 12),
        ("VETH", "undefined", 0),  # named in a string only
        ("NET", "undefined", 0),
        ("font_8x16", "undefined", 0),
    ],
)
def test_an_option_says_its_value_and_line(name: str, value: str, line: int, make_tree: MakeTree) -> None:
    assert option(make_tree(host(**{AT: CONFIG})), name) == Value(value, Evidence(AT, line))


@pytest.mark.parametrize("name", ["", "A B", "A.B", "../x", "Ä", "CONFIG_", "A" * 200])
def test_what_cannot_be_an_option_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a build option"):
        kernel.config.key(name)


@pytest.mark.parametrize("first", range(len(_kernel_config.PATHS)))
def test_files_are_tried_in_the_stated_order(first: int, make_tree: MakeTree) -> None:
    """Of all paths from the first on the first is read."""
    text = CONFIG.replace("6.1.176", RELEASE)
    paths = [path.format(RELEASE) for path in _kernel_config.PATHS[first:]]
    files = {path: text.replace("HZ=250", f"HZ={number}") for number, path in enumerate(paths)}
    packed = {path: gzip.compress(text.encode()) if path.endswith(".gz") else text for path, text in files.items()}
    assert option(make_tree(host(**packed)), "HZ") == Value("0", Evidence(paths[0], 8))


CANNOT_BE_READ: Mapping[str, Optional[bytes]] = {
    "truncated": gzip.compress(CONFIG.encode())[:-9],
    "cut in its head": gzip.compress(CONFIG.encode())[:5],
    "broken": b"\x1f\x8b" + b"\xff" * 100,
    "bomb": gzip.compress(b"CONFIG_HZ=1\n" + b"\0" * (17 << 20)),
    "too long": b"CONFIG_HZ=1\n" * (1 << 21),
    "empty": b"",
    "cut by a full disk": CONFIG.encode()[:-5],
    "not one": b"\x7fELF\0\0",
    "directory": None,
}


@pytest.mark.parametrize("content", CANNOT_BE_READ.values(), ids=CANNOT_BE_READ)
def test_what_cannot_be_read_is_passed_over(content: Optional[bytes], make_tree: MakeTree) -> None:
    root = make_tree(host(**{"/proc/config.gz": content, AT: CONFIG}))
    assert option(root, "HZ") == Value("250", Evidence(AT, 8))


@pytest.mark.parametrize("content", CANNOT_BE_READ.values(), ids=CANNOT_BE_READ)
def test_where_nothing_else_is_there_the_reason_is_told(content: Optional[bytes], make_tree: MakeTree) -> None:
    seen = option(make_tree(host(**{AT: content})), "HZ")
    assert isinstance(seen, Unknown)
    assert AT in seen.say
    assert seen.reason in ("malformed", "failed")


def test_a_file_without_permission_is_passed_over(make_tree: MakeTree) -> None:
    class Denied(Machine):
        def read(self, path: str, limit: int = 0) -> Observation[bytes]:
            if path.startswith("/boot/"):
                return Unknown("no permission", f"{path} cannot be read by uid 1", "run as root")
            return super().read(path, limit or 1 << 20)

    own = f"/lib/modules/{RELEASE}/config"
    root = make_tree(host(**{AT: CONFIG, own: CONFIG}))
    assert kernel.config.probe(Denied(root)).observe("HZ") == Value("250", Evidence(own, 8))
    os.remove(f"{root}{own}")
    assert kernel.config.probe(Denied(root)).observe("HZ") == Unknown(
        "no permission", f"{AT} cannot be read by uid 1", "run as root"
    )


@pytest.mark.parametrize(
    ("header", "believed"),
    [("6.1.0-50-amd64", True), ("6.1.0", True), ("6.1.176", False), ("6.1", False), ("6.1.0-5", False), ("", False)],
)
def test_sources_without_a_release_must_name_the_kernel(header: str, believed: bool, make_tree: MakeTree) -> None:  # noqa: FBT001
    text = CONFIG.replace("Linux/x86 6.1.176 Kernel", f"Linux/x86 {header} Kernel")
    seen = option(make_tree(host(**{"/usr/src/linux/.config": text})), "HZ")
    assert isinstance(seen, Value) is believed


def test_without_any_file_the_sentence_says_what_would_help(make_tree: MakeTree) -> None:
    seen = option(make_tree(host()), "HZ")
    assert isinstance(seen, Unknown)
    assert (seen.reason, bool(seen.look)) == ("not found", True)
    assert seen == option(make_tree(host()), "LOCALVERSION"), "one cause, the same words"


def test_long_lines_and_foreign_bytes_are_read(make_tree: MakeTree) -> None:
    text = b'CONFIG_LONG="' + b"x" * 100_000 + b'"\r\nCONFIG_LATIN="\xe4"\n\xff\xfe\nCONFIG_LAST=y\n'
    root = make_tree(host(**{AT: text}))
    assert option(root, "LONG") == Value("x" * 100_000, Evidence(AT, 1))
    assert option(root, "LATIN") == Value("\\xe4", Evidence(AT, 2))
    assert option(root, "LAST") == Value("y", Evidence(AT, 4))


def test_every_source_is_declared() -> None:
    for path in _kernel_config.PATHS:
        assert any(fnmatchcase(path.format(RELEASE), source) for source in kernel.config.sources)


def test_the_family_declares_its_facts() -> None:
    names = ("release", "version", "arch", "cmdline", "taints", "lockdown", "config")
    assert all(resolve_place(("kernel", name)).fact is getattr(kernel, name) for name in names)


LINE = st.builds(
    lambda form, name, value: form % {b"n": name.encode(), b"v": value},
    st.sampled_from([b"CONFIG_%(n)b=%(v)b", b"# CONFIG_%(n)b is not set", b"# CONFIG_%(n)b is not settled", b"%(v)b"]),
    st.sampled_from(["A", "AB", "B", "A_B", "a8x16"]),
    st.binary(max_size=9) | st.sampled_from([b"y", b"m", b'"a=b"', b'"', b"CONFIG_A=y"]),
)


@given(st.lists(LINE, max_size=9).map(b"\n".join))
@settings(max_examples=200)
def test_one_option_is_found_as_all_are(data: bytes) -> None:
    """Searching for one gives what reading the whole gives, but that a line which is none may hide an earlier one."""
    rows = _kernel_config.parse_config_rows(b"\n" + data + b"\n", Evidence("x"))
    every = rows.every()
    for name in ("A", "AB", "B", "A_B", "a8x16"):
        assert rows.observe(name) in (every.get(name, rows.rest), rows.rest)


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.decode("utf-8", "backslashreplace")))
@settings(max_examples=200)
def test_parsers_refuse_and_do_not_break(text: str) -> None:
    for parse in (
        _kernel_release.parse_debian_version,
        _kernel_release.parse_upstream_version,
        kernel._parse_taints,  # noqa: SLF001 - hostile text
        kernel._parse_selected_word,  # noqa: SLF001 - likewise
    ):
        seen = Value(text, Evidence("x")).then(parse)
        assert isinstance(seen, (Value, Unknown))
    assert all(" " not in key or '"' in text for key, _ in _kernel_names.parse_cmdline(text))


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: b"\x1f\x8b" + data))
@settings(max_examples=200)
def test_no_file_breaks_the_reader(data: bytes) -> None:
    for parse in (_kernel_config._unpack_config, lambda data: _kernel_config._require_release("6.1", data)):  # noqa: SLF001
        assert isinstance(Value(data, Evidence("x")).then(parse), (Value, Unknown))
