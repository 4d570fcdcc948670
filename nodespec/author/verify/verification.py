"""Verify a stored report by judging its embedded plan, facts, waivers and time.

Values are compared, not texts: a later version may word a finding differently, which does not count as a difference.
docs/report-json.md documents the comparison of every field.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import datetime, timezone

from nodespec import BUILT, __version__
from nodespec.author.verify import consistency
from nodespec.errors import UsageError
from nodespec.judge.conclusion import Choice
from nodespec.judge.globs import find_unmatched_glob
from nodespec.judge.judge import Terms, judge
from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.model import plan as plans
from nodespec.model import plan_json
from nodespec.model.plan import Plan, Requirement
from nodespec.model.report import Cause, Finding, Observed, Part, Report, Seat
from nodespec.recording.replay import ReplayedFacts
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Mapping, Sequence, Tuple, TypeAlias

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


def compare_report(report: Report) -> ReportComparison:
    """Judge a report again and compare.

    Raises `UsageError` if its embedded data cannot be read.
    """
    try:
        judged, plan = judge_again(report), plans.decode_plan(cast("Dict[str, Json]", report.plan))
        wording: List[Tuple[str, str]] = []
        differences = [
            *_compare_head(report, judged),
            *_check_plan(report, plan),
            *_check_choice(report),
            *_compare_findings(report, judged, plan, wording),
            *_compare_causes(report, judged, wording),
            *consistency.find_inconsistencies(report, plan, wording),
        ]
        return ReportComparison(tuple(differences), tuple(dict.fromkeys(wording)), tuple(_list_missing(report)))
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UsageError(f"{report.host.name}: the embedded plan, facts or time cannot be read: {error}") from None


def judge_again(report: Report) -> Report:
    """Judge the embedded plan, facts, waivers and time, and return the new report."""
    try:
        plan = plans.decode_plan(cast("Dict[str, Json]", report.plan))
        now = datetime.strptime(report.time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()
        terms = Terms(now, _read_choice(report), report.waivers, built=_find_clock_floor(report))
        return judge(
            plan, ReplayedFacts(report.facts), Seat(report.context, report.door, report.host, report.notices), terms
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{report.host.name}: the embedded plan, facts or time cannot be read: {error}") from None


def is_sealed(report: Report) -> bool:
    """Return whether the report contains a digest of its plan.

    The first version wrote neither this digest nor --only and --skip.
    """
    return isinstance(report.plan, dict) and "digest" in report.plan


def _read_choice(report: Report) -> Choice:
    if is_sealed(report):
        return Choice(report.only, report.skip, report.strict)
    return Choice(
        strict=report.strict, left=frozenset(finding.id for finding in report.findings if finding.outcome == "skipped")
    )


def _find_clock_floor(report: Report) -> str:
    """Return the earliest day on which the version that judged trusted the clock.

    An earlier version has an earlier build day. The result is empty if that day is not known.
    """
    void = any(waiver.state == "void" for waiver in report.waivers)
    return BUILT if report.tool == TOOL or report.time[:10] >= BUILT or void else ""


def _list_missing(report: Report) -> Iterator[str]:
    if is_sealed(report):
        return
    yield "the titles and files of the specs, which the digest of an earlier version does not cover"
    yield "the host's system and kernel, unless a requirement uses them: an earlier version embedded no other facts"
    if len(report.specs) > 1:
        yield "the digests of several specs, which an earlier version computed for each spec alone"
    if report.partial:
        yield "the skipped requirements: an earlier version did not record --only and --skip"


def encode_canonical(value: object) -> str:
    """Encode a value as JSON, which distinguishes true from 1."""
    return json.dumps(value, sort_keys=True)


def _compare_head(report: Report, judged: Report) -> Iterator[str]:
    for name in HEAD_FIELDS:
        before, after = getattr(report, name), getattr(judged, name)
        if encode_canonical(before) != encode_canonical(after):
            yield _format_difference(report, name, _subtract(before, after), _subtract(after, before))


def _format_difference(report: Report, where: str, before: object, after: object) -> str:
    """Format a difference, with both versions if another version wrote the report."""
    which = f" (written by {report.tool}, judged again by {TOOL})" if report.tool != TOOL else ""
    return f"{where}: the report says {before}, but the result is {after}{which}"


def _subtract(value: object, other: object) -> object:
    """Return a value; for lists, only the members that the other list lacks."""
    if not isinstance(value, (tuple, list)) or not isinstance(other, (tuple, list)):
        return value
    known = {*map(encode_canonical, other)}
    return [item for item in value if encode_canonical(item) not in known] or "nothing else"


# the plan


def _check_plan(report: Report, plan: Plan) -> Iterator[str]:
    """Check the digest of the plan, and that of a single spec, which covers the plan."""
    if is_sealed(report):
        embedded = cast("Dict[str, Json]", report.plan)
        digest = plan_json.compute_seal(embedded)
        if digest != embedded["digest"]:
            yield f"digest of the plan: the report says {embedded['digest']}, but the digest is {digest}"
    elif report.tool != UNSEALED:
        yield f"digest of the plan: the report has none, but {report.tool} writes one"
    if len(report.specs) == 1:
        spec, digest = report.specs[0], plans.compute_digest(plan.requirements, plan.params)
        if digest != spec.digest:
            yield f"digest of {spec.name}: the report says {spec.digest}, but the digest is {digest}"


def _check_choice(report: Report) -> Iterator[str]:
    """Check that each glob of --only and --skip selects a requirement.

    `check` refuses other globs.
    """
    for option, globs in (("only", report.only), ("skip", report.skip)):
        for glob in globs:
            if find_unmatched_glob((glob,), (), report.findings)[0]:
                yield f"{option}: the report says {glob}, but no requirement matches"


# findings


def _compare_findings(report: Report, judged: Report, plan: Plan, wording: List[Tuple[str, str]]) -> Iterator[str]:
    ids = [[finding.id for finding in each.findings] for each in (report, judged)]
    if ids[0] != ids[1]:
        yield _format_difference(report, "ids", _subtract(*ids), _subtract(*reversed(ids)))
    known = {finding.id: finding for finding in judged.findings}
    requirements = {requirement.id: requirement for requirement in plan.requirements}
    for finding in report.findings:
        if finding.id in known:
            for field, before, after in _compare_finding(finding, known[finding.id], requirements[finding.id], wording):
                yield _format_difference(report, f"{finding.id}: {field}", before, after)


Differing: TypeAlias = "Tuple[str, object, object]"


def _compare_finding(
    stored: Finding, judged: Finding, requirement: Requirement, wording: List[Tuple[str, str]]
) -> Iterator[Differing]:
    yield from _compare_fields(stored, judged, EQUAL_FIELDS)
    yield from _compare_fields(stored, judged, ("tags",))
    for field in SPEC_FIELDS:
        if field == "fix" and stored.outcome != "fail" and stored.fix == requirement.fix:
            continue  # Earlier versions embedded the fix of every requirement.
        if getattr(requirement, field):
            yield from _compare_fields(stored, judged, (field,))
        elif getattr(stored, field) != getattr(judged, field):
            wording.append((stored.id, field))
    if stored.sentence != judged.sentence:
        wording.append((stored.id, "sentence"))
    if len(stored.parts) != len(judged.parts):
        yield "parts", len(stored.parts), len(judged.parts)
    for before, after in zip(stored.parts, judged.parts):
        yield from _compare_part(stored.id, before, after, requirement, wording)


def _compare_part(
    id_: str, stored: Part, judged: Part, requirement: Requirement, wording: List[Tuple[str, str]]
) -> Iterator[Differing]:
    for field, before, after in _compare_fields(stored, judged, ("place", "outcome", "evidence")):
        yield f"{stored.place}: {field}", before, after
    if stored.expected != judged.expected:
        if _extract_values(stored.expected, requirement) != _extract_values(judged.expected, requirement):
            yield f"{stored.place}: expected", stored.expected, judged.expected
        wording.append((id_, "expected"))
    for field, before, after in _compare_fields(
        stored.observed, judged.observed, ("state", "value", "others", "reason")
    ):
        yield f"{stored.place}: observed {field}", before, after
    wording += [
        (id_, f"observed.{field}") for field in ("text", "look") if _differs(stored.observed, judged.observed, field)
    ]


def _differs(stored: Observed, judged: Observed, field: str) -> bool:
    return bool(getattr(stored, field) != getattr(judged, field))


def _compare_fields(stored: object, judged: object, fields: Sequence[str]) -> Iterator[Differing]:
    for field in fields:
        before, after = getattr(stored, field), getattr(judged, field)
        if encode_canonical(before) != encode_canonical(after):
            yield field, repr(before), repr(after)


def _extract_values(text: str, requirement: Requirement) -> Tuple[Mapping[str, int], Tuple[str, ...]]:
    """Return the values in a text, independent of its wording.

    These are its numbers, and the scalars of the requirement that occur in it.
    """
    words = {*re.findall(r"[\w.*/-]+", text)}
    return Counter(NUMBER.findall(text)), tuple(
        sorted(leaf for leaf in _iter_leaves(requirement.pattern) if leaf in words)
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


def _compare_causes(report: Report, judged: Report, wording: List[Tuple[str, str]]) -> Iterator[str]:
    """Compare the causes.

    Another version may group findings differently, but all findings of a cause must have its outcome.
    """
    before, after = ([(cause.outcome, list(cause.ids)) for cause in side.causes] for side in (report, judged))
    outcomes = {finding.id: finding.outcome for finding in judged.findings}
    possible = all(len(ids) > 1 and {outcomes.get(id_) for id_ in ids} == {outcome} for outcome, ids in before)
    if before != after and (report.tool == TOOL or not possible):
        yield _format_difference(report, "causes", _subtract(before, after), _subtract(after, before))
    elif before != after:
        wording.append(("causes", "ids"))
    pairs: Iterator[Tuple[Cause, Cause]] = zip(report.causes, judged.causes)
    wording += [("causes", "say") for cause, other in pairs if (cause.say, cause.look) != (other.say, other.look)]


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
