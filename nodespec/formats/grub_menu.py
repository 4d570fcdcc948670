"""Evaluate a grub.cfg: the entries of its menu, and the default entry.

    set default=0
    menuentry 'Debian' { linux /vmlinuz root=/dev/vda1 quiet }

Nothing is run. The script is evaluated with values from files. State that only the machine knows (firmware, devices)
has no value here: both branches of a condition on it are evaluated. A variable then has several values, and a menu
entry may be uncertain. Raises ValueError for a script that is not understood, and if the default entry is undecided.
"""

from __future__ import annotations

import contextlib
import re

from nodespec.formats.grub_commands import COMMANDS, run_set
from nodespec.formats.grub_entries import make_entry, select_entry, split_entry_path
from nodespec.formats.grub_environment import parse_environment
from nodespec.formats.grub_state import (
    MAX_CHARS,
    MAX_MENU,
    BlockEndedError,
    MenuReplacedError,
    State,
    UndecidedConditionError,
    add_entry,
)
from nodespec.formats.grub_syntax import For, Function, GrubCommand, If, parse_script
from nodespec.formats.grub_test import ANY, evaluate_test
from nodespec.formats.grub_words import expand_arguments, get_common_argument, list_assigned_variables, split_option
from nodespec.light_typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing import Callable, Dict, Iterable, List, Mapping, Optional, Sequence

    from nodespec.formats.grub_state import GrubEntry, GrubKernel
    from nodespec.formats.grub_syntax import Block, Statement

MAX_STEPS = 50_000  # Evaluated statements.
MAX_CALLS = 12  # Nested functions and files.
OPAQUE_COMMANDS = frozenset(
    (
        *("legacy_source", "legacy_configfile", "legacy_kernel", "syslinux_source", "syslinux_configfile", "uki"),
        *("extract_entries_source", "extract_entries_configfile", "extract_legacy_entries_source", "lua"),
        *("extract_legacy_entries_configfile", "extract_syslinux_entries_source", "verify_detached"),
        *("extract_syslinux_entries_configfile", "normal_exit", "hook", "read"),
    )
)


class GrubFiles(Protocol):
    """The files that a script may read, by GRUB's paths.

    Examples: `/grub2/grubenv`, `(hd0,gpt1)/EFI/BOOT/grub.cfg`.
    """

    def kind(self, path: str) -> Optional[str]:
        """Return `file`, `empty` (zero bytes), `directory`, or "" if not found.

        None means that it is not known.
        """
        raise NotImplementedError

    def text(self, path: str) -> Optional[str]:
        """Return the content of a file; None if not found. ValueError if it is unreadable."""
        raise NotImplementedError

    def entries(self) -> Sequence[GrubEntry]:
        """Return the entries that the command `blscfg` adds to the menu."""
        raise NotImplementedError


class GrubMenu:
    """An evaluated grub.cfg. `kept` are the initial variables."""

    def __init__(self, files: GrubFiles, path: str, text: str, kept: Mapping[str, str] = {}) -> None:
        self._files, self._steps, self._calls = files, 0, 0
        self.top = State(path.rpartition("/")[0], path)
        self.top.variables.update((name, (value[:MAX_CHARS],)) for name, value in kept.items())
        try:
            self._run(self.top, _parse_file(path, text))
        except MenuReplacedError as jump:
            self.top = jump.state
        except BlockEndedError:
            pass

    def list_default_kernels(self) -> List[GrubKernel]:
        """Return the kernel of the default entry; several if it is not decided.

        Raises `UndecidedConditionError` or ValueError, see the module.
        """
        return self._select_kernels(self.top, "default")

    def iterate_fallbacks(self) -> Iterable[List[GrubKernel]]:
        """Yield the kernels that are tried in turn if the default entry cannot be started."""
        words = " ".join(self.top.variables.get("fallback", ())).split()
        for word in words if len(self.top.variables.get("fallback", ())) == 1 else ():
            state = self.top.copy()
            state.variables["fallback"] = (word,)
            yield self._select_kernels(state, "fallback")

    def list_kernels(self) -> List[GrubKernel]:
        """Return every kernel of the menu and its submenus.

        Entries that are not understood are omitted.
        """
        found: List[GrubKernel] = []
        self._collect_kernels(self.top, found, 0)
        return found

    def _collect_kernels(self, state: State, found: List[GrubKernel], depth: int) -> None:
        for entry, _ in state.items[:MAX_MENU]:
            try:
                inner = self._enter_entry(state, entry, "")
            except ValueError:
                continue
            if entry.submenu and depth < MAX_CALLS:
                self._collect_kernels(inner, found, depth + 1)
            found += [kernel for kernel in inner.kernels if kernel]

    def _select_kernels(self, state: State, name: str) -> List[GrubKernel]:
        found: List[GrubKernel] = []
        for value in state.variables.get(name, ("",)):
            head, rest = split_entry_path(value)
            entry = select_entry(state, head)
            inner = self._enter_entry(state, entry, rest)
            if inner.items:
                found += self._select_kernels(inner, "default")
            elif None in inner.kernels:
                what = f"runs `{inner.other}`" if inner.other else "loads no kernel"
                raise ValueError(f"{entry.file}:{entry.line}: the default entry `{entry.title}` {what}")
            else:
                found += [kernel for kernel in inner.kernels if kernel]
        return list(dict.fromkeys(found))

    def _enter_entry(self, state: State, entry: GrubEntry, rest: str) -> State:
        """Return the state after the script of an entry."""
        inner = state.context(entry.file) if entry.submenu else state.copy()
        inner.file, inner.items, inner.args = entry.file, [], entry.args
        inner.variables.update(chosen=(entry.id,), default=(rest,))
        self._steps = self._calls = 0
        try:
            self._run(inner, entry.body)
        except MenuReplacedError as jump:
            return jump.state
        except BlockEndedError:
            pass
        named = (kernel._replace(entry=entry.title) if kernel else None for kernel in inner.kernels)
        inner.kernels = tuple(dict.fromkeys(named))
        return inner

    def _run(self, state: State, block: Block) -> Optional[bool]:
        """Evaluate statements; return whether the last one succeeded, None if not known."""
        status: Optional[bool] = True
        for statement in block:
            self._steps += 1
            if self._steps > MAX_STEPS:
                raise ValueError(f"{state.file}: takes too long to evaluate")
            status = self._run_statement(state, statement)
            state.variables["?"] = (ANY,) if status is None else ("0",) if status else ("1",)
        return status

    def _run_statement(self, state: State, statement: Statement) -> Optional[bool]:
        if isinstance(statement, GrubCommand):
            return self._run_grub_command(state, statement)
        if isinstance(statement, If):
            return self._run_if(state, statement, 0)
        if isinstance(statement, Function):
            state.functions[statement.name] = statement.body
            return True
        if isinstance(statement, For):
            for word in expand_arguments(state, statement.words)[0]:
                state.variables[statement.name] = (word,)
                self._run(state, statement.body)
            return True
        raise ValueError(f"{state.file}:{statement.line}: loops are not supported")

    def _run_if(self, state: State, statement: If, branch: int) -> Optional[bool]:
        if branch == len(statement.branches):
            return self._run(state, statement.otherwise)
        condition, body = statement.branches[branch]
        truth = self._run(state, condition)
        if truth is not None:
            return self._run(state, body) if truth else self._run_if(state, statement, branch + 1)
        left, right = state.copy(), state.copy()
        try:
            results = self._run(left, body), self._run_if(right, statement, branch + 1)
        except (MenuReplacedError, BlockEndedError):
            where = f"{state.file}:{statement.line}"
            raise UndecidedConditionError(
                f"{where}: a condition on state of the machine selects what is read"
            ) from None
        state.merge(left, right)
        return results[0] if results[0] == results[1] else None

    def _run_grub_command(self, state: State, command: GrubCommand) -> Optional[bool]:
        choices = expand_arguments(state, command.words)
        verb = choices[0][0] if choices[0] else ""
        if verb.partition("=")[1] and re.fullmatch(r"[A-Za-z_]\w*", verb.partition("=")[0], re.ASCII):
            return run_set(state, command, [["set", *choice] for choice in choices])
        if any(choice[:1] != [verb] for choice in choices) or ANY in verb:
            raise ValueError(f"{state.file}:{command.line}: the command is not known")
        if verb in OPAQUE_COMMANDS:
            raise ValueError(f"{state.file}:{command.line}: the command `{verb}` is not supported")
        if command.block is not None and verb in ("menuentry", "submenu"):
            return add_entry(state, make_entry(state, command, choices))
        if verb in state.functions:
            return self._run_function(state, verb, choices)
        if verb in COMMANDS:
            return COMMANDS[verb](state, command, choices)
        if verb in _FILE_COMMANDS:
            return _FILE_COMMANDS[verb](self, state, command, choices)
        for name in list_assigned_variables(choices[0]):
            state.variables[name] = (ANY,)
        return None

    def _run_function(self, state: State, name: str, choices: List[List[str]]) -> Optional[bool]:
        self._count_nesting(state)
        before = state.args
        state.args = tuple(get_common_argument(choices, at) for at in range(1, min(map(len, choices))))
        try:
            return self._run(state, state.functions[name])
        except BlockEndedError:
            return None
        finally:
            self._calls -= 1
            state.args = before

    def _count_nesting(self, state: State) -> None:
        self._calls += 1
        if self._calls > MAX_CALLS:
            raise ValueError(f"{state.file}: files or functions are nested more than {MAX_CALLS} deep")

    def read_file(self, state: State, path: str, line: int) -> Optional[str]:
        """Return the content of a file that a command names."""
        if ANY in path.rpartition(")")[2]:
            raise UndecidedConditionError(f"{state.file}:{line}: the name of a file depends on state of the machine")
        return self._files.text(path)

    def run_source(self, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
        """Run `source FILE`: evaluate its statements in place."""
        path = get_common_argument(choices, 1)
        text = self.read_file(state, path, command.line)
        if text is None:
            return False
        self._count_nesting(state)
        outer, state.file = state.file, path
        try:
            return self._run(state, _parse_file(path, text))
        except BlockEndedError:
            return None
        finally:
            self._calls -= 1
            state.file = outer

    def run_configfile(self, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
        """Run `configfile FILE`: its menu replaces this one."""
        path = get_common_argument(choices, 1)
        text = self.read_file(state, path, command.line)
        if text is None:
            raise ValueError(f"{state.file}:{command.line}: `{path}` not found")
        self._count_nesting(state)
        inner = state.context(path)
        inner.variables.update(config_file=(path,), config_directory=(path.rpartition("/")[0],))
        with contextlib.suppress(BlockEndedError):
            self._run(inner, _parse_file(path, text))
        self._calls -= 1
        if not inner.items:
            return None
        raise MenuReplacedError(inner)

    def run_load_env(self, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
        """Run `load_env [--file FILE] [NAME...]`: load variables that survive a boot."""
        words, path = split_option(choices[0][1:], "-f", "--file")
        names = [word for word in words if not word.startswith("-")]
        text = self.read_file(state, path or f"{state.variables['prefix'][0]}/grubenv", command.line)
        if not text:
            return False
        for name, value in parse_environment(text).items():
            if not names or name in names:
                state.variables[name] = (value[:MAX_CHARS],)
        return True

    def run_test(self, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
        """Run `[ EXPRESSION ]`."""
        del command, state
        found = {evaluate_test(choice[1:], self._files.kind) for choice in choices}
        return found.pop() if len(found) == 1 else None

    def run_blscfg(self, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
        """Run `blscfg`: add the entries of the Boot Loader Specification."""
        if len(choices[0]) > 1:
            raise ValueError(f"{state.file}:{command.line}: `blscfg` with arguments is not supported")
        for entry in self._files.entries():
            add_entry(state, entry)
        return True

    def run_eval(self, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
        """Run `eval WORDS`: evaluate the words as a script."""
        text = " ".join(get_common_argument(choices, at) for at in range(1, min(map(len, choices))))
        if ANY in text:
            raise UndecidedConditionError(
                f"{state.file}:{command.line}: the evaluated words depend on state of the machine"
            )
        return self._run(state, _parse_file(state.file, text))


def _parse_file(path: str, text: str) -> Block:
    try:
        return parse_script(text.replace(ANY, "?"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


_FILE_COMMANDS: Dict[str, Callable[[GrubMenu, State, GrubCommand, List[List[str]]], Optional[bool]]] = {
    **dict.fromkeys(("[", "test"), GrubMenu.run_test),
    **dict.fromkeys((".", "source"), GrubMenu.run_source),
    **dict.fromkeys(("configfile", "normal"), GrubMenu.run_configfile),
    "load_env": GrubMenu.run_load_env,
    "blscfg": GrubMenu.run_blscfg,
    "eval": GrubMenu.run_eval,
}
