"""Have the kernel kill a child process when nodespec ends, however it ends.

Only nodespec holds the writing end of a pipe, and writes nothing to it. When nodespec ends, the kernel closes that end
and signals the owner of the reading end. See O_ASYNC, F_SETOWN and F_SETSIG in fcntl(2). Compared with PR_SET_PDEATHSIG
this needs no ctypes (5 ms to import) and no Python between fork and exec. It also reaches a whole process group.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from contextlib import suppress


class Lifeline:
    """A pipe whose reading end the child must inherit."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def bind(self, owner: int) -> None:
        """Have a process killed when nodespec ends; a negative number is a process group."""
        with suppress(OSError):  # A sandbox may refuse it. Then the child only ends by itself.
            fcntl.fcntl(self.reader, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(self.reader, fcntl.F_SETOWN, owner)
            fcntl.fcntl(self.reader, fcntl.F_SETFL, os.O_ASYNC)

    def bind_self(self) -> bool:
        """Bind the forked process that calls this; return False if its parent has ended."""
        os.close(self.writer)
        self.bind(os.getpid())
        poll = select.poll()
        poll.register(self.reader, select.POLLIN)
        return not poll.poll(0)

    def unbind(self) -> None:
        """Let the owner outlive nodespec."""
        with suppress(OSError):
            fcntl.fcntl(self.reader, fcntl.F_SETFL, 0)

    def close(self) -> None:
        """Close both ends; this kills an owner that is still bound."""
        os.close(self.writer)
        os.close(self.reader)
