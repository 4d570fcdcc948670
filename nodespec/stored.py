"""Stored reports: rendered again, or judged again from what they embed."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Dict, Iterator, Tuple, cast

from . import plan as plans
from .conclusion import Choice
from .escape import visible
from .judging import Seat, Terms, judge
from .mistake import Mistake
from .output import targets, write
from .recorded import Recorded
from .report import Finding, Json, Report, code, unpacked

if TYPE_CHECKING:
    import argparse

SIZE = 256 << 20  # bytes of a stored report
JUDGED = ("conclusion", "specs", "params", "waivers", "causes", "asked")  # what follows from plan, facts and clock


def report(args: argparse.Namespace) -> int:
    """`nodespec report`: the exit code is that of the verdict which is rendered."""
    reports = load(args.file)
    return write(reports, targets(args.output), code(reports), every=args.all)


def verify(args: argparse.Namespace) -> int:
    """`nodespec verify`: 0 where what a report embeds comes to what it says; else every difference, and 10."""
    differences = []
    reports = load(args.file)
    for one in reports:
        found = list(_differences(one, again(one)))
        differences += found
        state = f"{len(found)} difference{'s' * (len(found) > 1)}" if found else "comes to the same"
        _say(f"{one.host.name}: {one.conclusion}: judged again by {', '.join(s.name for s in one.specs)}: {state}")
    for line in differences:
        _say(f"  {line}")
    return 10 if differences else 0


def _say(line: str) -> None:
    print(visible(line))  # noqa: T201 - this is what was asked for


def load(path: str) -> Tuple[Report, ...]:
    """The reports of a file; Mistake where it holds none."""
    try:
        data = sys.stdin.buffer.read(SIZE + 1) if path == "-" else _content(path)
        if len(data) > SIZE:
            raise ValueError(f"larger than {SIZE >> 20} MiB")
        document = cast("Dict[str, Json]", json.loads(data))
        _valid(document)
        return unpacked(document)
    except OSError as error:
        raise Mistake(f"{path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Mistake(f"{path}: no report that nodespec wrote: {error}") from None


def _valid(document: Json) -> None:
    """A report is data that anybody may have written: it is held to the published schema before it is believed."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - 90 ms
    from jsonschema.exceptions import best_match  # noqa: PLC0415 - likewise

    from .reports.json import schema  # noqa: PLC0415

    found = best_match(Draft202012Validator(schema()).iter_errors(document))
    if not found and document == {"nodespec": 1, "reports": []}:
        raise ValueError("it holds no host's")
    if found:
        raise ValueError(f"{found.json_path}: {found.message[:200]}")


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(SIZE + 1)


def again(one: Report) -> Report:
    """The report that the embedded plan, facts, waivers and clock come to."""
    try:
        plan = plans.unpacked(cast("Dict[str, Json]", one.plan))
        now = datetime.strptime(one.time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()
        left = frozenset(finding.id for finding in one.findings if finding.outcome == "skipped")
        terms = Terms(now, Choice(strict=one.strict, left=left), one.waivers)
        return judge(plan, Recorded(one.facts), Seat(one.context, one.door, one.host, one.notices), terms)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise Mistake(f"{one.host.name}: the embedded plan, facts or clock cannot be read: {error}") from None


def _differences(said: Report, found: Report) -> Iterator[str]:
    for name in JUDGED:
        before, after = getattr(said, name), getattr(found, name)
        if before != after:
            yield f"{name}: the report says {_beyond(before, after)}, and it comes to {_beyond(after, before)}"
    ids = [[finding.id for finding in one.findings] for one in (said, found)]
    if ids[0] != ids[1]:
        yield f"ids: the report says {_beyond(*ids)}, and it comes to {_beyond(*reversed(ids))}"
    yield from _digests(said)
    known = {finding.id: finding for finding in found.findings}
    for finding in said.findings:
        yield from _finding(finding, known[finding.id]) if finding.id in known else ()


def _beyond(value: object, other: object) -> object:
    """What is said beyond the other; of lists only the members that the other lacks."""
    if not isinstance(value, (tuple, list)) or not isinstance(other, (tuple, list)):
        return value
    return [one for one in value if one not in other] or "no more"


def _finding(said: Finding, found: Finding) -> Iterator[str]:
    for field in Finding._fields:
        before, after = getattr(said, field), getattr(found, field)
        if before != after:
            yield f"{said.id}: {field}: the report says {before!r}, and it comes to {after!r}"


def _digests(said: Report) -> Iterator[str]:
    """The digest of a single spec covers the whole plan; of several, each covers its own part."""
    if len(said.specs) == 1:
        plan = plans.unpacked(cast("Dict[str, Json]", said.plan))
        digest = plans.digest(plan.requirements, plan.params)
        if digest != said.specs[0].digest:
            yield f"digest of {said.specs[0].name}: the report says {said.specs[0].digest}, and it comes to {digest}"
