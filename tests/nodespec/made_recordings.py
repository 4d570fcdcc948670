"""Directories of recordings, for the tests of many hosts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_recordings(folder: Path, count: int, least: str) -> Path:
    """Write recordings of hosts with 0, 1, 2... GiB of memory, and `spec.yaml`, which requires `least`."""
    for number in range(count):
        document = {
            "nodespec-facts": 1,
            "context": "running",
            "door": "live",
            "host": {"name": f"node-{number}"},
            "tool": "nodespec 0.1.0",
            "time": "2026-11-21T12:00:00Z",
            "facts": {"memory.total": [number << 30, 1, "/proc/meminfo"]},
        }
        (folder / f"{number:03}.json").write_text(json.dumps(document), encoding="utf-8")
    spec = f"nodespec: 1\nrequire: {{memory: {{total: '>={least}'}}}}\n"
    (folder / "spec.yaml").write_text(spec, encoding="utf-8")
    return folder
