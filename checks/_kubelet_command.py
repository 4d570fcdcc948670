"""The command line of the kubelet: of its process, else of the unit that starts it."""

from __future__ import annotations

from nodespec.checks import _program_places, _systemd_units
from nodespec.checks._kubelet_fields import load_fields
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree, decode_host_text
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import List, Optional, Sequence, Tuple, Union

UNIT = "kubelet.service"
# Services with a kubelet inside another program.
EMBEDDING = {
    "k3s.service": "k3s",
    "k3s-agent.service": "k3s",
    "k0scontroller.service": "k0s",
    "k0sworker.service": "k0s",
    "snap.microk8s.daemon-kubelite.service": "MicroK8s",
    "rke2-server.service": "RKE2",
    "rke2-agent.service": "RKE2",
}
MAX_PROCESSES = 8  # processes named kubelet that are compared
MAX_COMMAND_BYTES = 1 << 17  # the longest argument list that is read
# Flags without a value, besides those of fields.
SWITCHES = frozenset(
    [
        "add-dir-header",
        "alsologtostderr",
        "docker-only",
        "docker-tls",
        "enable-cadvisor-json-endpoints",
        "enable-load-reader",
        "exit-on-lock-contention",
        "experimental-allocatable-ignore-eviction",
        "experimental-check-node-capabilities-before-mount",
        "experimental-kernel-memcg-notification",
        "help",
        "keep-terminated-pod-volumes",
        "log-cadvisor-usage",
        "logtostderr",
        "one-output",
        "really-crash-for-testing",
        "register-schedulable",
        "skip-headers",
        "skip-log-headers",
        "storage-driver-secure",
    ]
)


class KubeletCommand(NamedTuple):
    """The flags of a kubelet in order, each with its value, and their source."""

    flags: Tuple[Tuple[str, str], ...]
    at: Evidence

    def get(self, name: str) -> str:
        """Return the last value of a flag; empty if it is not set."""
        return next((value for flag, value in reversed(self.flags) if flag == name), "")


def read_command(tree: Tree) -> Observation[KubeletCommand]:
    """Return the flags of the kubelet: of its process if it runs, else of its unit.

    Absent if no kubelet is installed. Unknown if it is part of another program.
    """
    return tree.once(_read_command)


def _read_command(tree: Tree) -> Observation[KubeletCommand]:
    running = _read_process(tree) if isinstance(tree, Machine) else None
    if running:
        return running
    from nodespec.checks._systemd_command import read_service_command  # noqa: PLC0415

    command = read_service_command(tree, UNIT, "kubelet")
    if isinstance(command, Value):
        return Value(KubeletCommand(parse_flags(command.value.words[1:]), command.value.at), command.value.at)
    return command if isinstance(command, Unknown) else _explain_missing(tree, command)


def _explain_missing(tree: Tree, unit: Absent) -> Union[Absent, Unknown]:
    """Return why no unit starts a kubelet."""
    for name, program in EMBEDDING.items():
        if isinstance(_systemd_units.find_unit_file(tree, name), Value):
            return Unknown("unsupported", f"{name}: {program} starts the kubelet; its arguments are not read")
    path = _program_places.find_program(tree, "kubelet")
    if not isinstance(path, Value):
        return path._replace(say="the kubelet is not installed") if isinstance(path, Absent) else path
    message = f"{path.value} does not run, and {unit.say}"
    return Unknown("not found", message, "start the kubelet") if tree.running else Unknown(DEFERRED, message)


def _read_process(machine: Machine) -> Optional[Observation[KubeletCommand]]:
    """Return the flags of the running kubelet; None if none runs.

    Kubelets in containers do not count. They have another root file system.
    """
    names, init = machine.names("/proc"), machine.line("/proc/1/comm")
    if not isinstance(names, Value):
        return names
    if isinstance(init, Unknown):  # Then other processes may be hidden as well.
        return init
    found: List[Observation[KubeletCommand]] = []
    for process in filter(str.isdigit, names.value):
        name = machine.line(f"/proc/{process}/comm")
        if isinstance(name, Value) and name.value == "kubelet" and len(found) < MAX_PROCESSES:
            command = _read_process_flags(machine, f"/proc/{process}")
            found += [command] if command else []
    if len(found) > 1:
        places = ", ".join(str(one.evidence) for one in found if isinstance(one, Value))
        return Unknown("unsupported", f"several kubelets run: {places}", "stop all but one")
    return found[0] if found else None


def _read_process_flags(machine: Machine, folder: str) -> Optional[Observation[KubeletCommand]]:
    """Return the flags of a process; None if it has another root file system or has ended."""
    root, own = (machine.text(f"{place}/mountinfo").then(_find_root_mount) for place in (folder, machine.process))
    if isinstance(root, Absent) or (isinstance(root, Value) and isinstance(own, Value) and root.value != own.value):
        return None
    if not isinstance(root, Value) or not isinstance(own, Value):
        return root if isinstance(root, Unknown) else own if isinstance(own, Unknown) else None
    line = machine.read(f"{folder}/cmdline", MAX_COMMAND_BYTES)
    if isinstance(line, Absent):
        return None
    at = Evidence(f"{folder}/cmdline")
    return line.then(lambda data: KubeletCommand(parse_flags(split_arguments(data)[1:]), at))


def _find_root_mount(text: str) -> Tuple[str, str]:
    """Return the device and the root of the mount at `/` in a mountinfo; the last one is on top."""
    fields = [line.split(" ", 5) for line in text.split("\n")]
    return [(one[2], one[3]) for one in fields if len(one) > 5 and one[4] == "/"][-1]  # noqa: PLR2004 - the sixth field begins the options


def split_arguments(data: bytes) -> Tuple[str, ...]:
    """Split the arguments of a process. Each ends with a NUL."""
    return tuple(decode_host_text(word) for word in data.split(b"\0")[:-1])


def parse_flags(words: Sequence[str]) -> Tuple[Tuple[str, str], ...]:
    """Parse flags as the library pflag does: `--a=1 --b 2 --c -v 2`.

    A flag without a value is `true`. In names `_` is `-`. Words that are not flags are skipped.
    """
    flags: List[Tuple[str, str]] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = name.replace("_", "-")
        if not equals and word[:2] != "--" and len(name) > 1:  # -v2
            name, equals, value = name[0], "=", name[1:]
        if not equals and _takes_value(name) and position < len(words):
            value = words[position]
            position += 1
        elif not equals:
            value = "true"
        flags.append((name, value))
    return tuple(flags)


def _takes_value(name: str) -> bool:
    """Return whether a flag takes the next word: every flag that is not a Boolean does."""
    if name in SWITCHES:
        return False
    return all(field.kind != "boolean" for field in load_fields().values() if field.flag == name)
