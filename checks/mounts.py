"""Mounted file systems, by mount point or by a path that they hold.

A row is named by any path: `mounts./var/lib/kubelet` is the mount that holds that path, after links are followed, or
that would hold it if it existed. `every: mounts` is about all mount points. The mounts are those that process 1 sees.
"""

from __future__ import annotations

from errno import EAGAIN

from nodespec.facts.declaration import Row, Rows, table
from nodespec.facts.value_numbers import Size, Whole
from nodespec.facts.value_quantities import Percentage
from nodespec.facts.value_types import Flag, Form, FreeText, OneOf, SetOf
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Callable, Dict, Union

    from nodespec.checks._mounts_table import MountTable
    from nodespec.host.path_helper import FilesystemAnswer

    Ask = Callable[[str], Union[FilesystemAnswer, OSError]]

FILESYSTEM = Form(r"[\w.-]+", 64, "the type of a file system, such as ext4")


def _validate_path(text: str) -> str:
    """Validate an absolute path and return it without repeated slashes."""
    if not text.startswith("/") or "\0" in text or ".." in text.split("/"):
        raise ValueError(f"`{text}` is not an absolute path without `..`")
    return "/" + "/".join(name for name in text.split("/") if name not in ("", "."))


@table(
    {
        "point": FreeText(),
        "type": FILESYSTEM,
        "source": FreeText(),
        "options": SetOf(FreeText()),
        "propagation": OneOf("shared", "slave", "private", "unbindable"),
        "size": Size(),
        "free": Size(),
        "used": Percentage(),
        "inodes_free": Whole(),
        "ftype": Flag(),
        "d_type": Flag(),
        "overlay_upper": Flag(),
        "idmapped": Flag(),
    },
    sources=("/proc/1/mountinfo", "/proc/self/mountinfo", "statvfs(2)*"),
    noun="mount",
    key=_validate_path,
    closed=True,
    listed=lambda _: False,
    moves=("free", "used", "inodes_free", "size"),
    fixes={
        "propagation": "mount --make-{want} {key}",
        "options": "change the options of {key} in /etc/fstab, then: mount -o remount {key}",
    },
)
def mounts(machine: Machine) -> Rows[Row]:
    """The mount that holds a path.

    `point` is its mount point, `type` the file system, `source` the device or server as mounted. `options` are those of
    the mount and of its file system; at rest those that /etc/fstab or a unit sets, with `rw` and `relatime` where the
    kernel adds them. `propagation` is shared (also if it is a slave too), slave, private or unbindable.
    `size` and `free` are bytes, `free` and `used` for users other than root, as df(1) prints them. `inodes_free` is
    absent for a file system without a fixed number of inodes.

    `ftype` is of XFS only: directories without file types cannot hold the layers of overlayfs. `d_type` is whether
    directories have the types of their entries, `overlay_upper` whether an overlay can write there, and `idmapped`
    whether mounts can map owners. These three are inferred from type and kernel, except for XFS.

    Sizes are read by a process that is given up after half a second, since a file server may never answer. An automount
    is not mounted by looking at it: what it holds is unknown.
    """
    from nodespec.checks import _mounts_table  # noqa: PLC0415 - only needed on a running machine
    from nodespec.host.path_helper import PathHelper  # noqa: PLC0415 - likewise

    read = machine.once(_mounts_table.read_mount_table)
    if not isinstance(read, Value):
        return Rows.lacking(read)
    mount_table = read.value
    helper = PathHelper(machine.root, mount_table.automounts)
    answers: Dict[str, Union[FilesystemAnswer, OSError]] = {}
    hung: Dict[int, OSError] = {}  # Mounts that did not answer, by their line. They are not asked again.

    def ask(path: str) -> Union[FilesystemAnswer, OSError]:
        holder = mount_table.find(path)
        line = holder.line if holder else 0
        if path not in answers:
            answers[path] = hung.get(line) or helper.ask(path)
        answer = answers[path]
        if isinstance(answer, OSError) and answer.errno == EAGAIN:
            hung[line] = answer
        return answer

    def list_rows() -> Dict[str, Observation[Row]]:
        return {point: _make_listed_row(machine, mount_table, point, ask) for point in mount_table.points}

    def find_row(path: str) -> Observation[Row]:
        return _find_holder(machine, mount_table, path, ask(path))

    return Rows(find_row, list_rows, Absent(read.evidence))


def _make_listed_row(machine: Machine, mount_table: MountTable, point: str, ask: Ask) -> Observation[Row]:
    from nodespec.checks._mounts_columns import make_columns  # noqa: PLC0415 - only needed for a mount

    mount = mount_table.find(point)
    if mount is None:
        return Absent(Evidence(mount_table.source))
    row = make_columns(machine, mount_table, mount, lambda: ask(point))
    return Value(row, Evidence(mount_table.source, mount.line))


def _find_holder(
    machine: Machine, mount_table: MountTable, path: str, answer: Union[FilesystemAnswer, OSError]
) -> Observation[Row]:
    """Return the row of the mount that holds a path, as the helper resolved it."""
    from nodespec.checks._mounts_columns import explain_error, make_columns  # noqa: PLC0415 - likewise

    if not isinstance(answer, OSError) and answer.stop and answer.stop != path:
        return Unknown("refused", f"{path} is below the automount {answer.stop}", "mount it before the check")
    mount = mount_table.find(path)
    if mount is None or mount.point != path:  # A mount point has no links on the way; another path may have some.
        if isinstance(answer, OSError):
            return explain_error(path, answer)
        mount = mount_table.find(answer.path)
    if mount is None:
        return Unknown("hidden", f"{path} is on no mount of {mount_table.source}")
    return Value(make_columns(machine, mount_table, mount, lambda: answer), Evidence(mount_table.source, mount.line))


@mounts.at_rest("/etc/fstab", "*/systemd/system*", "generator*", fix="change the options in /etc/fstab")
def _mounts_at_rest(tree: Tree) -> Rows[Row]:
    from nodespec.checks import _mounts_fstab  # noqa: PLC0415 - only needed at rest

    return _mounts_fstab.find_rows(tree)
