"""Why no mounted hierarchy has a controller."""

from __future__ import annotations

from nodespec.checks._cgroups_mounted import V2
from nodespec.host.machine import Machine
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Value

if TYPE_CHECKING:
    from typing import Mapping, Optional, Tuple

    from nodespec.facts.value_types import Datum

SUBSYSTEMS = "/proc/cgroups"


def explain_missing_controller(machine: Machine, name: str, inside: Observation[Datum]) -> Optional[Absent]:
    """Return why no mounted hierarchy has a controller, if that is known."""
    line, hierarchy, enabled = machine.once(_read_subsystems).get(name, (0, "0", "1"))
    if enabled == "0":
        message = f"disabled by cgroup_disable={name} on the kernel command line"
        return Absent(Evidence(SUBSYSTEMS, line), message)
    if hierarchy != "0":
        return Absent(Evidence(SUBSYSTEMS, line), "bound to a version 1 hierarchy that is not mounted here")
    if name in V2 and isinstance(inside, Value) and inside.value is True:
        return Absent(inside.evidence, "not passed down to this container, even if the kernel has it")
    return None


def _read_subsystems(machine: Machine) -> Mapping[str, Tuple[int, str, str]]:
    """Return line, hierarchy and `enabled` of each controller in /proc/cgroups.

    The file only explains an absence, and may be missing.
    """
    text = machine.text(SUBSYSTEMS)
    lines = text.value.split("\n") if isinstance(text, Value) else []
    rows = ((number, line.split()) for number, line in enumerate(lines, 1))
    return {row[0]: (number, row[1], row[3]) for number, row in rows if len(row) == 4}  # noqa: PLR2004 - the number of columns
