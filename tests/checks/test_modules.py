from __future__ import annotations

import os
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Mapping, Optional, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks import _kernel_version, _modprobe, _modprobe_commands, modules
from nodespec.facts.declaration import Rows, Table, load_family
from nodespec.host.machine import Machine
from nodespec.model.observation import Absent, Evidence, Observation, TimedOut, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

    from nodespec.facts.declaration import Row

TREE = "/lib/modules/6.1.9"
BASE = {
    "/proc/self/stat": "",
    "/proc/sys/kernel/osrelease": "6.1.9\n",
    "/proc/sys/kernel/modules_disabled": "0\n",
    "/sbin/modprobe": "",
    "/proc/modules": "overlay 163840 1 - Live 0x0000000000000000\nfoo_bar 1 0 - Live 0x0 (OE)\n",
    "/sys/kernel/fscaps": "1\n",
    "/sys/module/overlay/initstate": "live\n",
    f"{TREE}/modules.builtin": "kernel/fs/ext4/ext4.ko\nkernel/lib/crc-t10dif.ko\n",
    f"{TREE}/modules.dep": "kernel/net/bridge/br_netfilter.ko.xz: kernel/net/bridge/bridge.ko.xz\n"
    "kernel/net/bridge/bridge.ko.xz:\nupdates/dkms/zfs.ko:\nkernel/fs/overlayfs/overlay.ko:\n",
    f"{TREE}/modules.order": "kernel/net/bridge/bridge.ko\nkernel/net/sctp/sctp.ko\n",
}


def without(*paths: str, **files: Union[str, None]) -> dict[str, Union[str, None]]:
    """The host above, lacking what is below these paths."""
    return {**{path: text for path, text in BASE.items() if not path.startswith(paths or ("-",))}, **files}


def table(make_tree: MakeTree, files: Mapping[str, Optional[str]] = BASE) -> Rows[Row]:
    return modules.modules.probe(Machine(make_tree(files)))


def row(make_tree: MakeTree, name: str, files: Mapping[str, Optional[str]] = BASE) -> Observation[Row]:
    seen = table(make_tree, files).observe(modules.modules.key(name))
    return seen._replace(may=None) if isinstance(seen, Unknown) else seen


@pytest.mark.parametrize(
    ("name", "state", "source", "line"),
    [
        ("overlay", "loaded", "/proc/modules", 1),  # though it stands in modules.dep too
        ("foo-bar", "loaded", "/proc/modules", 2),
        ("ext4", "builtin", f"{TREE}/modules.builtin", 1),
        ("crc_t10dif", "builtin", f"{TREE}/modules.builtin", 2),
        ("br-netfilter", "loadable", f"{TREE}/modules.dep", 1),
        ("bridge", "loadable", f"{TREE}/modules.dep", 2),
        ("zfs", "loadable", f"{TREE}/modules.dep", 3),
    ],
)
def test_each_module_says_its_state_and_line(
    name: str, state: str, source: str, line: int, make_tree: MakeTree
) -> None:
    assert row(make_tree, name) == Value(state, Evidence(source, line))


def test_what_is_in_no_list_is_absent_with_the_nearest_name(make_tree: MakeTree) -> None:
    assert row(make_tree, "bridgee") == Absent(Evidence(TREE), "there is `bridge`")


def test_what_was_built_and_not_installed_is_absent_and_says_so(make_tree: MakeTree) -> None:
    """As where the extra modules are a package of their own."""
    seen = row(make_tree, "sctp")
    assert seen == Absent(
        Evidence(f"{TREE}/modules.order", 2), "the kernel was built with it, but its file is not installed"
    )


def test_a_file_that_depmod_did_not_list_is_not_found_by_modprobe(make_tree: MakeTree) -> None:
    seen = row(make_tree, "sctp", {**BASE, f"{TREE}/kernel/net/sctp/sctp.ko": ""})
    say = "its file exists, but modules.dep does not list it; run depmod -a 6.1.9"
    assert seen == Absent(Evidence(f"{TREE}/modules.order", 2), say)


DEPMOD = "run depmod -a 6.1.9"


@pytest.mark.parametrize("packed", ["", ".xz", ".zst", ".gz"])
@pytest.mark.parametrize("listed", [None, ""])
def test_without_the_list_of_depmod_modprobe_finds_nothing(
    packed: str, listed: Optional[str], make_tree: MakeTree
) -> None:
    """As on a full disk: `modprobe: FATAL: Module bridge not found`, though its file is there."""
    dep = {} if listed is None else {f"{TREE}/modules.dep": listed}
    files = without(f"{TREE}/modules.dep", **{f"{TREE}/kernel/net/bridge/bridge.ko{packed}": "", **dep})
    say = f"{TREE}/modules.dep lists no modules, so modprobe finds none"
    assert row(make_tree, "bridge", files) == Unknown("not found", say, DEPMOD)
    assert isinstance(row(make_tree, "sctp", files), Absent)
    assert row(make_tree, "zfs", files) == Absent(Evidence(TREE))


def test_an_index_without_modules_dep_serves_kmod(make_tree: MakeTree) -> None:
    there = {f"{TREE}/modules.dep.bin": "x", f"{TREE}/kernel/net/bridge/bridge.ko": ""}
    files = without(f"{TREE}/modules.dep", **there)
    assert row(make_tree, "bridge", files) == Value("loadable", Evidence(f"{TREE}/modules.order", 1))


def test_an_empty_index_serves_nobody(make_tree: MakeTree) -> None:
    seen = row(make_tree, "bridge", {**BASE, f"{TREE}/modules.dep.bin": "", f"{TREE}/kernel/net/bridge/bridge.ko": ""})
    assert isinstance(seen, Unknown)
    assert seen.look == DEPMOD


def test_what_a_truncated_list_lacks_is_unknown(make_tree: MakeTree) -> None:
    cut = BASE[f"{TREE}/modules.dep"][:-10]
    files = {**BASE, f"{TREE}/modules.dep": cut}
    assert row(make_tree, "bridge", files) == Value("loadable", Evidence(f"{TREE}/modules.dep", 2))
    for name in ("overlai", "sctp"):
        say = f"{TREE}/modules.dep does not end with a newline; the file may be truncated"
        assert row(make_tree, name, files) == Unknown("malformed", say, DEPMOD)


@pytest.mark.root
def test_a_folder_that_may_not_be_listed_says_nothing(make_tree: MakeTree) -> None:
    files = without(f"{TREE}/modules.dep", **{f"{TREE}/kernel/net/bridge/bridge.ko": ""})
    root = make_tree(files)
    Path(root, f".{TREE}/kernel").chmod(0o700)
    os.seteuid(65534)
    try:
        seen = modules.modules.probe(Machine(root)).observe("bridge")
    finally:
        os.seteuid(0)
    assert isinstance(seen, Unknown)
    assert seen.reason == "no permission"


class Counting(Machine):
    """A machine that counts what is asked of its files."""

    asked = 0

    def read(self, path: str, limit: int = 1 << 24) -> Observation[bytes]:
        self.asked += 1
        return super().read(path, limit)

    def names(self, path: str) -> Observation[tuple[str, ...]]:
        self.asked += 1
        return super().names(path)


def test_a_table_without_modules_dep_is_read_once(make_tree: MakeTree) -> None:
    order = "".join(f"kernel/{n % 7}/m{n}.ko\n" for n in range(2000))
    there = {f"{TREE}/kernel/{n % 7}/m{n}.ko": "" for n in range(0, 2000, 40)}
    machine = Counting(
        make_tree(without("/lib", **{f"{TREE}/modules.order": order, f"{TREE}/modules.builtin": "", **there}))
    )
    rows = modules.modules.probe(machine)
    assert len(rows.every()) == 52
    assert machine.asked < 60, "each file, and each of seven folders once"


def test_a_hint_that_takes_too_long_costs_no_verdict() -> None:
    def never() -> Mapping[str, Observation[str]]:
        raise TimedOut

    rows: Rows[str] = Rows(lambda _: None, never, Absent(Evidence("x")))
    assert rows.observe("y") == Absent(Evidence("x"))


def test_all_are_enumerated(make_tree: MakeTree) -> None:
    rows = table(make_tree, {**BASE, "/sys/module/printk/parameters/time": "Y"})
    states = {name: seen.value for name, seen in rows.every().items() if isinstance(seen, Value)}
    assert states == {
        "overlay": "loaded",
        "foo_bar": "loaded",
        "ext4": "builtin",
        "printk": "builtin",
        "crc_t10dif": "builtin",
        "br_netfilter": "loadable",
        "bridge": "loadable",
        "zfs": "loadable",
    }
    assert all(rows.observe(name) == seen for name, seen in rows.every().items())
    assert rows.rest == Absent(Evidence(TREE))


def test_the_other_place_of_the_tree_serves(make_tree: MakeTree) -> None:
    moved = {path.replace("/lib/", "/usr/lib/") if path.startswith("/lib/") else path: t for path, t in BASE.items()}
    assert row(make_tree, "bridge", moved) == Value("loadable", Evidence(f"/usr{TREE}/modules.dep", 2))


CONF, LATE, LINES = "/etc/modprobe.d/a.conf", "/usr/lib/modprobe.d/z.conf", "# comment\n\n"


@pytest.mark.parametrize(
    ("files", "state", "evidence"),
    [
        ({CONF: f"{LINES}install bridge /bin/false\n"}, "blocked", Evidence(CONF, 3)),
        ({CONF: "install bridge /usr/bin/true"}, "blocked", Evidence(CONF, 1)),
        ({CONF: "install\tbridge  exit 1"}, "blocked", Evidence(CONF, 1)),
        ({CONF: "# goes \\\non\ninstall bridge \\\n  /bin/false\n"}, "blocked", Evidence(CONF, 3)),
        ({CONF: "install br* /bin/false"}, "blocked", Evidence(CONF, 1)),
        (
            {"/usr/lib/modprobe.d/z.conf": "install bridge /bin/false"},
            "blocked",
            Evidence("/usr/lib/modprobe.d/z.conf", 1),
        ),
        # not blocked: other modules, other commands, and what only keeps it from coming by itself
        ({CONF: "install bridges /bin/false\ninstall b /bin/false"}, "loadable", None),
        ({CONF: "blacklist bridge\n"}, "blacklisted", Evidence(CONF, 1)),
        ({CONF: "blacklist br-idge\nblacklist bridge # here\n"}, "blacklisted", Evidence(CONF, 2)),
        ({CONF: "#install bridge /bin/false\n"}, "loadable", None),
        ({CONF: "install bridge\n"}, "loadable", None),
        ({CONF: "install bridge /sbin/modprobe --ignore-install bridge; true"}, "loadable", None),
        ({CONF: "install bridge /bin/true; /sbin/modprobe -i bridge"}, "loadable", None),
        ({CONF: "options bridge install=/bin/false"}, "loadable", None),
        ({"/etc/modprobe.d/a.conf.bak": "install bridge /bin/false"}, "loadable", None),
        ({"/proc/cmdline": "modprobe.blacklist=a,bridge"}, "blacklisted", Evidence("/proc/cmdline")),
        # of two the first counts, and a file hides its namesakes in later folders
        ({CONF: "install br* /sbin/modprobe -i $MODPROBE_MODULE\ninstall bridge /bin/false"}, "loadable", None),
        ({CONF: "install bridge /sbin/modprobe -i bridge", LATE: "install bridge /bin/false"}, "loadable", None),
        ({CONF: "", "/lib/modprobe.d/a.conf": "install bridge /bin/false"}, "loadable", None),
        (
            {CONF: None, "/usr/lib/modprobe.d/a.conf": "install bridge /bin/false"},
            "blocked",
            Evidence("/usr/lib/modprobe.d/a.conf", 1),
        ),  # kmod skips folders
        ({"/etc/modprobe.d/.k.conf": "install bridge /bin/false"}, "loadable", None),
        # an alias of the configuration comes before the name of a module
        ({CONF: "alias bridge off"}, "blocked", Evidence(CONF, 1)),
        ({CONF: "alias br* overlay"}, "blocked", Evidence(CONF, 1)),
        ({CONF: "alias bridge bridge"}, "loadable", None),
        ({CONF: "alias bridge bridge\nblacklist bridge"}, "blocked", Evidence(CONF, 1)),
        ({CONF: "alias bridge"}, "loadable", None),
        # what an install command does
        ({CONF: 'install bridge /bin/sh -c "exit 0"'}, "blocked", Evidence(CONF, 1)),
        ({CONF: "install bridge /usr/bin/frobnicate"}, None, None),
        ({CONF: "install bridge /usr/bin/frobnicate\nsoftdep bridge pre: zfs"}, "loadable", None),
        ({CONF: "install bridge \\\n/bin/fal\\\nse"}, "blocked", Evidence(CONF, 1)),
        ({CONF: "install bri[d]ge /bin/false"}, "blocked", Evidence(CONF, 1)),
        ({CONF: "install bridge] /bin/false"}, "loadable", None),
        # without the program that loads modules nothing is loaded on demand
        ({"/sbin/modprobe": None}, "blocked", Evidence("/sbin/modprobe")),
        ({"/proc/sys/kernel/modprobe": "/usr/bin/modprobe\n"}, "blocked", Evidence("/usr/bin/modprobe")),
        ({"/proc/sys/kernel/modprobe": "/opt/modprobe\n", "/opt/modprobe": ""}, "loadable", None),
        ({"/proc/sys/kernel/modprobe": "\n"}, "blocked", Evidence("/proc/sys/kernel/modprobe")),
        # the kernel itself refuses
        ({"/proc/cmdline": "quiet module_blacklist=a,bridge"}, "blocked", Evidence("/proc/cmdline")),
        ({"/proc/cmdline": "module-blacklist=br-idge,bridge"}, "blocked", Evidence("/proc/cmdline")),
        ({"/proc/cmdline": "module_blacklist=bridge module_blacklist=a"}, "loadable", None),
        ({"/proc/sys/kernel/modules_disabled": "1\n"}, "blocked", Evidence("/proc/sys/kernel/modules_disabled")),
        ({"/proc/cmdline": None}, None, None),  # or perhaps does: a folder again
    ],
)
def test_what_may_not_be_loaded_is_blocked(
    files: Mapping[str, Optional[str]], state: Optional[str], evidence: Optional[Evidence], make_tree: MakeTree
) -> None:
    rows = table(make_tree, {**BASE, **files})
    seen = rows.observe("bridge")
    if state is None:
        assert isinstance(seen, Unknown)
    else:
        assert seen == Value(state, evidence or Evidence(f"{TREE}/modules.dep", 2))
    assert rows.observe("overlay") == Value("loaded", Evidence("/proc/modules", 1)), "what is in stays in"
    assert rows.observe("ext4") == Value("builtin", Evidence(f"{TREE}/modules.builtin", 1))


def test_what_needs_a_blocked_module_is_blocked(make_tree: MakeTree) -> None:
    ban = {CONF: "install bridge /bin/false\n"}
    assert row(make_tree, "br_netfilter", {**BASE, **ban}) == Value("blocked", Evidence(CONF, 1))
    loaded = {"/proc/modules": BASE["/proc/modules"] + "bridge 1 0 - Live 0x0\n"}
    seen = row(make_tree, "br_netfilter", {**BASE, **ban, **loaded})
    assert seen == Value("loadable", Evidence(f"{TREE}/modules.dep", 1)), "what is in need not be loaded"


def test_after_an_upgrade_that_removed_the_modules_a_reboot_helps(make_tree: MakeTree) -> None:
    files = without("/lib", **{"/boot/vmlinuz-6.1.200": ""})
    look = "reboot: the next boot starts 6.1.200"
    assert row(make_tree, "bridge", files) == Unknown("not found", f"{TREE} not found", look)


@pytest.mark.parametrize("rows", ["a.ko: b.ko\nb.ko: c.ko d.ko\n", "a.ko: b.ko c.ko d.ko\nb.ko: d.ko c.ko\nc.ko:\n"])
@pytest.mark.parametrize(("ban", "state"), [("d", "blocked"), ("e", "loadable")])
def test_a_need_of_a_need_counts_in_whatever_order(rows: str, ban: str, state: str, make_tree: MakeTree) -> None:
    files = {**BASE, f"{TREE}/modules.dep": f"{rows}d.ko:\n", CONF: f"install {ban} /bin/false\n"}
    seen = row(make_tree, "a", files)
    assert isinstance(seen, Value)
    assert seen.value == state


@pytest.mark.parametrize(
    "rows", ["".join(f"m{n}.ko: m{n + 1}.ko\n" for n in range(3000)), "m0.ko: m1.ko\nm1.ko: m0.ko\n"]
)
def test_a_hostile_list_of_needs_ends(rows: str, make_tree: MakeTree) -> None:
    files = {**BASE, f"{TREE}/modules.dep": rows, CONF: "install nothing /bin/false\n"}
    assert isinstance(row(make_tree, "m0", files), (Value, Unknown))


def test_without_a_tree_only_what_is_in_the_kernel_is_seen(make_tree: MakeTree) -> None:
    files = without("/lib", **{"/sys/module/loop/parameters/max_loop": "0"})
    assert row(make_tree, "overlay", files) == Value("loaded", Evidence("/proc/modules", 1))
    assert row(make_tree, "loop", files) == Value("builtin", Evidence("/sys/module/loop", inferred=True))
    assert row(make_tree, "bridge", files) == Unknown(
        "not found", f"{TREE} not found", "install the kernel's modules, or build them in"
    )
    assert row(make_tree, "bridge", files) == row(make_tree, "sctp", files), "one cause, the same words"


def test_what_may_be_a_module_is_not_called_builtin(make_tree: MakeTree) -> None:
    files = without("/lib", "/proc/modules", **{"/proc/modules": None, "/proc/filesystems": "\txfs\n"})
    assert isinstance(row(make_tree, "xfs", files), Unknown)


def test_what_ceased_to_be_a_module_is_builtin(make_tree: MakeTree) -> None:
    """As IPv6 did: modules.builtin lists only what could be one."""
    seen = row(make_tree, "ipv6", {**BASE, "/sys/module/ipv6/parameters/disable": "0"})
    assert seen == Value("builtin", Evidence("/sys/module/ipv6", inferred=True))


def test_where_sysfs_is_not_recognised_it_tells_nothing(make_tree: MakeTree) -> None:
    assert isinstance(row(make_tree, "loop", without("/lib", "/sys/kernel", **{"/sys/module/loop/x": ""})), Unknown)


def test_without_proc_modules_sysfs_tells(make_tree: MakeTree) -> None:
    files = without("/proc/modules", **{"/proc/modules": None, "/sys/module/bridge/initstate": "live"})
    assert row(make_tree, "bridge", files) == Value("loaded", Evidence("/sys/module/bridge", inferred=True))


CONFIG = "CONFIG_BRIDGE=y\nCONFIG_VETH=m\n# CONFIG_VXLAN is not set\nCONFIG_NFT_NAT=y\n"


LOADS, LOADS_NONE = ("/lib",), ("/lib", "/proc/modules")


@pytest.mark.parametrize(
    ("name", "gone", "expected"),
    [
        ("bridge", LOADS, "builtin"),
        ("bridge", LOADS_NONE, "builtin"),
        ("nft_chain_nat", LOADS_NONE, "builtin"),  # of the same option as nft_nat
        ("veth", LOADS, None),
        ("vxlan", LOADS, None),  # a foreign one may be there, where modules are loaded at all
        ("vxlan", LOADS_NONE, "absent"),
        ("sctp", LOADS_NONE, "absent"),
        ("foo", LOADS_NONE, None),
    ],
)
def test_without_a_tree_the_configuration_helps(
    name: str, gone: tuple[str, ...], expected: Optional[str], make_tree: MakeTree
) -> None:
    files = without(*gone, **{"/boot/config-6.1.9": CONFIG})
    seen = row(make_tree, name, files)
    word = seen.value if isinstance(seen, Value) else "absent" if isinstance(seen, Absent) else None
    assert word == expected
    if not isinstance(seen, Unknown):
        assert (seen.evidence.source, seen.evidence.inferred) == ("/boot/config-6.1.9", True)


def test_a_kernel_without_modules_loads_none(make_tree: MakeTree) -> None:
    seen = row(make_tree, "bridge", without("/proc/modules"))
    assert seen == Absent(Evidence("/proc/modules"), "this kernel does not support loadable modules")


@pytest.mark.parametrize(
    ("gone", "reason"),
    [((f"{TREE}/modules.builtin",), "not found"), ((f"{TREE}/modules.dep", f"{TREE}/modules.order"), "not found")],
)
def test_a_tree_that_lists_nothing_does_not_make_absent(
    gone: tuple[str, ...], reason: str, make_tree: MakeTree
) -> None:
    seen = row(make_tree, "sctp_diag", without(*gone, **{f"{TREE}/x": ""}))
    assert isinstance(seen, Unknown)
    assert seen.reason == reason


def test_without_proc_nothing_is_absent(make_tree: MakeTree) -> None:
    seen = row(make_tree, "bridge", {"/etc/x": ""})
    assert isinstance(seen, Unknown)
    assert seen.look


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", "Ä", "*", "a" * 65])
def test_what_cannot_be_a_module_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a module"):
        modules.modules.key(name)


def test_all_evidence_is_declared(make_tree: MakeTree) -> None:
    hosts = (BASE, without("/lib", **{"/sys/module/loop/x": "", "/boot/config-6.1.9": CONFIG}))
    for files in hosts:
        rows = table(make_tree, {**files, CONF: "install bridge /bin/false"})
        for seen in (*rows.every().values(), rows.rest):
            if not isinstance(seen, Unknown):
                assert any(fnmatchcase(seen.evidence.source, source) for source in modules.modules.sources)


def test_the_family_is_the_table() -> None:
    declared = load_family("modules")
    assert isinstance(declared, Table)
    assert declared.closed
    strengths = [declared.row.strength(state) for state in ("blocked", "loadable", "builtin", "loaded")]
    assert strengths == sorted(strengths)


@given(st.text(max_size=80) | st.sampled_from(["install a /bin/false\\\n", "(", ": :\n", "a.ko.ko:\n/\n.ko:"]))
@settings(max_examples=200)
def test_no_text_breaks_a_parser(text: str) -> None:
    with suppress(ValueError):
        assert all(name and line > 0 for name, line in _kernel_version._parse_module_lines(text).items() if name)  # noqa: SLF001
    assert all(found.line > 0 for found in _kernel_version._parse_loaded_modules(text).values())  # noqa: SLF001
    for line in _modprobe.parse_modprobe(text, Evidence("x")):
        assert 0 < line.evidence.line <= text.count("\n") + 1
        _modprobe.matches_pattern("bridge", line.name)
        _modprobe_commands.loads_module(line.rest, "bridge")


@pytest.mark.parametrize("text", ["not a list\n", "x", "\n\\xff\n"])
def test_a_list_without_a_module_s_file_is_malformed(text: str) -> None:
    with pytest.raises(ValueError, match="no file of a module"):
        _kernel_version._parse_module_lines(text)  # noqa: SLF001


@pytest.mark.parametrize(("text", "names"), [("", {}), ("\n \n", {}), ("\nkernel/a-b.ko.xz: c.ko\n", {"a_b": 2})])
def test_a_list_names_modules_by_line(text: str, names: Dict[str, int]) -> None:
    assert _kernel_version._parse_module_lines(text) == names  # noqa: SLF001


def test_an_unbalanced_bracket_behind_a_long_name_is_found_at_once() -> None:
    """Nested repetition in the pattern took time exponential in the name."""
    with pytest.raises(ValueError, match="an unbalanced bracket"):
        _modprobe.replace_dashes("1" * 1000 + "[")
