"""Find and end the processes of a stage, whatever it has started."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path
from typing import Iterator, Set, Tuple

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Make this process the parent of processes below it that have lost theirs."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def exited() -> Iterator[Tuple[int, int]]:
    """Yield children that have ended, with their exit status; it is negative if a signal ended them."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def processes() -> Iterator[Tuple[int, int, int]]:
    """Yield process, parent and session of all processes of this machine that have not ended."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                text = Path(f"/proc/{name}/stat").read_text(encoding="utf-8", errors="replace")
            except OSError:  # it has ended
                continue
            state, parent, _, session = text.rpartition(")")[2].split()[:4]
            if state not in "ZX":
                yield int(name), int(parent), int(session)


def descendants(roots: Set[int]) -> Set[int]:
    """Return the processes below some processes."""
    found: Set[int] = set()
    parents = {pid: parent for pid, parent, _ in processes()}
    while more := {pid for pid, parent in parents.items() if parent in found | roots} - found:
        found |= more
    return found


def members(leader: int) -> Set[int]:
    """Return the processes of a session, and those below them."""
    found = {pid for pid, _, session in processes() if session == leader}
    return found | descendants(found)


def send(number: int, pids: Set[int]) -> None:
    """Send a signal to processes, which can have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
