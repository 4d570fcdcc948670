"""The observed host and how it was accessed: the head of a report."""

from __future__ import annotations

from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Mapping, Tuple

HEAD_FACTS: Mapping[str, Tuple[str, ...]] = {  # field of Host -> path of the fact that it repeats
    "os": ("os", "pretty_name"),
    "kernel": ("kernel", "release"),
    "next": ("kernel", "next"),
    "arch": ("kernel", "arch"),
    "container": ("os", "container"),
}


class Host(NamedTuple):
    """The host of a report.

    `id` is derived from the machine-id and does not reveal it.
    """

    name: str
    id: str = ""
    os: str = ""
    kernel: str = ""
    arch: str = ""
    container: str = ""
    user: str = ""  # the user of the process: root, or uid 1000
    next: str = ""  # release of the kernel that the next boot starts, if another kernel runs
    product: str = ""  # derived like `id`, from product_uuid of the firmware
    addresses: str = ""  # derived like `id`, from each hardware address, separated by spaces


class Seat(NamedTuple):
    """How a host is accessed.

    `context` is running or at rest. `door` is the access, for example live or root DIR.
    """

    context: str
    door: str
    host: Host
    notices: Tuple[str, ...] = ()
