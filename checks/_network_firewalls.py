"""Packet filters: which front ends are active, and what the kernel has loaded."""

from __future__ import annotations

from os.path import basename, dirname, join, normpath

from nodespec.checks import _services_at_boot, _systemd_units
from nodespec.facts.declaration import Row, Rows
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict

LEGACY = {"iptables-legacy": "ip_tables_names", "ip6tables-legacy": "ip6_tables_names"}
UFW = "/etc/ufw/ufw.conf"
MAX_LINKS = 8
NF_TABLES = "/sys/module/nf_tables"


def read_rows(tree: Tree) -> Rows[Row]:
    """Return whether each firewall is active; at rest whether a boot starts it."""
    rows: Dict[str, Observation[Row]] = {}
    if isinstance(tree, Machine):
        rows["firewalld"] = _is_process_running(tree, "firewalld")
        rows["nftables"] = _has_nftables(tree)
        rows.update({name: _has_legacy_tables(tree, table) for name, table in LEGACY.items()})
    else:
        rows["firewalld"] = _is_started(tree, "firewalld.service")
        rows["nftables"] = _is_started(tree, "nftables.service")
        rows.update(dict.fromkeys(LEGACY, Unknown(DEFERRED, "only a running machine can tell")))
    rows["ufw"] = _is_ufw_enabled(tree)
    return Rows.of(rows, Absent(Evidence("/proc/net")))


def _is_started(tree: Tree, unit: str) -> Observation[bool]:
    started = _services_at_boot.is_started_at_boot(tree, unit)
    return Value(value=False, evidence=started.evidence) if isinstance(started, Absent) else started


def _is_ufw_enabled(tree: Tree) -> Observation[bool]:
    """Return whether ufw.conf enables ufw and a boot starts it; its rules are not read."""
    if isinstance(tree.entry(UFW), Absent):
        return Value(value=False, evidence=Evidence(UFW))
    text = tree.text(UFW, _systemd_units.MAX_TEXT_BYTES)
    if not isinstance(text, Value):
        return text if isinstance(text, Unknown) else Value(value=False, evidence=text.evidence)
    enabled, at = "no", Evidence(UFW, inferred=True)
    for number, line in _systemd_units.list_content_lines(text.value):
        name, _, value = line.partition("=")
        if name.strip() == "ENABLED":
            enabled, at = value.strip().strip("\"'").lower(), Evidence(UFW, number, inferred=True)
    if enabled != "yes":
        return Value(value=False, evidence=at)
    started = _is_started(tree, "ufw.service")
    return started.then(lambda value: value)


def _is_process_running(machine: Machine, name: str) -> Observation[bool]:
    """Return whether a process of that name runs."""
    names, init = machine.names("/proc"), machine.line("/proc/1/comm")
    if not isinstance(names, Value):
        return names if isinstance(names, Unknown) else Unknown("not found", "/proc not found")
    for process in filter(str.isdigit, names.value):
        command = machine.line(f"/proc/{process}/comm")
        if isinstance(command, Value) and command.value == name:
            return Value(value=True, evidence=command.evidence)
    return init if isinstance(init, Unknown) else Value(value=False, evidence=Evidence("/proc/*/comm"))


def _has_legacy_tables(machine: Machine, table: str) -> Observation[bool]:
    """Return whether the kernel has a table of iptables-legacy. The file exists if its module is loaded."""
    text = machine.text(f"{machine.process}/net/{table}")
    if isinstance(text, Absent):
        return Value(value=False, evidence=text.evidence)
    return text.then(lambda names: bool(names.strip()))


def _has_nftables(machine: Machine) -> Observation[bool]:
    """Return False if nf_tables is not loaded; otherwise only netlink has its tables."""
    loaded = machine.entry(NF_TABLES)
    if isinstance(loaded, Absent):
        return Value(value=False, evidence=loaded.evidence)
    if isinstance(loaded, Unknown):
        return loaded
    return Unknown(
        "refused", f"{NF_TABLES} exists, and only netlink has the tables of nftables", "run `nft list tables`"
    )


def read_forward_policy(machine: Machine) -> Observation[str]:
    """Return `accept` if the kernel has no packet filter."""
    filters = [*(_has_legacy_tables(machine, table) for table in LEGACY.values()), _has_nftables(machine)]
    for seen in filters:
        if isinstance(seen, Unknown):
            return seen
        if isinstance(seen, Value) and seen.value:
            say = f"{seen.evidence}: the policy of FORWARD can be read only with netlink or iptables"
            return Unknown("refused", say, "run `iptables -S FORWARD`")
    return Value("accept", Evidence(NF_TABLES, inferred=True))


def read_backend(tree: Tree) -> Observation[str]:
    """Return the backend of iptables by the targets of its link."""
    program = tree.program("iptables")
    if not isinstance(program, Value):
        return program
    path = program.value
    for _ in range(MAX_LINKS):
        name = basename(path)
        for word in ("nft", "legacy"):
            if word in name.split("-"):
                return Value(word, Evidence(path, inferred=True))
        if name == "xtables-multi":
            return Value("legacy", Evidence(path, inferred=True))
        target = tree.link(path)
        if not isinstance(target, Value):
            break
        path = normpath(join(dirname(path), target.value))
    return Unknown("unsupported", f"{program.value}: its links do not name the backend", "run `iptables --version`")
