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
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

import mutant_points
import yaml
from mutant_points import Point

TOP = Path(__file__).parents[2]
SURVIVORS = Path(__file__).with_name("mutants_survivors.yaml")
SAMPLE = 300
MAX_SURVIVING = 0.15
MAX_SECONDS = 20.0  # processor time that the tests of one mutant take without it; the rest of them is not tried
ALONE = int(
    os.environ.get("MUTANTS_ALONE", "2")
)  # test files that run as a whole, since collecting them reaches a mutant
PER_FILE = 3  # tests of each file that are tried before further ones of any file
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
    return {"number": number, "tests": [*tests], "first": first, "last": False, **limits}


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
            options = ["-q", "-s", "-n", "0", "-m", "not root", "--tb=no", "--exhaustive"]
            options += ["-p", "no:cacheprovider", "-p", "mutant_plugin"]
            command = [sys.executable, "-m", "pytest", *options, *files]
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            with results.open() as file:
                text = ""
                while process.poll() is None:
                    time.sleep(0.1)
                    *lines, text = (text + file.read()).split("\n")
                    yield from map(json.loads, lines)
                yield from map(json.loads, (text + file.read()).splitlines())
            output = process.communicate()[0]
            if process.returncode:
                raise RuntimeError(f"pytest ended with {process.returncode}:\n{output}")

    def run_alone(self, number: int, files: Sequence[str]) -> bool:
        """Return whether whole test files pass with a mutant that takes effect from the first import on."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "NODESPEC_MUTANT": str(number)}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "--exhaustive", "-m", "not root"]
        command += ["-p", "no:cacheprovider"]
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
    for file, record in _run_recorded(runner, sample, missing) if missing else ():
        records[file] = record
        _record_path(cache, file).write_text(json.dumps({"whole": whole, "record": record}))
    return records


def _record_path(cache: Path, file: str) -> Path:
    return cache / f"{file.replace('/', '-')}.json"


def _run_recorded(runner: Runner, sample: Sequence[Point], files: Sequence[str]) -> Iterator[Tuple[str, Record]]:
    jobs = [make_job(-1, [file], 600, first=False) for file in files]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        log.touch()
        hits: Dict[str, Dict[str, None]] = {}  # lines of each test file
        with log.open(errors="replace") as lines:
            for file, result in zip(files, runner.run(jobs, files, str(log))):
                for line in lines:
                    hits.setdefault(line.partition(" ")[2].partition("::")[0].strip(), {})[line.strip()] = None
                seconds = sum(duration for _, duration in result["tests"].values())
                print(f"{file}: {len(result['tests'])} tests, {seconds:.0f} s, {result['status']}", flush=True)
                yield file, _make_record(sample, hits.pop(file, {}), result["tests"])


def _make_record(sample: Sequence[Point], lines: Iterable[str], tests: Tests) -> Record:
    """Return the record of a test file: lines are `17 tests/x.py::test_y (call)`, or `17 tests/x.py` at collection."""
    record = Record({}, [], tests)
    for line in lines:
        number, _, where = line.partition(" ")
        test, phase, _ = where.rpartition(" (")
        if phase:
            record.reached.setdefault(sample[int(number)].key, []).append(test)
        else:
            record.collected.append(sample[int(number)].key)
    for tests_ in record.reached.values():
        tests_[:] = dict.fromkeys(tests_)
    return record


def choose_tests(point: Point, records: Dict[str, Record], limit: float) -> Tuple[List[str], float]:
    """Return the tests that reach a point and pass without a mutant, in the order to try them, and their seconds.

    The quickest of each test file come first, since tests of one file often notice the same.
    """
    found: List[Tuple[int, float, str]] = []
    for record in records.values():
        passing = ((*record.tests.get(test, (False, 0.0)), test) for test in record.reached.get(point.key, ()))
        quickest = sorted((seconds, test) for passed, seconds, test in passing if passed)
        found += ((rank // PER_FILE, seconds, test) for rank, (seconds, test) in enumerate(quickest))
    chosen: List[str] = []
    total = 0.0
    for _, seconds, test in sorted(found):
        if chosen and total + seconds > limit:
            break
        total += seconds
        chosen.append(test)
    return chosen, total


def try_mutants(
    runner: Runner, sample: Sequence[Point], chosen: Sequence[int], records: Dict[str, Record], limit: float
) -> Iterator[Attempt]:
    """Try the mutants of these numbers."""
    short = {number: choose_tests(sample[number], records, limit / 10) for number in chosen}
    long = {number: choose_tests(sample[number], records, limit) for number in chosen}
    jobs = [make_job(number, tests, seconds) for number, (tests, seconds) in short.items() if tests]
    for number, (tests, seconds) in long.items():
        more = tests[len(short[number][0]) :]
        jobs += [make_job(number, more, seconds)] if more else []
    last = {job["number"]: job for job in jobs}
    for job in last.values():
        job["last"] = True
    files = sorted({test.partition("::")[0] for job in jobs for test in job["tests"]})
    for result in runner.run(jobs, files) if jobs else ():
        number, status = result["number"], result["status"]
        killer = next((test for test, (passed, _) in result["tests"].items() if not passed), "")
        if status == "passed" and not result["last"]:
            continue  # more tests follow
        if status == "passed":
            killer = _kill_alone(runner, number, sample[number], records)
        outcome = {"failed": "killed", "passed": "killed" if killer else "survived"}.get(status, "timeout")
        yield Attempt(sample[number], outcome, killer)
    for number in chosen:
        if number not in last:
            killer = _kill_alone(runner, number, sample[number], records)
            yield Attempt(sample[number], "killed" if killer else "unreached", killer)


def _kill_alone(runner: Runner, number: int, point: Point, records: Dict[str, Record]) -> str:
    """Return a test file that fails with a mutant, of those that reach it while they are collected."""
    files = [file for file, record in records.items() if point.key in record.collected]
    return next((file for file in files[:ALONE] if not runner.run_alone(number, [file])), "")


def attempt_all(
    runner: Runner,
    sample: Sequence[Point],
    chosen: Sequence[int],
    records: Dict[str, Record],
    cache: Path,
    *,
    stale: bool,
    limit: float,
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
    for attempt in try_mutants(runner, sample, [n for n in chosen if sample[n].key not in done], records, limit):
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


def _matches(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name, glob) for glob in globs)


def main() -> int:
    """Print the survivors, and return the exit status."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("cache", type=Path)
    arguments.add_argument("--strict", action="store_true", help="demand few survivors, and a reason for each")
    arguments.add_argument("--sample", type=int, default=SAMPLE, help="how many points are drawn")
    arguments.add_argument("--only", nargs="+", default=["*"], help="names of points, as globs")
    arguments.add_argument("--tests", nargs="+", default=["*"], help="test files, as globs")
    arguments.add_argument("--stale", action="store_true", help="accept earlier records of the same test files")
    arguments.add_argument("--seconds", type=float, default=MAX_SECONDS, help="for the tests of one mutant")
    said = arguments.parse_args()
    begun = time.monotonic()
    known: Dict[str, str] = yaml.safe_load(SURVIVORS.read_text()) or {}
    sample = mutant_points.draw_points(TOP)[: said.sample]
    cache = said.cache / "mutants"
    cache.mkdir(parents=True, exist_ok=True)
    tests = [name for name in fnmatch.filter(list_files(), "tests/*test_*.py") if _matches(name, said.tests)]
    tests = [name for name in tests if not _matches(name, UNFIT)]
    chosen = [number for number, point in enumerate(sample) if _matches(point.name, said.only)]
    with tempfile.TemporaryDirectory(prefix="nodespec-mutants-") as folder:
        copy_checkout(Path(folder), sample)
        runner = Runner(Path(folder))
        records = record_tests(runner, sample, cache, tests, stale=said.stale)
        broken = [test for record in records.values() for test, (passed, _) in record.tests.items() if not passed]
        print("".join(f"fails without a mutant and is excluded: {test}\n" for test in broken), end="")
        print(f"tests recorded after {time.monotonic() - begun:.0f} s", flush=True)
        attempts = attempt_all(runner, sample, chosen, records, cache, stale=said.stale, limit=said.seconds)
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
