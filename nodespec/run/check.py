"""Observe a host, judge it by a plan, and write its reports.

A node needs this module and those that it imports, and no others.
"""

from __future__ import annotations

import sys
import time

from nodespec.errors import UsageError, suggest_name
from nodespec.facts.declaration import resolve_place
from nodespec.facts.live import Alarm, InstalledAlarms, Live
from nodespec.formats.mountinfo import list_reachable_mounts, parse_mounts
from nodespec.host.machine import Machine
from nodespec.judge.conclusion import Choice
from nodespec.judge.judge import Terms, judge
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFAULT_LIMITS, Limits, TimedOut, Unknown, Value
from nodespec.model.plan import Plan
from nodespec.model.report import Report, Seat, Waiver
from nodespec.output.writer import embeds_facts, summarize_files, write_reports
from nodespec.run import host_identity
from nodespec.run.request import JudgeOptions, Outputs, Target

if TYPE_CHECKING:
    from typing import Tuple, Union

    from nodespec.host.tree import Tree
    from nodespec.recording.replay import ReplayedFacts

MIN_ALARM_SECONDS = 0.001  # Seconds. An alarm of 0 s would be switched off and never ring.
RETRY_SECONDS = 1.0  # Seconds between two tries of --wait.


def run(plan: Plan, target: Target, options: JudgeOptions, outputs: Outputs) -> int:
    """Judge a host or a fleet of recordings, write reports, return the exit code.

    The exit code is the verdict.
    """
    _check_target(target)
    check_choice(options.choice, plan)
    check_waivers(options.waivers, plan)
    if target.facts:
        from nodespec.run import fleet  # noqa: PLC0415 - only needed for recordings

        return fleet.run_fleet(plan, target, options, outputs)
    deadline = time.monotonic() + target.limits.run_seconds
    embeds = any(map(embeds_facts, outputs.reports))
    if sys.stderr is not None and sys.stderr.isatty() and not target.verbose:
        from nodespec.run.progress import show_progress  # noqa: PLC0415 - only needed on a terminal

        with show_progress(f"observing {target.image or target.root}"):
            report = judge_host(plan, target, options, embeds=embeds)
    else:
        report = judge_host(plan, target, options, embeds=embeds)
    summary = summarize_files([report], outputs.reports)
    return write_reports(
        [report], outputs.reports, report.exit, every=outputs.every, deadline=deadline, summary=summary
    )


def judge_host(plan: Plan, target: Target, options: JudgeOptions, *, embeds: bool = True) -> Report:
    """Judge a host; retry until it conforms or `options.wait` has passed."""
    end = time.monotonic() + options.wait
    while True:
        with InstalledAlarms():
            live, seat = _open_live(target)
            report = judge(
                plan, live, seat, Terms(time.time(), options.choice, options.waivers, embeds, limits=target.limits)
            )
        if report.exit == 0 or time.monotonic() + RETRY_SECONDS > end:
            return report
        time.sleep(RETRY_SECONDS)


def open_target(target: Target) -> Tuple[Union[Live, ReplayedFacts], Seat]:
    """Open a host, an image or a recording, to observe its facts."""
    _check_target(target)
    if target.facts:
        from nodespec.recording import file  # noqa: PLC0415 - only needed for recordings
        from nodespec.recording.replay import ReplayedFacts  # noqa: PLC0415

        recording = file.load_recording(target.facts)
        return ReplayedFacts(recording.facts), recording.through(target.facts)
    return _open_live(target)


def _open_live(target: Target) -> Tuple[Live, Seat]:
    """Open a host or an image again; the deadline includes reading the image."""
    limits = target.limits
    if not target.image:
        host = open_machine(target.root, limits)
        live = _make_live(host, time.monotonic() + limits.run_seconds, limits, verbose=target.verbose)
        door = "live" if host.root == "/" else f"root {target.root}"
        identity = host_identity.identify_host(host, live)
        return live, Seat("running", door, identity, host_identity.list_notices(identity, host.root))
    from nodespec.images import open as image  # noqa: PLC0415 - archive readers are only needed for an image

    end = time.monotonic() + target.limits.run_seconds
    try:
        with Alarm(max(limits.run_seconds, MIN_ALARM_SECONDS)):
            tree = image.open_image(target.image, target.platform, limits)
    except TimedOut:
        message = f"--image {target.image}: not read completely in {limits.run_seconds:g} s; set a longer --deadline"
        raise UsageError(message) from None
    tree.kernel = target.kernel
    live = _make_live(tree, end, limits, verbose=target.verbose)
    door = f"image {target.image}"
    if target.kernel:
        release = live.observe(resolve_place(("kernel", "release")))
        if isinstance(release, Unknown):
            raise UsageError(f"--kernel {target.kernel}: {release.say}")
        door += f", kernel {target.kernel}"
    return live, Seat("at rest", door, host_identity.identify_host(tree, live))


def _make_live(host: Tree, end: float, limits: Limits, *, verbose: bool) -> Live:
    """Return a host to observe until `end` (of time.monotonic); `verbose` prints each observation."""
    if not verbose:
        return Live(host, end, limits)
    from nodespec.run.trace import TracedLive  # noqa: PLC0415 - only needed for --verbose

    return TracedLive(host, end, limits)


def _check_target(target: Target) -> None:
    for option, value in (("--kernel", target.kernel), ("--platform", target.platform)):
        if value and not target.image:
            raise UsageError(f"{option} {value}: requires --image")


def open_machine(root: str, limits: Limits = DEFAULT_LIMITS) -> Machine:
    """Return the running host below a root.

    Raises `UsageError` if no procfs is mounted there, which means that no host runs there.
    """
    host = Machine(root, limits)
    if host.root != "/" and not _is_procfs(f"{host.root}/proc"):
        raise UsageError(f"--root {root}: no procfs at {root}/proc, so no host runs there; for an image, use --image")
    return host


def _is_procfs(path: str) -> bool:
    mounts = Machine().text("/proc/self/mountinfo").then(parse_mounts)
    return isinstance(mounts, Value) and any(
        mount.point == path for mount in list_reachable_mounts(mounts.value, "proc")
    )


def check_waivers(waivers: Tuple[Waiver, ...], plan: Plan) -> None:
    """Refuse waivers that cover nearly every requirement. Raises `UsageError`."""
    if waivers:
        from nodespec.judge.waivers import refuse_broad_waivers  # noqa: PLC0415 - only needed for waivers

        refuse_broad_waivers(waivers, [requirement.id for requirement in plan.requirements])


def check_choice(choice: Choice, plan: Plan) -> None:
    """Raise `UsageError` for a glob of --only or --skip that matches no requirement.

    Such a glob has no effect, although the user meant it to have one.
    """
    if not (choice.only or choice.skip):
        return
    from nodespec.judge.globs import TAG_PREFIX, find_unmatched_glob  # noqa: PLC0415 - only needed for --only and --skip

    option, glob = find_unmatched_glob(choice.only, choice.skip, plan.requirements)
    if option:
        names = [requirement.id for requirement in plan.requirements]
        if glob.startswith(TAG_PREFIX):
            names = [f"{TAG_PREFIX}{tag}" for requirement in plan.requirements for tag in requirement.tags]
        raise UsageError(f"--{option} {glob}: no requirement matches{suggest_name(glob, names)}")
