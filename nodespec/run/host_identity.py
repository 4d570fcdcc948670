"""Who a host is, for the head of a report: nothing here is judged, and no identity of a machine is shown itself."""

from __future__ import annotations

import os
from typing import Iterator, Tuple

from nodespec.facts import declaration as facts
from nodespec.facts.live import Facts
from nodespec.host.tree import Tree
from nodespec.judge.clause_result import shown
from nodespec.model.observation import Value
from nodespec.model.subject import HEAD_FACTS, Host
from nodespec.sha256 import sha256

APPLICATION = b"nodespec host identity 1"  # what makes the hash of a machine-id ours, as sd-id128 asks of every use
DEVICES = "/sys/class/net"
MOST = 64  # network devices
BLOCK = 64  # bytes that SHA-256 takes at a time


def host(tree: Tree, looked: Facts) -> Host:
    """The identity of what is looked at, as far as it can be seen."""
    name = tree.line("/proc/sys/kernel/hostname" if tree.running else "/etc/hostname")
    user = "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"
    shown = name.value.split("\n")[0] if isinstance(name, Value) else ""
    return Host(
        name=shown or "unnamed",
        id=_machine(tree),
        product=_product(tree),
        addresses=" ".join(dict.fromkeys(map(_hashed, _addresses(tree)))),
        os=stated(looked, HEAD_FACTS["os"]),
        kernel=stated(looked, HEAD_FACTS["kernel"]),
        next=_pending(tree, looked),
        arch=stated(looked, HEAD_FACTS["arch"]),
        container=stated(looked, HEAD_FACTS["container"]),
        user=user,
    )


def notices(found: Host, root: str) -> Tuple[str, ...]:
    """What must be known before the first finding is believed."""
    return tuple(text for _, _, text in notices_by_kind(found, root))


def notices_by_kind(found: Host, root: str) -> Iterator[Tuple[str, Tuple[str, ...], str]]:
    """Each notice: its kind, the values of the host that it names however it is worded, and its text."""
    if found.container and root == "/":
        banner = (
            f"this runs inside a container ({found.container}): what follows is about the container's view, not about "
            "the node; mount the host's root and use --root to judge the node"
        )
        yield "container", (found.container,), banner
    elif found.next:
        text = f"reboot pending: the next boot starts kernel {found.next}, and {found.kernel} runs"
        yield "pending reboot", (found.next, found.kernel), text


def _pending(tree: Tree, looked: Facts) -> str:
    """The kernel that the next boot starts, if another runs; a container boots none, whatever its /boot holds."""
    if not tree.running or (stated(looked, HEAD_FACTS["container"]) and tree.root == "/"):
        return ""
    runs, starts = (stated(looked, HEAD_FACTS[name]) for name in ("kernel", "next"))
    return starts if runs and starts != runs else ""


def stated(looked: Facts, path: Tuple[str, ...]) -> str:
    """A fact as the head of a report states it: empty where it may be several values, or none."""
    place = facts.place(path)
    seen = looked.look(place)
    return shown(seen.value, place.kind) if isinstance(seen, Value) and not seen.others else ""


def _machine(tree: Tree) -> str:
    machine_id = tree.line("/etc/machine-id")
    if not isinstance(machine_id, Value) or len(machine_id.value) != 32:  # noqa: PLR2004 - hexadecimal digits of 128 bits
        return ""
    return _hashed(machine_id.value)


def _product(tree: Tree) -> str:
    """The firmware's identity of the machine, which root alone may read."""
    uuid = tree.line("/sys/class/dmi/id/product_uuid") if tree.running else None
    return _hashed(uuid.value.lower()) if isinstance(uuid, Value) and uuid.value else ""


def _addresses(tree: Tree) -> Iterator[str]:
    """The hardware addresses of devices that are more than software: a bridge may well have that of another host's."""
    devices = tree.names(DEVICES) if tree.running else None
    for name in devices.value[:MOST] if isinstance(devices, Value) else ():
        address = tree.line(f"{DEVICES}/{name}/address")
        hardware = isinstance(tree.entry(f"{DEVICES}/{name}/device"), Value)
        if hardware and isinstance(address, Value) and address.value.strip("0:"):
            yield address.value.lower()


def _hashed(identity: str) -> str:
    """An app-specific id, as sd_id128_get_machine_app_specific makes one: two applications cannot be joined by it.

    It is half of HMAC-SHA256 (RFC 2104), with the identity as the key.
    """
    key = identity.encode()
    padded = (sha256(key) if len(key) > BLOCK else key).ljust(BLOCK, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in padded) for pad in (0x36, 0x5C))
    return sha256(outer + sha256(inner + APPLICATION)).hex()[:32]
