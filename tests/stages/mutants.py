"""Do the tests notice a small change of meaning? Mutants of judge, model, facts, host, author/spec and checks.

    python tests/stages/mutants.py CACHE [--strict] [--sample N] [--seed N] [--only GLOB] [--tests GLOB] [--stale]

The sample of 300 mutation points is drawn by mutant_points.py: comparisons, numbers off by one, `and` and `or`, `not`,
constants, returned values, dropped branches. One copy of the checkout holds all of them, and a switch selects one. A
first run of the tests records which tests reach which point; it is kept in CACHE for as long as the checkout is the
same. Then each mutant is tried with the tests that reach it, the quickest and most specific first, in a forked process,
until one fails. A mutant that no test reaches survives.

Survivors that are known, with the reason, are listed in mutants_survivors.yaml. The exit status is 1 where a test that
noticed a mutant fails without it too. `--strict` makes it 1 too where a survivor is not listed, a listed one does not
survive, or more than 15 of 100 survive. `--stale` is for work on the tests: it accepts every record in CACHE although
files have changed, and does not try again what was killed before. Remove a record to make it again. `--tests` reads the
test files that match alone.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import mutant_points
import yaml
from mutant_points import Point

TOP = Path(__file__).parents[2]
SURVIVORS = Path(__file__).with_name("mutants_survivors.yaml")
SAMPLE = 300
MAX_SURVIVING = 0.15
MAX_SECONDS = 30.0  # processor time that the tests of one mutant take without it; the rest of them is not tried
# Tests that read the sources themselves, or count what is imported and executed: the switch is in their way.
UNFIT = (
    *(
        "tests/test_*.py",
        "tests/stages/*",
        "tests/nodespec/test_cost.py",
        "tests/nodespec/test_laws.py",
        "tests/pages/*",
    ),
    *("tests/nodespec/test_who_writes.py", "tests/nodespec/test_fuzzed.py"),
)
Tests = Dict[str, Tuple[bool, float]]


class Record(NamedTuple):
    """Which tests of a file reach which points, by key; what its collection reaches; outcome and duration of tests."""

    reached: Dict[str, List[str]]
    collected: List[str]
    tests: Tests


class Attempt(NamedTuple):
    """What came of a mutant: killed, timeout, survived or unreached; and the test that killed it."""

    point: Point
    outcome: str
    test: str


def make_job(number: int, tests: Sequence[str], seconds: float, *, first: bool = True) -> Dict[str, Any]:
    """Return a job of mutant_plugin.py for tests that take so many seconds without the mutant."""
    limits = {"timeout": 10 + 3 * seconds, "patience": 120 + 10 * seconds}
    return {"number": number, "tests": [*tests], "first": first, **limits}


def list_files() -> List[str]:
    """Return the files of the checkout, those that are new included."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and os.path.lexists(TOP / name)]


def copy_checkout(folder: Path, sample: Sequence[Point]) -> None:
    """Copy the checkout with all mutants of the sample."""
    numbered: Dict[str, List[Tuple[int, Point]]] = {}
    for number, point in enumerate(sample):
        numbered.setdefault(point.file, []).append((number, point))
    for name in list_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TOP / name, folder / name, follow_symlinks=False)
        if name in numbered:
            (folder / name).write_bytes(mutant_points.instrument((TOP / name).read_bytes(), numbered[name]))


class Runner:
    """Runs jobs of mutant_plugin.py in a copy of the checkout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, jobs: Sequence[Dict[str, Any]], files: Sequence[str], log: str = "") -> Iterator[Dict[str, Any]]:
        """Yield the result of each job, as soon as it is there."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "jobs").write_text(json.dumps(jobs))
            results = Path(folder, "results")
            results.touch()
            paths = f"{self.folder}{os.pathsep}{Path(__file__).parent}"
            environment = {
                **os.environ,
                "PYTHONPATH": paths,
                "PYTHONDONTWRITEBYTECODE": "1",
                "MUTANT_JOBS": f"{folder}/jobs",
                "MUTANT_RESULTS": str(results),
                "NODESPEC_MUTANT_LOG": log,
            }
            options = ["-q", "-s", "-n", "0", "-m", "not root", "--tb=no"]
            options += ["-p", "no:cacheprovider", "-p", "mutant_plugin"]
            command = [sys.executable, "-m", "pytest", *options, *files]
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            done = 0
            with results.open() as lines:
                while process.poll() is None or done < len(jobs):
                    line = lines.readline()
                    if line.endswith("\n"):
                        done += 1
                        yield json.loads(line)
                    elif process.poll() is not None and not line:
                        break
                    else:
                        time.sleep(0.05)
            output = process.communicate()[0]
            if done < len(jobs):
                raise RuntimeError(
                    f"pytest ended with {process.returncode} after {done} of {len(jobs)} jobs:\n{output}"
                )

    def run_alone(self, number: int, files: Sequence[str]) -> bool:
        """Return whether whole test files pass with a mutant that takes effect from the first import on."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "NODESPEC_MUTANT": str(number)}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-m", "not root", "-p", "no:cacheprovider"]
        try:
            done = subprocess.run(
                [*command, *files], cwd=self.folder, env=environment, capture_output=True, check=False, timeout=300
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0


def record_tests(
    runner: Runner, sample: Sequence[Point], cache: Path, files: Sequence[str], *, stale: bool
) -> Dict[str, Record]:
    """Run tests without a mutant, and return what each file reaches; a record in the cache is not made again."""
    keys = sorted(point.key for point in sample)
    digests = {
        name: hashlib.sha256((TOP / name).read_bytes()).hexdigest() for name in list_files() if (TOP / name).is_file()
    }
    whole = hashlib.sha256(json.dumps([digests, keys], sort_keys=True).encode()).hexdigest()
    records: Dict[str, Record] = {}
    for file in files:
        path = _record_path(cache, file)
        kept = json.loads(path.read_text()) if path.exists() else {}
        if kept and (stale or kept["whole"] == whole):
            records[file] = Record(*kept["record"])
    missing = [file for file in files if file not in records]
    made = _run_recorded(runner, sample, missing) if missing else {}
    for file, record in made.items():
        kept = {"whole": whole, "record": record}
        _record_path(cache, file).write_text(json.dumps(kept))
    return {**records, **made}


def _record_path(cache: Path, file: str) -> Path:
    return cache / f"{file.replace('/', '-')}.json"


def _run_recorded(runner: Runner, sample: Sequence[Point], files: Sequence[str]) -> Dict[str, Record]:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        log.touch()
        records = {}
        jobs = [make_job(-1, [file], 600, first=False) for file in files]
        for file, result in zip(files, runner.run(jobs, files, str(log))):
            records[file] = Record({}, [], result["tests"])
            seconds = sum(duration for _, duration in result["tests"].values())
            print(f"{file}: {len(result['tests'])} tests, {seconds:.0f} s, {result['status']}", flush=True)
        for line in dict.fromkeys(log.read_text(errors="replace").splitlines()):
            number, _, where = line.partition(" ")  # `17 tests/x.py::test_y (call)`, or the file that is collected
            test = where.rpartition(" (")[0]
            record = records.get((test or where).partition("::")[0])
            if record and test:
                record.reached.setdefault(sample[int(number)].key, []).append(test)
            elif record:
                record.collected.append(sample[int(number)].key)
    return records


def choose_tests(point: Point, records: Dict[str, Record]) -> Tuple[List[str], float]:
    """Return the tests that reach a point and pass without a mutant, in the order to try them, and their seconds."""
    reaching: Dict[str, int] = {}
    for record in records.values():
        for tests in record.reached.values():
            for test in tests:
                reaching[test] = reaching.get(test, 0) + 1
    found = []
    for record in records.values():
        for test in record.reached.get(point.key, ()):
            passed, seconds = record.tests.get(test, (False, 0.0))
            if passed:
                found.append(((seconds + 0.02) * reaching[test], test, seconds))
    chosen: List[str] = []
    total = 0.0
    for _, test, seconds in sorted(found):
        if chosen and total + seconds > MAX_SECONDS:
            break
        total += seconds
        chosen.append(test)
    return chosen, total


def try_mutants(
    runner: Runner, sample: Sequence[Point], chosen: Sequence[int], records: Dict[str, Record]
) -> Iterator[Attempt]:
    """Try the mutants of these numbers."""
    selected = {number: choose_tests(sample[number], records) for number in chosen}
    jobs = [make_job(number, tests, seconds) for number, (tests, seconds) in selected.items() if tests]
    files = sorted({test.partition("::")[0] for job in jobs for test in job["tests"]})
    for result in runner.run(jobs, files) if jobs else ():
        point = sample[result["number"]]
        killer = next((test for test, (passed, _) in result["tests"].items() if not passed), "")
        if result["status"] == "passed":
            killer = _kill_alone(runner, result["number"], point, records)
        status = {"failed": "killed", "passed": "killed" if killer else "survived"}.get(result["status"], "timeout")
        yield Attempt(point, status, killer)
    for number, (tests, _) in selected.items():
        if not tests:
            killer = _kill_alone(runner, number, sample[number], records)
            yield Attempt(sample[number], "killed" if killer else "unreached", killer)


def _kill_alone(runner: Runner, number: int, point: Point, records: Dict[str, Record]) -> str:
    """Return a test file that fails with a mutant, of those that reach it while they are collected."""
    files = [file for file, record in records.items() if point.key in record.collected]
    return next((file for file in files[:2] if not runner.run_alone(number, [file])), "")


def attempt_all(
    runner: Runner,
    sample: Sequence[Point],
    chosen: Sequence[int],
    records: Dict[str, Record],
    cache: Path,
    *,
    stale: bool,
) -> List[Attempt]:
    """Try mutants, and keep what came of each in the cache; with `stale`, keep those that were killed before."""
    path = cache / "attempts.json"
    kept: Dict[str, List[str]] = json.loads(path.read_text()) if stale and path.exists() else {}
    attempts = [
        Attempt(point, *kept[point.key])
        for point in (sample[number] for number in chosen)
        if kept.get(point.key, [""])[0] in ("killed", "timeout")
    ]
    done = {attempt.point.key for attempt in attempts}
    for attempt in try_mutants(runner, sample, [n for n in chosen if sample[n].key not in done], records):
        attempts.append(attempt)
        kept[attempt.point.key] = [attempt.outcome, attempt.test]
        path.write_text(json.dumps(kept))
        print(f"{len(attempts)} {attempt.outcome} {attempt.point.name} {attempt.test}", flush=True)
    return attempts


def find_unreliable(runner: Runner, attempts: Sequence[Attempt]) -> List[str]:
    """Return the tests that killed mutants and fail without one: their kills say nothing."""
    tests = sorted({attempt.test for attempt in attempts if "::" in attempt.test})
    if not tests:
        return []
    files = sorted({test.partition("::")[0] for test in tests})
    (result,) = runner.run([make_job(-1, tests, 600, first=False)], files)
    return [test for test in tests if not result["tests"].get(test, (False, 0))[0]]


def describe(attempt: Attempt, known: Dict[str, str]) -> str:
    """Return a line about a survivor."""
    reason = known.get(attempt.point.name, "NOT LISTED")
    return f"{attempt.outcome:10}{attempt.point.name} -> {' '.join(attempt.point.instead.split())[:60]}: {reason}"


def main() -> int:
    """Print the survivors, and return the exit status."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("cache", type=Path)
    arguments.add_argument("--strict", action="store_true", help="demand few survivors, and a reason for each")
    arguments.add_argument("--sample", type=int, default=SAMPLE, help="how many points are drawn")
    arguments.add_argument("--only", default="*", help="names of points, as a glob")
    arguments.add_argument("--tests", default="*", help="test files, as a glob")
    arguments.add_argument("--stale", action="store_true", help="accept earlier records of the same test files")
    said = arguments.parse_args()
    begun = time.monotonic()
    known: Dict[str, str] = yaml.safe_load(SURVIVORS.read_text()) or {}
    sample = mutant_points.draw_points(TOP)[: said.sample]
    cache = said.cache / "mutants"
    cache.mkdir(parents=True, exist_ok=True)
    tests = [name for name in fnmatch.filter(list_files(), "tests/*test_*.py") if fnmatch.fnmatch(name, said.tests)]
    tests = [name for name in tests if not any(fnmatch.fnmatch(name, glob) for glob in UNFIT)]
    chosen = [number for number, point in enumerate(sample) if fnmatch.fnmatch(point.name, said.only)]
    with tempfile.TemporaryDirectory(prefix="nodespec-mutants-") as folder:
        copy_checkout(Path(folder), sample)
        runner = Runner(Path(folder))
        records = record_tests(runner, sample, cache, tests, stale=said.stale)
        broken = [test for record in records.values() for test, (passed, _) in record.tests.items() if not passed]
        print("".join(f"fails without a mutant, and is left out: {test}\n" for test in broken), end="")
        print(f"tests recorded after {time.monotonic() - begun:.0f} s", flush=True)
        attempts = attempt_all(runner, sample, chosen, records, cache, stale=said.stale)
        unreliable = find_unreliable(runner, attempts)
    print("".join(f"fails without a mutant: {name}\n" for name in unreliable), end="")
    alive = [attempt for attempt in attempts if attempt.outcome in ("survived", "unreached")]
    print("".join(f"{describe(attempt, known)}\n" for attempt in alive), end="")
    unlisted = [attempt for attempt in alive if attempt.point.name not in known]
    gone = sorted(set(known) - {attempt.point.name for attempt in alive}) if len(chosen) == SAMPLE else []
    print("".join(f"listed, but does not survive: {name}\n" for name in gone), end="")
    late = sum(attempt.outcome == "timeout" for attempt in attempts)
    print(
        f"{len(attempts)} mutants in {time.monotonic() - begun:.0f} s: {len(alive)} survive "
        f"({100 * len(alive) / max(1, len(attempts)):.1f} %), {len(unlisted)} of them not listed; {late} never ended"
    )
    return int(
        bool(unreliable)
        or (said.strict and (bool(unlisted) or bool(gone) or len(alive) > MAX_SURVIVING * len(attempts)))
    )


if __name__ == "__main__":
    sys.exit(main())
