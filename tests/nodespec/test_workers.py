"""Worker processes: what a dead one costs, and that none outlives nodespec."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, List, Sequence
from xml.etree import ElementTree as ET

import pytest
from made_recordings import write_recordings

from nodespec.host.machine import Machine
from nodespec.model.observation import Unknown
from nodespec.output.writer import list_formats
from nodespec.run.workers import ITEMS_AHEAD, MAX_IDLE_DEATHS, Pool, Work

TOP = Path(__file__).parents[2]
COUNT = 70  # more than are judged in one process
FAILING = """
import os, signal, sys, time
from nodespec.run import fleet
from nodespec.__main__ import main

def judged(*args):
    report = real(*args)
    if os.path.basename(args[1]) in sys.argv[3].split(","):
        exec(WAYS[sys.argv[2]])
    return report

WAYS = {
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "SIGSEGV": "os.kill(os.getpid(), signal.SIGSEGV)",
    "exit": "os._exit(3)",
    "raise": "raise KeyError('a node' + chr(27) + '[2J')",
    "memory": "raise MemoryError",
    "wait": "open(f'{args[1]}.begun', 'w').close(); time.sleep(600)",
}
real, fleet.judge_recording = fleet.judge_recording, judged
os.sched_getaffinity = lambda pid: {*range(int(sys.argv[1]))}
sys.exit(main(sys.argv[4:]))
"""
ENDINGS = {
    "SIGKILL": "was killed by SIGKILL",
    "SIGSEGV": "was killed by SIGSEGV",
    "exit": "ended with exit status 3",
    "raise": "KeyError",
    "memory": "MemoryError",
}


def recordings(folder: Path, count: int = COUNT) -> str:
    return str(write_recordings(folder, count, "1Gi"))


def argv(folder: str, how: str, names: Sequence[str], *args: str, processors: int = 2) -> List[str]:
    program = [sys.executable, "-c", FAILING, str(processors), how, ",".join(names)]
    return [*program, "check", f"{folder}/spec.yaml", "--facts", folder, *args]


def check(folder: str, how: str, names: Sequence[str], *args: str, processors: int = 2) -> Dict[str, str]:
    """Run the check; what it wrote in each format, its exit status and standard error."""
    files = {name: f"{folder}/report.{name}" for name in list_formats()}
    goals = [word for name, file in files.items() for word in ("-o", f"{name}={file}")]
    done = subprocess.run(
        argv(folder, how, names, *goals, *args, processors=processors),
        env={"PYTHONPATH": str(TOP), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert all(os.path.exists(file) for file in files.values()), done.stderr
    texts = {name: Path(file).read_text() for name, file in files.items()}
    return {**texts, "exit": str(done.returncode), "stderr": done.stderr}


@pytest.mark.parametrize("how", ENDINGS)
def test_a_worker_that_dies_costs_the_host_that_it_was_judging(tmp_path: Path, how: str) -> None:
    found = check(recordings(tmp_path), how, ["033.json"])
    reports = json.loads(found["json"])["reports"]
    assert len(reports) == COUNT
    for number, report in enumerate(reports):
        outcomes = [one["outcome"] for one in report["findings"]]
        if number == 33:
            assert outcomes == ["unknown"]
            assert ENDINGS[how] in report["defect"]
            assert report["findings"][0]["parts"][0]["observed"]["reason"] == "defect"
        else:
            assert outcomes == ["fail" if number == 0 else "pass"]
            assert report["defect"] == ""
    assert f"{tmp_path}/033.json: not judged: " in found["stderr"]
    assert "\x1b" not in found["stderr"]
    assert found["exit"] == "10"  # of node-0: a defect hides no verdict


def test_a_host_that_was_not_judged_is_named_in_every_format(tmp_path: Path) -> None:
    folder = recordings(tmp_path)
    Path(folder, "000.json").unlink()
    found = check(folder, "SIGKILL", ["033.json", "069.json"])
    assert found["exit"] == "70"
    for name in list_formats():
        plain = re.sub(r"<[^>]*>|[`\\]", "", found[name]) if name != "json" else found[name]
        said = "not judged: the process that judged this host was killed by SIGKILL"
        assert plain.count(f"{said} (exit 70)") >= 2, name
        assert all(f"{folder}/{number}.json" in plain for number in ("033", "069")), name
    assert "node-33  indeterminate: not judged (exit 70), 1 unknown; 1 requirement\n" in found["text"]
    head = "INDETERMINATE: 69 hosts: 2 indeterminate, 67 conformant; exit 70: do not join: nodespec failed to judge 2"
    assert " ".join(found["text"].split()).startswith(head)
    assert found["markdown"].endswith("**exit 70**: do not join: nodespec failed to judge 2 hosts\n")
    assert "exit 70: do not join: nodespec failed to judge 1 host<" in found["html"]
    suites = ET.fromstring(found["junit"])  # noqa: S314 - nodespec's own
    assert [suite.get("hostname") for suite in suites if suite.get("errors") == "1"] == ["node-33", "node-69"]


@pytest.mark.parametrize("processors", [1, 2])
def test_every_host_may_be_lost(tmp_path: Path, processors: int) -> None:
    folder = recordings(tmp_path)
    names = [f"{number:03}.json" for number in range(COUNT)]
    found = check(folder, "SIGKILL" if processors == 2 else "raise", names, processors=processors)
    assert found["exit"] == "70"
    assert found["text"].startswith(f"INDETERMINATE: {COUNT} hosts: {COUNT} indeterminate; exit 70: do not join: ")


def test_a_few_recordings_lose_no_more(tmp_path: Path) -> None:
    folder = recordings(tmp_path, 3)
    Path(folder, "000.json").unlink()
    found = check(folder, "raise", ["001.json"])
    assert (found["exit"], json.loads(found["json"])["reports"][1]["conclusion"]) == ("70", "conformant")


def test_a_stored_report_keeps_the_exit_code(tmp_path: Path) -> None:
    folder = recordings(tmp_path, 3)
    Path(folder, "000.json").unlink()
    check(folder, "raise", ["001.json"])
    done = subprocess.run(
        [sys.executable, "-m", "nodespec", "report", f"{folder}/report.json"],
        env={"PYTHONPATH": str(TOP), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 70
    assert "not judged: KeyError" in done.stdout


def test_what_is_not_known_of_an_item_is_not_noted() -> None:
    def lost(item: str, note: object, ending: str) -> str:
        return f"{item} {note} {ending}"

    def do(item: str, _note: object) -> str:
        if item == "b":
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    assert list(Pool(Work("abc", do, lost), 2).run()) == ["a", "b None was killed by SIGKILL", "c"]


# processes


def session(leader: int) -> Dict[int, str]:
    """The processes of a session that have not ended, by number, with the state of each."""
    found = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            state, _, _, of = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(of) == leader and state != "Z":
            found[int(name)] = state
    return found


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def at_work(folder: str, *names: str) -> subprocess.Popen[str]:
    """A check whose workers are at these recordings and stay there."""
    for name in names:
        Path(folder, f"{name}.begun").unlink(missing_ok=True)
    program = subprocess.Popen(
        argv(folder, "wait", names, "-o", f"json={folder}/report.json"),
        env={"PYTHONPATH": str(TOP), "PATH": "/usr/bin:/bin"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(lambda: all(os.path.exists(f"{folder}/{name}.begun") for name in names))
    return program


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_no_worker_outlives_nodespec(tmp_path: Path, number: signal.Signals) -> None:
    program = at_work(recordings(tmp_path), "002.json", "003.json")
    assert len(session(program.pid)) == 3
    os.kill(program.pid, number)
    program.communicate(timeout=20)
    until(lambda: not session(program.pid))
    assert program.returncode == (130 if number == signal.SIGINT else -number)


def test_a_stopped_worker_does_not_outlive_nodespec(tmp_path: Path) -> None:
    program = at_work(recordings(tmp_path), "002.json", "003.json")
    for pid in session(program.pid).keys() - {program.pid}:
        os.kill(pid, signal.SIGSTOP)
    program.kill()
    program.communicate(timeout=20)
    until(lambda: not session(program.pid))


def test_each_worker_may_be_killed_at_work(tmp_path: Path) -> None:
    program = at_work(recordings(tmp_path), "002.json", "003.json")
    workers = session(program.pid).keys() - {program.pid}
    assert len(workers) == 2
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    _, error = program.communicate(timeout=20)
    assert program.returncode == 10
    assert error.count("was killed by SIGKILL") == 2
    reports = json.loads(Path(tmp_path, "report.json").read_text())["reports"]
    assert [one["host"]["name"] for one in reports if one["defect"]] == ["node-2", "node-3"]
    assert len(reports) == COUNT


def test_a_worker_without_a_host_may_be_killed_for_nothing(tmp_path: Path) -> None:
    """Only the first worker has work for long: the other is killed while it waits."""
    names = [f"{number:03}.json" for number in range(ITEMS_AHEAD * 2 + 2)]
    begun = os.path.join(tmp_path, "begun")

    def do(item: str, _note: object) -> str:
        if item == names[0]:
            until(lambda: os.path.getsize(begun) == ITEMS_AHEAD * 2 - 2)
            [other] = [pid for pid in children(os.getppid()) if pid != os.getpid()]
            time.sleep(0.2)
            os.kill(other, signal.SIGKILL)
            time.sleep(0.2)
            assert os.path.getsize(begun) == ITEMS_AHEAD * 2 - 2  # no more is begun than can be taken
        else:
            with open(begun, "a") as file:
                file.write("x")
        return item

    open(begun, "w").close()
    assert list(Pool(Work(names, do, lambda *_: "lost"), 2).run()) == names
    assert not children(os.getpid())


EARLIER: List[int] = []  # children that other tests of this process have left, such as those that read sizes


@pytest.fixture(autouse=True)
def _earlier() -> None:
    EARLIER.clear()
    EARLIER.extend(children(os.getpid()))


def children(pid: int) -> List[int]:
    found = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [one for one in found if one not in EARLIER]


def test_workers_that_die_at_once_are_not_started_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    started: List[int] = []

    def serve(self: Pool[str], *_: object) -> None:
        os._exit(len(self.workers))

    start = Pool._start_worker  # noqa: SLF001

    def counted(self: Pool[str]) -> None:
        started.append(1)
        start(self)

    monkeypatch.setattr(Pool, "_serve_requests", serve)
    monkeypatch.setattr(Pool, "_start_worker", counted)
    assert list(Pool(Work("abc", lambda item, _: item.upper(), lambda *_: "lost"), 2).run()) == ["A", "B", "C"]
    assert MAX_IDLE_DEATHS <= len(started) <= MAX_IDLE_DEATHS + 1


def test_an_abandoned_pool_leaves_no_worker() -> None:
    results = Pool(Work([str(n) for n in range(99)], lambda item, _: item, lambda *_: "lost"), 2).run()
    assert next(results) == "0"
    assert len(children(os.getpid())) == 2
    results.close()  # type: ignore[attr-defined]
    assert not children(os.getpid())


PROGRAM = """
import os, sys
from nodespec.host.machine import Machine
Machine.patience = 600
Machine().run(["/bin/sh", "-c", "trap '' TERM HUP IO; sleep 600 & echo $$ $! > $0; wait", sys.argv[1]])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_no_program_that_is_run_outlives_nodespec(tmp_path: Path, number: signal.Signals) -> None:
    file = tmp_path / "pids"
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(file)], env={"PYTHONPATH": str(TOP)}, stderr=subprocess.DEVNULL
    )
    until(lambda: file.exists() and len(file.read_text().split()) == 2)
    leader = int(file.read_text().split()[0])
    assert len(session(leader)) == 2
    time.sleep(0.1)  # the program is bound right after it was started
    program.send_signal(number)
    program.wait(20)
    until(lambda: not session(leader))


def test_a_program_that_ended_in_time_is_not_killed_afterwards(tmp_path: Path) -> None:
    """What it leaves in the background is its own affair."""
    pid = tmp_path / "pid"
    ran = Machine().run(["/bin/sh", "-c", "sleep 600 >/dev/null & echo $! > $0", str(pid)])
    left = int(pid.read_text())
    try:
        assert not isinstance(ran, Unknown)
        time.sleep(0.1)
        os.kill(left, 0)
    finally:
        os.kill(left, signal.SIGKILL)
