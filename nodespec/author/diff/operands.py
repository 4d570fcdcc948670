"""Operands of `nodespec diff`: the running host, the next boot, image, recording."""

from __future__ import annotations

import time

from nodespec.errors import UsageError
from nodespec.facts.live import Live
from nodespec.light_typing import TYPE_CHECKING
from nodespec.recording import file
from nodespec.recording.replay import ReplayedFacts
from nodespec.records import NamedTuple
from nodespec.run.check import open_target

if TYPE_CHECKING:
    from typing import Union

    from nodespec.model.report import Seat
    from nodespec.run.request import Target

RUNNING, AT_REST, IMAGE = "running", "at-rest", "image:"  # operands that are not files
NEXT_BOOT = (RUNNING, AT_REST)  # the default operands


class View(NamedTuple):
    """The facts of a host or image by one access, with the time of observation.

    `name` is the operand on the command line.
    """

    name: str
    seat: Seat
    time: str
    facts: Union[Live, ReplayedFacts]

    @property
    def head(self) -> str:
        """The host and how it was accessed, as one line."""
        return f"{self.name}: {self.seat.host.name}, {self.seat.context} ({self.seat.door}), {self.time}"


def is_live_operand(word: str) -> bool:
    """Return whether an operand is observed now, and not read from a recording."""
    return word in NEXT_BOOT or word.startswith(IMAGE)


def open_view(word: str, target: Target) -> View:
    """Open the view of an operand. Raises `UsageError` if it cannot be opened."""
    if not is_live_operand(word):
        recording = file.load_recording(word)
        return View(word, recording.seat, recording.time, ReplayedFacts(recording.facts))
    if word == IMAGE:
        raise UsageError(
            f"{word}: path not set; expected {IMAGE}PATH with a root directory, a tar or a container image"
        )
    image = target.root if word == AT_REST else word[len(IMAGE) :] if word.startswith(IMAGE) else ""
    platform = target.platform if image else ""  # the other operand may be the multi-platform image
    facts, seat = open_target(target._replace(facts="", image=image, platform=platform))
    return View(word, seat, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), facts)
