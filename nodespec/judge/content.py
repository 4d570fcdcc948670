"""Hide text of files in the observations of a host, as far as no spec names it.

A report is sent to others, and a file may contain secrets. Numbers and Booleans are shown. A text that the spec does
not name is replaced by a note of its length: an expectation cannot distinguish the two, unless it is a pattern.
"""

from __future__ import annotations

import re
from functools import cache

from nodespec.judge.pattern import list_clauses
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Observation, Value

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Iterable, Mapping, Tuple

    from nodespec.facts.declaration import Place
    from nodespec.facts.value_types import Datum
    from nodespec.judge.evaluation import PreparedPlan
    from nodespec.judge.expectation import Expect

SHOWN = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?|true|false|null|[{\[](?:\.\.\.)?[}\]]|")


def conceal_content(reading: PreparedPlan, place: Place, seen: Observation[Datum]) -> Observation[Datum]:
    """Return an observation without text of a file, except for text that the plan names."""
    if not isinstance(seen, Value) or not place.shows_content:
        return seen
    expects = _collect_expectations(reading).get(place.path, ())
    if any(expect.opaque for expect in expects):
        return seen
    named = frozenset(_iter_texts(expects))
    others = tuple(dict.fromkeys(_hide(other, named) for other in seen.others))
    return Value(_hide(seen.value, named), seen.evidence, others)


@cache
def _collect_expectations(reading: PreparedPlan) -> Mapping[Tuple[str, ...], Tuple[Expect, ...]]:
    """Return the expectations of content, by place."""
    expected: Dict[Tuple[str, ...], Tuple[Expect, ...]] = {}
    for requirement in reading.bound.requirements:
        for data in (requirement.pattern, requirement.when):
            if data and not {"every", "some"} & data.keys():
                for clause in list_clauses(reading.pattern(data)):
                    if clause.place.shows_content:
                        expected[clause.place.path] = (*expected.get(clause.place.path, ()), clause.expect)
    return expected


def _iter_texts(expects: Iterable[Expect]) -> Iterable[str]:
    for expect in expects:
        for case in expect.cases:
            yield from case if isinstance(case, frozenset) else (str(case),)


def _hide(value: Datum, named: FrozenSet[str]) -> Datum:
    if isinstance(value, frozenset):
        return frozenset(str(_hide(member, named)) for member in value)
    text = str(value)
    return value if text in named or SHOWN.fullmatch(text) else f"text of {len(text)} characters, not shown"
