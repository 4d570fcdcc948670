"""Control groups: which version is in force, which controllers it has, and how far they reach.

What counts is what is mounted, as the process's mountinfo tells it, and of that what paths still lead to: a mount that
another one covers is not seen. Controllers of version 1 stand in the options of their mount, those of version 2 in
cgroup.controllers at the root of theirs; `devices` and `freezer`, which version 2 has without a controller, stand
nowhere. /proc/cgroups is asked only why a controller is missing: it knows nothing of version 2, and recent kernels
leave out of it what has no version 1 files.

Below another root than / the view is that of its process 1.

At rest it is what the init system will mount (systemd by the default that it was built with and what the command line
says; OpenRC by rc_cgroup_mode) and what the kernel that boots was built with.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Callable, Dict, FrozenSet, Iterator, Mapping, Optional, Tuple, Union

from nodespec.checks import _cgroups_mounted as _cgroup_mounts
from nodespec.checks import _kernel_release as _linux
from nodespec.checks import _kernel_version as _kernel
from nodespec.checks._cgroups_mounted import V1, V2
from nodespec.facts.declaration import Row, Rows, fact, table
from nodespec.facts.value_types import Choice, Flag, SetOf
from nodespec.formats.mountinfo import Mount
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import TypeAlias

CONTROLLERS = SetOf(Choice(*sorted(V1 | V2)))

MOUNTS, SUBSYSTEMS, RELEASE = "/proc/*/mountinfo", "/proc/cgroups", "/proc/sys/kernel/osrelease"
AT_REST = ("*/systemd/libsystemd-shared-*", "/etc/rc.conf", "/sbin/init", *_kernel.LINE, *_linux.SOURCES)
Bound: TypeAlias = "Mapping[str, Observation[str]]"
OUTSIDE = "look from the host, outside any container"


@fact(
    Choice("1", "2", "hybrid"),
    optional=True,
    sources=(MOUNTS,),
    fix="for version 2 boot with systemd.unified_cgroup_hierarchy=1"
    ' (under OpenRC: rc_cgroup_mode="unified" in /etc/rc.conf)',
)
def version(machine: Machine) -> Observation[str]:
    """Version of the control groups in force: 1, 2 or hybrid.

    2 where cgroup2 is mounted on /sys/fs/cgroup itself, since that is where runtimes look (a version 1 hierarchy that
    some program has mounted besides, as VPN clients do, changes nothing), and where cgroup2 is all that is mounted.
    hybrid where it is mounted beside version 1 hierarchies, which runtimes take for version 1. Absent where no cgroup
    file system is mounted; then it says whether the kernel has control groups at all.
    """
    layout = machine.once(_cgroup_mounts.layout)
    if not isinstance(layout, Value):
        return layout
    telling = layout.value.telling
    if not telling:
        return _unmounted(machine, layout.evidence)
    return Value(layout.value.version, layout.evidence._replace(line=telling.line))


@version.at_rest(*AT_REST)
def _version_at_rest(tree: Tree) -> Observation[str]:
    from nodespec.checks import _cgroups_at_boot as _hierarchy  # noqa: PLC0415 - not for a machine that runs

    return _hierarchy.version(tree)


@fact(
    CONTROLLERS,
    sources=(MOUNTS, "*/cgroup.controllers"),
    fix="take cgroup_disable= off the kernel command line (on a Raspberry Pi add cgroup_enable=memory to it), or boot a"
    " kernel that has the controller; cgroups.bindings says of each why it is missing",
)
def controllers(machine: Machine) -> Observation[FrozenSet[str]]:
    """Controllers that a runtime can use here.

    On version 2: what cgroup.controllers names at the root of the mount, with `devices` (BPF programs, inferred from
    Linux 4.15 on) and `freezer` (seen as cgroup.freeze, or inferred from Linux 5.2 on). On version 1 and hybrid: every
    controller of a mounted hierarchy. What version 1 calls blkio is io on version 2, which has no cpuacct, net_cls or
    net_prio, and never names perf_event, always there. In a container these are the controllers passed down to it
    (see `nested`). Empty where nothing is mounted.
    """
    layout, found = machine.once(_cgroup_mounts.layout), machine.once(_bound)
    if not isinstance(layout, Value):
        return layout
    if not isinstance(found, Value):
        return found
    aside = "v1" if layout.value.version == "2" else ""  # where no runtime looks
    usable = {name: row for name, row in found.value.items() if not isinstance(row, Value) or row.value != aside}
    return _usable(usable, found.evidence)


@controllers.at_rest(*AT_REST)
def _controllers_at_rest(tree: Tree) -> Observation[FrozenSet[str]]:
    from nodespec.checks import _cgroups_at_boot as _hierarchy  # noqa: PLC0415 - as above

    found = _hierarchy.bindings(tree)
    if not isinstance(found, Value):
        return Value(frozenset(), found.evidence) if isinstance(found, Absent) else found
    usable = {name: row for name, row in found.value.items() if not isinstance(row, Absent)}
    unread = [row for row in usable.values() if isinstance(row, Unknown)]
    return unread[0] if usable and len(unread) == len(usable) else _usable(usable, found.evidence)


def _usable(rows: Bound, at: Evidence) -> Observation[FrozenSet[str]]:
    """The names of all; or, where some may not be there, either these or those that are."""
    known = {name: row for name, row in rows.items() if isinstance(row, Value)}
    evidence = at._replace(inferred=any(row.evidence.inferred for row in known.values()))
    return Value(frozenset(rows), evidence, () if len(known) == len(rows) else (frozenset(known),))


@table(
    Choice("v1", "v2"),
    sources=(
        *(MOUNTS, "*/cgroup.controllers", "*/cgroup.freeze", SUBSYSTEMS, RELEASE),
        *("*/cgroup.events", "*/release_agent"),  # as of `nested`
    ),
    noun="controller",
    closed=True,
    fix="boot with cgroup_no_v1={key} to have it on version 2, without cgroup_disable={key} to have it at all",
)
def bindings(machine: Machine) -> Rows[Row]:
    """For each controller, the version of the hierarchy that it is bound to: v1 or v2.

    A controller is bound to one hierarchy at a time, on a hybrid machine each to its own. `devices` and `freezer` on v2
    are as in `controllers`. Of a missing one it says, where that can be told, whether it was disabled when booting,
    is bound to a version 1 hierarchy that is not mounted here, or was not passed down to this container.
    """
    found = machine.once(_bound)
    if not isinstance(found, Value):
        return Rows.lacking(found)
    rows = found.value

    def look(name: str) -> Optional[Observation[str]]:
        return rows[name] if name in rows else _missing(machine, name)

    return Rows(look, lambda: rows, Absent(found.evidence))


@bindings.at_rest(*AT_REST)
def _bindings_at_rest(tree: Tree) -> Rows[str]:
    from nodespec.checks import _cgroups_at_boot as _hierarchy  # noqa: PLC0415 - as above

    found = _hierarchy.bindings(tree)
    if not isinstance(found, Value):
        return Rows.lacking(found)
    there = {name: row for name, row in found.value.items() if not isinstance(row, Absent)}
    return Rows(found.value.get, lambda: there, Absent(found.evidence))


@fact(
    CONTROLLERS,
    sources=(MOUNTS, "*/cgroup.subtree_control"),
    fix="write +NAME for each into cgroup.subtree_control at the root of the mount (systemd does so for units that have"
    " a limit, or Delegate=)",
)
def delegated(machine: Machine) -> Observation[FrozenSet[str]]:
    """Version 2 controllers that the root enables for its children: cgroup.subtree_control.

    A runtime's cgroups have no others, but runtimes and systemd enable what they need when they need it, so that a
    fresh machine may have few. Empty where no cgroup2 is mounted.
    """
    return _of_v2(machine, lambda v2: Value(v2.point, Evidence(v2.point)), "cgroup.subtree_control")


@fact(
    CONTROLLERS,
    sources=(MOUNTS, "*/cgroup.controllers"),
    fix="enable them in every cgroup above; for users' own runtimes by Delegate=cpu cpuset io memory pids in a drop-in"
    " of user@.service",
)
def granted(machine: Machine) -> Observation[FrozenSet[str]]:
    """Version 2 controllers that reach the cgroup nodespec itself runs in, through all those above it.

    This is what a rootless runtime started from here could use: in a user's session systemd grants cpu, memory and pids
    unless told otherwise. Empty where no cgroup2 is mounted.
    """
    return _of_v2(machine, lambda v2: _own(machine, v2), "cgroup.controllers")


@fact(
    Flag(),
    optional=True,
    sources=(MOUNTS, "*/cgroup.events", "*/release_agent"),
    fix="run nodespec on the host itself, outside any container",
)
def nested(machine: Machine) -> Observation[bool]:
    """Whether what is mounted is not the true root of its hierarchy: a container's view.

    Told by the files that the kernel makes only below the root (cgroup.events, on version 2) or only at it
    (release_agent, on version 1). Then `controllers` are what was passed down, not what the kernel has.
    Absent where no cgroup file system is mounted.
    """
    layout = machine.once(_cgroup_mounts.layout)
    if not isinstance(layout, Value):
        return layout
    v2 = layout.value.v2
    mount = v2 or layout.value.telling
    if not mount:
        return _unmounted(machine, layout.evidence)
    root = machine.names(mount.point)
    if not isinstance(root, Value) or "cgroup.procs" not in root.value:
        return root if isinstance(root, Unknown) else _not_visible(f"{mount.point}/cgroup.procs")
    mark = "cgroup.events" if v2 else "release_agent"
    return Value((mark in root.value) == bool(v2), Evidence(f"{mount.point}/{mark}"))


def _of_v2(
    machine: Machine, folder: Callable[[Mount], Union[Value[str], Unknown]], name: str
) -> Observation[FrozenSet[str]]:
    """The words of a file in some folder of version 2."""
    layout = machine.once(_cgroup_mounts.layout)
    if not isinstance(layout, Value):
        return layout
    if not layout.value.v2:
        return Value(frozenset(), layout.evidence)
    where = folder(layout.value.v2)
    return _words(machine, f"{where.value}/{name}") if isinstance(where, Value) else where


def _bound(machine: Machine) -> Observation[Bound]:
    """Every controller of a mounted hierarchy, and which version that is of."""
    layout = machine.once(_cgroup_mounts.layout)
    if not isinstance(layout, Value):
        return layout
    (v1, v2), evidence = layout.value, layout.evidence
    rows: Dict[str, Observation[str]] = {}
    for mount in v1:
        bound = Value("v1", evidence._replace(line=mount.line))
        rows.update(dict.fromkeys(mount.options & V1, bound))
    if v2:
        listed = _words(machine, f"{v2.point}/cgroup.controllers")
        if not isinstance(listed, Value):
            return listed
        rows.update(dict.fromkeys(listed.value, Value("v2", listed.evidence)))
        if layout.value.version == "2":
            rows.update((name, row) for name, row in _uncontrolled(machine, v2) if not isinstance(row, Absent))
            evidence = listed.evidence
    return Value(dict(sorted(rows.items())), evidence)


def _uncontrolled(machine: Machine, v2: Mount) -> Iterator[Tuple[str, Observation[str]]]:
    """What version 2 has although cgroup.controllers never names it."""
    own = _own(machine, v2)
    freeze = machine.entry(f"{own.value}/cgroup.freeze") if isinstance(own, Value) else own
    yield "devices", _by_kernel(machine, (4, 15))
    yield "freezer", Value("v2", freeze.evidence) if isinstance(freeze, Value) else _by_kernel(machine, (5, 2))


def _by_kernel(machine: Machine, since: Tuple[int, int]) -> Observation[str]:
    """Whether the running kernel is recent enough; an older one may have it by backport, which cannot be seen."""
    running = machine.line(RELEASE).then(_major_minor)
    if isinstance(running, Value):
        evidence = running.evidence._replace(inferred=True)
        return Value("v2", evidence) if running.value >= since else Absent(evidence)
    return running if isinstance(running, Unknown) else _not_visible(RELEASE)


def _major_minor(release: str) -> Tuple[int, int]:
    match = re.match(r"(\d{1,4})\.(\d{1,4})", release, re.ASCII)
    if not match:
        raise ValueError(f"`{release[:40]}` is no kernel release")
    return int(match[1]), int(match[2])


def _missing(machine: Machine, name: str) -> Optional[Absent]:
    """Why a controller is on no mounted hierarchy, where that can be told."""
    line, hierarchy, enabled = machine.once(_subsystems).get(name, (0, "0", "1"))
    if enabled == "0":
        say = f"disabled when booting: cgroup_disable={name} on the kernel command line"
        return Absent(Evidence(SUBSYSTEMS, line), say)
    if hierarchy != "0":
        return Absent(Evidence(SUBSYSTEMS, line), "bound to a version 1 hierarchy that is not mounted here")
    inside = nested.probe(machine)
    if name in V2 and isinstance(inside, Value) and inside.value is True:
        return Absent(inside.evidence, "not passed down to this container, whatever the kernel has")
    return None


def _subsystems(machine: Machine) -> Mapping[str, Tuple[int, str, str]]:
    """Line, hierarchy and `enabled` of each controller in /proc/cgroups; it only explains, and may be missing."""
    text = machine.text(SUBSYSTEMS)
    lines = text.value.split("\n") if isinstance(text, Value) else []
    rows = ((number, line.split()) for number, line in enumerate(lines, 1))
    return {row[0]: (number, row[1], row[3]) for number, row in rows if len(row) == 4}  # noqa: PLR2004 - its columns


def _words(machine: Machine, path: str) -> Union[Value[FrozenSet[str]], Unknown]:
    """The words of a file that every cgroup2 has."""
    words = machine.text(path).then(_parse_words)
    return _not_visible(path) if isinstance(words, Absent) else words


def _parse_words(text: str) -> FrozenSet[str]:
    """`cpu io memory pids`."""
    words = frozenset(text.split())
    strange = next((word for word in words if not re.fullmatch("[a-z][a-z0-9_]*", word)), None)
    if strange:
        raise ValueError(f"`{strange[:40]}` is no name of a controller")
    return words


def _own(machine: Machine, v2: Mount) -> Union[Value[str], Unknown]:
    """The directory of the process's own cgroup, as seen through a mount."""
    path = f"{machine.process}/cgroup"
    own = machine.text(path).then(_on_v2)
    if not isinstance(own, Value):
        return _not_visible(path) if isinstance(own, Absent) else own
    top = v2.root.rstrip("/")
    below = own.value[len(top) :]
    if not own.value.startswith(top) or below[:1] not in {"", "/"} or ".." in below.split("/"):
        return Unknown("hidden", f"{path}: {own.value} is outside what is mounted on {v2.point}", OUTSIDE)
    return Value(f"{v2.point}{below}".rstrip("/"), own.evidence)


def _on_v2(text: str) -> str:
    for line in text.split("\n"):
        if line.startswith("0::"):
            return line[3:]
    raise ValueError("no line of version 2")


def _not_visible(path: str) -> Unknown:
    return Unknown("hidden", f"{path} is not visible here", OUTSIDE)


def _unmounted(machine: Machine, evidence: Evidence) -> Absent:
    """Absence of any cgroup file system: /proc/PID/cgroup exists where the kernel could have mounted one."""
    own = machine.entry(f"{machine.process}/cgroup")
    if isinstance(own, Absent):
        return Absent(evidence, "the kernel was built without control groups")
    return Absent(evidence, "the kernel has control groups, but no cgroup file system is mounted")
