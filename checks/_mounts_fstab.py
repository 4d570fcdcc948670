"""The mounts of the next boot: /etc/fstab and mount units.

The entry with the deepest mount point above a path counts. If neither an entry nor a unit mounts `/`, the boot loader
or the initramfs decides about it, and only a running machine can tell.
"""

from __future__ import annotations

from posixpath import normpath

from nodespec.checks import _services_at_boot, _swap_fstab, _systemd_syntax, _systemd_units
from nodespec.facts.declaration import Columns, Rows
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Iterable, Iterator, Sequence, Union

    from nodespec.facts.declaration import Row
    from nodespec.host.tree import Tree

RUNNING_ONLY = Unknown(DEFERRED, "only a running machine can tell")
UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
INVERSES = {
    "rw": "ro",
    "suid": "nosuid",
    "dev": "nodev",
    "exec": "noexec",
    "async": "sync",
    "symfollow": "nosymfollow",
    "atime": "noatime",
    "diratime": "nodiratime",
    "norelatime": "relatime",
    "nostrictatime": "strictatime",
    "nolazytime": "lazytime",
    "nomand": "mand",
    "loud": "silent",
}  # options that the kernel does not show, by the one that each cancels; see mount(8)
IMPLIED = {
    **dict.fromkeys(("user", "users"), ("nosuid", "nodev", "noexec")),
    **dict.fromkeys(("owner", "group"), ("nosuid", "nodev")),
}
OF_MOUNT = {
    *("defaults", "auto", "noauto", "nofail", "nouser", "nousers", "noowner", "nogroup", "_netdev", "loop", "silent"),
    *("bind", "rbind", "shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable"),
}  # options for mount(8) and systemd, which the kernel does not show
ACCESS_TIMES = {"strictatime", "noatime", "relatime"}  # The kernel has one of them, and does not show the first.
ROOT_DECIDED = Unknown(DEFERRED, "the boot loader or the initramfs mounts the root file system")


class BootMount(NamedTuple):
    """A mount that the next boot makes."""

    point: str
    source: str
    kind: str
    options: str
    at: Evidence
    lacking: Union[Unknown, None] = None  # Why it may not be made.


def find_rows(tree: Tree) -> Rows[Row]:
    """Return the mounts of the next boot, by path."""
    entries = _swap_fstab.read_fstab(tree)
    if isinstance(entries, Unknown):
        return Rows.lacking(entries)
    mounts = {mount.point: mount for mount in (*_list_unit_mounts(tree), *_list_fstab_mounts(entries))}

    def find_row(path: str) -> Observation[Row]:
        above = path
        while above not in mounts and above != "/":
            above = above.rpartition("/")[0] or "/"
        return _make_row(mounts[above]) if above in mounts else ROOT_DECIDED

    return Rows(
        find_row, lambda: {point: _make_row(mount) for point, mount in mounts.items()}, Absent(Evidence("/etc/fstab"))
    )


def _list_fstab_mounts(entries: Sequence[_swap_fstab.FstabEntry]) -> Iterator[BootMount]:
    """Yield the file systems that /etc/fstab mounts at boot. The first entry of a mount point counts."""
    seen: Dict[str, None] = {}
    for entry in entries:
        point = _swap_fstab.get_mount_point(entry)
        automount = entry.has("x-systemd.automount", "comment=systemd.automount")
        if entry.kind != "swap" and point and point not in seen and (entry.automatic or automount):
            seen[point] = None
            yield BootMount(point, entry.what, entry.kind, entry.options, entry.at)


def _list_unit_mounts(tree: Tree) -> Iterator[BootMount]:
    """Yield the mounts of units that a boot starts. A unit of a higher folder replaces one of the same name."""
    names: Dict[str, str] = {}
    for folder in UNIT_FOLDERS:
        found = tree.names(folder)
        for name in found.value if isinstance(found, Value) else ():
            if name.endswith(".mount"):
                names.setdefault(name, f"{folder}/{name}")
    for name, path in names.items():
        text = _systemd_units.read_optional_text(tree, path)
        if isinstance(text, Value) and text.value:
            yield from _read_unit(tree, name, path, text.value)


def _read_unit(tree: Tree, name: str, path: str, text: str) -> Iterator[BootMount]:
    lines = [*_systemd_syntax.parse_unit_file(text, path)]
    read = {
        key: next(iter(_systemd_syntax.list_setting_values(lines, "Mount", key)[-1:]), "")
        for key in ("Where", "What", "Type", "Options")
    }
    started = _services_at_boot.is_started_at_boot(tree, name)
    specifiers = [value for value in read.values() if "%" in value.replace("%%", "")]
    read = {key: value.replace("%%", "%") for key, value in read.items()}
    point = normpath(read["Where"] or "/.")
    if not read["Where"] or point in _swap_fstab.API_MOUNTS or (isinstance(started, Value) and not started.value):
        return
    lacking = started if isinstance(started, Unknown) else None
    if specifiers:
        lacking = Unknown("unsupported", f"{path} has a specifier of systemd: {specifiers[0]}")
    if not isinstance(started, Absent):
        yield BootMount(point, read["What"], read["Type"], read["Options"], Evidence(path), lacking)


def resolve_options(written: Iterable[str]) -> FrozenSet[str]:
    """Return the options that the kernel shows for those of mount(8). A later one overrides an earlier one.

    A file system may add options of its own, which only a running machine tells.
    """
    chosen: Dict[str, None] = {}
    for option in written:
        if option in INVERSES:
            chosen.pop(INVERSES[option], None)
        elif option in IMPLIED:
            chosen.update(dict.fromkeys(IMPLIED[option]))
        elif option not in OF_MOUNT and not option.startswith(("x-", "X-", "comment=", "loop=")):
            chosen[option] = None
    if "ro" not in chosen:
        chosen["rw"] = None
    access_times = next((name for name in ("strictatime", "noatime") if name in chosen), "relatime")
    chosen[access_times] = None
    return frozenset(chosen) - ACCESS_TIMES | {access_times} - {"strictatime"}


def _make_row(mount: BootMount) -> Observation[Row]:
    if mount.lacking:
        return mount.lacking
    at = mount.at
    unnamed = mount.kind in ("", "auto")
    kind: Observation[str] = Unknown(DEFERRED, f"{at} does not name the type") if unnamed else Value(mount.kind, at)
    bind = frozenset(_swap_fstab.split_options(mount.options)) & {"bind", "rbind"}
    if bind:
        kind = Unknown(DEFERRED, f"{at} is a bind mount of {mount.source}")
    options = resolve_options(_swap_fstab.split_options(mount.options))
    running = dict.fromkeys(
        ("propagation", "size", "free", "used", "inodes_free", "ftype", "d_type", "overlay_upper", "idmapped")
    )
    return Value(
        Columns(
            point=lambda: Value(mount.point, at),
            type=lambda: kind,
            source=lambda: Value(mount.source, at) if mount.source else RUNNING_ONLY,
            options=lambda: Value(options, at),
            **{name: lambda: RUNNING_ONLY for name in running},
        ),
        at,
    )
