"""Process items in parallel in worker processes; results keep their order.

If a worker dies, only the item that it was processing is lost. A new worker continues with the others. Workers never
outlive nodespec: they end when the pipe of requests is closed, and during an item their lifeline kills them.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import struct
from collections import deque

from nodespec.errors import DEFECT
from nodespec.host.lifeline import Lifeline
from nodespec.light_typing import TYPE_CHECKING, Generic, TypeVar, cast

if TYPE_CHECKING:
    from typing import Callable, Deque, Dict, Iterator, List, NoReturn, Sequence, Tuple

T = TypeVar("T")

QUEUED_ITEMS = 2  # Items queued at a worker, including the current item. A slow item delays only one other.
ITEMS_AHEAD = 32  # Items for each worker that are queued before the first of them is taken.
READ_BYTES = 1 << 16  # Bytes of one read.
MAX_IDLE_DEATHS = 8  # Workers that may die before they begin an item. After that this process does the work itself.
HEADER = struct.Struct("!cI")  # The header of a message: its kind, and the size of its pickle in bytes.
REQUEST = struct.Struct("!I")  # The index of an item.
BEGUN, NOTE, DONE, RAISED = b"b", b"n", b"d", b"r"  # Kinds of messages.


class Work(Generic[T]):
    """The task of the workers: a function for every item.

    While an item is processed, `do` may send notes about it. `lost` gets the last note if the worker dies.
    """

    def __init__(
        self,
        items: Sequence[str],
        do: Callable[[str, Callable[[object], None]], T],
        lost: Callable[[str, object, str], T],
    ) -> None:
        self.items, self.do, self.lost = items, do, lost


class Worker:
    """A worker process, from the view of its parent."""

    def __init__(self, pid: int, requests: int, answers: int, lifeline: int) -> None:
        self.pid, self.requests, self.answers, self.lifeline = pid, requests, answers, lifeline
        self.queue: Deque[int] = deque()
        self.begun = False  # Whether it has begun the first item of its queue.
        self.note: object = None
        self.data = bytearray()

    def give(self, index: int) -> None:
        """Queue an item; a dead worker is detected later, by the end of its answers."""
        self.queue.append(index)
        try:
            os.write(self.requests, REQUEST.pack(index))
        except BrokenPipeError:
            return

    def messages(self) -> Iterator[Tuple[bytes, object]]:
        """Yield kind and content of each message that has arrived completely."""
        while len(self.data) >= HEADER.size:
            kind, size = HEADER.unpack_from(self.data)
            if len(self.data) < HEADER.size + size:
                return
            body = bytes(memoryview(self.data)[HEADER.size : HEADER.size + size])
            del self.data[: HEADER.size + size]
            yield kind, pickle.loads(body)  # noqa: S301 - the sender is a child of this process

    def close(self) -> None:
        """Close the parent's ends of its pipes."""
        for handle in (self.requests, self.answers, self.lifeline):
            os.close(handle)

    def end(self) -> int:
        """End the process and return its wait status."""
        self.close()
        os.kill(self.pid, signal.SIGKILL)  # The process is not reaped yet, so no other process can have its number.
        return os.waitpid(self.pid, 0)[1]


class Pool(Generic[T]):
    """Workers, and the results that have not been taken yet."""

    def __init__(self, work: Work[T], count: int) -> None:
        self.work, self.count = work, count
        self.workers: List[Worker] = []
        self.left: Deque[int] = deque(range(len(work.items)))
        self.results: Dict[int, T] = {}
        self.deaths = 0  # Workers that died before they began an item.

    def run(self) -> Iterator[T]:
        """Yield the results in the order of the items."""
        try:
            for index in range(len(self.work.items)):
                while index not in self.results:
                    self._work_toward(index)
                yield self.results.pop(index)
        finally:
            for worker in self.workers:
                worker.end()

    def _work_toward(self, index: int) -> None:
        """Work toward the result of an item, the first that has not been taken."""
        self._start_missing()
        if not self.workers:  # No process could be started.
            self.left.remove(index)
            self.results[index] = self.work.do(self.work.items[index], _ignore_note)
            return
        self._distribute(index + ITEMS_AHEAD * self.count)
        poll, by_answers = select.poll(), {worker.answers: worker for worker in self.workers}
        for handle in by_answers:
            poll.register(handle, select.POLLIN)
        for handle, _ in poll.poll():
            self._receive_messages(by_answers[handle])

    def _start_missing(self) -> None:
        """Start missing workers."""
        wanted = min(self.count, len(self.workers) + len(self.left)) if self.deaths < MAX_IDLE_DEATHS else 0
        while len(self.workers) < wanted:
            try:
                self._start_worker()
            except OSError:  # No more processes or descriptors are available, so the existing workers must suffice.
                return

    def _distribute(self, end: int) -> None:
        """Distribute items below an index, in turns."""
        for worker in sorted(self.workers, key=lambda worker: len(worker.queue)) * QUEUED_ITEMS:
            if self.left and self.left[0] < end and len(worker.queue) < QUEUED_ITEMS:
                worker.give(self.left.popleft())

    def _receive_messages(self, worker: Worker) -> None:
        piece = os.read(worker.answers, READ_BYTES)
        worker.data += piece
        for kind, content in worker.messages():
            if kind == BEGUN:
                worker.begun = True
            elif kind == NOTE:
                worker.note = content
            elif kind == RAISED:
                raise cast("BaseException", content)
            else:
                self.results[worker.queue.popleft()] = cast("T", content)
                worker.begun, worker.note = False, None
        if not piece:
            self._remove_dead(worker)

    def _remove_dead(self, worker: Worker) -> None:
        """Remove a dead worker; its current item is lost, its other items go to others."""
        self.workers.remove(worker)
        status = worker.end()
        if worker.begun:
            index = worker.queue.popleft()
            self.results[index] = self.work.lost(self.work.items[index], worker.note, _describe_end(status))
        else:
            self.deaths += 1
        self.left.extendleft(reversed(worker.queue))

    def _start_worker(self) -> None:
        handles: List[int] = []
        try:
            for _ in range(2):
                handles += os.pipe()
            lifeline = Lifeline()
            handles += lifeline.reader, lifeline.writer
            pid = os.fork()
        except OSError:
            for handle in handles:
                os.close(handle)
            raise
        requests, their_answers, answers, their_requests = handles[1], handles[3], handles[2], handles[0]
        if pid == 0:
            self._serve_requests(their_requests, their_answers, (requests, answers), lifeline)
        for handle in (their_requests, their_answers, lifeline.reader):
            os.close(handle)
        self.workers.append(Worker(pid, requests, answers, lifeline.writer))

    def _serve_requests(self, requests: int, answers: int, unused: Sequence[int], lifeline: Lifeline) -> NoReturn:
        """Run as a worker and never return, so that no code of the parent continues here."""
        status = DEFECT
        try:
            # A terminal sends SIGINT to all processes. The parent ends the workers.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            for other in self.workers:  # An open copy of their pipes would keep them alive after the parent has ended.
                other.close()
            for handle in unused:
                os.close(handle)
            if lifeline.bind_self():
                while request := os.read(requests, REQUEST.size):
                    index = cast("int", REQUEST.unpack(request)[0])
                    self._answer_request(answers, self.work.items[index])
            status = 0
        finally:
            os._exit(status)

    def _answer_request(self, answers: int, item: str) -> None:
        _send_message(answers, BEGUN, None)
        try:
            result = self.work.do(item, lambda note: _send_message(answers, NOTE, note))
        except Exception as error:  # noqa: BLE001 - the parent raises the error
            _send_message(answers, RAISED, error)
        else:
            _send_message(answers, DONE, result)


def _send_message(handle: int, kind: bytes, content: object) -> None:
    body = pickle.dumps(content, pickle.HIGHEST_PROTOCOL)
    data = memoryview(HEADER.pack(kind, len(body)) + body)
    while data:
        data = data[os.write(handle, data) :]


def _ignore_note(_note: object) -> None:
    """Ignore a note: this process itself does the work, so the note is not needed."""


def _describe_end(status: int) -> str:
    """Describe how a process ended, from its wait status: `was killed by SIGKILL`."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return f"was killed by {signal.Signals(number).name}"
        except ValueError:  # A real-time signal has no name.
            return f"was killed by signal {number}"
    return f"ended with exit status {os.WEXITSTATUS(status)}"
