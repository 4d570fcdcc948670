"""The init system that a boot starts, by the program at /sbin/init."""

from __future__ import annotations

import re
from os.path import basename, join, normpath

from nodespec.checks import _os_release
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import List, Union

    from nodespec.host.tree import Tree

INIT = "/sbin/init"
INITTAB = "/etc/inittab"
SYSTEMD = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")
MAX_LINKS = 8  # links followed from /sbin/init
MAX_PROGRAM_BYTES = 4 << 20  # searched for the text that identifies an init program
PROGRAMS = {  # by the name of the program
    "systemd": "systemd",
    "openrc-init": "openrc",
    "runit": "runit",
    "runit-init": "runit",
    "s6-svscan": "s6",
    "s6-linux-init": "s6",
    "dinit": "dinit",
    "dinit-init": "dinit",
    "finit": "finit",
    "upstart": "upstart",
    "machined": "machined",
    "busybox": "busybox",
    "sysvinit": "sysvinit",
    "shepherd": "shepherd",
}
MARKS = (  # by content of the program or script; the first match counts
    (b"BusyBox v", "busybox"),
    (b"upstart", "upstart"),
    (b"s6-linux-init", "s6"),
    (b"runit", "runit"),
    (b"dinit", "dinit"),
    (b"finit", "finit"),
    (b"openrc-init", "openrc"),
    (b"systemd/systemd", "systemd"),
    (b"INIT: ", "sysvinit"),
)
# these may set init=
CMDLINE_SOURCES = ("/boot*", "/efi/*", "/etc/kernel/cmdline", "/usr/lib/kernel/cmdline", "/etc/default/grub*")
SOURCES = (INIT, INITTAB, *SYSTEMD, "/etc/init", *CMDLINE_SOURCES, *_os_release.FILES)


def detect_init_system(tree: Tree) -> Observation[str]:
    """Return the init system; absent if there is none.

    The names are systemd, openrc, sysvinit, busybox, runit, s6, dinit, upstart and others.
    """
    return tree.once(_detect_init_system)


def _detect_init_system(tree: Tree) -> Observation[str]:
    given = Value(INIT, Evidence(INIT)) if tree.running else _read_init_parameter(tree)
    if isinstance(given, Unknown):
        return given
    path, at = given.value, given.evidence
    entry = tree.entry(path, follow=False)
    if isinstance(entry, Absent) and path == INIT:  # An initramfs starts systemd directly if it is installed.
        path = next((path for path in SYSTEMD if isinstance(tree.entry(path), Value)), "")
        return Value("systemd", Evidence(path, inferred=True)) if path else entry
    if isinstance(entry, Unknown):
        return entry
    if isinstance(entry, Absent):
        return Unknown("not found", f"the kernel command line has init={path}, and {path} was not found")
    name = next((PROGRAMS[name] for name in _list_program_names(tree, path) if name in PROGRAMS), "")
    name = name or _match_distribution(tree) or _match_program_content(tree, path)
    if name in ("busybox", "sysvinit", ""):
        name = _match_inittab(tree, name) or name
    if not name:
        return Unknown("unsupported", f"{path}: this init program is not supported")
    return Value(name, at._replace(inferred=True))


def _read_init_parameter(tree: Tree) -> Union[Value[str], Unknown]:
    """Return the init program.

    It is /sbin/init, unless the next boot's command line sets `init=`.
    """
    from nodespec.checks import _boot_cmdline, _systemd_switches  # noqa: PLC0415

    unknown = _boot_cmdline.find_open_parameter(tree, "init")
    if unknown:
        return unknown
    line = _systemd_switches.read_boot_parameters(tree)
    given = [Value(value, at) for key, value, at in line if key == "init" and value.startswith("/")]
    return given[-1] if given else Value(INIT, Evidence(INIT))


def _list_program_names(tree: Tree, path: str) -> List[str]:
    """Return the names of a program and of the targets of its links."""
    names = [basename(path)]
    for _ in range(MAX_LINKS):
        target = tree.link(path) if _is_link(tree, path) else None
        if not isinstance(target, Value):
            break
        path = normpath(join(path, "..", target.value))
        names.append(basename(path))
    return names


def _is_link(tree: Tree, path: str) -> bool:
    entry = tree.entry(path, follow=False)
    return isinstance(entry, Value) and entry.value.kind == "link"


def _match_distribution(tree: Tree) -> str:
    """Return the init system of a distribution that has a program of its own."""
    name = _os_release.read_field(tree, "ID")
    return "machined" if isinstance(name, Value) and name.value == "talos" else ""


def _match_program_content(tree: Tree, path: str) -> str:
    """Return the init system by the content of the program; empty if nothing matches."""
    data = tree.head(path, MAX_PROGRAM_BYTES)
    matches = (name for mark, name in MARKS if isinstance(data, Value) and mark in data.value)
    return next(matches, "")


def _match_inittab(tree: Tree, name: str) -> str:
    """Return what init runs by /etc/inittab; without it, what is installed beside it."""
    text = tree.text(INITTAB)
    if isinstance(text, Value):
        lines = [line for line in text.value.split("\n") if not line.lstrip().startswith("#")]
        if any(re.search(r"\bopenrc\b", line) for line in lines):
            return "openrc"
        if any(re.search(r"\bs6-svscan|\brunsvdir", line) for line in lines):
            return "s6" if any("s6-svscan" in line for line in lines) else "runit"
        return name or "sysvinit"
    if name and isinstance(tree.program("openrc"), Value):
        return "openrc"
    jobs = tree.names("/etc/init")
    return (
        "upstart" if not name and isinstance(jobs, Value) and any(job.endswith(".conf") for job in jobs.value) else ""
    )
