"""Do the tests notice a small change of meaning? Mutants of judge, model, facts, host, author/spec and checks.

    python tests/stages/mutants.py CACHE [--all] [--strict] [--share N] [--only GLOB]

Mutation points are drawn by a fixed seed: comparisons, numbers off by one, `and` and `or`, `not`, constants, returned
values, dropped branches. Messages, docstrings and types are left alone. A point is named by module, function, kind,
source text and ordinal, so that it survives edits elsewhere. Each mutant is written into a copy of the checkout and
tried with the test files of its module in a forked process, until the first test fails. By default a share of the 300
points is tried, another one each day; `--all` tries them all. Survivors that are known, with the reason, are listed in
mutants_survivors.yaml. The exit status is 1 where a test that noticed a mutant fails without it too. `--strict` makes
it 1 too where a survivor is not listed, or more than 15 of 100 survive: not the default, since the whole sample has not
been worked through yet.
"""

from __future__ import annotations

import argparse
import ast
import fnmatch
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Union

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOP = Path(__file__).parents[2]
SURVIVORS = Path(__file__).with_name("mutants_survivors.yaml")
SEED = 20261128
SAMPLE, SHARE = 300, 40
MAX_SURVIVING = 0.15
TIMEOUT = 90  # seconds that the tests of one mutant may take; then it counts as noticed, since it never ends
FOLDERS = ("nodespec/judge", "nodespec/model", "nodespec/facts", "nodespec/host", "nodespec/author/spec", "checks")
GENERAL = {  # the test files of a module, the likeliest first; the first pattern that matches counts
    "judge/clause_result": "nodespec/test_evaluation nodespec/test_good_specs nodespec/test_verify_fields",
    "judge/conclusion": "nodespec/test_conclusion nodespec/test_waivers nodespec/test_evaluation",
    "judge/evaluation": "nodespec/test_evaluation nodespec/test_good_specs nodespec/test_patterns_in_time",
    "judge/expectation": "nodespec/test_operators nodespec/test_good_specs nodespec/test_bad_specs nodespec/test_proof"
    " nodespec/test_logic",
    "judge/fleet_summary": "nodespec/test_summary reports/test_golden reports/test_streams",
    "judge/judge": "nodespec/test_evaluation nodespec/test_identity nodespec/test_alike nodespec/test_verify_fields",
    "judge/memo": "nodespec/test_alike nodespec/test_fleet",
    "judge/pattern": "nodespec/test_good_specs nodespec/test_logic nodespec/test_proof nodespec/test_bad_specs",
    "judge/waivers": "nodespec/test_waivers",
    "model/*": "reports/test_golden nodespec/test_evaluation nodespec/test_verify nodespec/test_recording"
    " nodespec/test_summary compatibility/test_earlier_versions",
    "facts/versions": "nodespec/test_versions nodespec/test_good_specs nodespec/test_proof",
    "facts/value_types": "nodespec/test_good_specs nodespec/test_bad_specs nodespec/test_proof nodespec/test_recording"
    " nodespec/test_operators",
    "facts/*": "nodespec/test_looking nodespec/test_laws nodespec/test_good_specs nodespec/test_recording"
    " nodespec/test_program",
    "host/cri": "nodespec/test_grpc checks/test_runtime checks/test_kubelet",
    "host/grpc": "nodespec/test_grpc checks/test_runtime",
    "host/peer": "nodespec/test_peer nodespec/test_grpc",
    "host/pseudofs": "nodespec/test_pseudofs nodespec/test_masked_paths",
    "host/lifeline": "nodespec/test_looking nodespec/test_workers",
    "host/*": "nodespec/test_hostile_trees nodespec/test_resting nodespec/test_looking nodespec/test_tree_contract"
    " checks/test_files checks/test_commands nodespec/test_identity checks/test_runtime nodespec/test_peer",
    "author/spec/sysspec": "nodespec/test_sysspec",
    "author/spec/json_schema": "nodespec/test_schema nodespec/test_operators",
    "author/spec/precompiled": "nodespec/test_ahead",
    "author/spec/satisfiability": "nodespec/test_proof nodespec/test_bad_specs nodespec/test_gaps",
    "author/spec/gaps": "nodespec/test_gaps",
    "author/spec/*": "nodespec/test_good_specs nodespec/test_bad_specs nodespec/test_schema specs/test_library"
    " nodespec/test_context_defaults nodespec/test_proof",
    "checks/_boot*": "checks/test_boot checks/test_kernel_at_rest nodespec/test_boot_formats",
    "checks/_cgroups*": "checks/test_cgroups checks/test_cgroups_at_rest checks/test_units",
    "checks/_kernel*": "checks/test_kernel checks/test_kernel_at_rest checks/test_kernel_inference checks/test_boot"
    " checks/test_modules",
    "checks/_mod*": "checks/test_modules checks/test_modules_at_rest checks/test_kernel",
    "checks/_runtime*": "checks/test_runtime checks/test_runtime_at_rest",
    "checks/_swap*": "checks/test_swap checks/test_swap_at_rest",
    "checks/_sysctl*": "checks/test_sysctl checks/test_sysctl_at_rest checks/test_sysctl_values",
    "checks/_tuned": "checks/test_sysctl_at_rest",
    "checks/_systemd*": "checks/test_units checks/test_swap_at_rest checks/test_runtime_at_rest",
    "checks/_services*": "checks/test_units",
    "checks/_init*": "checks/test_units checks/test_os",
    "checks/_openrc": "checks/test_units",
    "checks/_os_release": "checks/test_os",
    "checks/_sqlite": "checks/test_sqlite checks/test_rpm",
    "checks/_*": "checks/test_packages checks/test_rpm checks/test_os checks/test_commands checks/test_cpu"
    " nodespec/test_identity",
    "checks/memory": "specs/test_fit_node nodespec/test_recording",
}
CASES = "faults/test_fault_cases"  # tried last, for families

COMPARISONS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
Shape = Union[ast.FunctionDef, ast.AsyncFunctionDef]


class Point(NamedTuple):
    """One change: the file, the function, what kind, the text that it replaces, which of several alike, and by what."""

    file: str
    function: str
    kind: str
    text: str
    ordinal: int
    start: int
    end: int
    instead: str

    @property
    def name(self) -> str:
        """By what it is known in the list of survivors."""
        return f"{self.file} {self.function} {self.kind} `{' '.join(self.text.split())}` {self.ordinal}"


class Tried(NamedTuple):
    """What came of a mutant: killed, survived, timeout or unusable (it does not compile); the test that killed it."""

    point: Point
    outcome: str
    test: str


# the points


def points(file: Path, top: Path) -> Iterator[Point]:
    """Every point of a module, in the order of its source."""
    source = file.read_bytes()
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    seen: Dict[tuple[str, str, str], int] = {}
    for function, node, kind, instead in _changes(ast.parse(source)):
        start = lines[node.lineno - 1] + node.col_offset
        end = lines[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        text = source[start:end].decode()
        ordinal = seen[function, kind, text] = seen.get((function, kind, text), -1) + 1
        made = instead(text) if callable(instead) else instead
        yield Point(str(file.relative_to(top)), function, kind, text, ordinal, start, end, made)


def _changes(tree: ast.Module) -> Iterator[tuple[str, ast.expr, str, str]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    yield from _of_function(f"{node.name}.{inner.name}", inner)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _of_function(node.name, node)


def _of_function(name: str, function: Shape) -> Iterator[tuple[str, ast.expr, str, str]]:
    for statement in function.body:
        if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):  # a docstring
            for node in _walked(statement):
                for kind, place, instead in _of(node):
                    yield name, place, kind, instead


def _walked(node: ast.AST) -> Iterator[ast.AST]:
    """A statement and what is below it, but messages, annotations and what is only raised or cast."""
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list") or isinstance(node, (ast.Raise, ast.JoinedStr)):
            continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, ast.AST):
                yield from _walked(one)


def _of(node: ast.AST) -> Iterator[tuple[str, ast.expr, str]]:
    """What may be changed at a node: the kind, the expression that is replaced, and by what."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
        yield "comparison", node, f"({left} {COMPARISONS[type(node.ops[0])]} {right})"
    elif isinstance(node, ast.BoolOp):
        word = " or " if isinstance(node.op, ast.And) else " and "
        yield "boolean", node, f"({word.join(f'({ast.unparse(one)})' for one in node.values)})"
        yield "dropped", node, f"({ast.unparse(node.values[0])})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not", node, f"bool({ast.unparse(node.operand)})"
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "constant", node, str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield "number", node, f"({node.value} + 1)"
        yield "number less", node, f"({node.value} - 1)"
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield "returned", node.value, "None"
    elif isinstance(node, (ast.If, ast.IfExp)):
        yield "branch never", node.test, f"(({ast.unparse(node.test)}) and False)"
        yield "branch always", node.test, f"(({ast.unparse(node.test)}) or True)"


def drawn(top: Path) -> List[Point]:
    """All points, in the order in which the seed draws them: the first that exist are the sample."""
    files = sorted(file for folder in FOLDERS for file in (top / folder).glob("*.py") if file.name != "__init__.py")
    every = [point for file in files for point in points(file, top)]
    # an order by each point's own name, so that one which is new or gone moves no other
    return sorted(every, key=lambda point: random.Random(f"{SEED} {point.name}").random())  # noqa: S311 - a sample


def tests_of(point: Point, top: Path) -> List[str]:
    """The test files of a point's module that are there."""
    module = point.file.removeprefix("nodespec/").removesuffix(".py")
    family = module.removeprefix("checks/")
    files = next((names for glob, names in GENERAL.items() if fnmatch.fnmatch(module, glob)), "")
    names = files.split() or [f"checks/test_{family}", f"checks/test_{family}_at_rest"]
    names += [CASES] if module.startswith("checks/") else []
    return [f"tests/{name}.py" for name in names if (top / f"tests/{name}.py").exists()]


# trying them


RUNNER = """
import json, os, signal, sys
sys.path.insert(0, os.getcwd())
import pytest, _pytest.assertion.rewrite, hypothesis, yaml, jsonschema
import re, subprocess, threading, unittest.mock, tempfile, email.message, html.parser, importlib.resources
from hypothesis import settings
from hypothesis import strategies
settings.register_profile("mutants", deadline=None, database=None, max_examples=50, derandomize=True)
settings.load_profile("mutants")
class Failures:
    def __init__(self):
        self.names = []

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.names.append(report.nodeid)

    def pytest_collectreport(self, report):
        if report.failed:
            self.names.append(report.nodeid)

sys.stdout.write("ready\\n"); sys.stdout.flush()
for line in sys.stdin:
    job = json.loads(line)
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        signal.alarm(job["timeout"])
        failures = Failures()
        options = ["-q", "-n", "0", "-p", "no:cacheprovider", "-m", "not root", "--tb=no",
                   "-W", "ignore::pytest.PytestAssertRewriteWarning", *job["options"]]
        status = int(pytest.main([*options, *job["tests"]], plugins=[failures]))
        os.write(tell, json.dumps(failures.names[:200]).encode()[:60000])
        os._exit(status)
    os.close(tell)
    status = os.waitpid(child, 0)[1]
    try:
        os.killpg(child, signal.SIGKILL)
    except OSError:
        pass
    os.set_blocking(told, False)
    try:
        names = os.read(told, 65536)
    except OSError:
        names = b""
    os.close(told)
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    sys.stdout.write(json.dumps([code, json.loads(names or b"[]")]) + "\\n"); sys.stdout.flush()
"""


class Worker:
    """A copy of the checkout, and a process with the libraries of the tests imported, which forks for each mutant."""

    def __init__(self, folder: Path) -> None:
        self.top = folder
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True)
        for name in filter(None, listed.stdout.split("\0")):
            if (TOP / name).is_symlink() or (TOP / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(TOP / name, folder / name, follow_symlinks=False)
        environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUNNER],
            cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._answer()

    def _answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def run(self, tests: Sequence[str], *options: str, timeout: int = TIMEOUT) -> tuple[int, List[str]]:
        """Pytest's exit status for these tests, negative if a signal ended it; and the tests that failed."""
        assert self.process.stdin
        job = {"timeout": timeout, "tests": [*tests], "options": [*options]}
        self.process.stdin.write(f"{json.dumps(job)}\n")
        self.process.stdin.flush()
        status, failed = json.loads(self._answer())
        return int(status), failed

    def attempt(self, point: Point) -> Tried:
        """Try one mutant, and put the source back."""
        path = self.top / point.file
        source = path.read_bytes()
        mutant = source[: point.start] + point.instead.encode() + source[point.end :]
        try:
            compile(mutant, point.file, "exec")
        except SyntaxError:
            return Tried(point, "unusable", "")
        path.write_bytes(mutant)
        try:
            status, failed = self.run(tests_of(point, self.top), "-x")
        finally:
            path.write_bytes(source)
        if status > 0 and not failed:
            raise RuntimeError(f"pytest ended with status {status} and names no failed test: {point.name}")
        outcome = "survived" if status == 0 else "timeout" if status == -signal.SIGALRM else "killed"
        return Tried(point, outcome, failed[0] if failed else "")

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def tried(chosen: Sequence[Point], folder: Path, jobs: int) -> Iterator[Tried]:
    """Try the points, as many at once as there are workers."""
    workers: Queue[Worker] = Queue()
    made = [Worker(folder / str(number)) for number in range(jobs)]
    for worker in made:
        workers.put(worker)

    def attempt(point: Point) -> Tried:
        worker = workers.get()
        try:
            return worker.attempt(point)
        finally:
            workers.put(worker)

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(attempt, chosen)
    for worker in made:
        worker.close()


def failing(results: Sequence[Tried], folder: Path) -> List[str]:
    """Which of the tests that killed mutants fail without one: their kills say nothing."""
    tests = sorted({one.test for one in results if one.test})
    worker = Worker(folder)
    try:
        status, failed = worker.run(tests, timeout=600) if tests else (0, [])
    finally:
        worker.close()
    return failed if status in (0, 1) else [f"{len(tests)} tests end with status {status}"]


def shown(one: Tried, known: Dict[str, str]) -> str:
    """A line about a survivor."""
    reason = known.get(one.point.name, "NOT LISTED")
    return f"{one.outcome:9}{one.point.name} -> {' '.join(one.point.instead.split())[:60]}: {reason}"


def main() -> int:
    """The exit status; survivors are printed."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("cache", nargs="?")
    arguments.add_argument("--all", action="store_true", help=f"try all {SAMPLE} points")
    arguments.add_argument("--strict", action="store_true", help="demand few survivors, and a reason for each")
    arguments.add_argument("--share", type=int, default=SHARE, help="how many are tried otherwise")
    arguments.add_argument("--only", default="*", help="files of the sample, as a glob")
    arguments.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    said = arguments.parse_args()
    known: Dict[str, str] = yaml.safe_load(SURVIVORS.read_text()) or {}
    sample = [point for point in drawn(TOP)[:SAMPLE] if fnmatch.fnmatch(point.file, said.only)]
    if not said.all:
        turn = int(time.time() // 86400) * said.share % len(sample)
        sample = (sample[turn:] + sample[:turn])[: said.share]
    begun = time.monotonic()
    results: List[Tried] = []
    with tempfile.TemporaryDirectory(prefix="nodespec-mutants-") as folder:
        for one in tried(sample, Path(folder), said.jobs):
            results.append(one)
            if one.outcome == "survived":
                print(shown(one, known), flush=True)
        wrong = failing(results, Path(folder) / "whole")
    print("".join(f"fails without a mutant: {name}\n" for name in wrong), end="")
    usable = [one for one in results if one.outcome != "unusable"]
    alive = [one for one in usable if one.outcome == "survived"]
    unlisted = [one for one in alive if one.point.name not in known]
    late = sum(one.outcome == "timeout" for one in usable)
    print(
        f"{len(usable)} mutants in {time.monotonic() - begun:.0f} s: {len(alive)} survive "
        f"({100 * len(alive) / max(1, len(usable)):.1f} %), {len(unlisted)} of them not listed; {late} never ended"
    )
    return int(bool(wrong) or (said.strict and (bool(unlisted) or len(alive) > MAX_SURVIVING * len(usable))))


if __name__ == "__main__":
    sys.exit(main())
