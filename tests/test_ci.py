"""What `.ci/run` chooses on the machine that it runs on, and how it runs stages: with made-up ones."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol, Sequence

import pytest

TOP = Path(__file__).parents[1]
CI = TOP / ".ci"
sys.path.append(str(CI))

import inputs  # noqa: E402 - that folder is where it is
import stages  # noqa: E402 - likewise

PLACES = ("usr/local/go/bin", "usr/lib/go-1.19/bin", "usr/lib/go-1.9/bin", "usr/bin")


def install_go(folder: Path, said: str) -> Path:
    """Write a `go` that prints its version, where nothing in its environment selects another one."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "go"
    program.write_text(f'#!/bin/sh\n[ "$GOTOOLCHAIN$1" = localversion ] && [ "$PWD" = / ] || exit 9\n{said}\n')
    program.chmod(0o755)
    return program


def newest(root: Path, *path: Path) -> str:
    """The Go that is chosen, below `root`; "" if none is."""
    system = root / "system"  # Debian's tools without a Go of this machine
    system.mkdir(exist_ok=True)
    for tool in ("env", "bash", "sort", "head", "cut", "timeout", "sh", "sleep"):
        if not (system / tool).is_symlink():
            (system / tool).symlink_to(f"/usr/bin/{tool}")
    env = {"PATH": os.pathsep.join(map(str, [*path, system]))}
    command = ["/usr/bin/env", "bash", str(CI / "newest-go"), str(root)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if done.stdout else 1), done.stderr
    return done.stdout.rstrip("\n")


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("go1.9", "go1.10"),
        ("go1.9", "go1.19.8"),
        ("go1.19.8", "go1.26.8"),
        ("go1.26.8", "go1.26.10"),
        ("go1.26", "go1.26.1"),
        ("go1.26rc2", "go1.26"),
        ("go1.26rc9", "go1.26rc10"),
        ("go1.26beta2", "go1.26rc1"),
        ("go1.26.8", "go1.27rc1"),
        ("go1.99.9", "go2.0"),
        ("go1.26.8", "devel go1.27-a1b2c3d Tue Nov 3 10:00:00 2026 +0000"),
        ("devel go1.27-a1b2c3d Tue Nov 3 10:00:00 2026 +0000", "go1.27rc1"),
        ("devel +a1b2c3d Tue Nov 3 10:00:00 2026 +0000", "go1.9"),
        ("go1.19.8 X:boringcrypto", "go1.22.9 (Red Hat 1.22.9-1.el9)"),
    ],
)
def test_the_newest_go_is_chosen_wherever_it_is(tmp_path: Path, older: str, newer: str) -> None:
    folders = [tmp_path / "on-path", *(tmp_path / place for place in PLACES)]
    for number, folder in enumerate(folders):
        for other in folders:
            install_go(other, f"echo go version {older} linux/amd64")
        wanted = install_go(folder, f"echo 'go version {newer} linux/amd64'")
        assert newest(tmp_path, tmp_path / "on-path") == str(wanted), number


def test_every_go_on_the_path_is_tried(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second one", "third"))
    for folder, version in ((first, "1.19.8"), (second, "1.26.8"), (third, "1.26.8")):
        install_go(folder, f"echo go version go{version} linux/amd64")
    assert newest(tmp_path, first, second, third) == str(second / "go")


def test_a_go_that_does_not_work_is_left_out(tmp_path: Path) -> None:
    works = install_go(tmp_path / "usr/bin", "echo go version go1.19.8 linux/amd64")
    for number, said in enumerate(
        ("exit 1", "echo go version go9.9; exit 1", "echo hello", ":", "echo go version 9.9")
    ):
        install_go(tmp_path / f"bad-{number}", said)
    (tmp_path / "bad-0/go").chmod(0o644)
    assert newest(tmp_path, *tmp_path.glob("bad-*")) == str(works)
    works.unlink()
    assert newest(tmp_path, *tmp_path.glob("bad-*")) == ""


def test_the_stages_find_the_newest_go_and_debians_python(tmp_path: Path) -> None:
    program = install_go(tmp_path / "tools", "echo go version go99.1 linux/amd64")
    (tmp_path / "tools/python3").symlink_to("/bin/false")
    cache = {"CI_CACHE": str(tmp_path / "cache")}
    env = {**os.environ, **cache, "PATH": f"{tmp_path / 'tools'}:/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    done = subprocess.run([str(CI / "run"), "nosuch"], env=env, capture_output=True, text=True, check=False)
    assert "nosuch: FAILED" in done.stdout
    (linked,) = tmp_path.glob("nodespec-ci.*/bin")
    assert {path.name: os.readlink(path) for path in linked.iterdir()} == {"go": str(program)}


# the stages


TABLE = """\
import os, sys, time
from pathlib import Path
sys.path.insert(0, {ci!r})
import lanes
from lanes import Lanes, Stage
lanes.GRACE, lanes.PAUSE = 0.5, 0.02
out = Path({out!r})
sh = lambda script: ("sh", "-c", script)
everything = sys.argv[1:2] == ["--all"]
digest = lambda stage: "".join(Path(path).read_text() for path in stage.paths)
run = Lanes([{stages}], out, {{"out": str(out)}}, passed=out / "passed", digest=digest)
sys.exit(run.run(sys.argv[1 + everything:], everything=everything, version="c0ffee"))
"""


class MakeRun(Protocol):
    def __call__(self, *stages: str) -> Run: ...


class Run:
    """A program that runs a made-up table of stages."""

    def __init__(self, folder: Path, stages: Sequence[str]) -> None:
        self.folder = folder
        self.program = TABLE.format(ci=str(CI), out=str(folder), stages=", ".join(stages))

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", self.program, *words]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.folder)

    def end(self, *words: str) -> tuple[int, str]:
        """Return the exit status and the output."""
        with self.start(*words) as process:
            output = process.communicate(timeout=60)[0]
        assert living(self.folder) == []
        return process.returncode, output


def living(folder: Path) -> list[str]:
    """Return the commands of processes whose working directory is a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd") == str(folder):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    return lambda *stages: Run(tmp_path, stages)


def results(output: str) -> list[str]:
    """Return the lines below the summary, without times."""
    return re.sub(r" in \d+ s$", "", output.split("== summary after ")[1], flags=re.MULTILINE).splitlines()[1:]


def wait_for(path: Path) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not appear"
        time.sleep(0.01)


def test_every_result_is_counted_and_a_failure_is_the_exit_status(make_run: MakeRun) -> None:
    status, output = make_run(
        "Stage('fine', 9, sh('echo well'))",
        "Stage('failing', 9, sh('printf unended; exit 3'))",
        "Stage('killed', 9, sh('kill -9 $$'))",
        "Stage('skipping', 9, sh('echo because; exit 77'))",
        "Stage('partial', 9, sh('echo \"skipped  one thing\"; echo more'))",
        "Stage('missing', 9, ('/nonexistent/program',))",
    ).end()
    assert status == 1
    assert sorted(results(output)) == [
        "failing: FAILED with exit status 3",
        "fine: ok",
        "killed: FAILED by signal 9",
        "missing: FAILED: [Errno 2] No such file or directory: '/nonexistent/program'",
        "partial: ok",
        "partial: skipped  one thing",
        "skipping: skipped: because",
    ]
    assert " s: 3 failed, 2 skipped, 0 unchanged since PASS; logs are in " in output
    assert "\nwell\n" in output
    assert "\nunended\n" in output


def test_nothing_failed_is_exit_status_0(make_run: MakeRun) -> None:
    status, output = make_run("Stage('one', 9, sh('exit 77'))", "Stage('other', 9, ('true',))").end()
    assert (status, sorted(results(output))) == (0, ["one: skipped: ", "other: ok"])


def test_a_stage_that_is_late_is_ended_with_all_that_it_started(make_run: MakeRun) -> None:
    stubborn = "trap \\'\\' TERM; setsid sleep 50 & sleep 50 & sleep 50; sleep 50"
    began = time.monotonic()
    status, output = make_run(f"Stage('late', 1, sh('{stubborn}'))", "Stage('next', 9, sh('echo still'))").end()
    assert (status, sorted(results(output))) == (1, ["late: FAILED: not done within 1 s", "next: ok"])
    assert time.monotonic() - began < 20


def test_what_a_stage_leaves_behind_is_ended(make_run: MakeRun) -> None:
    status, output = make_run("Stage('one', 9, sh('setsid sleep 50 & sleep 50 & exit 0'))").end()
    assert (status, results(output)) == (0, ["one: ok"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_interrupted_run_ends_both_lanes_and_says_so(make_run: MakeRun, number: signal.Signals) -> None:
    run = make_run(
        "Stage('polite', 60, sh('echo begun; touch {out}/polite; sleep 50'))",
        "Stage('stubborn', 60, sh('trap \"\" TERM HUP; touch {out}/stubborn; setsid sleep 50 & sleep 50; sleep 50'))",
        "Stage('never', 60, sh('touch {out}/never'))",
    )
    with run.start() as process:
        wait_for(run.folder / "polite")
        wait_for(run.folder / "stubborn")
        process.send_signal(number)
        output = process.communicate(timeout=30)[0]
    assert process.returncode == 130
    assert living(run.folder) == []
    assert not (run.folder / "never").exists()
    found = [re.sub(r"\d+ s", "N s", line) for line in results(output)]
    assert found[0] == f"interrupted by {number.name}"
    assert sorted(found[1:]) == ["polite: interrupted after N s", "stubborn: interrupted after N s"]
    assert "begun" in output
    assert " s: 1 failed, " in output


def test_two_stages_run_at_once_and_no_third(make_run: MakeRun) -> None:
    meet = (
        "touch {out}/ONE; until [ -e {out}/OTHER ]; do sleep 0.01; done; sleep 0.3; [ ! -e {out}/third ] || exit 1; "
        "touch {out}/ONE-seen; until [ -e {out}/OTHER-seen ]; do sleep 0.01; done"
    )
    one, other = meet, meet.replace("ONE", "two").replace("OTHER", "ONE").replace("two", "OTHER")
    status, _ = make_run(
        f"Stage('one', 9, sh('{one}'))",
        f"Stage('other', 9, sh('{other}'))",
        "Stage('third', 9, sh('touch {out}/third'))",
    ).end()
    assert status == 0


def test_a_network_stage_runs_beside_one_that_uses_the_processor(make_run: MakeRun) -> None:
    note = "echo {0} >>{{out}}/order; until [ -e {{out}}/{1} ]; do sleep 0.01; done"
    one, net = note.format("one", "go"), note.format("net", "go")
    run = make_run(
        f"Stage('one', 9, sh('{one}'))",
        "Stage('two', 9, sh('echo two >>{out}/order'))",
        f"Stage('net', 9, sh('{net}'), network=True)",
    )
    with run.start() as process:
        while not (run.folder / "order").exists() or len((run.folder / "order").read_text().split()) < 2:
            time.sleep(0.01)
        (run.folder / "go").touch()
        process.communicate(timeout=30)
    assert sorted((run.folder / "order").read_text().split()[:2]) == ["net", "one"]


def test_stages_that_disturb_each_other_wait(make_run: MakeRun) -> None:
    alone = "mkdir {out}/held && sleep 0.2 && rmdir {out}/held"
    quiet = "Stage('quiet', 9, sh('[ -e {out}/loud ] && exit 1; sleep 0.3; [ ! -e {out}/loud ]'), quiet=True)"
    status, output = make_run(
        quiet,
        "Stage('loud', 9, sh('touch {out}/loud'))",
        *(f"Stage('apart{number}', 9, sh('{alone}'), apart=('port',))" for number in range(3)),
        "Stage('last', 9, sh('grep -q ready {out}/early'), needs=('early',))",
        "Stage('early', 9, sh('sleep 0.2; echo ready >{out}/early'), after=('loud', 'unnamed'))",
    ).end()
    assert status == 0, output


def test_stages_that_wait_for_each_other_are_a_failure(make_run: MakeRun) -> None:
    status, output = make_run("Stage('a', 9, ('true',), after=('b',))", "Stage('b', 9, ('true',), needs=('a',))").end()
    assert (status, results(output)) == (1, ["FAILED: these stages wait for each other: ['a', 'b']"])


def test_output_of_the_second_lane_is_not_mixed_into_the_first(make_run: MakeRun) -> None:
    lines = "for i in 1 2 3 4 5 6 7 8 9; do echo {0} $i; sleep 0.02; done"
    status, output = make_run(
        f"Stage('first', 9, sh('{lines.format('first')}'))", f"Stage('second', 9, sh('{lines.format('second')}'))"
    ).end()
    assert status == 0
    for name in ("first", "second"):
        assert [line for line in output.splitlines() if line.startswith(f"{name} ")] == [
            f"{name} {i}" for i in range(1, 10)
        ]
    changes = re.sub(r"^(?!first |second ).*\n", "", output, flags=re.MULTILINE)
    assert len(re.findall(r"^second ", re.sub(r"(second \d\n)+", "second \n", changes), re.MULTILINE)) <= 2


def test_named_stages_run_with_what_they_need(make_run: MakeRun) -> None:
    run = make_run(
        "Stage('base', 9, ('true',))",
        "Stage('other', 9, ('true',))",
        "Stage('wanted', 9, ('true',), needs=('base',), after=('other',))",
        "Stage('long', 9, ('true',), optional=True)",
    )
    assert results(run.end("wanted")[1]) == ["base: ok", "wanted: ok"]
    assert results(run.end("long")[1]) == ["long: ok"]
    assert sorted(results(run.end()[1])) == ["base: ok", "other: ok", "wanted: ok"]
    assert sorted(results(run.end("--all")[1])) == ["base: ok", "long: ok", "other: ok", "wanted: ok"]
    assert run.end("nosuch", "base") == (1, run.end("nosuch", "base")[1])
    assert results(run.end("nosuch", "base")[1]) == ["nosuch: FAILED: no stage has this name", "base: ok"]


def test_a_stage_is_skipped_while_its_inputs_are_those_of_its_last_pass(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(
        "Stage('cached', 9, sh('echo run; exit $(cat status)'), paths=('inputs',))",
        "Stage('always', 9, ('true',))",
    )
    status, inputs = tmp_path / "status", tmp_path / "inputs"

    def result(*words: str) -> str:
        found = dict(line.split(": ", 1) for line in results(run.end(*words)[1]))
        assert words == ("cached",) or found["always"] == "ok"
        return found["cached"]

    unchanged = r"unchanged since PASS at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(c0ffee\)"
    inputs.write_text("1")
    status.write_text("1")
    assert result() == "FAILED with exit status 1"
    status.write_text("0")
    assert result() == "ok"  # what failed is not remembered
    status.write_text("1")
    assert re.fullmatch(unchanged, result())
    assert " 0 failed, 0 skipped, 1 unchanged since PASS; " in run.end()[1]
    assert result("--all") == "FAILED with exit status 1"
    assert result("cached") == "FAILED with exit status 1"
    assert re.fullmatch(unchanged, result())
    inputs.write_text("2")
    assert result() == "FAILED with exit status 1"
    status.write_text("0")
    assert result("cached") == "ok"  # what is named is remembered
    assert re.fullmatch(unchanged, result())


@pytest.mark.parametrize(
    "script",
    [
        "echo 'skipped  a part'",
        "echo whole; exit 77",
        "echo changed >inputs",  # while it runs
    ],
)
def test_only_a_whole_pass_is_remembered(make_run: MakeRun, tmp_path: Path, script: str) -> None:
    run = make_run(f"Stage('cached', 9, sh({script!r}), paths=('inputs',))")
    for _ in range(2):
        (tmp_path / "inputs").write_text("1")
        assert not results(run.end()[1])[-1].startswith("cached: unchanged")


def test_a_damaged_record_is_no_pass(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("Stage('cached', 9, ('true',), paths=('inputs',))")
    (tmp_path / "inputs").write_text("1")
    run.end()
    (record,) = (tmp_path / "passed").iterdir()
    for text in ("", "[]", "{}", '{"inputs": "1"}', "\0"):
        record.write_text(text)
        assert results(run.end()[1]) == ["cached: ok"]


# what results depend on


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with a script that imports a module, which imports another lazily."""
    files = {
        "tests/stages/ask.py": "import helper\nfrom nodespec.checks import memory\n",
        "tests/helper.py": "def f():\n    from nodespec.host import tree\n",
        "nodespec/__init__.py": "",
        "nodespec/host/__init__.py": "",
        "nodespec/host/tree.py": "",
        "nodespec/host/other.py": "",
        "checks/__init__.py": "",
        "checks/memory.py": "",
        "checks/swap.py": "",
        "docs/page.md": "",
        ".gitignore": "ignored\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "nodespec/checks").symlink_to("../checks")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    return tmp_path


def git(folder: Path, *words: str) -> None:
    subprocess.run(["/usr/bin/git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=folder, check=True)


def test_a_script_depends_on_all_that_it_imports(checkout: Path) -> None:
    assert inputs.Imports(checkout).files_of(["tests/stages/ask.py"]) == [
        "checks/__init__.py",
        "checks/memory.py",
        "nodespec/__init__.py",
        "nodespec/host/__init__.py",
        "nodespec/host/tree.py",
        "tests/helper.py",
        "tests/stages/ask.py",
    ]


def test_what_imports_by_name_depends_on_all_that_it_can_import(checkout: Path) -> None:
    (checkout / "checks/memory.py").write_text("from importlib import import_module\n")
    found = inputs.Imports(checkout).files_of(["tests/stages/ask.py"])
    assert {"checks/swap.py", "nodespec/host/other.py"} <= {*found}
    assert "docs/page.md" not in found


def test_every_change_of_a_file_changes_the_digest(checkout: Path) -> None:
    paths = ("checks", "nodespec")
    seen = {inputs.digest(checkout, paths, ["text"])}

    def is_new() -> bool:
        digest = inputs.digest(checkout, paths, ["text"])
        new = digest not in seen
        seen.add(digest)
        return new

    git(checkout, "commit", "--quiet", "--message", "one")
    assert not is_new()
    (checkout / "docs/page.md").write_text("more")
    (checkout / "checks/ignored").write_text("more")
    assert not is_new()
    (checkout / "checks/swap.py").write_text("# more\n")
    assert is_new()
    git(checkout, "commit", "--quiet", "--all", "--message", "two")
    assert not is_new()
    (checkout / "checks/swap.py").chmod(0o755)
    assert is_new()
    (checkout / "checks/untracked.py").write_text("")
    assert is_new()
    (checkout / "checks/untracked.py").rename(checkout / "checks/renamed.py")
    assert is_new()
    (checkout / "checks/swap.py").unlink()
    assert is_new()
    (checkout / "checks/swap.py").symlink_to("memory.py")
    assert is_new()
    assert inputs.digest(checkout, paths, ["te", "xt"]) != inputs.digest(checkout, paths, ["text"])
    assert inputs.digest(checkout, paths, []) != inputs.digest(checkout, paths, [""])


# the table itself


def test_the_table_names_programs_and_stages_that_exist() -> None:
    table = stages.table()
    names = [stage.name for stage in table]
    assert names[0] == "test"
    assert table[0].command == ("./test",)
    assert not table[0].paths
    assert len(names) == len(set(names))
    programs = {path.stem for path in (TOP / "tests/stages").glob("*.py") if "\nif __name__ ==" in path.read_text()}
    assert programs - {*names} == set()
    for stage in table:
        assert {*stage.needs, *stage.after} <= {*names}, stage.name
        assert [word.format(out="o", cache="c", python="p") for word in stage.command]
        missing = [path for path in stage.paths if not (TOP / path).exists()]
        assert not missing, f"{stage.name}: {missing}"


def test_a_stage_depends_on_what_its_program_imports() -> None:
    """Ask Python itself which modules of the checkout some of the programs import at once."""
    table, imports = {stage.name: stage for stage in stages.table()}, inputs.Imports(TOP)
    for name in ("boot_loaders", "junit_schema", "oci", "versions"):
        code = (
            f"import sys, runpy; runpy.run_path('tests/stages/{name}.py', run_name='module')\n"
            "print(*(m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)), sep='\\n')"
        )
        env = {**os.environ, "PYTHONPATH": "tests/stages"}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=TOP, env=env, capture_output=True, text=True, check=True
        )
        real = {os.path.relpath(os.path.realpath(line), TOP) for line in done.stdout.splitlines()}
        own = {path for path in real if path.startswith(("nodespec/", "checks/", "reports/", "tests/"))}
        assert len(own) > 3
        assert own - {*imports.files_of(table[name].paths)} == set()
