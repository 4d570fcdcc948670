"""Kernel parameters as the next boot sets them: by files of sysctl.d, by defaults of the kernel, by what modules bring.

systemd-sysctl reads sysctl.d alone; `sysctl --system`, which other init systems run, reads /etc/sysctl.conf after it.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Dict, Iterable, Iterator, List, Mapping, Optional, Tuple

from nodespec.checks import _boot_services, _init_system, _kernel, _units
from nodespec.checks.sysctl import SWAP
from nodespec.named import NamedTuple
from nodespec.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value
from nodespec.tree import Tree

FOLDERS, FILE = _units.folders("sysctl.d"), "/etc/sysctl.conf"
LOADS = _units.folders("modules-load.d")
SERVICE = "systemd-sysctl.service"


class Assignment(NamedTuple):
    """A line of a file. `path` is below /proc/sys, perhaps with wildcards; without a value it is exempt from these."""

    path: str
    value: Optional[str]
    at: Evidence


class Assigned(NamedTuple):
    """What the files assign, by path, in the order in which it is written to the kernel."""

    by_path: Mapping[str, Assignment]

    def look(self, key: str) -> Optional[Value[str]]:
        """What a parameter is left with. What it is set to by name counts more than any wildcard."""
        path = key.translate(SWAP)
        names, general, last, before = (FORWARDING if path in FORWARDING else (path,)), GENERAL.get(path, ()), None, "0"
        for one in self.by_path.values():
            if one.value is None:
                continue
            if self._sets(one, names):
                last = Value(one.value, one.at)
            elif self._sets(one, general):
                if one.value != before:
                    last = Value(one.value, one.at._replace(inferred=True))
                before = one.value
        return last

    def named(self) -> Iterator[str]:
        """The parameters that are assigned by name."""
        return (one.path.translate(SWAP) for one in self.by_path.values() if one.value is not None)

    def _sets(self, one: Assignment, names: Tuple[str, ...]) -> bool:
        return any(one.path == name or (name not in self.by_path and _fits(name, one.path)) for name in names)


# One and the same value; what is new there goes on to interfaces that are yet to come, and systemd writes nothing else
FORWARDING = ("net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding")
GENERAL = {
    "net/ipv4/conf/default/forwarding": FORWARDING,
    "net/ipv6/conf/default/forwarding": ("net/ipv6/conf/all/forwarding",),
}


def _fits(path: str, pattern: str) -> bool:
    """Whether a pattern matches, as in a shell: a wildcard stands for nothing beyond a slash."""
    if not set("*?[") & set(pattern):
        return False
    names, patterns = path.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatchcase, names, patterns))


def assigned(tree: Tree) -> Observation[Assigned]:
    """All assignments of the files that count."""
    return tree.once(_assigned)


def _assigned(tree: Tree) -> Observation[Assigned]:
    paths = _paths(tree)
    if not isinstance(paths, Value):
        return paths
    found: List[Assignment] = []
    for path in paths.value:
        text = _units.said(tree, path)
        if not isinstance(text, Value):
            return text
        found += _assignments(path, text.value)
    return Value(_ordered(found), paths.evidence)


def _ordered(assignments: Iterable[Assignment]) -> Assigned:
    """Each path once, in the place of its last value: to say that again changes nothing."""
    found: Dict[str, Assignment] = {}
    for one in assignments:
        if one.path in found and found[one.path].value != one.value:
            del found[one.path]
        found[one.path] = one
    return Assigned(found)


def _paths(tree: Tree) -> Observation[Tuple[str, ...]]:
    """The files that count, in the order in which they are read: which those are is for the init system to say."""
    reads, files = _boot_services.reads(tree, "sysctl"), _units.merged(tree, FOLDERS)
    if isinstance(reads, Absent):
        return _boot_services.no_init("read sysctl.d")
    if not isinstance(reads, Value) or not isinstance(files, Value):
        return files if isinstance(reads, Value) else reads
    if not reads.value:
        return Value((), reads.evidence)
    system = _init_system.init(tree)
    ours = isinstance(system, Value) and system.value == "systemd"
    return files if ours else Value((*files.value, FILE), files.evidence)


def _assignments(path: str, text: str) -> Iterator[Assignment]:
    """`-` in front means that it may fail; without a `=` that wildcards leave the parameter as it is."""
    for number, line in _units.lines(text):
        name, equals, value = line.partition("=")
        if equals or line[0] == "-":
            name = name.strip()[line[0] == "-" :].strip()
            yield Assignment(_path(name), " ".join(value.split()) if equals else None, Evidence(path, number))


def _path(name: str) -> str:
    """A name as a path below /proc/sys: the first separator decides."""
    slashed = re.match(r"[^./]*/", name)
    path = name if slashed else name.translate(SWAP)
    return "/".join(filter(None, path.split("/")))


# what every kernel begins with since 4.19, whatever it was built with and whatever machine it runs on
DEFAULTS = {
    "fs.inotify.max_queued_events": "16384",
    "fs.inotify.max_user_instances": "128",
    "kernel.keys.maxbytes": "20000",
    "kernel.keys.maxkeys": "200",
    "kernel.keys.root_maxbytes": "25000000",
    "kernel.keys.root_maxkeys": "1000000",
    "net.bridge.bridge-nf-call-arptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.ipv4.conf.all.forwarding": "0",
    "net.ipv4.conf.default.forwarding": "0",
    "net.ipv4.ip_forward": "0",
    "net.ipv4.ip_local_port_range": "32768 60999",
    "net.ipv4.ip_nonlocal_bind": "0",
    "net.ipv4.ip_unprivileged_port_start": "1024",
    "net.ipv6.conf.all.forwarding": "0",
    "net.ipv6.conf.default.forwarding": "0",
    "vm.max_map_count": "65530",
    "vm.overcommit_memory": "0",
    "vm.overcommit_ratio": "50",
    "vm.panic_on_oom": "0",
    "vm.swappiness": "60",
}
BUILT = {"kernel.panic": "PANIC_TIMEOUT", "kernel.panic_on_oops": "PANIC_ON_OOPS_VALUE"}  # options that decide


# and by what on the command line
GIVEN = {"kernel.panic": ("panic", r"(-?\d+)"), "kernel.panic_on_oops": ("oops", "(panic)")}


def default(tree: Tree, key: str, at: Evidence) -> Optional[Observation[str]]:
    """What the kernel begins with, where that is known."""
    given = _given(tree, key)
    if given:
        return given
    if key in DEFAULTS:
        return Value(DEFAULTS[key], at._replace(line=0, inferred=True))
    if key not in BUILT:
        return None
    from nodespec.checks import kernel  # noqa: PLC0415 - for two parameters

    config = kernel.config.resting
    said = config(tree).look(BUILT[key]) if config else None
    if not isinstance(said, Value) or not re.fullmatch(r"-?\d+", str(said.value)):
        return None
    return Value(str(said.value), said.evidence._replace(inferred=True))


def _given(tree: Tree, key: str) -> Optional[Value[str]]:
    """What the command line says: `sysctl.vm.swappiness=10`, or by a word of its own."""
    from nodespec.checks import _command_line  # noqa: PLC0415 - not for a machine that runs

    line = _command_line.next_line(tree)
    if not isinstance(line, Value):
        return None
    said = dict(_kernel.parameters(line.value.text))
    if f"sysctl.{key}".replace("-", "_") in said:
        return Value(said[f"sysctl.{key}".replace("-", "_")], line.evidence)
    word, form = GIVEN.get(key, ("", ""))
    found = re.fullmatch(form, said[word]) if word in said else None
    return Value(found[1].replace("panic", "1"), line.evidence) if found else None


def loader(tree: Tree) -> Observation[str]:
    """The program that the kernel starts to load modules, as files set kernel.modprobe; absent where none does."""
    key = "kernel.modprobe"
    files = assigned(tree)
    said = (files.value.look(key) if isinstance(files, Value) else None) or _given(tree, key)
    if said:
        return said
    if isinstance(files, Unknown) and files.reason != DEFERRED:
        return files
    if isinstance(tree.entry("/nix/store"), Value):
        return Unknown(DEFERRED, "only a running machine can tell: NixOS sets kernel.modprobe when it boots")
    return Absent(Evidence(":".join(FOLDERS)))


# modules that are loaded only by who wants them; others may come with a device or a file system
WANTED = frozenset(("br_netfilter", "nf_conntrack", "ip_vs", "mpls_router", "sctp", "smc", "rds", "vrf"))


def lacking(tree: Tree, module: str) -> Optional[Observation[str]]:
    """Why a parameter that a module brings is not there after boot, or that this cannot be told; else nothing."""
    from nodespec.checks import modules  # noqa: PLC0415 - not for a machine that runs

    state = modules.state(tree, module)
    if not isinstance(state, Value):
        say = f"the module {module} brings it, and this kernel has none"
        return state._replace(say=say) if isinstance(state, Absent) else state
    if state.value in ("loaded", "builtin"):
        return None
    if state.value == "blocked":
        return Absent(state.evidence, f"the module {module} brings it, and may not be loaded")
    if module not in WANTED:
        return Unknown(DEFERRED, f"only a running machine can tell: the module {module} brings it")
    said = f"the module {module} brings it, and nothing loads that at boot: name it in a file of {LOADS[0]}"
    return Absent(Evidence(":".join(LOADS)), said)
