"""`gate status`: what is installed, what it guards, and the result of the last boot."""

from __future__ import annotations

import os
import re

from nodespec.errors import UsageError
from nodespec.escape import escape_line
from nodespec.light_typing import TYPE_CHECKING
from nodespec.preflight import systemd_unit
from nodespec.preflight.tree_writer import TreeWriter

if TYPE_CHECKING:
    from typing import Iterator, List

LAST_REPORT = "var/lib/nodespec/gate.txt"
OVERRIDES = "var/lib/nodespec/overrides"
MAX_LINE_CHARS = 300


def print_gate_status(root: str) -> int:
    """Print the state of the gate below a root directory. Raises `UsageError` if no gate is installed there."""
    tree = systemd_unit.open_tree(root)
    try:
        paths = systemd_unit.list_installed(tree)
        if not paths:
            raise UsageError(f"no gate is installed in {root}")
        for line in _describe_gate(tree, root, paths):
            print(line)  # noqa: T201 - this is what was asked for
    except OSError as error:
        raise UsageError(f"{root}: {error.strerror or error}") from None
    finally:
        tree.close()
    return 0


def _describe_gate(tree: TreeWriter, root: str, paths: List[str]) -> Iterator[str]:
    for path in paths:
        yield f"installed  {os.path.join(root, path)}"
    guarded = [os.path.basename(os.path.dirname(path))[:-2] for path in paths if path.endswith(".conf")]
    yield f"guards     {', '.join(map(escape_line, guarded)) or 'nothing: the drop-in of the guarded unit is missing'}"
    report = (tree.read(LAST_REPORT) or b"").decode("utf-8", "replace").splitlines()
    if report:
        yield from (f"last run   {escape_line(line)[:MAX_LINE_CHARS]}" for line in report[:2])
    else:
        yield f"last run   none: {os.path.join(root, LAST_REPORT)} does not exist"
    overrides = (tree.read(OVERRIDES) or b"").decode("utf-8", "replace").splitlines()
    if overrides:
        yield f"overridden {len(overrides)} times, last {escape_line(overrides[-1])[:MAX_LINE_CHARS]}"
    unit = (tree.read(f"{systemd_unit.UNIT_DIR}/{systemd_unit.GATE_UNIT}") or b"").decode("utf-8", "replace")
    version = re.search(r"Made by nodespec (\S+)", unit)
    if version:
        yield f"version    nodespec {escape_line(version[1])}"
