"""A running machine: its tree, programs, sockets and namespaces."""

from __future__ import annotations

import os
import stat

from nodespec.host import mount_masks, pseudofs
from nodespec.host.directory import DirectoryTree
from nodespec.host.tree import MAX_FILE_BYTES, PROGRAMS, UnreadableError, decode_host_text, require_size
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFAULT_LIMITS, Absent, Evidence, Lacking, Limits, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    import socket
    import subprocess
    from typing import Dict, List, Optional, Sequence, Tuple, Union

SEALED = "is made inaccessible: a directory of mode 000 hides it"
PARAMETERS = "/proc/sys/"
PAGE = 4096  # Bytes. A larger read takes longer, because the kernel clears a buffer of that size.
FULL = PAGE - 512  # Bytes. A row of a table of sockets is shorter than 300.
GRACE_SECONDS = 0.5  # Seconds that killing a program may take.
ENVIRONMENT = {"PATH": ":".join(PROGRAMS), "LC_ALL": "C.UTF-8", "HOME": "/nonexistent", "TERM": "dumb"}


class ProgramResult(NamedTuple):
    """The exit status of a program, and its standard output."""

    status: int
    output: str


class Machine(DirectoryTree):
    """A live host, at `/` or where its root is mounted into a container.

    `process` is the process whose view of the host is observed: nodespec itself, or PID 1 of the host below `root`.
    """

    running = True
    deadline: Union[float, None] = None  # The end of the run, in time.monotonic.

    def __init__(self, root: str = "/", limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(root)
        self.limits = limits
        self.process = "/proc/self" if self.root == "/" else "/proc/1"
        self.uid = os.geteuid()
        self._sealed: Dict[str, bool] = {}  # by directory

    @property
    def patience(self) -> float:
        """Seconds that a peer may take, and the least limit of a program. An observation has more."""
        return self.limits.peer_seconds

    def device(self, path: str) -> Union[int, None]:
        """Return the device number of the file at a path, or None if it is not found."""
        try:
            return self._status(path, follow=True).st_dev
        except OSError:
            return None

    def _status(self, path: str, *, follow: bool) -> os.stat_result:
        if self.root != "/":
            return super()._status(path, follow=follow)
        return os.stat(path, follow_symlinks=follow)  # Most files are missing: each call below an exception takes time.

    def is_same(self, path: str, other: str) -> bool:
        """Return whether two paths lead to the same file; False if either cannot be read."""
        try:
            return os.path.samestat(self._status(path, follow=True), self._status(other, follow=True))
        except OSError:
            return False

    def socket_table(self, path: str) -> Observation[str]:
        """Read a table of sockets as text.

        Each read of /proc/net/tcp walks the whole hash table of the kernel (1.7 ms), also the read that finds the end.
        A read that leaves room for another row is the last: fs/seq_file.c fills its page until no row fits.
        """
        return self._ask(
            path, lambda: require_size(self._read_file(path, MAX_FILE_BYTES + 1, FULL), MAX_FILE_BYTES)
        ).then(decode_host_text)

    def _read_start(self, path: str, size: int) -> bytes:
        if self.root == "/" and path.startswith(PARAMETERS):
            data = self._read_parameter(path)
            if data is not None:
                return data[:size]
        return super()._read_start(path, size)

    def _read_parameter(self, path: str) -> Optional[bytes]:
        """Read a kernel parameter with one read, or return None if the path needs the general way.

        /proc/sys contains neither links nor devices, so that the file is checked after it was opened. The kernel cuts
        some values to the size that is read: a full page is read again, from the start.
        """
        try:
            handle = self._open(path, 0)
        except OSError:
            return None
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_dev not in self.once(pseudofs.devices):
                return None
            data = os.read(handle, PAGE)
        except OSError:
            return None
        finally:
            os.close(handle)
        return data if len(data) < PAGE else None

    def _missing(self, path: str) -> Union[Absent, Unknown]:
        if pseudofs.is_below(path):
            return pseudofs.observe_missing(self, path)
        say = SEALED if self._is_sealed(path) else mount_masks.HIDDEN if mount_masks.is_hidden(self, path) else ""
        return Unknown("hidden", f"{path} {say}", pseudofs.UNMASK_HINT) if say else Absent(Evidence(path))

    def _is_sealed(self, path: str) -> bool:
        """Return whether the last existing directory on the way to a path has mode 000.

        The mask of InaccessiblePaths= in systemd.exec(5) has that mode. The answer is kept for each directory, since
        many files are missing in the same ones.
        """
        passed: List[str] = []
        sealed = False
        while path := path.rpartition("/")[0]:
            if path in self._sealed:
                sealed = self._sealed[path]
                break
            passed.append(path)
            try:
                sealed = not stat.S_IMODE(self._status(path, follow=True).st_mode)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                pass
            break
        self._sealed.update(dict.fromkeys(passed, sealed))
        return sealed

    def _admit(self, path: str, status: os.stat_result) -> None:
        if pseudofs.is_below(path):
            pseudofs.require_unmasked(self, path, status.st_dev)

    def _list_names(self, path: str) -> Tuple[str, ...]:
        names = super()._list_names(path)
        if not names and self._is_sealed(f"{path}/"):
            raise UnreadableError("hidden", SEALED, pseudofs.UNMASK_HINT)
        if not pseudofs.is_below(path) and mount_masks.is_hidden(self, path):
            raise UnreadableError("hidden", mount_masks.HIDDEN, pseudofs.UNMASK_HINT)
        if not names and path in pseudofs.MOUNT_POINTS:
            pseudofs.require_mounted(self, path, self._status(path, follow=True).st_dev)
        return names

    def uname(self) -> Tuple[str, str]:
        """Return release and machine (`x86_64`) of the running kernel.

        A container shares both with its host.
        """
        names = os.uname()
        return names.release, names.machine

    def elsewhere(self, space: str) -> Union[Unknown, None]:
        """Return why the kernel's answers do not describe the host, or None.

        They do not if nodespec runs in another namespace of the kind `space`, such as `net`.
        """
        if self.root == "/":
            return None
        theirs, ours = self.link(f"{self.process}/ns/{space}"), Machine().link(f"/proc/self/ns/{space}")
        for link in (theirs, ours):
            if isinstance(link, Unknown):
                said = f"the kernel reports the {space} namespace of nodespec, maybe not of the host: {link.say}"
                return Unknown("hidden", said, "run nodespec with CAP_SYS_PTRACE and without a user namespace")
        shared = isinstance(theirs, Value) and isinstance(ours, Value) and theirs.value == ours.value
        if shared or (isinstance(theirs, Absent) and isinstance(ours, Absent)):  # A kernel without such namespaces.
            return None
        said = f"the kernel reports the {space} namespace of nodespec, not that of the host"
        return Unknown("hidden", said, f"run nodespec in the host's {space} namespace")

    def run(self, argv: Sequence[str]) -> Observation[ProgramResult]:
        """Run a program from the fixed search path; its output is bounded.

        It uses no shell, and a fixed environment. The result is unknown (refused) below another root, (timed out)
        if the program does not end, and (failed) if it cannot start.
        """
        said = " ".join(argv)
        if self.root != "/":
            return Unknown("refused", f"{said} is not run: nodespec runs no program of {self.root}")
        program = self.program(argv[0]) if "/" not in argv[0] else Value(argv[0], Evidence(argv[0]))
        if not isinstance(program, Value):
            return program
        try:
            seconds = self.program_seconds()
            with _ReplacedTimeout(seconds):
                status, output = _run_program([program.value, *argv[1:]], seconds, self.limits.output_bytes)
        except OSError as error:
            return Unknown("failed", f"{said}: {error.strerror}")
        if output is None:
            return Unknown("timed out", f"{said} did not end within {seconds:.3g} s", "set a longer --deadline")
        if len(output) > self.limits.output_bytes:
            return Unknown("failed", f"{said} printed more than {self.limits.output_bytes} bytes")
        return Value(ProgramResult(status, output.decode("utf-8", "backslashreplace")), Evidence(said))

    def program_seconds(self) -> float:
        """Return the time limit of a program in seconds.

        It is a quarter of the time that is left of the run, and at least `patience`. On a slow machine the first start
        of a kubelet took 2.6 s to print its version.
        """
        if self.deadline is None:
            return self.patience
        import time  # noqa: PLC0415 - only needed to run a program

        left = max(self.deadline - time.monotonic(), 0.1)
        return min(max(self.patience, left / 4), left)

    def connect(self, path: str) -> Union[socket.socket, Lacking]:
        """Connect to a unix socket of the host; each operation has a timeout."""
        found = self.entry(path)
        if not isinstance(found, Value):
            return found
        if found.value.kind != "socket":
            return Unknown("malformed", f"{path} is not a socket")
        import socket  # noqa: PLC0415 - 10 ms, only needed for a socket

        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(self.patience)
        try:
            self._at(path, lambda name, folder: peer.connect(_make_proc_path(name, folder)), follow=True)
        except PermissionError:
            peer.close()
            return Unknown("no permission", f"{path} may not be opened by uid {self.uid}", "run as root")
        except OSError as error:
            peer.close()
            if isinstance(error, ConnectionRefusedError):
                return Absent(Evidence(path), "no process listens on it")
            return Unknown("failed", f"{path}: {error.strerror or error}")
        return peer


def _make_proc_path(name: str, folder: Union[int, None]) -> str:
    return name if folder is None else f"/proc/self/fd/{folder}/{name}"


class _ReplacedTimeout:
    """Replace the timeout of an observation while a program runs, then restore it.

    At most half of the remaining timeout is spent.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.replaced = seconds, False

    def __enter__(self) -> None:
        import signal  # noqa: PLC0415
        import time  # noqa: PLC0415

        self.replaced = signal.getitimer(signal.ITIMER_REAL)[0] > 0
        if self.replaced:
            self.left = signal.setitimer(signal.ITIMER_REAL, self.seconds + GRACE_SECONDS)[0]
            self.begun = time.monotonic()

    def __exit__(self, *_: object) -> None:
        import signal  # noqa: PLC0415
        import time  # noqa: PLC0415

        if self.replaced:
            spent = min(time.monotonic() - self.begun, self.left / 2)
            signal.setitimer(signal.ITIMER_REAL, self.left - spent)


def _run_program(argv: Sequence[str], seconds: float, size: int) -> Tuple[int, Union[bytes, None]]:
    """Return exit status and output of a program, or None for output after a timeout.

    Output beyond `size` bytes is not read. The program is killed if nodespec ends.
    """
    import subprocess  # noqa: PLC0415 - slower to import than all other observations

    from nodespec.host.lifeline import Lifeline  # noqa: PLC0415

    lifeline = Lifeline()
    try:
        child = subprocess.Popen(  # noqa: S603 - argv is fixed by the family, never by a spec or a host
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
            output = _collect_output(child, seconds, size)
        lifeline.unbind()
    finally:
        lifeline.close()
    return child.returncode, output


def _collect_output(child: subprocess.Popen[bytes], seconds: float, size: int) -> Union[bytes, None]:
    """Return the output of a child, or None if it does not end in time.

    The child is always killed.
    """
    import select  # noqa: PLC0415
    import signal  # noqa: PLC0415
    import time  # noqa: PLC0415

    end, data = time.monotonic() + seconds, bytearray()
    assert child.stdout is not None  # noqa: S101 - it is a pipe
    try:
        while (left := end - time.monotonic()) > 0:
            if not select.select([child.stdout], [], [], left)[0]:
                continue
            piece = os.read(child.stdout.fileno(), 1 << 16)
            data += piece
            if not piece:
                child.wait(max(end - time.monotonic(), 0.1))
                return bytes(data)
            if len(data) > size:
                return bytes(data)
    except Exception:  # noqa: BLE001 - a child that closed its output and does not end
        return None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
    return None
