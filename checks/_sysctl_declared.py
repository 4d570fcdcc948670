"""Kernel parameters that other programs set at boot: tmpfiles.d, udev, firewalls, virtual networks, K3s.

Also what commands outside of units set: see `_boot_commands`.
"""

from __future__ import annotations

import re

from nodespec.checks import _boot_commands, _modprobe, _systemd_units
from nodespec.checks._sysctl_names import SWAP_SEPARATORS
from nodespec.checks._sysctl_settings import ServiceSetting
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Unknown, Value

if TYPE_CHECKING:
    from typing import Callable, Iterator

    from nodespec.host.tree import Tree

    ParseCommand = Callable[[Tree, str, Evidence], Iterator[ServiceSetting]]

FORWARD, FORWARD6 = "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"
TMPFILES = _systemd_units.list_search_folders("tmpfiles.d")
SHOREWALL = {"/etc/shorewall/shorewall.conf": FORWARD, "/etc/shorewall6/shorewall6.conf": FORWARD6}
NETWORKS = ("/etc/libvirt/qemu/networks/autostart",)
VIRTUAL = ("libvirtd.service", "libvirtd.socket", "virtnetworkd.service", "virtnetworkd.socket")
ZONES = ("/etc/firewalld/zones", "/etc/firewalld/policies")
K3S = ("k3s.service", "k3s-agent.service", "rke2-server.service", "rke2-agent.service")
K3S_KEYS = (
    *(FORWARD, "net.ipv4.conf.default.forwarding", FORWARD6, "net.ipv6.conf.default.forwarding"),
    *("net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"),
)


def read_declared_settings(tree: Tree, parse: ParseCommand) -> Iterator[ServiceSetting]:
    """Yield the settings of all programs; `parse` reads a command."""
    for command in _boot_commands.list_boot_commands(tree):
        yield from _parse_boot_command(tree, command, parse)
    yield from _read_install_commands(tree, parse)
    yield from _read_tmpfiles(tree)
    yield from _read_shorewall(tree)
    yield from _read_forwarders(tree)


def _parse_boot_command(
    tree: Tree, command: _boot_commands.BootCommand, parse: ParseCommand
) -> Iterator[ServiceSetting]:
    """Parse a command that may run, or `SYSCTL{net.ipv4.ip_forward}="1"` of udev."""
    for match in re.finditer(r"SYSCTL\{([\w./-]+)\}\s*:?=", command.text):
        yield ServiceSetting(match[1].translate(SWAP_SEPARATORS) if "/" in match[1] else match[1], None, command.at)
    for setting in parse(tree, command.text, command.at):
        yield setting._replace(doubtful=True)


def _read_install_commands(tree: Tree, parse: ParseCommand) -> Iterator[ServiceSetting]:
    """Yield what `install br_netfilter ... && sysctl -w ...` of modprobe.d sets when the module is loaded."""
    config = _modprobe.read_modprobe_config(tree)
    for line in config.installs if not isinstance(config, Unknown) else ():
        for setting in parse(tree, line.rest, line.evidence):
            yield setting._replace(doubtful=True)


def _read_tmpfiles(tree: Tree) -> Iterator[ServiceSetting]:
    """Yield what systemd-tmpfiles writes: `w /proc/sys/vm/swappiness - - - - 10`.

    It waits for the local file systems, and systemd-sysctl does not.
    """
    files = _systemd_units.merge_folders(tree, TMPFILES)
    for path in files.value if isinstance(files, Value) else ():
        for line in _boot_commands.read_lines(tree, path):
            fields = line.text.replace('"', "").split(None, 6)
            if len(fields) > 6 and fields[0][0] == "w" and fields[1].startswith("/proc/sys/"):  # noqa: PLR2004 - columns
                key = fields[1][len("/proc/sys/") :].translate(SWAP_SEPARATORS)
                yield ServiceSetting(key, None if "%" in fields[6] else fields[6].strip(), line.at)


def _read_shorewall(tree: Tree) -> Iterator[ServiceSetting]:
    """Yield `IP_FORWARDING=On` of Shorewall."""
    for path, key in SHOREWALL.items():
        word = _systemd_units.read_variables(tree, path).get("IP_FORWARDING", "").lower()
        if word in ("on", "yes", "off", "no") and _boot_commands.may_start(tree, f"{path.split('/')[2]}.service"):
            yield ServiceSetting(key, None, Evidence(path))


def _read_forwarders(tree: Tree) -> Iterator[ServiceSetting]:
    """Yield what enables forwarding: networks of libvirt, masquerading of firewalld, K3s and RKE2."""
    for folders, mark, units in (
        (NETWORKS, r"<forward\b", VIRTUAL),
        (ZONES, r"<(?:masquerade|forward-port)\b", ("firewalld.service",)),
    ):
        for path in _boot_commands.list_files(tree, *folders, suffix=".xml"):
            text = _systemd_units.read_optional_text(tree, path)
            if isinstance(text, Value) and re.search(mark, text.value) and _boot_commands.may_start(tree, *units):
                yield from (ServiceSetting(key, None, Evidence(path), sticky=True) for key in (FORWARD, FORWARD6))
    for unit in K3S:
        if _boot_commands.may_start(tree, unit):
            yield from (ServiceSetting(key, None, Evidence(unit, inferred=True), sticky=True) for key in K3S_KEYS)
