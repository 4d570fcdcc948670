"""What nodespec costs, beside what else could be run: whole processes, medians, each turn on the same machine in turn.

    python benchmarks/run.py [--rounds N] [--cache DIR] [PART...]

PART is start, scale or fleet; without any, all of them. nodespec is installed with pip into a virtual environment of a
temporary directory, and checks by the plan of `yardstick.json`. What is compared with comes from Debian, as packages
that are unpacked and not installed; without apt or a network it is left out, and the output says so. CPU is user and
system time of all processes together, and moves less than wall time where a machine has other things to do. Ratios are
taken turn by turn: their median and quartiles. `peers.py` compares with other validators.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Dict, List, Mapping, NamedTuple, Optional, Tuple

if TYPE_CHECKING:
    from collections.abc import Callable

import yardstick

TOP = Path(__file__).resolve().parents[1]
RELEASE = "6.1.0-1-amd64"
SPEC = "kubernetes/1.35"
SIZES = (10, 100, 1000, 10_000)
RECORDINGS = (100, 1000)
LOADED = 1.0  # the load a processor beyond which figures are worth little
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


class Run(NamedTuple):
    """One process and all that it ran: seconds of the clock and of processors, bytes of the largest."""

    wall: float
    cpu: float
    peak: int


def ran(argv: Tuple[str, ...], env: Mapping[str, str]) -> Run:
    """Run a program whose output goes nowhere."""
    null = os.open(os.devnull, os.O_RDWR)
    begun = time.perf_counter()
    files = [(os.POSIX_SPAWN_DUP2, null, number) for number in range(3)]
    child = os.posix_spawnp(argv[0], argv, {**ENVIRONMENT, **env}, file_actions=files)
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - begun
    os.close(null)
    if os.waitstatus_to_exitcode(status) not in (0, 1, 10, 11):
        raise SystemExit(f"{' '.join(argv)}: exit status {os.waitstatus_to_exitcode(status)}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10)


class Result(NamedTuple):
    """Medians, and the quartiles of the ratio of processor time to the first program, turn by turn."""

    run: Run
    ratios: Tuple[float, ...]


class Contest:
    """Programs that take turns, so that whatever else the machine does hits them all."""

    def __init__(self) -> None:
        self.entries: Dict[str, Tuple[Tuple[str, ...], Mapping[str, str]]] = {}

    def add(self, name: str, *argv: str, **env: str) -> None:
        self.entries[name] = argv, env

    def held(self, rounds: int) -> Dict[str, Run]:
        """Return the medians, without a first round, which finds no cache filled."""
        return {name: result.run for name, result in self.compared(rounds).items()}

    def compared(self, rounds: int) -> Dict[str, Result]:
        """Return the medians, with ratios to the first program."""
        runs: Dict[str, List[Run]] = {name: [] for name in self.entries}
        for number in range(rounds + 1):
            for name, (argv, env) in self.entries.items():
                found = ran(argv, env)
                runs[name] += [found] if number else []
        first = next(iter(runs.values()))
        ratios = {name: [one.cpu / base.cpu for one, base in zip(each, first)] for name, each in runs.items()}
        return {
            name: Result(
                Run(*(median(part) for part in zip(*each))),
                tuple(quantiles(ratios[name], n=4) if len(each) > 1 else ratios[name] * 3),
            )
            for name, each in runs.items()
        }


class Bed(NamedTuple):
    """Where all happens: a folder, the installed program and its Python, and what Debian gave."""

    folder: Path
    python: str
    program: str
    debian: Optional[Path]
    rounds: int
    cache: Path


def main() -> int:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--cache", type=Path, help="where what Debian gave is kept")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nodespec-benchmarks.") as name:
        bed = prepared(Path(name), args.cache or Path(name), args.rounds)
        load, processors = os.getloadavg()[0], len(os.sched_getaffinity(0))
        print(f"{os.uname().machine}, {processors} processors, load {load:.1f}; {said(bed.python, '--version')}")
        if load > LOADED * processors:
            print("the machine is busy: compare columns, not days")
        for part in args.parts or PARTS:
            print()
            PARTS[part](bed)
    return 0


def said(*argv: str) -> str:
    """Return what a program prints, with any exit status."""
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/").stdout.strip()


def prepared(folder: Path, cache: Path, rounds: int) -> Bed:
    """Nodespec installed as it is committed and changed here, not as an editable checkout."""
    source = folder / "source"
    left = shutil.ignore_patterns(".*", "tests", "out", "build", "*.egg-info", "__pycache__")
    shutil.copytree(TOP, source, symlinks=True, ignore=left)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = str(folder / "venv/bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(source)], check=True)
    yardstick.install(python)
    return Bed(
        folder,
        python,
        str(folder / "venv/bin/nodespec"),
        from_debian(cache, "bookworm", "docker.io", "lxc"),
        rounds,
        cache,
    )


def from_debian(cache: Path, suite: str, *packages: str) -> Optional[Path]:
    """Return a directory with packages of a suite; None if they cannot be had."""
    sys.path.insert(0, str(TOP / "tests/stages"))
    from debian import unpacked  # type: ignore[import-not-found,unused-ignore] # noqa: PLC0415

    try:
        return Path(unpacked(suite, [*packages], cache))
    except (OSError, LookupError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"left out: {', '.join(packages)} of Debian {suite} ({str(error)[-200:]})")
        return None


def ratio_table(results: Mapping[str, Result]) -> None:
    """Print processor times and their ratio to the first program, with quartiles."""
    print(f"{'':46}{'cpu ms':>9}{'x':>8}{'quartiles':>18}")
    for name, result in results.items():
        low, middle, high = result.ratios
        print(f"{name:46}{result.run.cpu * 1e3:9.1f}{middle:8.2f}{f'{low:.2f} to {high:.2f}':>18}")


def table(results: Mapping[str, Run], base: str) -> None:
    """Each beside the first."""
    first = results[base]
    print(f"{'':46}{'wall ms':>9}{'x':>7}{'cpu ms':>9}{'x':>7}{'peak MB':>9}")
    for name, one in results.items():
        times = f"{one.wall * 1e3:9.1f}{one.wall / first.wall:7.1f}{one.cpu * 1e3:9.1f}{one.cpu / first.cpu:7.1f}"
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10  # which Linux counts to what this here begins
        print(f"{name:46}{times}{one.peak / (1 << 20):9.1f}" if one.peak > own else f"{name:46}{times}{'-':>9}")


# the start


def start(bed: Bed) -> None:
    """Measure a check of this machine and a bare Python; the programs that a check runs, beside it alone."""
    bundle = str(bed.folder / "preflight")
    said(bed.program, "bundle", SPEC, "-o", bundle)
    contest = Contest()
    contest.add("python3 -c pass", bed.python, "-c", "pass")
    contest.add("python3 -c 'import re, json, argparse'", bed.python, "-c", "import re, json, argparse")
    contest.add(f"nodespec check {SPEC}", bed.program, "check", SPEC)
    contest.add(f"bundle of {SPEC}", bed.python, bundle, "check")
    for program in ("containerd", "crio", "runc", "crun", "kubelet"):
        if shutil.which(program, path=ENVIRONMENT["PATH"]):
            contest.add(f"  {program} --version, which both run", program, "--version")
    ratio_table(contest.compared(bed.rounds))
    if shutil.which("valgrind"):
        bare, check = yardstick.counted(bed.python)
        print(f"instructions: bare Python {bare / 1e6:.1f} million, a check {check / 1e6:.1f} million")
    if bed.debian:
        print()
        configuration(bed, bed.debian)


def configuration(bed: Bed, debian: Path) -> None:
    """One kernel's configuration: whole options of it, as check-config.sh names them, and others' own lists."""
    config = rest(bed.folder)
    script = str(debian / "usr/share/docker.io/contrib/check-config.sh")
    options = sorted(set(re.findall(r"CONFIG_([A-Z0-9_]+)", said("bash", script, str(config)))))
    spec = bed.folder / "options.yaml"
    lines = "".join(f"      {option}: enabled\n" for option in options)
    spec.write_text(f"nodespec: 1\nrequire:\n  kernel:\n    config:\n{lines}")
    image = ["--image", str(config.parents[1])]
    contest = Contest()
    contest.add(f"nodespec, the {len(options)} options of check-config.sh", bed.program, "check", str(spec), *image)
    own = ["check", "container-host", "--only", "kernel.config.*"]
    contest.add("nodespec, the options of container-host", bed.program, *own, *image)
    contest.add("moby's check-config.sh", "bash", script, str(config))
    contest.add("lxc-checkconfig", "sh", str(debian / "usr/bin/lxc-checkconfig"), CONFIG=str(config))
    table(contest.held(max(bed.rounds // 3, 1)), next(iter(contest.entries)))


def rest(folder: Path) -> Path:
    """Make a root file system at rest with one kernel; the path of its configuration, which is one of Debian's."""
    truth = TOP / "tests/hosts/kernel-6.1.0-56-amd64/truth.config"
    root = folder / "root"
    for below in ("boot", "etc", f"lib/modules/{RELEASE}/kernel"):
        (root / below).mkdir(parents=True, exist_ok=True)
    (root / "etc/os-release").write_text("ID=debian\nPRETTY_NAME=Debian\n")
    (root / f"boot/vmlinuz-{RELEASE}").write_bytes(b"")
    config = root / f"boot/config-{RELEASE}"
    shutil.copyfile(truth, config)
    return config


# by size


def scale(bed: Bed) -> None:
    """Measure the cost by number of requirements, all in one file, which is read, proved and judged."""
    image = str(rest(bed.folder).parents[1])
    contest = Contest()
    for size in SIZES:
        spec = bed.folder / f"{size}.yaml"
        lines = "".join(f"      OPTION_{number}: disabled\n" for number in range(size))
        spec.write_text(f"nodespec: 1\nrequire:\n  kernel:\n    config:\n{lines}")
        contest.add(f"{size} requirements", bed.program, "check", str(spec), "--image", image)
    found = contest.held(max(bed.rounds // 5, 1))
    table(found, f"{SIZES[0]} requirements")
    runs = [found[f"{size} requirements"] for size in SIZES]
    for (small, less), (large, more) in zip(zip(SIZES, runs), zip(SIZES[1:], runs[1:])):
        each = (more.cpu - less.cpu) / (large - small)
        print(
            f"from {small} to {large}: {each * 1e6:.0f} us and {(more.peak - less.peak) / (large - small):.0f} B each"
        )


# many recordings


def fleet(bed: Bed) -> None:
    """Measure recordings judged in a second, on one processor and on all, with the start of the program in it."""
    taken = bed.folder / "one.json"
    said(bed.program, "facts", SPEC, "-o", str(taken))
    contest, one = Contest(), ("taskset", "--cpu-list", str(min(os.sched_getaffinity(0))))
    counts: Dict[str, int] = {}
    for count in RECORDINGS:
        judged = (bed.program, "check", SPEC, "--facts", str(recorded(bed.folder, taken.read_text(), count)), "-o")
        for name, argv in (
            (f"{count} as text on one processor", (*one, *judged, "text")),
            (f"{count} as text on all", (*judged, "text")),
            (f"{count} as json on one processor", (*one, *judged, "json=/dev/null")),
        ):
            contest.add(name, *argv)
            counts[name] = count
    found = contest.held(max(bed.rounds // 7, 1))
    table(found, next(iter(found)))
    for name, run in found.items():
        print(f"{name}: {counts[name] / run.wall:.0f} a second, {counts[name] / run.cpu:.0f} a second of processor")


def recorded(bed: Path, text: str, count: int) -> Path:
    """So many hosts with names of their own, memory of some hundred sizes and kernels of four builds."""
    folder = bed / f"{count}-recordings"
    folder.mkdir()
    for number in range(count):
        recording = json.loads(text)
        facts = recording["facts"]
        recording["host"].update(name=f"node-{number}", id=f"{number:032x}", product=f"{number:030x}ff")
        facts["memory.total"][0] += number % 100 << 12
        for row in facts["kernel.config"].get("asked", {}).values():
            row[1:] = [line + number % 4 for line in row[1:]]
        (folder / f"{number:05}.json").write_text(json.dumps(recording))
    return folder


PARTS: Mapping[str, Callable[[Bed], None]] = {"start": start, "scale": scale, "fleet": fleet}

if __name__ == "__main__":
    sys.exit(main())
