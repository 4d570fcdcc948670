"""A pytest plugin that collects once and forks for each job: to record which tests reach a mutant, or to try one.

The environment variable MUTANT_JOBS names a file with a JSON list of jobs, MUTANT_RESULTS the file that receives a JSON
line for each. A job has `number` (of the mutant, or -1), `tests` (node ids, or one test file), `timeout` in seconds of
processor time, `patience` in seconds of the clock, and `first`: whether to stop at the first test that fails. A result
has `number`, `status` (`passed`, `failed` or `timeout`), and `tests`: the outcome and the processor time of each test.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Dict, List, NoReturn, Optional, Set, Tuple

if TYPE_CHECKING:
    import pytest

Job = Dict[str, Any]
PAUSE = 0.02  # seconds between two checks whether a child has ended
SWITCH = vars(sys)  # holds `mutant` and `reached`, as mutant_points.py writes them into the copy
SWITCH.update(mutant=-1, reached=set())


class Outcomes:
    """The worst outcome of each test, and its processor time with that of the processes that it ran."""

    def __init__(self) -> None:
        self.tests: Dict[str, Tuple[bool, float]] = {}
        self.begun = 0.0

    def pytest_runtest_logstart(self) -> None:
        """Start to measure a test."""
        self.begun = sum(os.times()[:4])

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Add the time of a test."""
        passed, _ = self.tests.get(nodeid, (True, 0.0))
        self.tests[nodeid] = (passed, round(sum(os.times()[:4]) - self.begun, 3))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the report of a phase: setup, call or teardown."""
        passed, seconds = self.tests.get(report.nodeid, (True, 0.0))
        self.tests[report.nodeid] = (passed and not report.failed, seconds)


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Tell the switch which file reaches a mutant while it is collected."""
    os.environ["PYTEST_CURRENT_TEST"] = collector.nodeid


def pytest_collection_finish() -> None:
    """Tell the switch that no file is collected any more."""
    os.environ.pop("PYTEST_CURRENT_TEST", None)


def pytest_runtest_logstart() -> None:
    """Forget which mutants were reached before this test."""
    reached: Set[int] = SWITCH["reached"]
    reached.clear()


def pytest_runtestloop(session: pytest.Session) -> bool:
    """Do the jobs instead of running all tests."""
    with open(os.environ["MUTANT_JOBS"], encoding="utf-8") as file:
        jobs: List[Job] = json.load(file)
    items: Dict[str, List[pytest.Item]] = {}
    for item in session.items:
        for name in (item.nodeid, item.nodeid.partition("::")[0]):
            items.setdefault(name, []).append(item)
    gc.collect()
    gc.freeze()  # a collection in a child would copy all pages
    ended: Set[int] = set()
    for job in jobs:
        if job["number"] in ended:
            continue
        result = _attempt(session, job, [item for name in job["tests"] for item in items.get(name, [])])
        if job["number"] >= 0 and result["status"] != "passed":
            ended.add(job["number"])
        with open(os.environ["MUTANT_RESULTS"], "a", encoding="utf-8") as file:
            file.write(f"{json.dumps({'number': job['number'], 'last': job['last'], **result})}\n")
    return True


def _attempt(session: pytest.Session, job: Job, items: List[pytest.Item]) -> Dict[str, Any]:
    """Run the tests in a child of this process, which dies at the timeout with all that it started."""
    folder = tempfile.mkdtemp(prefix="mutant-")
    child = os.fork()
    if not child:
        _run_tests(session, job, items, folder)
    ends = time.monotonic() + float(job["patience"])
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None and time.monotonic() < ends:
        time.sleep(PAUSE)
    late = time.monotonic() >= ends
    with suppress(OSError):  # it had no time to lead a group, or has ended with all others
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    tests: Dict[str, Tuple[bool, float]] = {}
    try:
        with open(f"{folder}/result", encoding="utf-8") as file:
            tests = json.load(file)
    except (OSError, ValueError):
        late = True  # the child has died of what it tested
    shutil.rmtree(folder, ignore_errors=True)
    failed = any(not passed for passed, _ in tests.values())
    return {"status": "failed" if failed else "timeout" if late else "passed", "tests": tests}


def _run_tests(session: pytest.Session, job: Job, items: List[pytest.Item], folder: str) -> NoReturn:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (int(job["timeout"]), int(job["timeout"])))
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.mkdir(f"{folder}/t")
    os.environ.update(NODESPEC_MUTANT=str(job["number"]), PYTEST_DEBUG_TEMPROOT=f"{folder}/t", TMPDIR=f"{folder}/t")
    tempfile.tempdir = None
    SWITCH["mutant"] = job["number"]
    outcomes = Outcomes()
    session.config.pluginmanager.register(outcomes)
    following: List[Optional[pytest.Item]] = [*items[1:], None]
    for item, later in zip(items, following):
        item.ihook.pytest_runtest_protocol(item=item, nextitem=later)
        if job["first"] and not all(passed for passed, _ in outcomes.tests.values()):
            break
    with open(f"{folder}/result", "w", encoding="utf-8") as file:
        json.dump(outcomes.tests, file)
    os._exit(0)
