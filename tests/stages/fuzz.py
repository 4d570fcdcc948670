"""Fuzz every parser: each input must end in a reported error or in a verdict.

    python tests/stages/fuzz.py CACHE [PARSER...] [--inputs N] [--seed N]

Samples are changed by hypothesis; one input has so many seconds of the processor, all together so much memory. What is
found is printed with the bytes that show it. The exit status is 1 where anything was.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.pool import Pool

TOP = Path(__file__).parents[2]
sys.path[:0] = [str(TOP), *(str(TOP / "tests" / part) for part in ("", "nodespec", "fuzzing"))]

from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402 - the folders above come first
from hypothesis import strategies as st  # noqa: E402
from parsers import PARSERS  # noqa: E402

INPUTS = 20_000
SEED = 1795304862  # the same inputs each time, so only a change of the code changes the result; other seeds find more
SECONDS = 2.0  # of the processor, that one input may take
MEMORY = 1 << 30  # bytes, of a whole process
TOGETHER = 10  # inputs that hypothesis is asked for at once, since asking costs more than most parsers take
PROGRAMS = st.binary(min_size=TOGETHER * 8, max_size=TOGETHER * 48)


class TooLong(BaseException):
    """One input has used up its time."""


class Fed(NamedTuple):
    """What came of one parser: how many inputs it took, in how many seconds of the processor, and what was wrong."""

    name: str
    inputs: int
    seconds: float
    slowest: float
    wrong: str


def main() -> int:
    """The exit status; a line is printed for each parser."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("cache")
    arguments.add_argument("parsers", nargs="*", metavar="PARSER", help=", ".join(PARSERS))
    arguments.add_argument("--inputs", type=int, default=INPUTS)
    arguments.add_argument("--seed", type=int, default=SEED)
    said = arguments.parse_intermixed_args()
    begun, wrong = time.monotonic(), 0
    jobs = [(name, said.inputs, said.seed) for name in said.parsers or PARSERS]
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - files there cost least
    with tempfile.TemporaryDirectory(dir=memory, prefix="nodespec-fuzz-") as folder, workers(folder) as pool:
        for fed in pool.imap_unordered(feed, jobs):
            print(f"{fed.name:16}{fed.inputs:8} inputs {fed.seconds:7.1f} s, slowest {fed.slowest * 1000:6.0f} ms")
            print(fed.wrong, end="", flush=True)
            wrong += bool(fed.wrong) or fed.inputs < said.inputs
    print(f"{len(jobs)} parsers in {time.monotonic() - begun:.0f} s, {wrong} wrong; repeat with --seed {said.seed}")
    return int(wrong > 0)


def workers(folder: str) -> Pool:
    """A process for each processor and, one after the other, each parser; what they write is in a folder."""
    os.environ["TMPDIR"] = folder
    return multiprocessing.get_context("spawn").Pool(os.cpu_count(), maxtasksperchild=1)


def feed(job: tuple[str, int, int]) -> Fed:
    """Feed one parser, in a process of its own."""
    name, inputs, start = job
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGVTALRM, _too_long)
    taken = [0.0]
    last = [b""]

    def take(data: bytes) -> None:
        last[0], began = data, time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS, SECONDS)
        try:
            parser.read(data)
        except (TooLong, MemoryError) as error:
            raise AssertionError(
                f"{type(error).__name__}: {len(data)} bytes used up all memory or recursion"
            ) from error
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            taken.append(time.process_time() - began)

    @seed(start)
    @settings(PROFILE, max_examples=-(-inputs // TOGETHER))
    @given(PROGRAMS)
    def every(programs: bytes) -> None:
        for program in parted(programs):
            take(parser.make(program))

    wrong = ""
    try:
        parser = PARSERS[name]()
        for data in (*parser.seeds, *parser.extremes()):
            take(data)
        every()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is what was looked for
        wrong = f"  {type(error).__name__}: {str(error)[:1500]}\n  in {_where(error)}\n  input {_shown(last[0])}\n"
    return Fed(name, len(taken) - 1, time.process_time(), max(taken), wrong)


def parted(programs: bytes) -> Iterator[bytes]:
    """Yield TOGETHER programs; the first byte of each says how long it is."""
    for left in range(TOGETHER, 0, -1):
        size = programs[0] % (2 * len(programs) // left) if programs and left > 1 else len(programs)
        yield programs[1:size]
        programs = programs[max(size, 1) :]


PROFILE = settings(
    deadline=None,
    database=None,
    phases=(Phase.generate,),  # to make a failing input smaller takes longer than to read it
    suppress_health_check=[*HealthCheck],
)


def _too_long(_number: int, _frame: object) -> None:
    raise TooLong


def _where(error: BaseException) -> str:
    """The last places of nodespec that it came through."""
    trace, found = error.__traceback__, []
    while trace:
        found.append(f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " ".join(found[-6:])


def _shown(data: bytes) -> str:
    return f"of {len(data)} bytes: {json.dumps(data[:20000].decode('latin-1'))}"


if __name__ == "__main__":
    sys.exit(main())
