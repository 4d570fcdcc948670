"""Control groups of the next boot: version by init system, controllers by kernel.

systemd has a built-in default that its library names. From version 256 on the default is version 2 for every build, and
from 258 on version 1 is not supported. If the command line is not known, it is assumed to set nothing here.
"""

from __future__ import annotations

import re

from nodespec.checks import (
    _boot_cmdline,
    _init_system,
    _kernel_config,
    _kernel_names,
    _kernel_release,
    _kernel_version,
    _systemd_units,
)
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Iterator, Mapping, Tuple, Union

LIBRARY = "libsystemd-shared-"
LIBRARIES = ("/usr/lib", "/lib", "/usr/lib64")  # in the folder of systemd there, or one below that of an architecture
OPENRC = "/etc/rc.conf"
OBSOLETE, REMOVED = 256, 258  # releases of systemd: version 1 is obsolete, then removed
V2 = {
    "cpu": "CGROUP_SCHED",
    "cpuset": "CPUSETS",
    "dmem": "CGROUP_DMEM",
    "hugetlb": "CGROUP_HUGETLB",
    "io": "BLK_CGROUP",
    "memory": "MEMCG",
    "misc": "CGROUP_MISC",
    "pids": "CGROUP_PIDS",
    "rdma": "CGROUP_RDMA",
}
V1 = {
    **{name: option for name, option in V2.items() if name not in ("io", "dmem")},
    "blkio": "BLK_CGROUP",
    "cpuacct": "CGROUP_CPUACCT",
    "devices": "CGROUP_DEVICE",
    "freezer": "CGROUP_FREEZER",
    "net_cls": "CGROUP_NET_CLASSID",
    "net_prio": "CGROUP_NET_PRIO",
    "perf_event": "CGROUP_PERF",
}
SINCE = {"devices": (4, 15), "freezer": (5, 2)}  # Linux release with the feature on version 2, where no list has it
NEEDS = {"devices": "CGROUP_BPF", "freezer": "CGROUPS"}  # build options that they need
# Linux 6.11 and 6.12 moved version 1 of these to separate options
SEPARATE = {"memory": "MEMCG_V1", "cpuset": "CPUSETS_V1"}
WORDS = {"hybrid": "hybrid", "legacy": "1", "unified": "2"}
REFUSED_START = "refuses"
TRUE, FALSE = ("", "1", "yes", "y", "true", "t", "on"), ("0", "no", "n", "false", "f", "off")


def resolve_cgroup_version(tree: Tree) -> Observation[str]:
    """Return 1, 2 or hybrid, as the init system mounts them; absent without support."""
    return tree.once(_resolve_cgroup_version)


def resolve_bindings(tree: Tree) -> Observation[Mapping[str, Observation[str]]]:
    """Return the version that each controller is bound to, or why it is not bound."""
    return tree.once(_resolve_bindings)


def _resolve_cgroup_version(tree: Tree) -> Observation[str]:
    release, system = _kernel_version.read_kernel_release(tree), _init_system.detect_init_system(tree)
    if isinstance(release, Unknown):
        return release
    built = _read_build_option(tree, "CGROUPS")
    if isinstance(built, Value) and built.value == "n":
        return Absent(built.evidence, "the kernel was built without control groups")
    if isinstance(system, Value) and system.value == "systemd":
        return _resolve_by_systemd(tree)
    if isinstance(system, Value) and system.value == "openrc":
        return _resolve_by_openrc(tree)
    return system if isinstance(system, Unknown) else _defer("the init system that mounts control groups is not known")


def _resolve_by_systemd(tree: Tree) -> Observation[str]:
    library = next(iter(_find_systemd_libraries(tree)), None)
    if not library:
        return _defer("systemd's library, which has the default version, not found")
    path, number = library
    parameters = _read_boot_parameters(tree)
    if isinstance(parameters, Unknown):
        return parameters
    default = (
        Value("unified", Evidence(path, inferred=True)) if number >= OBSOLETE else _read_default_hierarchy(tree, path)
    )
    asked = _parse_requested_version(parameters[0], number, default.value if isinstance(default, Value) else "")
    if asked == REFUSED_START:
        return _defer(f"systemd {number} does not support version 1, which the kernel command line requests")
    return Value(asked, parameters[1]) if asked else default.then(lambda word: WORDS[word])


def _parse_requested_version(parameters: Mapping[str, str], number: int, default: str) -> str:
    """Return the version on the command line; empty if it keeps the default."""
    asked = parameters.get("systemd.unified_cgroup_hierarchy")
    if number >= REMOVED or (asked is None and parameters.get("cgroup_no_v1") != "all"):
        return ""
    if asked not in FALSE:
        return "2"
    forced = parameters.get("SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE") in TRUE
    return REFUSED_START if number >= OBSOLETE and not forced else _parse_legacy_layout(parameters, default)


def _parse_legacy_layout(parameters: Mapping[str, str], default: str) -> str:
    """Return what is mounted instead of version 2 alone."""
    asked = parameters.get("systemd.legacy_systemd_cgroup_controller")
    if asked in TRUE:
        return "1"
    return "1" if asked is None and default == "legacy" else "hybrid"


def _read_default_hierarchy(tree: Tree, path: str) -> Observation[str]:
    """Return the word after `default-hierarchy=` in the features of a library."""
    data = tree.read(path)
    if not isinstance(data, Value):
        return data
    match = re.search(rb"default-hierarchy=(hybrid|legacy|unified)\b", data.value)
    if not match:
        return _defer(f"{path} has no default-hierarchy")
    return Value(match[1].decode(), Evidence(path, inferred=True))


def _find_systemd_libraries(tree: Tree) -> Iterator[Tuple[str, int]]:
    """Yield systemd's own library and its version: libsystemd-shared-252.so."""
    for folder in LIBRARIES:
        names = tree.names(folder)
        below = [name for name in names.value if "-linux-" in name] if isinstance(names, Value) else []
        for place in (f"{folder}/systemd", *(f"{folder}/{name}/systemd" for name in below)):
            files = tree.names(place)
            for name in files.value if isinstance(files, Value) else ():
                number = re.match(rf"{LIBRARY}(\d{{1,6}})\b", name)
                if number and name.endswith(".so"):
                    yield f"{place}/{name}", int(number[1])


def _resolve_by_openrc(tree: Tree) -> Observation[str]:
    text = _systemd_units.read_optional_text(tree, OPENRC)
    for number, line in _systemd_units.list_content_lines(text.value) if isinstance(text, Value) else ():
        word = re.fullmatch(r"rc_cgroup_mode=[\"']?(hybrid|legacy|unified)[\"']?", line)
        if word:
            return Value(WORDS[word[1]], Evidence(OPENRC, number))
    return text if isinstance(text, Unknown) else _defer(f"rc_cgroup_mode is not set in {OPENRC}")


def _read_boot_parameters(tree: Tree) -> Union[Tuple[Dict[str, str], Evidence], Unknown]:
    line = _boot_cmdline.resolve_cmdline(tree)
    unknown = _boot_cmdline.find_open_parameter(
        tree, "cgroup*", "systemd.unified*", "systemd.legacy*", "SYSTEMD_CGROUP*"
    )
    if unknown:
        return unknown
    if isinstance(line, Value):
        values = _kernel_names.collect_values(line.value.text).items()
        joined = {name: ",".join(value) if isinstance(value, frozenset) else value for name, value in values}
        return joined, line.evidence._replace(inferred=True)
    return {}, Evidence(_init_system.INIT, inferred=True)


def _resolve_bindings(tree: Tree) -> Observation[Mapping[str, Observation[str]]]:
    mounted, parameters = resolve_cgroup_version(tree), _read_boot_parameters(tree)
    if not isinstance(mounted, Value):
        return mounted
    if isinstance(parameters, Unknown):
        return parameters
    bound = "v2" if mounted.value == "2" else "v1"
    options = V2 if bound == "v2" else V1
    rows: Dict[str, Observation[str]] = {
        name: _resolve_binding(tree, name, option, bound) for name, option in options.items()
    }
    rows.update((name, _resolve_uncontrolled(tree, name)) for name in SINCE if bound == "v2")
    disabled = _parse_name_list(parameters[0], "cgroup_disable")
    for name in rows:
        if name in disabled or (name in ("io", "blkio") and disabled & {"io", "blkio"}):
            message = f"disabled by cgroup_disable={name} on the kernel command line"
            rows[name] = Absent(parameters[1]._replace(inferred=False), message)
    if (
        _is_raspberry_pi(tree)
        and "memory" not in _parse_name_list(parameters[0], "cgroup_enable")
        and isinstance(rows["memory"], Value)
    ):
        rows["memory"] = _defer("a Raspberry Pi requires cgroup_enable=memory, which its firmware may add")
    return Value(rows, mounted.evidence)


def _parse_name_list(parameters: Mapping[str, str], name: str) -> FrozenSet[str]:
    return frozenset(filter(None, parameters.get(name, "").split(",")))


def _is_raspberry_pi(tree: Tree) -> bool:
    release = _kernel_version.read_kernel_release(tree)
    return isinstance(release, Value) and bool(re.search("rpi|rpt|raspi", release.value))


def _resolve_binding(tree: Tree, name: str, option: str, bound: str) -> Observation[str]:
    for candidate in (option, SEPARATE.get(name, "") if bound == "v1" else ""):
        built = _read_build_option(tree, candidate) if candidate else None
        if isinstance(built, Unknown):
            return built
        off = ("n", "undefined") if candidate == option else ("n",)
        if isinstance(built, Value) and built.value in off:
            return Absent(built.evidence, f"the kernel was built without {candidate}")
    at = _read_build_option(tree, option)
    return Value(bound, at.evidence._replace(inferred=True)) if isinstance(at, Value) else at


def _resolve_uncontrolled(tree: Tree, name: str) -> Observation[str]:
    """Return what version 2 has without a controller, by configuration and version.

    An older kernel may have it by a backport, such as Red Hat's 4.18.
    """
    built = _read_build_option(tree, NEEDS[name])
    if isinstance(built, Value) and built.value in ("n", "undefined"):
        return Absent(built.evidence, f"the kernel was built without {NEEDS[name]}")
    version = _kernel_release.resolve_version_at_rest(tree)
    if not isinstance(version, Value):
        return version
    numbers = tuple(map(int, re.findall(r"\d+", version.value)[:2]))
    if numbers >= SINCE[name]:
        return Value("v2", version.evidence._replace(inferred=True))
    return _defer(f"Linux {version.value} has it only with a backport")


def _read_build_option(tree: Tree, name: str) -> Observation[str]:
    return _kernel_config.read_options_at_rest(tree).observe(name)


def _defer(why: str) -> Unknown:
    return Unknown(DEFERRED, f"only a running machine can tell: {why}")
