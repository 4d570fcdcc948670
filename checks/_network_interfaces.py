"""Network interfaces and default routes, from sysfs, /proc/net and ioctl(2)."""

from __future__ import annotations

import re
from functools import partial
from os.path import basename

from nodespec.facts.declaration import Columns, Row, Rows
from nodespec.formats.route_table import parse_interface_names
from nodespec.host.machine import Machine
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Iterable, List, Mapping, Optional, Tuple

    from nodespec.formats.route_table import DefaultRoute

FOLDER = "/sys/class/net"
ETHERNET = "1"
# ARPHRD of linux/if_arp.h.
HARDWARE = {
    "772": "loopback",
    "32": "infiniband",
    "801": "wireless",
    "802": "wireless",
    "803": "wireless",
    **dict.fromkeys(("768", "769", "776", "778", "823"), "tunnel"),
    "65534": "tun",
}
# DEVTYPE of uevent, which the driver sets.
DEVICE_TYPES = {
    "bridge": "bridge",
    "bond": "bond",
    "vlan": "vlan",
    "vxlan": "vxlan",
    "geneve": "geneve",
    "macvlan": "macvlan",
    "macvtap": "macvlan",
    "ipvlan": "ipvlan",
    "wlan": "wireless",
    "wireguard": "wireguard",
    "gretap": "tunnel",
}
# IFF of linux/if.h.
FLAGS = {
    0x1: "up",
    0x2: "broadcast",
    0x8: "loopback",
    0x10: "pointopoint",
    0x80: "noarp",
    0x100: "promisc",
    0x200: "allmulti",
    0x400: "master",
    0x800: "slave",
    0x1000: "multicast",
}
# Commands of linux/ethtool.h, and names of `ethtool -k`.
OFFLOADS = {
    0x14: "rx-checksumming",
    0x16: "tx-checksumming",
    0x18: "scatter-gather",
    0x1E: "tcp-segmentation-offload",
    0x23: "generic-segmentation-offload",
    0x2B: "generic-receive-offload",
}
GET_FLAGS, LRO = 0x25, 1 << 15
LEFTOVERS = re.compile(
    r"cni0|flannel[.-].*|kube-ipvs0|kube-bridge|kube-dummy-if|tunl0|vxlan(-v6)?\.calico|wireguard\.cali|cali[0-9a-f]{11}"
    r"|cilium_(host|net|vxlan|geneve|wg0)|lxc[0-9a-f]{12}|weave|vethwe-.*|nodelocaldns|antrea-(gw|tun)0|ovn-k8s-mp0"
)
AWAKE = ("active", "unsupported", "forbidden")


def read_rows(machine: Machine) -> Rows[Row]:
    """Return the interfaces as a table."""
    names = _list_names(machine)
    if not isinstance(names, Value):
        return Rows.lacking(names)

    def find_row(name: str) -> Optional[Observation[Row]]:
        return _make_row(machine, name) if name in names.value else None

    def list_rows() -> Mapping[str, Observation[Row]]:
        return {name: _make_row(machine, name) for name in names.value}

    return Rows(find_row, list_rows, Absent(names.evidence), lambda: names.value)


def _list_names(machine: Machine) -> Observation[FrozenSet[str]]:
    """Return the interfaces of the network namespace of the observed process."""
    path = f"{machine.process}/net/dev"
    names = machine.text(path).then(parse_interface_names)
    if isinstance(names, Absent):
        return Unknown("not found", f"{path} not found", "boot a kernel that was built with CONFIG_NET")
    return names.then(frozenset)


def _make_row(machine: Machine, name: str) -> Observation[Row]:
    other = machine.once(_compare_namespaces)
    return other or Value(_make_columns(machine, name), Evidence(f"{FOLDER}/{name}"))


def _compare_namespaces(machine: Machine) -> Optional[Unknown]:
    """Return why sysfs is of no use: it shows the network namespace in which it was mounted."""
    names, shown = _list_names(machine), machine.names(FOLDER)
    if isinstance(shown, Absent):
        return Unknown("not found", f"{FOLDER} not found", "mount sysfs at /sys")
    for seen in (names, shown):
        if isinstance(seen, Unknown):
            return seen
    known: FrozenSet[str] = names.value if isinstance(names, Value) else frozenset()
    listed = shown.value if isinstance(shown, Value) else ()
    if known == frozenset(name for name in listed if _is_interface(machine, name)):
        return None
    message = f"{FOLDER} and {machine.process}/net/dev have different interfaces, of two network namespaces"
    return Unknown("hidden", message, "mount sysfs in the network namespace of the host")


def _is_interface(machine: Machine, name: str) -> bool:
    """Return whether an entry is an interface; `bonding_masters` is a file."""
    entry = machine.entry(f"{FOLDER}/{name}")
    return isinstance(entry, Value) and entry.value.kind == "directory"


def _make_columns(machine: Machine, name: str) -> Columns:
    return Columns(
        type=partial(_read_type, machine, name),
        loopback=lambda: _read_attribute(machine, name, "type").then(lambda text: HARDWARE.get(text) == "loopback"),
        up=lambda: _read_flags(machine, name).then(lambda flags: "up" in flags),
        state=lambda: _read_attribute(machine, name, "operstate"),
        mtu=lambda: _read_attribute(machine, name, "mtu").then(int),
        addresses=partial(_read_addresses, machine, name),
        mac=partial(_read_mac, machine, name),
        speed=partial(_read_speed, machine, name),
        driver=partial(_read_driver, machine, name),
        flags=partial(_read_flags, machine, name),
        offloads=partial(_read_offloads, machine, name),
    )


def _read_attribute(machine: Machine, name: str, attribute: str) -> Observation[str]:
    return machine.line(f"{FOLDER}/{name}/{attribute}")


def _read_type(machine: Machine, name: str) -> Observation[str]:
    """Return the type by the driver's DEVTYPE, else by the hardware type."""
    hardware = _read_attribute(machine, name, "type")
    event = machine.text(f"{FOLDER}/{name}/uevent")
    if not isinstance(hardware, Value) or isinstance(event, Unknown):
        return event if isinstance(event, Unknown) else hardware
    match = re.search(r"(?m)^DEVTYPE=(\w+)$", event.value) if isinstance(event, Value) else None
    kind = DEVICE_TYPES.get(match[1], "") if match else ""
    if not kind and hardware.value == ETHERNET:
        if isinstance(machine.entry(f"{FOLDER}/{name}/tun_flags"), Value):
            kind = "tun"
        elif isinstance(machine.entry(f"{FOLDER}/{name}/device"), Value):
            kind = "ethernet"
        else:
            kind = "virtual"
    return Value(kind or HARDWARE.get(hardware.value, "other"), hardware.evidence)


def _read_flags(machine: Machine, name: str) -> Observation[FrozenSet[str]]:
    def decode(text: str) -> FrozenSet[str]:
        bits = int(text, 16)
        return frozenset(word for bit, word in FLAGS.items() if bits & bit)

    return _read_attribute(machine, name, "flags").then(decode)


def _read_mac(machine: Machine, name: str) -> Observation[str]:
    address = _read_attribute(machine, name, "address")
    if isinstance(address, Value) and not re.search("[1-9a-f]", address.value):
        return Absent(address.evidence, f"{name} has no link-layer address")
    return address


def _read_addresses(machine: Machine, name: str) -> Observation[FrozenSet[str]]:
    """Return the addresses of both families; unknown unless both are known."""
    ipv4 = machine.once(_list_ipv4)
    ipv6 = machine.once(_list_ipv6)
    for known in (ipv4, ipv6):
        if isinstance(known, Unknown):
            return known
    found = [*ipv4.value, *ipv6.value] if isinstance(ipv4, Value) and isinstance(ipv6, Value) else []
    return Value(
        frozenset(address for interface, address in found if interface == name),
        ipv4.evidence if isinstance(ipv4, Value) else Evidence(FOLDER),
    )


def _list_ipv4(machine: Machine) -> Observation[Tuple[Tuple[str, str], ...]]:
    from nodespec.host.interfaces import list_ipv4_addresses  # noqa: PLC0415

    return list_ipv4_addresses(machine)


def _list_ipv6(machine: Machine) -> Observation[Tuple[Tuple[str, str], ...]]:
    """Return the IPv6 addresses; none if the kernel has no IPv6."""
    from nodespec.formats.route_table import parse_ipv6_addresses  # noqa: PLC0415

    path = f"{machine.process}/net/if_inet6"
    text = machine.text(path)
    if isinstance(text, Absent):
        return Value((), Evidence(path))
    return text.then(lambda text: tuple((name, address) for _, name, address in parse_ipv6_addresses(text)))


def _require_awake(machine: Machine, name: str) -> Optional[Unknown]:
    """Return why a device must not be asked: a request would wake it. A virtual interface has no device."""
    folder = f"{FOLDER}/{name}/device"
    for path, awake in (
        (f"{folder}/power_state", ("D0",)),
        (f"{folder}/../power_state", ("D0",)),
        (f"{folder}/power/runtime_status", AWAKE),
    ):
        state = machine.line(path)
        if isinstance(state, Unknown):
            return state
        if isinstance(state, Value) and state.value not in awake:
            return Unknown("refused", f"{path} is {state.value}: asking {name} would wake it")
    return None


def _read_speed(machine: Machine, name: str) -> Observation[int]:
    path = f"{FOLDER}/{name}/speed"
    asleep = _require_awake(machine, name)
    if asleep:
        return asleep
    speed = machine.line(path)
    if isinstance(speed, Unknown) and speed.reason == "failed":  # EINVAL: no link, or no speed.
        return Absent(Evidence(path), f"{name} has no link or no speed")
    if isinstance(speed, Value) and speed.value in ("-1", "4294967295"):
        return Absent(speed.evidence, f"{name} has no link or no speed")
    return speed.then(int)


def _read_driver(machine: Machine, name: str) -> Observation[str]:
    path = f"{FOLDER}/{name}/device/driver"
    target = machine.link(path)
    return target._replace(say=f"{name} has no device") if isinstance(target, Absent) else target.then(basename)


def _read_offloads(machine: Machine, name: str) -> Observation[FrozenSet[str]]:
    other, asleep = machine.elsewhere("net"), _require_awake(machine, name)
    if other or asleep:
        return other or asleep or Unknown("defect", "")
    from nodespec.host.interfaces import read_offload  # noqa: PLC0415

    evidence = Evidence("ioctl(SIOCETHTOOL)")
    found: List[str] = []
    try:
        for command, word in OFFLOADS.items():
            if not _is_interface(machine, name):  # For a name without interface the kernel would look for a module.
                return Unknown("failed", f"{name} disappeared")
            found += [word] if read_offload(name, command) else []
        found += ["large-receive-offload"] if read_offload(name, GET_FLAGS) & LRO else []
    except OSError as error:
        return Unknown("failed", f"{evidence} of {name}: {error.strerror or error}")
    return Value(frozenset(found), evidence)


def find_leftovers(machine: Machine) -> Observation[FrozenSet[str]]:
    """Return the interfaces of network plugins and of kube-proxy."""
    return _list_names(machine).then(lambda names: frozenset(name for name in names if LEFTOVERS.fullmatch(name)))


def read_default_routes(machine: Machine) -> Rows[Row]:
    """Return the default routes by family."""
    from nodespec.formats.route_table import parse_ipv4_routes, parse_ipv6_routes  # noqa: PLC0415

    rows: Dict[str, Observation[Row]] = {}
    for family, table, parse in (("ipv4", "route", parse_ipv4_routes), ("ipv6", "ipv6_route", parse_ipv6_routes)):
        path = f"{machine.process}/net/{table}"
        routes = machine.text(path).then(parse)
        if isinstance(routes, Value) and not routes.value:
            routes = Absent(Evidence(path), f"no default route of {family}")
        rows[family] = routes.then(partial(_summarize_routes, path))
    return Rows(
        rows.get,
        lambda: {key: row for key, row in rows.items() if not isinstance(row, Absent)},
        Absent(Evidence("/proc/self/net")),
    )


def _summarize_routes(path: str, routes: Iterable[DefaultRoute]) -> Columns:
    found = list(routes)
    at = Evidence(path, found[0].line)
    return Columns(
        count=lambda: Value(len(found), at),
        interfaces=lambda: Value(frozenset(route.interface for route in found), at),
        gateways=lambda: Value(frozenset(route.gateway for route in found if route.gateway), at),
    )
