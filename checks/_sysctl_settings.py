"""Settings of kernel parameters that a service applies, and their syntax."""

from __future__ import annotations

import re

from nodespec.checks import _systemd_units
from nodespec.checks._sysctl_names import SWAP_SEPARATORS
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Iterator, Optional


class ServiceSetting(NamedTuple):
    """A setting of a service; the value is None if only a running machine can tell."""

    key: str
    value: Optional[str]
    at: Evidence
    sticky: bool = False  # The service only enables it: a value of 1 is kept.
    doubtful: bool = False  # The service may set this value, or leave the parameter alone.


def parse_assignments(text: str, path: str) -> Iterator[ServiceSetting]:
    """Parse lines of `sysctl -p`: `net/ipv4/ip_forward=1`, `-net.ipv4.ip_forward = 1`."""
    for number, line in _systemd_units.list_content_lines(text):
        name, equals, value = line.lstrip("-").partition("=")
        if equals:
            yield ServiceSetting(normalize_key(name.strip()), " ".join(value.split()), Evidence(path, number))


def normalize_key(name: str) -> str:
    """Return a name with dots, as sysctl(8) reads it.

    The first separator decides which character separates.
    """
    slashed = re.match(r"/*[^./]+/", name)
    return name.strip("/").translate(SWAP_SEPARATORS) if slashed else name
