"""Verify a stored report by judging its embedded plan, facts, waivers and time.

Values are compared, not texts: a later version may word a finding differently, which does not count as a difference.
docs/report-json.md documents the comparison of every field.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Dict, Iterator, List, Mapping, Sequence, Tuple, cast

from nodespec import BUILT, __version__
from nodespec.author.verify import consistency
from nodespec.errors import UsageError
from nodespec.judge import conclusion
from nodespec.judge.conclusion import Choice
from nodespec.judge.judge import Terms, judge
from nodespec.model import plan as plans
from nodespec.model.plan import Plan, Requirement
from nodespec.model.report import Cause, Finding, Observed, Part, Report
from nodespec.model.subject import Seat
from nodespec.recording.replay import ReplayedFacts
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from nodespec.model.json_types import Json

TOOL = f"nodespec {__version__}"
UNSEALED = "nodespec 0.1.0"  # the only version that wrote reports without a digest of the plan
HEAD_FIELDS = ("conclusion", "specs", "params", "waivers", "asked")
EQUAL_FIELDS = ("level", "outcome", "disposition", "waiver", "source")  # fields of a finding that must be equal
SPEC_FIELDS = ("why", "fix", "see")  # texts of the spec; generated if the spec has none
NUMBER = re.compile(r"\d[\w.:+~-]*")
MAX_SHOWN_FINDINGS = 5  # maximum findings in the line about wording


class ReportComparison(NamedTuple):
    """Differences, different wording, and parts that this report does not contain."""

    differences: Tuple[str, ...]
    wording: Tuple[Tuple[str, str], ...]  # id of a finding (or `causes`, `notices`), and the field
    missing: Tuple[str, ...]


def compare_report(said: Report) -> ReportComparison:
    """Judge a report again and compare.

    Raises `UsageError` if its embedded data cannot be read.
    """
    try:
        found, plan = judge_again(said), plans.decode_plan(cast("Dict[str, Json]", said.plan))
        wording: List[Tuple[str, str]] = []
        differences = [
            *_compare_head(said, found),
            *_check_plan(said, plan),
            *_check_choice(said),
            *_compare_findings(said, found, plan, wording),
            *_compare_causes(said, found, wording),
            *consistency.find_inconsistencies(said, plan, wording),
        ]
        return ReportComparison(tuple(differences), tuple(dict.fromkeys(wording)), tuple(_list_missing(said)))
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UsageError(f"{said.host.name}: the embedded plan, facts or clock cannot be read: {error}") from None


def judge_again(said: Report) -> Report:
    """Judge the embedded plan, facts, waivers and time, and return the new report."""
    try:
        plan = plans.decode_plan(cast("Dict[str, Json]", said.plan))
        now = datetime.strptime(said.time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()
        terms = Terms(now, _read_choice(said), said.waivers, built=_find_clock_floor(said))
        return judge(plan, ReplayedFacts(said.facts), Seat(said.context, said.door, said.host, said.notices), terms)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{said.host.name}: the embedded plan, facts or clock cannot be read: {error}") from None


def is_sealed(said: Report) -> bool:
    """Return whether the report contains a digest of its plan.

    The first version wrote neither this digest nor --only and --skip.
    """
    return isinstance(said.plan, dict) and "digest" in said.plan


def _read_choice(said: Report) -> Choice:
    if is_sealed(said):
        return Choice(said.only, said.skip, said.strict)
    return Choice(strict=said.strict, left=frozenset(one.id for one in said.findings if one.outcome == "skipped"))


def _find_clock_floor(said: Report) -> str:
    """Return the earliest day on which the version that judged trusted the clock.

    An earlier version has an earlier build day. The result is empty if that day is not known.
    """
    void = any(waiver.state == "void" for waiver in said.waivers)
    return BUILT if said.tool == TOOL or said.time[:10] >= BUILT or void else ""


def _list_missing(said: Report) -> Iterator[str]:
    if is_sealed(said):
        return
    yield "the titles and files of the specs, which the digest of an earlier version does not cover"
    yield "the host's system and kernel where no requirement asks for them: an earlier version embedded no more facts"
    if len(said.specs) > 1:
        yield "the digests, which an earlier version made of each of several specs alone"
    if said.partial:
        yield "which requirements were left out: an earlier version did not write down --only and --skip"


def encode_canonical(value: object) -> str:
    """Encode a value as JSON, which distinguishes true from 1."""
    return json.dumps(value, sort_keys=True)


def _compare_head(said: Report, found: Report) -> Iterator[str]:
    for name in HEAD_FIELDS:
        before, after = getattr(said, name), getattr(found, name)
        if encode_canonical(before) != encode_canonical(after):
            yield _format_difference(said, name, _subtract(before, after), _subtract(after, before))


def _format_difference(said: Report, where: str, before: object, after: object) -> str:
    """Format a difference, with both versions if another version wrote the report."""
    which = f" (written by {said.tool}, judged again by {TOOL})" if said.tool != TOOL else ""
    return f"{where}: the report says {before}, and it comes to {after}{which}"


def _subtract(value: object, other: object) -> object:
    """Return a value; for lists, only the members that the other list lacks."""
    if not isinstance(value, (tuple, list)) or not isinstance(other, (tuple, list)):
        return value
    known = {*map(encode_canonical, other)}
    return [one for one in value if encode_canonical(one) not in known] or "no more"


# the plan


def _check_plan(said: Report, plan: Plan) -> Iterator[str]:
    """Check the digest of the plan, and that of a single spec, which covers the plan."""
    if is_sealed(said):
        embedded = cast("Dict[str, Json]", said.plan)
        digest = plans.compute_seal(embedded)
        if digest != embedded["digest"]:
            yield f"digest of the plan: the report says {embedded['digest']}, and it comes to {digest}"
    elif said.tool != UNSEALED:
        yield f"digest of the plan: the report has none, and {said.tool} writes one"
    if len(said.specs) == 1:
        digest = plans.compute_digest(plan.requirements, plan.params)
        if digest != said.specs[0].digest:
            yield f"digest of {said.specs[0].name}: the report says {said.specs[0].digest}, and it comes to {digest}"


def _check_choice(said: Report) -> Iterator[str]:
    """Check that each glob of --only and --skip selects a requirement.

    `check` refuses other globs.
    """
    ids = [finding.id for finding in said.findings]
    for option, globs in (("only", said.only), ("skip", said.skip)):
        for glob in globs:
            if not any(conclusion.is_left_out(Choice(skip=(glob,)), one) for one in ids):
                yield f"{option}: the report says {glob}, and no requirement is called so"


# findings


def _compare_findings(said: Report, found: Report, plan: Plan, wording: List[Tuple[str, str]]) -> Iterator[str]:
    ids = [[finding.id for finding in one.findings] for one in (said, found)]
    if ids[0] != ids[1]:
        yield _format_difference(said, "ids", _subtract(*ids), _subtract(*reversed(ids)))
    known = {finding.id: finding for finding in found.findings}
    requirements = {requirement.id: requirement for requirement in plan.requirements}
    for finding in said.findings:
        if finding.id in known:
            for field, before, after in _compare_finding(finding, known[finding.id], requirements[finding.id], wording):
                yield _format_difference(said, f"{finding.id}: {field}", before, after)


Differing = Tuple[str, object, object]


def _compare_finding(
    said: Finding, found: Finding, requirement: Requirement, wording: List[Tuple[str, str]]
) -> Iterator[Differing]:
    yield from _compare_fields(said, found, EQUAL_FIELDS)
    for field in SPEC_FIELDS:
        if getattr(requirement, field):
            yield from _compare_fields(said, found, (field,))
        elif getattr(said, field) != getattr(found, field):
            wording.append((said.id, field))
    if said.sentence != found.sentence:
        wording.append((said.id, "sentence"))
    if len(said.parts) != len(found.parts):
        yield "parts", len(said.parts), len(found.parts)
    for before, after in zip(said.parts, found.parts):
        yield from _compare_part(said.id, before, after, requirement, wording)


def _compare_part(
    id_: str, said: Part, found: Part, requirement: Requirement, wording: List[Tuple[str, str]]
) -> Iterator[Differing]:
    for field, before, after in _compare_fields(said, found, ("place", "outcome", "evidence")):
        yield f"{said.place}: {field}", before, after
    if said.expected != found.expected:
        if _extract_values(said.expected, requirement) != _extract_values(found.expected, requirement):
            yield f"{said.place}: expected", said.expected, found.expected
        wording.append((id_, "expected"))
    for field, before, after in _compare_fields(said.observed, found.observed, ("state", "value", "others", "reason")):
        yield f"{said.place}: observed {field}", before, after
    wording += [
        (id_, f"observed.{field}") for field in ("text", "look") if _differs(said.observed, found.observed, field)
    ]


def _differs(said: Observed, found: Observed, field: str) -> bool:
    return bool(getattr(said, field) != getattr(found, field))


def _compare_fields(said: object, found: object, fields: Sequence[str]) -> Iterator[Differing]:
    for field in fields:
        before, after = getattr(said, field), getattr(found, field)
        if encode_canonical(before) != encode_canonical(after):
            yield field, repr(before), repr(after)


def _extract_values(text: str, requirement: Requirement) -> Tuple[Mapping[str, int], Tuple[str, ...]]:
    """Return the values in a text, independent of its wording.

    These are its numbers, and the scalars of the requirement that occur in it.
    """
    words = {*re.findall(r"[\w.*/-]+", text)}
    return Counter(NUMBER.findall(text)), tuple(
        sorted(one for one in _iter_leaves(requirement.pattern) if one in words)
    )


def _iter_leaves(data: object) -> Iterator[str]:
    """Yield the scalars of a pattern."""
    if isinstance(data, dict):
        for value in data.values():
            yield from _iter_leaves(value)
    elif isinstance(data, (list, tuple)):
        for value in data:
            yield from _iter_leaves(value)
    else:
        yield str(data)


def _compare_causes(said: Report, found: Report, wording: List[Tuple[str, str]]) -> Iterator[str]:
    """Compare the causes.

    Another version may group findings differently, but all findings of a cause must have its outcome.
    """
    before, after = ([(one.outcome, list(one.ids)) for one in report.causes] for report in (said, found))
    outcomes = {finding.id: finding.outcome for finding in found.findings}
    possible = all(len(ids) > 1 and {outcomes.get(id_) for id_ in ids} == {outcome} for outcome, ids in before)
    if before != after and (said.tool == TOOL or not possible):
        yield _format_difference(said, "causes", _subtract(before, after), _subtract(after, before))
    elif before != after:
        wording.append(("causes", "ids"))
    pairs: Iterator[Tuple[Cause, Cause]] = zip(said.causes, found.causes)
    wording += [("causes", "say") for one, other in pairs if (one.say, one.look) != (other.say, other.look)]


# wording


def format_wording(wording: Sequence[Tuple[str, str]]) -> str:
    """Format the line about different wording, empty if there is none."""
    fields: Dict[str, List[str]] = {}
    for where, field in wording:
        fields.setdefault(where, []).append(field)
    others = [name for name in ("causes", "notices") if fields.pop(name, None)]
    findings = [f"{len(fields)} finding{'s' * (len(fields) > 1)}"] if fields else []
    if not findings and not others:
        return ""
    shown = [f"{id_} ({', '.join(names)})" for id_, names in [*fields.items()][:MAX_SHOWN_FINDINGS]]
    more = [f"{len(fields) - MAX_SHOWN_FINDINGS} more"] if len(fields) > MAX_SHOWN_FINDINGS else []
    which = f": {', '.join([*shown, *more])}" if shown else ""
    verb = "is" if len(fields) == 1 and not others else "are"
    return f"{' and '.join([*findings, *others])} {verb} worded differently{which}"
