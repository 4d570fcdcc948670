"""Names of kernel parameters that match a glob, such as `net.ipv4.conf.*.rp_filter`."""

from __future__ import annotations

from nodespec.checks._sysctl_names import ROOT, SWAP_SEPARATORS, make_name
from nodespec.formats.glob import matches_glob
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Unknown, Value

if TYPE_CHECKING:
    from typing import List, Tuple, Union

    from nodespec.host.machine import Machine

MAX_MATCHES = 20_000  # A node with 10,000 interfaces has as many rows of each parameter.


def match_names(machine: Machine, glob: str) -> Union[Tuple[str, ...], Unknown]:
    """Return all names that match; unknown if a directory on the way cannot be read.

    `*` matches within one part between dots. An interface such as eth0.100 is one part, eth0/100.
    """
    paths: List[str] = [ROOT]
    for part in glob.split("."):
        below: List[str] = []
        for path in paths:
            names = _list_part(machine, path, part.translate(SWAP_SEPARATORS))
            if isinstance(names, Unknown):
                return names
            below += names
        if len(below) > MAX_MATCHES:
            return Unknown("unsupported", f"more than {MAX_MATCHES} names match {glob}")
        paths = below
    return _select_files(machine, paths)


def _list_part(machine: Machine, path: str, part: str) -> Union[List[str], Unknown]:
    if "*" not in part:
        return [f"{path}/{part}"]
    names = machine.names(path)
    if isinstance(names, Unknown):
        return names
    return [f"{path}/{name}" for name in names.value if matches_glob(part, name)] if isinstance(names, Value) else []


def _select_files(machine: Machine, paths: List[str]) -> Union[Tuple[str, ...], Unknown]:
    found: List[str] = []
    for path in paths:
        entry = machine.entry(path, follow=False)
        if isinstance(entry, Unknown):
            return entry
        if isinstance(entry, Value) and entry.value.kind == "file":
            found.append(make_name(path))
    return tuple(sorted(found))
