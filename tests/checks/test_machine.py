"""Identity of the machine: firmware, cloud, image, reboot."""

from __future__ import annotations

import struct
import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Mapping, Union

import pytest

from nodespec.checks import _reboot, _rpm
from nodespec.checks import machine as family
from nodespec.facts.declaration import Leaf, resolve_place
from nodespec.facts.live import Live
from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
from nodespec.model.observation import Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

    from nodespec.facts.value_types import Datum

Files = Mapping[str, Union[str, bytes, None]]
LIVE: Files = {"/proc/self/stat": "", "/proc/1/comm": "systemd\n", "/proc/uptime": "61.5 3.0\n"}
SYSFS: Files = {"/sys/kernel/x": "", "/sys/devices/x": ""}
DMI = "/sys/class/dmi/id"
OSRELEASE = "/proc/sys/kernel/osrelease"
HOOK = "/etc/kernel/postinst.d/unattended-upgrades"


def look(host: DirectoryTree, name: str) -> Observation[Datum]:
    place = resolve_place(("machine", name))
    assert isinstance(place.fact, Leaf)
    seen = Live(host, time.monotonic() + 60).observe(place)
    if not isinstance(seen, Unknown):
        for source in seen.evidence.source.split(", "):
            assert any(fnmatchcase(source, declared) for declared in place.fact.sources), source
    return seen


def value(seen: Observation[Datum]) -> object:
    return seen.value if isinstance(seen, Value) else type(seen).__name__.lower()


def live(make_tree: MakeTree, files: Files) -> Machine:
    return Machine(make_tree({**LIVE, **SYSFS, **files}))


@pytest.mark.parametrize(
    ("name", "files", "expected"),
    [
        ("vendor", {f"{DMI}/sys_vendor": "Dell Inc.\n"}, "Dell Inc."),
        ("vendor", {f"{DMI}/sys_vendor": " \n"}, "absent"),
        ("vendor", {}, "absent"),
        ("product", {f"{DMI}/product_name": "PowerEdge R640\n"}, "PowerEdge R640"),
        ("product", {"/proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}, "Raspberry Pi 5 Model B Rev 1.0"),
        (
            "product_uuid",
            {f"{DMI}/product_uuid": "ec2E1916-9099-7caf-fd21-012345abcdef\n"},
            "ec2E1916-9099-7caf-fd21-012345abcdef",
        ),
        ("product_uuid", {f"{DMI}/product_uuid": "none\n"}, "unknown"),
        ("serial", {"/proc/device-tree/serial-number": "10000000abcdef\0"}, "10000000abcdef"),
        ("vendor", {f"{DMI}/sys_vendor": b"a\xff\x01b"}, "unknown"),
    ],
)
def test_texts_of_the_firmware(make_tree: MakeTree, name: str, files: Files, expected: str) -> None:
    assert value(look(live(make_tree, files), name)) == expected


def test_unique_numbers_are_sensitive() -> None:
    assert family.product_uuid.sensitive
    assert family.serial.sensitive
    assert not family.product.sensitive


@pytest.mark.parametrize(
    ("files", "provider"),
    [
        ({f"{DMI}/sys_vendor": "Amazon EC2\n"}, "aws"),
        ({f"{DMI}/bios_version": "4.11.amazon\n"}, "aws"),
        ({f"{DMI}/sys_vendor": "Google\n"}, "gcp"),
        ({f"{DMI}/sys_vendor": "Microsoft Corporation\n"}, "absent"),  # Hyper-V of one's own
        ({f"{DMI}/chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77\n"}, "azure"),
        ({f"{DMI}/chassis_asset_tag": "OracleCloud.com\n"}, "oracle"),
        ({f"{DMI}/sys_vendor": "QEMU\n", "/run/cloud-init/cloud-id": "openstack\n"}, "openstack"),
        ({f"{DMI}/sys_vendor": "QEMU\n", "/run/cloud-init/cloud-id": "nocloud\n"}, "absent"),
        ({f"{DMI}/sys_vendor": "Dell Inc.\n"}, "absent"),
    ],
)
def test_cloud_providers(make_tree: MakeTree, files: Files, provider: str) -> None:
    assert value(look(live(make_tree, files), "cloud")) == provider


@pytest.mark.parametrize(
    ("files", "image", "version"),
    [
        ({"/etc/os-release": "ID=x\nIMAGE_ID=node\nIMAGE_VERSION=42\n"}, "node", "42"),
        (
            {"/etc/os-release": "ID=amzn\n", "/etc/image-id": 'image_name="al2023-ami"\nimage_version="2023.6"\n'},
            "al2023-ami",
            "2023.6",
        ),
        (
            {"/etc/os-release": "ID=ubuntu\n", "/etc/cloud/build.info": "build_name: server\nserial: 20240701\n"},
            "server",
            "20240701",
        ),
        ({"/etc/os-release": "ID=debian\n"}, "absent", "absent"),
    ],
)
def test_images(make_tree: MakeTree, files: Files, image: str, version: str) -> None:
    tree = DirectoryTree(make_tree(files))
    assert (value(look(tree, "image")), value(look(tree, "image_version"))) == (image, version)


def test_uptime_is_in_seconds(make_tree: MakeTree) -> None:
    assert value(look(live(make_tree, {}), "uptime")) == 61


@pytest.mark.parametrize(
    ("files", "required"),
    [
        ({"/run/reboot-required": "*** System restart required ***\n"}, True),
        ({"/run/reboot-needed": ""}, True),
        ({HOOK: ""}, False),
        ({}, "unknown"),
        (
            {
                HOOK: "",
                OSRELEASE: "9.9.8-1-amd64\n",
                "/boot/vmlinuz-9.9.9-1-amd64": "",
                "/usr/lib/modules/9.9.9-1-amd64/modules.dep": "",
            },
            True,
        ),
    ],
)
def test_reboot_required(make_tree: MakeTree, files: Files, required: object) -> None:
    assert value(look(live(make_tree, files), "reboot_required")) == required


class Rows:
    """A database of RPM with these headers."""

    def __init__(self, *headers: bytes) -> None:
        self.headers = headers

    def rows(self, _table: str) -> list[tuple[int, bytes]]:
        return list(enumerate(self.headers))


def header(name: str, installed: int) -> bytes:
    data = name.encode() + b"\0"
    data += bytes(-len(data) % 4)
    index = struct.pack(">4I", 1000, 6, 0, 1) + struct.pack(">4I", 1008, 4, len(data), 1)
    data += struct.pack(">I", installed)
    return struct.pack(">II", 2, len(data)) + index + data


def test_times_of_installation_of_rpm() -> None:
    assert _rpm.parse_rpm_header(header("glibc", 1700000000)) == {"name": "glibc", "installed": "1700000000"}
    database = Rows(header("kernel-core", 5), header("kernel-core", 9), header("vim", 99), header("systemd", 3))
    assert _reboot._read_install_times(database) == {"kernel-core": 9, "systemd": 3}  # type: ignore[arg-type]  # noqa: SLF001


def test_the_time_of_the_boot() -> None:
    assert _reboot._parse_boot_time("cpu 1 2\nbtime 1764327665\nprocesses 9\n") == 1764327665  # noqa: SLF001
    with pytest.raises(ValueError, match="btime"):
        _reboot._parse_boot_time("cpu 1 2\n")  # noqa: SLF001
