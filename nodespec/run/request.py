"""What one command was asked to do, as records: nothing below the command line knows its arguments."""

from __future__ import annotations

from typing import Optional, Tuple

from nodespec.judge.conclusion import Choice
from nodespec.model.report import Waiver
from nodespec.output.writer import ReportOutput
from nodespec.records import NamedTuple

DEADLINE, IMAGE_DEADLINE = 20.0, 300.0  # seconds where none are given: of an image, reading it included


class Target(NamedTuple):
    """The host to observe: the running one below `root`, unless `image` or `facts` names another.

    `image` is a path of an image at rest, `facts` one of a recording or of a directory of them. `kernel` (a release)
    and `platform` (OS/ARCH) choose within an image. `deadline` bounds all observations, in seconds; None is the default
    of the context, which `limit` knows.
    """

    root: str = "/"
    image: str = ""
    facts: str = ""
    kernel: str = ""
    platform: str = ""
    deadline: Optional[float] = None

    @property
    def limit(self) -> float:
        """The time limit in seconds."""
        default = IMAGE_DEADLINE if self.image else DEADLINE
        return default if self.deadline is None else self.deadline


class JudgeOptions(NamedTuple):
    """How a host is judged: globs of requirements, strictness, waivers, and how long to retry, in seconds."""

    choice: Choice = Choice()
    waivers: Tuple[Waiver, ...] = ()
    wait: float = 0.0


class Outputs(NamedTuple):
    """The reports to write, and whether they list requirements that pass."""

    reports: Tuple[ReportOutput, ...]
    every: bool = False


class RecordOptions(NamedTuple):
    """How facts are printed or recorded: `file` is empty to print; `reveal` keeps values that may be secret."""

    file: str = ""
    every: bool = False
    reveal: bool = False
