"""Whether a missing module can be loaded: depmod's lists, modprobe.d, the loader."""

from __future__ import annotations

from nodespec.checks import _kernel_version, _modprobe, _modprobe_plan
from nodespec.checks._modprobe_plan import KernelState
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, Optional, Tuple, Union

LOADER, MODPROBE = "/proc/sys/kernel/modprobe", "/sbin/modprobe"
COMPRESSION_SUFFIXES = ("", ".xz", ".zst", ".gz")


def resolve_loadable_state(
    machine: Tree, name: str, kernel: KernelState, unread: Optional[Unknown]
) -> Optional[Observation[str]]:
    """Return the state of a module that is not in the kernel; None if no list has it.

    `unread` is the reason if the kernel may deny further modules.
    """
    listed = _find_listed_module(machine, name)
    if not isinstance(listed, Value):
        return listed
    held = _modprobe_plan.find_obstacle(machine, kernel, name) or machine.once(_find_missing_loader)
    if held:
        return held if isinstance(held, Unknown) else Value("blocked", held)
    config = _modprobe.read_modprobe_config(machine)
    kept = config.blacklist.get(name) if isinstance(config, _modprobe.ModprobeConfig) else None
    return unread or (Value("blacklisted", kept) if kept else listed)


def _find_listed_module(machine: Tree, name: str) -> Optional[Observation[str]]:
    """Return that modules.dep lists a module, or the state of one without an entry."""
    installed, built = (
        machine.once(_kernel_version.list_installed_modules),
        machine.once(_kernel_version.list_shipped_modules),
    )
    if isinstance(installed, Value) and name in installed.value:
        return Value("loadable", installed.evidence._replace(line=installed.value[name]))
    if isinstance(installed, Unknown):
        return installed
    if not isinstance(built, Value) or name not in built.value:
        return _explain_truncation(machine, installed)
    at = built.evidence._replace(line=built.value[name])
    return _explain_truncation(machine, installed) or _resolve_unlisted_module(machine, at, installed)


def _resolve_unlisted_module(machine: Tree, at: Evidence, installed: Observation[object]) -> Observation[str]:
    """Return the state of a module that only modules.order lists.

    kmod finds nothing that depmod did not list.
    """
    there = _has_module_file(machine, at)
    if isinstance(there, Unknown):
        return there
    if not there:
        return Absent(at, "the kernel was built with it, but its file is not installed")
    if isinstance(installed, Value):
        return Absent(
            at, f"its file exists, but modules.dep does not list it; {machine.once(_kernel_version.suggest_depmod)}"
        )
    if _kernel_version.has_kmod_index(machine):
        return Value("loadable", at)
    message = f"{installed.evidence} lists no modules, so modprobe finds none" if isinstance(installed, Absent) else ""
    return Unknown("not found", message, machine.once(_kernel_version.suggest_depmod))


def _explain_truncation(machine: Tree, installed: Observation[object]) -> Optional[Unknown]:
    """Return why the list of a name may be truncated."""
    text = machine.text(installed.evidence.source) if isinstance(installed, Value) else None
    if not isinstance(text, Value) or text.value.endswith("\n"):
        return None
    message = f"{text.evidence} does not end with a newline; the file may be truncated"
    return Unknown("malformed", message, machine.once(_kernel_version.suggest_depmod))


def _has_module_file(machine: Tree, at: Evidence) -> Union[bool, Unknown]:
    """Return whether the file of a line of modules.order exists, compressed or not.

    Each folder is listed once.
    """
    path = (*machine.once(_kernel_version.read_order_lines)[at.line - 1 :], "")[0].strip()
    folder, _, file = f"{at.source.rpartition('/')[0]}/{path}".rpartition("/")
    folders = machine.once(_make_folder_cache)
    if folder not in folders:
        folders[folder] = machine.names(folder)
    names = folders[folder]
    if isinstance(names, Unknown):
        return names
    stem = f"{file.rpartition('.')[0]}.ko"
    return isinstance(names, Value) and any(f"{stem}{packed}" in names.value for packed in COMPRESSION_SUFFIXES)


def _make_folder_cache(_: Tree) -> Dict[str, Observation[Tuple[str, ...]]]:
    """Return the cache of listed folders, which starts empty."""
    return {}


def _find_missing_loader(machine: Tree) -> Union[Evidence, Unknown, None]:
    """Return why nothing is loaded on demand: the loader program is not found.

    The kernel and other programs start it.
    """
    named = _read_loader_path(machine)
    if isinstance(named, Unknown):
        return named
    if not named.value:
        return named.evidence
    program = machine.entry(named.value)
    if isinstance(program, Unknown):
        return program
    if isinstance(program, Value) and program.value.kind == "file" and program.value.mode & 0o111:
        return None
    if isinstance(machine, Machine) and _is_in_container(machine):
        return None  # The kernel starts the program of the host, which is not visible from here.
    return Evidence(named.value) if named.value.endswith("/modprobe") else named.evidence


def _read_loader_path(machine: Tree) -> Union[Value[str], Unknown]:
    """Return the program that the kernel starts, by kernel.modprobe."""
    if machine.running:
        loader = machine.line(LOADER)
    else:
        from nodespec.checks import _sysctl_defaults  # noqa: PLC0415

        loader = _sysctl_defaults.read_module_loader(machine)
    return Value(MODPROBE, Evidence(MODPROBE)) if isinstance(loader, Absent) else loader


def _is_in_container(machine: Machine) -> bool:
    from nodespec.checks import _container  # noqa: PLC0415

    return machine.root == "/" and any(
        isinstance(mark, Value) for mark in _container.list_engine_marks(machine, inside=True)
    )
