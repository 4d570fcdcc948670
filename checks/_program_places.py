"""Programs of Kubernetes outside the search path: other directories, and units."""

from __future__ import annotations

from nodespec.host.tree import Tree
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

DIRECTORIES = (
    "/opt/bin",  # Flatcar, also with Cluster API
    "/home/kubernetes/bin",  # Container-Optimized OS
    "/var/lib/rancher/k3s/data/current/bin",
    "/var/lib/rancher/rke2/bin",
    "/var/lib/k0s/bin",
    "/snap/microk8s/current",
    "/snap/microk8s/current/bin",
)
UNITS = {"kubelet": "kubelet.service"}
PROGRAMS = ("kubelet", "kubeadm", "crictl", "runc", "crun")
SOURCES = (*(f"{directory}/*" for directory in DIRECTORIES), "*/systemd/system*")


def find_program(tree: Tree, name: str) -> Observation[str]:
    """Return the path of a program.

    It is searched on the search path, then by its unit, then in directories of distributions.
    """
    program = tree.program(name)
    if isinstance(program, Value) or name not in PROGRAMS:
        return program
    unread = program if isinstance(program, Unknown) else None
    for candidate in (
        _find_unit_program(tree, name),
        *(_check_executable(tree, f"{folder}/{name}") for folder in DIRECTORIES),
    ):
        if isinstance(candidate, Value):
            return candidate
        if isinstance(candidate, Unknown):
            unread = unread or candidate
    return unread or program


def get_command_word(tree: Tree, name: str, path: str) -> str:
    """Return the command word: the name if the search path has it, else the path."""
    return name if isinstance(tree.program(name), Value) else path


def _find_unit_program(tree: Tree, name: str) -> Observation[str]:
    """Return the program that its unit starts, if that exists."""
    if name not in UNITS:
        return Absent(Evidence(""))
    from nodespec.checks import _systemd_units  # noqa: PLC0415

    file = _systemd_units.find_unit_file(tree, UNITS[name])
    if isinstance(file, Absent):
        return file
    from nodespec.checks._systemd_command import read_service_command  # noqa: PLC0415

    command = read_service_command(tree, UNITS[name], name)
    if not isinstance(command, Value):
        return command
    path = command.value.words[0]
    return _check_executable(tree, path) if path.startswith("/") else Absent(command.evidence)


def _check_executable(tree: Tree, path: str) -> Observation[str]:
    entry = tree.entry(path)
    if not isinstance(entry, Value):
        return entry
    executable = entry.value.kind == "file" and entry.value.mode & 0o111
    return Value(path, entry.evidence) if executable else Absent(entry.evidence)
