from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nodespec
from nodespec import checks, reports, specs

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOP = Path(__file__).parent.parent
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())
FOLDERS = ("nodespec", "checks", "reports", "specs")


def run(*args: str, cwd: Path = TOP) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run([sys.executable, *args], cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_version_is_said_once() -> None:
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "nodespec.__version__"}
    assert f"\n## [{nodespec.__version__}] - {nodespec.BUILT}\n" in (TOP / "CHANGELOG.md").read_text()


def test_changelog_has_the_form_of_keep_a_changelog() -> None:
    text = (TOP / "CHANGELOG.md").read_text()
    assert text.startswith("# Changelog\n\nThe form is that of [Keep a Changelog](https://keepachangelog.com/")
    versions = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert versions[0].startswith("[Unreleased]\n")
    for version in versions:
        head = version.splitlines()[0]
        assert re.fullmatch(r"\[Unreleased\]|\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", head), head
        kinds = re.findall(r"^### (.*)$", version, re.MULTILINE)
        order = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
        assert kinds == [kind for kind in order if kind in kinds], f"{head}: each kind once, in the order {order}"


@pytest.mark.parametrize("folder", FOLDERS[1:])
def test_links_lead_to_the_folders_beside_them(folder: str) -> None:
    link = TOP / "nodespec" / folder
    assert link.is_symlink()
    assert str(link.readlink()) == f"../{folder}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_is_of_a_kind_that_the_wheel_takes(folder: str) -> None:
    package = folder if folder == "nodespec" else f"nodespec.{folder}"
    patterns = ["**/*.py", *PROJECT["tool"]["setuptools"]["package-data"].get(package, [])]
    taken = {path for pattern in patterns for path in (TOP / folder).glob(pattern)}
    lying = {path for path in (TOP / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert lying == taken


def test_all_packages_are_named() -> None:
    named = PROJECT["tool"]["setuptools"]["packages"]
    rooms = {path.parent for path in (TOP / "nodespec").rglob("*.py") if not path.parent.is_symlink()}
    below = {f"nodespec.{folder}" for folder in FOLDERS[1:]}
    assert {*named} == {".".join(room.relative_to(TOP).parts) for room in rooms} | below
    assert named == sorted(named)
    assert all((room / "__init__.py").is_file() for room in rooms)
    assert {path.parent for folder in FOLDERS[1:] for path in (TOP / folder).rglob("*.py")} == {
        TOP / folder for folder in FOLDERS[1:]
    }


def test_no_module_is_imported_under_a_second_name() -> None:
    seen = run("-c", "import nodespec.checks.memory, nodespec.reports.json, sys; print(*sys.modules)").stdout.split()
    assert "nodespec.checks.memory" in seen
    assert not {"checks", "reports", "specs"} & set(seen)
    for package in (checks, reports, specs):
        assert package.__name__.startswith("nodespec.")


def test_bare_checkout_answers() -> None:
    done = run("-m", "nodespec", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"nodespec {nodespec.__version__}\n", "")


def test_readme_names_the_commands_and_the_codes() -> None:
    text = (TOP / "README.md").read_text()
    commands = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert commands[:2] == ["./demo\n", "./test\n"]
    for script in ("demo", "test"):
        assert os.access(TOP / script, os.X_OK)
        assert (TOP / script).read_text().startswith("#!/bin/sh\n")


def test_missing_package_is_named_and_no_defect() -> None:
    done = run("-S", "-m", "nodespec", "check", "kubernetes/1.35")  # no site-packages, and so no YAML
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "nodespec: this Python has no module `yaml`; install PyYAML (Debian: python3-yaml), or nodespec with pip\n"
    )
