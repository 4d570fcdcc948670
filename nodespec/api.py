"""Public interface: load specs, observe a host, judge it, render reports.

    from nodespec import api

    plan = api.load_spec("kubernetes/1.35", params={"role": "worker"})
    report = api.judge(plan, api.observe())
    print(report.conclusion, report.exit)
    print(api.render([report], "markdown"))

Everything else in this package may change without notice. Every function raises `SpecError` where the command line
would exit with 2. `SpecError.messages` holds the messages, one line each.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from nodespec.errors import UsageError as SpecError
from nodespec.facts.live import InstalledAlarms, Live
from nodespec.judge import judge as judging
from nodespec.judge.conclusion import Choice
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFAULT_LIMITS
from nodespec.model.plan import Plan
from nodespec.model.report import Report, Seat, Style, Waiver
from nodespec.run.check import check_choice, open_target
from nodespec.run.request import Target

if TYPE_CHECKING:
    from typing import Mapping, Optional, Sequence, Tuple, Union

    from nodespec.recording.replay import ReplayedFacts

__all__ = [
    "ObservedHost",
    "Plan",
    "Report",
    "SpecError",
    "Waiver",
    "judge",
    "load_spec",
    "load_waivers",
    "observe",
    "render",
]


class ObservedHost(NamedTuple):
    """A host to judge: its facts, and how it is accessed.

    A fact is observed when a requirement first asks for it.
    """

    facts: Union[Live, ReplayedFacts]
    subject: Seat


def load_spec(*names: str, params: Optional[Mapping[str, str]] = None, search: Sequence[str] = ()) -> Plan:
    """Resolve specs to a plan.

    `names` are specs of the library, or files that end in .yaml, .yml or .json. `params` sets params by name, as text.
    `search` are directories searched before /etc/nodespec/specs and the library. Needs PyYAML. Raises `SpecError`.
    """
    from nodespec.author.spec.library import Library  # noqa: PLC0415 - judging recordings does not need YAML
    from nodespec.author.spec.precompiled import load_plan  # noqa: PLC0415

    return load_plan(names, Library(tuple(search)), dict(params or {}))


def load_waivers(path: str) -> Tuple[Waiver, ...]:
    """Read a file of waivers, YAML or JSON. Raises `SpecError`."""
    from nodespec.author.spec.yaml_source import parse  # noqa: PLC0415 - reading a spec needs YAML, judging does not
    from nodespec.judge.waivers import load  # noqa: PLC0415

    return load(path, parse)


def observe(
    root: str = "/",
    *,
    image: str = "",
    recording: str = "",
    kernel: str = "",
    platform: str = "",
    deadline: float = DEFAULT_LIMITS.run_seconds,
) -> ObservedHost:
    """Open a host: the running host below `root`, an offline image, or a recording.

    `kernel` (a release) and `platform` (OS/ARCH) select a part of an image. `deadline` is in seconds from now and
    bounds all observations. A fact that was not observed by then is unknown. Nothing on the host is changed. Raises
    `SpecError` if the host, image or recording is not found.
    """
    with InstalledAlarms():
        return ObservedHost(*open_target(Target(root, image, recording, kernel, platform, deadline)))


def judge(
    plan: Plan,
    host: ObservedHost,
    *,
    waivers: Sequence[Waiver] = (),
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    strict: bool = False,
    now: Optional[float] = None,
) -> Report:
    """Judge a host by a plan.

    `only` and `skip` are globs of requirement ids. A glob without a match raises `SpecError`. `strict` enforces
    recommendations. `now` is the judging clock in seconds since the epoch; waivers expire by it. The report's
    `conclusion` is conformant, nonconformant or indeterminate. Its `exit` is the exit code of `nodespec check`.
    """
    choice = Choice(tuple(only), tuple(skip), strict)
    check_choice(choice, plan)
    terms = judging.Terms(time.time() if now is None else now, choice, tuple(waivers))
    with InstalledAlarms():
        return judging.judge(plan, host.facts, host.subject, terms)


def render(reports: Sequence[Report], format: str = "text", *, every: bool = False, width: int = 100) -> str:  # noqa: A002 - named as the option is
    """Render reports as text, JSON, JUnit, Markdown or HTML, without color.

    `every` also lists requirements that pass. Only text uses `width`, in columns. HTML needs Jinja2. An unknown format
    raises `SpecError`.
    """
    from nodespec.output.renderer import load_renderer  # noqa: PLC0415 - judging alone does not need a renderer
    from nodespec.output.writer import check_format  # noqa: PLC0415

    check_format(format)
    return load_renderer(format).render(reports, Style(every=every, width=width))
