"""Control groups: the version in force, the controllers, and how far they reach.

What counts is what is mounted, as the process's mountinfo lists it, and reachable: a mount that another mount covers
does not count. Controllers of version 1 are read from the options of their mount, those of version 2 from
cgroup.controllers at the root of the mount. Version 2 provides `devices` and `freezer` without a controller, so no file
lists them. /proc/cgroups only explains why a controller is missing: it does not cover version 2, and recent kernels
omit controllers without version 1 files.

With `--root` the view is that of process 1 of that root.

At rest the facts describe what the init system will mount and what the kernel of the next boot was built with. For
systemd that follows from its built-in default and the command line, for OpenRC from rc_cgroup_mode.
"""

from __future__ import annotations

import re

from nodespec.checks import _cgroups_mounted, _kernel_release, _kernel_version
from nodespec.checks._cgroups_mounted import V1, V2
from nodespec.facts.declaration import Row, Rows, fact, table
from nodespec.facts.value_types import Flag, OneOf, SetOf
from nodespec.formats.mountinfo import Mount
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Callable, Dict, FrozenSet, Iterator, Mapping, Optional, Tuple, TypeAlias, Union

CONTROLLERS = SetOf(OneOf(*sorted(V1 | V2)))

MOUNTS, SUBSYSTEMS, RELEASE = "/proc/*/mountinfo", "/proc/cgroups", "/proc/sys/kernel/osrelease"
AT_REST = (
    "*/systemd/libsystemd-shared-*",
    "/etc/rc.conf",
    "/sbin/init",
    *_kernel_version.CMDLINE_FILES,
    *_kernel_release.SOURCES,
)
Bindings: TypeAlias = "Mapping[str, Observation[str]]"
OUTSIDE_HINT = "run nodespec on the host, outside any container"


@fact(
    OneOf("1", "2", "hybrid"),
    optional=True,
    sources=(MOUNTS,),
    fix="for version 2 boot with systemd.unified_cgroup_hierarchy=1"
    ' (under OpenRC: rc_cgroup_mode="unified" in /etc/rc.conf)',
)
def version(machine: Machine) -> Observation[str]:
    """Version of the control groups in force: 1, 2 or hybrid.

    2 if cgroup2 is mounted on /sys/fs/cgroup itself, because runtimes use that path, or if only cgroup2 is mounted. A
    version 1 hierarchy that another program mounts elsewhere, as VPN clients do, changes nothing. hybrid if cgroup2 is
    mounted beside version 1 hierarchies; runtimes treat this as version 1. Absent if no cgroup file system is mounted;
    the report then states whether the kernel supports control groups.
    """
    layout = machine.once(_cgroups_mounted.read_cgroup_layout)
    if not isinstance(layout, Value):
        return layout
    telling = layout.value.deciding_mount
    if not telling:
        return _explain_unmounted(machine, layout.evidence)
    return Value(layout.value.version, layout.evidence._replace(line=telling.line))


@version.at_rest(*AT_REST)
def _version_at_rest(tree: Tree) -> Observation[str]:
    from nodespec.checks import _cgroups_at_boot  # noqa: PLC0415

    return _cgroups_at_boot.resolve_cgroup_version(tree)


@fact(
    CONTROLLERS,
    sources=(MOUNTS, "*/cgroup.controllers"),
    fix="remove cgroup_disable= from the kernel command line (on a Raspberry Pi add cgroup_enable=memory), or boot a"
    " kernel that has the controller; cgroups.bindings has the reason for each",
)
def controllers(machine: Machine) -> Observation[FrozenSet[str]]:
    """Controllers that a runtime can use here.

    On version 2: the controllers in cgroup.controllers at the root of the mount, with `devices` and `freezer`.
    `devices` (BPF programs) is inferred from Linux 4.15 on. `freezer` is observed as cgroup.freeze, or inferred from
    Linux 5.2 on. On version 1 and hybrid: every controller of a mounted hierarchy. The controller blkio of version 1 is
    io on version 2. Version 2 has no cpuacct, net_cls or net_prio, and never lists perf_event, which is always
    available. In a container these are the controllers passed down to it (see `nested`). Empty if nothing is mounted.
    """
    layout, observed = machine.once(_cgroups_mounted.read_cgroup_layout), machine.once(_read_bindings)
    if not isinstance(layout, Value):
        return layout
    if not isinstance(observed, Value):
        return observed
    aside = "v1" if layout.value.version == "2" else ""  # No runtime uses this hierarchy.
    usable = {name: row for name, row in observed.value.items() if not isinstance(row, Value) or row.value != aside}
    return _collect_usable(usable, observed.evidence)


@controllers.at_rest(*AT_REST)
def _controllers_at_rest(tree: Tree) -> Observation[FrozenSet[str]]:
    from nodespec.checks import _cgroups_at_boot  # noqa: PLC0415

    observed = _cgroups_at_boot.resolve_bindings(tree)
    if not isinstance(observed, Value):
        return Value(frozenset(), observed.evidence) if isinstance(observed, Absent) else observed
    usable = {name: row for name, row in observed.value.items() if not isinstance(row, Absent)}
    unread = [row for row in usable.values() if isinstance(row, Unknown)]
    return unread[0] if usable and len(unread) == len(usable) else _collect_usable(usable, observed.evidence)


def _collect_usable(rows: Bindings, at: Evidence) -> Observation[FrozenSet[str]]:
    """Return the names of all controllers, or alternatives where some may be missing."""
    known = {name: row for name, row in rows.items() if isinstance(row, Value)}
    evidence = at._replace(inferred=any(row.evidence.inferred for row in known.values()))
    return Value(frozenset(rows), evidence, () if len(known) == len(rows) else (frozenset(known),))


@table(
    OneOf("v1", "v2"),
    sources=(
        *(MOUNTS, "*/cgroup.controllers", "*/cgroup.freeze", SUBSYSTEMS, RELEASE),
        *("*/cgroup.events", "*/release_agent"),  # The same files as in `nested`.
    ),
    noun="controller",
    closed=True,
    fix="for version 2 boot with cgroup_no_v1={key}; if it is disabled, boot without cgroup_disable={key}",
)
def bindings(machine: Machine) -> Rows[Row]:
    """For each controller, the version of the hierarchy that it is bound to: v1 or v2.

    A controller is bound to one hierarchy at a time; on a hybrid machine each controller may have its own. `devices`
    and `freezer` on v2 are as in `controllers`. For a missing controller the report states the cause if it is known. It
    is disabled at boot, bound to a version 1 hierarchy that is not mounted here, or not passed down to this container.
    """
    observed = machine.once(_read_bindings)
    if not isinstance(observed, Value):
        return Rows.lacking(observed)
    rows = observed.value

    def find_row(name: str) -> Optional[Observation[str]]:
        if name in rows:
            return rows[name]
        from nodespec.checks import _cgroups_missing  # noqa: PLC0415

        return _cgroups_missing.explain_missing_controller(machine, name, nested.probe(machine))

    return Rows(find_row, lambda: rows, Absent(observed.evidence))


@bindings.at_rest(*AT_REST)
def _bindings_at_rest(tree: Tree) -> Rows[str]:
    from nodespec.checks import _cgroups_at_boot  # noqa: PLC0415

    observed = _cgroups_at_boot.resolve_bindings(tree)
    if not isinstance(observed, Value):
        return Rows.lacking(observed)
    there = {name: row for name, row in observed.value.items() if not isinstance(row, Absent)}
    return Rows(observed.value.get, lambda: there, Absent(observed.evidence))


@fact(
    CONTROLLERS,
    sources=(MOUNTS, "*/cgroup.subtree_control"),
    fix="write +NAME for each into cgroup.subtree_control at the root of the mount (systemd does so for units that have"
    " a limit, or Delegate=)",
)
def delegated(machine: Machine) -> Observation[FrozenSet[str]]:
    """Version 2 controllers that the root enables: cgroup.subtree_control.

    These are enabled for the children of the root; the cgroups of a runtime have no others. Runtimes and systemd enable
    a controller only when they need it, so a fresh machine may have few. Empty if cgroup2 is not mounted.
    """
    return _read_v2_controllers(machine, lambda v2: Value(v2.point, Evidence(v2.point)), "cgroup.subtree_control")


@fact(
    CONTROLLERS,
    sources=(MOUNTS, "*/cgroup.controllers"),
    fix="enable them in every parent cgroup; for rootless runtimes set Delegate=cpu cpuset io memory pids in a drop-in"
    " of user@.service",
)
def granted(machine: Machine) -> Observation[FrozenSet[str]]:
    """Version 2 controllers that reach the cgroup that nodespec itself runs in.

    Every cgroup above it must pass the controller down. A rootless runtime started from here can use these controllers:
    in a user's session systemd grants cpu, memory and pids by default. Empty if cgroup2 is not mounted.
    """
    return _read_v2_controllers(machine, lambda v2: _find_own_cgroup(machine, v2), "cgroup.controllers")


@fact(
    Flag(),
    optional=True,
    sources=(MOUNTS, "*/cgroup.events", "*/release_agent"),
    fix="run nodespec on the host itself, outside any container",
)
def nested(machine: Machine) -> Observation[bool]:
    """Whether the mounted hierarchy is not the true root: a container's view.

    This is read from files that the kernel creates only below the root (cgroup.events, version 2) or only at the root
    (release_agent, version 1). If true, `controllers` are those passed down, not those of the kernel. Absent if no
    cgroup file system is mounted.
    """
    layout = machine.once(_cgroups_mounted.read_cgroup_layout)
    if not isinstance(layout, Value):
        return layout
    v2 = layout.value.v2
    mount = v2 or layout.value.deciding_mount
    if not mount:
        return _explain_unmounted(machine, layout.evidence)
    root = machine.names(mount.point)
    if not isinstance(root, Value) or "cgroup.procs" not in root.value:
        return root if isinstance(root, Unknown) else _explain_hidden(f"{mount.point}/cgroup.procs")
    mark = "cgroup.events" if v2 else "release_agent"
    return Value((mark in root.value) == bool(v2), Evidence(f"{mount.point}/{mark}"))


def _read_v2_controllers(
    machine: Machine, folder: Callable[[Mount], Union[Value[str], Unknown]], name: str
) -> Observation[FrozenSet[str]]:
    """Return the words of a file in a folder of version 2."""
    layout = machine.once(_cgroups_mounted.read_cgroup_layout)
    if not isinstance(layout, Value):
        return layout
    if not layout.value.v2:
        return Value(frozenset(), layout.evidence)
    where = folder(layout.value.v2)
    return _read_controllers(machine, f"{where.value}/{name}") if isinstance(where, Value) else where


def _read_bindings(machine: Machine) -> Observation[Bindings]:
    """Return every controller of a mounted hierarchy with the hierarchy's version."""
    layout = machine.once(_cgroups_mounted.read_cgroup_layout)
    if not isinstance(layout, Value):
        return layout
    (v1, v2), evidence = layout.value, layout.evidence
    rows: Dict[str, Observation[str]] = {}
    for mount in v1:
        bound = Value("v1", evidence._replace(line=mount.line))
        rows.update(dict.fromkeys(mount.options & V1, bound))
    if v2:
        listed = _read_controllers(machine, f"{v2.point}/cgroup.controllers")
        if not isinstance(listed, Value):
            return listed
        rows.update(dict.fromkeys(listed.value, Value("v2", listed.evidence)))
        if layout.value.version == "2":
            rows.update((name, row) for name, row in _list_uncontrolled(machine, v2) if not isinstance(row, Absent))
            evidence = listed.evidence
    return Value(dict(sorted(rows.items())), evidence)


def _list_uncontrolled(machine: Machine, v2: Mount) -> Iterator[Tuple[str, Observation[str]]]:
    """Yield what version 2 provides although cgroup.controllers never lists it."""
    yield "devices", _infer_by_kernel(machine, (4, 15))
    yield "freezer", _find_freezer(machine, v2) or _infer_by_kernel(machine, (5, 2))


def _find_freezer(machine: Machine, v2: Mount) -> Union[Value[str], Absent, None]:
    """Return whether a cgroup below the root has cgroup.freeze; kubeadm creates one to see that."""
    own = _find_own_cgroup(machine, v2)
    names = machine.names(v2.point)
    folders = [own.value] if isinstance(own, Value) and own.value != v2.point else []
    folders += [f"{v2.point}/{name}" for name in names.value] if isinstance(names, Value) else []
    for folder in folders:
        listed = machine.names(folder)
        if isinstance(listed, Value) and "cgroup.events" in listed.value:
            at = Evidence(f"{folder}/cgroup.freeze")
            return Value("v2", at) if "cgroup.freeze" in listed.value else Absent(at)
    return None


def _infer_by_kernel(machine: Machine, since: Tuple[int, int]) -> Observation[str]:
    """Return v2 if the running kernel is recent enough; an older one may have a backport."""
    running = machine.line(RELEASE).then(_parse_major_minor)
    if isinstance(running, Value) and running.value < since:
        return Unknown("hidden", f"{RELEASE}: this kernel has it only with a backport", "run nodespec in a cgroup")
    if isinstance(running, Value):
        return Value("v2", running.evidence._replace(inferred=True))
    return running if isinstance(running, Unknown) else _explain_hidden(RELEASE)


def _parse_major_minor(release: str) -> Tuple[int, int]:
    match = re.match(r"(\d{1,4})\.(\d{1,4})", release, re.ASCII)
    if not match:
        raise ValueError(f"`{release[:40]}` is not a kernel release")
    return int(match[1]), int(match[2])


def _read_controllers(machine: Machine, path: str) -> Union[Value[FrozenSet[str]], Unknown]:
    """Return the words of a file that every cgroup2 has."""
    words = machine.text(path).then(_parse_controllers)
    return _explain_hidden(path) if isinstance(words, Absent) else words


def _parse_controllers(text: str) -> FrozenSet[str]:
    """Parse `cpu io memory pids`."""
    words = frozenset(text.split())
    strange = next((word for word in words if not re.fullmatch("[a-z][a-z0-9_]*", word)), None)
    if strange:
        raise ValueError(f"`{strange[:40]}` is not the name of a controller")
    return words


def _find_own_cgroup(machine: Machine, v2: Mount) -> Union[Value[str], Unknown]:
    """Return the directory of the process's own cgroup, as reached through a mount."""
    path = f"{machine.process}/cgroup"
    cgroup = machine.text(path).then(_parse_v2_path)
    if not isinstance(cgroup, Value):
        return _explain_hidden(path) if isinstance(cgroup, Absent) else cgroup
    top = v2.root.rstrip("/")
    below = cgroup.value[len(top) :]
    if not cgroup.value.startswith(top) or below[:1] not in {"", "/"} or ".." in below.split("/"):
        return Unknown("hidden", f"{path}: {cgroup.value} is outside what is mounted on {v2.point}", OUTSIDE_HINT)
    return Value(f"{v2.point}{below}".rstrip("/"), cgroup.evidence)


def _parse_v2_path(text: str) -> str:
    for line in text.split("\n"):
        if line.startswith("0::"):
            return line[3:]
    raise ValueError("no line for version 2 found")


def _explain_hidden(path: str) -> Unknown:
    return Unknown("hidden", f"{path} is not visible here", OUTSIDE_HINT)


def _explain_unmounted(machine: Machine, evidence: Evidence) -> Absent:
    """Return the absence of any cgroup file system.

    /proc/PID/cgroup exists if the kernel supports control groups.
    """
    entry = machine.entry(f"{machine.process}/cgroup")
    if isinstance(entry, Absent):
        return Absent(evidence, "the kernel was built without control groups")
    return Absent(evidence, "the kernel has control groups, but no cgroup file system is mounted")
