"""Entries of a GRUB menu: made from a command, and selected by id, title or number, as in `saved>0`."""

from __future__ import annotations

from nodespec.formats.grub_state import GrubEntry, UndecidedConditionError
from nodespec.formats.grub_test import ANY
from nodespec.formats.grub_words import get_common_argument, split_option
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import List, Optional, Tuple

    from nodespec.formats.grub_state import State
    from nodespec.formats.grub_syntax import GrubCommand


def make_entry(state: State, command: GrubCommand, choices: List[List[str]]) -> GrubEntry:
    """Return the entry of `menuentry TITLE --id ID { ... }`, or of `submenu`."""
    words = [get_common_argument(choices, at) for at in range(1, min(map(len, choices)))]
    words, ident = split_option(words, "--id")
    for name in ("--class", "--users", "--hotkey", "--source"):
        words, _ = split_option(words, name)
    args = tuple(word for word in words if word != "--unrestricted")
    title = args[0] if args else ""
    submenu = choices[0][0] == "submenu"
    return GrubEntry(title, ident or title, state.file, command.line, command.block or (), submenu, args)


def split_entry_path(value: str) -> Tuple[str, str]:
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


def select_entry(state: State, name: str) -> GrubEntry:
    """Return the entry of an id, title or number, or the first entry if none matches."""
    if not state.items:
        raise ValueError(f"{state.file}: the menu has no entries")
    if ANY in name:
        raise UndecidedConditionError(f"{state.file}: the default entry depends on state of the machine")
    number = _parse_number(name)
    for at, (entry, sure) in enumerate(state.items if name else ()):
        if name in (entry.id, entry.title):
            if number not in (None, at) and number < len(state.items):
                raise UndecidedConditionError(
                    f"{entry.file}:{entry.line}: `{name}` can be this entry or the entry with that number"
                )
            if not sure:
                raise UndecidedConditionError(
                    f"{entry.file}:{entry.line}: whether the entry `{name}` exists depends on state of the machine"
                )
            return entry
        if number is None and ANY in entry.id + entry.title:
            raise UndecidedConditionError(
                f"{entry.file}:{entry.line}: the title of this entry depends on state of the machine"
            )
    at = number if number is not None and number < len(state.items) else 0
    if not all(sure for _, sure in state.items[: at + 1]):
        raise UndecidedConditionError(f"{state.file}: which entry has the number {at} depends on state of the machine")
    return state.items[at][0]
