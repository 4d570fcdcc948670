"""What `nodespec diff` compares: a machine as it runs, a machine or image at rest, a recording."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Union

from nodespec.errors import Mistake
from nodespec.facts.live import Live
from nodespec.recording import file as recording
from nodespec.recording.replay import Recorded
from nodespec.records import NamedTuple
from nodespec.run.check import open_target

if TYPE_CHECKING:
    from nodespec.model.subject import Seat
    from nodespec.run.request import Target

RUNNING, AT_REST, IMAGE = "running", "at-rest", "image:"  # what an operand says where it names no file
NEXT_BOOT = (RUNNING, AT_REST)  # what is compared where nothing is said


class View(NamedTuple):
    """A host or image as seen through one door, as the command line called it, and when."""

    name: str
    seat: Seat
    time: str
    facts: Union[Live, Recorded]

    @property
    def head(self) -> str:
        """Who it is and how it was looked at."""
        return f"{self.name}: {self.seat.host.name}, {self.seat.context} ({self.seat.door}), {self.time}"


def is_door(word: str) -> bool:
    """Whether an operand is a view that is looked at here and now."""
    return word in NEXT_BOOT or word.startswith(IMAGE)


def open_view(word: str, target: Target) -> View:
    """The view that an operand names; Mistake where there is none."""
    if not is_door(word):
        found = recording.load(word)
        return View(word, found.seat, found.time, Recorded(found.facts))
    if word == IMAGE:
        raise Mistake(f"{word}: {IMAGE}PATH names a root directory, a tar or a container image")
    image = target.root if word == AT_REST else word[len(IMAGE) :] if word.startswith(IMAGE) else ""
    platform = target.platform if image else ""  # the other operand may be the image that has several
    facts, seat = open_target(target._replace(facts="", image=image, platform=platform))
    return View(word, seat, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), facts)
