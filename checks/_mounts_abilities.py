"""What overlayfs and idmapped mounts can do on a file system, by its type and the kernel.

Overlayfs needs for its upper directory extended attributes `trusted.*`, valid d_type and a file system that can be
written: https://docs.kernel.org/filesystems/overlayfs.html. Idmapped mounts by the version of the kernel that first has
them: mount_setattr(2), https://man7.org/linux/man-pages/man2/mount_setattr.2.html.
"""

from __future__ import annotations

import re

from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Tuple

UPPER = ("ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs", "bcachefs")
NO_UPPER = (
    *("nfs", "nfs4", "cifs", "smb3", "vfat", "msdos", "exfat", "overlay", "squashfs", "erofs", "iso9660", "udf"),
    *("proc", "sysfs", "cgroup2", "cgroup", "devpts", "bpf", "ramfs", "cramfs", "romfs"),
)
IDMAPPED = {
    **dict.fromkeys(("ext4", "xfs", "vfat", "msdos"), (5, 12)),
    **dict.fromkeys(("btrfs", "ntfs3"), (5, 15)),
    "f2fs": (5, 18),
    "erofs": (5, 19),
    "squashfs": (6, 2),
    "tmpfs": (6, 3),
    "ceph": (6, 7),
    "hugetlbfs": (6, 9),
}
# No kernel up to 6.18 supports them there.
NOT_IDMAPPED = ("nfs", "nfs4", "cifs", "smb3", "proc", "sysfs", "cgroup2", "cgroup", "devpts", "bpf", "autofs", "ramfs")
D_TYPE = ("ext4", "btrfs", "f2fs", "tmpfs", "overlay", "bcachefs", "erofs", "squashfs")


def can_hold_upper(kind: str, at: Evidence, ftype: Observation[bool]) -> Observation[bool]:
    """Return whether an overlay's upper directory can be on a file system of this type."""
    if kind == "xfs":
        return ftype
    if kind in UPPER or kind in NO_UPPER:
        return Value(kind in UPPER, at._replace(inferred=True))
    return Unknown("unsupported", f"{at}: whether overlayfs can write to {kind} depends on its version")


def has_idmapped_mounts(kind: str, release: str, at: Evidence) -> Observation[bool]:
    """Return whether the kernel can map owners in a mount of a file system of this type."""
    inferred = at._replace(inferred=True)
    if kind in NOT_IDMAPPED:
        return Value(value=False, evidence=inferred)
    least = IDMAPPED.get(kind)
    version = _read_version(release)
    if not least or not version:
        return Unknown(
            "unsupported", f"{at}: whether mounts of {kind} can be idmapped is not known for kernel {release}"
        )
    if version < least and re.search(r"\.el\d|\.amzn|uek", release):
        return Unknown("unsupported", f"{at}: kernel {release} may have idmapped mounts of a later version")
    return Value(version >= least, inferred)


def _read_version(release: str) -> Tuple[int, ...]:
    match = re.match(r"(\d{1,4})\.(\d{1,4})", release, re.ASCII)
    return (int(match[1]), int(match[2])) if match else ()


def has_d_type(kind: str, at: Evidence, ftype: Observation[bool]) -> Observation[bool]:
    """Return whether the directories of a file system have the types of their entries."""
    if kind == "xfs":
        return ftype
    if kind in D_TYPE:
        return Value(value=True, evidence=at._replace(inferred=True))
    return Unknown("unsupported", f"{at}: whether {kind} has d_type depends on the file system")
