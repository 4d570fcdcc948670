"""Ask the kernel about network interfaces with ioctl(2): IPv4 addresses and offloads.

A socket of the Unix family is enough for these requests, and loads no module. The kernel answers for the network
namespace of nodespec.
"""

from __future__ import annotations

import struct

from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import List, Tuple

    from nodespec.host.machine import Machine

SIOCGIFCONF, SIOCETHTOOL = 0x8912, 0x8946
NAME_BYTES = 16
POINTER_BYTES = struct.calcsize("P")
REQUEST_BYTES = 40 if POINTER_BYTES == 8 else 32  # noqa: PLR2004 - struct ifreq: a name and a union of 24 or 16 bytes
MAX_REQUESTS = 1 << 14  # addresses
AF_INET = 2


def list_ipv4_addresses(machine: Machine) -> Observation[Tuple[Tuple[str, str], ...]]:
    """Return the IPv4 addresses of all interfaces as (name, address)."""
    other = machine.elsewhere("net")
    if other:
        return other
    evidence = Evidence("ioctl(SIOCGIFCONF)")
    count = 64
    try:
        while count <= MAX_REQUESTS:
            data = _fetch_addresses(count * REQUEST_BYTES)
            if len(data) < count * REQUEST_BYTES:
                return Value(tuple(_parse_requests(data)), evidence)
            count *= 4
    except OSError as error:
        return Unknown("failed", f"{evidence}: {error.strerror or error}")
    return Unknown("unsupported", f"{evidence}: more than {MAX_REQUESTS} addresses")


def _fetch_addresses(size: int) -> bytes:
    """Return up to `size` bytes of struct ifreq, as the kernel fills them."""
    import array  # noqa: PLC0415 - only needed here
    import fcntl  # noqa: PLC0415 - likewise
    import socket  # noqa: PLC0415 - 10 ms

    buffer = array.array("B", bytes(size))
    request = bytearray(struct.pack("iP", size, buffer.buffer_info()[0]))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        fcntl.ioctl(peer.fileno(), SIOCGIFCONF, request)
    return buffer.tobytes()[: struct.unpack("iP", request)[0]]


def _parse_requests(data: bytes) -> List[Tuple[str, str]]:
    rows = []
    for offset in range(0, len(data) - REQUEST_BYTES + 1, REQUEST_BYTES):
        name = data[offset : offset + NAME_BYTES].split(b"\0")[0].decode("utf-8", "backslashreplace")
        family, _, *address = struct.unpack_from("HH4B", data, offset + NAME_BYTES)
        if family == AF_INET:
            rows.append((name.partition(":")[0], ".".join(map(str, address))))
    return rows


def read_offload(name: str, command: int) -> int:
    """Return the value of an ethtool command of one word, such as ETHTOOL_GTSO. Raises OSError."""
    import array  # noqa: PLC0415 - only needed here
    import fcntl  # noqa: PLC0415 - likewise
    import socket  # noqa: PLC0415 - 10 ms

    value = array.array("I", (command, 0))
    request = struct.pack(f"{NAME_BYTES}sP", name.encode("utf-8", "surrogateescape"), value.buffer_info()[0])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        fcntl.ioctl(peer.fileno(), SIOCETHTOOL, request.ljust(REQUEST_BYTES, b"\0"))
    return value[1]
