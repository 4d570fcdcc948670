"""`nodespec gate`: a bundle of specs, installed with the systemd unit that runs it when the machine boots."""

from __future__ import annotations

from nodespec.author.commands.bundle import compose
from nodespec.light_typing import TYPE_CHECKING
from nodespec.preflight import systemd_unit

if TYPE_CHECKING:
    import argparse


def gate(args: argparse.Namespace) -> int:
    """Install the gate, or remove it."""
    return systemd_unit.remove_gate(args) if args.action == "remove" else systemd_unit.install_gate(compose(args), args)
