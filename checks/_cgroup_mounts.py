"""The control groups that a running machine has mounted where a path still leads, and what version that makes.

What is in them is for cgroups.py to look at; what a boot will mount, for _hierarchy.py.
"""

from __future__ import annotations

from typing import Optional, Tuple, Union

from nodespec.machine import Machine
from nodespec.mounts import Mount, parsed, reached
from nodespec.named import NamedTuple
from nodespec.observation import Absent, Unknown, Value

V2 = frozenset({"cpu", "cpuset", "debug", "dmem", "hugetlb", "io", "memory", "misc", "pids", "rdma"})
V1 = V2 - {"dmem", "io"} | {"blkio", "cpuacct", "devices", "freezer", "net_cls", "net_prio", "perf_event"}
HOME = "/sys/fs/cgroup"  # where runtimes look, and nowhere else


class Layout(NamedTuple):
    """The cgroup file systems that paths lead to."""

    v1: Tuple[Mount, ...]
    v2: Optional[Mount]

    @property
    def version(self) -> str:
        """Which version is in force, given that there is one."""
        if self.v2 and (self.v2.point == HOME or not self.v1):
            return "2"
        return "hybrid" if self.v2 else "1"

    @property
    def telling(self) -> Optional[Mount]:
        """The mount that shows which version is in force."""
        if self.version == "2":
            return self.v2
        return next((mount for mount in self.v1 if mount.options & V1), self.v1[0] if self.v1 else None)


def layout(machine: Machine) -> Union[Value[Layout], Unknown]:
    """What is mounted, as the mountinfo of the process tells it."""
    path = f"{machine.process}/mountinfo"
    found = machine.text(path).then(_laid_out)
    return Unknown("hidden", f"{path} is not visible here", "run as root") if isinstance(found, Absent) else found


def _laid_out(mountinfo: str) -> Layout:
    standing = reached(parsed(mountinfo), "cgroup", "cgroup2")
    v2 = [mount for mount in standing if mount.kind == "cgroup2"]
    v2.sort(key=lambda mount: (mount.point != HOME, mount.point != f"{HOME}/unified"))
    return Layout(tuple(mount for mount in standing if mount.kind == "cgroup"), v2[0] if v2 else None)
