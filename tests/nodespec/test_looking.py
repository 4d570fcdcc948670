"""A look that does not come to its end is ended."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from nodespec.facts.declaration import resolve_place
from nodespec.facts.live import Live
from nodespec.host.machine import Machine
from nodespec.model.observation import Limits, Observation, Unknown

if TYPE_CHECKING:
    from pathlib import Path


class Stuck(Machine):
    """A machine whose files are never read to their end."""

    def text(self, path: str, limit: int = 0) -> Observation[str]:
        threading.Event().wait()
        return super().text(path, limit)


def test_a_look_is_unknown_after_as_long_as_it_may_take(tmp_path: Path) -> None:
    live = Live(Stuck(str(tmp_path)), time.monotonic() + 60, Limits(observation_seconds=0.1))
    began = time.monotonic()
    seen = live.observe(resolve_place(("memory", "total")))
    assert seen == Unknown("timed out", "the observation took longer than 0.1 s")
    assert 0.1 <= time.monotonic() - began < 30


def test_no_look_begins_after_the_run_has_ended(tmp_path: Path) -> None:
    seen = Live(Stuck(str(tmp_path)), time.monotonic()).observe(resolve_place(("memory", "total")))
    assert isinstance(seen, Unknown)
    assert seen.say == "the deadline of the run has passed"
