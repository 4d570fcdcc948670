from __future__ import annotations

import subprocess
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Mapping, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks import _init_system, _services_at_boot, _systemd_at_boot, _systemd_units
from nodespec.facts.declaration import resolve_place
from nodespec.host.directory import DirectoryTree
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

SYSTEMD = {"/sbin/init": "/usr/lib/systemd/systemd"}
ID = {"/etc/machine-id": "76ef8a4054b94d31b43391f87bfb5073\n"}
UNIT = "/usr/lib/systemd/system/kubelet.service"
WANTED = "[Unit]\nDescription=kubelet\n[Service]\nExecStart=/usr/bin/kubelet\n[Install]\nWantedBy=multi-user.target\n"
LINK = "/etc/systemd/system/multi-user.target.wants/kubelet.service"
PRESET = "/usr/lib/systemd/system-preset/90-default.preset"


def enabled(root: str) -> Observation[bool]:
    seen = _services_at_boot.is_enabled(DirectoryTree(root), "kubelet.service")
    if not isinstance(seen, Unknown):
        assert any(fnmatchcase(seen.evidence.source, source) for source in _services_at_boot.SOURCES)
    return seen


def started(root: str) -> Observation[bool]:
    return _services_at_boot.is_started_at_boot(DirectoryTree(root), "kubelet.service")


def test_a_link_enables(make_tree: MakeTree) -> None:
    root = make_tree({UNIT: WANTED, **ID}, {LINK: UNIT, **SYSTEMD})
    assert enabled(root) == Value(value=True, evidence=Evidence(LINK))


def test_without_a_link_a_unit_is_not_started(make_tree: MakeTree) -> None:
    root = make_tree({UNIT: WANTED, **ID}, SYSTEMD)
    assert enabled(root) == Value(value=False, evidence=Evidence(UNIT))


@pytest.mark.parametrize("folder", ["suspend.target.wants", "rescue.target.wants", "initrd.target.requires"])
def test_a_link_of_a_target_that_no_boot_reaches_enables_and_does_not_start(make_tree: MakeTree, folder: str) -> None:
    link = f"/etc/systemd/system/{folder}/kubelet.service"
    root = make_tree({UNIT: WANTED, **ID}, {link: UNIT, **SYSTEMD})
    assert enabled(root) == Value(value=True, evidence=Evidence(link))
    assert started(root) == Value(value=False, evidence=Evidence(UNIT))


def test_a_drop_in_directory_holds_no_links(make_tree: MakeTree) -> None:
    links = {"/etc/systemd/system/multi-user.target.d/kubelet.service": UNIT, **SYSTEMD}
    root = make_tree({UNIT: WANTED, **ID}, links)
    assert enabled(root) == started(root) == Value(value=False, evidence=Evidence(UNIT))


def test_a_link_of_a_package_starts_and_does_not_enable(make_tree: MakeTree) -> None:
    link = "/usr/lib/systemd/system/multi-user.target.wants/kubelet.service"
    root = make_tree({UNIT: WANTED, **ID}, {link: "../kubelet.service", **SYSTEMD})
    assert enabled(root) == Value(value=False, evidence=Evidence(UNIT))
    assert started(root) == Value(value=True, evidence=Evidence(link))


def test_a_link_to_what_is_not_there_starts_nothing(make_tree: MakeTree) -> None:
    root = make_tree(ID, {LINK: UNIT, **SYSTEMD})
    assert (
        enabled(root) == started(root) == Absent(Evidence(_systemd_units.UNIT_PATH), "unit kubelet.service not found")
    )


@pytest.mark.parametrize("path", ["/etc/machine-id", PRESET, "/usr/lib/systemd/system-preset"])
@pytest.mark.parametrize("linked", [True, False])
def test_unreadable_sources_of_a_first_boot_are_unknown(make_tree: MakeTree, path: str, linked: bool) -> None:  # noqa: FBT001
    files = {UNIT: WANTED, "/etc/os-release": "ID=fedora\nVERSION_ID=41\n", PRESET: "disable *\n"}
    if path == "/etc/machine-id":
        files[PRESET] = "disable *\n" if linked else "enable *\n"
    links = {path: path, **SYSTEMD, **({LINK: UNIT} if linked else {})}
    root = make_tree({name: text for name, text in files.items() if not name.startswith(path)}, links)
    unread = Unknown("failed", f"{path}: too many links")
    assert enabled(root) == started(root) == unread


def test_links_that_cannot_be_listed_may_enable_it(make_tree: MakeTree) -> None:
    wants = "/etc/systemd/system/multi-user.target.wants"
    seen = enabled(make_tree({UNIT: WANTED, **ID}, {wants: wants, **SYSTEMD}))
    assert isinstance(seen, Unknown)
    assert seen.say == f"{wants}: too many links"


def test_a_machine_id_that_cannot_be_read_makes_a_first_boot(make_tree: MakeTree) -> None:
    root = make_tree({UNIT: WANTED, "/etc/machine-id/x": "", "/etc/os-release": "ID=debian\n"}, SYSTEMD)
    assert enabled(root) == Value(value=True, evidence=Evidence(":".join(_systemd_units.PRESETS), inferred=True))


@pytest.mark.parametrize(
    ("lines", "other"),
    [
        ("[Unit]\nWants=other.service\n[Service]\nSockets=nosuch.socket\n", True),
        ("[Unit]\nRequires=nosuch.service\nWants=other.service\n[Service]\n", False),
        ("[Unit]\nWants=fails.service other.service\n[Service]\n", True),
        ("[Unit]\nWants=other.service\n[Service]\nBusName=org.a\n", False),
        ("[Unit]\nWants=other.service\n[Service]\nBusName=\n", True),
        ("[Unit]\nWants=other.service\n[Service]\nSlice=nosuch.slice\n", True),
        ("[Unit]\nDescription=other.service\n[Service]\n", False),
        ("[Service]\nWants=other.service\n", False),
        ("[Unit]\nWants=other\n[Service]\n", False),
    ],
)
def test_a_unit_pulls_in_what_it_names_unless_a_requirement_is_missing(
    make_tree: MakeTree,
    lines: str,
    other: bool,  # noqa: FBT001 - a parameter of a table
) -> None:
    units = {
        "kubelet.service": f"{lines}ExecStart=/bin/a\n",
        "other.service": "[Service]\nExecStart=/bin/b\n",
        "fails.service": "[Unit]\nRequires=nosuch.service\n[Service]\nExecStart=/bin/b\n",
        "sysinit.target": "[Unit]\nDefaultDependencies=no\n",
        "multi-user.target": "[Unit]\n",
        "nosuch.slice": "[Unit]\n",
    }
    files = {f"/usr/lib/systemd/system/{name}": text for name, text in units.items()}
    links = {"/etc/systemd/system/default.target": "/usr/lib/systemd/system/multi-user.target", LINK: UNIT, **SYSTEMD}
    tree = DirectoryTree(make_tree({**files, **ID}, links))
    seen = _services_at_boot.is_started_at_boot(tree, "other.service")
    assert isinstance(seen, Value), seen
    assert seen.value is other


@pytest.mark.parametrize("path", ["/system-update", "/etc/system-update"])
def test_a_boot_that_installs_updates_starts_nothing_else(make_tree: MakeTree, path: str) -> None:
    links = {LINK: UNIT, **SYSTEMD}
    assert started(make_tree({UNIT: WANTED, **ID}, links)) == Value(value=True, evidence=Evidence(LINK))
    root = make_tree({}, {path: "/nosuch"})  # a link that leads nowhere counts
    assert started(root) == Value(value=False, evidence=Evidence(UNIT))


@pytest.mark.parametrize(("mode", "runs"), [(0o755, True), (0o601, True), (0o610, True), (0o644, False)])
def test_rc_local_runs_if_anybody_may_execute_it(make_tree: MakeTree, mode: int, runs: bool) -> None:  # noqa: FBT001
    service = "/usr/lib/systemd/system/rc-local.service"
    root = make_tree({service: "[Service]\nExecStart=/etc/rc.local start\n", "/etc/rc.local": "", **ID}, SYSTEMD)
    Path(f"{root}/etc/rc.local").chmod(mode)
    seen = _services_at_boot.is_started_at_boot(DirectoryTree(root), "rc-local.service")
    assert isinstance(seen, Value)
    assert seen.value is runs


@pytest.mark.parametrize(
    ("preset", "unit", "is_enabled"),
    [
        ("enable *\n", "tool@.service", False),
        ("enable *\n", "tool@a.service", False),
        ("enable tool@.service a b\ndisable *\n", "tool@a.service", True),
        ("enable tool@.service a b\ndisable *\n", "tool@b.service", True),
        ("enable tool@.service a b\ndisable *\n", "tool@c.service", False),
        ("disable tool@.service a\n", "tool@a.service", False),
    ],
)
def test_a_preset_names_the_instances_of_a_template(
    make_tree: MakeTree,
    preset: str,
    unit: str,
    is_enabled: bool,  # noqa: FBT001 - a parameter of a table
) -> None:
    files = {
        "/usr/lib/systemd/system/tool@.service": WANTED,
        "/etc/os-release": "ID=fedora\nVERSION_ID=41\n",
        PRESET: preset,
    }
    seen = _systemd_at_boot.is_enabled_after_presets(DirectoryTree(make_tree(files, SYSTEMD)), unit)
    assert isinstance(seen, Value), seen
    assert seen.value is is_enabled


@pytest.mark.parametrize("mask", ["/dev/null", "../../../dev/null", ""])
def test_a_mask_counts_more_than_a_link(make_tree: MakeTree, mask: str) -> None:
    own = "/etc/systemd/system/kubelet.service"
    files: Dict[str, Union[str, bytes, None]] = {UNIT: WANTED, **ID}
    root = make_tree(files if mask else {**files, own: ""}, {LINK: UNIT, **SYSTEMD, **({own: mask} if mask else {})})
    assert enabled(root) == Value(value=False, evidence=Evidence(own))


def test_a_unit_of_etc_counts_before_the_package_s_mask(make_tree: MakeTree) -> None:
    own = "/etc/systemd/system/kubelet.service"
    root = make_tree({own: WANTED, **ID}, {LINK: own, UNIT: "/dev/null", **SYSTEMD})
    assert enabled(root) == Value(value=True, evidence=Evidence(LINK))


class TestPresets:
    """They decide at a first boot alone, where systemd enables what has a section [Install]."""

    OWN = "/etc/systemd/system-preset/10-own.preset"
    DEBIAN: Mapping[str, str] = {"/etc/os-release": "ID=debian\nVERSION_ID=12\n"}
    FEDORA: Mapping[str, str] = {"/etc/os-release": "ID=fedora\nVERSION_ID=41\n"}

    def test_at_a_later_boot_they_say_nothing(self, make_tree: MakeTree) -> None:
        root = make_tree({UNIT: WANTED, PRESET: "enable kubelet.service\n", **ID}, SYSTEMD)
        assert enabled(root) == started(root) == Value(value=False, evidence=Evidence(UNIT))

    @pytest.mark.parametrize("identity", [{}, {"/etc/machine-id": "uninitialized\n"}])
    def test_at_a_first_boot_the_first_line_that_fits_decides(
        self, make_tree: MakeTree, identity: Dict[str, str]
    ) -> None:
        more = {self.OWN: "# mine\n\nenable kube*.service\n", PRESET: "disable *\n"}
        root = make_tree({UNIT: WANTED, **more, **identity}, SYSTEMD)
        assert enabled(root) == started(root) == Value(value=True, evidence=Evidence(self.OWN, 3, inferred=True))

    def test_an_empty_machine_id_makes_no_first_boot(self, make_tree: MakeTree) -> None:
        root = make_tree({UNIT: WANTED, "/etc/machine-id": ""}, SYSTEMD)
        assert enabled(root) == Value(value=False, evidence=Evidence(UNIT))

    def test_files_come_in_the_order_of_their_names(self, make_tree: MakeTree) -> None:
        more = {"/etc/systemd/system-preset/95-own.preset": "enable *\n", PRESET: "; none\ndisable *\n"}
        root = make_tree({UNIT: WANTED, **more}, SYSTEMD)
        assert enabled(root) == Value(value=False, evidence=Evidence(UNIT))

    def test_a_file_of_etc_hides_its_namesake(self, make_tree: MakeTree) -> None:
        own = "/etc/systemd/system-preset/90-default.preset"
        seen = enabled(make_tree({UNIT: WANTED, PRESET: "disable *\n"}, {own: "/dev/null", **SYSTEMD}))
        assert seen == Value(value=True, evidence=Evidence(":".join(_systemd_units.PRESETS), inferred=True))

    def test_what_cannot_be_installed_is_not_enabled(self, make_tree: MakeTree) -> None:
        root = make_tree({UNIT: "[Service]\nExecStart=/bin/true\n"}, SYSTEMD)
        assert enabled(root) == Value(value=False, evidence=Evidence(UNIT))

    def test_a_build_with_full_presets_removes_links(self, make_tree: MakeTree) -> None:
        root = make_tree({UNIT: WANTED, PRESET: "disable *\n", **self.FEDORA}, {LINK: UNIT, **SYSTEMD})
        assert enabled(root) == started(root) == Value(value=False, evidence=Evidence(UNIT))

    def test_other_builds_only_add_links(self, make_tree: MakeTree) -> None:
        root = make_tree({UNIT: WANTED, PRESET: "disable *\n", **self.DEBIAN}, {LINK: UNIT, **SYSTEMD})
        assert enabled(root) == started(root) == Value(value=True, evidence=Evidence(LINK))

    def test_a_build_that_cannot_be_told_is_unknown(self, make_tree: MakeTree) -> None:
        root = make_tree({UNIT: WANTED, PRESET: "disable *\n"}, {LINK: UNIT, **SYSTEMD})
        for seen in (enabled(root), started(root)):
            assert isinstance(seen, Unknown)
            assert "first boot presets kubelet.service" in seen.say

    def test_a_version_before_the_option_is_known(self, make_tree: MakeTree) -> None:
        library = "/usr/lib/systemd/libsystemd-shared-251.so"
        root = make_tree({UNIT: WANTED, PRESET: "disable *\n", library: ""}, {LINK: UNIT, **SYSTEMD})
        assert enabled(root) == Value(value=True, evidence=Evidence(LINK))


class TestInit:
    @pytest.mark.parametrize(
        ("target", "name"),
        [
            ("/lib/systemd/systemd", "systemd"),
            ("../usr/lib/systemd/systemd", "systemd"),
            ("/bin/busybox", "busybox"),
            ("openrc-init", "openrc"),
            ("runit-init", "runit"),
            ("/usr/bin/dinit", "dinit"),
            ("s6-linux-init", "s6"),
        ],
    )
    def test_the_link_names_it(self, make_tree: MakeTree, target: str, name: str) -> None:
        root = make_tree({}, {"/sbin/init": target})
        assert _init_system.detect_init_system(DirectoryTree(root)) == Value(
            name, Evidence("/sbin/init", inferred=True)
        )

    def test_alpine_s_is_openrc(self, make_tree: MakeTree) -> None:
        root = make_tree({"/usr/sbin/openrc": ""}, {"/sbin/init": "/bin/busybox"})
        Path(f"{root}/usr/sbin/openrc").chmod(0o755)
        assert _init_system.detect_init_system(DirectoryTree(root)) == Value(
            "openrc", Evidence("/sbin/init", inferred=True)
        )

    @pytest.mark.parametrize(
        ("content", "files", "name"),
        [
            (b"", {"/etc/inittab": "id:3:initdefault:\n"}, "sysvinit"),
            (b"\x7fELF INIT: version", {}, "sysvinit"),
            (b"\x7fELF INIT: version", {"/etc/inittab": "si::sysinit:/sbin/openrc sysinit\n"}, "openrc"),
            (b"\x7fELF INIT: version", {"/etc/inittab": "#si::sysinit:/sbin/openrc sysinit\n"}, "sysvinit"),
            (b"\x7fELF BusyBox v1.36", {}, "busybox"),
            (b"\x7fELF BusyBox v1.36", {"/etc/inittab": "::respawn:/bin/s6-svscan /run/s6\n"}, "s6"),
            (b"\x7fELF BusyBox v1.36", {"/etc/inittab": "::respawn:/sbin/runsvdir /etc/service\n"}, "runit"),
            (b"\x7fELF BusyBox v1.36", {"/etc/inittab": "#::respawn:/bin/s6-svscan /run/s6\n"}, "busybox"),
            (b"#!/bin/execlineb -S0\ns6-linux-init -c /x\n", {}, "s6"),
            (b"\x7fELF", {"/etc/init/rcS.conf": ""}, "upstart"),
            (b"\x7fELF", {"/etc/os-release": "ID=talos\n"}, "machined"),
        ],
    )
    def test_the_content_and_what_stands_beside_name_it(
        self, make_tree: MakeTree, content: bytes, files: Dict[str, Union[str, bytes, None]], name: str
    ) -> None:
        root = make_tree({"/sbin/init": content, **files})
        assert _init_system.detect_init_system(DirectoryTree(root)) == Value(
            name, Evidence("/sbin/init", inferred=True)
        )

    def test_a_program_that_nothing_tells_is_unknown(self, make_tree: MakeTree) -> None:
        seen = _init_system.detect_init_system(DirectoryTree(make_tree({"/sbin/init": "\x7fELF"})))
        assert seen == Unknown("unsupported", "/sbin/init: this init program is not supported")

    def test_the_fact_is_the_same(self, make_tree: MakeTree) -> None:
        root = make_tree({}, SYSTEMD)
        fact = resolve_place(("os", "init")).fact
        assert fact.resting
        assert fact.resting(DirectoryTree(root)) == _init_system.detect_init_system(DirectoryTree(root))
        assert "/sbin/init" in fact.resting_sources

    def test_an_initramfs_starts_systemd_itself(self, make_tree: MakeTree) -> None:
        path = "/usr/lib/systemd/systemd"
        assert _init_system.detect_init_system(DirectoryTree(make_tree({path: ""}))) == Value(
            "systemd", Evidence(path, inferred=True)
        )

    def test_without_one_nothing_can_be_said_of_a_unit(self, make_tree: MakeTree) -> None:
        seen = enabled(make_tree({UNIT: WANTED}, {LINK: UNIT}))
        assert seen == Unknown("not found", "no init system: /sbin/init not found")

    def test_nor_with_another_one(self, make_tree: MakeTree) -> None:
        seen = enabled(make_tree({UNIT: WANTED, "/sbin/init": "", "/etc/inittab": ""}, {LINK: UNIT}))
        assert seen == Unknown("unsupported", "reading the services of sysvinit is not supported")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/dev/sda2", "dev-sda2"),
        ("/dev/disk/by-uuid/ab-cd", "dev-disk-by\\x2duuid-ab\\x2dcd"),
        ("/swap file", "swap\\x20file"),
        ("//var//.swap/", "var-.swap"),
        ("/.é", "\\x2e\\xc3\\xa9"),
        ("/", "-"),
    ],
)
def test_paths_are_escaped_as_systemd_does(path: str, name: str) -> None:
    assert _systemd_units.escape_path(path) == name


@settings(max_examples=100)
@given(st.text(max_size=60))
def test_no_text_is_too_strange(text: str) -> None:
    assert all(line.strip() for _, line in _systemd_units.list_content_lines(text))
    assert all(number > 0 for number, *_ in _systemd_units.parse_settings(text))
    assert _systemd_units.escape_path(text)


@pytest.mark.root
def test_paths_are_escaped_as_systemd_escape_says() -> None:
    for path in ("/dev/disk/by-label/a b", "/.x/.y", "/ä-b_c:d.e", "/x//y/"):
        said = subprocess.run(
            ["/usr/bin/systemd-escape", "--path", path], capture_output=True, text=True, check=True
        ).stdout
        assert _systemd_units.escape_path(path) == said.strip()
