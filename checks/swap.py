"""Active swap space, as /proc/swaps lists it, however it was configured.

A kernel built without swap has no such file, and so no swap. zram devices are included; zswap is a cache and not a swap
area.

At rest it is the swap space that the next boot enables: the areas that /etc/fstab, units of systemd, its zram generator
and some services declare. If systemd may find a swap partition by its GPT type, only a running machine can show it.
"""

from __future__ import annotations

import re

from nodespec.facts.declaration import Row, Rows, fact, table
from nodespec.facts.value_numbers import Size
from nodespec.facts.value_types import OneOf
from nodespec.formats.mountinfo import unescape_path
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Observation, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Tuple

SWAPS = "/proc/swaps"
AT_REST = ("/etc/fstab", "*/systemd/*", "generator/*", "/etc/runlevels*", "/etc/*", "/boot/*", "*/modules/*")


@fact(
    Size(),
    sources=(SWAPS,),
    fix="to disable swap: swapoff --all, and remove the areas from /etc/fstab, swap units and zram-generator.conf",
)
def total(machine: Machine) -> Observation[int]:
    """Swap space of all areas together, in bytes; 0 if no swap is active.

    The header page of each area does not count, so 2 GiB of swap show some 4 KiB less. At rest the size of a partition
    or of compressed memory cannot be known: then only a lower bound, more than 0, is known.
    """
    return machine.once(_read_areas).then(lambda areas: sum(area.size for area in areas))


@table(
    {"type": OneOf("partition", "file"), "size": Size()},
    sources=(SWAPS,),
    noun="swap area",
    closed=True,
    fix="swapoff {key}, and remove it from /etc/fstab, swap units and zram-generator.conf",
    fixes={"size": "create {key} again with {want}: swapoff, mkswap, swapon"},
)
def devices(machine: Machine) -> Rows[Row]:
    """Swap areas by path, as the kernel reports it, with links resolved.

    type: `partition` for any block device (also zram and LVM) or `file`. size: in bytes, without the header page. The
    path of a file that was deleted while in use ends with ` (deleted)`. At rest the path is the declared one, which may
    be a tag such as `UUID=...`.
    """
    areas = machine.once(_read_areas)
    if not isinstance(areas, Value):
        return Rows.lacking(areas)
    rows: Dict[str, Observation[Row]] = {}
    for area in areas.value:
        evidence = areas.evidence._replace(line=area.line)
        rows[area.path] = Value({"type": Value(area.type, evidence), "size": Value(area.size, evidence)}, evidence)
    return Rows.of(rows, Absent(areas.evidence))


@total.at_rest(*AT_REST, fix="for none: remove what enables swap from /etc/fstab, swap units and zram-generator.conf")
def _total_at_rest(tree: Tree) -> Observation[int]:
    from nodespec.checks import _swap_files  # noqa: PLC0415

    return _swap_files.resolve_total(tree)


@devices.at_rest(*AT_REST, "/*", fix="remove {key} from /etc/fstab, swap units and zram-generator.conf")
def _devices_at_rest(tree: Tree) -> Rows[Row]:
    from nodespec.checks import _swap_files  # noqa: PLC0415

    return _swap_files.read_rows(tree)


class ActiveArea(NamedTuple):
    """A line of /proc/swaps."""

    line: int
    path: str
    type: str
    size: int


def _read_areas(machine: Machine) -> Observation[Tuple[ActiveArea, ...]]:
    text = machine.text(SWAPS)
    if isinstance(text, Absent):
        return Value((), text.evidence._replace(inferred=True))
    return text.then(_parse_swaps)


def _parse_swaps(swaps: str) -> Tuple[ActiveArea, ...]:
    heading, *lines = swaps.split("\n")
    if heading.split()[:3] != ["Filename", "Type", "Size"]:
        raise ValueError("no header of /proc/swaps found")
    return tuple(_parse_area(number, line) for number, line in enumerate(lines, 2) if line)


def _parse_area(number: int, line: str) -> ActiveArea:
    """Parse a line: size in KiB, path with octal escapes for blanks and backslashes."""
    match = re.match(r"([^ \t]+)[ \t]+([a-z]+)[ \t]+(\d{1,18})[ \t]", line, re.ASCII)
    if not match:
        raise ValueError(f"line {number} is not a swap area")
    path = unescape_path(match[1])
    return ActiveArea(number, path, match[2], int(match[3]) * 1024)
