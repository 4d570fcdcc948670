"""Check the consistency of a report: head and facts, context, notices and access."""

from __future__ import annotations

import re

from nodespec.facts import declaration
from nodespec.facts.declaration import Leaf, Place
from nodespec.judge.pattern import PARAMS, list_clauses, parse_pattern
from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.model.observation import DEFERRED
from nodespec.model.plan import Data, Plan, Requirement
from nodespec.model.report import HEAD_FACTS, Report
from nodespec.recording.observation_json import is_not_recorded
from nodespec.recording.replay import ReplayedFacts
from nodespec.run import host_identity

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Mapping, Sequence, Set, Tuple, TypeAlias

    from nodespec.model.json_types import Json

CONTEXT_BY_ACCESS = {"live": "running", "root": "running", "image": "at rest"}  # first word of the access -> context
RUNNING_PATHS = ("/proc/", "/sys/")  # paths that only a running host has
TABLE_KEYS = {"from", "rest", "usual", "runs", "rows", "asked", "globs"}
MAX_SHOWN_ROWS = 3  # maximum rows of one table in a message
RECORDING_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
ACCESS = re.compile(r"\((live|(?:root|image) .*)\)", re.DOTALL)

Columns: TypeAlias = "Dict[str, Set[str]]"  # row -> columns; `*` is every row


def find_inconsistencies(report: Report, plan: Plan, wording: List[Tuple[str, str]]) -> Iterator[str]:
    """Yield a line for each inconsistency."""
    access = _find_access(report)
    yield from _check_facts(report, plan)
    yield from _check_context(report, access)
    if report.defect:
        yield from _check_defect(report)
    else:
        yield from _check_host(report, access)
        yield from _check_notices(report, access, wording)


def _find_access(report: Report) -> str:
    """Return how the host was accessed.

    For a recording, its notice states the access; the result is empty if it does not.
    """
    if report.door.split(" ")[0] != "facts":
        return report.door
    known = ACCESS.search(report.notices[-1]) if report.notices else None
    return known.group(1) if known else ""


def _check_context(report: Report, access: str) -> Iterator[str]:
    kind = access.split(" ", maxsplit=1)[0]
    if kind not in CONTEXT_BY_ACCESS and report.door.split(" ")[0] != "facts":
        yield f"`door`: the report says {report.door}, which is not a way to access a host"
    elif kind and report.context != CONTEXT_BY_ACCESS[kind]:
        context = CONTEXT_BY_ACCESS[kind]
        yield f"context: the report says {report.context}, but access by {kind} means {context}"
    parts = [part for finding in report.findings for part in finding.parts]
    if report.context == "running" and any(part.observed.state == DEFERRED for part in parts):
        yield "context: the report says running, but facts are deferred to a running machine"
    values = (item.source for part in parts if part.observed.state == "value" for item in part.evidence)
    source = next((path for path in values if path.startswith(RUNNING_PATHS)), "")
    if report.context == "at rest" and source:
        yield f"context: the report says at rest, but {source} was read"


def _check_defect(report: Report) -> Iterator[str]:
    """Check the report on a host that nodespec failed to judge.

    It must contain no observations of facts, and a notice must state the failure.
    """
    parts = (part for finding in report.findings for part in finding.parts)
    observed = next(
        (part.place for part in parts if part.observed.state != "unknown" and not part.place.startswith(PARAMS)), ""
    )
    if observed:
        yield f"defect: the report says that the host was not judged, but {observed} was observed"
    if not any(report.defect in notice for notice in report.notices):
        yield "notices: no notice says that the host was not judged"


# the host


def _check_host(report: Report, access: str) -> Iterator[str]:
    facts = ReplayedFacts(report.facts)
    recorded = report.door.split(" ")[0] == "facts"  # the head of the recording identifies the host
    sealed = isinstance(report.plan, dict) and "digest" in report.plan
    contained = report.host.container and access == "live"
    for field, path in HEAD_FACTS.items():
        stated = getattr(report.host, field)
        place = declaration.resolve_place(path)
        if is_not_recorded(facts.observe(place)):
            if stated and sealed and not recorded:
                yield f"host.{field}: the report says {stated}, but its facts do not contain it"
            continue
        known = host_identity.read_fact_text(facts, path)
        if field == "next":
            known = "" if contained or report.context != "running" or known == report.host.kernel else known
        if stated != known and (stated or not recorded):
            yield f"host.{field}: the report says {stated or 'nothing'}, but its facts say {known or 'nothing'}"


# notices


def _check_notices(report: Report, access: str, wording: List[Tuple[str, str]]) -> Iterator[str]:
    left = [*report.notices]
    if report.door.split(" ")[0] == "facts":
        recorded = left.pop() if left else ""
        if not RECORDING_TIME.search(recorded):
            yield "notices: the notice with the time of the recording is missing"
    if access.split(" ", maxsplit=1)[0] not in ("live", "root"):
        return
    root = "/" if access == "live" else access.partition(" ")[2]
    for kind, values, text in host_identity.iter_notices(report.host, root):
        notice = next((notice for notice in left if all(value in notice for value in values)), None)
        if notice is None:
            yield f"notices: the notice about the {kind} is missing: {text}"
        elif notice != text:
            wording.append(("notices", kind))


# facts


def _check_facts(report: Report, plan: Plan) -> Iterator[str]:
    """Yield a line for each embedded fact that no judged requirement uses."""
    left_out = {finding.id for finding in report.findings if finding.outcome == "skipped"}
    asked = _collect_asked([requirement for requirement in plan.requirements if requirement.id not in left_out], plan)
    for name, note in ReplayedFacts(report.facts).notes.items():
        rows = asked.get(name)
        extra = [*_find_extra(note, rows)] if rows and isinstance(note, dict) else []
        if rows is None:
            yield f"facts: no judged requirement uses {name}"
        elif extra:
            shown = ", ".join(f"{name}.{row}" for row in extra[:MAX_SHOWN_ROWS])
            more = f" and {len(extra) - MAX_SHOWN_ROWS} more" if len(extra) > MAX_SHOWN_ROWS else ""
            yield f"facts: no judged requirement uses {shown}{more}"
    if not isinstance(report.facts, dict):
        yield "facts: the report contains none"


def _find_extra(note: Mapping[str, Json], rows: Columns) -> Iterator[str]:
    """Yield the rows and columns of a table that no requirement uses."""
    yield from (key for key in note if key not in TABLE_KEYS)
    for part in ("rows", "asked"):
        noted = note.get(part)
        for key, row in noted.items() if isinstance(noted, dict) else ():
            columns = rows.get(key, set()) | rows.get("*", set())
            if not columns:
                yield key
            elif "." in columns and isinstance(row, dict):  # a row of columns
                yield from (f"{key}.{column}" for column in row if column not in columns)


def _collect_asked(requirements: Sequence[Requirement], plan: Plan) -> Dict[str, Columns]:
    """Return the facts that requirements and the head of the report use.

    The result maps the name of a fact or table to its rows and columns.
    """
    asked: Dict[str, Columns] = {".".join(path): {} for path in HEAD_FACTS.values()}
    params = {param.name: param for param in plan.params}
    for requirement in requirements:
        for data in filter(None, (requirement.pattern, requirement.when)):
            if not {"every", "some"} & data.keys():
                for place in _iter_places(data, plan):
                    _add_place(asked, place)
                continue
            table = declaration.resolve_place(tuple(cast("List[str]", data["every" if "every" in data else "some"])))
            row = table._replace(path=(*table.path, "*"), key="*")
            _add_place(asked, row)
            for part in (data[name] for name in ("where", "require") if name in data):
                for clause in list_clauses(parse_pattern(cast("Data", part), params, row)):
                    for place in clause.places:
                        _add_place(asked, place)
    return asked


def _iter_places(data: Data, plan: Plan) -> Iterator[Place]:
    for clause in list_clauses(parse_pattern(data, {param.name: param for param in plan.params})):
        if clause.place.path[0] != PARAMS:
            yield from clause.places


def _add_place(asked: Dict[str, Columns], place: Place) -> None:
    rows = asked.setdefault(".".join(place.owner), {})
    if not isinstance(place.fact, Leaf):
        columns = {"is", "."} if place.fact.columns else {"is"}
        rows.setdefault(place.key, set()).update(columns | ({place.column} if place.column else set()))
