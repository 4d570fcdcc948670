"""Units as systemd loads them: dependencies, conflicts, order, and load errors."""

from __future__ import annotations

import re

from nodespec.checks._systemd_files import Fragment, Units
from nodespec.checks._systemd_names import get_instance, is_unit_name, set_instance
from nodespec.checks._systemd_syntax import UnitLine, is_no, is_yes, list_setting_values, split_list
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Iterator, List, Optional, Tuple

# whether the other unit must load
PULLS = {"Requires": True, "BindsTo": True, "BindTo": True, "Wants": False, "Upholds": False}
FOLDER_SUFFIXES = {".requires": True, ".wants": False, ".upholds": False}
DEFAULT_DEPENDENCY_TYPES = (
    "service",
    "socket",
    "timer",
    "path",
)  # types that require sysinit.target unless DefaultDependencies=no
PERPETUAL = ("-.mount", "init.scope")  # these exist without a file


class Pull(NamedTuple):
    """A dependency that starts another unit, with its evidence."""

    name: str
    required: bool
    at: Evidence


class Unit(NamedTuple):
    """A loaded unit.

    `state` is loaded, masked, missing or bad; `why` is the reason if it is bad.
    """

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
    part_of: Tuple[str, ...] = ()  # units that it is stopped with


def load_unit(units: Units, name: str) -> Unit:
    """Return a unit by name, with its dependencies."""
    fragment = units.find_fragment(name) if is_unit_name(name) else Fragment("", "missing")
    names = units.list_unit_names(name, fragment)
    kind = name.rpartition(".")[2]
    made = fragment.state == "missing" and (kind in ("slice", "device") or name in PERPETUAL)
    state = "loaded" if made else fragment.state
    if state != "loaded":
        return Unit(names[0], names, fragment.path, state, state, (), ())
    readings = units.read_lines(fragment, names)
    why = "is malformed" if readings is None else _explain_bad_unit(kind, names, readings)
    if why or readings is None:
        return Unit(names[0], names, fragment.path, "bad", why, (), ())
    pulls = (
        *_list_linked_pulls(units, names),
        *_list_declared_pulls(name, readings),
        *_list_implied_pulls(kind, readings, fragment.path),
    )
    lists = (
        (pull.name for pull in _parse_dependencies(name, readings, (key,)))
        for key in ("Conflicts", "After", "Before", "PartOf")
    )
    conflicts, after, before, part_of = map(tuple, lists)
    default = _has_default_dependencies(readings)
    return Unit(names[0], names, fragment.path, "loaded", "", pulls, conflicts, after, before, default, part_of)


def _list_linked_pulls(units: Units, names: Tuple[str, ...]) -> Iterator[Pull]:
    """Yield what links in the directories `NAME.wants` and `NAME.requires` pull in."""
    for suffix, required in FOLDER_SUFFIXES.items():
        for path in units.list_folder_files(names, suffix):
            name = path.rpartition("/")[2]
            if units.link(path) and not units.is_mask(path):
                instance = get_instance(names[0]) or names[0].rpartition(".")[0]
                yield Pull(set_instance(name, instance), required, units.evidence(path))


def _list_declared_pulls(name: str, readings: List[UnitLine]) -> Iterator[Pull]:
    yield from _parse_dependencies(name, readings, tuple(PULLS))
    for reading in readings:
        if (reading.section, reading.name) == ("Service", "Sockets"):
            yield from (
                Pull(_expand_dependency(word, name), required=False, at=reading.at)
                for word in split_list(reading.value)
            )


def _parse_dependencies(name: str, readings: List[UnitLine], kinds: Tuple[str, ...]) -> Iterator[Pull]:
    for reading in readings:
        if reading.section == "Unit" and reading.name in kinds:
            for word in split_list(reading.value):
                other = _expand_dependency(word, name)
                if is_unit_name(other):
                    yield Pull(other, PULLS.get(reading.name, False), reading.at)


def _expand_dependency(word: str, name: str) -> str:
    """Return a dependency with specifiers expanded, instantiated like its unit."""
    prefix, _, _ = name.rpartition(".")
    instance = get_instance(name)
    stem = prefix.partition("@")[0]
    known = {"i": instance, "n": name, "N": prefix, "p": stem, "j": stem.rpartition("-")[2], "%": "%"}
    expanded = re.sub("%(.)", lambda match: known.get(match[1], match[0]), word)
    return set_instance(expanded, instance or stem)


def _list_implied_pulls(kind: str, readings: List[UnitLine], path: str) -> Iterator[Pull]:
    """Yield the dependencies that systemd adds itself."""
    last = {(reading.section, reading.name): reading for reading in readings}
    if kind in DEFAULT_DEPENDENCY_TYPES and _has_default_dependencies(readings):
        yield Pull("sysinit.target", required=True, at=Evidence(path))
    bus = last.get(("Service", "BusName"))
    if kind == "service" and bus and bus.value:
        yield Pull("dbus.socket", required=True, at=bus.at)
    for section in ("Service", "Socket", "Swap", "Mount", "Slice", "Scope"):
        placed = last.get((section, "Slice"))
        if placed and placed.value.endswith(".slice"):
            yield Pull(placed.value, required=True, at=placed.at)


def _has_default_dependencies(readings: List[UnitLine]) -> bool:
    """Return whether a unit has the default dependencies of its type."""
    values = [line.value for line in readings if (line.section, line.name) == ("Unit", "DefaultDependencies")]
    return not (values and is_no(values[-1]))


def _explain_bad_unit(kind: str, names: Tuple[str, ...], readings: List[UnitLine]) -> str:
    """Return why systemd refuses to load a unit; empty if it does not."""
    if kind == "service":
        return _explain_bad_service(readings)
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
    return _explain_bad_swap(names, readings) if kind == "swap" else ""


def _explain_bad_swap(names: Tuple[str, ...], readings: List[UnitLine]) -> str:
    """Return why a swap unit is bad: its name must match its device or file."""
    from nodespec.checks import _swap_fstab  # noqa: PLC0415

    what = [reading.value for reading in readings if (reading.section, reading.name) == ("Swap", "What")]
    path = _swap_fstab.FstabEntry(what[-1].replace("%%", "%"), "", "swap", "", Evidence("")).path if what else ""
    return (
        "has a name that does not match its What="
        if path and _swap_fstab.make_unit_name(path, "swap") not in names
        else ""
    )


SERVICE_TYPES = ("simple", "exec", "forking", "oneshot", "dbus", "notify", "notify-reload", "idle")


def _explain_bad_service(readings: List[UnitLine]) -> str:
    """Return why a service is bad, as `service_verify()` in src/core/service.c."""
    start, stop = (_parse_programs(readings, name) for name in ("ExecStart", "ExecStop"))
    if start is None or stop is None:
        return "names a program by a path that is neither absolute nor a plain name"
    last = {reading.name: reading.value for reading in readings if reading.section in ("Service", "Unit")}
    types = [line.value for line in readings if (line.section, line.name) == ("Service", "Type")]
    kind = next((line for line in reversed(types) if line in SERVICE_TYPES), "")
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


def _parse_programs(readings: List[UnitLine], name: str) -> Optional[List[str]]:
    """Return the programs that a setting runs; None if systemd refuses one.

    A line may have several, separated by `;`.
    """
    programs: List[str] = []
    for value in list_setting_values(readings, "Service", name):
        for command in re.split(r"(?:^|(?<=\s));(?=\s|$)", value):
            first = next(split_list(command), "")
            program = first.lstrip("@-:+!")
            if first and (not program or program.endswith("/") or ("/" in program and program[0] != "/")):
                if "-" not in first[: len(first) - len(program)]:
                    return None
            elif first:
                programs.append(program)
    return programs
