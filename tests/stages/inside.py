"""A host observed from a container: does `--root` report what nodespec reports outside, and no more than it can see?

    python tests/stages/inside.py CACHE

As root. Debian's runc starts containers on a tree that debootstrap made, with Python; of folders that it has, /mnt is
the host's root, /opt has nodespec's source, and /srv the spec. Without runc it is installed from Debian first.
One container shares the namespaces of the host, of the others each has some of its own. Every requirement is compared
with what was found outside. What differs must be listed below with a reason, and a reason that is never met
is an error. CACHE keeps the tree. The exit status is 1 where anything is wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

import asking
import debian
from agreement import Difference, compared
from oracle import report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodespec.model.json_types import Json
    from nodespec.model.report import Report

TOP = Path(__file__).parents[2]
LEAST = 60  # requirements that are decided outside and inside
# one of each namespace that sysctls are of, and some that are nobody's own
SPEC = """\
nodespec: 1
require:
  sysctl:
    net.ipv4.ip_forward: present
    net.core.somaxconn: present
    net.ipv4.ip_local_port_range: present
    kernel.shmmax: present
    kernel.msgmax: present
    fs.mqueue.msg_max: present
    kernel.hostname: present
    kernel.domainname: present
    user.max_user_namespaces: present
    user.max_net_namespaces: present
    kernel.pid_max: present
    kernel.panic: present
    vm.swappiness: present
    vm.overcommit_memory: present
    fs.file-max: present
    fs.inotify.max_user_watches: present
  os: {id: debian, init: systemd, container: absent, machine_id: set}
  namespaces: {kinds: [net, user]}
  memory: {total: ">=1"}
  cpu: {count: ">=1"}
  swap: {total: 0}
  commands: {sh: present}
  files: {/etc/os-release: present, /etc/passwd: present}
  ports: {10250: free}
"""
WHOSE = {  # parameters that depend on the namespace of the reader, by the name that runc gives to the namespace
    "network": (
        *("net.ipv4.ip_forward", "net.ipv4.ip_local_port_range", "net.core.somaxconn"),
        "net.bridge.bridge-nf-call-iptables",
    ),
    "ipc": ("kernel.shmmax", "kernel.msgmax", "fs.mqueue.msg_max"),
    "uts": ("kernel.hostname", "kernel.domainname"),
    "user": ("user.max_user_namespaces", "user.max_net_namespaces"),
    "pid": ("kernel.pid_max",),
}
CALLED = {"network": "net"}  # what runc calls otherwise than the kernel
HOST, ASKED = "/mnt", "/srv"  # where containers have the root of the host, and the spec
ALWAYS = (
    Difference(
        "runtime.*.version", ".*", f"unknown: .* is not run: nodespec runs no program of {HOST}", "no program is run"
    ),
)
# by the namespaces of its own
CONTAINERS = {
    "that shares all namespaces": (),
    "with its own network": ("network",),
    "with its own ipc": ("ipc",),
    "with its own uts": ("uts",),
    "with its own pid": ("pid",),
    "with its own user": ("user",),
    "with all of its own": ("network", "ipc", "uts", "pid", "user"),
}


def main(cache: Path) -> int:
    """The exit status; what was compared is printed, and last what is wrong."""
    try:
        os.readlink("/proc/1/ns/net")
    except PermissionError:
        print("the namespaces of process 1 are not readable: a process in a new PID namespace replaces it")
        own = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, __file__)
        return subprocess.run([*own, str(cache)], check=False).returncode
    if not shutil.which("runc"):
        debian.installed("runc")
    tree = debian.node("bookworm", cache)
    with tempfile.TemporaryDirectory(prefix="nodespec-") as folder:
        wrong = [mistake for name in CONTAINERS for mistake in judged(name, tree, Path(folder))]
    for mistake in wrong:
        print(f"wrong    {mistake}")
    return int(bool(wrong))


def judged(name: str, tree: Path, folder: Path) -> Iterator[str]:
    """What is not told in one container as it is outside."""
    (folder / "asked.yaml").write_text(SPEC)
    own = CONTAINERS[name]
    check = ["-m", "nodespec", "check", "-o", "json", "--deadline", "120", "kubernetes/1.35"]
    outside = asking.patiently(lambda: asked([sys.executable, *check, f"{folder}/asked.yaml"], folder))
    bundled(own, ["python3", *check, f"{ASKED}/asked.yaml", "--root", HOST], tree, folder)
    contain = ["runc", "--root", str(folder / "state"), "run", "--bundle", str(folder), f"nodespec-{os.getpid()}"]
    inside = asking.patiently(lambda: asked(contain, folder))
    yield from compared(f"a container {name}", outside, inside, (*ALWAYS, *hidden(own)), least=LEAST)


def hidden(own: Sequence[str]) -> Iterator[Difference]:
    """Yield the parameters of namespaces that are not the host's, or are not known to be."""
    unseen = "user" in own
    if unseen:
        why = "who has users of its own may not see the namespaces of the host's processes"
        yield Difference("os.container", ".*", "unknown: /proc/1/ns/pid cannot be read by .*", why)
    for space in WHOSE if unseen else own:
        kind = CALLED.get(space, space)
        answer = f"unknown: the kernel reports the {kind} namespace of nodespec"
        said = f"{answer}, {'maybe not of' if unseen else 'not that of'} the host.*"
        for key in WHOSE[space]:
            yield Difference(f"sysctl.{key}", ".*", said, f"it answers for the {kind} namespace of who reads it")


def asked(command: Sequence[str], folder: Path) -> Report:
    """The report that a command prints."""
    done = subprocess.run(command, cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    if done.returncode not in asking.VERDICTS:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}")
    (folder / "report.json").write_bytes(done.stdout)
    return report(folder / "report.json")


def bundled(own: Sequence[str], argv: Sequence[str], tree: Path, folder: Path) -> None:
    """The configuration of a container, as the runtime's specification has it."""
    mounts: list[Json] = [
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        bound("/", HOST),
        bound(str(TOP), "/opt"),
        bound(str(folder), ASKED),
        # who has no process namespace of its own may mount no procfs of it, if it has users of its own
        {"destination": "/proc", "type": "proc", "source": "proc"} if "pid" in own else bound("/proc", "/proc"),
    ]
    linux: dict[str, Json] = {"namespaces": [{"type": space} for space in ("mount", *own)]}
    if "user" in own:
        same: Json = [{"containerID": 0, "hostID": 0, "size": 1 << 16}]
        linux.update(uidMappings=same, gidMappings=same)
    powers: Json = ["CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE", "CAP_SYS_ADMIN"]
    process: Json = {
        "args": list(argv),
        "cwd": "/opt",
        "env": ["PATH=/usr/sbin:/usr/bin", "PYTHONDONTWRITEBYTECODE=1"],
        "user": {"uid": 0, "gid": 0},
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), powers),
    }
    root: Json = {"path": str(tree), "readonly": True}
    config: Json = {"ociVersion": "1.0.2", "root": root, "process": process, "mounts": mounts, "linux": linux}
    (folder / "config.json").write_text(json.dumps(config))


def bound(source: str, destination: str) -> Json:
    return {"destination": destination, "type": "none", "source": source, "options": ["rbind"]}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: inside.py CACHE")
    sys.exit(main(Path(sys.argv[1]).resolve()))
