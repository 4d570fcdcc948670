"""Build options inferred from the kernel if no configuration file exists.

At rest only the module tree is evidence. No system call tries a feature: files are read, and `_kernel_config_evidence`
lists the evidence. For an option that is off, `n` and `undefined` cannot be distinguished.
"""

from __future__ import annotations

from nodespec.checks import _kernel_version
from nodespec.checks._kernel_config_evidence import (
    ALIASES,
    FILESYSTEMS,
    IMPLIED,
    MODULES,
    SAME_OPTION,
    SIGNS,
    UNLISTED,
    WITHIN,
    Sign,
)
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import FrozenSet, Iterable, Mapping, Optional, Tuple, TypeAlias

Inferred: TypeAlias = "Optional[Value[str]]"  # None: not decided

KALLSYMS = "/proc/kallsyms"
MAX_SYMBOLS_BYTES = 64 << 20  # bytes; a kernel with all modules loaded has some 20 MiB
EVERY_KERNEL = frozenset({b"schedule", b"vfs_read"})  # without these the list is incomplete
if TYPE_CHECKING:
    from typing import TypeAlias


def infer_option(machine: Tree, name: str) -> Inferred:
    """Return the inferred value of an option; None if no evidence decides."""
    return _infer_at_rest(machine, name) if not isinstance(machine, Machine) else _infer_running(machine, name)


def _infer_running(machine: Machine, name: str) -> Inferred:
    if name in MODULES:
        return _infer_module_option(machine, *MODULES[name])
    if name in WITHIN:
        return _infer_module_part(machine, *WITHIN[name])
    if name in SIGNS:
        return _infer_by_sign(machine, SIGNS[name])
    if name in IMPLIED:
        return _infer_implied(machine, IMPLIED[name])
    if name in ALIASES:
        return _infer_alias(machine, ALIASES[name])
    return _SPECIAL_OPTIONS[name](machine) if name in _SPECIAL_OPTIONS else None


def infer_options(machine: Tree) -> Mapping[str, Observation[str]]:
    """Return all options that can be inferred."""
    names = sorted({*MODULES, *WITHIN, *SIGNS, *IMPLIED, *ALIASES, *_SPECIAL_OPTIONS})
    values = {name: infer_option(machine, name) for name in names}
    return {name: value for name, value in values.items() if value}


def find_module_option(module: str) -> Optional[str]:
    """Return the option that builds a module."""
    return next((name for name, (built, _) in MODULES.items() if built == SAME_OPTION.get(module, module)), None)


def _infer_at_rest(tree: Tree, name: str) -> Inferred:
    """Return what the lists of modules show.

    Without the kernel's symbols, a name that is in no list proves nothing.
    """
    if name in IMPLIED:
        return _infer_implied(tree, IMPLIED[name])
    return _find_in_lists(tree, MODULES[name][0]) if name in MODULES else None


def _find_in_lists(machine: Tree, module: str) -> Inferred:
    for read_list, conclude in (
        (_kernel_version.list_builtin_modules, _conclude_builtin),
        (_kernel_version.list_shipped_modules, _conclude_module),
    ):
        lists = machine.once(read_list)
        if isinstance(lists, Value) and module in lists.value:
            return conclude(lists.evidence.source, lists.value[module])
    return None


def _conclude_builtin(path: str, line: int = 0) -> Value[str]:
    return Value("y", Evidence(path, line, inferred=True))


def _conclude_module(path: str, line: int = 0) -> Value[str]:
    return Value("m", Evidence(path, line, inferred=True))


def _conclude_off(path: str, line: int = 0) -> Value[str]:
    return Value("n", Evidence(path, line, inferred=True), ("undefined",))


def _infer_module_option(machine: Machine, module: str, symbol: str) -> Inferred:
    """Infer an option that may be y or m: by the module tree, else by the kernel."""
    builtin, built, listed = (
        machine.once(_kernel_version.list_builtin_modules),
        machine.once(_kernel_version.list_shipped_modules),
        _find_in_lists(machine, module),
    )
    if listed:
        return listed
    # A module that later versions always build in is in neither list.
    if isinstance(builtin, Value) and isinstance(built, Value):
        symbols, shown = machine.once(_read_symbols), UNLISTED.get(module)
        if not symbols and shown:
            return _conclude_builtin(shown) if _has_sign(machine, shown) else None
        return _conclude_builtin(KALLSYMS) if symbol.encode() in symbols else _conclude_off(built.evidence.source)
    return _infer_without_tree(machine, module, symbol)


def _infer_without_tree(machine: Machine, module: str, symbol: str) -> Inferred:
    """Infer the same without a module tree.

    A foreign module does not show how the kernel was built.
    """
    loaded = machine.once(_kernel_version.read_loaded_modules)
    row = loaded.value.get(module) if isinstance(loaded, Value) else None
    if row:
        return None if row.foreign else _conclude_module(_kernel_version.PROC_MODULES, row.line)
    folder = f"/sys/module/{module}"
    if isinstance(machine.entry(folder), Value) and isinstance(machine.entry(f"{folder}/initstate"), Absent):
        return _conclude_builtin(folder)
    symbols = machine.once(_read_symbols)
    if symbol.encode() in symbols:
        return _conclude_builtin(KALLSYMS)
    if isinstance(loaded, Absent) and symbols:  # A kernel without loadable modules has all its code built in.
        return _conclude_off(KALLSYMS)
    if module != "ext2" and _has_sign(machine, f"{FILESYSTEMS}:{module}"):  # ext4 may provide ext2.
        builtin = _conclude_builtin(FILESYSTEMS)
        return builtin if not isinstance(loaded, Unknown) else Value("y", builtin.evidence, ("m",))
    return None


def _infer_module_part(machine: Machine, owner: str, symbol: str) -> Inferred:
    """Infer a part of a module, which is visible only while the module is loaded."""
    module, _ = MODULES[owner]
    module_option, symbols = infer_option(machine, owner), machine.once(_read_symbols)
    if module_option and module_option.value == "n":
        return module_option
    loaded = machine.once(_kernel_version.read_loaded_modules)
    if not symbols or not module_option or module_option.others:
        return None
    if module_option.value == "m" and not (isinstance(loaded, Value) and module in loaded.value):
        return None
    name = symbol if module_option.value == "y" else f"{symbol}\t[{module}]"
    return _conclude_builtin(KALLSYMS) if name.encode() in symbols else _conclude_off(KALLSYMS)


def _infer_by_sign(machine: Machine, sign: Sign) -> Inferred:
    results = [(path, _has_sign(machine, path)) for path in sign.paths]
    for path, there in results:
        if there:
            return _conclude_builtin(_split_sign(machine, path)[0])
    if sign.all_of_it and all(there is False for _, there in results):
        return _conclude_off(_split_sign(machine, sign.paths[0])[0])
    symbols = machine.once(_read_symbols) if sign.symbol else ()
    if not symbols:
        return None
    return _conclude_builtin(KALLSYMS) if sign.symbol.encode() in symbols else _conclude_off(KALLSYMS)


def _split_sign(machine: Machine, sign: str) -> Tuple[str, str]:
    path, _, word = sign.partition(":")
    return path.replace("~", machine.process), word


def _has_sign(machine: Machine, sign: str) -> Optional[bool]:
    """Return whether a path exists or has a word; None if that cannot be observed."""
    path, word = _split_sign(machine, sign)
    if word:
        text = machine.text(path)
        return word in text.value.split() if isinstance(text, Value) and text.value else None
    entry = machine.entry(path, follow=False)
    if isinstance(entry, Absent):
        return False if isinstance(machine.entry(_find_guard_path(machine, path)), Value) else None
    return True if isinstance(entry, Value) else None


def _find_guard_path(machine: Machine, path: str) -> str:
    """Return the path whose presence makes an absence meaningful.

    A process can be hidden, and /proc/sys can be masked.
    """
    if path.startswith(machine.process):
        return f"{machine.process}/stat"
    return _kernel_version.OSRELEASE if path.startswith("/proc/sys/") else path.rpartition("/")[0]


def _read_symbols(machine: Machine) -> FrozenSet[bytes]:
    """Return the functions of the kernel; empty unless all are visible.

    A function of a module has a tab and `[module]` appended. Compilers append `.cold`, `.part.0` or `.llvm.123` to the
    names of code that they split or move.
    """
    read = machine.read(KALLSYMS, MAX_SYMBOLS_BYTES)
    if not isinstance(read, Value):
        return frozenset()
    start = read.value.find(b" ") + 3  # Lines have the form `ffffffff81000000 T _stext`.
    names = {line[start:] for line in read.value.split(b"\n")}
    names |= {name.partition(b".")[0] for name in names if b"." in name and b"\t" not in name}
    return frozenset(names) if names >= EVERY_KERNEL else frozenset()


def _infer_implied(machine: Tree, by: Iterable[str]) -> Inferred:
    """Infer an option that others require; if all others are off, it stays unknown."""
    values = (infer_option(machine, name) for name in by)
    return next((_conclude_builtin(*value.evidence[:2]) for value in values if value and value.value != "n"), None)


def _infer_alias(machine: Machine, needs: Iterable[str]) -> Inferred:
    """Infer an older name of an option for the same module.

    It is off if an option that it needs is off; otherwise it is unknown.
    """
    values = (infer_option(machine, name) for name in needs)
    return next((value for value in values if value and value.value == "n"), None)


def _infer_aead(machine: Machine) -> Inferred:
    """Infer CRYPTO_AEAD, which GCM and other modes select.

    Its module belongs to CRYPTO_AEAD2, which is on whenever CRYPTO_AEAD is.
    """
    users = [infer_option(machine, name) for name in ("CRYPTO_GCM", "CRYPTO_SEQIV", "CRYPTO_CCM")]
    on = [value for value in users if value and value.value != "n"]
    if any(value.value == "y" and not value.others for value in on):
        return _conclude_builtin(*next(value for value in on if value.value == "y").evidence[:2])
    if on:
        return Value("m", on[0].evidence, ("y",))
    follower = infer_option(machine, "CRYPTO_AEAD2")
    return follower if follower and follower.value == "n" else None


def _infer_ext4_for_ext2(machine: Machine) -> Inferred:
    """Infer the option that lets ext4 handle ext2.

    It is offered only without the driver for ext2; then ext4 handles ext2 once it is in the kernel.
    """
    ext2, ext4 = infer_option(machine, "EXT2_FS"), infer_option(machine, "EXT4_FS")
    if ext2 and ext2.value != "n":
        return _conclude_off(*ext2.evidence[:2])
    if not ext2 or not ext4 or ext4.value == "n":
        return ext4 if ext4 and ext4.value == "n" else None
    if _has_sign(machine, f"{FILESYSTEMS}:ext2"):
        return _conclude_builtin(FILESYSTEMS)
    return _conclude_off(FILESYSTEMS) if _has_sign(machine, f"{FILESYSTEMS}:ext4") else None


def _infer_no_vsyscall(machine: Machine) -> Inferred:
    """Infer the vsyscall option of x86-64.

    Either every 64-bit process has the page or none has; the command line may have decided it.
    """
    maps, symbols = machine.text("~/maps".replace("~", machine.process)), machine.once(_read_symbols)
    chosen = _read_words_from(machine, "/proc/cmdline", "vsyscall=")
    if not isinstance(maps, Value) or b"map_vsyscall" not in symbols or chosen != ():
        return None
    if "[vsyscall]" in maps.value:
        return _conclude_off(maps.evidence.source)
    wide = any(len(line.partition("-")[0]) > len("ffffffff") for line in maps.value.split("\n"))
    return _conclude_builtin(maps.evidence.source) if wide else None


def _infer_psi_disabled(machine: Machine) -> Inferred:
    """Infer PSI_DEFAULT_DISABLED.

    Without psi= on the command line, /proc/pressure exists unless it is off by default.
    """
    psi = infer_option(machine, "PSI")
    if not psi or psi.value == "n" or _read_words_from(machine, "/proc/cmdline", "psi=") != ():
        return psi if psi and psi.value == "n" else None
    there = _has_sign(machine, "/proc/pressure")
    return None if there is None else _conclude_off("/proc/pressure") if there else _conclude_builtin("/proc/pressure")


def _read_words_from(machine: Machine, path: str, start: str) -> Optional[Tuple[str, ...]]:
    text = machine.text(path)
    return tuple(w for w in text.value.split() if w.startswith(start)) if isinstance(text, Value) else None


_SPECIAL_OPTIONS = {
    "CRYPTO_AEAD": _infer_aead,
    "EXT4_USE_FOR_EXT2": _infer_ext4_for_ext2,
    "LEGACY_VSYSCALL_NONE": _infer_no_vsyscall,
    "PSI_DEFAULT_DISABLED": _infer_psi_disabled,
}
