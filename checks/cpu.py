"""The processors that the running kernel uses."""

from __future__ import annotations

import re

from nodespec.facts.declaration import fact
from nodespec.facts.value_numbers import Whole
from nodespec.facts.value_types import FreeText, OneOf, SetOf
from nodespec.host.machine import Machine
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import FrozenSet, Tuple

CPUINFO, ONLINE = "/proc/cpuinfo", "/sys/devices/system/cpu/online"


@fact(Whole(), sources=(ONLINE, CPUINFO), fix="give the machine {want} processors, or enable its offline processors")
def count(machine: Machine) -> Observation[int]:
    """Logical processors that are online: threads, not cores.

    This is the number that the kernel schedules on. It does not depend on the affinity of nodespec itself (`nproc`
    does).
    """
    online = machine.line(ONLINE)
    if isinstance(online, Value):
        return online.then(_count_range_list)
    return machine.once(_read_cpuinfo).then(_count_processors)


@fact(SetOf(FreeText()), sources=(CPUINFO,))
def flags(machine: Machine) -> Observation[FrozenSet[str]]:
    """Features that every processor has, as the kernel names them.

    Read from `flags` of /proc/cpuinfo on x86, and from `Features` on Arm. Names differ by architecture (aes and avx2;
    asimd and sve). Some differ from the vendor's: SSE3 is pni, LZCNT is abm. A feature that the command line disables
    is not listed.
    """
    features = _read_common_features(machine)
    if isinstance(features, Absent):
        return Unknown("unsupported", f"{CPUINFO} lists no features on this architecture")
    return features


@fact(
    OneOf("x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4", ranked=True),
    sources=(CPUINFO,),
    optional=True,
    fix="choose a machine type with a newer processor; a virtual machine needs a processor model that shows it all",
)
def level(machine: Machine) -> Observation[str]:
    """The highest x86-64 microarchitecture level of all processors (inferred).

    Every processor reaches it; it follows from the flags. The levels are those of the psABI, for which distributions
    build: RHEL 9 needs v2, RHEL 10 needs v3. To require at least a level, list it and all higher levels: [x86-64-v3,
    x86-64-v4]. Other architectures have no level.
    """
    rows, features = machine.once(_read_cpuinfo), _read_common_features(machine)
    if not isinstance(rows, Value) or not isinstance(features, Value):
        return rows if isinstance(rows, Unknown) else Absent(Evidence(CPUINFO))
    x86 = rows.value[features.evidence.line - 1].name == "flags"
    reached = _find_level(features.value) if x86 else ""
    return Value(reached, features.evidence._replace(inferred=True)) if reached else Absent(features.evidence)


@fact(FreeText(), sources=(CPUINFO,), optional=True)
def model(machine: Machine) -> Observation[str]:
    """Name of the first processor. On 64-bit Arm the kernel does not report it."""
    return _find_rows(machine, MODELS).then(lambda rows: " ".join(rows[0].said.split()))


# The name of the row differs by architecture.
FEATURES = ("flags", "Features", "features")
MODELS = ("model name", "cpu model", "cpu", "uarch")
# The flags that each level of the psABI adds, as the kernel names them.
LEVELS = {
    "x86-64-v1": "lm cmov cx8 fpu fxsr mmx syscall sse sse2",
    "x86-64-v2": "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3",
    "x86-64-v3": "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave",
    "x86-64-v4": "avx512f avx512bw avx512cd avx512dq avx512vl",
}


class CpuinfoRow(NamedTuple):
    """A line of /proc/cpuinfo."""

    name: str
    said: str


def _count_range_list(ranges: str) -> int:
    """Return how many numbers a list such as `0-3,5,8-11` has."""
    return sum(map(_count_range, ranges.split(",")))


def _count_range(text: str) -> int:
    match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", text, re.ASCII)
    if not match or int(match[2] or match[1]) < int(match[1]):
        raise ValueError(f"`{text[:40]}` is not a range of processors")
    return int(match[2] or match[1]) - int(match[1]) + 1


def _read_cpuinfo(machine: Machine) -> Observation[Tuple[CpuinfoRow, ...]]:
    return machine.text(CPUINFO).then(_parse_cpuinfo)


def _parse_cpuinfo(text: str) -> Tuple[CpuinfoRow, ...]:
    """Parse all lines of the file; ValueError if they describe no processor."""
    parts = (line.partition(":") for line in text.split("\n"))
    rows = tuple(CpuinfoRow(name.strip(), value.strip()) for name, _, value in parts)
    if not _count_processors(rows):
        raise ValueError("no processor found")
    return rows


def _count_processors(rows: Tuple[CpuinfoRow, ...]) -> int:
    # s390 numbers its processors in this row.
    return sum(1 for row in rows if re.fullmatch(r"processor( \d+)?", row.name, re.ASCII))


def _find_rows(machine: Machine, names: Tuple[str, ...]) -> Observation[Tuple[CpuinfoRow, ...]]:
    """Return the rows of the first of these names that the file has."""
    rows = machine.once(_read_cpuinfo)
    if not isinstance(rows, Value):
        return rows
    for name in names:
        matching = tuple(row for row in rows.value if row.name == name)
        if matching:
            return Value(matching, Evidence(CPUINFO, rows.value.index(matching[0]) + 1))
    return Absent(Evidence(CPUINFO))


def _read_common_features(machine: Machine) -> Observation[FrozenSet[str]]:
    """Return the features that all processors share."""
    return _find_rows(machine, FEATURES).then(_intersect_features)


def _intersect_features(rows: Tuple[CpuinfoRow, ...]) -> FrozenSet[str]:
    every = {row.said for row in rows}  # Usually all rows are equal.
    return frozenset.intersection(*(frozenset(value.split()) for value in every))


def _find_level(features: FrozenSet[str]) -> str:
    """Return the highest level that is reached with all levels below it.

    Empty on 32-bit processors.
    """
    reached = ""
    for name, added in LEVELS.items():
        if not features.issuperset(added.split()):
            break
        reached = name
    return reached
