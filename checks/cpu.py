"""The processors that the running kernel uses."""

from __future__ import annotations

import re
from typing import FrozenSet, Tuple

from nodespec.facts.declaration import fact
from nodespec.facts.value_types import Choice, SetOf, Text, Whole
from nodespec.host.machine import Machine
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

CPUINFO, ONLINE = "/proc/cpuinfo", "/sys/devices/system/cpu/online"


@fact(Whole(), sources=(ONLINE, CPUINFO), fix="give the machine {want} processors, or bring those that it has online")
def count(machine: Machine) -> Observation[int]:
    """Logical processors that are online: threads of cores, and not cores.

    It is what the kernel schedules on, whatever nodespec itself is allowed to run on (`nproc` counts that).
    """
    online = machine.line(ONLINE)
    if isinstance(online, Value):
        return online.then(_length)
    return machine.once(_rows).then(_processors)


@fact(SetOf(Text()), sources=(CPUINFO,))
def flags(machine: Machine) -> Observation[FrozenSet[str]]:
    """What every processor can do, in the kernel's words: `flags` of /proc/cpuinfo on x86, `Features` on Arm.

    Names differ by architecture (aes and avx2; asimd and sve), and some from the vendor's: SSE3 is pni, LZCNT is abm.
    What the kernel was told to leave alone is not there.
    """
    found = _common(machine)
    if isinstance(found, Absent):
        return Unknown("unsupported", f"{CPUINFO} lists no features on this architecture")
    return found


@fact(
    Choice("x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4", ranked=True),
    sources=(CPUINFO,),
    optional=True,
    fix="choose a machine type with a newer processor; a virtual machine needs a processor model that shows it all",
)
def level(machine: Machine) -> Observation[str]:
    """The highest microarchitecture level of x86-64 that every processor reaches, by the flags (inferred).

    The levels are those of the psABI, for which distributions build: RHEL 9 needs v2, RHEL 10 v3. At least a level is
    a list of it and all above: [x86-64-v3, x86-64-v4]. Other architectures have none.
    """
    rows, found = machine.once(_rows), _common(machine)
    if not isinstance(rows, Value) or not isinstance(found, Value):
        return rows if isinstance(rows, Unknown) else Absent(Evidence(CPUINFO))
    x86 = rows.value[found.evidence.line - 1].name == "flags"
    reached = _level(found.value) if x86 else ""
    return Value(reached, found.evidence._replace(inferred=True)) if reached else Absent(found.evidence)


@fact(Text(), sources=(CPUINFO,), optional=True)
def model(machine: Machine) -> Observation[str]:
    """What the first processor calls itself. The kernel does not pass that on for 64-bit Arm."""
    return _first(machine, MODELS).then(lambda rows: " ".join(rows[0].said.split()))


# as architectures call the row
FEATURES = ("flags", "Features", "features")
MODELS = ("model name", "cpu model", "cpu", "uarch")
# what each level of the psABI adds, in the kernel's words
LEVELS = {
    "x86-64-v1": "lm cmov cx8 fpu fxsr mmx syscall sse sse2",
    "x86-64-v2": "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3",
    "x86-64-v3": "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave",
    "x86-64-v4": "avx512f avx512bw avx512cd avx512dq avx512vl",
}


class Row(NamedTuple):
    """One line of /proc/cpuinfo."""

    name: str
    said: str


def _length(ranges: str) -> int:
    """How many numbers a list such as `0-3,5,8-11` has."""
    return sum(map(_span, ranges.split(",")))


def _span(text: str) -> int:
    found = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", text, re.ASCII)
    if not found or int(found[2] or found[1]) < int(found[1]):
        raise ValueError(f"`{text[:40]}` is no range of processors")
    return int(found[2] or found[1]) - int(found[1]) + 1


def _rows(machine: Machine) -> Observation[Tuple[Row, ...]]:
    return machine.text(CPUINFO).then(_parsed)


def _parsed(text: str) -> Tuple[Row, ...]:
    """All lines, and so in their place; ValueError where they tell of no processor."""
    parts = (line.partition(":") for line in text.split("\n"))
    rows = tuple(Row(name.strip(), said.strip()) for name, _, said in parts)
    if not _processors(rows):
        raise ValueError("no processor is listed")
    return rows


def _processors(rows: Tuple[Row, ...]) -> int:
    return sum(1 for row in rows if re.fullmatch(r"processor( \d+)?", row.name, re.ASCII))  # s390 numbers them there


def _first(machine: Machine, names: Tuple[str, ...]) -> Observation[Tuple[Row, ...]]:
    """The rows that bear the first of the names that is there at all."""
    rows = machine.once(_rows)
    if not isinstance(rows, Value):
        return rows
    for name in names:
        found = tuple(row for row in rows.value if row.name == name)
        if found:
            return Value(found, Evidence(CPUINFO, rows.value.index(found[0]) + 1))
    return Absent(Evidence(CPUINFO))


def _common(machine: Machine) -> Observation[FrozenSet[str]]:
    """The features that all processors share."""
    return _first(machine, FEATURES).then(_shared)


def _shared(rows: Tuple[Row, ...]) -> FrozenSet[str]:
    every = {row.said for row in rows}  # mostly one
    return frozenset.intersection(*(frozenset(said.split()) for said in every))


def _level(features: FrozenSet[str]) -> str:
    """The last level that is reached with all before it; empty for a processor of 32 bits."""
    reached = ""
    for name, added in LEVELS.items():
        if not features.issuperset(added.split()):
            break
        reached = name
    return reached
