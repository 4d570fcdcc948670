"""What people and other runs of nodespec wrote: specs, waivers, recordings, reports. What can be judged is judged."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Mapping, Tuple, cast

from feed import Parser, bomb, by_parts
from hosts import Reader, planted, write

from nodespec.author.spec.library import Library, SpecText
from nodespec.author.spec.resolver import resolve
from nodespec.errors import EXIT, UsageError
from nodespec.facts import declaration
from nodespec.facts.live import Facts, Live
from nodespec.judge import waivers
from nodespec.judge.judge import Terms, judge
from nodespec.model.plan import Plan
from nodespec.model.report import Host, Seat, Style
from nodespec.output.facts_yaml import format_facts
from nodespec.recording import file
from nodespec.recording.replay import ReplayedFacts
from nodespec.reports import text
from nodespec.run.record import record_host

if TYPE_CHECKING:
    from mutation import Json

TOP = Path(__file__).parents[2]
SEAT = Seat("running", "live", Host("node-17", "0123456789abcdef"))
TERMS = Terms(1_800_000_000.0)


class Shelf(Library):
    """The library, and the one document that is read."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data

    def find(self, name: str, beside: str = "") -> SpecText:
        return SpecText("read.yaml", "read", self.data) if name == "read.yaml" else super().find(name, beside)


@lru_cache(maxsize=1)
def fit() -> file.Recording:
    """All that a fit node says."""
    live = Live(Reader(planted("fit-node")), float("inf"))
    return file.parse_recording(
        file.encode_recording(record_host(declaration.list_families(), live, SEAT, reveal=True)[0], compressed=False)
    )


def verdict(plan: Plan, facts: Facts, *, show: bool) -> None:
    """The report on a host has every requirement once and no defect; it can be shown, which takes longest."""
    report = judge(plan, facts, SEAT, TERMS)
    assert report.conclusion in EXIT
    assert [one.id for one in report.findings] == [one.id for one in plan.requirements]
    assert not any(part.observed.reason == "defect" for one in report.findings for part in one.parts)
    if not show:
        return
    shown = text.render([report], Style(every=True))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown), "a control character is shown"
    shown.encode()


def spec(data: bytes) -> None:
    """Mistakes with their positions, or a plan by which a host is judged."""
    try:
        plan = resolve(["read.yaml"], Shelf(data), {})
    except UsageError as mistake:
        lost = [said for said in mistake.messages or ("",) if not re.match(r"(?s)read\.yaml:\d+:\d+: .|param ", said)]
        if lost:
            raise AssertionError(f"without words or position: {lost}") from mistake
        return
    verdict(plan, ReplayedFacts(fit().facts), show=True)


def waiver(data: bytes) -> None:
    path = f"{planted()}/waivers.yaml"
    write(path, data)
    with contextlib.suppress(UsageError):
        for one in waivers.load(path):
            assert one.ids
            assert one.hosts


def bad_specs() -> Tuple[bytes, ...]:
    records = re.split(r"\n\n+", (TOP / "tests/nodespec/bad-specs.txt").read_text("utf-8"))
    bodies = ("".join(f"{line[4:]}\n" for line in one.splitlines() if line.startswith("    ")) for one in records)
    return tuple(f"nodespec: 1\n{body}".encode() for body in bodies if body)


def shown_specs() -> Tuple[bytes, ...]:
    pages = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
    blocks = [one for page in pages for one in re.findall(r"(?ms)^```yaml[^\n]*\n(.*?)^```$", page.read_text("utf-8"))]
    found = tuple(block.encode() for block in blocks if block.startswith("nodespec: 1"))
    assert found
    return found


# what a host says, recorded


@lru_cache(maxsize=1)
def small() -> Plan:
    return resolve(["read.yaml"], Shelf(max(shown_specs(), key=len)), {})


def recorded(data: bytes) -> None:
    """No recording, or one that is judged and told."""
    try:
        made = file.parse_recording(data)
    except (ValueError, RecursionError):  # which `load` makes a mistake of
        return
    facts = ReplayedFacts(made.facts)
    sometimes = len(data) % 8 == 0
    verdict(small(), facts, show=sometimes)
    for line in format_facts(declaration.list_families() if sometimes else (), facts, every=True):
        assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e]", line)


def recordings() -> Parser:
    whole = cast("Dict[str, Json]", json.loads(file.format_recording(fit())))
    facts = cast("Dict[str, Json]", whole["facts"])
    few = [dict(list(facts.items())[at::5]) for at in range(5)]
    seeds: Tuple[Json, ...] = tuple({**whole, "facts": _short(one)} for one in few)
    made = by_parts(recorded, seeds)

    def make(program: bytes) -> bytes:
        data = made.make(program)
        return gzip.compress(data, 1, mtime=0) if program[-1:] < b"\x20" else data

    return made._replace(make=make, extremes=lambda: (bomb(), b"[" * 100_000, b'{"a":' * 100_000))


def _short(facts: Dict[str, Json]) -> Dict[str, Json]:
    """Facts whose tables have few rows."""
    return {name: {**fact, **_rows(fact)} if isinstance(fact, dict) else fact for name, fact in facts.items()}


def _rows(fact: Mapping[str, Json]) -> Dict[str, Json]:
    rows = fact.get("rows")
    return {"rows": dict(list(rows.items())[:3])} if isinstance(rows, dict) else {}
