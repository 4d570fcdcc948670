"""`nodespec gate`: install a bundle of specs, and the systemd unit that runs it at boot."""

from __future__ import annotations

from nodespec.author.commands.bundle import compose
from nodespec.light_typing import TYPE_CHECKING
from nodespec.preflight import systemd_unit

if TYPE_CHECKING:
    import argparse


def gate(args: argparse.Namespace) -> int:
    """Install the gate, remove it, or print its state."""
    if args.action == "status":
        from nodespec.preflight.gate_status import print_gate_status  # noqa: PLC0415 - the other actions need it not

        return print_gate_status(args.into)
    if args.action == "remove":
        return systemd_unit.remove_gate(args)
    systemd_unit.normalize_unit(args.unit)  # before the bundle is built
    return systemd_unit.install_gate(compose(args), args)
