"""Hypervisor detection: processor flag, clock source, DMI tables, device tree."""

from __future__ import annotations

import re

from nodespec.host.machine import Machine
from nodespec.host.tree import CHUNK_BYTES
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Mapping, Union

CPUS, CLOCKS = "/proc/cpuinfo", "/sys/devices/system/clocksource/clocksource0/available_clocksource"
DMI, DEVICES = "/sys/class/dmi/id", "/proc/device-tree"
BARE = ""
_DMI_WORDS = {
    "KVM": "kvm",
    "OpenStack": "kvm",
    "KubeVirt": "kvm",
    "Amazon EC2": "kvm",
    "Google Compute Engine": "kvm",
    "QEMU": "qemu",
    "VMware": "vmware",
    "innotek GmbH": "virtualbox",
    "VirtualBox": "virtualbox",
    "Xen": "xen",
    "Bochs": "bochs",
    "Parallels": "parallels",
    "BHYVE": "bhyve",
    "Hyper-V": "hyperv",
    "Apple Virtualization": "apple",
}
# Evidence by path, the most reliable first: its content, and the hypervisor that it indicates.
SIGNS: Mapping[str, Mapping[str, str]] = {
    "/proc/xen/capabilities": {"control_d": BARE},
    "/sys/hypervisor/type": {"xen": "xen"},
    CLOCKS: {"kvm-clock": "kvm", "hyperv": "hyperv"},
    f"{DEVICES}/hypervisor/compatible": {"linux,kvm": "kvm", "xen": "xen", "vmware": "vmware"},
    "/proc/sysinfo": {"Control Program: z/VM": "zvm", "Control Program: KVM": "kvm"},
    f"{DMI}/product_name": {".metal": BARE, **_DMI_WORDS},  # EC2's bare-metal machines have the same vendor
    **{f"{DMI}/{file}": _DMI_WORDS for file in ("sys_vendor", "board_vendor", "bios_vendor", "product_version")},
    f"{DEVICES}/compatible": {"linux,dummy-virt": "qemu", "qemu,pseries": "qemu"},
}


def detect_hypervisor(machine: Machine) -> Observation[str]:
    """Return the hypervisor, `other` if it is unnamed; absent on bare metal."""
    cpus = machine.text(CPUS)
    if not isinstance(cpus, Value):
        return cpus
    flags = re.search(r"^flags[ \t]*:.*$", cpus.value, re.MULTILINE)  # Only x86 has a row with this name.
    line = cpus.value.count("\n", 0, flags.start()) + 1 if flags else 0
    if flags and "hypervisor" not in flags[0].split():
        return Absent(Evidence(CPUS, line))
    for path, signs in SIGNS.items():
        text = machine.text(path, CHUNK_BYTES)
        if isinstance(text, Unknown):  # A later sign is less reliable: what appears to be KVM may be Xen.
            return text
        kind = next((signs[word] for word in signs if isinstance(text, Value) and word in text.value), None)
        if kind:
            others = ("kvm",) if kind == "qemu" else ()  # With KVM acceleration QEMU shows the same tables.
            return Value(kind, Evidence(path, inferred=True), others)
        if kind == BARE:
            return Absent(Evidence(path))
    return Value("other", Evidence(CPUS, line, inferred=True)) if flags else _confirm_bare_metal(machine)


def _confirm_bare_metal(machine: Machine) -> Union[Absent, Unknown]:
    """Return the absence of a hypervisor, if a source that would name it was readable."""
    for path in (DMI, DEVICES, "/proc/sysinfo"):
        if isinstance(machine.entry(path), Value):
            return Absent(Evidence(path))
    return Unknown(
        "hidden",
        "neither DMI tables nor a device tree are visible here",
        "run nodespec on the host, outside any container",
    )
