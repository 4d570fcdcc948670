"""Parse the routing tables and addresses of /proc/net.

https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html has the byte order of addresses.
"""

from __future__ import annotations

import sys

from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Iterator, List, Tuple

UP, GATEWAY, REJECT = 0x1, 0x2, 0x200  # RTF_UP, RTF_GATEWAY, RTF_REJECT of linux/route.h
IPV4_COLUMNS, IPV6_COLUMNS, ADDRESS_COLUMNS = 8, 10, 6


class DefaultRoute(NamedTuple):
    """A default route: the line of its table, its interface, and its gateway, empty for none."""

    line: int
    interface: str
    gateway: str
    metric: int


def parse_ipv4_routes(text: str) -> List[DefaultRoute]:
    """Return the default routes of /proc/net/route. Raises ValueError for another text.

    A network namespace that never had a route has an empty table without a header.
    `eth0 00000000 010200C0 0003 0 0 100 00000000 0 0 0` has the gateway 192.0.2.1.
    """
    lines = text.split("\n")
    if text and not lines[0].startswith("Iface\tDestination\tGateway"):
        raise ValueError("no header of a routing table found")
    routes = []
    for number, line in enumerate(lines[1:], 2):
        row = line.split("\t")
        if len(row) < IPV4_COLUMNS:
            continue
        flags = int(row[3], 16)
        if int(row[1], 16) == int(row[7], 16) == 0 and flags & UP and not flags & REJECT:
            gateway = format_ipv4(row[2], sys.byteorder) if flags & GATEWAY else ""
            routes.append(DefaultRoute(number, row[0].strip(), gateway, int(row[6])))
    return routes


def format_ipv4(digits: str, order: str) -> str:
    """Return an address of 8 hexadecimal digits; the kernel prints it in the byte order of the machine."""
    data = bytes.fromhex(digits)
    return ".".join(map(str, data[::-1] if order == "little" else data))


def parse_ipv6_routes(text: str) -> List[DefaultRoute]:
    """Return the default routes of /proc/net/ipv6_route. Raises ValueError for a malformed line."""
    routes = []
    for number, line in enumerate(text.split("\n"), 1):
        row = line.split()
        if len(row) < IPV6_COLUMNS:
            continue
        flags = int(row[8], 16)
        if int(row[0], 16) == int(row[1], 16) == int(row[3], 16) == 0 and flags & UP and not flags & REJECT:
            gateway = format_ipv6(row[4]) if int(row[4], 16) else ""
            routes.append(DefaultRoute(number, row[9], gateway, int(row[5], 16)))
    return routes


def parse_ipv6_addresses(text: str) -> Iterator[Tuple[int, str, str]]:
    """Yield line, interface and address of /proc/net/if_inet6. Raises ValueError for a malformed line.

    `fe80000000000000e06958fffef0d265 02 40 20 80 eth0` is fe80::e069:58ff:fef0:d265 on eth0.
    """
    for number, line in enumerate(text.split("\n"), 1):
        row = line.split()
        if row and len(row) != ADDRESS_COLUMNS:
            raise ValueError(f"line {number}: expected {ADDRESS_COLUMNS} fields")
        if row:
            yield number, row[5], format_ipv6(row[0])


def parse_interface_names(text: str) -> List[str]:
    """Return the interfaces of /proc/net/dev, which has two lines of headers. Raises ValueError for another text."""
    lines = text.split("\n")
    if not lines[0].startswith("Inter-|"):
        raise ValueError("no header of a table of interfaces found")
    return [line.partition(":")[0].strip() for line in lines[2:] if ":" in line]


def format_ipv6(digits: str) -> str:
    """Return an address of 32 hexadecimal digits in its usual form."""
    from ipaddress import IPv6Address  # noqa: PLC0415 - 4 ms

    return str(IPv6Address(bytes.fromhex(digits)))
