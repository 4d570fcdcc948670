"""The columns of a mount, from mountinfo and from the answers of the helper process."""

from __future__ import annotations

import errno

from nodespec.checks import _mounts_abilities
from nodespec.facts.declaration import Columns
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Callable, Union

    from nodespec.checks._mounts_table import MountTable
    from nodespec.formats.mountinfo import Mount
    from nodespec.host.machine import Machine
    from nodespec.host.path_helper import FilesystemAnswer

    Ask = Callable[[], Union[FilesystemAnswer, OSError]]

LOST_HINT = "check the file server; a run does not wait for it"
OWN_DEVICES = ("btrfs", "bcachefs", "overlay")  # stat(2) has other device numbers there than mountinfo.


def explain_error(path: str, error: OSError) -> Unknown:
    """Return why the helper process did not answer for a path."""
    if error.errno == errno.EAGAIN:
        return Unknown("timed out", f"the file system of {path} did not answer", LOST_HINT)
    if isinstance(error, PermissionError):
        return Unknown("no permission", f"{path} cannot be reached", "run as root")
    return Unknown("failed", f"{path}: {error.strerror}")


def make_columns(machine: Machine, mount_table: MountTable, mount: Mount, ask: Ask) -> Columns:
    """Return the columns of a mount; the helper is asked for sizes only."""
    at = Evidence(mount_table.source, mount.line)
    source, options, propagation = mount_table.read_fields(mount)

    def measure(read: Callable[[FilesystemAnswer], Observation[int]]) -> Observation[int]:
        answer = _check_answer(mount, ask())
        return answer if isinstance(answer, Unknown) else read(answer)

    def observe_ftype() -> Observation[bool]:
        if mount.kind != "xfs":
            return Absent(at, f"{mount.kind} has no ftype")
        answer = _check_answer(mount, ask())
        if isinstance(answer, Unknown):
            return answer
        if answer.ftype not in ("0", "1"):
            return Unknown("no permission", f"{mount.point} cannot be opened", "run as root")
        return Value(answer.ftype == "1", Evidence(f"XFS_IOC_FSGEOMETRY {mount.point}"))

    def observe_propagation() -> Observation[str]:
        if mount_table.source.startswith("/proc/1/"):
            return Value(propagation, at)
        return Unknown("no permission", "/proc/1/mountinfo cannot be read, and mounts differ by process", "run as root")

    evidence = Evidence(f"statvfs(2) {mount.point}")
    return Columns(
        point=lambda: Value(mount.point, at),
        type=lambda: Value(mount.kind, at),
        source=lambda: Value(source, at),
        options=lambda: Value(options, at),
        propagation=observe_propagation,
        size=lambda: measure(lambda answer: Value(answer.blocks * answer.block_bytes, evidence)),
        free=lambda: measure(lambda answer: Value(answer.available * answer.block_bytes, evidence)),
        used=lambda: measure(lambda answer: _compute_used(answer, evidence)),
        inodes_free=lambda: measure(
            lambda answer: (
                Value(answer.inodes_free, evidence) if answer.inodes else Absent(evidence, "no fixed number of inodes")
            )
        ),
        ftype=observe_ftype,
        d_type=lambda: _mounts_abilities.has_d_type(mount.kind, at, observe_ftype()),
        overlay_upper=lambda: (
            Value(value=False, evidence=at)
            if "ro" in options
            else _mounts_abilities.can_hold_upper(mount.kind, at, observe_ftype())
        ),
        idmapped=lambda: _mounts_abilities.has_idmapped_mounts(mount.kind, machine.uname()[0], at),
    )


def _check_answer(mount: Mount, answer: Union[FilesystemAnswer, OSError]) -> Union[FilesystemAnswer, Unknown]:
    """Return the answer if it is about this mount."""
    if isinstance(answer, OSError):
        return explain_error(mount.point, answer)
    if answer.stop:
        return Unknown("refused", f"{answer.stop} is an automount, which nodespec does not mount", "mount it before")
    if answer.device != mount.device and mount.kind not in OWN_DEVICES:
        return Unknown("hidden", f"another file system is on {mount.point} here", "run in the host's mount namespace")
    return answer


def _compute_used(answer: FilesystemAnswer, at: Evidence) -> Observation[int]:
    """Return the used percentage, rounded up as df(1) does. Blocks that only root may use do not count."""
    used = answer.blocks - answer.free
    total = used + answer.available
    return Value(-(-used * 100 // total), at) if total > 0 else Absent(at, "the file system has no blocks")
