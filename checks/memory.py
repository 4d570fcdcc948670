"""Memory of the running kernel."""

from __future__ import annotations

from nodespec.facts.declaration import fact
from nodespec.facts.value_numbers import Size
from nodespec.host.machine import Machine
from nodespec.model.observation import Observation


@fact(Size(), sources=("/proc/meminfo",), fix="give the machine {want} of memory")
def total(machine: Machine) -> Observation[int]:
    """Memory that the kernel can use, in bytes.

    MemTotal excludes the memory of the firmware, the kernel image and a crash kernel. A machine sold with 2 GiB shows
    about 1.9 GiB: require a little less than the nominal size.
    """
    return machine.text("/proc/meminfo").then(_parse_mem_total)


def _parse_mem_total(text: str) -> int:
    rows = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return int(rows["MemTotal"].split()[0]) * 1024
