"""Recognize /proc and /sys: what is masked, or not mounted, below them is hidden and never absent.

A container runtime masks a path with an empty tmpfs or /dev/null, a systemd unit (InaccessiblePaths=) with an
inaccessible file or directory, and `ProcSubset=pid` shows a procfs of processes only. A mask is told by its device
number: it is not that of /proc or /sys. What is mounted there on purpose is told by its file system type.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Dict, FrozenSet, List, Optional, Tuple, Union

from nodespec.host.tree import Unseen
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from nodespec.formats.mountinfo import Mount
    from nodespec.host.machine import Machine

PROC, SYS = "/proc", "/sys"
# the file systems that belong below /proc and /sys, by their mount points
MOUNT_POINTS: Dict[str, Tuple[str, ...]] = {
    "/sys/fs/cgroup": ("cgroup2", "tmpfs", "cgroup"),
    "/sys/fs/bpf": ("bpf",),
    "/sys/fs/fuse/connections": ("fusectl",),
    "/sys/fs/pstore": ("pstore",),
    "/sys/fs/resctrl": ("resctrl",),
    "/sys/fs/selinux": ("selinuxfs",),
    "/sys/fs/smackfs": ("smackfs",),
    "/sys/firmware/efi/efivars": ("efivarfs",),
    "/sys/hypervisor/s390": ("s390_hypfs",),
    "/sys/kernel/config": ("configfs",),
    "/sys/kernel/debug": ("debugfs",),
    "/sys/kernel/debug/tracing": ("tracefs",),
    "/sys/kernel/security": ("securityfs",),
    "/sys/kernel/tracing": ("tracefs",),
    "/proc/fs/nfsd": ("nfsd",),
    "/proc/sys/fs/binfmt_misc": ("binfmt_misc",),
    "/proc/xen": ("xenfs",),
}
NATIVE = {PROC: "proc", SYS: "sysfs"}
# one of them is in every sysfs, and not empty; two, since either may be masked
SYSFS_MARKS = ("/sys/kernel", "/sys/devices")
PROCESSES = ("self", "thread-self")
UNMASKED = "run outside of the container or sandbox that masks it"


def is_below(path: str) -> bool:
    """Whether a path is one of /proc and /sys, or below them."""
    return bool(_root(path))


def require_unmasked(machine: Machine, path: str, device: int) -> None:
    """Raise Unseen (hidden) where what was found at a path is a mask. `device` is its device number."""
    if device not in machine.once(_devices) and not _belongs(machine, path, device):
        raise Unseen("hidden", "is masked by another mount", UNMASKED)


def require_mounted(machine: Machine, path: str, device: int) -> None:
    """Raise Unseen (hidden) where an empty directory is a mount point without its file system."""
    kind = MOUNT_POINTS.get(path, ("",))[0]
    if kind and machine.once(_kinds).get(device) != kind:
        raise Unseen("hidden", f"has no {kind} mounted", f"mount -t {kind} {kind} {path}")


def missing(machine: Machine, path: str) -> Union[Absent, Unknown]:
    """What it means that a path below /proc or /sys does not exist: absence, or why it is hidden."""
    folder, device = machine.reached(path)
    root = _root(folder)
    if not root:  # /proc itself is not there, or a link led out of it
        return _unmounted(_root(path)) if machine.device(_root(path)) is None else Absent(Evidence(path))
    if not machine.once(_recognized)[root]:
        return _unmounted(root)
    mounted = machine.names(folder) if folder in MOUNT_POINTS else None
    if isinstance(mounted, Unknown):
        return mounted
    if device not in machine.once(_devices) and not _belongs(machine, folder, device):
        return Unknown("hidden", f"{folder} is masked by another mount", UNMASKED)
    return _lacking(machine, path) if folder == PROC else Absent(Evidence(path))


def mounts(machine: Machine) -> Observation[List[Mount]]:
    """The mounts in the mount namespace of the process whose view is taken."""
    from nodespec.formats.mountinfo import parsed  # noqa: PLC0415 - only where something else is mounted below /proc or /sys

    path = f"{machine.process}/mountinfo"
    if machine.device(path) not in (None, *machine.once(_devices)):  # else its mask would be looked up in itself
        return Unknown("hidden", f"{path} is masked by another mount", UNMASKED)
    return machine.text(path).then(parsed)


def _lacking(machine: Machine, path: str) -> Union[Absent, Unknown]:
    """What it means that an entry of /proc itself does not exist."""
    name = path.split("/")[2]
    if name.isdigit() and machine.device(f"{PROC}/1") is None:
        return Unknown("hidden", f"{path}: {PROC} does not show process 1", "run as root, or without hidepid")
    if not name.isdigit() and not machine.once(_is_whole):
        return Unknown("hidden", f"{path}: {PROC} shows processes only (subset=pid)", "run without ProcSubset=pid")
    return Absent(Evidence(path))


def _unmounted(root: str) -> Unknown:
    return Unknown("hidden", f"{root} is not mounted here", f"mount {root}")


def _root(path: str) -> str:
    return next((root for root in NATIVE if path == root or path.startswith(f"{root}/")), "")


def _devices(machine: Machine) -> FrozenSet[int]:
    """The device numbers of /proc and /sys."""
    return frozenset(device for device in map(machine.device, NATIVE) if device is not None)


def _recognized(machine: Machine) -> Dict[str, bool]:
    """Whether /proc is a procfs, and /sys a sysfs."""
    devices = machine.once(_devices)
    sysfs = any(machine.device(mark) in devices and machine.listed(mark) for mark in SYSFS_MARKS)
    return {PROC: machine.device(f"{PROC}/self/stat") is not None, SYS: sysfs}


def _is_whole(machine: Machine) -> bool:
    """Whether a procfs shows anything but processes; every kernel has `uptime`."""
    if machine.device(f"{PROC}/uptime") is not None:
        return True
    return any(not name.isdigit() and name not in PROCESSES for name in machine.listed(PROC))


def _belongs(machine: Machine, path: str, device: Optional[int]) -> bool:
    """Whether a file system is mounted on purpose: by its type, and where it is.

    FUSE is: it shows a container its share of the machine (LXCFS, Sysbox). So is what a magic link leads to.
    """
    real = machine.resolved(path)
    root = _root(real)
    if not root or device is None:
        return True
    kind = machine.once(_kinds).get(device, "")
    point = max((point for point in MOUNT_POINTS if f"{real}/".startswith(f"{point}/")), key=len, default="")
    return kind in (NATIVE[root], *MOUNT_POINTS.get(point, ())) or kind.startswith("fuse.") or kind == "fuse"


def _kinds(machine: Machine) -> Dict[int, str]:
    """The types of mounted file systems by device number; none where that cannot be read."""
    found = machine.once(mounts)
    return {_number(mount.device): mount.kind for mount in found.value} if isinstance(found, Value) else {}


def _number(device: str) -> int:
    """The device number of `0:39`."""
    major, _, minor = device.partition(":")
    return os.makedev(int(major), int(minor)) if major.isdigit() and minor.isdigit() else -1
