"""Units that a boot starts: the transaction of systemd's default target.

A unit that is certainly in the transaction is started. A unit is unknown if it may be in the transaction: the order of
systemd's hash tables, or the winner of a conflict, decides. Services that sockets, timers, paths and D-Bus start later
do not count.
"""

from __future__ import annotations

from nodespec.checks import _systemd_units
from nodespec.checks._systemd_load import Unit, load_unit
from nodespec.checks._systemd_order import build_wait_graph, find_cycles
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, List, Set, Tuple

    from nodespec.checks._systemd_files import Units
    from nodespec.checks._systemd_syntax import UnitLine

MAX_UNITS = 5000  # units that are read
FALLBACK = "rescue.target"  # systemd starts this if the default target cannot be loaded


class Transaction:
    """What a boot into the default target starts."""

    def __init__(self, units: Units, default: str) -> None:
        self.units = units
        self._loaded: Dict[str, Unit] = {}
        self._stopped: Dict[Tuple[str, ...], Set[str]] = {}  # by the conflicting units
        anchor = self.load(default)
        self.anchor = anchor if anchor.state == "loaded" else self.load(FALLBACK)
        self.pulled: Dict[str, Evidence] = {}
        self.possible = self._collect_reached(certain=False)
        self.certain = self._collect_reached(certain=True)
        contested = self._find_contested() | self._find_cyclic()
        if contested & {self.anchor.name}:  # systemd then refuses to start anything
            self.certain, contested = frozenset(), self.possible
        elif contested:
            self.certain = self._collect_reached(certain=True, without=contested)
        self.contested = contested

    def load(self, name: str) -> Unit:
        """Return a unit by any of its names."""
        unit = self._loaded.get(name)
        if unit is None:
            unit = load_unit(self.units, name)
            for alias in unit.names:
                self._loaded.setdefault(alias, unit)
            unit = self._loaded[name]
        return unit

    def starts(self, name: str) -> Observation[bool]:
        """Return whether the transaction starts a unit; absent if it does not exist."""
        unit = self.load(name)
        at = self.units.evidence(unit.path) if unit.path else Evidence(_systemd_units.UNIT_PATH)
        if unit.state == "missing":
            return self.units.unread or Absent(at, f"unit {name} not found")
        if unit.name in self.certain:
            return Value(value=True, evidence=self.pulled.get(unit.name, at))
        if self.units.unread:
            return self.units.unread
        if unit.name not in self.possible:
            return Value(value=False, evidence=at)
        if unit.name in self.contested:
            return Unknown("unsupported", f"{name} conflicts with another started unit, or waits for itself")
        return Unknown("unsupported", f"whether {name} is started depends on units that cannot all be started")

    def read_lines(self, unit: Unit) -> List[UnitLine]:
        """Return the lines of the files of a unit."""
        return self.units.read_lines(self.units.find_fragment(unit.name), unit.names) or []

    def lacks(self, unit: Unit) -> bool:
        """Return whether a unit requires one that cannot be loaded."""
        return self._fails(unit)

    def _collect_reached(self, *, certain: bool, without: FrozenSet[str] = frozenset()) -> FrozenSet[str]:
        """Return the units that certainly have a start job, or all that may have one."""
        if self.anchor.state != "loaded" or (certain and self._may_fail(self.anchor)):
            return frozenset()
        reached: Set[str] = {self.anchor.name}
        stack: List[Unit] = [self.anchor]
        while stack and len(self._loaded) < MAX_UNITS:
            unit = stack.pop()
            fails = self._fails(unit)
            if certain and (fails or self._may_fail(unit)):
                continue
            for pull in unit.pulls:
                other = self.load(pull.name)
                if other.state != "loaded" or (fails and not pull.required) or other.name in without:
                    continue
                self.pulled.setdefault(other.name, pull.at)
                if other.name not in reached:
                    reached.add(other.name)
                    stack.append(other)
        return frozenset(reached)

    def _fails(self, unit: Unit) -> bool:
        """Return whether a unit requires one that cannot be loaded.

        systemd then ignores its other dependencies.
        """
        return any(pull.required and self.load(pull.name).state != "loaded" for pull in unit.pulls)

    def _may_fail(self, unit: Unit) -> bool:
        """Return whether any direct or indirect requirement of a unit may fail to load."""
        seen, stack = {unit.name}, [unit]
        while stack and len(self._loaded) < MAX_UNITS:
            required = stack.pop()
            if self._fails(required):
                return True
            for pull in required.pulls:
                other = self.load(pull.name)
                if pull.required and other.name not in seen:
                    seen.add(other.name)
                    stack.append(other)
        return False

    def _find_contested(self) -> FrozenSet[str]:
        """Return units that may be started although they conflict.

        Units that require them are included.
        """
        contested: Set[str] = set()
        kept = self._collect_required()
        for name in self.possible:
            for other in self._collect_stopped(self._loaded[name].conflicts):
                pair = {name, other}
                contested |= pair | {self.anchor.name} if pair <= kept else pair - kept
        return self._add_requiring(contested)

    def _collect_stopped(self, conflicts: Tuple[str, ...]) -> Set[str]:
        """Return the units with a start job that are stopped together with these.

        They require these or are part of them, directly or not.
        """
        if conflicts in self._stopped:
            return self._stopped[conflicts]
        stopped = {self.load(name).name for name in conflicts}
        grown = True
        while grown:
            more = {name for name in self.possible - stopped if self._is_stopped_with(self._loaded[name], stopped)}
            stopped |= more
            grown = bool(more)
        self._stopped[conflicts] = stopped & self.possible
        return self._stopped[conflicts]

    def _is_stopped_with(self, unit: Unit, others: Set[str]) -> bool:
        required = (pull.name for pull in unit.pulls if pull.required)
        return any(self.load(name).name in others for name in (*required, *unit.part_of))

    def _add_requiring(self, names: Set[str]) -> FrozenSet[str]:
        """Return units and all units that require them, directly or not."""
        grown = bool(names)
        while grown:
            more = {name for name in self.possible - names if self._requires(name, names)}
            names |= more
            grown = bool(more)
        return frozenset(names)

    def _find_cyclic(self) -> FrozenSet[str]:
        """Return units in an ordering cycle; systemd drops some of them."""
        cyclic: Set[str] = set()
        waits = build_wait_graph(self.possible, self.load)
        for component in find_cycles(waits):
            cyclic |= component - self._collect_required()
        return self._add_requiring(cyclic)

    def _collect_required(self) -> Set[str]:
        """Return the direct and indirect requirements of the default target.

        systemd never drops these.
        """
        required, stack = {self.anchor.name}, [self.anchor]
        while stack:
            for other in (self.load(pull.name) for pull in stack.pop().pulls if pull.required):
                if other.name not in required:
                    required.add(other.name)
                    stack.append(other)
        return required

    def _requires(self, name: str, others: Set[str]) -> bool:
        return any(pull.required and self.load(pull.name).name in others for pull in self._loaded[name].pulls)
