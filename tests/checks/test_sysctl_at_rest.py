from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Mapping, Optional, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusing import RefusingTree

from nodespec.checks import _sysctl_at_boot as files
from nodespec.checks import _sysctl_modules, _sysctl_values
from nodespec.facts.declaration import Row, Rows, Table, resolve_place
from nodespec.host.directory import DirectoryTree
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

SYSTEMD = {"/sbin/init": "/usr/lib/systemd/systemd"}
LOOKED = ":".join(files.FOLDERS)
DEFAULT = Evidence(LOOKED, inferred=True)
FORWARD = "net.ipv4.ip_forward"


def rows(root: str) -> Rows[Row]:
    fact = resolve_place(("sysctl", "x.y")).fact
    assert isinstance(fact, Table)
    assert fact.resting
    return fact.resting(DirectoryTree(root))


def look(root: str, key: str) -> Observation[Row]:
    """One row at rest; whatever it names as its source is declared."""
    fact = resolve_place(("sysctl", "x.y")).fact
    assert isinstance(fact, Table)
    seen = rows(root).observe(fact.key(key))
    if not isinstance(seen, Unknown):
        assert any(fnmatchcase(seen.evidence.source, declared) for declared in fact.resting_sources)
    return seen


def said(root: str, *keys: str) -> Tuple[object, ...]:
    seen = (look(root, key) for key in keys)
    return tuple(one.value if isinstance(one, Value) else one for one in seen)


class TestPrecedence:
    def test_the_file_that_comes_last_by_its_name_wins_whatever_its_folder(self, make_tree: MakeTree) -> None:
        texts = {"/etc/sysctl.d/10-own.conf": f"{FORWARD} = 0\n", "/usr/lib/sysctl.d/99-k8s.conf": f"\n{FORWARD}=1\n"}
        seen = look(make_tree(texts, SYSTEMD), FORWARD)
        assert seen == Value("1", Evidence("/usr/lib/sysctl.d/99-k8s.conf", 2))

    @pytest.mark.parametrize("folder", files.FOLDERS[1:])
    def test_of_one_name_only_the_first_folder_s_is_read(self, make_tree: MakeTree, folder: str) -> None:
        texts = {"/etc/sysctl.d/50-a.conf": "vm.swappiness=1\n", f"{folder}/50-a.conf": f"{FORWARD}=1\n"}
        root = make_tree(texts, SYSTEMD)
        assert said(root, "vm.swappiness", FORWARD) == ("1", "0")

    @pytest.mark.parametrize("mask", ["/dev/null", "/nowhere", ""])
    def test_a_link_to_null_or_an_empty_file_hides_its_namesake(self, make_tree: MakeTree, mask: str) -> None:
        own = "/etc/sysctl.d/50-a.conf"
        texts = {"/usr/lib/sysctl.d/50-a.conf": f"{FORWARD}=1\n", **({} if mask else {own: ""})}
        root = make_tree(texts, {**SYSTEMD, **({own: mask} if mask else {})})
        assert look(root, FORWARD) == Value("0", DEFAULT)

    def test_in_a_file_the_last_line_wins(self, make_tree: MakeTree) -> None:
        root = make_tree({"/etc/sysctl.d/a.conf": "vm.swappiness=1\nvm.swappiness = 2\n"}, SYSTEMD)
        assert look(root, "vm.swappiness") == Value("2", Evidence("/etc/sysctl.d/a.conf", 2))

    @pytest.mark.parametrize("name", ["a.conf~", "a.conf.bak", "README", ".a.conf", "a.Conf"])
    def test_other_names_are_not_read(self, make_tree: MakeTree, name: str) -> None:
        assert said(make_tree({f"/etc/sysctl.d/{name}": f"{FORWARD}=1\n"}, SYSTEMD), FORWARD) == ("0",)

    def test_what_run_holds_is_gone_when_a_machine_boots(self, make_tree: MakeTree) -> None:
        assert said(make_tree({"/run/sysctl.d/a.conf": f"{FORWARD}=1\n"}, SYSTEMD), FORWARD) == ("0",)


class TestMainFile:
    """/etc/sysctl.conf: systemd does not know it, procps reads it last."""

    TEXTS: Mapping[str, str] = {"/etc/sysctl.conf": f"{FORWARD}=1\n", "/etc/sysctl.d/zz.conf": f"{FORWARD}=0\n"}

    def test_systemd_does_not_read_it(self, make_tree: MakeTree) -> None:
        seen = look(make_tree({"/etc/sysctl.conf": f"{FORWARD}=1\n"}, SYSTEMD), FORWARD)
        assert seen == Value("0", DEFAULT)

    def test_unless_a_link_leads_to_it_and_then_in_the_order_of_its_name(self, make_tree: MakeTree) -> None:
        link = "/etc/sysctl.d/99-sysctl.conf"
        root = make_tree({"/etc/sysctl.conf": f"{FORWARD}=1\n"}, {link: "../sysctl.conf", **SYSTEMD})
        assert look(root, FORWARD) == Value("1", Evidence(link, 1))

    def test_others_read_it_last(self, make_tree: MakeTree) -> None:
        script = {"/etc/init.d/sysctl": "#!/sbin/openrc-run\n"}
        links = {"/sbin/init": "/sbin/openrc-init", "/etc/runlevels/boot/sysctl": "/etc/init.d/sysctl"}
        assert look(make_tree({**self.TEXTS, **script}, links), FORWARD) == Value("1", Evidence("/etc/sysctl.conf", 1))

    def test_openrc_reads_nothing_without_its_service(self, make_tree: MakeTree) -> None:
        files = {**self.TEXTS, "/etc/init.d/sysctl": "#!/sbin/openrc-run\n"}
        seen = look(make_tree(files, {"/sbin/init": "/sbin/openrc-init"}), FORWARD)
        assert seen == Value("0", Evidence("/etc/runlevels", inferred=True))

    def test_what_another_init_system_reads_is_unknown(self, make_tree: MakeTree) -> None:
        seen = look(make_tree(self.TEXTS, {"/sbin/init": "/bin/busybox"}), FORWARD)
        assert seen == Unknown("unsupported", "which files busybox applies at boot is not known")

    def test_without_an_init_system_nobody_reads_anything(self, make_tree: MakeTree) -> None:
        seen = look(make_tree(self.TEXTS), FORWARD)
        assert seen == Unknown("deferred", "nothing in this tree would read sysctl.d: /sbin/init not found")

    def test_nor_where_the_service_is_masked(self, make_tree: MakeTree) -> None:
        mask = "/etc/systemd/system/systemd-sysctl.service"
        root = make_tree(self.TEXTS, {mask: "/dev/null", **SYSTEMD})
        assert look(root, FORWARD) == Value("0", Evidence(mask, inferred=True))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("net/ipv4/ip_forward=1", "1"),
        ("/net/ipv4/ip_forward=1", "1"),
        ("net..ipv4.ip_forward = 1", "1"),
        (" - net.ipv4.ip_forward=1", "1"),
        ("-net.ipv4.ip_forward = 1 ", "1"),
        ("net.ipv4.ip_forward=1\r", "1"),
        ("net.ipv4.ip_forward\t=\t1  2\t3", "1"),
        ("net.ipv4.ip_forward=1 # routers", "1"),
        ("net.ipv4.ip_forward=1;", "0"),
        ("net.ipv4.ip_forward=1\x0b", "0"),
        ("net.ipv4.ip_forward=01", "1"),
        ("net.ipv4.ip_forward=1=2", "0"),
        ("net.ipv4.ip_forward=", "0"),
        ("# net.ipv4.ip_forward=1", "0"),
        ("; net.ipv4.ip_forward=1", "0"),
        ("net.ipv4.ip_forward 1", "0"),
        ("net.ipv4.ip_forward", "0"),
        ("= 1", "0"),
        ("net.ipv4.conf.all.forwarding=1", "1"),
        ("net.ipv4.conf.*.forwarding=1", "1"),
        ("net.ipv4.conf.a[a-l][!x].forwarding=1", "1"),
        ("net.*.ip_forward=1", "1"),
        ("net.*=1", "0"),
        ("*=1", "0"),
    ],
)
def test_a_line(make_tree: MakeTree, text: str, value: str) -> None:
    assert said(make_tree({"/etc/sysctl.d/a.conf": f"{text}\n"}, SYSTEMD), FORWARD) == (value,)


class TestReaders:
    """What systemd 252, procps 4.0.2 and busybox 1.35 wrote in a network namespace; None: it kept its 4096."""

    KEY = "net.core.somaxconn"

    @pytest.mark.parametrize(
        ("text", "systemd", "procps", "busybox"),
        [
            ("-net.core.somaxconn = 96\r", "96", "96", None),
            ("- net.core.somaxconn = 95", "95", None, None),
            (" \x0b net.core.somaxconn = 93", None, "93", "93"),
            ("net.core.somaxconn = 7\x0b", None, "7", "7"),
            ("net.core.somaxconn=90=3", None, None, None),
            ("/net/core/somaxconn=88", "88", "88", None),
            ("net/core.somaxconn=87", None, None, "87"),
            ("net.core.somax*=85", "85", "85", None),
            ("net.core.somaxconn=84\nnet.core.somax*=85", "84", "84", "84"),
            ("net.core.somaxconn=83\nnet.core.somaxconn=82;", None, "83", "83"),
            ("net.core.somaxconn=81;\nnet/core/somax*=80", None, None, None),
            ("net.core.somaxconn=7\\\n8", None, None, "78"),
            ("net.core.somaxconn 5 = 79", None, None, None),
            ("net.core.somaxconn=78\r\\\nx", "78", None, None),  # a carriage return ends a line of systemd's
            ("net.core.somaxconn=7\\", None, None, "7"),
            # busybox ends at the first write that is refused
            ("net.ipv4.ip_forward=1;\nnet.core.somaxconn=76", "76", "76", None),
            ("net.ipv4.nothing=\nnet.core.somaxconn=75", "75", "75", "75"),
        ],
    )
    def test_each_reader_has_its_own_way(
        self, text: str, systemd: Optional[str], procps: Optional[str], busybox: Optional[str]
    ) -> None:
        for reader, value in (("systemd", systemd), ("procps", procps), ("busybox", busybox)):
            assigned = files.order_assignments(files.parse_sysctl("f", text, reader), reader)
            seen = assigned.observe(self.KEY)
            assert (seen.value if isinstance(seen, Value) else seen) == value, reader

    def test_busybox_is_the_reader_where_sysctl_leads_to_it(self, make_tree: MakeTree) -> None:
        root = make_tree({"/bin/busybox": ""}, {"/sbin/init": "/bin/busybox", "/sbin/sysctl": "/bin/busybox"})
        Path(root, "bin/busybox").chmod(0o755)
        assert files.detect_reader(DirectoryTree(root)) == "busybox"
        assert files.detect_reader(DirectoryTree(make_tree({}, {}))) == "busybox"


class TestPortRange:
    RANGE, START = "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start"

    @pytest.mark.parametrize(("start", "known"), [("1024", True), ("80", True), ("1025", False)])
    def test_it_may_not_begin_below_the_ports_for_everybody(
        self,
        make_tree: MakeTree,
        start: str,
        known: bool,  # noqa: FBT001 - a parameter of the test
    ) -> None:
        text = f"{self.START}={start}\n{self.RANGE}=1024 65535\n"
        seen = look(make_tree({"/etc/sysctl.d/a.conf": text}, SYSTEMD), self.RANGE)
        assert isinstance(seen, Value) is known


class TestRefused:
    def test_what_was_there_before_stays(self, make_tree: MakeTree) -> None:
        root = make_tree({"/etc/sysctl.d/a.conf": "vm.swappiness=60;\nvm.max_map_count=99999999999\n"}, SYSTEMD)
        assert look(root, "vm.swappiness") == Value("60", DEFAULT)
        assert look(root, "vm.max_map_count") == Value("65530", DEFAULT)

    def test_without_a_default_it_is_unknown(self, make_tree: MakeTree) -> None:
        seen = look(make_tree({"/etc/sysctl.d/a.conf": "net.core.somaxconn=60;\n"}, SYSTEMD), "net.core.somaxconn")
        say = "/etc/sysctl.d/a.conf:1: the kernel refuses `60;` for net.core.somaxconn, which keeps its previous value"
        assert seen == Unknown("malformed", say, "write a value that the kernel accepts")

    def test_the_command_line_was_before(self, make_tree: MakeTree) -> None:
        line = {"/boot/vmlinuz-6.1": "", "/etc/kernel/cmdline": "sysctl.vm.swappiness=0x0a"}
        root = make_tree({**line, "/etc/sysctl.d/a.conf": "vm.swappiness=ten\n"}, SYSTEMD)
        assert look(root, "vm.swappiness") == Value("10", Evidence("/etc/kernel/cmdline", inferred=True))


class TestWildcards:
    KEYS = ("net.ipv4.conf.all.rp_filter", "net.ipv4.conf.default.rp_filter", "net.ipv4.conf.eth0/1.rp_filter")

    def given(self, make_tree: MakeTree, *lines: str) -> Tuple[object, ...]:
        root = make_tree({"/etc/sysctl.d/a.conf": "\n".join(lines)}, SYSTEMD)
        return said(root, *self.KEYS)

    def test_a_name_counts_more_in_whatever_order(self, make_tree: MakeTree) -> None:
        lines = ("net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.*.rp_filter=2")
        assert self.given(make_tree, *lines) == ("1", "2", "2")

    def test_a_dash_alone_keeps_wildcards_off(self, make_tree: MakeTree) -> None:
        lines = ("net.ipv4.conf.*.rp_filter=2", "-net.ipv4.conf.default.rp_filter")
        seen = self.given(make_tree, *lines)
        assert (seen[0], seen[2]) == ("2", "2")
        assert isinstance(seen[1], Unknown)

    def test_of_two_the_later_one_wins(self, make_tree: MakeTree) -> None:
        lines = ("net.ipv4.conf.*.rp_filter=2", "net.ipv4.conf.a*.rp_filter=1")
        assert self.given(make_tree, *lines) == ("1", "2", "2")

    def test_who_is_said_again_with_another_value_comes_last(self, make_tree: MakeTree) -> None:
        lines = ("net.ipv4.conf.*.rp_filter=2", "net.ipv4.conf.a*.rp_filter=1", "net.ipv4.conf.*.rp_filter=0")
        assert self.given(make_tree, *lines) == ("0", "0", "0")

    def test_and_with_the_same_value_stays_where_it_was(self, make_tree: MakeTree) -> None:
        lines = ("net.ipv4.conf.*.rp_filter=2", "net.ipv4.conf.a*.rp_filter=1", "net.ipv4.conf.*.rp_filter=2")
        assert self.given(make_tree, *lines) == ("1", "2", "2")


class TestForwarding:
    """What systemd 252 and Linux 6.18 do was tried in a network namespace."""

    KEYS = (FORWARD, "net.ipv4.conf.all.forwarding", "net.ipv4.conf.default.forwarding")
    SIX = ("net.ipv6.conf.all.forwarding", "net.ipv6.conf.default.forwarding")

    def given(self, make_tree: MakeTree, *lines: str, keys: Tuple[str, ...] = KEYS) -> Tuple[object, ...]:
        return said(make_tree({"/etc/sysctl.d/a.conf": "\n".join(lines)}, SYSTEMD), *keys)

    def test_it_goes_on_to_what_is_yet_to_come(self, make_tree: MakeTree) -> None:
        assert self.given(make_tree, "net.ipv4.ip_forward=1") == ("1", "1", "1")

    def test_the_last_of_two_names_wins(self, make_tree: MakeTree) -> None:
        assert self.given(make_tree, f"{FORWARD}=1", "net.ipv4.conf.all.forwarding=0") == ("0", "0", "0")

    def test_in_the_other_order_too(self, make_tree: MakeTree) -> None:
        assert self.given(make_tree, "net.ipv4.conf.all.forwarding=0", f"{FORWARD}=1") == ("1", "1", "1")

    def test_what_changes_nothing_goes_nowhere(self, make_tree: MakeTree) -> None:
        assert self.given(make_tree, self.KEYS[2] + "=1", f"{FORWARD}=0") == ("0", "0", "1")

    def test_with_version_6_either(self, make_tree: MakeTree) -> None:
        lines = ("net.ipv6.conf.default.forwarding=1", "net.ipv6.conf.all.forwarding=0")
        assert self.given(make_tree, *lines, keys=self.SIX) == ("0", "1")

    def test_version_6_goes_on_too(self, make_tree: MakeTree) -> None:
        assert self.given(make_tree, "net/ipv6/conf/all/forwarding=1", keys=self.SIX) == ("1", "1")


class TestDefaults:
    def test_the_kernel_s_own_is_inferred(self, make_tree: MakeTree) -> None:
        root = make_tree({}, SYSTEMD)
        for key, value in _sysctl_values.DEFAULTS.items():
            if not key.startswith("net.bridge."):
                assert look(root, key) == Value(value, DEFAULT)

    def test_what_depends_on_the_machine_is_deferred(self, make_tree: MakeTree) -> None:
        seen = look(make_tree({}, SYSTEMD), "user.max_user_namespaces")
        assert seen == Unknown("deferred", "only a running machine can tell: no file assigns it")

    def test_a_secret_is_not_told(self, make_tree: MakeTree) -> None:
        root = make_tree({"/etc/sysctl.d/a.conf": "net.ipv4.tcp_fastopen_key=1234\nvm.swappiness=1\n"}, SYSTEMD)
        seen = look(root, "net.ipv4.tcp_fastopen_key")
        assert isinstance(seen, Unknown)
        assert seen.reason == "refused"
        every = rows(root).every()
        assert every["vm.swappiness"] == Value("1", Evidence("/etc/sysctl.d/a.conf", 2))
        assert "net.ipv4.tcp_fastopen_key" not in every
        assert {FORWARD, "vm.overcommit_memory"} < set(every)


class TestModules:
    KEY = "net.bridge.bridge-nf-call-iptables"
    FILE: Mapping[str, str] = {"/etc/sysctl.d/k8s.conf": f"{KEY} = 0\n"}
    KERNEL: Mapping[str, str] = {
        "/sbin/modprobe": "",
        "/usr/lib/modules/6.1.0/modules.builtin": "kernel/net/netfilter/nf-conntrack.ko\n",
        "/usr/lib/modules/6.1.0/modules.dep": "kernel/net/x/physdev.ko.xz: kernel/net/bridge/br_netfilter.ko.xz\n"
        "kernel/net/bridge/br_netfilter.ko.xz:\nkernel/fs/xfs/xfs.ko.xz:\n",
    }

    def test_without_its_module_no_file_can_set_it(self, make_tree: MakeTree) -> None:
        seen = look(make_tree({**self.FILE, **self.KERNEL}, SYSTEMD), self.KEY)
        said = "the module br_netfilter adds it, and nothing loads it at boot; list it in a file of "
        assert seen == Absent(Evidence(":".join(_sysctl_modules.LOAD_FOLDERS)), f"{said}/etc/modules-load.d")

    @pytest.mark.parametrize(
        ("path", "text"),
        [
            ("/etc/modules-load.d/k8s.conf", "overlay\nbr_netfilter\n"),
            ("/usr/lib/modules-load.d/k8s.conf", "# for kubernetes\n  br-netfilter  \n"),
            ("/etc/modules-load.d/k8s.conf", "physdev\n"),
            ("/etc/modules", "br_netfilter\n"),
        ],
    )
    def test_a_file_that_has_it_loaded_makes_it_so(self, make_tree: MakeTree, path: str, text: str) -> None:
        root = make_tree(
            {**self.FILE, **self.KERNEL, path: text}, {**SYSTEMD, "/etc/modules-load.d/modules.conf": "../modules"}
        )
        assert look(root, self.KEY) == Value("0", Evidence("/etc/sysctl.d/k8s.conf", 1))

    def test_a_module_that_the_kernel_has_not_or_may_not_load_cannot_bring_it(self, make_tree: MakeTree) -> None:
        files = {**self.FILE, **self.KERNEL, "/etc/modules-load.d/a.conf": "br_netfilter\nip_vs\n"}
        root = make_tree({**files, "/etc/modprobe.d/a.conf": "\ninstall br_netfilter /bin/false\n"}, SYSTEMD)
        say = "the module br_netfilter adds it, and must not be loaded"
        assert look(root, self.KEY) == Absent(Evidence("/etc/modprobe.d/a.conf", 2), say)
        say = "the module ip_vs adds it, and this kernel does not have the module"
        assert look(root, "net.ipv4.vs.conntrack") == Absent(Evidence("/usr/lib/modules/6.1.0"), say)

    def test_and_so_does_a_kernel_that_has_it_built_in(self, make_tree: MakeTree) -> None:
        root = make_tree({**self.KERNEL, "/etc/sysctl.d/a.conf": "net.netfilter.nf_conntrack_max=1\n"}, SYSTEMD)
        assert said(root, "net.netfilter.nf_conntrack_max") == ("1",)

    def test_loaded_it_begins_with_bridges_filtered(self, make_tree: MakeTree) -> None:
        root = make_tree({**self.KERNEL, "/etc/modules-load.d/a.conf": "br_netfilter"}, SYSTEMD)
        assert look(root, self.KEY) == Value("1", DEFAULT)

    @pytest.mark.parametrize(("key", "kernel"), [(KEY, {}), ("fs.xfs.error_level", KERNEL)])
    def test_what_the_kernel_or_a_device_decides_is_deferred(
        self, make_tree: MakeTree, key: str, kernel: Dict[str, str]
    ) -> None:
        seen = look(make_tree({**kernel, "/etc/sysctl.d/a.conf": f"{key}=1"}, SYSTEMD), key)
        assert isinstance(seen, Unknown)
        assert seen.reason == "deferred"


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("ro sysctl.vm.swappiness=10", "vm.swappiness", "10"),
        ("panic=7", "kernel.panic", "7"),
        ("oops=panic", "kernel.panic_on_oops", "1"),
    ],
)
def test_the_command_line_counts_where_no_file_does(make_tree: MakeTree, line: str, key: str, value: str) -> None:
    root = make_tree({"/boot/vmlinuz-6.1": "", "/etc/kernel/cmdline": line}, SYSTEMD)
    assert look(root, key) == Value(value, Evidence("/etc/kernel/cmdline", inferred=True))
    make_tree({"/etc/sysctl.d/a.conf": f"{key}=3\n"})
    assert look(root, key) == Value("3", Evidence("/etc/sysctl.d/a.conf", 1))


class TestHostile:
    def test_what_is_no_file_says_nothing(self, make_tree: MakeTree) -> None:
        root = make_tree({"/etc/sysctl.d/a.conf": None, "/etc/sysctl.d/b.conf": b"\xff=\0\n\n=\x80"}, SYSTEMD)
        assert look(root, FORWARD) == Value("0", DEFAULT)

    def test_a_file_that_is_too_long_leaves_all_unknown(self, make_tree: MakeTree) -> None:
        root = make_tree({"/etc/sysctl.d/a.conf": "#" * (1 << 19), "/etc/sysctl.d/b.conf": f"{FORWARD}=1"}, SYSTEMD)
        seen = look(root, FORWARD)
        assert isinstance(seen, Unknown)
        assert seen.reason == "failed"
        assert rows(root).every() == {}

    @pytest.mark.parametrize("folder", ["/etc/sysctl.d", "/etc/modules-load.d", "/usr/lib/modules"])
    def test_a_folder_may_be_a_file(self, make_tree: MakeTree, folder: str) -> None:
        assert said(make_tree({folder: ""}, SYSTEMD), FORWARD) == ("0",)


LINES = st.lists(
    st.sampled_from(
        [
            *(f"net.ipv4.conf.{name}.{key}={value}" for name in ("all", "*", "a*") for key in "xy" for value in "12"),
            *("-net.ipv4.conf.all.x", "net/ipv4/conf/all/x=3", "#", "", "junk", "=", "-", "- =", "[=1", "*?[=1"),
        ]
    )
    | st.text(max_size=20),
    max_size=12,
)


@settings(max_examples=150)
@given(LINES)
def test_what_is_left_is_what_a_line_says(lines: list[str]) -> None:
    assigned = files.order_assignments(files.parse_sysctl("f", "\n".join(lines), files.SYSTEMD), files.SYSTEMD)
    found = assigned.paths
    seen = assigned.observe("net.ipv4.conf.all.x")
    named = [one for one in found.values() if one.path == "net/ipv4/conf/all/x"]
    if named:
        assert seen == (None if named[0].value is None else Value(named[0].value, named[0].at))
    elif seen:
        assert any("*" in one.path or "[" in one.path or "?" in one.path for one in found.values())
    assert all(isinstance(name, str) for name in assigned.list_names())


NETWORKD = "/usr/lib/systemd/system/systemd-networkd.service"
STARTED = {"/etc/systemd/system/multi-user.target.wants/systemd-networkd.service": NETWORKD}


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("/etc/rc.local", (FORWARD, "vm.swappiness", "net.ipv6.conf.all.forwarding")),
        ("/etc/local.d", (FORWARD, "vm.swappiness", "net.ipv6.conf.all.forwarding")),
        ("/etc/systemd/network", (FORWARD, "net.ipv6.conf.all.forwarding")),
        ("/etc/systemd/network/a.network", (FORWARD, "net.ipv6.conf.all.forwarding")),
        ("/etc/systemd/networkd.conf", (FORWARD, "net.ipv6.conf.all.forwarding")),
    ],
)
def test_what_a_file_of_a_service_may_set_is_unknown_if_it_is_refused(
    make_tree: MakeTree, path: str, keys: Tuple[str, ...]
) -> None:
    files = {
        NETWORKD: "[Service]\nExecStart=/usr/lib/systemd/systemd-networkd\n",
        "/etc/systemd/network/a.network": "[Match]\nName=*\n",
        "/etc/sysctl.d/a.conf": "vm.swappiness=7\nnet.ipv6.conf.all.forwarding=0\n",
        "/etc/machine-id": "1" * 32,
    }
    root = make_tree(files, {**SYSTEMD, **STARTED})
    fact = resolve_place(("sysctl", "x.y")).fact
    assert isinstance(fact, Table)
    assert fact.resting
    for key in (FORWARD, "vm.swappiness", "net.ipv6.conf.all.forwarding"):
        assert isinstance(fact.resting(RefusingTree(root)).observe(key), Value)
        seen = fact.resting(RefusingTree(root, path)).observe(key)
        if key in keys:
            assert isinstance(seen, Unknown)
            assert (seen.reason, seen.say.startswith(path)) == ("no permission", True)
        else:
            assert isinstance(seen, Value)


def test_a_service_that_only_enables_forwarding_leaves_it_on(make_tree: MakeTree) -> None:
    files = {
        NETWORKD: "[Service]\nExecStart=/usr/lib/systemd/systemd-networkd\n",
        "/etc/sysctl.d/a.conf": f"{FORWARD}=1\n",
        "/etc/machine-id": "1" * 32,
    }
    root = make_tree(files, {**SYSTEMD, **STARTED})
    fact = resolve_place(("sysctl", "x.y")).fact
    assert isinstance(fact, Table)
    assert fact.resting
    seen = fact.resting(RefusingTree(root, "/etc/systemd/network")).observe(FORWARD)
    assert seen == Value("1", Evidence("/etc/sysctl.d/a.conf", 1))


@pytest.mark.parametrize(
    ("key", "option", "value"),
    [("kernel.panic", "CONFIG_PANIC_TIMEOUT=-5", "-5"), ("kernel.panic_on_oops", "CONFIG_PANIC_ON_OOPS_VALUE=1", "1")],
)
def test_a_build_option_decides_what_no_file_sets(make_tree: MakeTree, key: str, option: str, value: str) -> None:
    config = "/boot/config-6.1.0-1-amd64"
    files = {
        config: f"# Linux/x86 6.1.90 Kernel Configuration\n{option}\n",
        "/boot/vmlinuz-6.1.0-1-amd64": "",
        "/lib/modules/6.1.0-1-amd64/modules.dep": "",
        "/etc/machine-id": "1" * 32,
    }
    assert look(make_tree(files, SYSTEMD), key) == Value(value, Evidence(config, 2, inferred=True))


@pytest.mark.parametrize(("identity", "known"), [("1" * 32, True), ("uninitialized", False)])
def test_a_service_that_may_not_start_sets_nothing_for_certain(
    make_tree: MakeTree,
    identity: str,
    known: bool,  # noqa: FBT001 - a parameter of a table
) -> None:
    """Whether a first boot removes the link depends on how systemd was built."""
    unit = "/usr/lib/systemd/system/tune.service"
    files = {
        unit: "[Service]\nExecStart=/sbin/sysctl -w vm.swappiness=3\n[Install]\nWantedBy=multi-user.target\n",
        "/usr/lib/systemd/system-preset/99-default.preset": "disable *\n",
        "/etc/os-release": "ID=other\n",
        "/etc/machine-id": identity,
    }
    root = make_tree(files, {**SYSTEMD, "/etc/systemd/system/multi-user.target.wants/tune.service": unit})
    sure = Value("3", Evidence(unit, 2, inferred=True))
    may = Unknown("deferred", f"only a running machine can tell: {unit}:2 may set vm.swappiness")
    assert look(root, "vm.swappiness") == (sure if known else may)
