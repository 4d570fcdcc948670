"""Host names and resolver configuration."""

from __future__ import annotations

import re
from functools import partial
from os.path import dirname, join, normpath

from nodespec.facts.declaration import Columns, Row, Rows
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from nodespec.formats.resolv_conf import ResolverConfig

HOSTNAME, HOSTS = "/proc/sys/kernel/hostname", "/etc/hosts"
FILE = "/etc/hostname"
NODE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*", re.ASCII)
ADDRESS = re.compile(r"[\d.]+|[\da-f:.]+(%\S+)?", re.ASCII)
MAX_HOSTNAME_CHARS = 64  # HOST_NAME_MAX
MAX_NAME_CHARS, MAX_BYTES, MAX_LINKS = 253, 1 << 20, 8
CLOUD_INIT = "/usr/bin/cloud-init"
LOOPBACK = ("127.", "::1")


def read_hostname(machine: Machine) -> Observation[str]:
    """Return the host name of the running kernel."""
    other = machine.elsewhere("uts") if machine.root != "/" else None
    name = other or machine.line(HOSTNAME).then(require_name)
    return Unknown("not found", f"{HOSTNAME} not found") if isinstance(name, Absent) else name


def read_hostname_at_rest(tree: Tree) -> Observation[str]:
    """Return the name in /etc/hostname, or why the boot decides."""
    if isinstance(tree.entry(CLOUD_INIT), Value) and not _keeps_hostname(tree):
        return Unknown(DEFERRED, f"{CLOUD_INIT} sets the host name when the machine boots")
    text = tree.text(FILE, MAX_BYTES)
    if isinstance(text, Unknown):
        return text
    lines = text.value.split("\n") if isinstance(text, Value) else []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            return Value(line.strip(), Evidence(FILE, number)).then(require_name)
    return Unknown(DEFERRED, f"{FILE} has no name; the network or the init system sets one when the machine boots")


def require_name(text: str) -> str:
    """Return a host name; ValueError for text that is none, such as a damaged file."""
    if not text or len(text) > MAX_HOSTNAME_CHARS or not text.isprintable() or " " in text:
        raise ValueError("is not a host name")
    return text


def _keeps_hostname(tree: Tree) -> bool:
    """Return whether cloud-init is disabled, or keeps the host name."""
    if isinstance(tree.entry("/etc/cloud/cloud-init.disabled"), Value):
        return True
    names = tree.names("/etc/cloud/cloud.cfg.d")
    paths = (
        ["/etc/cloud/cloud.cfg", *(f"/etc/cloud/cloud.cfg.d/{name}" for name in names.value)]
        if isinstance(names, Value)
        else ["/etc/cloud/cloud.cfg"]
    )
    kept = False
    for path in paths:
        text = tree.text(path, MAX_BYTES)
        found = re.findall(r"(?m)^preserve_hostname:\s*(\w+)", text.value) if isinstance(text, Value) else []
        kept = found[-1].lower() == "true" if found else kept
    return kept


def is_node_name(name: str) -> bool:
    """Return whether a name is an RFC 1123 subdomain in lower case, as the name of a node must be."""
    return len(name) <= MAX_NAME_CHARS and bool(NODE_NAME.fullmatch(name))


def is_in_hosts(tree: Tree, name: Observation[str]) -> Observation[bool]:
    """Return whether /etc/hosts names the host."""
    if not isinstance(name, Value):
        return name
    text = tree.text(HOSTS, MAX_BYTES)
    if isinstance(text, Unknown):
        return text
    lines = text.value.split("\n") if isinstance(text, Value) else []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].lower().split()
        if words and not ADDRESS.fullmatch(words[0]):
            return Unknown("malformed", f"{HOSTS}:{number}: `{words[0][:40]}` is not an address")
        if name.value.lower() in words[1:]:
            return Value(value=True, evidence=Evidence(HOSTS, number))
    return Value(value=False, evidence=Evidence(HOSTS))


def read_resolvers(tree: Tree) -> Rows[Row]:
    """Return the table of resolver configurations, by path."""

    def find_row(path: str) -> Observation[Row]:
        from nodespec.formats.resolv_conf import parse_resolv_conf  # noqa: PLC0415

        text = tree.text(path, MAX_BYTES)
        moved = _find_run_target(tree, path) if isinstance(text, Absent) and not tree.running else ""
        if moved:
            return Unknown(DEFERRED, f"{path} leads to {moved}, which a boot creates")
        parsed = text.then(parse_resolv_conf)
        return parsed.then(partial(_make_columns, Evidence(path)))

    return Rows(find_row, dict, Absent(Evidence("/*")))


def _find_run_target(tree: Tree, path: str) -> str:
    """Return the path below /run that a link leads to; empty for any other."""
    for _ in range(MAX_LINKS):
        if path.startswith(("/run/", "/var/run/")):
            return path
        target = tree.link(path)
        if not isinstance(target, Value):
            break
        path = normpath(join(dirname(path), target.value))
    return ""


def _make_columns(at: Evidence, config: ResolverConfig) -> Columns:
    return Columns(
        servers=lambda: Value(frozenset(config.servers), at),
        server_count=lambda: Value(len(config.servers), at),
        loopback=lambda: Value(any(server.startswith(LOOPBACK) for server in config.servers), at),
        search=lambda: Value(frozenset(config.search), at),
        search_count=lambda: Value(len(config.search), at),
        options=lambda: Value(frozenset(config.options), at),
    )
