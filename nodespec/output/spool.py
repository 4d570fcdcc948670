"""Render formats host by host, and spool the text until the document is complete."""

from __future__ import annotations

import io
import os

from nodespec.light_typing import TYPE_CHECKING
from nodespec.output.renderer import load_renderer
from nodespec.output.writer import ReportOutput, make_output_style

if TYPE_CHECKING:
    from typing import IO, Iterator, List, Optional

    from nodespec.output.renderer import Stream

MAX_MEMORY_BYTES = 1 << 20  # Bytes that stay in memory.
READ_CHARS = 1 << 18  # Characters of one read.


def make_stream(goal: ReportOutput, *, every: bool) -> Optional[Stream]:
    """Return the stream of a format, or None if it needs all reports at once."""
    make = load_renderer(goal.format).stream
    return make(make_output_style(goal, every=every)) if make else None


class Spool:
    """Text in the order in which it was added.

    Long text is in an unnamed file, in the directory of the output.
    """

    def __init__(self, goal: str = "") -> None:
        regular = goal and (os.path.isfile(goal) or not os.path.exists(goal))
        self.folder = os.path.dirname(os.path.realpath(goal)) if regular else None
        self.parts: List[bytes] = []
        self.size = 0
        self.file: Optional[IO[bytes]] = None
        self.error: Optional[OSError] = None

    def add(self, text: str) -> None:
        """Append a text."""
        if not self.error:
            data = text.encode("utf-8", "surrogatepass")
            self.parts.append(data)
            self.size += len(data)
            if self.size > MAX_MEMORY_BYTES:
                self._flush()

    def _flush(self) -> None:
        self.file = self.file or self._open_file()
        try:
            self.file.write(b"".join(self.parts))
        except OSError as error:  # Raised in `text`, since other reports may still have room.
            self.error = error
        self.parts, self.size = [], 0

    def _open_file(self) -> IO[bytes]:
        from tempfile import TemporaryFile  # noqa: PLC0415 - 10 ms, only for long text

        for folder in (self.folder, None):
            try:
                return TemporaryFile(dir=folder)
            except OSError:  # The directory is not writable.
                continue
        return io.BytesIO()

    def text(self) -> Iterator[str]:
        """Yield the whole text; OSError if the disk is full."""
        file = self.file or io.BytesIO()
        if not self.error:
            self.file = file
            self._flush()
        if self.error:
            raise self.error
        file.seek(0)
        with io.TextIOWrapper(file, "utf-8", "surrogatepass", newline="") as reader:
            yield from iter(lambda: reader.read(READ_CHARS), "")
