"""What several families read of the kernel that runs: its release, which modules are loaded, its module tree."""

from __future__ import annotations

from typing import Mapping, NamedTuple, Optional

from nodespec.machine import Machine
from nodespec.observation import Absent, Evidence, Observation, Unknown, Value

OSRELEASE = "/proc/sys/kernel/osrelease"
UNAME = "uname(2)"
LOADED = "/proc/modules"
TREES = ("/lib/modules", "/usr/lib/modules")  # one and the same on most hosts


class Loaded(NamedTuple):
    """A row of /proc/modules: its line, and whether the module is not of the kernel's own source."""

    line: int
    foreign: bool


def release(machine: Machine) -> Observation[str]:
    """The release, as `uname -r` prints it."""
    read = machine.line(OSRELEASE)
    return read if isinstance(read, Value) and read.value else Value(machine.uname()[0], Evidence(UNAME))


def tree(machine: Machine) -> Observation[str]:
    """The folder that holds the modules of this release."""
    return machine.once(_tree)


def _tree(machine: Machine) -> Observation[str]:
    name = release(machine)
    if not isinstance(name, Value):
        return name
    unread: Optional[Unknown] = None
    for folder in (f"{tree}/{name.value}" for tree in TREES):
        found = machine.entry(folder)
        if isinstance(found, Value) and found.value.kind == "directory":
            return Value(folder, found.evidence)
        if isinstance(found, Unknown):
            unread = unread or found
    return unread or Absent(Evidence(f"{TREES[0]}/{name.value}"))


def builtin(machine: Machine) -> Observation[Mapping[str, int]]:
    """What could be a module and is built in, with its line in modules.builtin."""
    return _listed(machine, "modules.builtin")


def built(machine: Machine) -> Observation[Mapping[str, int]]:
    """The modules that the kernel was built with, installed or not, with their line in modules.order."""
    return _listed(machine, "modules.order")


def installed(machine: Machine) -> Observation[Mapping[str, int]]:
    """The modules that depmod found, whoever made them, with their line in modules.dep."""
    return _listed(machine, "modules.dep")


def _listed(machine: Machine, file: str) -> Observation[Mapping[str, int]]:
    folder = tree(machine)
    return machine.text(f"{folder.value}/{file}").then(_names) if isinstance(folder, Value) else folder


def _names(text: str) -> Mapping[str, int]:
    """Names by line: `kernel/net/bridge/br_netfilter.ko.xz: needs` is br_netfilter."""
    paths = enumerate((line.partition(":")[0].strip() for line in text.split("\n")), 1)
    return {named(path.rpartition("/")[2].partition(".")[0]): line for line, path in paths if path}


def named(name: str) -> str:
    """The name as the kernel writes it: the file of nf_nat may be called nf-nat.ko."""
    return name.replace("-", "_")


def loaded(machine: Machine) -> Observation[Mapping[str, Loaded]]:
    """The modules that are loaded. Absent: the kernel loads none."""
    return machine.text(LOADED).then(_loaded)


def _loaded(text: str) -> Mapping[str, Loaded]:
    """`wireguard 94208 0 - Live 0x0000000000000000 (OE)`: O is for out of tree."""
    rows = ((line, row.split()) for line, row in enumerate(text.split("\n"), 1))
    return {row[0]: Loaded(line, "O" in "".join(row[6:])) for line, row in rows if row}
