"""Completion scripts and the man page, made from the parsers of the command line and tried with real shells."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import shells

import nodespec
from nodespec.author.commands.examples import EXAMPLES
from nodespec.author.commands.main import COMMANDS

TOP = Path(__file__).parents[2]
FILES = {
    "bash": "bash-completion/completions/nodespec",
    "zsh": "zsh/site-functions/_nodespec",
    "fish": "fish/vendor_completions.d/nodespec.fish",
    "man": "man/man1/nodespec.1",
}
# what is typed, and what is offered for its last word; bash replaces only what follows `=`
LINES = [
    ("nodespec che", ["check"]),
    ("nodespec check kubern", ["kubernetes/1.35"]),
    ("nodespec check kubernetes/1.35 cont", ["container-host"]),
    ("nodespec lint no", ["node.yaml"]),
    ("nodespec check --str", ["--strict"]),
    ("nodespec gate rem", ["remove"]),
    ("nodespec gate install --uni", ["--unit"]),
    ("nodespec check kubernetes/1.35 --only cgroups.v", ["cgroups.version"]),
    ("nodespec explain kubernetes/1.35 cgroups.v", ["cgroups.version"]),
    ("nodespec facts kernel.ar", ["kernel.arch"]),
    ("nodespec check --set role=con", ["role=control-plane"]),
    ("nodespec check --set role=worker kubern", ["kubernetes/1.35"]),
    ("nodespec check -o jun", ["junit"]),
    ("nodespec check -o json=repo", ["json=report.json"]),
    ("nodespec report repo", ["report.json"]),
    ("nodespec check --specs sit", ["site"]),
    ("nodespec check --platform linux/ar", ["linux/arm64"]),
    ("nodespec schema waiv", ["waivers"]),
    ("nodespec diff runn", ["running"]),
]


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that setup.py installs below the prefix."""
    folder = tmp_path_factory.mktemp("share")
    generate(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files to complete."""
    for name in ("node.yaml", "report.json", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "site").mkdir()
    return tmp_path


def generate(folder: Path) -> None:
    argv = [sys.executable, "-B", str(TOP / "distribution/shared_files.py"), str(folder)]
    env = {**os.environ, "PYTHONPATH": str(TOP)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("line", "offered"), LINES)
def test_bash_completes(line: str, offered: list[str], share: Path, folder: Path) -> None:
    behind = [word.rpartition("=")[2] if "=" in line else word for word in offered]
    assert shells.bash(share / FILES["bash"], line, folder) == behind


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
@pytest.mark.parametrize(("line", "offered"), LINES)
def test_fish_completes(line: str, offered: list[str], share: Path, folder: Path) -> None:
    found = shells.fish(share / FILES["fish"], line, folder)
    assert [word.rstrip("/") for word in found] == offered


@pytest.mark.sampled(6)
@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
@pytest.mark.parametrize(("line", "offered"), LINES)
def test_zsh_completes(line: str, offered: list[str], share: Path, folder: Path) -> None:
    done = shells.zsh(share / FILES["zsh"], line, folder)
    assert done.split() == [*line.split()[:-1], done.split()[-1]]
    assert [done.split()[-1].rstrip("/")] == offered


def test_every_command_and_option_is_completed(share: Path, folder: Path) -> None:
    assert set(shells.bash(share / FILES["bash"], "nodespec ", folder)) >= {*COMMANDS}
    page = (TOP / "docs/cli.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## nodespec (.*)\n((?:(?!## ).*\n)*)", page, re.MULTILINE)
    assert len(sections) >= len(COMMANDS)
    for command, text in sections:
        options = {
            word for cell in re.findall(r"^\| `(-[^`]*)`", text, re.MULTILINE) for word in re.findall(r"-[-\w]+", cell)
        }
        offered = shells.bash(share / FILES["bash"], f"nodespec {command} -", folder)
        assert options <= {*offered}, command


def test_every_argument_with_a_value_is_completed_or_free() -> None:
    code = (
        "import completion, completion_functions as f\n"
        "from nodespec.author.commands.main import make_parser\n"
        "for one in completion.actions(make_parser()):\n"
        "    name = str(one.metavar or '')\n"
        "    if one.nargs != 0 and not one.choices and not f.completer(name) and name not in completion.FREE:\n"
        "        print(one.option_strings, name)\n"
    )
    env = {**os.environ, "PYTHONPATH": f"{TOP}:{TOP / 'distribution'}"}
    done = subprocess.run([sys.executable, "-B", "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "", "add the metavar to KINDS of distribution/completion_functions.py or to FREE"


def test_files_are_the_same_each_time(share: Path, tmp_path: Path) -> None:
    generate(tmp_path)
    for name in FILES.values():
        assert (tmp_path / name).read_bytes() == (share / name).read_bytes()


def test_completing_starts_no_program(share: Path) -> None:
    for shell in ("bash", "zsh", "fish"):
        text = (share / FILES[shell]).read_text(encoding="utf-8")
        assert not re.search(r"python|\$\(nodespec|`nodespec|\(nodespec ", text)
        assert str(TOP) not in text


def test_man_page_has_every_command_example_and_exit_code(share: Path) -> None:
    text = (share / FILES["man"]).read_text(encoding="utf-8").replace(r"\-", "-")
    assert text.startswith(f'.TH NODESPEC "1" "{nodespec.BUILT}" "nodespec {nodespec.__version__}" "User Commands"\n')
    for command in COMMANDS:
        assert f'.SS "\\fBnodespec {command}\\fR"' in text or f".SS \\fBnodespec {command}\\fR" in text
    examples = [line for lines in EXAMPLES.values() for line, _ in lines]
    assert [line for line in examples if f"\\fB{line}\\fR" not in text] == []
    codes = re.findall(r"^\| `?(\d+)`? \|", (TOP / "docs/exit-codes.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert codes
    section = text.partition(".SH EXIT STATUS")[2].partition(".SH ")[0]
    assert [code for code in codes if f"\\fB{code}\\fR" not in section] == []


@pytest.mark.skipif(not shutil.which("man"), reason="man is not installed")
def test_man_renders_the_page_without_a_warning(share: Path) -> None:
    env = {**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"}
    argv = ["man", "--warnings", "--local-file", str(share / FILES["man"])]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "check whether a Linux machine conforms to a spec" in done.stdout
