"""The init system that a boot starts, by the program that stands as /sbin/init."""

from __future__ import annotations

import re
from os.path import basename, join, normpath
from typing import TYPE_CHECKING, List, Tuple

from nodespec.checks import _os_release
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from nodespec.host.tree import Tree

INIT = "/sbin/init"
INITTAB = "/etc/inittab"
SYSTEMD = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")
MAX_LINKS = 8  # followed from /sbin/init
MAX_PROGRAM_BYTES = 4 << 20  # that are searched for what tells one init program from another
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
MARKS = (  # by what a program or script contains, the first that matches
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
LINE = ("/boot*", "/efi/*", "/etc/kernel/cmdline", "/usr/lib/kernel/cmdline", "/etc/default/grub*")  # has init=
SOURCES = (INIT, INITTAB, *SYSTEMD, "/etc/init", *LINE, *_os_release.FILES)


def init(tree: Tree) -> Observation[str]:
    """The init system: systemd, openrc, sysvinit, busybox, runit, s6, dinit, upstart, ... Absent: there is no init."""
    return tree.once(_init)


def _init(tree: Tree) -> Observation[str]:
    path, at = (INIT, Evidence(INIT)) if tree.running else _named_by_kernel(tree)
    entry = tree.entry(path, follow=False)
    if isinstance(entry, Absent) and path == INIT:  # an initramfs starts systemd itself, where that is
        path = next((path for path in SYSTEMD if isinstance(tree.entry(path), Value)), "")
        return Value("systemd", Evidence(path, inferred=True)) if path else entry
    if isinstance(entry, Unknown):
        return entry
    if isinstance(entry, Absent):
        return Unknown("not found", f"the kernel's command line has init={path}, which is not there")
    name = next((PROGRAMS[name] for name in _names(tree, path) if name in PROGRAMS), "")
    name = name or _distributed(tree) or _marked(tree, path)
    if name in ("busybox", "sysvinit", ""):
        name = _by_inittab(tree, name) or name
    if not name:
        return Unknown("unsupported", f"{path} is a program that nodespec does not know")
    return Value(name, at._replace(inferred=True))


def _named_by_kernel(tree: Tree) -> Tuple[str, Evidence]:
    """/sbin/init, unless the next boot's command line has `init=`; and what says so."""
    from nodespec.checks import _systemd_at_boot  # noqa: PLC0415

    line = _systemd_at_boot.command_line(tree)
    given = [(value, at) for key, value, at in line if key == "init" and value.startswith("/")]
    return given[-1] if given else (INIT, Evidence(INIT))


def _names(tree: Tree, path: str) -> List[str]:
    """The names of a program, and of those that it leads to, link by link."""
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


def _distributed(tree: Tree) -> str:
    """The init system of a distribution that has a program of its own for it."""
    name = _os_release.field(tree, "ID")
    return "machined" if isinstance(name, Value) and name.value == "talos" else ""


def _marked(tree: Tree, path: str) -> str:
    """The init system by the content of the program; empty where nothing in it tells."""
    data = tree.head(path, MAX_PROGRAM_BYTES)
    found = (name for mark, name in MARKS if isinstance(data, Value) and mark in data.value)
    return next(found, "")


def _by_inittab(tree: Tree, name: str) -> str:
    """What init runs by /etc/inittab; without that file what is installed beside it."""
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
