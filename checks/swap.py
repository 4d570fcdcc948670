"""Swap space that is switched on, as /proc/swaps lists it, wherever it was asked for.

A kernel built without swap has no such file, and so no swap. zram devices are among it; zswap is a cache, not an area.

At rest it is the swap space that the next boot switches on: what /etc/fstab, units of systemd, its zram generator and
a few services declare. A partition that systemd finds by its GPT type alone is not seen there.
"""

from __future__ import annotations

import re
from typing import Dict, Tuple

from nodespec.facts import Row, Rows, fact, table
from nodespec.kinds import Choice, Size
from nodespec.machine import Machine
from nodespec.mounts import unescaped
from nodespec.named import NamedTuple
from nodespec.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value
from nodespec.tree import Tree

SWAPS = "/proc/swaps"
AT_REST = ("/etc/fstab", "*/systemd/*")


@fact(
    Size(),
    sources=(SWAPS,),
    fix="for none: swapoff --all, and take out of /etc/fstab, swap units and zram-generator.conf what brings it back",
)
def total(machine: Machine) -> Observation[int]:
    """Swap space of all areas together, in bytes; 0 where none is on.

    The page that heads each area is not counted, so that 2 GiB of swap show some 4 KiB less. At rest the size
    of a partition cannot be known, so that only 0 and the sizes of files are told.
    """
    return machine.once(_areas).then(lambda areas: sum(area.size for area in areas))


@table(
    {"type": Choice("partition", "file"), "size": Size()},
    sources=(SWAPS,),
    noun="swap area",
    closed=True,
    fix="swapoff {key}, and take it out of /etc/fstab, swap units and zram-generator.conf",
    fixes={"size": "make {key} anew with {want}: swapoff, mkswap, swapon"},
)
def devices(machine: Machine) -> Rows[Row]:
    """Swap areas by the path they are known by, which the kernel gives without links.

    type: `partition` for any block device (zram and LVM too) or `file`. size: in bytes, without the heading page.
    A file that was deleted while in use bears ` (deleted)` at the end of its path. At rest the path is the one that is
    declared, which may be a tag such as `UUID=...`.
    """
    areas = machine.once(_areas)
    if not isinstance(areas, Value):
        return Rows.lacking(areas)
    rows: Dict[str, Observation[Row]] = {}
    for area in areas.value:
        evidence = areas.evidence._replace(line=area.line)
        rows[area.path] = Value({"type": Value(area.type, evidence), "size": Value(area.size, evidence)}, evidence)
    return Rows.of(rows, Absent(areas.evidence))


@total.at_rest(*AT_REST)
def _total_at_rest(tree: Tree) -> Observation[int]:
    from nodespec.checks import _swap_files  # noqa: PLC0415 - not for a machine that runs

    areas = _swap_files.areas(tree)
    if isinstance(areas, Unknown):
        return areas
    seen = [(area, area.size(tree)) for area in areas]
    for area, size in seen:
        if not isinstance(size, Value):
            return Unknown(DEFERRED, f"{area.at} switches on {area.path}, and only a running machine can tell its size")
    at = seen[0][0].at if seen else Evidence(_swap_files.FSTAB)
    return Value(sum(size.value for _, size in seen if isinstance(size, Value)), at._replace(inferred=True))


@devices.at_rest(*AT_REST, "/*")
def _devices_at_rest(tree: Tree) -> Rows[Row]:
    from nodespec.checks import _swap_files  # noqa: PLC0415 - not for a machine that runs

    areas = _swap_files.areas(tree)
    if isinstance(areas, Unknown):
        return Rows.lacking(areas)
    rows: Dict[str, Observation[Row]] = {
        area.path: Value({"type": Value(area.type, area.at), "size": area.size(tree)}, area.at) for area in areas
    }
    return Rows.of(rows, Absent(Evidence(_swap_files.FSTAB)))


class Area(NamedTuple):
    """A line of /proc/swaps."""

    line: int
    path: str
    type: str
    size: int


def _areas(machine: Machine) -> Observation[Tuple[Area, ...]]:
    text = machine.text(SWAPS)
    if isinstance(text, Absent):
        return Value((), text.evidence._replace(inferred=True))
    return text.then(_listed)


def _listed(swaps: str) -> Tuple[Area, ...]:
    heading, *lines = swaps.split("\n")
    if heading.split()[:3] != ["Filename", "Type", "Size"]:
        raise ValueError("no heading of swap areas")
    return tuple(_area(number, line) for number, line in enumerate(lines, 2) if line)


def _area(number: int, line: str) -> Area:
    """A line, its size in KiB, its path with octal escapes for blanks and backslashes."""
    match = re.match(r"([^ \t]+)[ \t]+([a-z]+)[ \t]+(\d{1,18})[ \t]", line, re.ASCII)
    if not match:
        raise ValueError(f"line {number} is no swap area")
    path = unescaped(match[1])
    return Area(number, path, match[2], int(match[3]) * 1024)
