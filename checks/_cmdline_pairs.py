"""Parameters of the kernel command line that apply to a parameter before them: `hugepagesz=1G hugepages=8`."""

from __future__ import annotations

import re

from nodespec.checks import _kernel_names
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Value

if TYPE_CHECKING:
    from typing import FrozenSet, List, Optional, Union

    from nodespec.facts.value_types import Datum

KEY = re.compile(r"([^\s=]+)=(\S+) ([^\s=]+)")
UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


def parse_key(name: str) -> str:
    """Return the key of a pair, such as `hugepagesz=1G hugepages`. Raises ValueError."""
    match = KEY.fullmatch(name)
    if not match:
        raise ValueError(f"`{name}` is not a parameter, or a pair such as `hugepagesz=1G hugepages`")
    first, value, second = match.groups()
    return f"{_kernel_names.normalize_name(first)}={value} {_kernel_names.normalize_name(second)}"


def observe_pair(line: str, evidence: Evidence, key: str, rest: Observation[Datum]) -> Optional[Observation[Datum]]:
    """Return the observation of a pair; None if it is not on the line and may be elsewhere."""
    value = find_value(line, key)
    if value is not None:
        return Value(value, evidence)
    first, _, second = key.partition(" ")
    return Absent(evidence, f"no {second} follows {first}") if isinstance(rest, Absent) else None


def find_value(line: str, key: str) -> Optional[Union[str, FrozenSet[str]]]:
    """Return the value of the second parameter of a pair, or None.

    It applies to the nearest first parameter before it: in `hugepagesz=1G hugepages=8 hugepagesz=2M hugepages=512` the
    value of `hugepagesz=2M hugepages` is 512.
    """
    match = KEY.fullmatch(key)
    if not match:
        return None
    first, wanted, second = match.groups()
    applies, values = False, []
    for name, value in _kernel_names.parse_cmdline(line):
        if name == first:
            applies = _is_same(value, wanted)
        elif name == second and applies:
            values.append(value)
    return _join(values)


def _join(values: List[str]) -> Optional[Union[str, FrozenSet[str]]]:
    if not values:
        return None
    return values[-1] if len({*values}) == 1 else frozenset(values)


def _is_same(value: str, wanted: str) -> bool:
    """Return whether two values are equal, as text or as sizes: 1G equals 1024M."""
    return value == wanted or (_parse_size(value) is not None and _parse_size(value) == _parse_size(wanted))


def _parse_size(text: str) -> Optional[int]:
    match = re.fullmatch(r"(\d{1,12})([kmgt]?)", text, re.IGNORECASE | re.ASCII)
    return int(match[1]) << UNITS[match[2].lower()] if match else None
