"""Nothing takes too long, though the machine of the tests may stand still for seconds: who tests the time sets it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import Iterator
from unittest import mock

from nodespec.looking import Live
from nodespec.machine import Machine

PATIENCE = 60.0
# nodespec as a process, with what `python -m nodespec` has before it
IMPORTS = "from nodespec.__main__ import run; from nodespec.looking import Live; from nodespec.machine import Machine"
PROGRAM = (sys.executable, "-c", f"{IMPORTS}; Live.patience = Machine.patience = {PATIENCE}; run()")


@contextmanager
def unhurried() -> Iterator[None]:
    """Every program, peer and look has this long, unless its own machine says otherwise."""
    with mock.patch.object(Machine, "patience", PATIENCE), mock.patch.object(Live, "patience", PATIENCE):
        yield
