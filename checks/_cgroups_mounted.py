"""The mounted control groups of a running machine that paths lead to.

cgroups.py reads their content; _cgroups_at_boot.py determines what a boot will mount.
"""

from __future__ import annotations

from nodespec.formats.mountinfo import Mount, list_reachable_mounts
from nodespec.host import pseudofs
from nodespec.host.machine import Machine
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Iterator, Optional, Sequence, Tuple, Union

V2 = frozenset({"cpu", "cpuset", "debug", "dmem", "hugetlb", "io", "memory", "misc", "pids", "rdma"})
V1 = V2 - {"dmem", "io"} | {"blkio", "cpuacct", "devices", "freezer", "net_cls", "net_prio", "perf_event"}
TYPES = ("cgroup", "cgroup2")
CGROUP_ROOT = "/sys/fs/cgroup"  # the only path that runtimes use


class Layout(NamedTuple):
    """The reachable cgroup file systems."""

    v1: Tuple[Mount, ...]
    v2: Optional[Mount]

    @property
    def version(self) -> str:
        """Version in force; requires at least one mount."""
        if self.v2 and (self.v2.point == CGROUP_ROOT or not self.v1):
            return "2"
        return "hybrid" if self.v2 else "1"

    @property
    def deciding_mount(self) -> Optional[Mount]:
        """The mount that shows the version in force."""
        if self.version == "2":
            return self.v2
        return next((mount for mount in self.v1 if mount.options & V1), self.v1[0] if self.v1 else None)


def read_cgroup_layout(machine: Machine) -> Union[Value[Layout], Unknown]:
    """Return what is mounted, by the mountinfo of the process."""
    path = f"{machine.process}/mountinfo"
    mounts = machine.once(pseudofs.list_mounts)
    if isinstance(mounts, Absent):
        return Unknown("hidden", f"{path} is not visible here", "run as root")
    if isinstance(mounts, Unknown):
        return mounts
    standing = list_reachable_mounts(mounts.value, *TYPES)
    masked = next(_find_masked_mounts(mounts.value, standing), None)
    if masked:
        message = f"{path}:{masked.line}: {masked.point} is masked by another mount"
        return Unknown("hidden", message, pseudofs.UNMASK_HINT)
    return Value(_make_layout(standing), mounts.evidence)


def _find_masked_mounts(mounts: Sequence[Mount], standing: Sequence[Mount]) -> Iterator[Mount]:
    """Yield the mounts that another file system covers at the path of runtimes."""
    points = {mount.point for mount in standing}
    for mount in mounts:
        above = (point for point in points if f"{mount.point}/".startswith(f"{point}/"))
        if mount.kind in TYPES and f"{mount.point}/".startswith(f"{CGROUP_ROOT}/") and not any(above):
            yield mount


def _make_layout(standing: Sequence[Mount]) -> Layout:
    v2 = [mount for mount in standing if mount.kind == "cgroup2"]
    v2.sort(key=lambda mount: (mount.point != CGROUP_ROOT, mount.point != f"{CGROUP_ROOT}/unified"))
    return Layout(tuple(mount for mount in standing if mount.kind == "cgroup"), v2[0] if v2 else None)
