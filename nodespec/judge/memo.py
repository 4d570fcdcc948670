"""Memoize observations, findings and output across recordings with equal content.

Most content of a recording equals that of the previous one. A piece of a recording is compared as text, before it is
decoded, and equal pieces give the same observation object. The result of a requirement is memoized by the observation
objects that it read. Keys are `id()` values; each entry also stores the object, so that its `id()` is not reused.
"""

from __future__ import annotations

from nodespec.facts.declaration import Leaf, Place
from nodespec.judge import conclusion
from nodespec.judge.evaluation import BoundFacts, PreparedPlan, RequirementResult
from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.model.observation import Unknown
from nodespec.recording.observation_json import EncodedObject, encode_observation
from nodespec.recording.replay import ReplayedFacts
from nodespec.recording.tee import CapturedTable, TeeFacts
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence, Set, Tuple, TypeAlias, Union

    from nodespec.facts.live import Facts
    from nodespec.facts.value_types import Datum
    from nodespec.judge.conclusion import Choice
    from nodespec.model.json_types import Json
    from nodespec.model.observation import Observation
    from nodespec.model.plan import Plan, Requirement
    from nodespec.model.report import Finding, Waiver

MAX_ENTRIES = 20_000  # maximum entries; the memory is cleared when it is full
MAX_PIECE_CHARS = 2000  # maximum characters of a memoized piece; a longer piece is decoded each time
CHARS_PER_ENTRY = 100  # characters of a piece that count as one entry

RowNames: TypeAlias = "Union[Tuple[str, ...], Unknown]"
ReadResult: TypeAlias = "Union[Observation[Datum], RowNames]"


class Step(NamedTuple):
    """A node in the tree of observations that a requirement reads.

    It reads a place, or all row names of a table if `whole` is set. The observation selects the next step or the
    result.
    """

    place: Place
    whole: bool
    then: Dict[int, Tuple[ReadResult, Union[Step, RequirementResult]]]  # by id(), with the object


class Memory:
    """The memoized data of all hosts so far, limited to `most` entries."""

    def __init__(self, most: int = MAX_ENTRIES) -> None:
        self.max_entries = most
        self.unmemoized = 0  # number of observations that were not memoized; results that read them are not either
        self.forget()

    def forget(self) -> None:
        """Clear the memory. Must be called between two hosts, not while one is judged."""
        self.count = 0
        self.seen: Dict[Tuple[object, ...], Observation[Datum]] = {}
        self.names: Dict[Tuple[object, ...], RowNames] = {}
        self.noted: Dict[Tuple[object, ...], Tuple[object, Json]] = {}
        self.found: Dict[str, Union[Step, RequirementResult]] = {}
        self.kept: Set[int] = set()  # the findings in `found`, by id()
        self.disposed: Dict[Tuple[object, ...], Finding] = {}  # by id() of the finding

    @property
    def full(self) -> bool:
        """Whether nothing more may be stored."""
        return self.count > self.max_entries

    def reserve(self, things: int = 1) -> bool:
        """Count more entries, and return whether they may be stored."""
        self.count += things
        return self.count <= self.max_entries


class MemoizedRecording(ReplayedFacts):
    """A recording that decodes only pieces which no earlier recording contained."""

    def __init__(self, notes: Json, memory: Memory) -> None:
        if memory.full:
            memory.forget()
        super().__init__(notes)
        self.memory, self.before = memory, memory.unmemoized
        self._said: Dict[str, str] = {}  # by table: the text that applies to all its rows

    def observe(self, place: Place) -> Observation[Datum]:
        """Return the observation of one place, the same object for equal text."""
        if (
            self.memory.full
        ):  # A table with more rows than the memory holds: comparing each row costs more than it saves.
            self.memory.unmemoized += 1
            return super().observe(place)
        piece = self._find_piece(place)
        seen = self.memory.seen.get(piece) if piece else None
        if seen is None:
            seen = super().observe(place)
            piece = piece or (place.path, repr(seen))
            size = len(str(piece[-1]))
            if size > MAX_PIECE_CHARS or (
                piece not in self.memory.seen and not self.memory.reserve(1 + size // CHARS_PER_ENTRY)
            ):
                self.memory.unmemoized += 1
                return seen
            return self.memory.seen.setdefault(piece, seen)
        return seen

    def rows(self, place: Place) -> RowNames:
        """Return the names of all rows of a table, the same object for equal names."""
        names = super().rows(place)
        key = (isinstance(names, Unknown), names)
        size = sum(map(len, map(str, names)))
        if size > MAX_PIECE_CHARS or (
            key not in self.memory.names and not self.memory.reserve(1 + size // CHARS_PER_ENTRY)
        ):
            self.memory.unmemoized += 1
            return names
        return self.memory.names.setdefault(key, names)

    def _find_piece(self, place: Place) -> Optional[Tuple[object, ...]]:
        """Return the text from which an observation is decoded, as a key.

        Returns None if the text is too long, or if the observation depends on the names of all rows.
        """
        owner = ".".join(place.owner)
        note = self.notes.get(owner)
        written, part = note, ""
        try:
            if isinstance(note, dict) and not isinstance(place.fact, Leaf):
                rows, asked = note.get("rows"), note.get("asked")
                if isinstance(rows, dict) and place.key in rows:
                    written, part = rows[place.key], "rows"
                elif isinstance(asked, dict) and place.key in asked:
                    written, part = asked[place.key], "asked"
                elif "rows" in note:
                    return None
                if owner not in self._said:
                    self._said[owner] = repr([(name, note[name]) for name in ("from", "rest", "usual") if name in note])
                key = (part, self._said[owner], repr(written))
            else:
                key = (part, "", repr(written))
        except RecursionError:
            return None
        return (place.path, *key) if len(key[1]) + len(key[2]) <= MAX_PIECE_CHARS else None


class MemoizedTee(TeeFacts):
    """A tee that captures facts as they are read, and shares the JSON of equal tables."""

    facts: MemoizedRecording

    @property
    def notes(self) -> EncodedObject:
        """The captured facts as JSON. Other hosts share it: it must not be changed."""
        return {name: self._encode_shared(name, one) for name, one in self._noted.items()}

    def _encode_shared(self, name: str, observation: Union[Observation[Datum], CapturedTable]) -> Json:
        memory, key = (
            self.facts.memory,
            (name, *(_identify_note(observation) if isinstance(observation, CapturedTable) else (id(observation),))),
        )
        if key not in memory.noted:
            encoded = (
                observation.encode() if isinstance(observation, CapturedTable) else encode_observation(observation)
            )
            if memory.unmemoized != self.facts.before or not memory.reserve():
                return encoded
            memory.noted[key] = observation, encoded
        return memory.noted[key][1]


def _identify_note(note: CapturedTable) -> Tuple[object, ...]:
    rows = ((key, column, id(seen)) for key, row in note.rows.items() for column, seen in row.items())
    return (id(note.names), id(note.rest), *rows)


class Trace:
    """Facts, with a log of all reads."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.asked: List[Tuple[Place, bool, ReadResult]] = []

    def observe(self, place: Place) -> Observation[Datum]:
        """Return the observation of one place."""
        seen = self.facts.observe(place)
        self.asked.append((place, False, seen))
        return seen

    def rows(self, place: Place) -> RowNames:
        """Return the names of all rows of a table."""
        names = self.facts.rows(place)
        self.asked.append((place, True, names))
        return names


class MemoizedPlan(PreparedPlan):
    """A memoized plan: results are shared by hosts with equal observations."""

    def __init__(self, plan: Plan, memory: Optional[Memory] = None, context: str = "running") -> None:
        super().__init__(plan, context)
        self.memory = memory or Memory()
        self.disposed = self._assign_dispositions

    def evaluate(self, requirement: Requirement, facts: BoundFacts) -> RequirementResult:
        """Evaluate a requirement, or return the memoized result for its observations."""
        step = self.memory.found.get(requirement.id)
        while isinstance(step, Step):
            seen = facts.rows(step.place) if step.whole else facts.observe(step.place)
            found = step.then.get(id(seen))
            step = found[1] if found else None
        return step or self._evaluate_anew(requirement, facts)

    def _evaluate_anew(self, requirement: Requirement, facts: BoundFacts) -> RequirementResult:
        strange, trace = self.memory.unmemoized, Trace(facts.facts)
        known = BoundFacts(trace, self, facts.end, facts.limits)
        judged = super().evaluate(requirement, known)
        if not known.late and strange == self.memory.unmemoized and self.memory.reserve(len(trace.asked) + 1):
            self._store_result(requirement.id, trace.asked, judged)
            self.memory.kept.add(id(judged.finding))
        return judged

    def _store_result(
        self, name: str, asked: Sequence[Tuple[Place, bool, ReadResult]], judged: RequirementResult
    ) -> None:
        known: Union[Step, RequirementResult] = judged
        for place, whole, seen in reversed(asked):
            known = Step(place, whole, {id(seen): (seen, known)})
        before = self.memory.found.setdefault(name, known)
        while isinstance(before, Step) and isinstance(known, Step) and before is not known:  # follow the common path
            ((same, (seen, after)),) = known.then.items()
            before, known = before.then.setdefault(same, (seen, after))[1], after

    def _assign_dispositions(
        self, findings: Sequence[Finding], waivers: Sequence[Waiver], choice: Choice
    ) -> Tuple[Finding, ...]:
        """Return the findings with their dispositions, the same object for each finding."""
        valid = tuple(number for number, waiver in enumerate(waivers) if waiver.state == "valid")
        known = self.memory.disposed
        disposed = [known.get((id(finding), valid, choice.strict)) for finding in findings]
        for at, finding in enumerate(findings):
            if disposed[at] is None:
                (disposed[at],) = conclusion.assign_dispositions((finding,), waivers, choice)
                if id(finding) in self.memory.kept and self.memory.reserve():
                    known[id(finding), valid, choice.strict] = cast("Finding", disposed[at])
        return cast("Tuple[Finding, ...]", tuple(disposed))
