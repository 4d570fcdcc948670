"""Real shells that complete a command line: what a user gets who presses the tabulator key."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 30  # seconds
BASH = r"""
set -u; source "$1"; COMP_LINE=$2; COMP_POINT=${#2}
complete -p nodespec >/dev/null || exit 3
words=$(sed -E 's/([=:])/ \1 /g' <<<"$2")  # as readline splits at COMP_WORDBREAKS
read -ra COMP_WORDS <<<"$words"
[[ $2 != *[[:space:]] ]] || COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_nodespec_joined nodespec && printf '%s\n' "${COMPREPLY[@]-}"
"""
ZSH = (
    "unset zle_bracketed_paste; setopt NO_BEEP; fpath=({folder} $fpath)"
    "; autoload -U compinit; compinit -u -D; bindkey -e; print READ''Y\n"
)


def bash(script: Path, line: str, folder: Path) -> list[str]:
    """Return the replies of bash: they take the place of the last word, or of what follows its last `=` or `:`."""
    argv = ["bash", "--norc", "-c", BASH, "bash", str(script), line]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def fish(script: Path, line: str, folder: Path) -> list[str]:
    """Return the words that fish offers, without their descriptions."""
    code = 'source $argv[1]; complete -C "$argv[2]"'
    env = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    argv = ["fish", "--no-config", "-c", code, str(script), line]
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    return [words.partition("\t")[0] for words in done.stdout.splitlines()]


def zsh(script: Path, line: str, folder: Path) -> str:
    """Return the line that zsh, which finds `script` as `_nodespec`, makes of a line at the tabulator key."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        env = {**os.environ, "TERM": "dumb", "COLUMNS": "200", "PS1": "> ", "HOME": str(folder)}
        os.execvpe("zsh", ["zsh", "-f", "-i"], env)  # noqa: S606, S607 - the zsh of this machine
    try:
        os.write(terminal, ZSH.format(folder=script.parent).encode())
        _until(terminal, b"READY\r\n")
        os.write(terminal, f"{line}\t\x01print -r -- 'LINE:\x05:'\n".encode())  # ^A and ^E move to the ends of the line
        shown = _until(terminal, b"\r\nEND\r\n", "\x15print EN''D\n")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
    return shown.rpartition("\nLINE:")[2].partition(":\r\n")[0]


def _until(terminal: int, mark: bytes, then: str = "") -> str:
    """Read from a terminal until it shows a mark, after `then` was typed."""
    shown, end = b"", time.monotonic() + PATIENCE
    os.write(terminal, then.encode())
    while mark not in shown:
        assert time.monotonic() < end, f"{mark!r} not in {shown!r}"
        if select.select([terminal], [], [], 0.2)[0]:
            shown += os.read(terminal, 65536)
    return shown.decode(errors="replace")
