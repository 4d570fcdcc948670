"""No telemetry, no update check: under strace, nodespec connects to nothing but the sockets of container runtimes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from unhurried import PROGRAM

from nodespec.checks._runtime_catalog import RUNTIMES

TOP = Path(__file__).parents[1]
SOCKETS = {path for runtime in RUNTIMES.values() for path in runtime.sockets}
SOCKET = re.compile(r"socket(?:pair)?\((\w+)")
CONNECT = re.compile(r"(?:connect|sendto|sendmsg)\(\d+[^,]*, (.*)")
UNIX = re.compile(r"\{sa_family=AF_UNIX, sun_path=@?\"([^\"]*)\"")
COMMANDS = (
    "check kubernetes/1.35 --deadline 60 -o json=report.json -o html=report.html -o markdown=report.md -o junit=r.xml",
    "check container-host --image /",
    "facts --all -o recording.json",
    "check kubernetes/1.35 --facts recording.json",
    "verify report.json",
    "report report.json -o text",
    "diff running at-rest sysctl",
    "bundle container-host -o preflight",
    "lint kubernetes/1.35",
    "explain",
    "schema",
    "--version",
)


def traced(folder: Path, command: list[str]) -> str:
    """Run a command under strace and return its socket calls, those of all child processes included."""
    log = folder / "strace.log"
    done = subprocess.run(
        ["/usr/bin/strace", "-f", "-s", "200", "-e", "trace=%network", "-o", str(log), *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(TOP)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 10, 11}, done.stderr
    return log.read_text(errors="replace")


def is_runtime(path: str) -> bool:
    """Whether a path is the socket of a runtime. A socket below a directory descriptor is reached through /proc."""
    folder, _, name = path.rpartition("/")
    return path in SOCKETS or (folder.startswith("/proc/self/fd/") and name in {Path(one).name for one in SOCKETS})


def foreign(calls: str) -> list[str]:
    """Return the calls that create another socket than a Unix socket, or address another than a runtime's."""
    lines = []
    for line in calls.splitlines():
        family, connect = SOCKET.search(line), CONNECT.search(line)
        if family and family[1] not in {"AF_UNIX", "AF_LOCAL"}:
            lines.append(line)
        if connect and "sa_family" in connect[1]:
            path = UNIX.match(connect[1])
            if not path or not is_runtime(path[1]):
                lines.append(line)
    return lines


@pytest.mark.root
def test_every_command_connects_to_runtimes_only(tmp_path: Path) -> None:
    for command in COMMANDS:
        assert foreign(traced(tmp_path, [*PROGRAM, *shlex.split(command)])) == [], command
    bundle = ["python3", "-I", "preflight", "check"]
    assert foreign(traced(tmp_path, bundle)) == []


@pytest.mark.root
def test_a_connection_is_found(tmp_path: Path) -> None:
    program = (
        "import socket; socket.socket().connect_ex(('127.0.0.1', 9)); socket.socket(socket.AF_UNIX).connect_ex('/x')"
    )
    calls = foreign(traced(tmp_path, ["python3", "-c", program]))
    assert [re.search(r"AF_INET|sun_path", line) is not None for line in calls] == [True, True, True]
