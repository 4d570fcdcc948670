"""The gate: a host is looked at, judged by a plan, and reported on. All that a node needs is here and below."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Tuple, Union

from nodespec.errors import Mistake, nearest
from nodespec.facts.declaration import place
from nodespec.facts.live import Live, alarms
from nodespec.formats.mountinfo import parsed, reached
from nodespec.host.machine import Machine
from nodespec.judge import conclusion
from nodespec.judge.conclusion import Choice
from nodespec.judge.judge import Terms, judge
from nodespec.model.observation import Unknown, Value
from nodespec.model.plan import Plan
from nodespec.model.report import Report, Waiver, code
from nodespec.model.subject import Seat
from nodespec.output.writer import embeds, targets, write
from nodespec.run import host_identity as identity

if TYPE_CHECKING:
    import argparse

    from nodespec.recording.replay import Recorded

PAUSE = 1.0  # seconds between two tries of --wait


def run(plan: Plan, waivers: Tuple[Waiver, ...], args: argparse.Namespace) -> int:
    """Judge the host that the arguments name, and write the reports: the exit code is the verdict."""
    _chosen(args)
    goals = targets(args.output)
    choice = Choice(tuple(args.only), tuple(args.skip), args.strict)
    _named(choice, plan)
    if args.facts:
        from nodespec.run import fleet  # noqa: PLC0415 - only where there are recordings

        return fleet.run(plan, waivers, choice, goals, args)
    deadline = time.monotonic() + args.deadline
    report = judged(plan, waivers, choice, args, embeds=any(map(embeds, goals)))
    return write([report], goals, code([report]), every=args.all, deadline=deadline)


def judged(
    plan: Plan, waivers: Tuple[Waiver, ...], choice: Choice, args: argparse.Namespace, *, embeds: bool = True
) -> Report:
    """The report on the host that the arguments name; one that is not fit is tried again as long as --wait says."""
    end = time.monotonic() + args.wait
    while True:
        with alarms():
            live, seat = _live(args)
            report = judge(plan, live, seat, Terms(time.time(), choice, waivers, embeds))
        if report.exit == 0 or time.monotonic() + PAUSE > end:
            return report
        time.sleep(PAUSE)


def opened(args: argparse.Namespace) -> Tuple[Union[Live, Recorded], Seat]:
    """What the arguments name, host or recording, to be asked for facts."""
    _chosen(args)
    if args.facts:
        from nodespec.recording import file as recording  # noqa: PLC0415 - only where there are recordings
        from nodespec.recording.replay import Recorded  # noqa: PLC0415

        found = recording.load(args.facts)
        return Recorded(found.facts), found.through(args.facts)
    return _live(args)


def _live(args: argparse.Namespace) -> Tuple[Live, Seat]:
    """A fresh look at the host or image that the arguments name; the time counts from when it can be read."""
    if not args.image:
        host = machine(args.root)
        live = Live(host, time.monotonic() + args.deadline)
        door = "live" if host.root == "/" else f"root {args.root}"
        found = identity.host(host, live)
        return live, Seat("running", door, found, identity.notices(found, host.root))
    from nodespec.images import open as image  # noqa: PLC0415 - what reads archives, for who has one

    tree = image.opened(args.image, args.platform)
    tree.kernel = args.kernel
    live = Live(tree, time.monotonic() + args.deadline)
    door = f"image {args.image}"
    if args.kernel:
        seen = live.look(place(("kernel", "release")))
        if isinstance(seen, Unknown):
            raise Mistake(f"--kernel {args.kernel}: {seen.say}")
        door += f", kernel {args.kernel}"
    return live, Seat("at rest", door, identity.host(tree, live))


def _chosen(args: argparse.Namespace) -> None:
    for option, said in (("--kernel", args.kernel), ("--platform", args.platform)):
        if said and not args.image:
            raise Mistake(f"{option} {said}: of an image one is chosen, which --image names")


def machine(root: str) -> Machine:
    """The host below a root; Mistake where no host runs there."""
    host = Machine(root)
    if host.root != "/" and not _is_procfs(f"{host.root}/proc"):
        raise Mistake(f"--root {root}: {root}/proc is no procfs, so no host runs there: an image is named by --image")
    return host


def _is_procfs(path: str) -> bool:
    here = Machine().text("/proc/self/mountinfo").then(parsed)
    return isinstance(here, Value) and any(mount.point == path for mount in reached(here.value, "proc"))


def _named(choice: Choice, plan: Plan) -> None:
    """A glob that selects nothing is a mistake: it was meant to leave something out, and did not."""
    ids = [requirement.id for requirement in plan.requirements]
    for option, globs in (("--only", choice.only), ("--skip", choice.skip)):
        for glob in globs:
            if not any(conclusion.left_out(Choice(skip=(glob,)), one) for one in ids):
                raise Mistake(f"{option} {glob}: no requirement is called so{nearest(glob, ids)}")
