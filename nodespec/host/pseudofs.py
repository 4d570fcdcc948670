"""Recognize masked or missing file systems below /proc and /sys.

Their files are hidden, and never absent. A container runtime masks a path with an empty tmpfs or /dev/null. A systemd
unit (InaccessiblePaths=) uses an inaccessible file or directory, and `ProcSubset=pid` a procfs of processes only. A
mask is recognized by its device number, which is not that of /proc or /sys. A file system that is mounted on purpose is
recognized by its type.
"""

from __future__ import annotations

import os

from nodespec.host.tree import UnreadableError
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Callable, Dict, FrozenSet, List, Optional, Protocol, Tuple, TypeVar, Union

    from nodespec.formats.mountinfo import Mount

    T = TypeVar("T")
    S = TypeVar("S", bound="MountedHost")

    class MountedHost(Protocol):
        """The part of `Machine` that recognizes masks."""

        root: str
        process: str

        def once(self: S, look: Callable[[S], T], /) -> T: ...  # noqa: PYI019 - Self is not allowed in a Callable
        def device(self, path: str) -> Optional[int]: ...
        def find_last_directory(self, path: str) -> Tuple[str, int]: ...
        def list_unchecked(self, path: str) -> Tuple[str, ...]: ...
        def names(self, path: str) -> Observation[Tuple[str, ...]]: ...
        def resolved(self, path: str) -> str: ...
        def text(self, path: str) -> Observation[str]: ...


PROC, SYS = "/proc", "/sys"
# The file systems that belong below /proc and /sys, by their mount points.
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
# Every sysfs contains at least one of them, with entries. There are two, since either may be masked.
SYSFS_MARKS = ("/sys/kernel", "/sys/devices")
PROCESSES = ("self", "thread-self")
UNMASK_HINT = "run outside of the container or sandbox that masks it"


def is_below(path: str) -> bool:
    """Return whether a path is /proc or /sys, or below either."""
    return bool(_find_root(path))


def require_unmasked(machine: MountedHost, path: str, device: int) -> None:
    """Raise UnreadableError (hidden) if the file at a path is a mask.

    `device` is the device number of the file.
    """
    if device not in machine.once(devices) and not _is_intended_mount(machine, path, device):
        raise UnreadableError("hidden", "is masked by another mount", UNMASK_HINT)


def require_mounted(machine: MountedHost, path: str, device: int) -> None:
    """Raise UnreadableError (hidden) if a mount point has no file system of its type."""
    kind = MOUNT_POINTS.get(path, ("",))[0]
    if kind and machine.once(_read_mount_types).get(device) != kind:
        raise UnreadableError("hidden", f"has no {kind} mounted", f"mount -t {kind} {kind} {path}")


def observe_missing(machine: MountedHost, path: str) -> Union[Absent, Unknown]:
    """Return the observation of a missing path below /proc or /sys: absent or hidden."""
    try:
        folder, device = machine.find_last_directory(path)
    except OSError as error:  # The root itself cannot be opened.
        reason = "no permission" if isinstance(error, PermissionError) else "failed"
        return Unknown(reason, f"{path}: {machine.root}: {error.strerror or error}")
    root = _find_root(folder)
    if not root:  # /proc itself is missing, or a link leads out of it.
        return (
            _report_unmounted(_find_root(path)) if machine.device(_find_root(path)) is None else Absent(Evidence(path))
        )
    if not machine.once(_recognize_mounts)[root]:
        return _report_unmounted(root)
    mounted = machine.names(folder) if folder in MOUNT_POINTS else None
    if isinstance(mounted, Unknown):
        return mounted
    if device not in machine.once(devices) and not _is_intended_mount(machine, folder, device):
        return Unknown("hidden", f"{folder} is masked by another mount", UNMASK_HINT)
    return _observe_missing_proc(machine, path) if folder == PROC else Absent(Evidence(path))


def list_mounts(machine: MountedHost) -> Observation[List[Mount]]:
    """Return the mounts in the mount namespace of the observed process."""
    from nodespec.formats.mountinfo import parse_mounts  # noqa: PLC0415 - only needed if another file system is mounted below /proc or /sys

    path = f"{machine.process}/mountinfo"
    # Otherwise the mask of mountinfo would be searched for in mountinfo itself.
    if machine.device(path) not in (None, *machine.once(devices)):
        return Unknown("hidden", f"{path} is masked by another mount", UNMASK_HINT)
    return machine.text(path).then(parse_mounts)


def _observe_missing_proc(machine: MountedHost, path: str) -> Union[Absent, Unknown]:
    """Return the observation of a missing entry of /proc itself."""
    name = path.split("/")[2]
    if name.isdigit() and machine.device(f"{PROC}/1") is None:
        return Unknown("hidden", f"{path}: {PROC} does not show process 1", "run as root, or without hidepid")
    if not name.isdigit() and not machine.once(_is_whole):
        return Unknown("hidden", f"{path}: {PROC} shows processes only (subset=pid)", "run without ProcSubset=pid")
    return Absent(Evidence(path))


def _report_unmounted(root: str) -> Unknown:
    return Unknown("hidden", f"{root} is not mounted here", f"mount {root}")


def _find_root(path: str) -> str:
    if path.startswith(("/proc/", "/sys/")) or path in NATIVE:
        return PROC if path.startswith(PROC) else SYS
    return ""


def devices(machine: MountedHost) -> FrozenSet[int]:
    """Return the device numbers of /proc and /sys."""
    return frozenset(device for device in map(machine.device, NATIVE) if device is not None)


def _recognize_mounts(machine: MountedHost) -> Dict[str, bool]:
    """Return whether /proc is a procfs, and /sys a sysfs."""
    native = machine.once(devices)
    sysfs = any(machine.device(mark) in native and machine.list_unchecked(mark) for mark in SYSFS_MARKS)
    return {PROC: machine.device(f"{PROC}/self/stat") is not None, SYS: sysfs}


def _is_whole(machine: MountedHost) -> bool:
    """Return whether a procfs shows more than processes; every kernel has `uptime`."""
    if machine.device(f"{PROC}/uptime") is not None:
        return True
    return any(not name.isdigit() and name not in PROCESSES for name in machine.list_unchecked(PROC))


def _is_intended_mount(machine: MountedHost, path: str, device: Optional[int]) -> bool:
    """Return whether a file system is mounted on purpose, by its type and path.

    FUSE is: it shows a container its share of the machine (LXCFS, Sysbox). The target of a magic link is too.
    """
    real = machine.resolved(path)
    root = _find_root(real)
    if not root or device is None:
        return True
    kind = machine.once(_read_mount_types).get(device, "")
    point = max((point for point in MOUNT_POINTS if f"{real}/".startswith(f"{point}/")), key=len, default="")
    return kind in (NATIVE[root], *MOUNT_POINTS.get(point, ())) or kind.startswith("fuse.") or kind == "fuse"


def _read_mount_types(machine: MountedHost) -> Dict[int, str]:
    """Return the types of mounted file systems by device number, or nothing."""
    mounts = machine.once(list_mounts)
    return {_parse_device(mount.device): mount.kind for mount in mounts.value} if isinstance(mounts, Value) else {}


def _parse_device(device: str) -> int:
    """Return the device number of a text such as `0:39`, or -1."""
    major, _, minor = device.partition(":")
    return os.makedev(int(major), int(minor)) if major.isdigit() and minor.isdigit() else -1
