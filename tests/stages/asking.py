"""Run nodespec for a report, and again if this machine was too slow."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from oracle import report
from unhurried import PROGRAM

if TYPE_CHECKING:
    from nodespec.model.report import Report

TOP = Path(__file__).parents[2]
TRIES = 4
VERDICTS = (0, 10, 11)


def judged(
    argv: list[str], file: Path, *, cwd: Path = TOP, standard: Callable[[], subprocess.Popen[bytes]] | None = None
) -> Report:
    """The report of `nodespec check` with these arguments; `standard` starts what it reads."""
    command = [*PROGRAM, "check", *argv, "-o", f"json={file}", "--deadline", "120"]
    env = {**os.environ, "PYTHONPATH": str(TOP)}

    def once() -> Report:
        file.unlink(missing_ok=True)
        if standard is None:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, cwd=cwd, env=env, check=False)
        else:
            with standard() as source:
                done = subprocess.run(command, stdin=source.stdout, cwd=cwd, env=env, check=False)
        if done.returncode not in VERDICTS:
            raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}")
        return report(file)

    return patiently(once)


def patiently(look: Callable[[], Report]) -> Report:
    """Return a report, or another one if an observation timed out."""
    for _ in range(TRIES - 1):
        found = look()
        if not any(part.observed.reason == "timed out" for one in found.findings for part in one.parts):
            return found
    return look()
