"""The units that a boot starts: the jobs of the transaction that systemd makes of its default target.

A unit that the transaction certainly has is started; one that it can have, depending on the order in which systemd
walks its hash tables or on which of two conflicting units wins, is unknown. Sockets, timers, paths and D-Bus start
further services later, which do not count.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Dict, FrozenSet, Iterator, List, Optional, Set, Tuple

from nodespec.checks import _systemd_files
from nodespec.checks import _systemd_units as _units
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from nodespec.checks._systemd_files import Reading, Units

MAX_UNITS = 5000  # that are read
PULLS = {"Requires": True, "BindsTo": True, "BindTo": True, "Wants": False, "Upholds": False}  # whether it must load
BESIDE = {".requires": True, ".wants": False, ".upholds": False}
DEFAULTED = ("service", "socket", "timer", "path")  # types that require sysinit.target unless DefaultDependencies=no
PERPETUAL = ("-.mount", "init.scope")  # there without a file
FALLBACK = "rescue.target"  # what systemd starts where the default target cannot be loaded


class Pull(NamedTuple):
    """A dependency that starts another unit, with what says so."""

    name: str
    required: bool
    at: Evidence


class Unit(NamedTuple):
    """A unit as systemd loads it. `state` is loaded, masked, missing or bad, and `why` says what is bad."""

    name: str
    names: Tuple[str, ...]
    path: str
    state: str
    why: str
    pulls: Tuple[Pull, ...]
    conflicts: Tuple[str, ...]
    after: Tuple[str, ...] = ()
    before: Tuple[str, ...] = ()
    default: bool = True  # DefaultDependencies=
    part_of: Tuple[str, ...] = ()  # units with which it is stopped


class Transaction:
    """What a boot into the default target starts."""

    def __init__(self, units: Units, default: str) -> None:
        self.units = units
        self._loaded: Dict[str, Unit] = {}
        self._stopped: Dict[Tuple[str, ...], Set[str]] = {}  # by what conflicts
        anchor = self.load(default)
        self.anchor = anchor if anchor.state == "loaded" else self.load(FALLBACK)
        self.pulled: Dict[str, Evidence] = {}
        self.possible = self._reached(certain=False)
        self.certain = self._reached(certain=True)
        contested = self._contested() | self._cyclic()
        if contested & {self.anchor.name}:  # then systemd refuses to start anything
            self.certain, contested = frozenset(), self.possible
        elif contested:
            self.certain = self._reached(certain=True, without=contested)
        self.contested = contested

    def load(self, name: str) -> Unit:
        """A unit by any of its names."""
        unit = self._loaded.get(name)
        if unit is None:
            unit = load(self.units, name)
            for one in unit.names:
                self._loaded.setdefault(one, unit)
            unit = self._loaded[name]
        return unit

    def starts(self, name: str) -> Observation[bool]:
        """Whether the transaction starts a unit. Absent: there is no such unit."""
        unit = self.load(name)
        at = self.units.evidence(unit.path) if unit.path else Evidence(_units.PATH)
        if unit.state == "missing":
            return self.units.unread or Absent(at, f"unit {name} not found")
        if unit.name in self.certain:
            return Value(value=True, evidence=self.pulled.get(unit.name, at))
        if self.units.unread:
            return self.units.unread
        if unit.name not in self.possible:
            return Value(value=False, evidence=at)
        if unit.name in self.contested:
            return Unknown("unsupported", f"{name} conflicts with a unit that is started too, or waits for itself")
        return Unknown("unsupported", f"whether {name} is started depends on units that cannot all be started")

    def readings(self, unit: Unit) -> List[Reading]:
        """What the files of a unit say."""
        return self.units.readings(self.units.fragment(unit.name), unit.names) or []

    def lacks(self, unit: Unit) -> bool:
        """Whether a unit requires one that cannot be loaded."""
        return self._fails(unit)

    def _reached(self, *, certain: bool, without: FrozenSet[str] = frozenset()) -> FrozenSet[str]:
        """Units that have a start job: those that surely have one, or all that may."""
        if self.anchor.state != "loaded" or (certain and self._may_fail(self.anchor)):
            return frozenset()
        found: Set[str] = {self.anchor.name}
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
                if other.name not in found:
                    found.add(other.name)
                    stack.append(other)
        return frozenset(found)

    def _fails(self, unit: Unit) -> bool:
        """Whether a unit requires one that cannot be loaded: systemd then leaves out its other dependencies."""
        return any(pull.required and self.load(pull.name).state != "loaded" for pull in unit.pulls)

    def _may_fail(self, unit: Unit) -> bool:
        """Whether any unit that this one requires, directly or not, requires one that cannot be loaded."""
        seen, stack = {unit.name}, [unit]
        while stack and len(self._loaded) < MAX_UNITS:
            one = stack.pop()
            if self._fails(one):
                return True
            for pull in one.pulls:
                other = self.load(pull.name)
                if pull.required and other.name not in seen:
                    seen.add(other.name)
                    stack.append(other)
        return False

    def _contested(self) -> FrozenSet[str]:
        """Units that may be started although they conflict with each other, and those that require these."""
        found: Set[str] = set()
        kept = self._mattering()
        for name in self.possible:
            for other in self._stopped_with(self._loaded[name].conflicts):
                pair = {name, other}
                found |= pair | {self.anchor.name} if pair <= kept else pair - kept
        return self._with_requiring(found)

    def _stopped_with(self, conflicts: Tuple[str, ...]) -> Set[str]:
        """The units with a start job that are stopped with these: that require or are part of them, directly or not."""
        if conflicts in self._stopped:
            return self._stopped[conflicts]
        found = {self.load(name).name for name in conflicts}
        grown = True
        while grown:
            more = {name for name in self.possible - found if self._falls_with(self._loaded[name], found)}
            found |= more
            grown = bool(more)
        self._stopped[conflicts] = found & self.possible
        return self._stopped[conflicts]

    def _falls_with(self, unit: Unit, others: Set[str]) -> bool:
        required = (pull.name for pull in unit.pulls if pull.required)
        return any(self.load(name).name in others for name in (*required, *unit.part_of))

    def _with_requiring(self, found: Set[str]) -> FrozenSet[str]:
        """Units with those that require any of them, directly or not."""
        grown = bool(found)
        while grown:
            more = {name for name in self.possible - found if self._requires(name, found)}
            found |= more
            grown = bool(more)
        return frozenset(found)

    def _cyclic(self) -> FrozenSet[str]:
        """Units of which systemd drops some, since they would each have to wait for the others."""
        from nodespec.checks import _systemd_order  # noqa: PLC0415 - which knows this class

        found: Set[str] = set()
        waits = _systemd_order.waits(self)
        for component in _systemd_order.cycles(waits):
            found |= component - self._mattering()
        return self._with_requiring(found)

    def _mattering(self) -> Set[str]:
        """Units that the default target requires, directly or not: systemd never drops these."""
        found, stack = {self.anchor.name}, [self.anchor]
        while stack:
            for other in (self.load(pull.name) for pull in stack.pop().pulls if pull.required):
                if other.name not in found:
                    found.add(other.name)
                    stack.append(other)
        return found

    def _requires(self, name: str, others: Set[str]) -> bool:
        return any(pull.required and self.load(pull.name).name in others for pull in self._loaded[name].pulls)


def load(units: Units, name: str) -> Unit:
    """A unit by name, with what it pulls in."""
    fragment = units.fragment(name) if _systemd_files.is_unit_name(name) else _systemd_files.Fragment("", "missing")
    names = units.known_as(name, fragment)
    kind = name.rpartition(".")[2]
    made = fragment.state == "missing" and (kind in ("slice", "device") or name in PERPETUAL)
    state = "loaded" if made else fragment.state
    if state != "loaded":
        return Unit(names[0], names, fragment.path, state, state, (), ())
    readings = units.readings(fragment, names)
    why = "is malformed" if readings is None else _why_bad(kind, names, readings)
    if why or readings is None:
        return Unit(names[0], names, fragment.path, "bad", why, (), ())
    pulls = (*_beside(units, names), *_declared(name, readings), *_implied(kind, readings, fragment.path))
    lists = (
        (one.name for one in _dependencies(name, readings, (key,)))
        for key in ("Conflicts", "After", "Before", "PartOf")
    )
    conflicts, after, before, part_of = map(tuple, lists)
    default = _is_default(readings)
    return Unit(names[0], names, fragment.path, "loaded", "", pulls, conflicts, after, before, default, part_of)


def _beside(units: Units, names: Tuple[str, ...]) -> Iterator[Pull]:
    """What links in the directories `NAME.wants` and `NAME.requires` pull in."""
    for suffix, required in BESIDE.items():
        for path in units.beside(names, suffix):
            name = path.rpartition("/")[2]
            if units.link(path) and not units.is_mask(path):
                instance = _systemd_files.instance_of(names[0]) or names[0].rpartition(".")[0]
                yield Pull(_systemd_files.with_instance(name, instance), required, units.evidence(path))


def _declared(name: str, readings: List[Reading]) -> Iterator[Pull]:
    yield from _dependencies(name, readings, tuple(PULLS))
    for reading in readings:
        if (reading.section, reading.name) == ("Service", "Sockets"):
            yield from (Pull(_named(word, name), required=False, at=reading.at) for word in words(reading.value))


def _dependencies(name: str, readings: List[Reading], kinds: Tuple[str, ...]) -> Iterator[Pull]:
    for reading in readings:
        if reading.section == "Unit" and reading.name in kinds:
            for word in words(reading.value):
                other = _named(word, name)
                if _systemd_files.is_unit_name(other):
                    yield Pull(other, PULLS.get(reading.name, False), reading.at)


def _named(word: str, name: str) -> str:
    """A dependency with its specifiers expanded, and instantiated as the unit that has it is."""
    prefix, _, _ = name.rpartition(".")
    instance = _systemd_files.instance_of(name)
    stem = prefix.partition("@")[0]
    known = {"i": instance, "n": name, "N": prefix, "p": stem, "j": stem.rpartition("-")[2], "%": "%"}
    expanded = re.sub("%(.)", lambda match: known.get(match[1], match[0]), word)
    return _systemd_files.with_instance(expanded, instance or stem)


def _implied(kind: str, readings: List[Reading], path: str) -> Iterator[Pull]:
    """What systemd adds of itself."""
    last = {(reading.section, reading.name): reading for reading in readings}
    if kind in DEFAULTED and _is_default(readings):
        yield Pull("sysinit.target", required=True, at=Evidence(path))
    bus = last.get(("Service", "BusName"))
    if kind == "service" and bus and bus.value:
        yield Pull("dbus.socket", required=True, at=bus.at)
    for section in ("Service", "Socket", "Swap", "Mount", "Slice", "Scope"):
        placed = last.get((section, "Slice"))
        if placed and placed.value.endswith(".slice"):
            yield Pull(placed.value, required=True, at=placed.at)


def _is_default(readings: List[Reading]) -> bool:
    """Whether a unit has the dependencies that systemd gives all units of its type."""
    values = [one.value for one in readings if (one.section, one.name) == ("Unit", "DefaultDependencies")]
    return not (values and is_no(values[-1]))


def words(value: str) -> Iterator[str]:
    """Words of a list, without quotes: `a.service "b.service"`."""
    for match in re.finditer(r'"([^"]*)"|\'([^\']*)\'|(\S+)', value):
        yield match[1] or match[2] or match[3] or ""


def is_no(value: str) -> bool:
    """Whether systemd reads a value as false."""
    return value.lower() in ("0", "no", "n", "false", "f", "off")


def is_yes(value: str) -> bool:
    """Whether systemd reads a value as true."""
    return value.lower() in ("1", "yes", "y", "true", "t", "on")


def settings_of(readings: List[Reading], section: str, name: str) -> List[str]:
    """The values of a list setting, which an empty value resets."""
    found: List[str] = []
    for reading in readings:
        if (reading.section, reading.name) == (section, name):
            found = [*found, reading.value] if reading.value else []
    return found


def _why_bad(kind: str, names: Tuple[str, ...], readings: List[Reading]) -> str:
    """Why systemd refuses to load a unit; empty where it does not."""
    if kind == "service":
        return _why_bad_service(readings)
    if kind == "socket" and not any(
        r.section == "Socket" and r.name.startswith("Listen") and r.value for r in readings
    ):
        return "has no Listen setting"
    if kind == "timer" and not any(r.section == "Timer" and r.name.startswith("On") and r.value for r in readings):
        return "has no time setting"
    if kind == "path" and not any(
        r.section == "Path"
        and r.name in ("PathExists", "PathExistsGlob", "PathChanged", "PathModified", "DirectoryNotEmpty")
        for r in readings
    ):
        return "has no path setting"
    return _why_bad_swap(names, readings) if kind == "swap" else ""


def _why_bad_swap(names: Tuple[str, ...], readings: List[Reading]) -> str:
    """A swap unit must be called by its device or file."""
    from nodespec.checks import _swap_fstab as _fstab  # noqa: PLC0415

    what = [reading.value for reading in readings if (reading.section, reading.name) == ("Swap", "What")]
    path = _fstab.Entry(what[-1].replace("%%", "%"), "", "swap", "", Evidence("")).path if what else ""
    return "has a name that is not that of its What=" if path and _fstab.unit_name(path, "swap") not in names else ""


TYPES = ("simple", "exec", "forking", "oneshot", "dbus", "notify", "notify-reload", "idle")


def _why_bad_service(readings: List[Reading]) -> str:
    """As `service_verify()` in src/core/service.c decides."""
    start, stop = (_commands(readings, name) for name in ("ExecStart", "ExecStop"))
    if start is None or stop is None:
        return "names a program by a path that is neither absolute nor a plain name"
    last = {reading.name: reading.value for reading in readings if reading.section in ("Service", "Unit")}
    kind = next(
        (r.value for r in reversed(readings) if (r.section, r.name) == ("Service", "Type") and r.value in TYPES), ""
    )
    kind = kind or ("dbus" if last.get("BusName") else "simple" if start else "oneshot")
    success = last.get("SuccessAction", "none") not in ("none", "")
    if not start and not (stop or success):
        return "has no ExecStart="
    if not start and (kind != "oneshot" or not (is_yes(last.get("RemainAfterExit", "")) or success)):
        return "has no ExecStart="
    if kind != "oneshot" and len(start) > 1:
        return "has more than one ExecStart="
    if kind == "oneshot" and last.get("Restart") in ("always", "on-success"):
        return "is of Type=oneshot and has Restart=always"
    return "is of Type=dbus and has no BusName=" if kind == "dbus" and not last.get("BusName") else ""


def _commands(readings: List[Reading], name: str) -> Optional[List[str]]:
    """The programs that a setting runs, several of a line separated by `;`; nothing where systemd refuses one."""
    found: List[str] = []
    for value in settings_of(readings, "Service", name):
        for command in re.split(r"(?:^|(?<=\s));(?=\s|$)", value):
            first = next(words(command), "")
            program = first.lstrip("@-:+!")
            if first and (not program or program.endswith("/") or ("/" in program and program[0] != "/")):
                if "-" not in first[: len(first) - len(program)]:
                    return None
            elif first:
                found.append(program)
    return found
