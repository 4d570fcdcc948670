from __future__ import annotations

from fnmatch import fnmatchcase
from time import process_time
from typing import TYPE_CHECKING, Mapping, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespec.checks import _os_release
from nodespec.facts.declaration import Leaf, resolve_place
from nodespec.facts.live import check_observation
from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
from nodespec.model.observation import Absent, Evidence, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

    from nodespec.facts.value_types import Datum
    from nodespec.model.observation import Observation

Files = Mapping[str, Union[str, bytes, None]]

DEBIAN = """\
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
"""
FIRST_MOUNTS, FIRST_PROCESSES = "mnt:[4026531832]", "pid:[4026531836]"


def leaf(name: str) -> Leaf:
    fact = resolve_place(("os", name)).fact
    assert isinstance(fact, Leaf)
    return fact


def look(name: str, machine: Machine) -> Observation[Datum]:
    """What the probe sees; whatever it names as its source is declared."""
    fact = leaf(name)
    seen = fact.probe(machine)
    if not isinstance(seen, Unknown):
        for source in seen.evidence.source.split(", "):
            assert any(fnmatchcase(source, declared) for declared in fact.sources)
    return seen


def field(make_tree: MakeTree, name: str, text: Union[str, bytes]) -> Observation[Datum]:
    return look(name, Machine(make_tree({"/etc/os-release": text})))


def words(seen: Observation[Datum]) -> Optional[Datum]:
    return seen.value if isinstance(seen, Value) else None


def reason(seen: Observation[Datum]) -> str:
    return seen.reason if isinstance(seen, Unknown) else ""


def test_the_fields_of_a_distribution(make_tree: MakeTree) -> None:
    tree = Machine(make_tree({"/etc/os-release": DEBIAN}))
    path = "/etc/os-release"
    assert look("id", tree) == Value("debian", Evidence(path, 6))
    assert look("name", tree) == Value("Debian GNU/Linux", Evidence(path, 2))
    assert look("pretty_name", tree) == Value("Debian GNU/Linux 12 (bookworm)", Evidence(path, 1))
    assert look("version", tree) == Value("12", Evidence(path, 3))
    assert look("codename", tree) == Value("bookworm", Evidence(path, 5))
    assert look("families", tree) == Value(frozenset({"debian"}), Evidence(path, 6))
    assert look("variant", tree) == Absent(Evidence(path))
    assert look("build", tree) == Absent(Evidence(path))


def test_what_it_calls_itself_is_the_same_at_rest(make_tree: MakeTree) -> None:
    tree = DirectoryTree(make_tree({"/etc/os-release": DEBIAN, "/etc/machine-id": ""}))
    seen = {name: leaf(name).resting for name in ("id", "name", "pretty_name", "version", "codename", "machine_id")}
    said = {name: words(probe(tree)) for name, probe in seen.items() if probe}
    assert list(said.values()) == [
        "debian",
        "Debian GNU/Linux",
        "Debian GNU/Linux 12 (bookworm)",
        "12",
        "bookworm",
        "empty",
    ]


@pytest.mark.parametrize("name", ["container", "virtualization"])
def test_what_runs_has_no_meaning_at_rest(name: str) -> None:
    assert leaf(name).resting is None


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ("debian", "debian"),
        ('"debian"', "debian"),
        ("'debian'", "debian"),
        ('"two  words"', "two words"),
        (r'"\"a\" \$b \`c\` \\ \d"', r'"a" $b `c` \ \d'),
        (r"'\"'", r"\""),
        (r"a\ b", "a b"),
        ("\"a\"'b'c", "abc"),
        ("debian # said so", "debian"),
        ("debian\r", "debian"),
        ("=", "="),
    ],
)
def test_values_are_quoted_as_in_a_shell(make_tree: MakeTree, written: str, word: str) -> None:
    assert words(field(make_tree, "id", f"ID={written}\nNAME=x\n")) == word


@pytest.mark.parametrize("written", ['"debian', "'debian", "a\\", 'a"b'])
def test_a_quote_left_open_is_malformed_in_its_own_line_only(make_tree: MakeTree, written: str) -> None:
    text = f"ID={written}\nVERSION_ID=12\n"
    assert reason(field(make_tree, "id", text)) == "malformed"
    assert reason(field(make_tree, "families", text)) == "malformed"
    assert words(field(make_tree, "version", text)) == "12"


def test_comments_blanks_and_other_text_are_passed_over(make_tree: MakeTree) -> None:
    text = "#ID=no\n\n  ID=debian\nnonsense\nexport ID=no\n9ID=no\n"
    assert field(make_tree, "id", text) == Value("debian", Evidence("/etc/os-release", 3))


def test_of_two_lines_the_later_counts(make_tree: MakeTree) -> None:
    assert field(make_tree, "id", "ID=a\nID=b\n") == Value("b", Evidence("/etc/os-release", 2))


def test_a_file_without_the_field_has_its_default(make_tree: MakeTree) -> None:
    inferred = Evidence("/etc/os-release", inferred=True)
    assert field(make_tree, "id", "") == Value("linux", inferred)
    assert field(make_tree, "families", "ID_LIKE=rhel\n") == Value(
        frozenset({"linux", "rhel"}), Evidence("/etc/os-release", 1)
    )
    assert field(make_tree, "name", "NAME=\n") == Value("Linux", inferred)


@pytest.mark.parametrize("text", [b"\xff", b"\x1b[31m", b"\0", b"\x7f", b"\xc2\x9b"])
@pytest.mark.parametrize("name", ["id", "name", "pretty_name", "codename", "variant", "build", "version", "families"])
def test_a_text_with_control_characters_is_no_value(make_tree: MakeTree, name: str, text: bytes) -> None:
    fields = ("ID", "NAME", "PRETTY_NAME", "VERSION_CODENAME", "VARIANT_ID", "BUILD_ID", "VERSION_ID")
    lines = b"".join(b'%s="12%s"\n' % (one.encode(), text) for one in fields)
    assert reason(check_observation(resolve_place(("os", name)), field(make_tree, name, lines))) == "malformed"


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("id", "ID=Deepin", "Deepin"),
        ("id", "ID=opensuse-leap", "opensuse-leap"),
        ("id", 'ID="two words"', None),
        ("id", "ID=a/b", None),
        ("variant", "VARIANT_ID=a=b", None),
        ("version", "VERSION_ID=2.0~rc1+1_x", "2.0~rc1+1_x"),
        ("version", 'VERSION_ID="12 or so"', None),
        ("name", "NAME=Debian GNU/Linux", None),
        ("name", "NAME=Débian", "Débian"),
        ("name", "NAME=Debian   # GNU", "Debian"),
        ("codename", 'VERSION_CODENAME="Green Obsidian"', "Green Obsidian"),
    ],
)
def test_identifiers_are_one_word(make_tree: MakeTree, name: str, written: str, value: Optional[str]) -> None:
    seen = check_observation(resolve_place(("os", name)), field(make_tree, name, f"{written}\n"))
    assert words(seen) == value if value else reason(seen) == "malformed"


def test_the_second_file_counts_where_the_first_does_not_exist(make_tree: MakeTree) -> None:
    tree = Machine(make_tree({"/usr/lib/os-release": "ID=fedora\n"}))
    assert look("id", tree) == Value("fedora", Evidence("/usr/lib/os-release", 1))


def test_a_first_file_that_cannot_be_read_is_not_replaced(make_tree: MakeTree) -> None:
    tree = Machine(make_tree({"/usr/lib/os-release": "ID=fedora\n", "/etc/os-release": None}))
    assert reason(look("id", tree)) == "failed"


def test_links_stay_in_the_tree(make_tree: MakeTree) -> None:
    root = make_tree({"/usr/lib/os-release": "ID=fedora\n"}, {"/etc/os-release": "/usr/lib/os-release"})
    assert look("id", Machine(root)) == Value("fedora", Evidence("/etc/os-release", 1))


@pytest.mark.parametrize("name", ["id", "version", "codename", "variant", "build", "families", "name", "pretty_name"])
def test_without_any_file_all_is_unknown(make_tree: MakeTree, name: str) -> None:
    seen = look(name, Machine(make_tree({"/etc/hostname": "x"}, {"/etc/os-release": "../usr/lib/os-release"})))
    assert isinstance(seen, Unknown)
    assert (seen.reason, seen.say) == ("not found", "neither /etc/os-release nor /usr/lib/os-release found")


def test_an_own_mount_namespace_on_the_host_s_root_is_no_container(make_tree: MakeTree) -> None:
    links = {
        "/proc/self/ns/mnt": "mnt:[4026532000]",
        "/proc/self/ns/pid": FIRST_PROCESSES,
        "/proc/1/ns/mnt": "mnt:[4026531841]",
        "/proc/1/root": "/",
    }
    machine = running(make_tree, {"/.dockerenv": ""}, links)
    machine.process = "/proc/self"
    assert look("container", machine) == Absent(Evidence("/proc/1/root"))


def test_families_are_its_own_name_and_those_it_takes_after(make_tree: MakeTree) -> None:
    seen = field(make_tree, "families", 'ID=rocky\nID_LIKE="rhel centos fedora"\n')
    assert seen == Value(frozenset({"rocky", "rhel", "centos", "fedora"}), Evidence("/etc/os-release", 2))


@pytest.mark.parametrize(
    ("text", "codename"),
    [
        ('VERSION="7 (Core)"', "Core"),
        ('VERSION="14.04.3 LTS, Trusty Tahr"', "Trusty Tahr"),
        ('VERSION="30 (Workstation Edition)"\nVERSION_CODENAME=""', None),
        ('VERSION="12 (12)"', None),
        ("VERSION=5", None),
        ("", None),
    ],
)
def test_a_codename_before_there_was_a_field_for_it(make_tree: MakeTree, text: str, codename: Optional[str]) -> None:
    seen = field(make_tree, "codename", text)
    if codename is None:
        assert seen == Absent(Evidence("/etc/os-release"))
    else:
        assert seen == Value(codename, Evidence("/etc/os-release", 1, inferred=True))


@given(st.text() | st.text("\"'\\$`,() =ab\n"))
def test_the_parser_refuses_with_value_error_alone(text: str) -> None:
    for assignment in _os_release._parse_os_release(f"ID={text}").values():  # noqa: SLF001 - the parser is what is hardened
        try:
            assert _os_release._parse_shell_word(assignment.written) is not None  # noqa: SLF001
        except ValueError as error:
            assert "quote" in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize(
    "text",
    ["VERSION=" + "(" * 60_000, "VERSION=" + "," * 60_000, "VERSION='" + "," * 60_000, 'VERSION="' + "\\" * 60_000],
)
def test_a_hostile_file_takes_no_time(make_tree: MakeTree, text: str) -> None:
    start = process_time()
    assert not isinstance(field(make_tree, "codename", text), Value)
    assert process_time() - start < 1


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("0123456789abcdef0123456789abcdef\n", "set"),
        ("", "empty"),
        ("\n", "empty"),
        ("uninitialized\n", "uninitialized"),
    ],
)
def test_machine_id(make_tree: MakeTree, text: str, state: str) -> None:
    seen = look("machine_id", Machine(make_tree({"/etc/machine-id": text})))
    assert seen == Value(state, Evidence("/etc/machine-id"))


@pytest.mark.parametrize("text", ["0" * 32, "5ec2e7", "5ec2e7" * 8, b"\xff5ec2e7"])
def test_a_machine_id_that_is_none_is_malformed_and_not_shown(make_tree: MakeTree, text: Union[str, bytes]) -> None:
    seen = look("machine_id", Machine(make_tree({"/etc/machine-id": text})))
    assert reason(seen) == "malformed"
    assert "5ec2e7" not in repr(seen)
    assert "000" not in repr(seen)


def test_no_machine_id(make_tree: MakeTree) -> None:
    assert look("machine_id", Machine(make_tree({"/etc/x": ""}))) == Absent(Evidence("/etc/machine-id"))


PROC: Files = {"/proc/self/stat": "1", "/proc/uptime": "1", "/sys/kernel/notes": ""}


def running(make_tree: MakeTree, files: Files, links: Mapping[str, str] = {}) -> Machine:
    return Machine(make_tree({**PROC, **files}, links))


@pytest.mark.parametrize(
    ("files", "links", "init", "source"),
    [
        ({"/run/systemd/system": None, "/proc/1/comm": "systemd\n"}, {}, "systemd", "/run/systemd/system"),
        ({"/run/openrc/softlevel": "", "/proc/1/comm": "init\n"}, {}, "openrc", "/run/openrc/softlevel"),
        ({"/run/systemd/machines": None, "/proc/1/comm": "tini\n"}, {}, "tini", "/proc/1/comm"),
        ({"/proc/1/comm": "s6-svscan\n"}, {}, "s6", "/proc/1/comm"),
        ({"/proc/1/comm": "init\n", "/sbin/init": "INIT: version"}, {}, "sysvinit", "/sbin/init"),
        ({"/proc/1/comm": "init\n"}, {"/sbin/init": "/bin/busybox"}, "busybox", "/sbin/init"),
    ],
)
def test_init(make_tree: MakeTree, files: Files, links: Mapping[str, str], init: str, source: str) -> None:
    seen = look("init", running(make_tree, files, links))
    assert seen == Value(init, Evidence(source, inferred=source == "/sbin/init"))


def test_a_process_1_that_is_not_shown(make_tree: MakeTree) -> None:
    assert reason(look("init", running(make_tree, {}))) == "hidden"
    assert reason(look("init", Machine(make_tree({"/etc/x": ""})))) == "hidden"


OWN = {"/proc/1/ns/pid": "pid:[4026532001]", "/proc/1/ns/mnt": "mnt:[4026532000]"}


@pytest.mark.parametrize(
    ("files", "container", "source"),
    [
        ({"/.dockerenv": ""}, "docker", "/.dockerenv"),
        ({"/run/.containerenv": ""}, "podman", "/run/.containerenv"),
        ({"/proc/1/environ": b"PATH=/bin\0container=lxc\0"}, "lxc", "/proc/1/environ"),
        ({"/run/systemd/container": "systemd-nspawn\n"}, "systemd-nspawn", "/run/systemd/container"),
        ({"/run/host/container-manager": "flatpak"}, "flatpak", "/run/host/container-manager"),
        ({"/proc/1/environ": b"container=oci\0", "/run/.containerenv": ""}, "podman", "/run/.containerenv"),
        (
            {"/run/secrets/kubernetes.io/serviceaccount": None, "/run/.containerenv": ""},
            "kubernetes",
            "/run/secrets/kubernetes.io",
        ),
        ({"/proc/1/environ": b"KUBERNETES_SERVICE_HOST=10.0.0.1\0"}, "kubernetes", "/proc/1/environ"),
    ],
)
def test_marks_of_containers(make_tree: MakeTree, files: Files, container: str, source: str) -> None:
    assert look("container", running(make_tree, files, OWN)) == Value(container, Evidence(source))


def test_a_pid_namespace_of_its_own_is_a_container(make_tree: MakeTree) -> None:
    seen = look("container", running(make_tree, {}, OWN))
    assert seen == Value("other", Evidence("/proc/1/ns/pid", inferred=True))


@pytest.mark.parametrize(
    ("mounts", "processes", "source"),
    [
        (FIRST_MOUNTS, FIRST_PROCESSES, "/proc/1/ns/mnt"),
        (FIRST_MOUNTS, "pid:[4026532001]", "/proc/1/ns/mnt"),
        ("mnt:[4026531841]", FIRST_PROCESSES, "/proc/1/ns/pid"),
    ],
)
def test_what_an_image_left_behind_makes_no_container(
    make_tree: MakeTree, mounts: str, processes: str, source: str
) -> None:
    links = {"/proc/1/ns/mnt": mounts, "/proc/1/ns/pid": processes}
    seen = look("container", running(make_tree, {"/.dockerenv": ""}, links))
    assert seen == Absent(Evidence(source))


@pytest.mark.parametrize(
    ("others", "container"),
    [
        ({"/proc/1/ns/mnt": "mnt:[4026531841]"}, "docker"),
        ({"/proc/1/ns/mnt": "mnt:[4026532000]"}, None),
        ({}, "docker"),  # as for a user who may not see them
    ],
)
def test_among_the_hosts_processes_its_own_mounts_make_a_container(
    make_tree: MakeTree, others: Mapping[str, str], container: Optional[str]
) -> None:
    own = {"/proc/self/ns/mnt": "mnt:[4026532000]", "/proc/self/ns/pid": FIRST_PROCESSES}
    machine = running(make_tree, {"/.dockerenv": ""}, {**own, **others})
    machine.process = "/proc/self"
    seen = look("container", machine)
    assert words(seen) == container
    assert not container or seen == Value(container, Evidence("/.dockerenv", inferred=True))


def test_marks_say_nothing_where_the_namespaces_may_not_be_seen(
    make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = running(make_tree, {"/.dockerenv": ""})
    monkeypatch.setattr(machine, "link", lambda path: Unknown("no permission", f"{path} may not be read"))
    assert look("container", machine) == Unknown("no permission", "/proc/1/ns/pid may not be read")


@pytest.mark.parametrize("processes", [FIRST_PROCESSES, "pid:[4026532001]"])
def test_a_mark_that_cannot_be_looked_for_is_not_missing(
    make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch, processes: str
) -> None:
    machine = running(make_tree, {}, {"/proc/1/ns/pid": processes})
    hidden = Unknown("no permission", "/.dockerenv may not be looked at")
    entry = machine.entry
    monkeypatch.setattr(machine, "entry", lambda path: hidden if path == "/.dockerenv" else entry(path))
    assert look("container", machine) == hidden


def test_no_container(make_tree: MakeTree) -> None:
    seen = look("container", running(make_tree, {}, {"/proc/1/ns/pid": FIRST_PROCESSES}))
    assert seen == Absent(Evidence("/proc/1/ns/pid"))


def test_namespaces_that_cannot_be_seen_are_no_absence(make_tree: MakeTree) -> None:
    assert reason(look("container", Machine(make_tree({"/etc/x": ""})))) == "hidden"


X86_BARE = "processor\t: 0\nflags\t\t: fpu lm\n"
X86_GUEST = "processor\t: 0\nflags\t\t: fpu lm hypervisor\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd\n"
CLOCKS = "/sys/devices/system/clocksource/clocksource0/available_clocksource"
DMI, DEVICES = "/sys/class/dmi/id", "/proc/device-tree"


@pytest.mark.parametrize(
    ("cpuinfo", "files", "kind", "source"),
    [
        (X86_GUEST, {CLOCKS: "tsc kvm-clock \n", f"{DMI}/sys_vendor": "QEMU\n"}, "kvm", CLOCKS),
        (X86_GUEST, {CLOCKS: "hyperv_clocksource_tsc_page tsc\n"}, "hyperv", CLOCKS),
        (X86_GUEST, {f"{DMI}/product_name": "VMware7,1\n"}, "vmware", f"{DMI}/product_name"),
        (X86_GUEST, {f"{DMI}/product_name": "x\n", f"{DMI}/sys_vendor": "Xen\n"}, "xen", f"{DMI}/sys_vendor"),
        (X86_GUEST, {"/sys/hypervisor/type": "xen\n"}, "xen", "/sys/hypervisor/type"),
        (ARM, {f"{DMI}/sys_vendor": "Amazon EC2\n", f"{DMI}/product_name": "m7g.large\n"}, "kvm", f"{DMI}/sys_vendor"),
        (ARM, {f"{DEVICES}/hypervisor/compatible": "linux,kvm\0"}, "kvm", f"{DEVICES}/hypervisor/compatible"),
        ("", {"/proc/sysinfo": "VM00 Control Program: z/VM    7.3.0\n"}, "zvm", "/proc/sysinfo"),
    ],
)
def test_hypervisors(make_tree: MakeTree, cpuinfo: str, files: Files, kind: str, source: str) -> None:
    seen = look("virtualization", running(make_tree, {"/proc/cpuinfo": cpuinfo, **files}))
    assert seen == Value(kind, Evidence(source, inferred=True))


def test_qemu_may_be_kvm(make_tree: MakeTree) -> None:
    seen = look(
        "virtualization", running(make_tree, {"/proc/cpuinfo": ARM, f"{DEVICES}/compatible": "linux,dummy-virt\0"})
    )
    assert seen == Value("qemu", Evidence(f"{DEVICES}/compatible", inferred=True), ("kvm",))


def test_a_hypervisor_without_a_name(make_tree: MakeTree) -> None:
    seen = look("virtualization", running(make_tree, {"/proc/cpuinfo": X86_GUEST}))
    assert seen == Value("other", Evidence("/proc/cpuinfo", 2, inferred=True))


@pytest.mark.parametrize(
    ("cpuinfo", "files", "evidence"),
    [
        (X86_BARE, {f"{DMI}/sys_vendor": "QEMU\n"}, Evidence("/proc/cpuinfo", 2)),
        (X86_GUEST, {"/proc/xen/capabilities": "control_d\n", "/sys/hypervisor/type": "xen\n"}, None),
        (ARM, {f"{DMI}/sys_vendor": "Amazon EC2\n", f"{DMI}/product_name": "c7g.metal\n"}, None),
        (ARM, {f"{DMI}/sys_vendor": "Ampere\n"}, Evidence(DMI)),
        (ARM, {f"{DEVICES}/compatible": "raspberrypi,4-model-b\0"}, Evidence(DEVICES)),
    ],
)
def test_bare_machines(make_tree: MakeTree, cpuinfo: str, files: Files, evidence: Optional[Evidence]) -> None:
    seen = look("virtualization", running(make_tree, {"/proc/cpuinfo": cpuinfo, **files}))
    assert isinstance(seen, Absent)
    assert seen.evidence == (evidence or seen.evidence)


def test_no_tables_are_no_bare_machine(make_tree: MakeTree) -> None:
    assert reason(look("virtualization", running(make_tree, {"/proc/cpuinfo": ARM}))) == "hidden"
    assert reason(look("virtualization", Machine(make_tree({"/etc/x": ""})))) == "hidden"
