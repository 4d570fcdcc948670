"""Commands of GRUB that change only the state: they read no file.

Each takes the state, the command, and its possible arguments. It returns whether it succeeds, None if not known.
"""

from __future__ import annotations

from nodespec.formats.grub_state import MAX_VALUES, BlockEndedError, GrubKernel
from nodespec.formats.grub_test import ANY
from nodespec.formats.grub_words import get_common_argument, list_assigned_variables
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, TypeAlias

    from nodespec.formats.grub_state import State
    from nodespec.formats.grub_syntax import GrubCommand

RunCommand: TypeAlias = "Callable[[State, GrubCommand, List[List[str]]], Optional[bool]]"

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


def run_set(state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
    """Run `set NAME=VALUE`."""
    del command
    pairs = [(choice[1] if len(choice) > 1 else "").partition("=") for choice in choices]
    for name in {name for name, equals, _ in pairs if equals}:
        values = tuple(dict.fromkeys(value for own, equals, value in pairs if own == name and equals))
        state.variables[name] = (ANY,) if any(value == ANY for value in values) else values
    return True


def _run_unset(state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
    del command
    for name in choices[0][1:]:
        state.variables.pop(name, None)
    return True


def _run_export(state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
    del command
    state.exported.update(choices[0][1:])
    return True


def _run_linux(state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
    """Run `linux PATH OPTIONS`.

    Options are joined as by GRUB's grub_create_loader_cmdline.
    """
    options = tuple(dict.fromkeys(" ".join(map(_quote_option, choice[2:])) for choice in choices))
    state.kernels = (GrubKernel(get_common_argument(choices, 1), options, state.file, command.line, ""),)
    return None


def _quote_option(word: str) -> str:
    word = "".join(f"\\{char}" if char in "\\'\"" else char for char in word)
    return f'"{word}"' if " " in word else word


def _run_other_loader(state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
    del command
    state.other, state.kernels = choices[0][0], (None,)
    return None


def _make_counter(step: int) -> RunCommand:
    """Return the handler of `increment NAME` or `decrement NAME`, of Fedora's GRUB."""

    def counted(state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
        del command
        name = get_common_argument(choices, 1)
        values = state.variables.get(name, ("0",))
        known = all(value.lstrip("-").isdigit() and len(value) < MAX_VALUES for value in values)
        state.variables[name] = tuple(str(int(value) + step) for value in values) if known else (ANY,)
        return True

    return counted


def _run_search(state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
    """Run `search --set=root ...` or `search.fs_uuid UUID root`.

    The resulting device is not known here.
    """
    del command
    words = choices[0]
    dotted = [words[2]] if "." in words[0] and len(words) > 2 else []  # noqa: PLR2004 - what to search for, and the variable
    for name in (*dotted, *list_assigned_variables(words)) or ("root",):
        state.variables[name] = (ANY,)
    return None


def _run_leave(state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
    del state, command, choices
    raise BlockEndedError


def _run_nothing(state: State, command: GrubCommand, choices: List[List[str]]) -> Optional[bool]:
    del state, command, choices
    return True


COMMANDS: Dict[str, RunCommand] = {
    **dict.fromkeys(("return", "exit", "break", "continue"), _run_leave),
    **dict.fromkeys(("true", "echo", "save_env", "terminal_output", "terminal_input"), _run_nothing),
    **dict.fromkeys(KERNEL_COMMANDS, _run_linux),
    **dict.fromkeys(OTHER_LOADERS, _run_other_loader),
    **dict.fromkeys(("search", "search.fs_uuid", "search.fs_label", "search.label", "search.file"), _run_search),
    "set": run_set,
    "unset": _run_unset,
    "export": _run_export,
    "false": lambda *_: False,
    "increment": _make_counter(1),
    "decrement": _make_counter(-1),
}
