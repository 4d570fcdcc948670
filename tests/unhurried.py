"""Nothing takes too long, though the machine of the tests may stand still for seconds: who tests the time sets it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Iterator, Union
from unittest import mock

from nodespec.facts.live import Live
from nodespec.host.machine import Machine
from nodespec.model.observation import DEFAULT_LIMITS

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 60.0
# nodespec as a process, with what `python -m nodespec` has before it
SET = f"""\
from nodespec.facts.live import Live
from nodespec.host.machine import Machine
Live.patience = Machine.patience = {PATIENCE}
"""
PROGRAM = (sys.executable, "-c", f"{SET}from nodespec.__main__ import run\nrun()")
BEGINS = "from nodespec.entry import exit_with\n"  # where a bundle has all that it carries


def unhurry(bundle: Path) -> None:
    """Give it to a bundle too."""
    text = bundle.read_text()
    assert text.count(BEGINS) == 1, text[-600:]
    bundle.write_text(text.replace(BEGINS, SET + BEGINS))


@contextmanager
def unhurried() -> Iterator[None]:
    """Every program, peer and look has this long, unless its own limits say otherwise."""
    peer, look = patient("peer_seconds"), patient("observation_seconds")
    with mock.patch.object(Machine, "patience", peer), mock.patch.object(Live, "patience", look):
        yield


def patient(field: str) -> property:
    """The limit of an object, or this long where it is the default."""
    default = getattr(DEFAULT_LIMITS, field)

    def limit(own: Union[Machine, Live]) -> float:
        seconds = float(getattr(own.limits, field))
        return PATIENCE if seconds == default else seconds

    return property(limit)
