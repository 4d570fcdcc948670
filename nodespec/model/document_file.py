"""Open the file of a document."""

from __future__ import annotations

import os

MAX_DOCUMENT_BYTES = 1 << 20  # maximum size of one file in bytes


def open_nonblocking(path: str, flags: int) -> int:
    """Open a file without waiting for a writer: a FIFO that has none reads as empty.

    For use as the `opener` of `open`.
    """
    handle = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(handle, True)
    return handle
