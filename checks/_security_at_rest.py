"""Security modules that the next boot enables: the kernel's option LSM, its command line, /etc/selinux/config.

https://docs.kernel.org/admin-guide/LSM/index.html
"""

from __future__ import annotations

from nodespec.checks import _boot_cmdline, _kernel_config, _kernel_names, _systemd_units
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, List, Union

    from nodespec.host.machine import Machine
    from nodespec.host.tree import Tree

CONFIG = "/etc/selinux/config"
FAPOLICYD_CONFIG = "/etc/fapolicyd/fapolicyd.conf"
PARAMETERS = ("lsm", "security", "apparmor", "selinux", "enforcing")
# Only one of these can be in force: the first in the order that is built and not disabled (LSM_FLAG_EXCLUSIVE).
EXCLUSIVE = {"selinux": "SECURITY_SELINUX", "apparmor": "SECURITY_APPARMOR", "smack": "SECURITY_SMACK"}
NONE = "none"


def resolve_apparmor(tree: Tree) -> Observation[str]:
    """Return the mode of AppArmor after the next boot."""
    major = resolve_major_module(tree)
    return major.then(lambda name: "enforce" if name == "apparmor" else "disabled")


def resolve_selinux(tree: Tree) -> Observation[str]:
    """Return the mode of SELinux after the next boot."""
    configured = tree.text(CONFIG, 1 << 16)
    if isinstance(configured, Absent):
        return Value("disabled", configured.evidence)
    mode = configured.then(_parse_mode)
    if not isinstance(mode, Value) or mode.value == "disabled":
        return mode
    major = resolve_major_module(tree)
    if not isinstance(major, Value) or major.value != "selinux":
        return major.then(lambda _: "disabled")
    parameters = _read_parameters(tree)
    if isinstance(parameters, Value) and "enforcing" in parameters.value:
        forced = parameters.value["enforcing"] != "0"
        return Value("enforcing" if forced else "permissive", parameters.evidence)
    return mode


def resolve_major_module(tree: Tree) -> Observation[str]:
    """Return which of SELinux, AppArmor and Smack the next boot enables, or `none`."""
    parameters = _read_parameters(tree)
    if not isinstance(parameters, Value):
        return parameters
    options = _kernel_config.read_options_at_rest(tree)
    default = options.observe("LSM")
    if isinstance(default, Unknown):
        return default
    given = parameters.value.get("lsm")
    order = _list_order(given, parameters.value.get("security", ""), default)
    if isinstance(order, Unknown):
        return order
    at = parameters.evidence if given or "security" in parameters.value else default.evidence
    for name in order:
        built = options.observe(EXCLUSIVE[name]) if name in EXCLUSIVE else None
        if isinstance(built, Unknown):
            return built
        if isinstance(built, Value) and built.value == "y" and parameters.value.get(name) != "0":
            return Value(name, at._replace(inferred=True))
    return Value(NONE, at._replace(inferred=True))


def _list_order(given: Union[str, None], chosen: str, default: Observation[str]) -> Union[List[str], Unknown]:
    """Return the modules in order; `chosen` by security= excludes the other exclusive ones."""
    if given is not None:
        return given.split(",")
    if not isinstance(default, Value) or default.value == "undefined":
        if chosen:
            return [chosen]
        return Unknown("unsupported", "the kernel has no option LSM, which Linux 5.1 introduced", "set security=")
    names = default.value.split(",")
    if not chosen:
        return names
    kept = [name for name in names if name not in EXCLUSIVE or name == chosen]
    return kept if chosen in kept else [*kept, chosen]


def resolve_fips(tree: Tree) -> Observation[bool]:
    """Return whether the next boot's command line has fips=1."""
    parameters = _read_parameters(tree, "fips")
    return parameters.then(lambda values: values.get("fips") == "1")


def _read_parameters(tree: Tree, *names: str) -> Observation[Dict[str, str]]:
    """Return the last value of each parameter of the next boot."""
    unknown = _boot_cmdline.find_open_parameter(tree, *(names or PARAMETERS))
    line = unknown or _boot_cmdline.resolve_cmdline(tree)
    return line.then(lambda known: dict(_kernel_names.parse_cmdline(known.text)))


def _parse_mode(text: str) -> str:
    """Parse the first valid `SELINUX=` as libselinux does. Raises ValueError."""
    for line in text.split("\n"):
        if line.startswith("SELINUX="):
            word = line.partition("=")[2].strip().lower()
            for mode in ("enforcing", "permissive", "disabled"):
                if word.startswith(mode):
                    return mode
    raise ValueError("no valid line SELINUX= found")


def is_fapolicyd_running(machine: Machine) -> Observation[bool]:
    """Return whether a process named fapolicyd runs."""
    names = machine.names("/proc")
    if not isinstance(names, Value):
        return names
    for name in filter(str.isdigit, names.value):
        comm = machine.line(f"/proc/{name}/comm")
        if isinstance(comm, Value) and comm.value == "fapolicyd":
            return Value(value=True, evidence=comm.evidence)
    init = machine.line("/proc/1/comm")  # If process 1 is visible, all processes are.
    return init if isinstance(init, Unknown) else Value(value=False, evidence=Evidence("/proc/*/comm"))


def read_fapolicyd(tree: Tree, active: Observation[bool]) -> Observation[str]:
    """Return the state of fapolicyd; `active` is whether it runs, or a boot starts it."""
    text = tree.text(FAPOLICYD_CONFIG, 1 << 16)
    if isinstance(active, Unknown) or not isinstance(text, Value):
        return active if isinstance(active, Unknown) and not isinstance(text, Absent) else text
    if isinstance(active, Absent) or not active.value:
        return Value("inactive", active.evidence)
    for _, line in _systemd_units.list_content_lines(text.value):
        name, _, value = line.partition("=")
        if (name.strip(), value.strip()) == ("permissive", "1"):
            return Value("permissive", text.evidence)
    return Value("enforcing", text.evidence)
