"""Clause results: one expectation of one fact with its observation and texts."""

from __future__ import annotations

import re
from itertools import chain

from nodespec.facts.declaration import Place, Table
from nodespec.facts.value_numbers import Size
from nodespec.facts.value_types import MORE, Case, Datum, Flag, Kind, UndecidedError
from nodespec.judge import pattern as patterns
from nodespec.judge.pattern import Clause, Pattern
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value
from nodespec.model.report import Observed, Part
from nodespec.recording import observation_json
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, List, Mapping, Sequence, Tuple

    from nodespec.model.json_types import Json

VERSION_EXPECTATION = re.compile(r"[<>=!~\d]")


class ClauseResult(NamedTuple):
    """The result of one clause, and the part of the report that shows it.

    `lack` describes what a failing value is missing.
    """

    clause: Clause
    observation: Observation[Datum]
    outcome: str
    part: Part
    negated: bool = False
    lack: str = ""


def evaluate_clause(
    clause: Clause, observation: Observation[Datum], name: str = "", *, negated: bool = False
) -> ClauseResult:
    """Evaluate an observation by a clause.

    `name` is the alias that supplied the value; it is empty for the name of the place itself.
    """
    try:
        outcome = compare_observation(clause, observation)
        if isinstance(observation, Unknown) and observation.may and outcome in patterns.OPPOSITE:
            observation = observation.may
    except UndecidedError as error:
        observation, outcome = Unknown("unsupported", str(error)), "unknown"
    fails = outcome == "fail" and not negated
    lack = clause.expect.lack(observation.value) if fails and isinstance(observation, Value) else ""
    wanted = f"not {clause.expect.text}" if negated else clause.expect.text
    evidence = () if isinstance(observation, Unknown) else (Evidence(*observation.evidence),)
    shows = patterns.OPPOSITE.get(outcome, outcome) if negated else outcome
    part = Part(".".join(clause.place.path), wanted, _make_observed(clause, observation, name), evidence, shows)
    return ClauseResult(clause, observation, outcome, part, negated, lack)


def compare_observation(clause: Clause, observation: Observation[Datum]) -> str:
    """Return whether an observation meets the clause: pass, fail, unknown or deferred.

    Raises UndecidedError if the value alone does not decide that.
    """
    if isinstance(observation, Unknown):
        undecided = DEFERRED if observation.reason == DEFERRED else "unknown"
        if not observation.may:
            return undecided
        outcome = compare_observation(clause, observation.may)
        same_if_absent = outcome == ("pass" if clause.expect.absent else "fail") or not clause.place.optional
        return outcome if same_if_absent or (outcome == "pass" and clause.expect.denies) else undecided
    if isinstance(observation, Absent):
        return "pass" if clause.expect.absent else "fail"
    if not observation.others:
        return "pass" if clause.expect.test(observation.value) else "fail"
    values: Tuple[Case, ...] = (observation.value, *observation.others)
    if MORE in observation.others:  # any larger number: test the larger values that the expectation distinguishes
        values += tuple(case for case in clause.expect.cases if _exceeds(case, observation.value))
    verdicts = {clause.expect.test(value) for value in values}
    return "unknown" if len(verdicts) > 1 else "pass" if verdicts.pop() else "fail"


def join_results(pattern: Pattern, results: Sequence[ClauseResult]) -> str:
    """Return the outcome of a pattern from the results of its clauses, in their order."""
    each = iter(results)
    return patterns.compute_outcome(pattern, lambda _: next(each).outcome)


def _exceeds(case: Case, value: Datum) -> bool:
    return isinstance(case, int) and isinstance(value, int) and case > value


def _make_observed(clause: Clause, observation: Observation[Datum], name: str) -> Observed:
    if isinstance(observation, Unknown):
        state = DEFERRED if observation.reason == DEFERRED else "unknown"
        return Observed(state, observation.say, None, (), observation.reason, observation.look)
    if isinstance(observation, Absent):
        return Observed("absent", describe_absence(clause.place, observation))
    kind = clause.place.kind
    text = format_value(observation.value, kind)
    others: Tuple[Json, ...] = ()
    if observation.others:
        text = " or ".join((text, *(format_value(value, kind) for value in observation.others)))
        others = tuple(map(observation_json.encode_value, observation.others))
    return Observed(
        "value", f"{text} (as {name})" if name else text, observation_json.encode_value(observation.value), others
    )


def describe_absence(place: Place, observation: Absent) -> str:
    """Describe an absence."""
    noun = f"no such {place.fact.noun}" if isinstance(place.fact, Table) and not place.column else "absent"
    return f"{noun}: {observation.say}" if observation.say else noun


def format_value(value: Datum, kind: Kind[Datum]) -> str:
    """Format a value."""
    if isinstance(value, frozenset):
        return ", ".join(sorted(value)) or "nothing"
    if isinstance(kind, Flag):
        return "true" if value else "false"
    if value == MORE:
        return "more"
    if kind.units:
        return kind.written(value)
    if isinstance(kind, Size) and isinstance(value, int) and value >= 1 << 20:
        return f"{value / (1 << 30):.1f}Gi" if value >= 1 << 30 else f"{value / (1 << 20):.0f}Mi"
    return str(value) or "empty"


def format_sentence(outcome: str, results: Sequence[ClauseResult], alternatives: bool = False) -> str:  # noqa: FBT001, FBT002
    """Return the one-line text of a finding, from the clause results that decided it."""
    if alternatives and outcome == "fail":
        common = _describe_absent([result for result in results if _is_unmet(result)])
        if common:
            return common
        return "none of: " + "; ".join(
            dict.fromkeys(f"{s.part.place} {_format_result(s)}" for s in results if _is_unmet(s))
        )
    telling = [result for result in results if result.part.outcome == outcome] or list(results)
    if len(results) == 1:
        return _format_result(telling[0])
    return "; ".join(f"{s.part.place} {_format_result(s)}" for s in telling)


def _describe_absent(results: Sequence[ClauseResult]) -> str:
    """Describe alternatives that are absent rows of one table; empty for any others."""
    tables = {result.clause.place.owner: result.clause.place.fact for result in results}
    table = next(iter(tables.values())) if len(tables) == 1 else None
    if not isinstance(table, Table) or not all(isinstance(s.observation, Absent) and not s.negated for s in results):
        return ""
    parts = [(result.clause.place.key, result.clause.place.column, result.part) for result in results]
    return describe_absent_alternatives(table.noun, parts, table.labels)


def describe_absent_alternatives(noun: str, parts: Sequence[Tuple[str, str, Part]], labels: Mapping[str, str]) -> str:
    """Describe alternatives that are all absent, or return an empty string if one of them is not.

    `parts` are the row, the column and the part of each clause. The result is, for example, `no container runtime:
    containerd >=1.7 or crio >=1.33`. An alternative with a reason of its own is followed by that reason.
    """
    if not parts or any(part.observed.state != "absent" for _, _, part in parts):
        return ""
    expected: Dict[str, List[str]] = {}
    reasons: Dict[str, None] = {}
    for row, column, part in parts:
        words = expected.setdefault(row, [])
        if part.expected != "present":
            words.append(
                part.expected if VERSION_EXPECTATION.match(part.expected) else f"{column} {part.expected}".lstrip()
            )
        reasons.update(dict.fromkeys(filter(None, [_own_reason(row, part)])))
    common = set(map(tuple, expected.values()))
    suffix = ""
    shared = common.pop() if len(common) == 1 else ()
    if not all(map(VERSION_EXPECTATION.match, shared)):
        suffix = f" with {join_words(shared, 'and')}"
        expected = {row: [] for row in expected}
    names = [f"{labels.get(row, row)} {', '.join(words)}".rstrip() for row, words in expected.items()]
    because = f" ({'; '.join(reasons)})" if reasons else ""
    return f"no {noun}{suffix}: {join_words(names, 'or')}{because}"


def _own_reason(row: str, part: Part) -> str:
    """Return the reason of an absence, unless it only says that the row is not installed."""
    reason = describe_absence_reason(part)
    return "" if reason == f"{row} is not installed" else reason


def describe_absence_reason(part: Part) -> str:
    """Return why a fact is absent, or an empty string if the observation gives no reason."""
    _, _, reason = part.observed.text.partition(": ")
    return reason if part.observed.state == "absent" and not reason.startswith("there is") else ""


def join_words(words: Sequence[str], conjunction: str) -> str:
    """Return words as a list in a sentence, such as `a, b or c`."""
    return f" {conjunction} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _is_unmet(result: ClauseResult) -> bool:
    return result.part.outcome != "pass"


def _format_result(result: ClauseResult) -> str:
    observed, wanted = result.part.observed, result.part.expected
    if observed.state in ("unknown", DEFERRED):
        return f"wanted {wanted}, not known: {observed.text}" if observed.state == "unknown" else observed.text
    found = f"wanted {wanted}, found {observed.text}"
    return f"{found} ({result.lack})" if result.lack else found


def describe_unmet_condition(when: Sequence[ClauseResult]) -> str:
    """Describe why a requirement does not apply."""
    part = next((result for result in when if result.part.outcome == "fail"), when[0]).part
    return f"applies only if {part.place} is {part.expected}; found {part.observed.text}"


def select_default_fix(results: Sequence[ClauseResult], *, at_rest: bool = False) -> str:
    """Return the default fix of the first clause that fails, with a value that passes.

    `at_rest` selects the part of a fix that changes files.
    """
    for result in results:
        place, expect = result.clause.place, result.clause.expect
        unwanted = result.negated or (
            expect.absent and isinstance(result.observation, Value)
        )  # the default fix would create it
        hinted = (
            isinstance(result.observation, Absent) and result.observation.say
        )  # its text is more specific than the default fix
        if hinted:
            continue
        fix = place.fix_at_rest if at_rest else place.fix
        if result.part.outcome == "fail" and fix and not unwanted:
            return _fill_fix(fix, result.clause)
    return ""


def _fill_fix(fix: str, clause: Clause) -> str:
    """Return a fix with a value that passes.

    The result is empty if the fix needs a value and none is known.
    """
    if "{want}" not in fix and "{word}" not in fix:
        return fix
    wanted = _find_passing_value(clause)
    return fix.replace("{want}", wanted).replace("{word}", _quote_shell_word(wanted)) if wanted else ""


def _find_passing_value(clause: Clause) -> str:
    """Return a value that passes, or an empty string if none is known."""
    expect, kind = clause.expect, clause.place.kind
    cases = (kind.written(case) for case in (*expect.cases, *reversed((*kind.others(),))) if expect.test(case))
    named = expect.named[::-1] if kind.spans else expect.named  # for a range, prefer its upper end
    near = (text for one in named for text in kind.near(one))
    return next((text for text in chain(named, filter(None, cases), near) if is_passing_value(text, clause)), "")


def is_passing_value(text: str, clause: Clause) -> bool:
    """Return whether a value, as written in a spec, meets an expectation."""
    try:
        return clause.expect.test(clause.place.kind.read(text))
    except ValueError:
        return False


def _quote_shell_word(text: str) -> str:
    """Quote a value as one word of a shell."""
    return text if re.fullmatch(r"[\w.,:/@%+=-]+", text, re.ASCII) else "'" + text.replace("'", "'\\''") + "'"
