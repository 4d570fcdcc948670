"""Identify a host for the head of a report.

Nothing here is judged. Identifiers of the machine are shown only as hashes.
"""

from __future__ import annotations

import os

from nodespec.facts import declaration
from nodespec.facts.live import Facts
from nodespec.facts.value_types import Form
from nodespec.host.tree import Tree
from nodespec.judge.clause_result import format_value
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Value
from nodespec.model.report import HEAD_FACTS, Host
from nodespec.sha256 import sha256

if TYPE_CHECKING:
    from typing import Iterator, Tuple

# The application id of the hashes; sd-id128(3) requires each application to have its own.
APPLICATION_ID = b"nodespec host identity 1"
DEVICES_DIR = "/sys/class/net"
MAX_DEVICES = 64  # Network devices to read.
# hostname(7); the kernel's own default `(none)` is not one.
HOSTNAME = Form(r"(?!\.)(?:(?!\.\.)[\w.-])+(?<!\.)", 64, "a hostname")
MACHINE_ID = Form("(?!0*$)[0-9a-fA-F]{32}", 32, "a machine-id")
# Firmware without a UUID has zeros, ones, or one of the samples of its vendor, as many other machines.
UUID = Form(
    "(?!([0-9a-f])(?:\\1|-)*$|03000200-0400-|00020003-0004-|12345678-1234-)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    36,
    "a UUID",
)
# Ethernet, FireWire and InfiniBand: 6, 8 or 20 octets, and no Ethernet address of a group.
ADDRESS_SIZE = "(?=(?:.{17}|.{23}|.{59})$)(?!(?:00|:)+$|(?:ff|:)+$|.[13579bdf](?::..){5}$)"
ADDRESS = Form(ADDRESS_SIZE + "[0-9a-f]{2}(?::[0-9a-f]{2})+", 59, "a hardware address")
BLOCK_BYTES = 64  # The block size of SHA-256 in bytes.


def identify_host(tree: Tree, facts: Facts) -> Host:
    """Return the identity of the observed host; unknown parts are empty."""
    user = "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"
    return Host(
        name=_read_hostname(tree) or "unnamed",
        id=_hash_machine_id(tree),
        product=_hash_product_id(tree),
        addresses=" ".join(dict.fromkeys(map(_hash_identity, _iter_addresses(tree)))),
        os=read_fact_text(facts, HEAD_FACTS["os"]),
        kernel=read_fact_text(facts, HEAD_FACTS["kernel"]),
        next=_find_pending_kernel(tree, facts),
        arch=read_fact_text(facts, HEAD_FACTS["arch"]),
        container=read_fact_text(facts, HEAD_FACTS["container"]),
        user=user,
    )


def list_notices(host: Host, root: str) -> Tuple[str, ...]:
    """Return the notices that a reader must know before the findings."""
    return tuple(text for _, _, text in iter_notices(host, root))


def iter_notices(host: Host, root: str) -> Iterator[Tuple[str, Tuple[str, ...], str]]:
    """Yield each notice: its kind, the values of the host that it names, and its text."""
    if host.container and root == "/":
        banner = (
            f"nodespec runs inside a container ({host.container}): this report describes the view of the container, "
            "not the node; to check the node, mount its root directory and use --root"
        )
        yield "container", (host.container,), banner
    elif host.next:
        text = f"reboot pending: kernel {host.kernel} runs, and the next boot starts kernel {host.next}"
        yield "pending reboot", (host.next, host.kernel), text


def _find_pending_kernel(tree: Tree, facts: Facts) -> str:
    """Return the kernel of the next boot if another runs, or an empty string.

    A container boots no kernel, whatever its /boot contains.
    """
    if not tree.running or (read_fact_text(facts, HEAD_FACTS["container"]) and tree.root == "/"):
        return ""
    runs, starts = (read_fact_text(facts, HEAD_FACTS[name]) for name in ("kernel", "next"))
    return starts if runs and starts != runs else ""


def read_fact_text(facts: Facts, path: Tuple[str, ...]) -> str:
    """Return a fact as text; empty if it has several possible values or none."""
    place = declaration.resolve_place(path)
    observation = facts.observe(place)
    return (
        format_value(observation.value, place.kind) if isinstance(observation, Value) and not observation.others else ""
    )


def _read_hostname(tree: Tree) -> str:
    """Return the hostname: the kernel's, or the first line of hostname(5) that is not a comment."""
    path = "/proc/sys/kernel/hostname" if tree.running else "/etc/hostname"
    name = tree.line(path).then(_skip_comments).then(HOSTNAME.formed)
    return name.value if isinstance(name, Value) else ""


def _skip_comments(text: str) -> str:
    lines = (line.strip() for line in text.split("\n"))
    return next((line for line in lines if line and line[0] != "#"), "")


def _hash_machine_id(tree: Tree) -> str:
    machine_id = tree.line("/etc/machine-id").then(MACHINE_ID.formed)
    return _hash_identity(machine_id.value) if isinstance(machine_id, Value) else ""


def _hash_product_id(tree: Tree) -> str:
    """Return the hash of the firmware's id of the machine, which only root can read."""
    uuid = tree.line("/sys/class/dmi/id/product_uuid").then(str.lower).then(UUID.formed) if tree.running else None
    return _hash_identity(uuid.value) if isinstance(uuid, Value) else ""


def _iter_addresses(tree: Tree) -> Iterator[str]:
    """Yield the hardware addresses of physical network devices.

    Virtual devices are omitted: a bridge may have the address of another host.
    """
    devices = tree.names(DEVICES_DIR) if tree.running else None
    for name in devices.value[:MAX_DEVICES] if isinstance(devices, Value) else ():
        address = tree.line(f"{DEVICES_DIR}/{name}/address").then(str.lower).then(ADDRESS.formed)
        hardware = isinstance(tree.entry(f"{DEVICES_DIR}/{name}/device"), Value)
        if hardware and isinstance(address, Value):
            yield address.value


def _hash_identity(identity: str) -> str:
    """Return an app-specific id, as sd_id128_get_machine_app_specific(3) computes it.

    Ids of two applications cannot be correlated. It is half of HMAC-SHA256 (RFC 2104), with the identity as the key.
    """
    key = identity.encode()
    padded = (sha256(key) if len(key) > BLOCK_BYTES else key).ljust(BLOCK_BYTES, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in padded) for pad in (0x36, 0x5C))
    return sha256(outer + sha256(inner + APPLICATION_ID)).hex()[:32]
