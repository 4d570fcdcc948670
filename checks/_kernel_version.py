"""Kernel data that several families share: release, loaded modules, module tree.

It is the running kernel, or for a tree that does not run the kernel of the next boot.
"""

from __future__ import annotations

import re

from nodespec.checks import _kernel_names
from nodespec.facts.declaration import Rows
from nodespec.facts.value_types import RELEASE_NAME, Datum
from nodespec.host.machine import Machine
from nodespec.host.tree import Entry, Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Mapping, Optional, Tuple

OSRELEASE = "/proc/sys/kernel/osrelease"
UNAME = "uname(2)"
PROC_CMDLINE = "/proc/cmdline"
PROC_MODULES = "/proc/modules"
MODULE_TREES = ("/lib/modules", "/usr/lib/modules")  # the same folder on most hosts
# Files read at rest: kernels, loaders, and the sources of their command line.
BOOT_FILES = (
    *("/boot*", "/efi/*", "/vmlinuz", "/extlinux/*", "/syslinux.cfg", "/etc/zipl.conf", "/nix/store/*"),
    *(f"{tree}*" for tree in MODULE_TREES),
)
CMDLINE_FILES = (*BOOT_FILES, "/etc/kernel/cmdline", "/usr/lib/kernel/cmdline", "/etc/default/grub*")
# Folders of modprobe.d: a file hides files with the same name in later folders.
MODPROBE_FOLDERS = (
    "/etc/modprobe.d",
    "/run/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/usr/lib/modprobe.d",
    "/lib/modprobe.d",
)
MODPROBE_FILES = tuple(f"{folder}/*" for folder in MODPROBE_FOLDERS)
# Paths that show how a running kernel was built, without a file: see `_kernel_config_evidence`.
EVIDENCE_FILES = (
    "/proc/*",
    "/sys/module/*",
    "/sys/kernel/btf/vmlinux",
    "/sys/fs/cgroup/cgroup.controllers",
    "/sys/fs/cgroup/unified/cgroup.controllers",
    *(f"{tree}/*" for tree in MODULE_TREES),
)


class LoadedModule(NamedTuple):
    """A row of /proc/modules: its line, and whether the module is out of tree."""

    line: int
    foreign: bool


def read_kernel_release(machine: Tree) -> Observation[str]:
    """Return the release, as `uname -r` prints it."""
    if not isinstance(machine, Machine):
        from nodespec.checks import _boot_next  # noqa: PLC0415

        return _boot_next.resolve_kernel_at_rest(machine).then(lambda kernel: kernel.release)
    read = machine.line(OSRELEASE)
    read = read if isinstance(read, Value) and read.value else Value(machine.uname()[0], Evidence(UNAME))
    return read.then(RELEASE_NAME.formed)


def find_module_tree(machine: Tree) -> Observation[str]:
    """Return the folder with the modules of this release."""
    return machine.once(_find_module_tree)


def _find_module_tree(machine: Tree) -> Observation[str]:
    name = read_kernel_release(machine)
    if not isinstance(name, Value):
        return name
    unread: Optional[Unknown] = None
    for folder in (f"{tree}/{name.value}" for tree in MODULE_TREES):
        entry = machine.entry(folder)
        if isinstance(entry, Value) and entry.value.kind == "directory":
            return Value(folder, entry.evidence)
        if isinstance(entry, Unknown):
            unread = unread or entry
    return unread or Absent(Evidence(f"{MODULE_TREES[0]}/{name.value}"))


def list_builtin_modules(machine: Tree) -> Observation[Mapping[str, int]]:
    """Return code that is built in but could be a module, by line of modules.builtin."""
    return _read_module_list(machine, "modules.builtin")


def list_shipped_modules(machine: Tree) -> Observation[Mapping[str, int]]:
    """Return the modules of the build, installed or not, by line of modules.order."""
    return _read_module_list(machine, "modules.order")


def list_installed_modules(machine: Tree) -> Observation[Mapping[str, int]]:
    """Return the modules that depmod found, of any origin, by line of modules.dep.

    Absent if depmod did not run or wrote nothing, as on a full disk. kmod reads modules.dep.bin, other programs read
    modules.dep.
    """
    listed, index = _read_module_list(machine, "modules.dep"), _read_index_size(machine)
    if not isinstance(listed, Value) or not listed.value:
        return Absent(listed.evidence) if isinstance(listed, Value) else listed
    return Absent(index.evidence) if isinstance(index, Value) and not index.value else listed


def has_kmod_index(machine: Tree) -> bool:
    """Return whether kmod has its binary index, with or without modules.dep."""
    index = _read_index_size(machine)
    return isinstance(index, Value) and index.value > 0


def _read_index_size(machine: Tree) -> Observation[int]:
    folder = find_module_tree(machine)
    return machine.entry(f"{folder.value}/modules.dep.bin").then(_get_size) if isinstance(folder, Value) else folder


def _get_size(entry: Entry) -> int:
    return entry.size


def suggest_depmod(machine: Tree) -> str:
    """Return the hint to run depmod."""
    name = read_kernel_release(machine)
    return f"run depmod -a {name.value}" if isinstance(name, Value) else "run depmod -a"


def read_order_lines(machine: Tree) -> Tuple[str, ...]:
    """Return the lines of modules.order: `kernel/net/bridge/br_netfilter.ko`."""
    folder = find_module_tree(machine)
    text = machine.text(f"{folder.value}/modules.order") if isinstance(folder, Value) else folder
    return tuple(text.value.split("\n")) if isinstance(text, Value) else ()


def _read_module_list(machine: Tree, file: str) -> Observation[Mapping[str, int]]:
    folder = find_module_tree(machine)
    return machine.text(f"{folder.value}/{file}").then(_parse_module_lines) if isinstance(folder, Value) else folder


def find_module_file(machine: Tree, at: Evidence) -> str:
    """Return the file that a line of modules.dep names."""
    text, folder = machine.text(at.source), at.source.rpartition("/")[0]
    line = text.value.split("\n")[at.line - 1] if isinstance(text, Value) else ""
    return f"{folder}/{line.partition(':')[0].strip()}"


def read_module_needs(machine: Tree) -> Mapping[str, Tuple[str, ...]]:
    """Return the dependencies of each module, by modules.dep."""
    folder = find_module_tree(machine)
    text = machine.text(f"{folder.value}/modules.dep") if isinstance(folder, Value) else folder
    lines = text.value.split("\n") if isinstance(text, Value) else ()
    rows = (line.partition(":") for line in lines)
    return {
        _kernel_names.parse_module_name(path.strip()): tuple(map(_kernel_names.parse_module_name, more.split()))
        for path, _, more in rows
        if more.strip()
    }


def _parse_module_lines(text: str) -> Mapping[str, int]:
    """Parse names by line: `kernel/net/bridge/br_netfilter.ko.xz: needs`.

    The name of this example is br_netfilter. Raises ValueError for a text without any file of a module.
    """
    if ".ko" not in text and text.strip():
        raise ValueError("no file of a module found")
    paths = enumerate((line.partition(":")[0].strip() for line in text.split("\n")), 1)
    return {_kernel_names.parse_module_name(path): line for line, path in paths if path}


def read_loaded_modules(machine: Machine) -> Observation[Mapping[str, LoadedModule]]:
    """Return the loaded modules; absent if the kernel does not support modules."""
    return machine.text(PROC_MODULES).then(_require_modules).then(_parse_loaded_modules)


def _require_modules(text: str) -> str:
    """Validate the text of /proc/modules; ValueError for any other text."""
    for line, row in enumerate(text.split("\n"), 1):
        if row and not re.match(r"\S+ \d+ \S", row, re.ASCII):  # name, size, use count
            raise ValueError(f"line {line} is not a module; expected NAME SIZE COUNT")
    return text


def _parse_loaded_modules(text: str) -> Mapping[str, LoadedModule]:
    """Parse `wireguard 94208 0 - Live 0x0000000000000000 (OE)`; O is out of tree."""
    rows = ((line, row.split()) for line, row in enumerate(text.split("\n"), 1))
    return {row[0]: LoadedModule(line, "O" in "".join(row[6:])) for line, row in rows if row}


def make_parameter_rows(
    line: str, evidence: Evidence, rows: Mapping[str, Observation[Datum]], rest: Observation[Datum]
) -> Rows[Datum]:
    """Return the table of the parameters of a line. A name with a blank is a pair of parameters."""

    def look(name: str) -> Optional[Observation[Datum]]:
        if " " not in name:
            return rows.get(name)
        from nodespec.checks import _cmdline_pairs  # noqa: PLC0415 - few specs name pairs

        return _cmdline_pairs.observe_pair(line, evidence, name, rest)

    return Rows(look, lambda: rows, rest)
