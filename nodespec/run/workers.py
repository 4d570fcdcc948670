"""Worker processes: items are worked on side by side, and their results come in the order of the items.

A worker that dies costs the item that it was at; a new worker continues with the others. Workers never outlive
nodespec: they end at the end of the pipe of requests, and in the middle of an item by their lifeline.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import struct
from collections import deque
from typing import Callable, Deque, Dict, Generic, Iterator, List, NoReturn, Sequence, Tuple, TypeVar, cast

from nodespec.errors import DEFECT
from nodespec.host.lifeline import Lifeline

T = TypeVar("T")

QUEUE = 2  # items that a worker has been given, the one that it is at included: a slow one holds up one other
AHEAD = 32  # items per worker that are given out before the first of them was taken
PIECE = 1 << 16  # bytes that are read at a time
IDLE_DEATHS = 8  # workers that may die before any item was begun; then this process does the rest
HEAD = struct.Struct("!cI")  # the kind of a message, and the size of its pickle
REQUEST = struct.Struct("!I")  # the index of an item
BEGUN, NOTE, DONE, RAISED = b"b", b"n", b"d", b"r"  # kinds of messages


class Work(Generic[T]):
    """What is done with every item. It may note what is known of an item so far: `lost` is given the last note."""

    def __init__(
        self,
        items: Sequence[str],
        do: Callable[[str, Callable[[object], None]], T],
        lost: Callable[[str, object, str], T],
    ) -> None:
        self.items, self.do, self.lost = items, do, lost


class Worker:
    """A worker process as its parent sees it."""

    def __init__(self, pid: int, requests: int, answers: int, lifeline: int) -> None:
        self.pid, self.requests, self.answers, self.lifeline = pid, requests, answers, lifeline
        self.queue: Deque[int] = deque()
        self.begun = False  # whether it is at the first item of its queue
        self.note: object = None
        self.data = bytearray()

    def give(self, index: int) -> None:
        """Queue an item. A worker that is dead is noticed by the end of its answers."""
        self.queue.append(index)
        try:
            os.write(self.requests, REQUEST.pack(index))
        except BrokenPipeError:
            return

    def messages(self) -> Iterator[Tuple[bytes, object]]:
        """The messages that have come whole."""
        while len(self.data) >= HEAD.size:
            kind, size = HEAD.unpack_from(self.data)
            if len(self.data) < HEAD.size + size:
                return
            body = bytes(memoryview(self.data)[HEAD.size : HEAD.size + size])
            del self.data[: HEAD.size + size]
            yield kind, pickle.loads(body)  # noqa: S301 - from a child of this very process

    def close(self) -> None:
        """Close the parent's ends of its pipes."""
        for handle in (self.requests, self.answers, self.lifeline):
            os.close(handle)

    def end(self) -> int:
        """End the process and return its wait status."""
        self.close()
        os.kill(self.pid, signal.SIGKILL)  # it is not reaped yet, so no other process has its number
        return os.waitpid(self.pid, 0)[1]


class Pool(Generic[T]):
    """Workers, and the results that have not been taken yet."""

    def __init__(self, work: Work[T], count: int) -> None:
        self.work, self.count = work, count
        self.workers: List[Worker] = []
        self.left: Deque[int] = deque(range(len(work.items)))
        self.results: Dict[int, T] = {}
        self.deaths = 0  # of workers that were at no item

    def run(self) -> Iterator[T]:
        """The results in the order of the items."""
        try:
            for index in range(len(self.work.items)):
                while index not in self.results:
                    self._step(index)
                yield self.results.pop(index)
        finally:
            for worker in self.workers:
                worker.end()

    def _step(self, index: int) -> None:
        """Bring the result of an item nearer, which is the first that has not been taken."""
        self._staff()
        if not self.workers:  # no process can be started
            self.left.remove(index)
            self.results[index] = self.work.do(self.work.items[index], _forget)
            return
        self._give(index + AHEAD * self.count)
        poll, by_answers = select.poll(), {worker.answers: worker for worker in self.workers}
        for handle in by_answers:
            poll.register(handle, select.POLLIN)
        for handle, _ in poll.poll():
            self._receive(by_answers[handle])

    def _staff(self) -> None:
        """Start the workers that are missing."""
        wanted = min(self.count, len(self.workers) + len(self.left)) if self.deaths < IDLE_DEATHS else 0
        while len(self.workers) < wanted:
            try:
                self._start()
            except OSError:  # no more processes or descriptors: as many as there are must do
                return

    def _give(self, end: int) -> None:
        """Give out items below an index, in turns."""
        for worker in sorted(self.workers, key=lambda one: len(one.queue)) * QUEUE:
            if self.left and self.left[0] < end and len(worker.queue) < QUEUE:
                worker.give(self.left.popleft())

    def _receive(self, worker: Worker) -> None:
        piece = os.read(worker.answers, PIECE)
        worker.data += piece
        for kind, said in worker.messages():
            if kind == BEGUN:
                worker.begun = True
            elif kind == NOTE:
                worker.note = said
            elif kind == RAISED:
                raise cast("BaseException", said)
            else:
                self.results[worker.queue.popleft()] = cast("T", said)
                worker.begun, worker.note = False, None
        if not piece:
            self._bury(worker)

    def _bury(self, worker: Worker) -> None:
        """What a dead worker was at is lost; what it had not begun is given to others."""
        self.workers.remove(worker)
        status = worker.end()
        if worker.begun:
            index = worker.queue.popleft()
            self.results[index] = self.work.lost(self.work.items[index], worker.note, _ending(status))
        else:
            self.deaths += 1
        self.left.extendleft(reversed(worker.queue))

    def _start(self) -> None:
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
            self._serve(their_requests, their_answers, (requests, answers), lifeline)
        for handle in (their_requests, their_answers, lifeline.reader):
            os.close(handle)
        self.workers.append(Worker(pid, requests, answers, lifeline.writer))

    def _serve(self, requests: int, answers: int, unused: Sequence[int], lifeline: Lifeline) -> NoReturn:
        """Be a worker: nothing that the parent had begun is continued here, whatever happens."""
        status = DEFECT
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: the parent ends the workers
            for other in self.workers:  # their pipes must not stay open when the parent is gone
                other.close()
            for handle in unused:
                os.close(handle)
            if lifeline.bind_self():
                while request := os.read(requests, REQUEST.size):
                    index = cast("int", REQUEST.unpack(request)[0])
                    self._answer(answers, self.work.items[index])
            status = 0
        finally:
            os._exit(status)

    def _answer(self, answers: int, item: str) -> None:
        _send(answers, BEGUN, None)
        try:
            result = self.work.do(item, lambda note: _send(answers, NOTE, note))
        except Exception as error:  # noqa: BLE001 - the parent raises it
            _send(answers, RAISED, error)
        else:
            _send(answers, DONE, result)


def _send(handle: int, kind: bytes, said: object) -> None:
    body = pickle.dumps(said, pickle.HIGHEST_PROTOCOL)
    data = memoryview(HEAD.pack(kind, len(body)) + body)
    while data:
        data = data[os.write(handle, data) :]


def _forget(_note: object) -> None:
    """Take a note of what this process does itself: nobody will ask for it."""


def _ending(status: int) -> str:
    """How a process ended, in words, from its wait status."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return f"was killed by {signal.Signals(number).name}"
        except ValueError:  # a real-time signal
            return f"was killed by signal {number}"
    return f"ended with exit status {os.WEXITSTATUS(status)}"
