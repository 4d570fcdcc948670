"""Records of what one command was asked to do.

Modules below the command line take these records instead of its arguments.
"""

from __future__ import annotations

from nodespec.judge.conclusion import Choice
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFAULT_LIMITS, IMAGE_SECONDS, Limits
from nodespec.model.report import Waiver
from nodespec.output.writer import ReportOutput
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Optional, Tuple


class Target(NamedTuple):
    """The host to observe: the running host below `root`, an image or a recording.

    `image` is the path of an offline image, `facts` that of a recording or of a directory of recordings. `kernel` (a
    release) and `platform` (OS/ARCH) select a part of an image. `deadline` bounds all observations, in seconds; None is
    the default of `limits`. `verbose` prints each observation to standard error.
    """

    root: str = "/"
    image: str = ""
    facts: str = ""
    kernel: str = ""
    platform: str = ""
    deadline: Optional[float] = None
    verbose: bool = False

    @property
    def limits(self) -> Limits:
        """The limits of the run."""
        seconds = self.deadline if self.deadline is not None else IMAGE_SECONDS if self.image else None
        return DEFAULT_LIMITS if seconds is None else Limits(run_seconds=seconds)


class JudgeOptions(NamedTuple):
    """Options of judging a host: globs of requirements, strictness, waivers, retries.

    `wait` is the time during which the check is retried, in seconds.
    """

    choice: Choice = Choice()
    waivers: Tuple[Waiver, ...] = ()
    wait: float = 0.0


class Outputs(NamedTuple):
    """The reports to write, and whether they list requirements that pass."""

    reports: Tuple[ReportOutput, ...]
    every: bool = False


class RecordOptions(NamedTuple):
    """Options of printing or recording facts.

    An empty `file` prints them. `reveal` keeps values that may be secret.
    """

    file: str = ""
    every: bool = False
    reveal: bool = False
