"""The gate: a host is looked at, judged by a plan, and reported on. All that a node needs is here and below."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Tuple, Union

from . import conclusion, fleet, identity, recording
from .conclusion import Choice
from .judging import Seat, Terms, judge
from .kinds import nearest
from .looking import Live
from .machine import Machine
from .mistake import Mistake
from .mounts import parsed, reached
from .observation import Value
from .output import targets, write
from .plan import Plan
from .recorded import Recorded
from .report import Report, Waiver, code

if TYPE_CHECKING:
    import argparse

PAUSE = 1.0  # seconds between two tries of --wait


def run(plan: Plan, waivers: Tuple[Waiver, ...], args: argparse.Namespace) -> int:
    """Judge the host that the arguments name, and write the reports: the exit code is the verdict."""
    goals = targets(args.output)
    choice = Choice(tuple(args.only), tuple(args.skip), args.strict)
    _named(choice, plan)
    if args.facts:
        return fleet.run(plan, waivers, choice, goals, args)
    machine(args.root)
    end = time.monotonic() + args.wait
    while True:
        report = look(plan, args.root, args.deadline, Terms(time.time(), choice, waivers))
        if report.exit == 0 or time.monotonic() + PAUSE > end:
            return write([report], goals, code([report]), every=args.all)
        time.sleep(PAUSE)


def look(plan: Plan, root: str, deadline: float, terms: Terms) -> Report:
    """One look at a running host."""
    live = Live(Machine(root), time.monotonic() + deadline)
    return judge(plan, live, _seat(live, root), terms)


def opened(args: argparse.Namespace) -> Tuple[Union[Live, Recorded], Seat]:
    """What the arguments name, host or recording, to be asked for facts."""
    if args.facts:
        found = recording.load(args.facts)
        return Recorded(found.facts), found.through(args.facts)
    live = Live(machine(args.root), time.monotonic() + args.deadline)
    return live, _seat(live, args.root)


def _seat(live: Live, root: str) -> Seat:
    door = "live" if live.host.root == "/" else f"root {root}"
    return Seat("running", door, identity.host(live.host, live), identity.notices(live, live.host.root))


def machine(root: str) -> Machine:
    """The host below a root; Mistake where no host runs there."""
    host = Machine(root)
    if host.root != "/" and not _is_procfs(f"{host.root}/proc"):
        raise Mistake(
            f"--root {root}: {root}/proc is no procfs, so no host runs there; an image is looked at otherwise"
        )
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
