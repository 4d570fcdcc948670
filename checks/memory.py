"""Memory, as the running kernel counts it."""

from __future__ import annotations

from nodespec.facts.declaration import fact
from nodespec.facts.value_types import Size
from nodespec.host.machine import Machine
from nodespec.model.observation import Observation


@fact(Size(), sources=("/proc/meminfo",), fix="give the machine {want} of memory")
def total(machine: Machine) -> Observation[int]:
    """Memory that the kernel can use, in bytes.

    MemTotal is what is left after the firmware, the kernel image and a crash kernel have taken their part,
    so a machine sold with 2 GiB shows some 1.9: ask for a little less than what is sold.
    """
    return machine.text("/proc/meminfo").then(_mem_total)


def _mem_total(text: str) -> int:
    rows = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return int(rows["MemTotal"].split()[0]) * 1024
