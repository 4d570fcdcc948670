"""The network of this machine: its name, interfaces, default routes, name servers and packet filters.

Interfaces and routes are those of the network namespace that nodespec runs in; with `--root` those of process 1 of that
root. No netlink socket is opened and no program is run.
"""

from __future__ import annotations

from nodespec.facts.declaration import Row, Rows, fact, table
from nodespec.facts.value_numbers import Whole
from nodespec.facts.value_sets import Address
from nodespec.facts.value_types import Flag, FreeText, OneOf, SetOf
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Observation

if TYPE_CHECKING:
    from typing import FrozenSet

HOSTNAME = ("/proc/sys/kernel/hostname", "/proc/*/ns/uts")
HOSTNAME_AT_REST = ("/etc/hostname", "/etc/cloud/*", "*cloud-init*")
SYSFS, TABLES = "/sys/class/net*", "/proc/*"
KINDS = (
    *("ethernet", "wireless", "loopback", "bridge", "bond", "vlan", "vxlan", "geneve", "macvlan", "ipvlan", "tun"),
    *("tunnel", "wireguard", "infiniband", "virtual", "other"),
)
STATES = ("up", "down", "unknown", "dormant", "lowerlayerdown", "notpresent", "testing")
FIREWALLS = ("firewalld", "ufw", "nftables", "iptables-legacy", "ip6tables-legacy")


@fact(FreeText(), sources=HOSTNAME, fix="hostnamectl set-hostname {word}")
def hostname(machine: Machine) -> Observation[str]:
    """The host name in force.

    At rest it is the name in /etc/hostname. It is deferred if there is none, or if cloud-init sets the name when the
    machine boots.
    """
    from nodespec.checks import _network_names  # noqa: PLC0415

    return _network_names.read_hostname(machine)


@hostname.at_rest(*HOSTNAME_AT_REST, fix="write {want} into /etc/hostname")
def _hostname_at_rest(tree: Tree) -> Observation[str]:
    from nodespec.checks import _network_names  # noqa: PLC0415

    return _network_names.read_hostname_at_rest(tree)


@fact(Flag(), sources=HOSTNAME, fix="hostnamectl set-hostname NAME")
def hostname_valid(machine: Machine) -> Observation[bool]:
    """Whether the host name can be the name of a node.

    It must be an RFC 1123 subdomain in lower case: letters, digits, `-` and `.`, beginning and ending with a letter or
    a digit. The kubelet and kubeadm convert capitals; k3s and RKE2 do not start with them.
    """
    from nodespec.checks import _network_names  # noqa: PLC0415

    return _network_names.read_hostname(machine).then(_network_names.is_node_name)


@hostname_valid.at_rest(*HOSTNAME_AT_REST)
def _hostname_valid_at_rest(tree: Tree) -> Observation[bool]:
    from nodespec.checks import _network_names  # noqa: PLC0415

    return _network_names.read_hostname_at_rest(tree).then(_network_names.is_node_name)


@fact(Flag(), sources=(*HOSTNAME, "/etc/hosts"), fix="add a line `ADDRESS NAME` to /etc/hosts")
def hostname_in_hosts(machine: Machine) -> Observation[bool]:
    """Whether /etc/hosts has a line for the host name.

    Name servers and nss-myhostname may resolve the name as well; they are not asked.
    """
    from nodespec.checks import _network_names  # noqa: PLC0415

    return _network_names.is_in_hosts(machine, _network_names.read_hostname(machine))


@hostname_in_hosts.at_rest(*HOSTNAME_AT_REST, "/etc/hosts")
def _hostname_in_hosts_at_rest(tree: Tree) -> Observation[bool]:
    from nodespec.checks import _network_names  # noqa: PLC0415

    return _network_names.is_in_hosts(tree, _network_names.read_hostname_at_rest(tree))


def _parse_interface(text: str) -> str:
    if not text or len(text) > 15 or "/" in text or any(sign.isspace() for sign in text) or text in (".", ".."):  # noqa: PLR2004 - IFNAMSIZ
        raise ValueError(f"`{text}` is not the name of an interface")
    return text


@table(
    {
        "type": OneOf(*KINDS),
        "loopback": Flag(),
        "up": Flag(),
        "state": OneOf(*STATES),
        "mtu": Whole(),
        "addresses": SetOf(Address()),
        "mac": FreeText(),
        "speed": Whole(),
        "driver": FreeText(),
        "flags": SetOf(FreeText()),
        "offloads": SetOf(FreeText()),
    },
    sources=(SYSFS, TABLES, "ioctl(*)"),
    noun="network interface",
    key=_parse_interface,
    closed=True,
    fixes={
        "mtu": "ip link set {key} mtu {want}, and in the configuration of the network for the next boot",
        "up": "ip link set {key} up or down",
    },
)
def interfaces(machine: Machine) -> Rows[Row]:
    """Network interfaces by name.

    The columns are:

    - `type`: ethernet, loopback, bridge, bond, vlan, vxlan, tun, tunnel (IP in IP, SIT, GRE), wireguard and others. An
      Ethernet interface without a device is `virtual`, such as veth and dummy.
    - `loopback`, `up`: whether it is the loopback interface; whether it was set up.
    - `state`: its operational state, such as up, down (no carrier) or unknown (loopback and tunnels).
    - `mtu`: in bytes. `mac`: its link-layer address; absent if it has none.
    - `addresses`: its IPv4 and IPv6 addresses, without the length of the prefix.
    - `speed`: in Mbit/s; absent without a link, and for virtual interfaces.
    - `driver`: the driver of its device; absent for virtual interfaces.
    - `flags`: such as broadcast, multicast, promisc and noarp.
    - `offloads`: the features that are on, as `ethtool -k` names them: tx-checksumming, rx-checksumming,
      scatter-gather, tcp-segmentation-offload, generic-segmentation-offload, generic-receive-offload,
      large-receive-offload.

    `speed` and `offloads` ask the device, and are unknown (refused) unless it is in the power state D0.
    """
    from nodespec.checks import _network_interfaces  # noqa: PLC0415

    return _network_interfaces.read_rows(machine)


@fact(SetOf(FreeText()), sources=(TABLES,), fix="delete the interface with `ip link delete`, or reboot")
def leftovers(machine: Machine) -> Observation[FrozenSet[str]]:
    """Interfaces that a network plugin or kube-proxy created, such as cni0, flannel.1, kube-ipvs0 or tunl0.

    Before a join they are left over from an earlier cluster. The module ipip creates tunl0 as well.
    """
    from nodespec.checks import _network_interfaces  # noqa: PLC0415

    return _network_interfaces.find_leftovers(machine)


def _parse_family(text: str) -> str:
    if text not in ("ipv4", "ipv6"):
        raise ValueError(f"`{text}` is not a family of addresses; expected ipv4 or ipv6")
    return text


@table(
    {"count": Whole(), "interfaces": SetOf(FreeText()), "gateways": SetOf(Address())},
    sources=(TABLES,),
    noun="address family",
    key=_parse_family,
    closed=True,
    fix="correct the default route in the configuration of the network",
)
def default_routes(machine: Machine) -> Rows[Row]:
    """Default routes by family, `ipv4` and `ipv6`; a family without one is absent.

    `count` is the number of default routes in the main table, with any metric. `interfaces` are those that they use,
    and `gateways` their next hops. kubeadm and the kubelet take the address of the node from the interface of a default
    route.
    """
    from nodespec.checks import _network_interfaces  # noqa: PLC0415

    return _network_interfaces.read_default_routes(machine)


def _parse_path(text: str) -> str:
    if not text.startswith("/") or "\0" in text or ".." in text.split("/"):
        raise ValueError(f"`{text}` is not an absolute path without `..`")
    return text


@table(
    {
        "servers": SetOf(Address()),
        "server_count": Whole(),
        "loopback": Flag(),
        "search": SetOf(FreeText()),
        "search_count": Whole(),
        "options": SetOf(FreeText()),
    },
    sources=("/*",),
    noun="resolver configuration",
    key=_parse_path,
    fix="correct {key}",
)
def resolvers(machine: Machine) -> Rows[Row]:
    """A file of name servers by its path, such as /etc/resolv.conf.

    `servers` and `server_count` are its name servers; the C library uses three. `loopback` is whether one of them is on
    this machine, such as the stub of systemd-resolved: pods that get this file cannot resolve names. The kubelet gives
    them the file of `kubelet.config.resolvConf`; with systemd-resolved it must be /run/systemd/resolve/resolv.conf.
    `search` and `search_count` are the search domains, `options` the options such as `ndots:5`.

    At rest a link below /run is deferred.
    """
    from nodespec.checks import _network_names  # noqa: PLC0415

    return _network_names.read_resolvers(machine)


@resolvers.at_rest("/*")
def _resolvers_at_rest(tree: Tree) -> Rows[Row]:
    from nodespec.checks import _network_names  # noqa: PLC0415

    return _network_names.read_resolvers(tree)


def _parse_firewall(text: str) -> str:
    if text not in FIREWALLS:
        raise ValueError(f"`{text}` is not one of {', '.join(FIREWALLS)}")
    return text


@table(
    Flag(),
    sources=("/proc/*", "/sys/module*", "/etc/ufw/*", "*/systemd/system*", "/etc/*", "*ufw*", "*"),
    noun="firewall",
    key=_parse_firewall,
    closed=True,
    fix="enable or disable {key}; required: {want}",
)
def firewalls(machine: Machine) -> Rows[Row]:
    """Whether a firewall is active: firewalld, ufw, nftables, iptables-legacy or ip6tables-legacy.

    firewalld is active if its process runs, ufw if /etc/ufw/ufw.conf enables it and a boot starts its service.
    iptables-legacy and ip6tables-legacy are active if the kernel has one of their tables. nftables is not active if its
    module is not loaded; otherwise it is unknown, because only netlink has its tables. At rest it is what a boot
    starts.
    """
    from nodespec.checks import _network_firewalls  # noqa: PLC0415

    return _network_firewalls.read_rows(machine)


@firewalls.at_rest("/etc/ufw/*", "*")
def _firewalls_at_rest(tree: Tree) -> Rows[Row]:
    from nodespec.checks import _network_firewalls  # noqa: PLC0415

    return _network_firewalls.read_rows(tree)


@fact(
    OneOf("nft", "legacy"),
    sources=("/usr/*", "/sbin/*", "/bin/*", "/etc/alternatives/*"),
    optional=True,
    fix="update-alternatives --set iptables /usr/sbin/iptables-{want}",
    same_at_rest=True,
)
def iptables_backend(tree: Tree) -> Observation[str]:
    """The backend of the command iptables, by the target of its link: `nft` or `legacy`.

    kube-proxy and network plugins in containers select the backend that already has rules. Two backends with rules
    hide each other's. Absent if iptables is not installed.
    """
    from nodespec.checks import _network_firewalls  # noqa: PLC0415

    return _network_firewalls.read_backend(tree)


@fact(OneOf("accept", "drop"), sources=("/proc/*", "/sys/module*"), fix="iptables -P FORWARD ACCEPT")
def forward_policy(machine: Machine) -> Observation[str]:
    """What the packet filter does with forwarded packets that no rule matches.

    `accept` if the kernel has no packet filter: neither a table of iptables-legacy nor nf_tables is loaded. Otherwise
    unknown, because only netlink or a program that loads modules has the policy.
    """
    from nodespec.checks import _network_firewalls  # noqa: PLC0415

    return _network_firewalls.read_forward_policy(machine)
