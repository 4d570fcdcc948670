"""How long a program may take: a quarter of what is left of the run, and no less than the patience."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Optional

import pytest

from nodespec.facts.declaration import resolve_place
from nodespec.facts.live import Live
from nodespec.host.machine import Machine
from nodespec.model.observation import Evidence, Unknown, Value

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "patience", 1.5)


@pytest.mark.parametrize(
    ("left", "seconds"), [(None, 1.5), (20.0, 5.0), (12.0, 3.0), (6.0, 1.5), (5.0, 1.5), (1.5, 1.5), (1.0, 1.0)]
)
def test_a_program_has_a_quarter_of_what_is_left(left: Optional[float], seconds: float) -> None:
    machine = Machine()
    machine.deadline = None if left is None else time.monotonic() + left
    assert machine.program_seconds() == pytest.approx(seconds, abs=0.05)


@pytest.fixture
def kubelet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubelet on the search path."""
    monkeypatch.setattr("nodespec.host.tree.PROGRAMS", (str(tmp_path),))
    return tmp_path / "kubelet"


def test_a_slow_kubelet_is_waited_for_beyond_the_time_of_an_observation(kubelet: Path) -> None:
    kubelet.write_text("#!/bin/sh\nsleep 2.6\necho Kubernetes v1.35.0\n")
    kubelet.chmod(0o755)
    machine = Machine()
    found = Live(machine, time.monotonic() + 20).observe(resolve_place(("kubelet", "version")))
    assert found == Value("1.35.0", Evidence("kubelet --version"))


def test_a_program_that_does_not_end_is_unknown_and_says_what_gives_it_more_time(kubelet: Path) -> None:
    kubelet.write_text("#!/bin/sh\nexec sleep 60\n")
    kubelet.chmod(0o755)
    begun, machine = time.monotonic(), Machine()
    found = Live(machine, begun + 2).observe(resolve_place(("kubelet", "version")))
    assert found == Unknown("timed out", "kubelet --version did not end within 1.5 s", "set a longer --deadline")
    assert time.monotonic() - begun < 2
