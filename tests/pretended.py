"""Hosts and specs that exist only in a test: facts by their dotted names, documents by theirs."""

from __future__ import annotations

from typing import Dict, Mapping, Sequence, Tuple, Union

from nodespec.author.spec.library import Library, SpecText
from nodespec.author.spec.resolver import resolve
from nodespec.errors import UsageError
from nodespec.facts.declaration import Place
from nodespec.facts.live import check_observation
from nodespec.facts.value_types import Datum
from nodespec.judge.conclusion import Choice
from nodespec.judge.judge import ALL_REQUIREMENTS, Terms, judge
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.model.plan import Plan
from nodespec.model.report import Finding, Host, Report, Seat, Waiver

NOW = 1_800_000_000.0  # 2027-01-15
HERE = Evidence("/pretended", 7)
HEADS = ("nodespec:", "{", "os:", "kernelSpec:", "cgroups:", "packageSpec")  # of what needs none put before it
ABSENT = Absent(HERE)
HIDDEN = Unknown("hidden", "a curtain", "draw it")
DEFERRED = Unknown("deferred", "only a running machine can tell")
Said = Union[Datum, Observation[Datum], Tuple[str, ...]]  # a tuple: the names of a table's rows


class Pretended:
    """Facts as a test says them: by dotted name, a table's rows under `*`. What it does not say is absent."""

    def __init__(self, said: Mapping[str, Said]) -> None:
        self.said = said
        self.asked: list[str] = []

    def observe(self, place: Place) -> Observation[Datum]:
        name = ".".join(place.path)
        self.asked.append(name)
        seen = self.said.get(name, ABSENT)
        if isinstance(seen, (Value, Absent, Unknown)):
            return check_observation(place, seen)
        assert not isinstance(seen, tuple)
        return check_observation(place, Value(seen, HERE))

    def rows(self, place: Place) -> Union[Tuple[str, ...], Unknown]:
        names = self.said[".".join((*place.owner, "*"))]
        assert isinstance(names, tuple)
        if isinstance(names, Unknown):
            return names
        assert not isinstance(names, Absent)
        return tuple(sorted(names))


class Shelf(Library):
    """A library of texts; the name of each is as one of the library's."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        super().__init__()
        self.texts = texts

    def find(self, name: str, beside: str = "") -> SpecText:
        if name not in self.texts:
            raise UsageError(f"`{name}` stands not on the shelf, nor beside {beside}")
        text = self.texts[name]
        head = "" if text.startswith(HEADS) else "nodespec: 1\n"
        return SpecText(name, name, f"{head}{text}".encode())


def planned(*names: str, **texts: str) -> Plan:
    """The plan of texts: of those that are named, or else of the first."""
    return bound({}, *names, **texts)


def bound(given: Mapping[str, str], *names: str, **texts: str) -> Plan:
    """The plan of texts whose params are set."""
    return resolve(names or [next(iter(texts))], Shelf(texts), given)


def report(
    plan: Plan,
    said: Mapping[str, Said],
    *,
    choice: Choice = ALL_REQUIREMENTS,
    waivers: Sequence[Waiver] = (),
    now: float = NOW,
    context: str = "running",
) -> Report:
    """The report on a host that says this."""
    seat = Seat(context, "live", Host("node-17", "0123456789abcdef"))
    return judge(plan, Pretended(said), seat, Terms(now, choice, tuple(waivers)))


def found(plan: Plan, said: Mapping[str, Said]) -> Dict[str, Finding]:
    """The findings on a host that says this, by id."""
    return {finding.id: finding for finding in report(plan, said).findings}
