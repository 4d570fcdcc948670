"""A host that fails: is more ever claimed of it than was seen?

    python tests/stages/faults.py CACHE [PATTERN]

As root, with strace, in a mount namespace of its own where runtimes are faked. Each system call by which a run touches
the host (or, where there is a PATTERN, paths that have it) is failed once; programs and peers are made slow, dumb and
stubborn; reports are sent to where they cannot be written. The run must end in its time with the right exit code and
say what happened; a requirement may become unknown by it, and nothing else. The exit status is 1 where it is otherwise.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from debian import installed, said

TOP = Path(__file__).parents[2]
sys.path[:0] = [str(TOP), str(TOP / "tests")]

import fake_peers  # noqa: E402 - the folders above are where it is found
from unhurried import PROGRAM  # noqa: E402 - likewise

from nodespec.errors import EXIT, UNWRITTEN  # noqa: E402 - likewise

ASKED = sys.argv[2] if len(sys.argv) > 2 else ""

ANSWERS = TOP / "tests/hosts/fit-node/answers"
# A process 1 of its own has the same mounts: for any other, each file that is missing below a faked folder is hidden.
APART = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
DEADLINE = 10.0  # seconds that a run is given here
LATEST = 3 * DEADLINE  # when it has ended, however busy this machine is
TRIES = 4
ERRORS = {  # what a call of each kind fails with
    **dict.fromkeys(("openat", "newfstatat", "statx", "access", "connect"), "EACCES"),
    **dict.fromkeys(("read", "pread64", "getdents64", "readlink", "readlinkat", "fstat"), "EIO"),
    **dict.fromkeys(("socket", "pipe2"), "EMFILE"),
    "sendto": "EPIPE",
    "write": "ENOSPC",
    **dict.fromkeys(("recvfrom",), "ECONNRESET"),
    **dict.fromkeys(("vfork", "clone", "clone3", "fork"), "EAGAIN"),
    **dict.fromkeys(("poll", "select", "pselect6"), "ENOMEM"),
}
NOT_INJECTED = "not injected"
OWN = re.compile("|".join(map(re.escape, (sys.prefix, sys.base_prefix, str(TOP), "/usr/lib/python", "/etc/ld.so"))))
CALL = re.compile(r"(\d+) +(\w+)\((.*)")
PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
OPEN = re.compile(r"^\d+<([^>]*)>")
Outcomes = Dict[str, str]


class Call(NamedTuple):
    """A system call of a run: the how manieth of its name, and what it touches."""

    name: str
    number: int
    path: str


class Ended(NamedTuple):
    """How a run ended."""

    code: int
    seconds: float
    outcomes: Outcomes  # by requirement; none where no report was written
    right: int  # the exit code that the report comes to
    errors: str


class Trial:
    """Runs of one command line on this host, and what came of it when nothing was wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marker = folder / "waivers.yaml"  # the last file that is read before the host is observed
        self.marker.write_text("nodespec-waivers: 1\n")
        self.asked = ["check", "kubernetes/1.35", "--waivers", str(self.marker)]

    def unhurried(self, *more: str, before: Sequence[str] = (), stdout: int = subprocess.PIPE) -> Ended:
        """A run that takes the time that it needs: where nothing is wrong with the host, nothing is unknown for it."""
        return self._ran([*before, *PROGRAM, *self.asked, "--deadline", "120", *more], stdout)

    def run(self, *more: str, before: Sequence[str] = ()) -> Ended:
        command = [sys.executable, "-m", "nodespec", *self.asked, "--deadline", str(DEADLINE)]
        return self._ran([*before, *command, *more], subprocess.PIPE)

    def _ran(self, command: Sequence[str], stdout: int) -> Ended:
        begun = time.monotonic()
        done = subprocess.run(
            command,
            cwd="/",  # the path of another directory would be in every call
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(TOP)},
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
        )
        return Ended(done.returncode, time.monotonic() - begun, *outcomes(done.stdout), done.stderr.decode())

    def calls(self, name: str = "clean") -> List[Call]:
        """The calls that touch the host, each path once."""
        log = self.folder / f"{name}.log"
        self.run("-o", "json", before=["strace", "-f", "-y", "-s", "300", "-o", str(log)])
        found: Dict[Tuple[str, str], Call] = {}
        counts: Counter[str] = Counter()
        main, looking = "", False
        for line in log.read_text(errors="replace").splitlines():
            match = CALL.match(line)
            main = main or (match[1] if match else "")
            if match and match[1] == main:
                counts[match[2]] += 1
                path = touched(match[3])
                if looking and match[2] in ERRORS and not OWN.search(match[3]):
                    found.setdefault((match[2], path), Call(match[2], counts[match[2]], path))
                looking = looking or (match[2] == "openat" and str(self.marker) in match[3])
        return list(found.values())

    def failed(self, call: Call) -> Ended:
        """Run with one failing call; it is counted again if the host has fewer processes or connections by now."""
        for _ in range(TRIES - 1):
            ended = self._failed(call)
            if ended.errors != NOT_INJECTED:
                return ended
            found = {(one.name, one.path): one for one in self.calls(f"{call.name}-{call.number}-again")}
            call = found.get((call.name, call.path), call)
        return self._failed(call)

    def _failed(self, call: Call) -> Ended:
        inject = f"inject={call.name}:error={ERRORS[call.name]}:when={call.number}"
        log = self.folder / f"{call.name}-{call.number}-{threading.get_ident()}.log"
        ended = self.run(
            "-o", "json", before=["strace", "-f", "-o", str(log), "-e", f"trace={call.name}", "-e", inject]
        )
        hit = "(INJECTED)" in log.read_text(errors="replace")
        log.unlink()
        return ended if hit else ended._replace(errors=NOT_INJECTED)


def touched(arguments: str) -> str:
    """What a call names or has open; a descriptor alone where that has no path."""
    open_ = OPEN.match(arguments)
    path = PATH.search(arguments)
    return re.sub(r"\d{2,}", "N", open_[1] if open_ else path[1] if path else arguments.split(",", maxsplit=1)[0])


def outcomes(written: bytes | None) -> Tuple[Outcomes, int]:
    """What a report says of each requirement, and the exit code that it comes to."""
    try:
        report = json.loads(written or b"")["reports"][0]
    except ValueError:
        return {}, UNWRITTEN
    return {finding["id"]: finding["outcome"] for finding in report["findings"]}, EXIT[report["conclusion"]]


def worse(clean: Outcomes, faulty: Outcomes) -> Iterator[str]:
    """What is claimed of a host that fails and was not seen of it."""
    for name, outcome in clean.items():
        undecided = ("pass",) if outcome == "not-applicable" else ()  # what passes whatever its condition is
        if faulty.get(name) not in (outcome, "unknown", *undecided):
            yield f"{name}: {outcome} became {faulty.get(name, 'nothing')}"


def judged(clean: Ended, ended: Ended) -> Iterator[str]:
    """What is wrong with how a run ended that something went wrong in."""
    if ended.seconds > LATEST:
        yield f"it took {ended.seconds:.1f} s"
    if ended.code == 70 or "Traceback" in ended.errors or ended.code < 0:
        yield f"exit code {ended.code}: {ended.errors.strip()[-300:]}"
    if ended.outcomes:
        yield from worse(clean.outcomes, ended.outcomes)
        if ended.code != ended.right:
            yield f"exit code {ended.code}, and the report comes to {ended.right}"
    elif ended.code not in (2, clean.code, UNWRITTEN) or not ended.errors.strip():
        yield f"no report, exit code {ended.code}, and it says `{ended.errors.strip()}`"


# the host, faked


def namespace() -> None:
    """Runtimes that answer, where nobody else sees them."""
    for folder in ("/run/containerd", "/usr/local/bin"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        said("mount", "-t", "tmpfs", "none", folder)
    for name in ("containerd", "runc", "kubelet"):
        program(name, f"cat <<'END'\n{(ANSWERS / 'programs' / name).read_text()}\nEND")


def program(name: str, script: str) -> None:
    path = Path("/usr/local/bin") / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def serve(answer: fake_peers.Answer) -> socket.socket:
    """Listen where containerd would; each connection is answered in a thread of its own."""
    path = "/run/containerd/containerd.sock"
    Path(path).unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(64)

    def each(connected: socket.socket) -> None:
        with connected:
            try:
                answer(connected)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connected = server.accept()[0]
            except OSError:
                return
            threading.Thread(target=each, args=(connected,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return server


def replies() -> Mapping[str, fake_peers.Reply]:
    methods = ANSWERS / "run/containerd/containerd.sock"
    return {str(file.relative_to(methods)): file.read_bytes() for file in methods.rglob("*") if file.is_file()}


# the trials


def every_call(trial: Trial, clean: Ended) -> Iterator[str]:
    calls = [call for call in trial.calls() if re.search(ASKED, call.path)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ends = list(pool.map(trial.failed, calls))
    changed = 0
    for call, ended in zip(calls, ends):
        if ended.errors == NOT_INJECTED:
            yield f"{call.name} {call.number} of {call.path}: was not met again"
            continue
        changed += ended.outcomes != clean.outcomes
        for wrong in judged(clean, ended):
            yield f"{call.name} {call.path} fails with {ERRORS[call.name]}: {wrong}"
    kinds = Counter(call.name for call in calls)
    print(f"{len(calls)} system calls failed once each, {changed} of them changed the report: {dict(kinds)}")
    if not ASKED and (len(calls) < 100 or changed < 20):
        yield f"only {len(calls)} calls, {changed} that show"


def slow_hosts(trial: Trial, clean: Ended) -> Iterator[str]:
    """Programs and peers that do not do what they should."""
    stubborn = "trap '' TERM INT HUP; while :; do sleep 60; done"
    scripts = {
        "ignores SIGTERM": stubborn,
        "floods": "exec yes",
        "closes its output": f"exec >&-; {stubborn}",
    }
    for what, script in scripts.items():
        for name in ("containerd", "kubelet"):
            program(name, script)
        with serve(fake_peers.grpc(replies())):
            yield from one(f"a program that {what}", trial.run("-o", "json"), clean)
    end = time.monotonic() + LATEST
    while (left := running()) and time.monotonic() < end:
        time.sleep(0.1)
    if left:
        yield f"programs are left behind: {left}"
    namespace()
    peers: Mapping[str, fake_peers.Answer] = {
        "accepts and says nothing": fake_peers.silent,
        "hangs up": fake_peers.closing,
        "says byte after byte": drip,
    }
    for what, answer in peers.items():
        with serve(answer):
            yield from one(f"a peer that {what}", trial.run("-o", "json"), clean)
    namespace()


def running() -> List[str]:
    """The programs of this mount namespace that run: of others, faults may be looked for by somebody else."""
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            here = os.readlink(f"/proc/{process}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
            command = Path(f"/proc/{process}/cmdline").read_bytes()
        except OSError:  # it has ended
            continue
        if here and b"/usr/local/bin/" in command:
            found.append(f"{process} {command.decode(errors='replace')}")
    return found


def drip(connected: socket.socket) -> None:
    """A peer that never stops and never says anything."""
    for _ in range(600):
        connected.sendall(b"\0")
        time.sleep(0.1)


def one(what: str, ended: Ended, clean: Ended) -> Iterator[str]:
    print(f"{what}: exit code {ended.code} after {ended.seconds:.1f} s")
    for wrong in judged(clean, ended):
        yield f"{what}: {wrong}"


def blocked_reads(trial: Trial, clean: Ended) -> Iterator[str]:
    """FIFOs in the place of files, and a read that takes three seconds."""
    fifo = trial.folder / "fifo"
    os.mkfifo(fifo)
    for path in ("/etc/os-release", "/proc/meminfo", "/proc/swaps"):
        real = os.path.realpath(path)
        said("mount", "--bind", str(fifo), real)
        try:
            yield from one(f"a FIFO as {path}", trial.run("-o", "json"), clean)
        finally:
            said("umount", real)
    slow = ["strace", "-f", "-o", "/dev/null", "-P", "/proc/meminfo", "-e", "trace=read"]
    slow += ["-e", "inject=read:delay_enter=3000000:when=1"]
    yield from one("a read of three seconds", trial.run("-o", "json", before=slow), clean)


def unwritable(trial: Trial, clean: Ended) -> Iterator[str]:
    """Where reports cannot be written."""
    full = os.open("/dev/full", os.O_WRONLY)
    small = trial.folder / "small"
    small.mkdir()
    said("mount", "-t", "tmpfs", "-o", "size=16k", "none", str(small))
    kept = small / "kept.json"
    kept.write_text("as it was")
    wanted = clean.code or 74
    tries: Mapping[str, Tuple[Ended, str]] = {
        "a full stdout": (trial.unhurried(stdout=full), "No space left"),
        "a closed stdout": (trial.unhurried(before=["sh", "-c", 'exec "$@" >&-', "sh"]), "not written"),
        "no such folder": (trial.unhurried("-o", f"json={trial.folder}/none/r.json"), "No such file"),
        "a folder as the report": (trial.unhurried("-o", f"html={trial.folder}"), "not written"),
        "no space": (trial.unhurried("-o", f"json={small}/r.json", "-o", "text"), "No space left"),
        "no space to write again": (trial.unhurried("-o", f"json={kept}"), "No space left"),
    }
    for what, (ended, words) in tries.items():
        print(f"{what}: exit code {ended.code}, {ended.errors.strip()[-120:]}")
        if ended.code != wanted or words not in ended.errors:
            yield f"{what}: exit code {ended.code} where {wanted} is right, and `{words}` not in: {ended.errors[-300:]}"
    if sorted(os.listdir(small)) != ["kept.json"] or kept.read_text() != "as it was":
        yield f"half a report is left: {os.listdir(small)}"
    said("umount", str(small))


def main() -> int:
    """The exit status; what is wrong is printed."""
    if not shutil.which("strace"):
        installed("strace")
    namespace()
    with tempfile.TemporaryDirectory() as folder, serve(fake_peers.grpc(replies())) as server:
        trial = Trial(Path(folder))
        clean, again = trial.unhurried("-o", "json"), trial.unhurried("-o", "json")
        if not clean.outcomes or clean.outcomes != again.outcomes:
            print(f"two runs differ: exit code {clean.code}, {clean.errors}")
            return 1
        print(f"clean: exit code {clean.code}, {dict(Counter(clean.outcomes.values()))}")
        wrong = [*every_call(trial, clean)]
        server.shutdown(socket.SHUT_RDWR)
        wrong += [*slow_hosts(trial, clean)]
        with serve(fake_peers.grpc(replies())):
            wrong += [*blocked_reads(trial, clean), *unwritable(trial, clean)]
    for line in wrong:
        print(f"WRONG  {line}")
    return int(bool(wrong))


if __name__ == "__main__":
    if os.geteuid():
        print("root privileges are required to mount file systems")
        sys.exit(77)
    if os.environ.get("NODESPEC_APART") != "1":
        os.environ["NODESPEC_APART"] = "1"
        os.execvp("unshare", [*APART, sys.executable, *sys.argv])  # noqa: S606, S607 - the same, apart
    sys.exit(main())
