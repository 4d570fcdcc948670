"""A real containerd beside nodespec: does the family `runtime` observe it, and explain why nothing answers?

    python tests/stages/containerd.py [PROGRAM...]

As root, in a mount namespace of its own, where no containerd of this machine is seen: one is started on its default
socket, with everything else of its own in a folder that is removed at the end. Without containerd, runc and crun these
are installed from Debian first. Each PROGRAM, another containerd, is treated likewise. What was seen is printed; the
exit status is 1 if an observation is not the expected one.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Mapping

from debian import installed, said

TOP = Path(__file__).parents[2]
sys.path[:0] = [str(TOP), str(TOP / "tests")]

from unhurried import PATIENCE, unhurried  # noqa: E402 - likewise

from nodespec.checks.runtime import runtime  # noqa: E402 - this folder is where Python starts, not the top
from nodespec.facts.declaration import Columns  # noqa: E402
from nodespec.host.machine import Machine  # noqa: E402
from nodespec.model.observation import (  # noqa: E402
    Absent,
    Limits,
    Observation,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    Child = subprocess.Popen[bytes]

SOCKET = Path("/run/containerd/containerd.sock")
WAIT = 90  # seconds until it listens, and until it says what it is to say
NEEDED = ("containerd", "runc", "crun")
CRI = 'plugins."io.containerd.grpc.v1.cri"'
CONFIG = """
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = [{disabled}]
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[{cri}.cni]
  conf_dir = "{folder}/cni"
[{cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[{cri}.containerd.runtimes.runc.options]
  SystemdCgroup = {systemd}
[{cri}.containerd.runtimes.crun]
  runtime_type = "io.containerd.runc.v2"
[{cri}.containerd.runtimes.crun.options]
  BinaryName = "crun"
"""
NETWORK = '{"cniVersion": "0.4.0", "name": "test", "plugins": [{"type": "loopback"}]}'


def main() -> int:
    SOCKET.parent.mkdir(exist_ok=True)
    said("mount", "-t", "tmpfs", "none", str(SOCKET.parent))
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing:
        installed(*missing)
        said("sh", "-c", "systemctl stop containerd || true")  # where there is a systemd, Debian's package starts it
    programs = (shutil.which("containerd") or "", *sys.argv[1:])
    with unhurried():
        wrong = [line for program in programs for line in differences(program)]
    sys.stdout.write("".join(f"different: {line}\n" for line in wrong) or "all as wanted\n")
    return 1 if wrong else 0


def differences(program: str) -> Iterator[str]:
    """What is not as wanted, with one containerd in five states."""
    version = said(program, "--version").split()[2].lstrip("v")
    answering = {"version": version, "running": True, "socket": str(SOCKET), "api": "v1", "snapshotter": "overlayfs"}
    handlers = {"handlers": {"runc", "crun"}}
    ready = {"RuntimeReady", "NetworkReady"}
    with tempfile.TemporaryDirectory(prefix="nodespec-") as folder:
        with started(program, folder):
            wanted = {**answering, **handlers, "conditions": {"RuntimeReady"}, "cgroup_driver": "cgroupfs"}
            yield from compared(f"{program} without a network", wanted)
        Path(folder, "cni").mkdir(exist_ok=True)
        Path(folder, "cni/10-test.conflist").write_text(NETWORK)
        with started(program, folder, systemd=True):
            wanted = {**answering, **handlers, "conditions": ready, "cgroup_driver": "systemd"}
            yield from compared(f"{program} with a network and systemd's cgroups", wanted)
        disabled = "absent: the cri plugin of containerd is disabled or did not start; remove it from disabled_plugins"
        with started(program, folder, disabled='"io.containerd.grpc.v1.cri"') as child:
            wanted = {"running": True, "api": disabled, "conditions": disabled, "handlers": disabled}
            yield from compared(f"{program} with its cri plugin disabled", wanted)
            with stopped(child):
                late = f"unknown: {SOCKET} accepted the connection and did not answer within 1.4 s"
                wanted = {"running": True, "api": late, "conditions": late, "handlers": late, "features": late}
                yield from compared(f"{program} that hangs", wanted, patience=1.4)
    gone = f"absent: containerd does not run: nothing listens on {SOCKET}"
    yield from compared(f"{program} killed", {"running": False, "socket": gone, "api": gone, "conditions": gone})
    for name in ("runc", "crun"):
        found = re.match(rf"{name} version (\S+)", said(name, "--version"))
        yield from compared(name, {"version": found[1] if found else "", "path": shutil.which(name)}, name)


def compared(
    title: str, wanted: Mapping[str, object], name: str = "containerd", patience: float = PATIENCE
) -> Iterator[str]:
    """Print the columns of a row, and give those that are not as wanted, nor come to be so."""
    end = time.monotonic() + WAIT
    while (wrong := [*different(title, wanted, name, patience)]) and time.monotonic() < end:
        time.sleep(1)  # who listens already may not be ready to answer
    yield from wrong


def different(title: str, wanted: Mapping[str, object], name: str, patience: float) -> Iterator[str]:
    sys.stdout.write(f"{title}\n")
    machine = Machine()
    machine.limits = Limits(peer_seconds=patience)
    row = runtime.probe(machine).observe(name)
    columns = row.value if isinstance(row, Value) and isinstance(row.value, Columns) else Columns()
    for column, observation in columns.items():
        sys.stdout.write(f"    {column:14}{told(observation)}\n")
    for column, value in wanted.items():
        found = told(columns[column]) if column in columns else told(row)
        if found != value and not (isinstance(value, str) and str(found).startswith(value)):
            yield f"{title}: {column}: wanted {value}, found {found}"


def told(found: Observation[object]) -> object:
    if isinstance(found, Value):
        return set(found.value) if isinstance(found.value, frozenset) else found.value
    return f"unknown: {found.say}" if isinstance(found, Unknown) else f"absent: {found.say}"


@contextmanager
def started(
    program: str, folder: str, *, systemd: bool = False, disabled: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """A containerd that listens; killed afterwards, so that its socket is left behind."""
    config = Path(folder, "config.toml")
    config.write_text(CONFIG.format(folder=folder, cri=CRI, systemd=str(systemd).lower(), disabled=disabled))
    with Path(folder, "log").open("ab") as log, subprocess.Popen([program, "-c", config], stderr=log) as child:
        try:
            end = time.monotonic() + WAIT
            while not listening():
                if time.monotonic() > end or child.poll() is not None:
                    raise SystemExit(f"{program} does not start:\n{Path(folder, 'log').read_text()}")
                time.sleep(0.1)
            yield child
        finally:
            child.kill()


@contextmanager
def stopped(child: Child) -> Iterator[None]:
    child.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        child.send_signal(signal.SIGCONT)


def listening() -> bool:
    connected = Machine().connect(str(SOCKET))
    if isinstance(connected, (Absent, Unknown)):
        return False
    connected.close()
    return True


if __name__ == "__main__":
    if os.geteuid():
        print("root privileges are required to start containerd")
        sys.exit(77)
    if os.environ.get("NODESPEC_APART") != "1":
        os.environ["NODESPEC_APART"] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])  # noqa: S606, S607 - the same, apart
    sys.exit(main())
