"""Judge one host: a plan, facts, waivers and a clock give a report."""

from __future__ import annotations

import time

from nodespec import BUILT, __version__
from nodespec.errors import DEFECT
from nodespec.facts import declaration
from nodespec.facts.declaration import Place
from nodespec.facts.live import Facts, Live
from nodespec.judge import conclusion, evaluation
from nodespec.judge.conclusion import Choice
from nodespec.judge.evaluation import PreparedPlan
from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.model.observation import DEFAULT_LIMITS, Limits, Unknown
from nodespec.model.plan import Plan, Requirement
from nodespec.model.report import HEAD_FACTS, Finding, Host, Param, Report, Seat, Waiver
from nodespec.recording.observation_json import is_not_recorded
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Optional, Sequence, Tuple

    from nodespec.facts.value_types import Datum
    from nodespec.model.json_types import Json
    from nodespec.model.observation import Observation
    from nodespec.recording.tee import TeeFacts

ALL_REQUIREMENTS = Choice()


class Terms(NamedTuple):
    """Settings of a judgment. `now` is the time in seconds since the epoch."""

    now: float
    choice: Choice = ALL_REQUIREMENTS
    waivers: Tuple[Waiver, ...] = ()
    embeds: bool = True  # embed the plan and all observations: needed only if the report is stored
    built: str = BUILT  # the earliest day on which the clock is trusted
    limits: Limits = DEFAULT_LIMITS  # `run_seconds` bounds access other than live, which has its own deadline


def judge(plan: Plan, looked: Facts, seat: Seat, terms: Terms, reading: Optional[PreparedPlan] = None) -> Report:
    """Judge one host and return the report.

    For several hosts, pass as `reading` their plan, prepared for the context of this host.
    """
    reading = reading or PreparedPlan(plan, seat.context)
    if isinstance(looked, Live):
        looked.conceal = lambda place, seen: _conceal(reading, place, seen)
    noted = _record(looked) if terms.embeds else None
    end = looked.deadline if isinstance(looked, Live) else time.monotonic() + terms.limits.run_seconds
    if terms.choice not in reading.parts:
        asked = tuple(one for one in plan.requirements if not conclusion.is_left_out(terms.choice, one))
        reading.parts[terms.choice] = plan._replace(requirements=asked)
    part = reading.parts[terms.choice]
    judged = {
        one.finding.id: one for one in evaluation.evaluate_plan(part, noted or looked, end, reading, terms.limits)
    }
    findings = tuple(
        judged[one.id].finding if one.id in judged else _make_skipped_finding(one) for one in plan.requirements
    )
    today = time.strftime("%Y-%m-%d", time.gmtime(terms.now))
    hosts = (seat.host.name, seat.host.id)
    waivers = _evaluate_waivers(terms, findings, hosts, today)
    if noted:
        _observe_head(noted, seat.host)
    disposed = reading.disposed(findings, waivers, terms.choice)
    return Report(
        conclusion=conclusion.derive_conclusion(disposed, seat.context),
        context=seat.context,
        door=seat.door,
        time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(terms.now)),
        tool=f"nodespec {__version__}",
        host=seat.host,
        specs=plan.specs,
        params=tuple(Param(one.name, one.value, one.source, one.why) for one in reading.bound.params),
        waivers=waivers,
        findings=disposed,
        causes=evaluation.group_causes(list(judged.values())),
        notices=seat.notices,
        strict=terms.choice.strict,
        asked=len(part.requirements),
        only=terms.choice.only,
        skip=terms.choice.skip,
        plan=reading.packed if noted else None,
        facts=cast("Json", noted.notes) if noted else None,
    )


def _evaluate_waivers(
    terms: Terms, findings: Sequence[Finding], hosts: Sequence[str], today: str
) -> Tuple[Waiver, ...]:
    if not terms.waivers:
        return ()
    from nodespec.judge.waiver_state import FindingIndex, evaluate_waiver  # noqa: PLC0415 - only needed for waivers

    named = FindingIndex(findings)
    return tuple(evaluate_waiver(one, named, hosts, today, terms.built) for one in terms.waivers)


def _record(facts: Facts) -> TeeFacts:
    from nodespec.recording.tee import TeeFacts  # noqa: PLC0415 - only needed for a report that is stored

    return facts if isinstance(facts, TeeFacts) else TeeFacts(facts)


def _conceal(reading: PreparedPlan, place: Place, seen: Observation[Datum]) -> Observation[Datum]:
    """Return an observation without the text of a file that the plan does not name."""
    from nodespec.judge.content import conceal_content  # noqa: PLC0415 - few specs name the content of files

    return conceal_content(reading, place, seen)


def _observe_head(noted: TeeFacts, host: Host) -> None:
    """Capture the facts that the head of the report repeats.

    `verify` compares the head with them.
    """
    for field, path in HEAD_FACTS.items():
        place = declaration.resolve_place(path)
        if getattr(host, field) and not is_not_recorded(noted.facts.observe(place)):
            noted.observe(place)


class NotObserved:
    """Facts of a host that could not be judged: all are unknown for one reason."""

    def __init__(self, reason: Unknown) -> None:
        self.reason = reason

    def observe(self, place: Place) -> Unknown:  # noqa: ARG002 - the same result for all places
        """Return the observation of one place."""
        return self.reason

    def rows(self, place: Place) -> Unknown:  # noqa: ARG002 - likewise
        """Return the names of all rows of a table."""
        return self.reason


def make_failed_report(plan: Plan, seat: Seat, terms: Terms, say: str, hint: str) -> Report:
    """Return the report on a host that nodespec failed to judge.

    Every requirement is unknown, and the exit code is 70.
    """
    say = f"not judged: {say}"
    seat = seat._replace(notices=(f"{say} (exit {DEFECT})", *seat.notices))
    report = judge(plan, NotObserved(Unknown("defect", say, hint)), seat, terms)
    return report._replace(conclusion="indeterminate", defect=say)


def _make_skipped_finding(requirement: Requirement) -> Finding:
    fields = (requirement.why, "", requirement.see, requirement.source, ())
    head = (requirement.id, requirement.level, "skipped", "skipped", "not selected on the command line")
    return Finding(*head, *fields, tags=requirement.tags)
