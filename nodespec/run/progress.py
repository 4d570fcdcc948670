"""A progress line on a terminal while a run takes longer than a second."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager, suppress

from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Iterator

DELAY_SECONDS = 1.0  # A quick run prints nothing; later the line is renewed as often.
ERASE_LINE = "\r\x1b[K"


@contextmanager
def show_progress(what: str) -> Iterator[None]:
    """Print `what` and the seconds that have passed on standard error, which must be a terminal, and erase it."""
    done = threading.Event()
    thread = threading.Thread(target=_renew, args=(what, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _renew(what: str, done: threading.Event) -> None:
    begin, shown = time.monotonic(), False
    with suppress(OSError, ValueError):  # The terminal was closed.
        while not done.wait(DELAY_SECONDS):
            shown = True
            sys.stderr.write(f"{ERASE_LINE}nodespec: {what}: {time.monotonic() - begin:.0f} s")
            sys.stderr.flush()
        if shown:
            sys.stderr.write(ERASE_LINE)
            sys.stderr.flush()
