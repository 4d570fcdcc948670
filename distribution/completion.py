"""Print the completion script of a shell: `python distribution/completion.py bash|zsh|fish`.

shtab makes it from the parsers of the command line. The script is static: completing starts no Python.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Iterator

import shtab
from completion_functions import BASH_JOINED, completer

from nodespec.author.commands.main import make_parser

SHELLS = ("bash", "zsh", "fish")
FREE = ("S", "RELEASE", "UNIT")  # metavars whose values are not completed


def script(shell: str) -> str:
    """Return the completion script of a shell."""
    os.environ["COLUMNS"] = "100"  # help texts are the same on every terminal
    top = make_parser()
    for action in actions(top):
        found = completer(str(action.metavar or ""))
        if found and not action.choices:
            setattr(action, "complete", found)  # noqa: B010 - argparse declares no such attribute; shtab reads it
    text = shtab.complete(top, shell)
    if shell == "zsh":  # `(*)` lets a repeated argument be completed once only
        return text.replace('"(*)::', '"*:').replace('"(*):', '"*:') + "\n"
    return f"{text}\n{BASH_JOINED}" if shell == "bash" else f"{text}\n"


def actions(command: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a command and of the commands below it."""
    for action in command._actions:  # noqa: SLF001 - argparse has no public list of its actions
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for below in action.choices.values():
                yield from actions(below)
        else:
            yield action


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in SHELLS:  # noqa: PLR2004 - the program and a shell
        sys.exit("usage: completion.py bash|zsh|fish")
    sys.stdout.write(script(sys.argv[1]))
