"""Expand the words of a GRUB command to arguments, with the variables of a state.

linux /vmlinuz root=$root
"""

from __future__ import annotations

from itertools import product

from nodespec.formats.grub_state import MAX_CHARS, MAX_VALUES
from nodespec.formats.grub_test import ANY
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import List, Optional, Sequence, Tuple

    from nodespec.formats.grub_state import State, Values
    from nodespec.formats.grub_syntax import Word, WordPiece


def expand_arguments(state: State, words: Sequence[Word]) -> List[List[str]]:
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


def get_common_argument(choices: List[List[str]], at: int) -> str:
    """Return the argument that all choices agree on, or ANY."""
    found = {choice[at] if at < len(choice) else "" for choice in choices}
    return found.pop() if len(found) == 1 else ANY


def split_option(words: List[str], *names: str) -> Tuple[List[str], str]:
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


def list_assigned_variables(words: List[str]) -> List[str]:
    """Return the variables that a command sets by an option.

    Examples: `search --set=root`, `probe -s x`, `regexp --set 1:x`.
    """
    found = []
    for name in ("--set", "-s", "--var", "-v"):
        _, value = split_option(words, name)
        found += [value.rpartition(":")[2]] if value else []
    return found
