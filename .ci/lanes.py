"""Run stages in two lanes, print their output in readable blocks, and remember what passed.

At most two stages run at once, because there are two processors. The output of one of them is printed while it runs.
The output of the other is in its log, and is printed when it ends or when no other stage runs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from processes import adopt_orphans, descendants, exited, members, send

if TYPE_CHECKING:
    from pathlib import Path

SKIP = 77  # the exit status of a stage that cannot run here; the last line of its log says why
LANES = 2
GRACE = 10.0  # seconds between SIGTERM and SIGKILL
PAUSE = 0.1  # seconds between two looks at the running stages
CHUNK = 1 << 20


class Stage(NamedTuple):
    """A row of the table of stages."""

    name: str
    cap: int  # seconds
    command: Tuple[str, ...]  # with names of places in braces, as `{python}`
    root: bool = False  # only root can run it
    network: bool = False  # it mostly waits for the network: one such stage runs beside one that uses the processor
    quiet: bool = False  # its time is measured: only network stages run beside it
    needs: Tuple[str, ...] = ()  # stages that must have run
    after: Tuple[str, ...] = ()  # stages that must have ended, if they run at all
    apart: Tuple[str, ...] = ()  # no two stages that name the same thing run at once
    optional: bool = False  # runs if it is named, or with --all
    paths: Tuple[str, ...] = ()  # the files that its result depends on; empty: it always runs
    daily: bool = False  # its result depends on the day, too: it takes the newest of something from the network


class Run:
    """A running stage."""

    def __init__(self, stage: Stage, command: Sequence[str], log: Path, inputs: str) -> None:
        self.stage, self.log, self.inputs = stage, log, inputs
        self.begun = time.monotonic()
        self.printed = 0  # bytes of the log
        self.late = False
        self.kill_at: Optional[float] = None
        with log.open("wb") as sink:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def seconds(self) -> int:
        return round(time.monotonic() - self.begun)

    def enforce_cap(self, *, stop: bool) -> None:
        """End the stage if it has used up its time, or if the run stops: SIGTERM, and SIGKILL later."""
        now = time.monotonic()
        if self.kill_at is None and (stop or now - self.begun > self.stage.cap):
            self.late, self.kill_at = not stop, now + GRACE
            send(signal.SIGTERM, members(self.pid))
        elif self.kill_at is not None and now > self.kill_at:
            send(signal.SIGKILL, members(self.pid))

    def print_new(self, *, ended: bool = False) -> None:
        """Print what is new in the log, in whole lines unless the stage has ended."""
        with self.log.open("rb") as log:
            log.seek(self.printed)
            while data := log.read(CHUNK):
                end = len(data) if ended else data.rfind(b"\n") + 1
                write(data[:end])
                self.printed += end
                if ended and len(data) < CHUNK and not data.endswith(b"\n"):
                    write(b"\n")
                if end < len(data):
                    break


class Lanes:
    """A run of a table of stages."""

    def __init__(
        self,
        stages: Sequence[Stage],
        out: Path,
        places: Mapping[str, str],
        *,
        passed: Optional[Path] = None,
        digest: Callable[[Stage], str] = lambda _: "",
        ended: Callable[[Stage], None] = lambda _: None,
    ) -> None:
        """Prepare a run.

        Logs go to `out`, `places` are filled into commands, and `passed` is the directory that remembers what passed.
        `digest` returns a digest of the inputs of a stage, or nothing; `ended` is called after each stage.
        """
        self.stages, self.out, self.places = {stage.name: stage for stage in stages}, out, places
        self.passed, self.digest, self.notify = passed, digest, ended
        self.pending: List[Stage] = []
        self.running: List[Run] = []
        self.printing: Optional[Run] = None
        self.results: List[str] = []
        self.failed = self.skipped = self.unchanged = 0
        self.stop = False
        self.use_passed = False
        self.version = ""
        self.begun = time.monotonic()

    def run(self, chosen: Sequence[str] = (), *, everything: bool = False, version: str = "") -> int:
        """Run all stages, or those that are chosen and those that they need; return the exit status."""
        self.version, self.use_passed = version, not chosen and not everything
        for name in chosen:
            if name not in self.stages:
                self.failed += 1
                self.results.append(f"{name}: FAILED: no stage has this name")
        wanted = self.with_needs(chosen) if chosen else {*self.stages}
        optional = {*chosen, *(self.stages if everything else ())}
        self.pending = [
            stage for name, stage in self.stages.items() if name in wanted and (not stage.optional or name in optional)
        ]
        adopt_orphans()  # they have left the session of their stage
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self.interrupt)
        try:
            while self.running or (self.pending and not self.stop):
                self.step()
        finally:
            self.end_all()
            self.summarize()
        return 130 if self.stop else int(self.failed > 0)

    def with_needs(self, names: Sequence[str]) -> Set[str]:
        """Return stages and all that they need."""
        found: Set[str] = set()
        missing = [name for name in names if name in self.stages]
        while missing:
            name = missing.pop()
            if name not in found:
                found.add(name)
                missing += self.stages[name].needs
        return found

    def interrupt(self, number: int, _frame: object) -> None:
        """Start no further stage, and end the running ones."""
        if not self.stop:
            self.failed += 1
            self.results.append(f"interrupted by {signal.Signals(number).name}")
        self.stop = True

    def step(self) -> None:
        """Start what can start, print what is new, and notice what has ended."""
        while not self.stop and len(self.running) < LANES and (stage := self.next_stage()):
            self.pending.remove(stage)
            self.start(stage)
        if not self.running and self.pending and not self.stop:
            self.failed += 1
            self.results.append(f"FAILED: these stages wait for each other: {[stage.name for stage in self.pending]}")
            self.pending.clear()
        time.sleep(PAUSE if self.running else 0)
        for run in self.running:
            run.enforce_cap(stop=self.stop)
        if self.printing:
            self.printing.print_new()
        for pid, status in exited():
            for run in [run for run in self.running if run.pid == pid]:
                run.process.returncode = status
                self.end(run, status)
        if self.printing is None and self.running:
            self.show(self.running[0])

    def next_stage(self) -> Optional[Stage]:
        """Choose the first stage that may run now; one of two lanes prefers what waits for the network."""
        running = [run.stage for run in self.running]
        waiting = {stage.name for stage in (*self.pending, *running)}
        busy = {thing for stage in running for thing in stage.apart}
        ready = [
            stage for stage in self.pending if not waiting & {*stage.needs, *stage.after} and not busy & {*stage.apart}
        ]
        if any(stage.quiet for stage in running):
            ready = [stage for stage in ready if stage.network]
        elif running:
            ready = [stage for stage in ready if not stage.quiet]
        preferred = bool(running) and not any(stage.network for stage in running)
        return next((stage for stage in ready if stage.network == preferred), ready[0] if ready else None)

    def start(self, stage: Stage) -> None:
        """Start a stage, unless it cannot run or is unchanged since it passed."""
        log = self.out / f"{stage.name}.log"
        inputs = self.digest(stage) if self.passed and stage.paths else ""
        before = self.last_pass(stage, inputs) if self.use_passed else ""
        if stage.root and os.geteuid():
            self.skipped += 1
            self.finish(stage, "skipped: root runs this")
        elif before:
            self.unchanged += 1
            self.finish(stage, f"unchanged since PASS {before}")
        else:
            try:
                run = Run(stage, [word.format(**self.places) for word in stage.command], log, inputs)
            except OSError as error:
                self.failed += 1
                self.finish(stage, f"FAILED: {error}")
                return
            self.running.append(run)
            if self.printing:
                say(f"\n== stage {stage.name} (cap {stage.cap} s) started; its output follows later; log: {log}\n")
            else:
                self.show(run)

    def show(self, run: Run) -> None:
        """Print the output of a stage from now on, and what it has written before."""
        self.printing = run
        say(f"\n== stage {run.stage.name} (cap {run.stage.cap} s)")
        run.print_new()

    def end(self, run: Run, status: int) -> None:
        """Print and count the result of a stage that has ended."""
        send(signal.SIGKILL, members(run.pid))  # what the stage has left behind
        if run is not self.printing:
            say(f"\n== output of stage {run.stage.name}")
        run.print_new(ended=True)
        self.printing = None if run is self.printing else self.printing
        self.running.remove(run)
        lines = run.log.read_text(encoding="utf-8", errors="replace").splitlines()
        omitted = [line for line in lines if line.startswith("skipped  ")]
        self.skipped += len(omitted)
        self.results += [f"{run.stage.name}: {line}" for line in omitted]
        if run.late:
            self.failed += 1
            result = f"FAILED: not done within {run.stage.cap} s"
        elif run.kill_at:
            result = f"interrupted after {run.seconds()} s"
        elif status == SKIP:
            self.skipped += 1
            result = f"skipped: {lines[-1] if lines else ''}"
        elif status:
            self.failed += 1
            ended = f"with exit status {status}" if status > 0 else f"by signal {-status}"
            result = f"FAILED {ended} in {run.seconds()} s"
        else:
            result = f"ok in {run.seconds()} s"
            if not omitted:
                self.record(run)
        self.notify(run.stage)
        self.finish(run.stage, result)

    def finish(self, stage: Stage, result: str) -> None:
        self.results.append(f"{stage.name}: {result}")
        say(f"== {stage.name}: {result}")

    # what passed before

    def last_pass(self, stage: Stage, inputs: str) -> str:
        """Say when a stage passed with the same inputs; empty if it did not."""
        try:
            record: Dict[str, str] = json.loads(self.record_of(stage).read_text(encoding="utf-8"))
            return f"at {record['when']} ({record['version']})" if inputs and record["inputs"] == inputs else ""
        except (OSError, ValueError, LookupError, TypeError):
            return ""

    def record(self, run: Run) -> None:
        """Remember that a stage passed, unless its inputs changed meanwhile."""
        if not self.passed or not run.inputs or run.inputs != self.digest(run.stage):
            return
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        file = self.record_of(run.stage)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.{os.getpid()}")
        part.write_text(json.dumps({"inputs": run.inputs, "when": when, "version": self.version}), encoding="utf-8")
        part.replace(file)

    def record_of(self, stage: Stage) -> Path:
        return (self.passed or self.out) / f"{stage.name}.json"

    # the end

    def end_all(self) -> None:
        """Leave no process behind: neither a stage nor what left the session of its stage."""
        end = time.monotonic() + GRACE  # a process that waits for a device does not end
        while (left := descendants({os.getpid()})) and time.monotonic() < end:
            send(signal.SIGKILL, left)
            time.sleep(PAUSE)
            list(exited())

    def summarize(self) -> None:
        seconds = round(time.monotonic() - self.begun)
        counts = f"{self.failed} failed, {self.skipped} skipped, {self.unchanged} unchanged since PASS"
        say(f"\n== summary after {seconds} s: {counts}; logs are in {self.out}")
        say("\n".join(self.results))


def say(text: str) -> None:
    """Print a line about the run."""
    write(f"{text}\n".encode())


def write(data: bytes) -> None:
    """Print what a stage has written, as it is."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
