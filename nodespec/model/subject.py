"""Who was looked at, and how: the head of a report."""

from __future__ import annotations

from typing import Mapping, Tuple

from nodespec.records import NamedTuple

HEAD_FACTS: Mapping[str, Tuple[str, ...]] = {  # by field of Host: the fact that it repeats
    "os": ("os", "pretty_name"),
    "kernel": ("kernel", "release"),
    "next": ("kernel", "next"),
    "arch": ("kernel", "arch"),
    "container": ("os", "container"),
}


class Host(NamedTuple):
    """What the report is about. `id` is derived from the machine-id and does not reveal it."""

    name: str
    id: str = ""
    os: str = ""
    kernel: str = ""
    arch: str = ""
    container: str = ""
    user: str = ""  # who looked: root, or uid 1000
    next: str = ""  # the release of the kernel that the next boot starts, where another runs
    product: str = ""  # as `id`, of the firmware's product_uuid
    addresses: str = ""  # as `id`, of each hardware address, with blanks between


class Seat(NamedTuple):
    """Where a host is looked at from: `context` is running or at rest, `door` live or root DIR."""

    context: str
    door: str
    host: Host
    notices: Tuple[str, ...] = ()
