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
from itertools import product

from nodespec.formats.grub_syntax import Block, For, Function, GrubCommand, If, Statement, Word, WordPiece, parse_script
from nodespec.formats.grub_test import ANY, evaluate_test
from nodespec.light_typing import TYPE_CHECKING, Protocol
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple, TypeAlias

MAX_VALUES = 8  # Values of a variable at the same time.
MAX_CHARS = 8192  # Characters of a value.
MAX_STEPS = 50_000  # Evaluated statements.
MAX_CALLS = 12  # Nested functions and files.
HEADER = "# GRUB Environment Block\n"  # The first line of a grubenv.
MAX_MENU = 512  # Menu entries.

Values: TypeAlias = "Tuple[str, ...]"


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


class GrubEntry(NamedTuple):
    """A menu entry, or a `submenu`, with its file and line."""

    title: str
    id: str
    file: str
    line: int
    body: Block = ()
    submenu: bool = False
    args: Tuple[str, ...] = ()


class GrubKernel(NamedTuple):
    """The kernel that `linux PATH OPTIONS` loads.

    If there are several values of the options, it is not known which of them is used.
    """

    path: str
    options: Values
    file: str
    line: int
    entry: str


class UndecidedError(ValueError):
    """The default entry depends on state that only the machine knows."""


class _MenuReplacedError(Exception):
    """`configfile`: the menu of another file replaces this one."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.state = state


class _BlockEndedError(Exception):
    """`return`, `exit` or `break`."""


class State:
    """The state of the evaluation: variables, functions and menu entries.

    For the script of an entry it includes the kernel that the entry loads.
    """

    def __init__(self, prefix: str, file: str) -> None:
        self.file = file
        self.variables: Dict[str, Values] = dict.fromkeys(FEATURE_VARIABLES, ("y",))
        self.variables.update((name, (ANY,)) for name in MACHINE_VARIABLES)
        self.variables["menuentry_id_option"] = ("--id",)  # Every generated grub.cfg sets this value.
        self.variables.update(prefix=(prefix,), config_directory=(file.rpartition("/")[0],), config_file=(file,))
        self.exported: Set[str] = {
            "prefix",
            "config_directory",
            "config_file",
            *FEATURE_VARIABLES,
            *MACHINE_VARIABLES,
            "menuentry_id_option",
        }
        self.functions: Dict[str, Block] = {}
        self.items: List[Tuple[GrubEntry, bool]] = []  # The flag is true if the entry is certain.
        self.kernels: Tuple[Optional[GrubKernel], ...] = (None,)
        self.args: Optional[Tuple[str, ...]] = None  # None outside of functions and entries.
        self.other = ""  # A command that starts something other than Linux.

    def copy(self) -> State:
        """Return an independent copy of the state."""
        other = object.__new__(State)
        other.__dict__.update(self.__dict__)
        other.variables, other.exported = dict(self.variables), set(self.exported)
        other.functions, other.items = dict(self.functions), list(self.items)
        return other

    def context(self, file: str) -> State:
        """Return the context of a submenu or `configfile`: exported variables, no entries."""
        inner = self.copy()
        inner.variables = {name: value for name, value in self.variables.items() if name in self.exported}
        inner.file, inner.items, inner.kernels, inner.other = file, [], (None,), ""
        return inner

    def merge(self, left: State, right: State) -> None:
        """Set the state to the union of two states after a condition that is not known."""
        names = (*left.variables, *right.variables)
        self.variables = {name: _unite_values(left.variables.get(name), right.variables.get(name)) for name in names}
        self.exported = left.exported & right.exported
        self.functions = {**left.functions, **right.functions}
        for name, body in left.functions.items():
            if right.functions.get(name, body) != body:
                raise ValueError(f"{self.file}: the function `{name}` is defined in two ways")
        start = len(self.items)
        more = left.items[start:], right.items[start:]
        sure = more[0] == more[1]
        self.items += more[0] if sure else [(entry, False) for entry, _ in (*more[0], *more[1])]
        self.kernels = tuple(dict.fromkeys((*left.kernels, *right.kernels)))
        self.other = left.other or right.other


def _unite_values(left: Optional[Values], right: Optional[Values]) -> Values:
    found = tuple(dict.fromkeys((*(left or ("",)), *(right or ("",)))))
    return (ANY,) if ANY in found or len(found) > MAX_VALUES else found


FEATURE_VARIABLES = (
    *("feature_chainloader_bpb", "feature_ntldr", "feature_platform_search_hint", "feature_default_font_path"),
    *("feature_all_video_module", "feature_menuentry_id", "feature_menuentry_options", "feature_200_final"),
    *("feature_nativedisk_cmd", "feature_timeout_style", "feature_search_cryptodisk_only"),
)
MACHINE_VARIABLES = (
    "root",
    "grub_platform",
    "grub_cpu",
    "cmdpath",
    "lockdown",
    "shim_lock",
    "check_signatures",
    "fw_path",
)
KERNEL_COMMANDS = ("linux", "linux16", "linuxefi", "kernel")
OTHER_LOADERS = (
    "chainloader",
    "multiboot",
    "multiboot2",
    "xen_hypervisor",
    "knetbsd",
    "kfreebsd",
    "ntldr",
    "efi",
    "fwsetup",
)
OPAQUE_COMMANDS = frozenset(
    (
        *("legacy_source", "legacy_configfile", "legacy_kernel", "syslinux_source", "syslinux_configfile", "uki"),
        *("extract_entries_source", "extract_entries_configfile", "extract_legacy_entries_source", "lua"),
        *("extract_legacy_entries_configfile", "extract_syslinux_entries_source", "verify_detached"),
        *("extract_syslinux_entries_configfile", "normal_exit", "hook", "read"),
    )
)


class GrubMenu:
    """An evaluated grub.cfg. `kept` are the initial variables."""

    def __init__(self, files: GrubFiles, path: str, text: str, kept: Mapping[str, str] = {}) -> None:
        self._files, self._steps, self._calls = files, 0, 0
        self.top = State(path.rpartition("/")[0], path)
        self.top.variables.update((name, (value[:MAX_CHARS],)) for name, value in kept.items())
        try:
            self._run(self.top, _parse_file(path, text))
        except _MenuReplacedError as jump:
            self.top = jump.state
        except _BlockEndedError:
            pass

    def started(self) -> List[GrubKernel]:
        """Return the kernel of the default entry; several if it is not decided.

        Raises `UndecidedError` or ValueError, see the module.
        """
        return self._selected(self.top, "default")

    def fallbacks(self) -> Iterable[List[GrubKernel]]:
        """Yield the kernels that are tried in turn if the default entry cannot be started."""
        words = " ".join(self.top.variables.get("fallback", ())).split()
        for word in words if len(self.top.variables.get("fallback", ())) == 1 else ():
            state = self.top.copy()
            state.variables["fallback"] = (word,)
            yield self._selected(state, "fallback")

    def offers(self) -> List[GrubKernel]:
        """Return every kernel of the menu and its submenus.

        Entries that are not understood are omitted.
        """
        found: List[GrubKernel] = []
        self._collect(self.top, found, 0)
        return found

    def _collect(self, state: State, found: List[GrubKernel], depth: int) -> None:
        for entry, _ in state.items[:MAX_MENU]:
            try:
                inner = self._entered(state, entry, "")
            except ValueError:
                continue
            if entry.submenu and depth < MAX_CALLS:
                self._collect(inner, found, depth + 1)
            found += [kernel for kernel in inner.kernels if kernel]

    def _selected(self, state: State, name: str) -> List[GrubKernel]:
        found: List[GrubKernel] = []
        for value in state.variables.get(name, ("",)):
            head, rest = _split_entry_path(value)
            entry = _select_entry(state, head)
            inner = self._entered(state, entry, rest)
            if inner.items:
                found += self._selected(inner, "default")
            elif None in inner.kernels:
                what = f"runs `{inner.other}`" if inner.other else "loads no kernel"
                raise ValueError(f"{entry.file}:{entry.line}: the default entry `{entry.title}` {what}")
            else:
                found += [kernel for kernel in inner.kernels if kernel]
        return list(dict.fromkeys(found))

    def _entered(self, state: State, entry: GrubEntry, rest: str) -> State:
        """Return the state after the script of an entry."""
        inner = state.context(entry.file) if entry.submenu else state.copy()
        inner.file, inner.items, inner.args = entry.file, [], entry.args
        inner.variables.update(chosen=(entry.id,), default=(rest,))
        self._steps = self._calls = 0
        try:
            self._run(inner, entry.body)
        except _MenuReplacedError as jump:
            return jump.state
        except _BlockEndedError:
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
            status = self._statement(state, statement)
            state.variables["?"] = (ANY,) if status is None else ("0",) if status else ("1",)
        return status

    def _statement(self, state: State, statement: Statement) -> Optional[bool]:
        if isinstance(statement, GrubCommand):
            return self._command(state, statement)
        if isinstance(statement, If):
            return self._if(state, statement, 0)
        if isinstance(statement, Function):
            state.functions[statement.name] = statement.body
            return True
        if isinstance(statement, For):
            for word in _expand_arguments(state, statement.words)[0]:
                state.variables[statement.name] = (word,)
                self._run(state, statement.body)
            return True
        raise ValueError(f"{state.file}:{statement.line}: loops are not supported")

    def _if(self, state: State, statement: If, branch: int) -> Optional[bool]:
        if branch == len(statement.branches):
            return self._run(state, statement.otherwise)
        condition, body = statement.branches[branch]
        truth = self._run(state, condition)
        if truth is not None:
            return self._run(state, body) if truth else self._if(state, statement, branch + 1)
        left, right = state.copy(), state.copy()
        try:
            results = self._run(left, body), self._if(right, statement, branch + 1)
        except (_MenuReplacedError, _BlockEndedError):
            where = f"{state.file}:{statement.line}"
            raise UndecidedError(f"{where}: a condition on state of the machine selects what is read") from None
        state.merge(left, right)
        return results[0] if results[0] == results[1] else None

    def _command(self, state: State, command: GrubCommand) -> Optional[bool]:
        choices = _expand_arguments(state, command.words)
        verb = choices[0][0] if choices[0] else ""
        if verb.partition("=")[1] and re.fullmatch(r"[A-Za-z_]\w*", verb.partition("=")[0], re.ASCII):
            return _run_set(self, state, command, [["set", *choice] for choice in choices])
        if any(choice[:1] != [verb] for choice in choices) or ANY in verb:
            raise ValueError(f"{state.file}:{command.line}: the command is not known")
        if verb in OPAQUE_COMMANDS:
            raise ValueError(f"{state.file}:{command.line}: the command `{verb}` is not supported")
        if command.block is not None and verb in ("menuentry", "submenu"):
            return _add_entry(state, _make_entry(state, command, choices))
        if verb in state.functions:
            return self._call(state, verb, choices)
        handler = _HANDLERS.get(verb)
        if handler:
            return handler(self, state, command, choices)
        for name in _list_assigned_variables(choices[0]):
            state.variables[name] = (ANY,)
        return None

    def _call(self, state: State, name: str, choices: List[List[str]]) -> Optional[bool]:
        self._enter(state)
        before = state.args
        state.args = tuple(_get_common_argument(choices, at) for at in range(1, min(map(len, choices))))
        try:
            return self._run(state, state.functions[name])
        except _BlockEndedError:
            return None
        finally:
            self._calls -= 1
            state.args = before

    def _enter(self, state: State) -> None:
        self._calls += 1
        if self._calls > MAX_CALLS:
            raise ValueError(f"{state.file}: files or functions are nested more than {MAX_CALLS} deep")

    def file(self, state: State, path: str, line: int) -> Optional[str]:
        """Return the content of a file that a command names."""
        if ANY in path.rpartition(")")[2]:
            raise UndecidedError(f"{state.file}:{line}: the name of a file depends on state of the machine")
        return self._files.text(path)

    def source(self, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
        """Run `source FILE`: evaluate its statements in place."""
        path = _get_common_argument(choices, 1)
        text = self.file(state, path, command.line)
        if text is None:
            return False
        self._enter(state)
        outer, state.file = state.file, path
        try:
            return self._run(state, _parse_file(path, text))
        except _BlockEndedError:
            return None
        finally:
            self._calls -= 1
            state.file = outer

    def configfile(self, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
        """Run `configfile FILE`: its menu replaces this one."""
        path = _get_common_argument(choices, 1)
        text = self.file(state, path, command.line)
        if text is None:
            raise ValueError(f"{state.file}:{command.line}: `{path}` not found")
        self._enter(state)
        inner = state.context(path)
        inner.variables.update(config_file=(path,), config_directory=(path.rpartition("/")[0],))
        with contextlib.suppress(_BlockEndedError):
            self._run(inner, _parse_file(path, text))
        self._calls -= 1
        if not inner.items:
            return None
        raise _MenuReplacedError(inner)

    def load(self, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
        """Run `load_env [--file FILE] [NAME...]`: load variables that survive a boot."""
        words, path = _split_option(choices[0][1:], "-f", "--file")
        names = [word for word in words if not word.startswith("-")]
        text = self.file(state, path or f"{state.variables['prefix'][0]}/grubenv", command.line)
        if not text:
            return False
        for name, value in parse_environment(text).items():
            if not names or name in names:
                state.variables[name] = (value[:MAX_CHARS],)
        return True

    def test(self, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
        """Run `[ EXPRESSION ]`."""
        del command, state
        found = {evaluate_test(choice[1:], self._files.kind) for choice in choices}
        return found.pop() if len(found) == 1 else None

    def entries(self, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
        """Run `blscfg`: add the entries of the Boot Loader Specification."""
        if len(choices[0]) > 1:
            raise ValueError(f"{state.file}:{command.line}: `blscfg` with arguments is not supported")
        for entry in self._files.entries():
            _add_entry(state, entry)
        return True

    def evaluated(self, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
        """Run `eval WORDS`: evaluate the words as a script."""
        text = " ".join(_get_common_argument(choices, at) for at in range(1, min(map(len, choices))))
        if ANY in text:
            raise UndecidedError(f"{state.file}:{command.line}: the evaluated words depend on state of the machine")
        return self._run(state, _parse_file(state.file, text))


def _parse_file(path: str, text: str) -> Block:
    try:
        return parse_script(text.replace(ANY, "?"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def parse_environment(text: str) -> Dict[str, str]:
    r"""Parse a grubenv: lines such as `saved_entry=0`, padded with `#`.

    `\` escapes the next character.
    """
    if not text.startswith(HEADER):
        raise ValueError("grubenv must begin with `# GRUB Environment Block`; GRUB does not read it")
    found: Dict[str, str] = {}
    line, escaped = "", False
    for char in text.replace(ANY, "?"):
        if char == "\n" and not escaped:
            name, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                found[name] = value
            line = ""
        elif char == "\\" and not escaped:
            escaped = True
        else:
            line, escaped = line + char, False
    return found


def _expand_arguments(state: State, words: Sequence[Word]) -> List[List[str]]:
    """Expand words to arguments; several lists if variables have several values."""
    choices: List[List[str]] = [[]]
    for word in words:
        options = _expand_word(state, word)
        if len(options) * len(choices) > MAX_VALUES:
            options = [[ANY]]
        choices = [[*choice, *more] for choice, more in product(choices, options)]
    return choices


def _expand_word(state: State, word: Word) -> List[List[str]]:
    """Expand a word; unquoted variables are split at blanks.

    An empty unquoted variable yields no argument.
    """
    options: List[List[Optional[str]]] = [[None]]
    for part in word:
        pieces = _list_values(state, part) if part.variable else (part.text,)
        options = [_append_piece(option, piece, part) for option, piece in product(options, pieces)]
        if len(options) > MAX_VALUES:
            return [[ANY]]
    return [[piece[:MAX_CHARS] for piece in option if piece is not None] for option in options]


def _append_piece(option: List[Optional[str]], piece: str, part: WordPiece) -> List[Optional[str]]:
    if not part.variable or part.quoted:
        return [*option[:-1], (option[-1] or "") + piece]
    words = piece.split()  # Blanks at either end do not split the word.
    if not words:
        return option
    return [*option[:-1], (option[-1] or "") + words[0], *words[1:]]


def _list_values(state: State, part: WordPiece) -> Values:
    name, args = part.text, state.args or ()
    if name.isdigit():
        at = int(name[:4])
        return (args[at - 1] if 0 < at <= len(args) else "",)
    if name in ("@", "*"):
        return (" ".join(args),)
    if name == "#":
        return ("" if state.args is None else str(len(args)),)
    return state.variables.get(name, ("",))


def _get_common_argument(choices: List[List[str]], at: int) -> str:
    """Return the argument that all choices agree on, or ANY."""
    found = {choice[at] if at < len(choice) else "" for choice in choices}
    return found.pop() if len(found) == 1 else ANY


def _split_option(words: List[str], *names: str) -> Tuple[List[str], str]:
    """Return words without an option, and its value: `--file=X`, `--file X`, `-f X`."""
    rest: List[str] = []
    value, at = "", 0
    while at < len(words):
        name, equals, own = words[at].partition("=")
        if name in names:
            value = own if equals else words[at + 1] if at + 1 < len(words) else ""
            at += 1 if equals else 2
        else:
            rest.append(words[at])
            at += 1
    return rest, value


def _make_entry(state: State, command: GrubCommand, choices: List[List[str]]) -> GrubEntry:
    words = [_get_common_argument(choices, at) for at in range(1, min(map(len, choices)))]
    words, ident = _split_option(words, "--id")
    for name in ("--class", "--users", "--hotkey", "--source"):
        words, _ = _split_option(words, name)
    args = tuple(word for word in words if word != "--unrestricted")
    title = args[0] if args else ""
    submenu = choices[0][0] == "submenu"
    return GrubEntry(title, ident or title, state.file, command.line, command.block or (), submenu, args)


def _add_entry(state: State, entry: GrubEntry) -> bool:
    if len(state.items) >= MAX_MENU:
        raise ValueError(f"{state.file}: more than {MAX_MENU} menu entries")
    state.items.append((entry, True))
    return True


def _split_entry_path(value: str) -> Tuple[str, str]:
    """Split `a>b` at `>` into a and b; `>>` is a literal `>` of a title."""
    at = 0
    while at < len(value):
        if value[at] == ">" and value[at : at + 2] == ">>":
            at += 2
        elif value[at] == ">":
            break
        else:
            at += 1
    return value[:at].replace(">>", ">"), value[at + 1 :]


def _parse_number(text: str) -> Optional[int]:
    digits = text.strip(" ")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 6:  # noqa: PLR2004 - no menu has more entries
        return None
    return int(digits, 8 if digits[0] == "0" and digits.strip("01234567") == "" else 10)


def _select_entry(state: State, name: str) -> GrubEntry:
    """Return the entry of an id, title or number, or the first entry if none matches."""
    if not state.items:
        raise ValueError(f"{state.file}: the menu has no entries")
    if ANY in name:
        raise UndecidedError(f"{state.file}: the default entry depends on state of the machine")
    number = _parse_number(name)
    for at, (entry, sure) in enumerate(state.items if name else ()):
        if name in (entry.id, entry.title):
            if number not in (None, at) and number < len(state.items):
                raise UndecidedError(
                    f"{entry.file}:{entry.line}: `{name}` can be this entry or the entry with that number"
                )
            if not sure:
                raise UndecidedError(
                    f"{entry.file}:{entry.line}: whether the entry `{name}` exists depends on state of the machine"
                )
            return entry
        if number is None and ANY in entry.id + entry.title:
            raise UndecidedError(f"{entry.file}:{entry.line}: the title of this entry depends on state of the machine")
    at = number if number is not None and number < len(state.items) else 0
    if not all(sure for _, sure in state.items[: at + 1]):
        raise UndecidedError(f"{state.file}: which entry has the number {at} depends on state of the machine")
    return state.items[at][0]


def _list_assigned_variables(words: List[str]) -> List[str]:
    """Return the variables that a command sets by an option.

    Examples: `search --set=root`, `probe -s x`, `regexp --set 1:x`.
    """
    found = []
    for name in ("--set", "-s", "--var", "-v"):
        _, value = _split_option(words, name)
        found += [value.rpartition(":")[2]] if value else []
    return found


def _run_set(_: GrubMenu, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
    """Run `set NAME=VALUE`."""
    del command
    pairs = [(choice[1] if len(choice) > 1 else "").partition("=") for choice in choices]
    for name in {name for name, equals, _ in pairs if equals}:
        values = tuple(dict.fromkeys(value for own, equals, value in pairs if own == name and equals))
        state.variables[name] = (ANY,) if any(value == ANY for value in values) else values
    return True


def _run_unset(_: GrubMenu, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
    del command
    for name in choices[0][1:]:
        state.variables.pop(name, None)
    return True


def _run_export(_: GrubMenu, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
    del command
    state.exported.update(choices[0][1:])
    return True


def _run_linux(_: GrubMenu, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
    """Run `linux PATH OPTIONS`.

    Options are joined as by GRUB's grub_create_loader_cmdline.
    """
    options = tuple(dict.fromkeys(" ".join(map(_quote_option, choice[2:])) for choice in choices))
    state.kernels = (GrubKernel(_get_common_argument(choices, 1), options, state.file, command.line, ""),)
    return None


def _quote_option(word: str) -> str:
    word = "".join(f"\\{char}" if char in "\\'\"" else char for char in word)
    return f'"{word}"' if " " in word else word


def _run_other_loader(_: GrubMenu, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
    del command
    state.other, state.kernels = choices[0][0], (None,)
    return None


def _make_counter(step: int) -> Callable[[GrubMenu, State, GrubCommand, List[List[str]]], Optional[bool]]:
    """Return the handler of `increment NAME` or `decrement NAME`, of Fedora's GRUB."""

    def counted(_: GrubMenu, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
        del command
        name = _get_common_argument(choices, 1)
        values = state.variables.get(name, ("0",))
        known = all(value.lstrip("-").isdigit() and len(value) < MAX_VALUES for value in values)
        state.variables[name] = tuple(str(int(value) + step) for value in values) if known else (ANY,)
        return True

    return counted


def _run_search(_: GrubMenu, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
    """Run `search --set=root ...` or `search.fs_uuid UUID root`.

    The resulting device is not known here.
    """
    del command
    words = choices[0]
    dotted = [words[2]] if "." in words[0] and len(words) > 2 else []  # noqa: PLR2004 - what to search for, and the variable
    for name in (*dotted, *_list_assigned_variables(words)) or ("root",):
        state.variables[name] = (ANY,)
    return None


def _run_leave(_: GrubMenu, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
    del state, command, choices
    raise _BlockEndedError


def _run_nothing(_: GrubMenu, state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
    del state, command, choices
    return True


_HANDLERS: Dict[str, Callable[[GrubMenu, State, GrubCommand, List[List[str]]], Optional[bool]]] = {
    **dict.fromkeys(("set",), _run_set),
    **dict.fromkeys(("[", "test"), GrubMenu.test),
    **dict.fromkeys((".", "source"), GrubMenu.source),
    **dict.fromkeys(("configfile", "normal"), GrubMenu.configfile),
    **dict.fromkeys(("return", "exit", "break", "continue"), _run_leave),
    **dict.fromkeys(("true", "echo", "save_env", "terminal_output", "terminal_input"), _run_nothing),
    **dict.fromkeys(KERNEL_COMMANDS, _run_linux),
    **dict.fromkeys(OTHER_LOADERS, _run_other_loader),
    **dict.fromkeys(("search", "search.fs_uuid", "search.fs_label", "search.label", "search.file"), _run_search),
    "unset": _run_unset,
    "export": _run_export,
    "load_env": GrubMenu.load,
    "blscfg": GrubMenu.entries,
    "eval": GrubMenu.evaluated,
    "false": lambda *_: False,
    "increment": _make_counter(1),
    "decrement": _make_counter(-1),
}
