"""Install commands of modprobe.d: whether the shell still loads the module.

`/bin/false`, `/bin/sh -c "exit 0"` and `echo no` load nothing. `modprobe --ignore-install NAME` loads it. For other
programs the result is unknown.
"""

from __future__ import annotations

import re

from nodespec.checks import _kernel_names
from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Iterator, List, Optional, Tuple

MAX_CHARS = 4_096  # of one command
MAX_DEPTH = 4  # of nested shells
EXIT_STATUS = {  # exit status of programs that load nothing; None if it is not known
    **dict.fromkeys(("", "true", ":", "echo", "printf", "logger", "sleep", "wall", "touch", "sync", "date"), True),
    **dict.fromkeys(("test", "["), None),
    "false": False,
}
SHELLS = ("sh", "bash", "dash", "ash")
WRAPPERS = ("env", "exec", "command", "busybox", "nohup", "nice", "setsid", "time", "toybox", "builtin")
LOADERS = ("modprobe",)


class CommandResult(NamedTuple):
    """Result of a simple command.

    `loads` is whether it loads the module, or None if that is not known. The others are whether it succeeded, and
    whether it ended the script.
    """

    loads: Optional[bool]
    succeeded: Optional[bool] = True
    ends: bool = False


def loads_module(command: str, name: str) -> Optional[bool]:
    """Return whether an install command loads its module; None if that is not known."""
    if len(command) > MAX_CHARS:
        return None
    return _follow_script(command, name, 0).loads


def _follow_script(script: str, name: str, depth: int) -> CommandResult:
    """Follow a script command by command: `a; b`, `a && b`, `a || b`, `a | b`."""
    if depth > MAX_DEPTH:
        return CommandResult(None, None)
    last = CommandResult(loads=False)
    for joint, words in _split_commands(script):
        if joint in ("&&", "||") and last.succeeded is None:
            return CommandResult(None, None)
        if (joint == "&&" and not last.succeeded) or (joint == "||" and last.succeeded):
            continue
        last = _follow_command(words, name, depth)
        if last.loads is not False or last.ends:
            return last
    return last


_TOKEN = re.compile(
    r"""[\t ]*(?:(?P<joint>&&|\|\||[;&|\n])|(?P<redirect>\d*>>?(?:&\d|[\t ]*[\w./-]+)|<[\t ]*[\w./-]+)"""
    r"""|(?P<comment>\#[^\n]*)"""
    r"""|(?P<word>(?:[^\t\n ;&|<>'"`$(){}\\]|'[^']*'|"(?:[^"`$\\]|\$\w|\$\{\w+\})*"|\$\w|\$\{\w+\})+))"""
)
UNPARSED = "("  # a placeholder for everything but simple commands; no program has this name


def _split_commands(script: str) -> List[Tuple[str, List[str]]]:
    """Return simple commands, each with the operator before it.

    UNREAD stands for everything else.
    """
    pieces: List[Tuple[str, List[str]]] = [(";", [])]
    offset, script = 0, script.strip("\t\n ")
    while offset < len(script):
        token = _TOKEN.match(script, offset)
        if not token:
            pieces[-1][1].append(UNPARSED)
            break
        offset = token.end()
        if token["joint"]:
            pieces.append((token["joint"], []))
        elif token["word"]:
            pieces[-1][1].append(_unquote(token["word"]))
    return [(joint, words) for joint, words in pieces if words]


def _unquote(word: str) -> str:
    return re.sub(r"'([^']*)'|\"([^\"]*)\"", lambda part: part[1] if part[1] is not None else part[2], word)


def _follow_command(words: List[str], name: str, depth: int) -> CommandResult:
    """Return the result of one program with its arguments."""
    words = [*_strip_wrappers(words)]
    program, arguments = "".join(words[:1]).rpartition("/")[2], words[1:]
    if UNPARSED in words:
        return CommandResult(None, None)
    if program == "exit":
        return CommandResult(loads=False, succeeded=arguments[:1] in ([], ["0"]), ends=True)
    if program in LOADERS:
        return _follow_modprobe(arguments, name)
    if program in SHELLS and arguments[:1] == ["-c"] and len(arguments) > 1:
        return _follow_script(arguments[1], name, depth + 1)._replace(ends=False)
    if program.endswith("\r"):  # A file with CRLF line ends: the program is not found.
        return CommandResult(loads=False, succeeded=False)
    return (
        CommandResult(loads=False, succeeded=EXIT_STATUS[program])
        if program in EXIT_STATUS
        else CommandResult(None, None)
    )


def _strip_wrappers(words: List[str]) -> Iterator[str]:
    """Remove assignments and wrappers: `FOO=1 /usr/bin/env false` is false.

    A wrapper is a program that only runs another one.
    """
    remaining = iter(words)
    for word in remaining:
        if not re.match(r"\w+=", word) and word.rpartition("/")[2] not in WRAPPERS:
            yield word
            break
    yield from remaining


def _follow_modprobe(arguments: List[str], name: str) -> CommandResult:
    """Return the result of modprobe: only with -i does it load the module itself.

    Without -i it would run the same install command again.
    """
    options = [word for word in arguments if word.startswith("-")]
    names = [_kernel_names.normalize_name(word) for word in arguments if not word.startswith("-")]
    short = "".join(option[1:] for option in options if not option.startswith("--"))
    every = "--all" in options or "a" in short
    wanted = names if every else names[:1]
    if {"--remove", "--dry-run", "--show-depends", "--show"} & set(options) or set("rnDC") & set(short):
        return CommandResult(None, None)
    itself = any(wanted_name in (name, "$MODPROBE_MODULE", "${MODPROBE_MODULE}") for wanted_name in wanted)
    if not itself:
        return CommandResult(loads=False, succeeded=None)
    ignores = "--ignore-install" in options or "i" in short
    return CommandResult(loads=True) if ignores else CommandResult(None, None)
