"""Identity of the machine: maker and product, cloud provider, image, uptime, and whether it must be rebooted.

Read from the tables of the firmware (DMI, or a device tree) and from files; no metadata service is asked. The identity
of the distribution is `os`.
"""

from __future__ import annotations

from nodespec.checks import _kernel_version, _os_release
from nodespec.facts.declaration import fact
from nodespec.facts.value_numbers import Whole
from nodespec.facts.value_types import Flag, Form, FreeText, OneOf
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value, select_first

if TYPE_CHECKING:
    from typing import Dict, Iterator

DMI, DEVICE_TREE = "/sys/class/dmi/id", "/proc/device-tree"
UUID = Form(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", 36, "a UUID")
# Words of DMI tables by which cloud-init's ds-identify and systemd recognize providers, and the file that has them.
DMI_CLOUDS = {
    "sys_vendor": {
        "Amazon EC2": "aws",
        "Google": "gcp",
        "DigitalOcean": "digitalocean",
        "Hetzner": "hetzner",
        "Alibaba Cloud": "alibaba",
        "Scaleway": "scaleway",
        "Vultr": "vultr",
        "UpCloud": "upcloud",
        "Exoscale": "exoscale",
        "Linode": "akamai",
        "Akamai": "akamai",
        "Tencent Cloud": "tencent",
        "3DS Outscale VM": "outscale",
        "OpenStack Foundation": "openstack",
        "Huawei Cloud": "huawei",
    },
    "product_name": {
        "Google Compute Engine": "gcp",
        "Alibaba Cloud ECS": "alibaba",
        "OpenStack Nova": "openstack",
        "OpenStack Compute": "openstack",
        "Droplet": "digitalocean",
    },
    "chassis_asset_tag": {
        "7783-7084-3265-9085-8269-3286-77": "azure",
        "OracleCloud.com": "oracle",
        "HUAWEICLOUD": "huawei",
        "Amazon EC2": "aws",
        "ibmcloud": "ibm",
        "OpenTelekomCloud": "openstack",
        "SAP CCloud VM": "openstack",
    },
    "bios_version": {"amazon": "aws"},
}
CLOUD_ID = "/run/cloud-init/cloud-id"
CLOUD_IDS = {  # names of cloud-init's data sources
    "aws": "aws",
    "ec2": "aws",
    "gce": "gcp",
    "azure": "azure",
    "aliyun": "alibaba",
    "digitalocean": "digitalocean",
    "hetzner": "hetzner",
    "openstack": "openstack",
    "oracle": "oracle",
    "scaleway": "scaleway",
    "vultr": "vultr",
    "upcloud": "upcloud",
    "exoscale": "exoscale",
    "akamai": "akamai",
    "ibmcloud": "ibm",
    "outscale": "outscale",
}
PROVIDERS = tuple(sorted({*CLOUD_IDS.values(), *(name for words in DMI_CLOUDS.values() for name in words.values())}))
AMAZON_IMAGE, UBUNTU_IMAGE = "/etc/image-id", "/etc/cloud/build.info"
UPTIME = "/proc/uptime"
REBOOT_MARKS = ("/run/reboot-required", "/run/reboot-needed")


@fact(FreeText(), sources=(f"{DMI}/*",), optional=True)
def vendor(machine: Machine) -> Observation[str]:
    """The maker of the machine, or of the hypervisor: Dell Inc., QEMU, Amazon EC2. DMI `sys_vendor`.

    Absent if the firmware has no DMI tables, as on many ARM boards.
    """
    return _read_firmware_text(machine, f"{DMI}/sys_vendor")


@fact(FreeText(), sources=(f"{DMI}/*", f"{DEVICE_TREE}/model"), optional=True)
def product(machine: Machine) -> Observation[str]:
    """The model of the machine: PowerEdge R640, m5.large, Raspberry Pi 5.

    DMI `product_name`, else `model` of the device tree.
    """
    paths = (f"{DMI}/product_name", f"{DEVICE_TREE}/model")
    return select_first(_read_firmware_text(machine, path) for path in paths)


@fact(UUID, sources=(f"{DMI}/product_uuid",), optional=True, sensitive=True)
def product_uuid(machine: Machine) -> Observation[str]:
    """The UUID of the machine, which must be unique in a cluster. Only root may read it."""
    return _read_firmware_text(machine, f"{DMI}/product_uuid")


@fact(FreeText(), sources=(f"{DMI}/product_serial", f"{DEVICE_TREE}/serial-number"), optional=True, sensitive=True)
def serial(machine: Machine) -> Observation[str]:
    """The serial number of the machine. Only root may read that of DMI."""
    paths = (f"{DMI}/product_serial", f"{DEVICE_TREE}/serial-number")
    return select_first(_read_firmware_text(machine, path) for path in paths)


@fact(OneOf(*PROVIDERS), sources=(f"{DMI}/*", CLOUD_ID), optional=True)
def cloud(machine: Machine) -> Observation[str]:
    """The cloud provider: aws, azure, gcp, openstack, digitalocean, hetzner, oracle.

    By words of the DMI tables (inferred), else by the data source that cloud-init found. Absent on other machines, also
    on a virtual machine of one's own.
    """
    seen = [_match_cloud(machine, file, words) for file, words in DMI_CLOUDS.items()]
    seen.append(machine.line(CLOUD_ID).then(lambda name: CLOUD_IDS.get(name, "")))
    for observation in seen:
        if isinstance(observation, Value) and observation.value:
            return observation
    unread = next((observation for observation in seen if isinstance(observation, Unknown)), None)
    return unread or Absent(Evidence(f"{DMI}/sys_vendor"))


@fact(FreeText(), sources=(*_os_release.FILES, AMAZON_IMAGE, UBUNTU_IMAGE), optional=True, same_at_rest=True)
def image(tree: Tree) -> Observation[str]:
    """The image that the machine was made from: al2023-ami-2023.6, server.

    IMAGE_ID in os-release, else `image_name` in /etc/image-id (Amazon Linux), else `build_name` in
    /etc/cloud/build.info (Ubuntu).
    """
    return select_first(_list_image_fields(tree, "IMAGE_ID", "image_name", "build_name"))


@fact(FreeText(), sources=(*_os_release.FILES, AMAZON_IMAGE, UBUNTU_IMAGE), optional=True, same_at_rest=True)
def image_version(tree: Tree) -> Observation[str]:
    """The version of that image: 2023.6.20241010, 20240701.

    IMAGE_VERSION in os-release, else `image_version` in /etc/image-id, else `serial` in /etc/cloud/build.info.
    """
    return select_first(_list_image_fields(tree, "IMAGE_VERSION", "image_version", "serial"))


@fact(Whole(), sources=(UPTIME,), moves=True)
def uptime(machine: Machine) -> Observation[int]:
    """Seconds since the machine was booted, which is also the age of its boot ID. The time of sleep counts."""
    return machine.line(UPTIME).then(lambda text: int(text.split(".")[0]))


@fact(
    Flag(),
    sources=(
        *REBOOT_MARKS,
        "/etc/kernel/postinst.d/*",
        "/usr/share/update-notifier/*",
        "/proc/stat",
        "*rpmdb.sqlite",
        "/proc/sys/kernel/osrelease",
        *_kernel_version.BOOT_FILES,
    ),
    fix="reboot; required: {want}",
)
def reboot_required(machine: Machine) -> Observation[bool]:
    """Whether installed updates take effect only after a reboot.

    True if /run/reboot-required (Debian, Ubuntu) or /run/reboot-needed (SUSE) exists, or the next boot starts another
    kernel (inferred). With RPM it is true if the kernel, glibc, systemd, OpenSSL or D-Bus was installed after the boot,
    which is what `dnf needs-restarting -r` tests. False if none of it applies; unknown on a Debian without a hook that
    writes the file.
    """
    from nodespec.checks import _reboot  # noqa: PLC0415

    return _reboot.is_reboot_required(machine)


def _read_firmware_text(machine: Machine, path: str) -> Observation[str]:
    """Return a text of the firmware; a blank one is absent. A device tree ends texts with NUL."""
    text = machine.line(path).then(lambda line: line.removesuffix("\0").strip())
    return Absent(text.evidence, "the firmware leaves it blank") if isinstance(text, Value) and not text.value else text


def _match_cloud(machine: Machine, file: str, words: Dict[str, str]) -> Observation[str]:
    """Return the provider that a file of DMI names; empty if it names none."""
    text = machine.line(f"{DMI}/{file}")
    if not isinstance(text, Value):
        return text
    name = next((name for word, name in words.items() if text.value.startswith(word) or word in text.value), "")
    return Value(name, text.evidence._replace(inferred=True))


def _list_image_fields(tree: Tree, release: str, amazon: str, ubuntu: str) -> Iterator[Observation[str]]:
    yield _os_release.read_field(tree, release)
    yield _read_assignment(tree, AMAZON_IMAGE, amazon, "=")
    yield _read_assignment(tree, UBUNTU_IMAGE, ubuntu, ":")


def _read_assignment(tree: Tree, path: str, name: str, sign: str) -> Observation[str]:
    """Return a field of a small file of lines such as `image_name="al2023-ami"` or `serial: 20240701`."""
    text = tree.text(path, 1 << 16)
    if not isinstance(text, Value):
        return text
    for number, line in enumerate(text.value.split("\n"), 1):
        key, _, value = line.partition(sign)
        if key.strip() == name and value.strip():
            return Value(value.strip().strip("\"'"), Evidence(path, number))
    return Absent(text.evidence)
