"""Build options inferred from the kernel if no configuration file exists.

At rest only the module tree is evidence. No system call tries a feature: files are read, and `_kernel_config_evidence`
lists the evidence. For an option that is off, `n` and `undefined` cannot be distinguished.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, FrozenSet, Iterable, Mapping, Optional, Tuple

from nodespec.checks import _kernel_version
from nodespec.checks._kernel_config_evidence import (
    ALIASES,
    ALSO,
    FILESYSTEMS,
    IMPLIED,
    MODULES,
    SIGNS,
    UNLISTED,
    WITHIN,
    Sign,
)
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import TypeAlias

Found: TypeAlias = "Optional[Value[str]]"  # None: not decided

KALLSYMS = "/proc/kallsyms"
NAMES = 64 << 20  # bytes; a kernel with all modules loaded has some 20 MiB
EVERY_KERNEL = frozenset({b"schedule", b"vfs_read"})  # without these the list is incomplete
if TYPE_CHECKING:
    from typing import TypeAlias


def option(machine: Tree, name: str) -> Found:
    """Return the inferred value of an option; None if no evidence decides."""
    return _at_rest(machine, name) if not isinstance(machine, Machine) else _live(machine, name)


def _live(machine: Machine, name: str) -> Found:
    if name in MODULES:
        return _module(machine, *MODULES[name])
    if name in WITHIN:
        return _within(machine, *WITHIN[name])
    if name in SIGNS:
        return _shown(machine, SIGNS[name])
    if name in IMPLIED:
        return _implied(machine, IMPLIED[name])
    if name in ALIASES:
        return _alias(machine, ALIASES[name])
    return _SINGULAR[name](machine) if name in _SINGULAR else None


def options(machine: Tree) -> Mapping[str, Observation[str]]:
    """Return all options that can be inferred."""
    names = sorted({*MODULES, *WITHIN, *SIGNS, *IMPLIED, *ALIASES, *_SINGULAR})
    found = {name: option(machine, name) for name in names}
    return {name: value for name, value in found.items() if value}


def option_of(module: str) -> Optional[str]:
    """Return the option that builds a module."""
    return next((name for name, (built, _) in MODULES.items() if built == ALSO.get(module, module)), None)


def _at_rest(tree: Tree, name: str) -> Found:
    """Return what the lists of modules show.

    Without the kernel's symbols, a name that is in no list proves nothing.
    """
    if name in IMPLIED:
        return _implied(tree, IMPLIED[name])
    return _listed(tree, MODULES[name][0]) if name in MODULES else None


def _listed(machine: Tree, module: str) -> Found:
    for look, told in ((_kernel_version.builtin, _on), (_kernel_version.built, _as_module)):
        lists = machine.once(look)
        if isinstance(lists, Value) and module in lists.value:
            return told(lists.evidence.source, lists.value[module])
    return None


def _on(path: str, line: int = 0) -> Value[str]:
    return Value("y", Evidence(path, line, inferred=True))


def _as_module(path: str, line: int = 0) -> Value[str]:
    return Value("m", Evidence(path, line, inferred=True))


def _off(path: str, line: int = 0) -> Value[str]:
    return Value("n", Evidence(path, line, inferred=True), ("undefined",))


def _module(machine: Machine, module: str, symbol: str) -> Found:
    """Infer an option that may be y or m: by the module tree, else by the kernel."""
    builtin, built, listed = (
        machine.once(_kernel_version.builtin),
        machine.once(_kernel_version.built),
        _listed(machine, module),
    )
    if listed:
        return listed
    # A module that later versions always build in is in neither list.
    if isinstance(builtin, Value) and isinstance(built, Value):
        symbols, shown = machine.once(_symbols), UNLISTED.get(module)
        if not symbols and shown:
            return _on(shown) if _has(machine, shown) else None
        return _on(KALLSYMS) if symbol.encode() in symbols else _off(built.evidence.source)
    return _running(machine, module, symbol)


def _running(machine: Machine, module: str, symbol: str) -> Found:
    """Infer the same without a module tree.

    A foreign module does not show how the kernel was built.
    """
    loaded = machine.once(_kernel_version.loaded)
    row = loaded.value.get(module) if isinstance(loaded, Value) else None
    if row:
        return None if row.foreign else _as_module(_kernel_version.LOADED, row.line)
    folder = f"/sys/module/{module}"
    if isinstance(machine.entry(folder), Value) and isinstance(machine.entry(f"{folder}/initstate"), Absent):
        return _on(folder)
    symbols = machine.once(_symbols)
    if symbol.encode() in symbols:
        return _on(KALLSYMS)
    if isinstance(loaded, Absent) and symbols:  # A kernel without loadable modules has all its code built in.
        return _off(KALLSYMS)
    if module != "ext2" and _has(machine, f"{FILESYSTEMS}:{module}"):  # ext4 may provide ext2.
        here = _on(FILESYSTEMS)
        return here if not isinstance(loaded, Unknown) else Value("y", here.evidence, ("m",))
    return None


def _within(machine: Machine, owner: str, symbol: str) -> Found:
    """Infer a part of a module, which is visible only while the module is loaded."""
    module, _ = MODULES[owner]
    whole, symbols = option(machine, owner), machine.once(_symbols)
    if whole and whole.value == "n":
        return whole
    loaded = machine.once(_kernel_version.loaded)
    if not symbols or not whole or whole.others:
        return None
    if whole.value == "m" and not (isinstance(loaded, Value) and module in loaded.value):
        return None
    name = symbol if whole.value == "y" else f"{symbol}\t[{module}]"
    return _on(KALLSYMS) if name.encode() in symbols else _off(KALLSYMS)


def _shown(machine: Machine, sign: Sign) -> Found:
    looks = [(path, _has(machine, path)) for path in sign.paths]
    for path, there in looks:
        if there:
            return _on(_path(machine, path)[0])
    if sign.all_of_it and all(there is False for _, there in looks):
        return _off(_path(machine, sign.paths[0])[0])
    symbols = machine.once(_symbols) if sign.symbol else ()
    if not symbols:
        return None
    return _on(KALLSYMS) if sign.symbol.encode() in symbols else _off(KALLSYMS)


def _path(machine: Machine, sign: str) -> Tuple[str, str]:
    path, _, word = sign.partition(":")
    return path.replace("~", machine.process), word


def _has(machine: Machine, sign: str) -> Optional[bool]:
    """Return whether a path exists or has a word; None if that cannot be observed."""
    path, word = _path(machine, sign)
    if word:
        text = machine.text(path)
        return word in text.value.split() if isinstance(text, Value) and text.value else None
    found = machine.entry(path, follow=False)
    if isinstance(found, Absent):
        return False if isinstance(machine.entry(_beside(machine, path)), Value) else None
    return True if isinstance(found, Value) else None


def _beside(machine: Machine, path: str) -> str:
    """Return the path whose presence makes an absence meaningful.

    A process can be hidden, and /proc/sys can be masked.
    """
    if path.startswith(machine.process):
        return f"{machine.process}/stat"
    return _kernel_version.OSRELEASE if path.startswith("/proc/sys/") else path.rpartition("/")[0]


def _symbols(machine: Machine) -> FrozenSet[bytes]:
    """Return the functions of the kernel; empty unless all are visible.

    A function of a module has a tab and `[module]` appended. Compilers append `.cold`, `.part.0` or `.llvm.123` to the
    names of code that they split or move.
    """
    read = machine.read(KALLSYMS, NAMES)
    if not isinstance(read, Value):
        return frozenset()
    start = read.value.find(b" ") + 3  # Lines have the form `ffffffff81000000 T _stext`.
    names = {line[start:] for line in read.value.split(b"\n")}
    names |= {name.partition(b".")[0] for name in names if b"." in name and b"\t" not in name}
    return frozenset(names) if names >= EVERY_KERNEL else frozenset()


def _implied(machine: Tree, by: Iterable[str]) -> Found:
    """Infer an option that others require; if all others are off, it stays unknown."""
    found = (option(machine, name) for name in by)
    return next((_on(*value.evidence[:2]) for value in found if value and value.value != "n"), None)


def _alias(machine: Machine, needs: Iterable[str]) -> Found:
    """Infer an older name of an option for the same module.

    It is off if an option that it needs is off; otherwise it is unknown.
    """
    found = (option(machine, name) for name in needs)
    return next((value for value in found if value and value.value == "n"), None)


def _aead(machine: Machine) -> Found:
    """Infer CRYPTO_AEAD, which GCM and other modes select.

    Its module belongs to CRYPTO_AEAD2, which is on whenever CRYPTO_AEAD is.
    """
    users = [option(machine, name) for name in ("CRYPTO_GCM", "CRYPTO_SEQIV", "CRYPTO_CCM")]
    on = [value for value in users if value and value.value != "n"]
    if any(value.value == "y" and not value.others for value in on):
        return _on(*next(value for value in on if value.value == "y").evidence[:2])
    if on:
        return Value("m", on[0].evidence, ("y",))
    follower = option(machine, "CRYPTO_AEAD2")
    return follower if follower and follower.value == "n" else None


def _ext4_for_ext2(machine: Machine) -> Found:
    """Infer the option that lets ext4 handle ext2.

    It is offered only without the driver for ext2; then ext4 handles ext2 once it is in the kernel.
    """
    ext2, ext4 = option(machine, "EXT2_FS"), option(machine, "EXT4_FS")
    if ext2 and ext2.value != "n":
        return _off(*ext2.evidence[:2])
    if not ext2 or not ext4 or ext4.value == "n":
        return ext4 if ext4 and ext4.value == "n" else None
    if _has(machine, f"{FILESYSTEMS}:ext2"):
        return _on(FILESYSTEMS)
    return _off(FILESYSTEMS) if _has(machine, f"{FILESYSTEMS}:ext4") else None


def _no_vsyscall(machine: Machine) -> Found:
    """Infer the vsyscall option of x86-64.

    Either every 64-bit process has the page or none has; the command line may have decided it.
    """
    maps, symbols = machine.text("~/maps".replace("~", machine.process)), machine.once(_symbols)
    chosen = _words(machine, "/proc/cmdline", "vsyscall=")
    if not isinstance(maps, Value) or b"map_vsyscall" not in symbols or chosen != ():
        return None
    if "[vsyscall]" in maps.value:
        return _off(maps.evidence.source)
    wide = any(len(line.partition("-")[0]) > len("ffffffff") for line in maps.value.split("\n"))
    return _on(maps.evidence.source) if wide else None


def _psi_disabled(machine: Machine) -> Found:
    """Infer PSI_DEFAULT_DISABLED.

    Without psi= on the command line, /proc/pressure exists unless it is off by default.
    """
    psi = option(machine, "PSI")
    if not psi or psi.value == "n" or _words(machine, "/proc/cmdline", "psi=") != ():
        return psi if psi and psi.value == "n" else None
    there = _has(machine, "/proc/pressure")
    return None if there is None else _off("/proc/pressure") if there else _on("/proc/pressure")


def _words(machine: Machine, path: str, start: str) -> Optional[Tuple[str, ...]]:
    text = machine.text(path)
    return tuple(w for w in text.value.split() if w.startswith(start)) if isinstance(text, Value) else None


_SINGULAR = {
    "CRYPTO_AEAD": _aead,
    "EXT4_USE_FOR_EXT2": _ext4_for_ext2,
    "LEGACY_VSYSCALL_NONE": _no_vsyscall,
    "PSI_DEFAULT_DISABLED": _psi_disabled,
}
