"""Evaluate a quantified rule, `every` or `some`, on the rows of a table."""

from __future__ import annotations

import time
from itertools import chain

from nodespec.facts import declaration
from nodespec.facts.declaration import Place, Table
from nodespec.facts.value_types import UndecidedError
from nodespec.judge import pattern as patterns
from nodespec.judge.clause_result import ClauseResult, compare_observation, join_results
from nodespec.judge.pattern import Clause, Params, Pattern
from nodespec.light_typing import TYPE_CHECKING, Protocol, cast
from nodespec.model.observation import DEFERRED, Unknown

if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Optional, Sequence, Tuple, Union

    from nodespec.facts.value_types import Datum
    from nodespec.model.observation import Observation
    from nodespec.model.plan import Data, Node

ROWS_PER_TIME_CHECK = 256  # rows between two checks of the deadline
MAX_SHOWN_ROWS = 50  # maximum rows in the report of a quantified rule; its text counts all rows


class RowLister(Protocol):
    """Tables whose rows can be listed."""

    def rows(self, place: Place) -> Union[Tuple[str, ...], Unknown]:
        """Return the names of all rows of a table, or of those that match the key of the place as a glob."""
        raise NotImplementedError


class RowFacts(RowLister, Protocol):
    """Facts of a host, parameters, and the deadline. `late` is set after a timeout."""

    end: float
    late: bool

    @property
    def params(self) -> Params:
        """The parameters by name."""
        raise NotImplementedError

    def observe(self, place: Place) -> Observation[Datum]:
        """Return the observation of a place."""
        raise NotImplementedError

    def evaluate(self, pattern: Pattern) -> Tuple[ClauseResult, ...]:
        """Return the clause results of a pattern."""
        raise NotImplementedError


def evaluate_rows(data: Data, facts: RowFacts) -> Tuple[str, Tuple[ClauseResult, ...], str]:
    """Evaluate a quantified rule, `every` or `some`, on the rows of a table.

    Returns the outcome, the clause results to show, and the text.
    """
    how = "every" if "every" in data else "some"
    path = tuple(cast("List[str]", data[how]))
    table = declaration.resolve_place(path)
    names = list_matching_rows(data, table, facts)
    if isinstance(names, Unknown):
        return (DEFERRED if names.reason == DEFERRED else "unknown"), (), names.say
    none = "pass" if data.get("or-none") == "true" else "fail"
    rows: List[Tuple[str, str]] = []  # for each row: whether it matches, and whether it is as required
    shown = _ShownRows(data)
    row = table._replace(path=(*path, "*"), key="*")
    where, require = (
        _parse_row_pattern(data[key], row, facts) if key in data else None for key in ("where", "require")
    )
    for number, name in enumerate(names):
        if number % ROWS_PER_TIME_CHECK == 0 and time.monotonic() > facts.end:
            facts.late = True
            return "unknown", (), f"timed out after {number} of {len(names)} rows; set a longer --deadline"
        condition, required = _evaluate_row(where, require, name, facts, shown)
        if condition != "fail":
            rows.append((condition, required))
    if not rows:
        return none, (), f"no {cast('Table', table.fact).noun} matches"
    outcomes = [_weigh_row(how, *row) for row in rows]
    outcome = patterns.join_outcomes("all" if how == "every" else "any", outcomes)
    if all(condition != "pass" for condition, _ in rows):  # possibly no row matches
        outcome = none if {required for _, required in rows} == {none} else _join_undecided(chain.from_iterable(rows))
    return outcome, tuple((shown.deciding or shown.first)[:MAX_SHOWN_ROWS]), f"{how} row: {_format_counts(outcomes)}"


def list_matching_rows(data: Data, table: Place, facts: RowLister) -> Union[Tuple[str, ...], Unknown]:
    """Return the names of the rows that a rule is about: all rows, or those that match `names`."""
    if "names" not in data:
        return facts.rows(table)
    from nodespec.formats.glob import matches_glob  # noqa: PLC0415 - few rules have `names`

    globs = cast("List[str]", data["names"])
    found: Dict[str, None] = {}
    fact = cast("Table", table.fact)
    for place in [table] if fact.closed else [table._replace(path=(*table.path, glob), key=glob) for glob in globs]:
        names = facts.rows(place)
        if isinstance(names, Unknown):
            return names
        found.update(dict.fromkeys(names))
    return tuple(name for name in found if not fact.closed or any(matches_glob(glob, name) for glob in globs))


class _ShownRows:
    """The clause results of rows that the report shows.

    These are the results that do not pass, else the results of the first rows. Others are not computed.
    """

    def __init__(self, data: Data) -> None:
        require = data["require"]
        self.plain = isinstance(require, dict) and "column" in require  # one clause: it passes if the row passes
        self.deciding: List[ClauseResult] = []
        self.first: List[ClauseResult] = []

    def accepts(self, outcome: str) -> bool:
        """Return whether the report may show a row with this outcome."""
        return len(self.deciding) < MAX_SHOWN_ROWS and (
            outcome != "pass" or not self.plain or len(self.first) < MAX_SHOWN_ROWS
        )

    def add(self, results: Sequence[ClauseResult]) -> None:
        """Add the clause results of a row."""
        self.deciding += [result for result in results if result.part.outcome != "pass"]
        if len(self.first) < MAX_SHOWN_ROWS:
            self.first += results


def _join_undecided(outcomes: Iterable[str]) -> str:
    return "unknown" if "unknown" in outcomes else DEFERRED


def _weigh_row(how: str, condition: str, required: str) -> str:
    """Return the outcome of a row that possibly matches.

    Such a row cannot make `every` fail or `some` pass.
    """
    if condition == "pass" or required == ("pass" if how == "every" else "fail"):
        return required
    return _join_undecided((condition, required))


def _parse_row_pattern(part: Node, row: Place, facts: RowFacts) -> Pattern:
    """Return the pattern of a rule for the placeholder row `*`.

    It is parsed once for all rows.
    """
    return patterns.parse_pattern(cast("Data", part), facts.params, row)


def _evaluate_row(
    where: Optional[Pattern], require: Optional[Pattern], name: str, facts: RowFacts, shown: _ShownRows
) -> Tuple[str, str]:
    """Return whether a row matches, and whether it is as required."""
    condition = "pass"
    if where is not None:
        condition = _find_outcome(_bind_row(where, name), facts)
        if condition == "fail":
            return condition, "pass"
    required = _bind_row(cast("Pattern", require), name)
    outcome = _find_outcome(required, facts)
    if shown.accepts(outcome):
        shown.add(facts.evaluate(required))
    return condition, outcome


def _find_outcome(pattern: Pattern, facts: RowFacts) -> str:
    """Return the outcome of a pattern without clause results.

    Tables can have many rows, and the report shows few of them.
    """
    if isinstance(pattern, Clause) and not pattern.expect.opaque and not pattern.other:
        return _compare(pattern, facts)
    if any(clause.expect.opaque or clause.other for clause in patterns.list_clauses(pattern)):
        return join_results(pattern, facts.evaluate(pattern))
    return patterns.compute_outcome(pattern, lambda clause: _compare(clause, facts))


def _compare(clause: Clause, facts: RowFacts) -> str:
    try:
        return compare_observation(clause, facts.observe(clause.place))
    except UndecidedError:
        return "unknown"


def _bind_row(pattern: Pattern, name: str) -> Pattern:
    """Return a pattern of the placeholder row `*` for a named row."""
    if isinstance(pattern, Clause):
        path, place = pattern.place.path, pattern.place
        depth = len(place.owner)
        at_row = Place((*path[:depth], name, *path[depth + 1 :]), place.fact, name, place.column)
        return pattern._replace(place=at_row)
    return pattern._replace(parts=tuple(_bind_row(part, name) for part in pattern.parts))


def _format_counts(outcomes: Sequence[str]) -> str:
    return ", ".join(f"{outcomes.count(one)} {one}" for one in patterns.ALL_PRECEDENCE if one in outcomes)
