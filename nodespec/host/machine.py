"""A machine that runs: its tree, and what only a live host has: programs, sockets, its own process."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Iterator, Sequence, Tuple, Union

from nodespec.host import pseudofs
from nodespec.host.directory import DirectoryTree, Walk
from nodespec.host.tree import PROGRAMS, Unseen
from nodespec.model.observation import Absent, Evidence, Lacking, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    import socket
    import subprocess

SEALED = "is made inaccessible: a directory of mode 000 hides it"
GRACE = 0.5  # seconds that killing a program may take
OUTPUT = 1 << 20  # bytes that a program may print
ENVIRONMENT = {"PATH": ":".join(PROGRAMS), "LC_ALL": "C.UTF-8", "HOME": "/nonexistent", "TERM": "dumb"}


class Ran(NamedTuple):
    """What a program printed on its standard output, and its exit status."""

    status: int
    output: str


class Machine(DirectoryTree):
    """A live host, at `/` or, from inside a container, where its root is mounted.

    `process` is the process whose view of the host is taken: the own one, or PID 1 of the host below `root`.
    """

    running = True
    patience: float = 1.5  # seconds that a peer may take, and a program at least: less than a look has
    deadline: Union[float, None] = None  # of time.monotonic, when the run ends

    def __init__(self, root: str = "/") -> None:
        super().__init__(root)
        self.process = "/proc/self" if self.root == "/" else "/proc/1"
        self.uid = os.geteuid()

    def device(self, path: str) -> Union[int, None]:
        """The number of the device that holds what a path leads to; nothing where it leads nowhere."""
        try:
            return self._status(path, follow=True).st_dev
        except OSError:
            return None

    def is_same(self, path: str, other: str) -> bool:
        """Whether two paths lead to one file or directory; not where one cannot be seen."""
        try:
            return os.path.samestat(self._status(path, follow=True), self._status(other, follow=True))
        except OSError:
            return False

    def listed(self, path: str) -> Tuple[str, ...]:
        """The names in a directory, whatever it is; none where it cannot be read."""
        try:
            return super()._list_names(path)
        except OSError:
            return ()

    def reached(self, path: str) -> Tuple[str, int]:
        """The last directory on the way to a path that exists, without links, and the number of its device."""
        with Walk(self.root) as walk:
            with suppress(OSError):
                walk.to(path, follow=True)
            return walk.path(), os.fstat(walk.folder).st_dev

    def resolved(self, path: str) -> str:
        """A path without links; empty where only the kernel can follow them, as below /proc/self/fd."""
        with Walk(self.root) as walk:
            try:
                return walk.path(walk.to(path, follow=True))
            except OSError:
                return ""

    def _missing(self, path: str) -> Union[Absent, Unknown]:
        if pseudofs.is_below(path):
            return pseudofs.missing(self, path)
        return (
            Unknown("hidden", f"{path} {SEALED}", pseudofs.UNMASKED)
            if self._is_sealed(path)
            else Absent(Evidence(path))
        )

    def _is_sealed(self, path: str) -> bool:
        """Whether the last directory on the way to a path has mode 000, as the mask of InaccessiblePaths= has."""
        while path := path.rpartition("/")[0]:
            try:
                found = self._status(path, follow=True)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                return False
            return not stat.S_IMODE(found.st_mode)
        return False

    def _admit(self, path: str, found: os.stat_result) -> None:
        if pseudofs.is_below(path):
            pseudofs.require_unmasked(self, path, found.st_dev)

    def _list_names(self, path: str) -> Tuple[str, ...]:
        names = super()._list_names(path)
        if not names and self._is_sealed(f"{path}/"):
            raise Unseen("hidden", SEALED, pseudofs.UNMASKED)
        if not names and path in pseudofs.MOUNT_POINTS:
            pseudofs.require_mounted(self, path, self._status(path, follow=True).st_dev)
        return names

    def uname(self) -> Tuple[str, str]:
        """Release and machine (`x86_64`) of the running kernel, which a container shares."""
        names = os.uname()
        return names.release, names.machine

    def elsewhere(self, space: str) -> Union[Unknown, None]:
        """Why what the kernel answers nodespec is not what it answers the host: another namespace of that kind."""
        if self.root == "/":
            return None
        theirs, ours = self.link(f"{self.process}/ns/{space}"), Machine().link(f"/proc/self/ns/{space}")
        for link in (theirs, ours):
            if isinstance(link, Unknown):
                said = f"the kernel answers for nodespec's own {space} namespace, maybe not for the host's: {link.say}"
                return Unknown("hidden", said, "give nodespec CAP_SYS_PTRACE, and no user namespace of its own")
        shared = isinstance(theirs, Value) and isinstance(ours, Value) and theirs.value == ours.value
        if shared or (isinstance(theirs, Absent) and isinstance(ours, Absent)):  # a kernel without such namespaces
            return None
        said = f"the kernel answers for nodespec's own {space} namespace, not for the host's"
        return Unknown("hidden", said, f"run nodespec in the host's {space} namespace")

    def run(self, argv: Sequence[str]) -> Observation[Ran]:
        """Run a program found on the fixed search path: no shell, a bare environment, bounded output.

        Unknown (refused) below another root, (timed out) where it does not end, (failed) where it cannot start.
        """
        said = " ".join(argv)
        if self.root != "/":
            return Unknown("refused", f"{said} is not run: nothing below {self.root} is")
        program = self.program(argv[0]) if "/" not in argv[0] else Value(argv[0], Evidence(argv[0]))
        if not isinstance(program, Value):
            return program
        try:
            seconds = self.program_seconds()
            with _own_time(seconds):
                status, output = _ran([program.value, *argv[1:]], seconds)
        except OSError as error:
            return Unknown("failed", f"{said}: {error.strerror}")
        if output is None:
            return Unknown("timed out", f"{said} did not end within {seconds:.3g} s", "--deadline gives it more time")
        if len(output) > OUTPUT:
            return Unknown("failed", f"{said} printed more than {OUTPUT} bytes")
        return Value(Ran(status, output.decode("utf-8", "backslashreplace")), Evidence(said))

    def program_seconds(self) -> float:
        """The seconds that a program may take: a quarter of what is left of the run, and no less than the patience.

        A kubelet that is started for the first time on a slow machine was seen to take 2.6 s to print its version.
        """
        if self.deadline is None:
            return self.patience
        import time  # noqa: PLC0415 - only before a program

        left = max(self.deadline - time.monotonic(), 0.1)
        return min(max(self.patience, left / 4), left)

    def connect(self, path: str) -> Union[socket.socket, Lacking]:
        """A unix socket of the host, connected; no wait on it is longer than its patience."""
        found = self.entry(path)
        if not isinstance(found, Value):
            return found
        if found.value.kind != "socket":
            return Unknown("malformed", f"{path} is no socket")
        import socket  # noqa: PLC0415 - only where there is one: 10 ms

        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(self.patience)
        try:
            self._at(path, lambda name, folder: peer.connect(_reachable(name, folder)), follow=True)
        except PermissionError:
            peer.close()
            return Unknown("no permission", f"{path} may not be opened by uid {self.uid}", "run as root")
        except OSError as error:
            peer.close()
            if isinstance(error, ConnectionRefusedError):
                return Absent(Evidence(path), "nobody listens there")
            return Unknown("failed", f"{path}: {error.strerror or error}")
        return peer


def _reachable(name: str, folder: Union[int, None]) -> str:
    return name if folder is None else f"/proc/self/fd/{folder}/{name}"


@contextmanager
def _own_time(seconds: float) -> Iterator[None]:
    """Set the alarm of an observation to a program's own time, and to what is left of it afterwards."""
    import signal  # noqa: PLC0415
    import time  # noqa: PLC0415

    if not signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return
    left = signal.setitimer(signal.ITIMER_REAL, seconds + GRACE)[0]
    begun = time.monotonic()
    try:
        yield
    finally:
        spent = min(time.monotonic() - begun, left / 2)
        signal.setitimer(signal.ITIMER_REAL, left - spent)


def _ran(argv: Sequence[str], seconds: float) -> Tuple[int, Union[bytes, None]]:
    """The exit status and output of a program that must end in time. It is killed if nodespec is."""
    import subprocess  # noqa: PLC0415 - costs more than all that is read without it

    from nodespec.host.lifeline import Lifeline  # noqa: PLC0415

    lifeline = Lifeline()
    try:
        child = subprocess.Popen(  # noqa: S603 - argv is the family's own, never a spec's or the host's
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            pass_fds=(lifeline.reader,),
        )
        lifeline.bind(-child.pid)
        with child:
            output = _output(child, seconds)
        lifeline.unbind()
    finally:
        lifeline.close()
    return child.returncode, output


def _output(child: subprocess.Popen[bytes], seconds: float) -> Union[bytes, None]:
    """What a child prints until it ends; nothing where it does not end in time. It is never left behind."""
    import select  # noqa: PLC0415
    import signal  # noqa: PLC0415
    import time  # noqa: PLC0415

    end, data = time.monotonic() + seconds, bytearray()
    assert child.stdout is not None  # noqa: S101 - it was asked for
    try:
        while (left := end - time.monotonic()) > 0:
            if not select.select([child.stdout], [], [], left)[0]:
                continue
            piece = os.read(child.stdout.fileno(), 1 << 16)
            data += piece
            if not piece:
                child.wait(max(end - time.monotonic(), 0.1))
                return bytes(data)
            if len(data) > OUTPUT:
                return bytes(data)
    except Exception:  # noqa: BLE001 - a child that closed its output and does not end
        return None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
    return None
