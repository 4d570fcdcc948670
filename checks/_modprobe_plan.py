"""What `modprobe NAME` inserts, by modprobe.d and the module tree, as in kmod.

kmod_module_new_from_lookup: aliases of the configuration come first, then the names of modules.dep, then install
commands and the aliases of depmod. kmod_module_probe_insert_module: dependencies are inserted first, each with its soft
dependencies. A module with soft dependencies ignores its install command. A failure ends the call, unless only soft
dependencies need the module.
"""

from __future__ import annotations

import re

from nodespec.checks import _kernel_names, _kernel_version, _modprobe, _modprobe_commands
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Mapping, Optional, Set, Tuple, TypeAlias, Union

Reason: TypeAlias = "Union[Evidence, Unknown]"  # why a module is not loaded, or why that is not known
MAX_STEPS = 2_000  # modules that one name leads to
MAX_NEEDS = 200  # dependencies of one module


class KernelState(NamedTuple):
    """State of the kernel: modules that it has, and modules that it denies."""

    present: Mapping[str, object]
    banned: Mapping[str, Evidence]


class ModuleTarget(NamedTuple):
    """A module that a name leads to, with the alias that leads there."""

    name: str
    alias: Optional[Evidence] = None


def find_targets(tree: Tree, config: _modprobe.ModprobeConfig, name: str) -> Tuple[ModuleTarget, ...]:
    """Return the modules that a name stands for."""
    aliases = config.find_aliases(name)
    if aliases:
        return tuple(ModuleTarget(line.rest, line.evidence) for line in aliases)
    installed = tree.once(_kernel_version.list_installed_modules)
    if isinstance(installed, Value) and name in installed.value:
        return (ModuleTarget(name),)
    if any(line.name == name for line in config.installs):
        return (ModuleTarget(name),)
    return tuple(ModuleTarget(module, at) for module, at in _find_depmod_aliases(tree, name))


def _find_depmod_aliases(tree: Tree, name: str) -> Iterator[Tuple[str, Evidence]]:
    """Yield matching lines of modules.alias, such as `alias fs-overlay overlay`.

    The text before a wildcard is compared first, because there are 20,000 lines.
    """
    folder = tree.once(_kernel_version.find_module_tree)
    text = tree.text(f"{folder.value}/modules.alias") if isinstance(folder, Value) else folder
    if not isinstance(text, Value):
        return
    stem = re.match(r"\w*", name)
    beginning = re.escape(stem[0][:1] if stem else "").replace("_", "[-_]")
    for match in re.finditer(rf"^alias ({beginning}\S*|[*?\[]\S*) (\S+)$", text.value, re.MULTILINE):
        pattern = match[1].replace("-", "_") if "[" not in match[1] else match[1]
        if _modprobe.matches_pattern(name, pattern):
            yield _kernel_names.normalize_name(match[2]), text.evidence


class ModprobeSimulation:
    """A call of modprobe.

    `inserted` are the modules in the kernel afterwards; None if that is not known.
    """

    def __init__(self, tree: Tree, config: _modprobe.ModprobeConfig, kernel: KernelState) -> None:
        self.tree, self.config, self.kernel = tree, config, kernel
        self.inserted: Dict[str, Optional[bool]] = {}
        self.reasons: Dict[str, Reason] = {}
        self._visited: Set[str] = set()
        self._needs = tree.once(_kernel_version.read_module_needs)
        installed = tree.once(_kernel_version.list_installed_modules)
        self._listed: Mapping[str, int] = installed.value if isinstance(installed, Value) else {}
        self._needed: Set[str] = set()
        self._doubtful = False  # A required step may have failed, which would have ended the call.

    def run(self, name: str) -> None:
        """Insert a module with its dependencies and soft dependencies."""
        required = {*self._order_dependencies(name)}
        self._needed.update(required - {name})
        for step, ignores in self._list_steps(name):
            if step in self.kernel.present or self.inserted.get(step):
                continue
            self._run_step(step, ignores)
            if step in required and self.inserted[step] is False:
                self._give_up(name, self.reasons.get(step))
                return
            self._doubtful |= step in required and self.inserted[step] is None

    def _give_up(self, name: str, reason: Optional[Reason]) -> None:
        if not self.inserted.get(name):
            self.inserted[name] = False
            if reason is not None:
                self.reasons.setdefault(name, reason)

    def _list_steps(self, name: str) -> List[Tuple[str, bool]]:
        """Return the modules in order, and whether each ignores its install command."""
        if name in self._visited or len(self._visited) > MAX_STEPS:
            return []
        self._visited.add(name)
        return [step for each in self._order_dependencies(name) for step in self._list_with_soft(each)]

    def _order_dependencies(self, name: str) -> Tuple[str, ...]:
        """Return a module after all its dependencies.

        depmod lists indirect dependencies too; other lists may not.
        """
        ordered: Dict[str, None] = {}
        pending, begun = [name], {""}
        while pending and len(begun) <= MAX_NEEDS:
            each = pending[-1]
            needs = [need for need in self._needs.get(each, ()) if need not in begun]
            begun.add(each)
            if needs:
                pending += needs
            else:
                ordered[pending.pop()] = None
        return (*ordered, *reversed(pending))

    def _list_with_soft(self, name: str) -> List[Tuple[str, bool]]:
        soft = _modprobe.find_softdeps(self.tree, name)
        if isinstance(soft, Unknown):
            return [(name, False)]
        before, after = ([step for dependency in names for step in self._list_soft_steps(dependency)] for names in soft)
        return [*before, (name, any(map(self._is_known, (*soft[0], *soft[1])))), *after]

    def _list_soft_steps(self, word: str) -> List[Tuple[str, bool]]:
        soft_targets = find_targets(self.tree, self.config, _kernel_names.normalize_name(word))
        return [step for target in soft_targets for step in self._list_steps(target.name)]

    def _is_known(self, word: str) -> bool:
        return (
            bool(find_targets(self.tree, self.config, _kernel_names.normalize_name(word)))
            or _kernel_names.normalize_name(word) in self.kernel.present
        )

    def _run_step(self, name: str, ignores_command: bool) -> None:  # noqa: FBT001 - the flag is part of a pair
        command = None if ignores_command else self.config.find_install(name)
        does = _modprobe_commands.loads_module(command.rest, name) if command else True
        if command and not does:
            self.inserted[name] = does
            message = f"{command.evidence}: the effect of this install command is not known"
            self.reasons[name] = command.evidence if does is False else Unknown("unsupported", message)
            return
        self._insert(name)

    def _insert(self, name: str) -> None:
        """Insert one module after its dependencies."""
        if name in self.kernel.banned or "" in self.kernel.banned:
            self.inserted[name], self.reasons[name] = False, self.kernel.banned.get("") or self.kernel.banned[name]
            return
        missing = [need for need in self._needs.get(name, ()) if need not in self.kernel.present]
        states = {need: self.inserted.get(need, False) for need in missing}
        worst = next((need for state in (False, None) for need in missing if states[need] is state), None)
        done = True if worst is None else states[worst]
        self.inserted[name] = (name in self._listed or name in self._needed) and (
            None if done and self._doubtful else done
        )
        if worst is not None and worst in self.reasons:
            self.reasons[name] = self.reasons[worst]


def simulate_modprobe(
    tree: Tree, kernel: KernelState, name: str, *, spares: bool = False
) -> Union[ModprobeSimulation, Unknown]:
    """Call modprobe with a name.

    `spares`: a module that is blacklisted is not loaded by its own name either.
    """
    config = _modprobe.read_modprobe_config(tree)
    if isinstance(config, Unknown):
        return config
    tried = ModprobeSimulation(tree, config, kernel)
    for target in find_targets(tree, config, name):
        if target.name in config.blacklist and (spares or target.alias):
            continue
        if target.name not in kernel.present:
            tried.run(target.name)
    return tried


def find_obstacle(tree: Tree, kernel: KernelState, name: str) -> Optional[Reason]:
    """Return what stops `modprobe NAME` from loading the module; None if nothing does."""
    config = _modprobe.read_modprobe_config(tree)
    if isinstance(config, Unknown):
        return config
    if not (config.installs or config.aliases or kernel.banned):
        return None
    tried = simulate_modprobe(tree, kernel, name)
    if isinstance(tried, Unknown):
        return tried
    if tried.inserted.get(name):
        return None
    aliases = config.find_aliases(name)
    reason = tried.reasons.get(name) or (aliases[0].evidence if aliases and name not in tried.inserted else None)
    return reason or Unknown("unsupported", f"whether modprobe loads {name} is not known", "run modprobe -n -v")
