from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Dict, FrozenSet, Optional, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks import network
from nodespec.checks._network_names import is_node_name
from nodespec.facts.declaration import Columns, Leaf, Table
from nodespec.formats.resolv_conf import ResolverConfig, parse_resolv_conf
from nodespec.formats.route_table import (
    DefaultRoute,
    format_ipv4,
    format_ipv6,
    parse_interface_names,
    parse_ipv4_routes,
    parse_ipv6_addresses,
    parse_ipv6_routes,
)
from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
from nodespec.model.observation import Absent, Evidence, Unknown, Value

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from conftest import MakeTree

    from nodespec.facts.declaration import Rows
    from nodespec.host.tree import Tree
    from nodespec.model.observation import Observation

Files = Dict[str, Union[str, bytes, None]]
PROC: Files = {"/proc/self/stat": "", "/proc/1/comm": "systemd\n", "/proc/meminfo": "", "/sys/kernel/notes": ""}
DEVICES = "Inter-|   Receive\n face |bytes\n    lo: 0 0\n  eth0: 1 1\n"
NET = "/sys/class/net/eth0"
SYSFS: Files = {
    **PROC,
    "/proc/1/net/dev": DEVICES,
    "/sys/class/net/bonding_masters": "",
    "/sys/class/net/lo/type": "772\n",
    "/sys/class/net/lo/address": "00:00:00:00:00:00\n",
    f"{NET}/type": "1\n",
    f"{NET}/mtu": "1450\n",
    f"{NET}/flags": "0x1003\n",
    f"{NET}/operstate": "up\n",
    f"{NET}/address": "02:fc:00:00:00:01\n",
    f"{NET}/speed": "10000\n",
    f"{NET}/uevent": "INTERFACE=eth0\nIFINDEX=2\n",
}


def summarize(seen: Observation[object]) -> object:
    """The value, None for an absence, or the reason of an unknown."""
    return seen.value if isinstance(seen, Value) else None if isinstance(seen, Absent) else seen.reason


def at_rest(fact: Leaf, tree: Tree) -> object:
    assert fact.resting
    return summarize(fact.resting(tree))


def column(rows: Rows[object], key: str, name: str) -> object:
    row = rows.observe(key)
    if not isinstance(row, Value):
        return summarize(row)
    assert isinstance(row.value, Columns)
    return summarize(row.value[name])


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("node-1", True),
        ("node-1.example.org", True),
        ("1", True),
        ("a" * 253, True),
        ("a" * 254, False),
        ("Node-1", False),
        ("node_1", False),
        ("-node", False),
        ("node-", False),
        ("node..a", False),
        ("node.", False),
        ("", False),
        ("knoten-ä", False),
        ("node\n", False),
    ],
)
def test_the_name_of_a_node_is_a_subdomain(name: str, valid: object) -> None:
    assert is_node_name(name) == valid


@pytest.mark.parametrize(
    ("files", "name", "valid", "listed"),
    [
        (
            {"/etc/hostname": "# a comment\nnode-1\n", "/etc/hosts": "127.0.1.1 node-1.lan NODE-1 # x\n"},
            "node-1",
            True,
            True,
        ),
        ({"/etc/hostname": "node_1", "/etc/hosts": "127.0.0.1 localhost # node_1\n"}, "node_1", False, False),
        ({"/etc/hostname": "node-1"}, "node-1", True, False),
        ({"/etc/hostname": "\n# only a comment\n"}, "deferred", "deferred", "deferred"),
        ({"/etc/hosts": ""}, "deferred", "deferred", "deferred"),
        ({"/etc/hostname": "n" * 64, "/etc/hosts": "::1 x\n"}, "n" * 64, True, False),
        ({"/etc/hostname": "n" * 65}, "malformed", "malformed", "malformed"),
        ({"/etc/hostname": "two words"}, "malformed", "malformed", "malformed"),
        ({"/etc/hostname": "x", "/etc/hosts": "no hosts\n"}, "x", True, "malformed"),
        ({"/etc/hostname": "x", "/usr/bin/cloud-init": ""}, "deferred", "deferred", "deferred"),
        ({"/etc/hostname": "x", "/usr/bin/cloud-init": "", "/etc/cloud/cloud-init.disabled": ""}, "x", True, False),
        (
            {
                "/etc/hostname": "x",
                "/usr/bin/cloud-init": "",
                "/etc/cloud/cloud.cfg.d/1.cfg": "preserve_hostname: true\n",
            },
            "x",
            True,
            False,
        ),
    ],
)
def test_the_host_name_at_rest(make_tree: MakeTree, files: Files, name: object, valid: object, listed: object) -> None:
    tree = DirectoryTree(make_tree({"/etc/os-release": "", **files}))
    assert at_rest(network.hostname, tree) == name
    assert at_rest(network.hostname_valid, tree) == valid
    assert at_rest(network.hostname_in_hosts, tree) == listed


def test_a_resolver_configuration_is_read_by_path(make_tree: MakeTree) -> None:
    text = "# c\nnameserver 127.0.0.53\nnameserver fd00::1\nsearch a b\ndomain c\noptions ndots:5\noptions edns0\n"
    links = {"/etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf"}
    machine = Machine(make_tree({**PROC, "/run/systemd/resolve/stub-resolv.conf": text}, links))
    row = network.resolvers.probe(machine).observe("/etc/resolv.conf")
    assert isinstance(row, Value)
    assert isinstance(row.value, Columns)
    assert {name: summarize(seen) for name, seen in row.value.items()} == {
        "servers": {"127.0.0.53", "fd00::1"},
        "server_count": 2,
        "loopback": True,
        "search": {"c"},
        "search_count": 1,
        "options": {"ndots:5", "edns0"},
    }
    assert column(network.resolvers.probe(machine), "/run/systemd/resolve/resolv.conf", "servers") is None


def test_a_resolver_below_run_is_deferred_at_rest(make_tree: MakeTree) -> None:
    links = {"/etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf", "/etc/other": "/nowhere"}
    tree = DirectoryTree(make_tree({"/etc/os-release": ""}, links))
    assert network.resolvers.resting
    assert column(network.resolvers.resting(tree), "/etc/resolv.conf", "servers") == "deferred"
    assert column(network.resolvers.resting(tree), "/etc/other", "servers") is None


@settings(max_examples=50)
@given(st.text())
def test_any_text_is_a_resolver_configuration(text: str) -> None:
    try:
        parsed = parse_resolv_conf(text)
    except ValueError:
        parsed = parse_resolv_conf(f"{text}\nsearch a")
    assert isinstance(parsed, ResolverConfig)
    assert all(word and not set(word) & set(" \t\n") for word in (*parsed.servers, *parsed.search, *parsed.options))


def test_an_interface_is_what_sysfs_shows(make_tree: MakeTree) -> None:
    machine = Machine(make_tree(SYSFS, {f"{NET}/device/driver": "../../../bus/virtio/drivers/virtio_net"}))
    rows = network.interfaces.probe(machine)
    expected: Dict[str, object] = {
        "type": "ethernet",
        "loopback": False,
        "up": True,
        "state": "up",
        "mtu": 1450,
        "mac": "02:fc:00:00:00:01",
        "speed": 10000,
        "driver": "virtio_net",
        "flags": frozenset({"up", "broadcast", "multicast"}),
    }
    assert {name: column(rows, "eth0", name) for name in expected} == expected
    assert (column(rows, "lo", "loopback"), column(rows, "lo", "mac"), column(rows, "lo", "driver")) == (
        True,
        None,
        None,
    )
    assert set(rows.every()) == {"lo", "eth0"}
    assert column(rows, "eth1", "mtu") is None
    # The kernel answers requests for the namespace of the reader.
    assert column(rows, "eth0", "offloads") in ("hidden", "not found")


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({f"{NET}/uevent": "DEVTYPE=bridge\n"}, "bridge"),
        ({f"{NET}/uevent": "DEVTYPE=vxlan\n"}, "vxlan"),
        ({f"{NET}/uevent": "DEVTYPE=new\n"}, "virtual"),
        ({f"{NET}/tun_flags": "0x1\n"}, "tun"),
        ({f"{NET}/type": "768\n"}, "tunnel"),
        ({f"{NET}/type": "65534\n", f"{NET}/uevent": "DEVTYPE=wireguard\n"}, "wireguard"),
        ({f"{NET}/type": "9999\n"}, "other"),
        ({f"{NET}/device/x": ""}, "ethernet"),
    ],
)
def test_the_type_of_an_interface(make_tree: MakeTree, files: Files, kind: str) -> None:
    assert column(network.interfaces.probe(Machine(make_tree({**SYSFS, **files}))), "eth0", "type") == kind


@pytest.mark.parametrize(
    ("files", "speed"),
    [
        ({f"{NET}/device/power_state": "D0\n"}, 10000),
        ({f"{NET}/device/power_state": "D3hot\n"}, "refused"),
        ({f"{NET}/device/power/runtime_status": "suspended\n"}, "refused"),
        ({f"{NET}/device/power/runtime_status": "active\n"}, 10000),
        ({f"{NET}/speed": "-1\n"}, None),
        ({f"{NET}/speed": "4294967295\n"}, None),
        ({f"{NET}/speed": "fast\n"}, "malformed"),
    ],
)
def test_a_sleeping_device_is_not_asked(make_tree: MakeTree, files: Files, speed: object) -> None:
    assert column(network.interfaces.probe(Machine(make_tree({**SYSFS, **files}))), "eth0", "speed") == speed


def test_a_sysfs_of_another_namespace_tells_nothing(make_tree: MakeTree) -> None:
    files = {**SYSFS, "/proc/1/net/dev": DEVICES.replace("eth0", "eth1")}
    rows = network.interfaces.probe(Machine(make_tree(files)))
    assert column(rows, "eth1", "mtu") == "hidden"
    assert column(rows, "eth0", "mtu") is None  # the namespace does not have it


def test_leftovers_are_interfaces_of_plugins(make_tree: MakeTree) -> None:
    names = (
        "cni0",
        "flannel.1",
        "kube-ipvs0",
        "tunl0",
        "cali0123456789a",
        "cilium_host",
        "eth0",
        "cni-podman0",
        "docker0",
    )
    text = DEVICES + "".join(f"{name}: 0\n" for name in names)
    seen = network.leftovers.probe(Machine(make_tree({**PROC, "/proc/1/net/dev": text})))
    assert seen == Value(frozenset(names[:6]), Evidence("/proc/1/net/dev"))
    broken = network.leftovers.probe(Machine(make_tree({**PROC, "/proc/1/net/dev": "x"})))
    assert summarize(broken) == "malformed"


ROUTES = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
DEFAULT = "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
ROUTES6 = f"{'0' * 32} 00 {'0' * 32} 00 fd{'0' * 29}1 00000400 00000003 00000000 00000003     eth0\n"
UNREACHABLE6 = f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 00000001 00000000 00200200       lo\n"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (ROUTES + DEFAULT, 1),
        (ROUTES + DEFAULT + DEFAULT.replace("100", "200"), 2),
        (ROUTES + DEFAULT.replace("0003", "0203"), None),  # an unreachable route
        (ROUTES + DEFAULT.replace("\t00000000\t0\t0\t0", "\t00FFFFFF\t0\t0\t0"), None),
        (ROUTES, None),
        ("", None),
        ("x\n", "malformed"),
        (ROUTES + DEFAULT.replace("0003", "zz"), "malformed"),
    ],
)
def test_default_routes_of_ipv4(make_tree: MakeTree, text: str, count: object) -> None:
    files = {**PROC, "/proc/1/net/route": text, "/proc/1/net/ipv6_route": ROUTES6 + UNREACHABLE6}
    rows = network.default_routes.probe(Machine(make_tree(files)))
    assert column(rows, "ipv4", "count") == count
    assert (column(rows, "ipv6", "count"), column(rows, "ipv6", "gateways")) == (1, {"fd00::1"})


def test_a_route_has_interface_and_gateway() -> None:
    gateway = "192.0.2.1" if sys.byteorder == "little" else "1.2.0.192"
    assert parse_ipv4_routes(ROUTES + DEFAULT) == [DefaultRoute(2, "eth0", gateway, 100)]
    assert parse_ipv6_routes(UNREACHABLE6 + ROUTES6) == [DefaultRoute(2, "eth0", "fd00::1", 1024)]


@settings(max_examples=50)
@given(st.ip_addresses(v=4), st.ip_addresses(v=6))
def test_addresses_are_read_back(ipv4: IPv4Address, ipv6: IPv6Address) -> None:
    assert format_ipv4(ipv4.packed[::-1].hex(), "little") == format_ipv4(ipv4.packed.hex(), "big") == str(ipv4)
    assert format_ipv6(ipv6.packed.hex()) == str(ipv6)
    assert list(parse_ipv6_addresses(f"{ipv6.packed.hex()} 02 40 20 80     eth0\n")) == [(1, "eth0", str(ipv6))]


@settings(max_examples=50)
@given(st.text() | st.text().map((ROUTES + DEFAULT).__add__))
def test_any_table_is_read_or_refused(text: str) -> None:
    for parse in (
        parse_ipv4_routes,
        parse_ipv6_routes,
        parse_interface_names,
        lambda text: list(parse_ipv6_addresses(text)),
    ):
        try:
            parse(text)
        except (ValueError, LookupError):
            continue


LEGACY = "/proc/1/net/ip_tables_names"


@pytest.mark.parametrize(
    ("files", "active", "policy"),
    [
        ({}, {}, "accept"),
        ({LEGACY: ""}, {}, "accept"),
        ({LEGACY: "nat\nfilter\n"}, {"iptables-legacy": True}, "refused"),
        ({"/sys/module/nf_tables/x": ""}, {"nftables": "refused"}, "refused"),
        ({"/proc/77/comm": "firewalld\n"}, {"firewalld": True}, "accept"),
        ({"/etc/ufw/ufw.conf": "ENABLED=no\n"}, {}, "accept"),
    ],
)
def test_active_firewalls(make_tree: MakeTree, files: Files, active: Dict[str, object], policy: str) -> None:
    machine = Machine(make_tree({**PROC, "/sys/module/ext4/x": "", **files}))
    rows = network.firewalls.probe(machine)
    found = {name: summarize(rows.observe(name)) for name in network.FIREWALLS}
    assert found == {**dict.fromkeys(network.FIREWALLS, False), **active}
    assert summarize(network.forward_policy.probe(machine)) == policy


@pytest.mark.parametrize(
    ("enabled", "wanted", "active"), [("yes", True, True), ("no", True, False), ("yes", False, False)]
)
def test_ufw_is_active_if_it_is_enabled_and_started(
    make_tree: MakeTree, enabled: str, wanted: object, active: object
) -> None:
    unit = "/usr/lib/systemd/system/ufw.service"
    files: Files = {
        "/usr/lib/systemd/systemd": "",
        "/etc/machine-id": "1" * 32,
        "/etc/ufw/ufw.conf": f"# ENABLED=no\nENABLED={enabled}\n",
        unit: "[Service]\nExecStart=/x\n[Install]\nWantedBy=multi-user.target\n",
    }
    links = {"/etc/systemd/system/multi-user.target.wants/ufw.service": unit} if wanted else {}
    assert network.firewalls.resting
    rows = network.firewalls.resting(DirectoryTree(make_tree(files, links)))
    assert summarize(rows.observe("ufw")) == active
    assert summarize(rows.observe("firewalld")) is False
    assert summarize(rows.observe("iptables-legacy")) == "deferred"


@pytest.mark.parametrize(
    ("target", "backend"),
    [
        ("iptables-nft", "nft"),
        ("xtables-legacy-multi", "legacy"),
        ("xtables-multi", "legacy"),
        ("other", "unsupported"),
    ],
)
def test_the_backend_is_the_target_of_links(make_tree: MakeTree, target: str, backend: Optional[str]) -> None:
    links = {"/usr/sbin/iptables": "/etc/alternatives/iptables", "/etc/alternatives/iptables": f"/usr/sbin/{target}"}
    root = make_tree({f"/usr/sbin/{target}": ""}, links)
    from pathlib import Path  # noqa: PLC0415

    Path(f"{root}/usr/sbin/{target}").chmod(0o755)
    assert at_rest(network.iptables_backend, DirectoryTree(root)) == backend


@pytest.mark.parametrize(
    ("table", "bad"),
    [
        (network.interfaces, ("", "a" * 16, "a/b", "a b", "..")),
        (network.default_routes, ("ip", "IPv4")),
        (network.resolvers, ("etc/resolv.conf", "/etc/../x")),
        (network.firewalls, ("iptables",)),
    ],
)
def test_keys_are_validated(table: Table, bad: FrozenSet[str]) -> None:
    for key in bad:
        with pytest.raises(ValueError, match="is not"):
            table.key(key)
    assert network.interfaces.key("a" * 15) == "a" * 15


def test_this_machine_has_a_loopback_interface() -> None:
    rows = network.interfaces.probe(Machine())
    row = rows.observe("lo")
    if isinstance(row, Unknown):
        pytest.skip(row.say)
    assert (column(rows, "lo", "type"), column(rows, "lo", "mac")) == ("loopback", None)
    addresses = column(rows, "lo", "addresses")
    assert isinstance(addresses, frozenset)
    assert "127.0.0.1" in addresses or not column(rows, "lo", "up")
