"""The program as a process: what it imports, what it exits with, and that a report is written whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Mapping, Sequence

import pytest
from pretended import HIDDEN, Pretended, Said
from unhurried import PROGRAM

from nodespec import __version__
from nodespec.__main__ import main
from nodespec.facts.live import Live

ROOT = Path(__file__).parents[2]
BARE = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
GOOD = "nodespec: 1\nrequire: {cpu: {count: '>=1'}}\n"
BAD = "nodespec: 1\nrequire: {cpu: {count: '>=100000'}}\n"


def ran(
    argv: Sequence[str],
    program: Sequence[str] = PROGRAM[1:],
    env: Mapping[str, str] = BARE,
    shell: str = "",
) -> subprocess.CompletedProcess[str]:
    """nodespec, from a bare checkout; with `shell`, as a part of a line of sh that holds `"$@"`."""
    line = [sys.executable, "-B", *program, *argv]
    if shell:
        line = ["/bin/sh", "-c", shell, "sh", *line]
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT, env=dict(env), check=False, timeout=60)


def spec(folder: Path, text: str) -> str:
    (folder / "s.yaml").write_text(text)
    return str(folder / "s.yaml")


# modules

DRIVER = """
import sys
before = set(sys.modules)
from nodespec.__main__ import main
sys.stdout = open("/dev/null", "w")
code = main(sys.argv[1:])
print(code, *sorted(set(sys.modules) - before), file=sys.stderr)
"""


def imported(*argv: str) -> List[str]:
    done = ran(argv, ("-c", DRIVER))
    code, *names = done.stderr.splitlines()[-1].split()
    assert code in ("0", "10", "11"), done.stderr
    return names


def test_the_version_costs_nothing() -> None:
    names = imported("--version")
    assert not {"yaml", "jsonschema", "jinja2", "argparse", "json", "typing_extensions"} & set(names)
    assert not [
        name
        for name in names
        if name.startswith(("nodespec.checks", "nodespec.author.commands.main", "nodespec.author.spec.resolver"))
    ]


def test_a_check_imports_no_schema_and_no_templates() -> None:
    names = imported("check", "container-host")
    assert "yaml" in names
    assert not {"jsonschema", "jinja2", "markupsafe", "referencing"} & set(names)
    assert not {
        "nodespec.author.spec.json_schema",
        "nodespec.judge.waivers",
        "nodespec.author.bundle.build",
    } & set(names)
    families = {
        name for name in names if name.startswith("nodespec.checks.") and not name.split(".")[2].startswith("_")
    }
    assert not families & {f"nodespec.checks.{name}" for name in ("kubelet", "ports", "files", "swap", "memory")}


def test_only_the_formats_that_are_asked_for_are_imported(tmp_path: Path) -> None:
    names = imported("check", "container-host", "-o", f"json={tmp_path}/r.json")
    assert {name for name in names if name.startswith("nodespec.reports.")} == {"nodespec.reports.json"}
    assert "jinja2" in imported("check", "container-host", "-o", f"html={tmp_path}/r.html")


# from a bare checkout


def test_it_runs_from_a_bare_checkout() -> None:
    program = ("-m", "nodespec")
    done = ran(["--version"], program)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"nodespec {__version__}\n", "")
    assert ran(["lint", "container-host"], program).returncode == 0
    assert ran(["--help"], program).returncode == 0


@pytest.mark.parametrize("options", [["-m"], ["-S", "-m"]])
def test_run_as_a_module_it_imports_nothing_from_the_current_directory(tmp_path: Path, options: List[str]) -> None:
    """What Python itself imports to run a module, as importlib, only -I keeps from there."""
    for name in ("argparse", "gettext", "json", "zlib", "errno", "decimal"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(0)\n", encoding="utf-8")
    command = [os.path.realpath(sys.executable), *options, "nodespec", "facts", "memory"]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=False)
    assert b"total" in done.stdout, done.stderr


def test_run_as_a_module_in_a_deleted_directory_it_finds_all_modules(tmp_path: Path) -> None:
    line = f"mkdir gone; cd gone; rmdir ../gone; exec {os.path.realpath(sys.executable)} -m nodespec facts memory"
    env = {"PYTHONPATH": str(ROOT), "PATH": BARE["PATH"]}
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, cwd=tmp_path, env=env, check=False)
    assert b"total" in done.stdout, done.stderr


def test_it_runs_without_environment_and_from_elsewhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from nodespec.__main__ import run; run()", "lint", "container-host"],
        capture_output=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


# exit codes


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "nodespec: expected a command; nodespec --help lists them"),
        (["chek"], "chek"),
        (["check"], "SPEC"),
        (["check", "container-host", "--nonsense"], "--nonsense"),
        (["check", "container-host", "-o", "pdf"], "-o pdf: unknown format"),
        (["check", "container-host", "-o", "text", "-o", "json"], "only one report can go to standard output"),
        (["check", "container-host", "-o", "json=a", "-o", "junit=./a"], "-o: only one report can go to"),
        (["check", "container-host", "--platform", "linux/arm64"], "--platform linux/arm64: requires --image"),
        (["check", "container-host", "--set", "x"], "--set x: expected K=V"),
        (["check", "container-host", "--set", "x=y"], "--set x: no spec has a param of this name"),
        (["check", "container-host", "--set", "x=y", "--set", "x=z"], "--set x: two values"),
        (["check", "container-host", "--only", "kernel.confg"], "--only kernel.confg: no requirement matches"),
        (["check", "container-host", "--skip", "nothing.*"], "--skip nothing.*: no requirement matches"),
        (["check", "container-host", "--waivers", "/nowhere"], "/nowhere: No such file or directory"),
        (["check", "container-host", "--root", "/tmp"], "--root /tmp: no procfs at /tmp/proc"),  # noqa: S108 - read only
        (["check", "container-host", "--root", "/tmp"], "for an image, use --image"),  # noqa: S108 - likewise
        (["check", "container-host", "--deadline", "soon"], "--deadline"),
        (["report", "/nowhere"], "/nowhere: No such file or directory"),
        (["verify", "/dev/null"], "/dev/null: not a report of nodespec"),
        (["explain", "nothing"], "nothing"),
        (["facts", "kernle"], "kernle"),
    ],
)
def test_what_is_asked_wrongly_is_told_and_exits_2(
    argv: List[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert "Traceback" not in err
    assert out == ""


CASES: Dict[int, Dict[str, Said]] = {0: {"cpu.count": 4}, 10: {"cpu.count": 0}, 11: {"cpu.count": HIDDEN}}


@pytest.mark.parametrize("code", CASES)
def test_the_exit_code_of_a_check_is_its_verdict(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Live, "observe", Pretended(CASES[code]).observe)
    target = tmp_path / "r.json"
    assert main(["check", spec(tmp_path, GOOD), "-o", f"json={target}", "-o", "text"]) == code
    (made,) = json.loads(target.read_text())["reports"]
    assert made["conclusion"] == {0: "conformant", 10: "nonconformant", 11: "indeterminate"}[code]
    assert made["conclusion"].upper() in capsys.readouterr().out
    assert main(["report", str(target), "-o", f"junit={tmp_path}/r.xml"]) == code
    capsys.readouterr()
    assert main(["verify", str(target)]) == 0


@pytest.mark.parametrize("code", CASES)
def test_a_report_that_cannot_be_written_replaces_0_only(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Live, "observe", Pretended(CASES[code]).observe)
    for target in (tmp_path / "no" / "r.json", tmp_path, Path("/dev/full")):
        asked = ["check", spec(tmp_path, GOOD), "-o", f"json={target}", "-o", f"junit={tmp_path}/r.xml"]
        assert main(asked) == (code or 74)
        assert f"nodespec: {target}: " in capsys.readouterr().err
        assert (tmp_path / "r.xml").read_text().startswith("<?xml")
    assert sorted(os.listdir(tmp_path)) == ["r.xml", "s.yaml"]


# standard output that takes nothing


@pytest.mark.parametrize(
    ("shell", "code"),
    [
        ('"$@" >/dev/full', 74),
        ('"$@" >&-', 74),
        ('"$@" >/dev/null', 0),
        ('"$@" >/dev/null 2>&-', 0),
        ('"$@" >/dev/null <&-', 0),
    ],
)
def test_standard_output_that_takes_nothing_is_no_success(shell: str, code: int, tmp_path: Path) -> None:
    for argv in (["check", spec(tmp_path, GOOD)], ["specs"], ["schema"], ["--version"], ["--help"]):
        done = ran(argv, shell=shell)
        assert done.returncode == code, (argv, done.stderr)
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
    assert ran(["check", spec(tmp_path, BAD)], shell=shell).returncode == 10


FULL = '"$@" >/dev/full'


def test_what_is_lost_at_the_end_replaces_0_only() -> None:
    for code, expected in ((0, 74), (10, 10), (2, 2)):
        program = f"from nodespec.__main__ import run; run(lambda: print('x') or {code})"
        assert ran([], ("-c", program), shell=FULL).returncode == expected


def test_a_terminal_that_was_hung_up_changes_no_exit_code(tmp_path: Path) -> None:
    # as systemd does when it starts a login on the console that a unit writes to: nothing can be said any more
    report = tmp_path / "r.json"
    good, bad = (Path(spec(tmp_path, text)).rename(tmp_path / f"{text is BAD}.yaml") for text in (GOOD, BAD))
    for argv, code in (
        (["check", str(bad), "-o", "text", "-o", f"json={report}"], 10),
        (["check", str(good)], 74),
        (["check", "no-such-spec"], 2),
        (["specs"], 74),
    ):
        ours, theirs = os.openpty()
        os.close(ours)
        command = [*PROGRAM, *argv]
        try:
            assert subprocess.run(command, cwd=ROOT, stdout=theirs, stderr=theirs, check=False).returncode == code, argv
        finally:
            os.close(theirs)
    assert json.loads(report.read_text())["reports"][0]["conclusion"] == "nonconformant"


HEAD, NOBODY = '"$@" | head -c 1', '{ "$@"; echo "$?" >&2; } | :'


def test_a_broken_pipe_is_silent() -> None:
    for argv in (["schema"], ["facts", "kernel", "--all"], ["explain"], ["check", "container-host", "--all"]):
        done = ran(argv, shell=HEAD)
        assert (done.returncode, done.stderr) == (0, ""), argv
        done = ran(argv, shell=NOBODY)
        assert done.stderr.strip() in ("0", "10", "11", "74"), argv


def test_no_answer_ends_at_a_letter_that_a_terminal_has_not(tmp_path: Path) -> None:
    (tmp_path / "größer.yaml").write_text("nodespec: 1\ntitle: größer\nrequire: {cpu: {count: 2}}\n", encoding="utf-8")
    env = {**BARE, "PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "1"}
    for argv in (["lint", f"{tmp_path}/größer.yaml"], ["specs", "--specs", str(tmp_path)]):
        done = ran(argv, env=env)
        assert (done.returncode, done.stderr) == (0, ""), argv
        assert "1 requirement" in done.stdout
        assert "1 requirements" not in done.stdout
        assert r"gr\xf6\xdfer" in done.stdout


def test_letters_that_a_terminal_has_not_are_escapes(tmp_path: Path) -> None:
    text = "nodespec: 1\nrequire: {cpu: {count: {is: '>=100000', why: größer}}}\n"
    done = ran(["check", spec(tmp_path, text), "--all"], env={**BARE, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 10
    assert "gr\\xf6\\xdfer" in done.stdout


# defects and interruptions


def test_a_defect_is_no_verdict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object) -> int:
        raise ZeroDivisionError("half a\x1bpart")

    monkeypatch.setattr("nodespec.author.commands.main.run", broken)
    assert main(["check"]) == 70
    assert "a defect of nodespec: ZeroDivisionError: half a\\x1bpart" in capsys.readouterr().err
    monkeypatch.setenv("NODESPEC_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["check"])


def test_an_interruption_is_no_verdict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("nodespec.author.commands.main.run", interrupted)
    assert main(["check"]) == 130
    assert capsys.readouterr().err == "nodespec: interrupted\n"
