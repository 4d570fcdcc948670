"""`pip install nodespec` without extras: every command works, or names in one sentence the extra that it needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nodespec.author.commands.main import COMMANDS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOP = Path(__file__).parents[1]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
SPEC = "nodespec: 1\nname: fit\ntitle: fit\nrequire: {memory: {total: '>=1Mi'}}\n"
BARE = """\
import sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))  # None: importing it raises ModuleNotFoundError
del sys.argv[1]
from nodespec.__main__ import run
run()
"""
OPTIONAL = ("jinja2", "markupsafe", "jsonschema", "referencing", "rpds", "attrs")
WORKS = (  # with the exit code
    ("check fit.yaml", 0),
    ("check fit.yaml -o text -o json=a.json -o junit=a.xml -o markdown=a.md", 0),
    ("facts memory", 0),
    ("facts memory -o again.json", 0),
    ("check fit.yaml --facts host.json", 0),
    ("specs", 0),
    ("explain memory.total", 0),
    ("explain fit.yaml", 0),
    ("lint fit.yaml", 0),
    ("bundle fit.yaml -o preflight", 0),
    ("gate install fit.yaml --print", 0),
    ("gate install fit.yaml --into .", 0),
    ("schema", 0),
    ("schema report", 0),
    ("diff host.json host.json", 0),
    ("diff fit.yaml container-host", 10),
)
NEEDS = (
    ("check fit.yaml -o html", "html"),
    ("check fit.yaml -o text -o html=fit.html", "html"),
    ("report report.json", "reports"),
    ("verify report.json", "reports"),
    ("diff report.json report.json", "reports"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bare")
    (made / "fit.yaml").write_text(SPEC)
    assert run("check fit.yaml -o json=report.json", made).returncode == 0
    assert run("facts memory -o host.json", made).returncode == 0
    return made


def run(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(TOP)}
    argv = [sys.executable, "-c", BARE, ",".join(OPTIONAL), *command.split()]
    return subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("command", "code"), WORKS)
def test_command_works_without_extras(command: str, code: int, folder: Path) -> None:
    done = run(command, folder)
    assert done.returncode == code, done.stderr
    assert "extra" not in done.stderr


@pytest.mark.parametrize(("command", "extra"), NEEDS)
def test_command_names_the_extra_that_it_needs(command: str, extra: str, folder: Path) -> None:
    done = run(command, folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        rf"nodespec: [^\n]* need the extra nodespec\[{extra}\] of pip, or python3-\w+ of Debian\n", done.stderr
    )
    assert not (folder / "fit.html").exists()
    assert extra in PROJECT["optional-dependencies"]


def test_every_command_is_tried() -> None:
    assert {command.split()[0] for command, _ in (*WORKS, *NEEDS)} == {*COMMANDS}


def test_only_yaml_is_always_required() -> None:
    assert [re.split(r"[<>=\[; ]", name)[0] for name in PROJECT["dependencies"]] == ["pyyaml"]
    extras = PROJECT["optional-dependencies"]
    assert extras["all"] == ["nodespec[html,reports]"]
    assert "nodespec[all]" in extras["test"]
