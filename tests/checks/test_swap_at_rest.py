from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Dict, Mapping, Union

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusing import RefusingTree

from nodespec.checks import swap
from nodespec.facts.value_types import MORE
from nodespec.host.directory import DirectoryTree
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

    from nodespec.facts.declaration import Row, Rows

SYSTEMD = {"/sbin/init": "/usr/lib/systemd/systemd"}
FSTAB = "/etc/fstab"
NONE = Value(0, Evidence(FSTAB, inferred=True))
GENERATOR = "/usr/lib/systemd/system-generators/zram-generator"
Files = Dict[str, Union[str, bytes, None]]


def total(root: str) -> Observation[object]:
    assert swap.total.resting
    seen = swap.total.resting(DirectoryTree(root))
    if not isinstance(seen, Unknown):
        assert any(fnmatchcase(seen.evidence.source, source) for source in swap.total.resting_sources)
    return seen


def devices(root: str) -> Rows[Row]:
    assert swap.devices.resting
    return swap.devices.resting(DirectoryTree(root))


def types(root: str) -> Dict[str, object]:
    """The areas by path, with their types; what says so is declared."""
    found = {}
    for path, row in devices(root).every().items():
        assert isinstance(row, Value)
        assert isinstance(row.value, dict)
        for seen in (row, *row.value.values()):
            if isinstance(seen, Value):
                assert any(fnmatchcase(seen.evidence.source, source) for source in swap.devices.resting_sources)
        found[path] = row.value["type"].value
    return found


class TestNothing:
    @pytest.mark.parametrize("files", [{}, {FSTAB: ""}, {FSTAB: "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n"}])
    def test_what_declares_none_switches_none_on(self, make_tree: MakeTree, files: Files) -> None:
        root = make_tree(files, SYSTEMD)
        assert total(root) == NONE
        assert devices(root).observe("/dev/sda2") == Absent(Evidence(FSTAB))

    @pytest.mark.parametrize(
        "line",
        [
            "/dev/sda2 none swap noauto 0 0",
            "/dev/sda2 none swap sw,noauto",
            "#/dev/sda2 none swap sw",
            "/dev/sda2 / ext4 swap",
            "/dev/sda2 swap",
            "swap",
        ],
    )
    def test_lines_that_switch_none_on(self, make_tree: MakeTree, line: str) -> None:
        assert total(make_tree({FSTAB: f"{line}\n"}, SYSTEMD)) == NONE


class TestFstab:
    def test_files_are_told_by_their_size_less_the_heading_page(self, make_tree: MakeTree) -> None:
        files: Files = {FSTAB: "\n/swap\\040file none swap sw 0 0\n", "/swap file": b"\0" * 12288}
        root = make_tree(files, SYSTEMD)
        assert total(root) == Value(8192, Evidence(FSTAB, 2, inferred=True))
        assert types(root) == {"/swap file": "file"}

    @pytest.mark.parametrize("what", ["/dev/sda2", "UUID=ab-cd", "LABEL=swap", "PARTUUID=1"])
    def test_a_partition_is_of_more_than_no_size(self, make_tree: MakeTree, what: str) -> None:
        root = make_tree({FSTAB: f"{what} none swap defaults,nofail 0 0\n"}, SYSTEMD)
        assert total(root) == Value(1, Evidence(FSTAB, 1, inferred=True), (MORE,))
        assert types(root) == {what: "partition"}
        row = devices(root).observe(what)
        assert isinstance(row, Value)
        assert isinstance(row.value, dict)
        assert row.value["size"] == Unknown("deferred", f"only a running machine can tell the size of {what}")

    def test_a_file_that_does_not_exist_may_be_made(self, make_tree: MakeTree) -> None:
        root = make_tree({FSTAB: "/swapfile none swap sw\n"}, SYSTEMD)
        why = Unknown("deferred", f"{FSTAB}:1 enables /swapfile, which does not exist yet")
        assert total(root) == devices(root).observe("/swapfile") == why

    def test_known_and_unknown_sizes_add_up(self, make_tree: MakeTree) -> None:
        files: Files = {FSTAB: "/swapfile none swap sw\n/dev/sda2 none swap sw\n", "/swapfile": b"\0" * 12288}
        assert total(make_tree(files, SYSTEMD)) == Value(8192, Evidence(FSTAB, 1, inferred=True), (MORE,))

    @pytest.mark.parametrize(
        ("what", "unit"),
        [
            ("/dev/sda2", "dev-sda2.swap"),
            ("UUID=ab-cd", "dev-disk-by\\x2duuid-ab\\x2dcd.swap"),
            ("/dev/sda2", "swap.target"),
        ],
    )
    def test_a_mask_holds_it_back(self, make_tree: MakeTree, what: str, unit: str) -> None:
        links = {f"/etc/systemd/system/{unit}": "/dev/null"}
        assert total(make_tree({FSTAB: f"{what} none swap sw\n"}, {**SYSTEMD, **links})) == NONE

    def test_but_not_where_systemd_does_not_boot(self, make_tree: MakeTree) -> None:
        files: Files = {FSTAB: "/dev/sda2 none swap sw\n", "/etc/init.d/swap": "#!/sbin/openrc-run\n"}
        links = {"/etc/systemd/system/swap.target": "/dev/null", "/sbin/init": "/sbin/openrc-init"}
        started = {"/etc/runlevels/boot/swap": "/etc/init.d/swap"}
        assert types(make_tree(files, {**links, **started})) == {"/dev/sda2": "partition"}

    def test_openrc_uses_it_only_with_its_service(self, make_tree: MakeTree) -> None:
        files: Files = {FSTAB: "/dev/sda2 none swap sw\n", "/etc/init.d/swap": "#!/sbin/openrc-run\n"}
        assert total(make_tree(files, {"/sbin/init": "/sbin/openrc-init"})) == NONE

    def test_what_another_init_system_uses_is_unknown(self, make_tree: MakeTree) -> None:
        seen = total(make_tree({FSTAB: "/dev/sda2 none swap sw\n"}, {"/sbin/init": "/bin/busybox"}))
        assert seen == Unknown("unsupported", "which files busybox applies at boot is not known")

    def test_nothing_is_said_where_nothing_boots(self, make_tree: MakeTree) -> None:
        root = make_tree({"/etc/os-release": "ID=debian\n"})
        for seen in (total(root), devices(root).rest):
            assert seen == Unknown("deferred", "nothing in this tree would enable swap: /sbin/init not found")


class TestUnits:
    UNIT = "/etc/systemd/system/dev-vdb.swap"
    TEXT = "[Unit]\nWhat=/nothing\n[Swap]\nWhat=/dev/vdb\n[Install]\nWantedBy=swap.target\n"
    ID: Mapping[str, str] = {"/etc/machine-id": "76ef8a4054b94d31b43391f87bfb5073\n"}

    def test_one_that_is_enabled_counts(self, make_tree: MakeTree) -> None:
        wants = {"/etc/systemd/system/swap.target.wants/dev-vdb.swap": self.UNIT}
        root = make_tree({self.UNIT: self.TEXT, **self.ID}, {**SYSTEMD, **wants})
        assert types(root) == {"/dev/vdb": "partition"}
        assert devices(root).every()["/dev/vdb"].evidence == Evidence(self.UNIT, 4)  # type: ignore[union-attr]

    def test_one_that_is_not_does_not(self, make_tree: MakeTree) -> None:
        assert total(make_tree({self.UNIT: self.TEXT, **self.ID}, SYSTEMD)) == NONE

    def test_a_service_that_makes_swap_counts_if_it_is_enabled(self, make_tree: MakeTree) -> None:
        unit = "/lib/systemd/system/dphys-swapfile.service"
        wants = "/etc/systemd/system/multi-user.target.wants/dphys-swapfile.service"
        files: Files = {unit: "[Service]\nExecStart=/bin/true\n", "/var/swap": b"\0" * 8192, **self.ID}
        assert total(make_tree(files, {**SYSTEMD, wants: unit})) == Value(4096, Evidence(wants, inferred=True))

    def test_a_service_that_may_be_enabled_may_make_swap(self, make_tree: MakeTree) -> None:
        wants = "/etc/systemd/system/multi-user.target.wants"
        root = make_tree({"/lib/systemd/system/zramswap.service": "[Service]\n", **self.ID}, {**SYSTEMD, wants: wants})
        assert isinstance(total(root), Unknown)


class TestZram:
    CONFIG = "/usr/lib/systemd/zram-generator.conf"
    TEXT = "# swap\n[zram0]\nzram-size = ram / 2\n"

    def test_each_section_is_a_device(self, make_tree: MakeTree) -> None:
        files: Files = {GENERATOR: "ELF", self.CONFIG: self.TEXT + "[zram1]\n[zram2]\nmount-point=/tmp\n[other]\n"}
        root = make_tree(files, SYSTEMD)
        assert types(root) == {"/dev/zram0": "partition", "/dev/zram1": "partition"}
        assert total(root) == Value(1, Evidence(self.CONFIG, 2, inferred=True), (MORE,))

    @pytest.mark.parametrize("unit", ["dev-zram0.swap", "swap.target", "systemd-zram-setup@.service"])
    def test_a_mask_holds_it_back(self, make_tree: MakeTree, unit: str) -> None:
        links = {f"/etc/systemd/system/{unit}": "/dev/null", **SYSTEMD}
        assert total(make_tree({GENERATOR: "ELF", self.CONFIG: self.TEXT}, links)) == NONE

    def test_without_the_generator_nothing_reads_it(self, make_tree: MakeTree) -> None:
        assert total(make_tree({self.CONFIG: self.TEXT}, SYSTEMD)) == NONE

    def test_nor_where_that_is_masked(self, make_tree: MakeTree) -> None:
        links = {"/etc/systemd/system-generators/zram-generator": "/dev/null", **SYSTEMD}
        assert total(make_tree({GENERATOR: "ELF", self.CONFIG: self.TEXT}, links)) == NONE

    def test_an_empty_file_of_etc_takes_its_place(self, make_tree: MakeTree) -> None:
        files: Files = {GENERATOR: "ELF", self.CONFIG: self.TEXT, "/etc/systemd/zram-generator.conf": ""}
        assert total(make_tree(files, SYSTEMD)) == NONE

    def test_a_drop_in_adds_to_it(self, make_tree: MakeTree) -> None:
        more = "/etc/systemd/zram-generator.conf.d/off.conf"
        files: Files = {GENERATOR: "ELF", self.CONFIG: self.TEXT, more: "[zram0]\nzram-size = 0\n[zram5]\n"}
        assert types(make_tree(files, SYSTEMD)) == {"/dev/zram5": "partition"}


def test_a_table_that_is_none_is_unknown(make_tree: MakeTree) -> None:
    root = make_tree({FSTAB: None}, SYSTEMD)
    assert isinstance(total(root), Unknown)
    assert devices(root).every() == {}
    assert isinstance(devices(root).observe("/dev/sda2"), Unknown)


WORDS = st.lists(
    st.sampled_from(["/dev/sda", "UUID=", "=", "swap", "none", "noauto", "#", '"', "\\040", "\\777", "é"]), max_size=6
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(WORDS.map(" ".join), max_size=4).map("\n".join) | st.text(max_size=40))
def test_no_table_is_too_strange(make_tree: MakeTree, text: str) -> None:
    root = make_tree({FSTAB: text, "/usr/lib/systemd/systemd": ""})
    assert (total(root) == NONE) <= (types(root) == {})


def test_the_last_what_of_a_swap_unit_counts(make_tree: MakeTree) -> None:
    unit = "/etc/systemd/system/dev-sda3.swap"
    links = {"/etc/systemd/system/swap.target.wants/dev-sda3.swap": unit, **SYSTEMD}
    files: Files = {unit: "[Swap]\nWhat=/dev/sda9\nWhat=/dev/sda3\n", "/etc/machine-id": "1" * 32}
    assert types(make_tree(files, links)) == {"/dev/sda3": "partition"}


@pytest.mark.parametrize(
    "path", ["/etc/waagent.conf", "/etc/cloud", "/etc/cloud/cloud.cfg", "/etc/cloud/cloud.cfg.d", "/etc/rc.local"]
)
def test_a_file_of_a_service_that_may_not_be_read_may_make_swap(make_tree: MakeTree, path: str) -> None:
    assert swap.total.resting
    root = make_tree({"/etc/machine-id": "1" * 32}, SYSTEMD)
    assert isinstance(swap.total.resting(RefusingTree(root)), Value)
    seen = swap.total.resting(RefusingTree(root, path))
    assert isinstance(seen, Unknown)
    assert (seen.reason, seen.say.startswith(path)) == ("no permission", True)
