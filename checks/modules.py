"""Kernel modules: what of the kernel's code is in it, or can be brought into it."""

from __future__ import annotations

import re
from typing import Dict, Mapping, NamedTuple, Optional, Tuple, Union

from nodespec.checks import _configuration, _inference, _kernel, kernel
from nodespec.facts import Rows, table
from nodespec.kinds import Choice
from nodespec.machine import Machine
from nodespec.observation import Absent, Evidence, Observation, Unknown, Value

SYSFS, DISABLED = "/sys/module", "/proc/sys/kernel/modules_disabled"
# modprobe.d: the first folder that has a file of a name hides those of that name in the others
FOLDERS = (
    "/etc/modprobe.d",
    "/run/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/usr/lib/modprobe.d",
    "/lib/modprobe.d",
)


def _key(name: str) -> str:
    if not re.fullmatch(r"[\w+.-]{1,64}", name, re.ASCII):
        raise ValueError(f"`{name}` is not the name of a module: letters, digits, _ and -")
    return _kernel.named(name)


@table(
    Choice("blocked", "loadable", "builtin", "loaded", ranked=True, usable=("loaded", "builtin", "loadable")),
    sources=(
        _kernel.LOADED,
        f"{SYSFS}/*",
        *(f"{tree}/*" for tree in _kernel.TREES),
        *(f"{folder}/*" for folder in FOLDERS),
        DISABLED,
        kernel.CMDLINE,
        *_configuration.FILES,
        *_inference.SOURCES,
    ),
    noun="module",
    key=_key,
    closed=True,
    fix="modprobe {key}, and name it in /etc/modules-load.d for the next boot; where there is no such module, install"
    " the kernel's modules or boot a kernel that has it",
)
def modules(machine: Machine) -> Rows[str]:
    """Each module: loaded, builtin, loadable or blocked; `usable` is any of the first three. `-` and `_` are one.

    loaded is what /proc/modules lists, builtin what modules.builtin of the running release does (/lib/modules/RELEASE),
    loadable what modules.dep does; before depmod ran, what modules.order does and is there. A module of neither list is
    absent: the kernel was built without it, or its package is not installed.

    blocked is what is there and may not be loaded: modprobe.d has `install NAME /bin/false` (or true), the command line
    has module_blacklist=NAME, or kernel.modules_disabled is 1. `blacklist NAME` in modprobe.d blocks nothing: it stops
    only that the module comes by itself, by an alias or at boot from modules-load.d; `modprobe NAME` still loads it.

    Without a module tree only what is in the kernel can be seen: by /sys/module, which shows built-in code that has
    parameters, and by the kernel's configuration. The rest is unknown, except on a kernel that loads no modules, where
    what the configuration leaves out is absent.
    """
    return Rows(lambda name: _row(machine, name), lambda: _every(machine), _rest(machine))


def _row(machine: Machine, name: str) -> Optional[Observation[str]]:
    loaded, builtin = machine.once(_kernel.loaded), machine.once(_kernel.builtin)
    if isinstance(loaded, Value) and name in loaded.value:
        return Value("loaded", Evidence(_kernel.LOADED, loaded.value[name].line))
    if isinstance(builtin, Value) and name in builtin.value:
        return Value("builtin", builtin.evidence._replace(line=builtin.value[name]))
    if not isinstance(loaded, Value) or not isinstance(builtin, Value):
        shown = _in_sysfs(machine, name) or _configured(machine, name)
        if shown:
            return shown
    return _loadable(machine, name) or _in_sysfs(machine, name)


def _in_sysfs(machine: Machine, name: str) -> Optional[Value[str]]:
    """What is loaded has a state there; what is built in stands there if it has parameters."""
    folder = f"{SYSFS}/{name}"
    if not isinstance(machine.entry(folder), Value):
        return None
    state = machine.entry(f"{folder}/initstate")
    if isinstance(state, Unknown):
        return None
    return Value("loaded" if isinstance(state, Value) else "builtin", Evidence(folder, inferred=True))


def _configured(machine: Machine, name: str) -> Optional[Observation[str]]:
    """What the kernel's configuration says, where its lists of modules do not."""
    option = _inference.option_of(name)
    if not option:
        return None
    built = kernel.config.probe(machine).look(option)
    if not isinstance(built, Value):
        return None
    at, say = built.evidence._replace(inferred=True), f"built without {option}"
    if built.value == "y" and not built.others:
        return Value("builtin", at)
    may_be_built = {"y", "m"} & {str(built.value), *map(str, built.others)}
    none = isinstance(machine.once(_kernel.loaded), Absent) and not may_be_built
    return Absent(at, say) if none else None


def _loadable(machine: Machine, name: str) -> Optional[Observation[str]]:
    """What the tree has, unless something keeps it from being loaded."""
    installed, built = machine.once(_kernel.installed), machine.once(_kernel.built)
    there: Optional[Value[str]] = None
    if isinstance(installed, Value) and name in installed.value:
        there = Value("loadable", installed.evidence._replace(line=installed.value[name]))
    elif isinstance(built, Value) and name in built.value:
        at = built.evidence._replace(line=built.value[name])
        if isinstance(installed, Value) or not _has_file(machine, at):
            return Absent(at, "this kernel's build has it, and it is not installed")
        there = Value("loadable", at)
    if not there:
        return None
    if isinstance(machine.once(_kernel.loaded), Absent):
        return Absent(Evidence(_kernel.LOADED), "this kernel loads no modules")
    return _allowed(machine, name, there)


def _has_file(machine: Machine, at: Evidence) -> bool:
    """Whether the file that a line of modules.order names is there, packed or not."""
    text, folder = machine.text(at.source), at.source.rpartition("/")[0]
    path = text.value.split("\n")[at.line - 1].strip() if isinstance(text, Value) else ""
    stem = path.rpartition(".")[0]
    return any(isinstance(machine.entry(f"{folder}/{stem}.ko{packed}"), Value) for packed in ("", ".xz", ".zst", ".gz"))


def _allowed(machine: Machine, name: str, there: Value[str]) -> Observation[str]:
    commands = machine.once(_commands)
    bans = machine.once(_bans)
    if name in bans or "" in bans:
        return Value("blocked", bans.get("", bans.get(name, there.evidence)))
    if isinstance(commands, Unknown):
        return commands
    for command in commands:  # modprobe takes the first
        if _matches(name, command.pattern):
            return Value("blocked", command.evidence) if command.blocks else there
    return there


def _every(machine: Machine) -> Mapping[str, Observation[str]]:
    lists = (machine.once(_kernel.loaded), machine.once(_kernel.builtin), machine.once(_kernel.installed))
    names = {name for found in lists if isinstance(found, Value) for name in found.value}
    built, shown = machine.once(_kernel.built), machine.names(SYSFS)
    if isinstance(built, Value) and not isinstance(lists[2], Value):
        names |= set(built.value)
    if isinstance(shown, Value):
        names |= set(shown.value)
    rows = {name: _row(machine, name) for name in sorted(names)}
    return {name: row for name, row in rows.items() if row and not isinstance(row, Absent)}


def _rest(machine: Machine) -> Union[Absent, Unknown]:
    """What any other name is: absent only if the lists of this kernel were looked through."""
    tree = machine.once(_kernel.tree)
    if isinstance(tree, Absent):
        look = "install the kernel's modules, or build them in"
        return Unknown("not found", f"{tree.evidence} does not exist", look)
    if isinstance(tree, Unknown):
        return tree
    lacking = machine.once(_kernel.builtin), machine.once(_kernel.installed), machine.once(_kernel.built)
    unread = next((look for look in lacking if isinstance(look, Unknown)), None)
    if unread:
        return unread
    if isinstance(lacking[0], Value) and any(isinstance(look, Value) for look in lacking[1:]):
        return Absent(tree.evidence)
    return Unknown("not found", f"{tree.value} lists no modules", "run depmod, or install the kernel's modules again")


def _bans(machine: Machine) -> Mapping[str, Evidence]:
    """Modules that the kernel itself refuses; the empty name is all of them."""
    bans: Dict[str, Evidence] = {}
    disabled, line = machine.line(DISABLED), machine.line(kernel.CMDLINE)
    if isinstance(disabled, Value) and disabled.value == "1":
        bans[""] = disabled.evidence
    for word in line.value.split() if isinstance(line, Value) else ():
        key, _, names = word.partition("=")
        if _kernel.named(key) == "module_blacklist":
            bans.update({_kernel.named(name): Evidence(kernel.CMDLINE) for name in names.split(",") if name})
    return bans


class Command(NamedTuple):
    """`install PATTERN COMMAND` of modprobe.d, run in place of loading."""

    pattern: str
    blocks: bool
    evidence: Evidence


def _commands(machine: Machine) -> Union[Tuple[Command, ...], Unknown]:
    """All of them in the order that modprobe reads; unknown if a file that may have one cannot be read."""
    files: Dict[str, str] = {}
    for folder in FOLDERS:
        listed = machine.names(folder)
        if isinstance(listed, Unknown):
            return listed
        if isinstance(listed, Value):
            for name in listed.value:
                files.setdefault(name, f"{folder}/{name}")
    found: Tuple[Command, ...] = ()
    for name in sorted(files):
        text = machine.text(files[name]) if name.endswith(".conf") else Absent(Evidence(files[name]))
        if isinstance(text, Unknown):
            return text
        if isinstance(text, Value):
            found += _installs(text.value, text.evidence)
    return found


_NOTHING = re.compile(r"(?:/\S*/)?(?:true|false|:|exit)(?:\s[^;&|]*)?")


def _installs(text: str, at: Evidence) -> Tuple[Command, ...]:
    found, number = [], 1
    for line in text.replace("\\\n", "\0").split("\n"):  # a line that ends with a backslash goes on
        words = line.replace("\0", " ").split(None, 2)
        if len(words) == 3 and words[0] == "install":  # noqa: PLR2004 - install, a name, a command
            blocks = bool(_NOTHING.fullmatch(words[2].strip()))
            found.append(Command(_kernel.named(words[1]), blocks, at._replace(line=number)))
        number += 1 + line.count("\0")
    return tuple(found)


def _matches(name: str, pattern: str) -> bool:
    if not set("*?[") & set(pattern):
        return name == pattern
    from fnmatch import fnmatchcase  # noqa: PLC0415 - patterns are rare

    return fnmatchcase(name, pattern)
