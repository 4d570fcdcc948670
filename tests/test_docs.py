"""Every command that the documents show is run, in an empty folder beside the files that they show."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from fit_node import laid, plan, planted, report
from unhurried import PROGRAM

from nodespec.model.report import Style
from nodespec.reports import text

TOP = Path(__file__).parents[1]
PAGES = sorted([TOP / "README.md", *(TOP / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)(?: +(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """The fenced blocks of a page in one language, each with the file name behind it."""
    return [(name, body) for kind, name, body in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands(page: Path) -> list[str]:
    """Every line of a page that begins with `$`, in its order: one may need what another made."""
    lines = (line for _, body in blocks(page, "console") for line in body.split("\n"))
    return [line[2:] for line in lines if line.startswith("$ ")]


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command line as a shell would run it, with this very nodespec."""
    return subprocess.run(
        [
            "/bin/sh",
            "-c",
            re.sub(
                r"(^|\| *)nodespec\b", lambda found: found[1] + shlex.join(PROGRAM), line.split("  # ", maxsplit=1)[0]
            ),
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(TOP)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with every file that a page shows under its name."""
    for page in PAGES:
        for language in ("yaml", "json"):
            for name, body in blocks(page, language):
                if name:
                    (tmp_path / name).write_text(body, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.stem)
def test_the_commands_that_are_shown_do_what_is_said(page: Path, folder: Path) -> None:
    for line in commands(page):
        said = re.search(r"  # exits (\d+(?: or \d+)*)", line)
        wanted = {int(code) for code in said[1].split(" or ")} if said else {0}
        done = run(line, folder)
        assert done.returncode in wanted, f"{line}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr


def test_a_python_that_runs_a_bundle_is_always_isolated() -> None:
    """Without -I it imports what others write to the current directory, or to the folder of the bundle."""
    pages = [(page, page.read_text(encoding="utf-8")) for page in PAGES]
    started = [(page.name, line) for page, text_ in pages for line in re.findall(r'python3(?:",)? .*', text_)]
    bundles = [(name, line) for name, line in started if re.match(r'python3(",)? [^`|;&]*(preflight| - )', line)]
    assert len(bundles) > 10
    assert [one for one in bundles if not re.match(r'python3(",)? "?-I[" ]', one[1])] == []


def test_the_page_of_facts_is_what_the_families_declare(tmp_path: Path) -> None:
    line = [sys.executable, str(TOP / "tests" / "pages" / "facts_page.py")]
    env = {**os.environ, "PYTHONPATH": str(TOP)}
    made = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout
    page = (TOP / "docs" / "facts.md").read_text(encoding="utf-8")
    assert made == page, "run: python tests/pages/facts_page.py > docs/facts.md"


def test_the_specs_that_are_shown_are_sound(folder: Path) -> None:
    shown = [body for page in PAGES for _, body in blocks(page, "yaml") if body.startswith("nodespec: 1")]
    assert shown
    for number, body in enumerate(shown):
        (folder / f"shown-{number}.yaml").write_text(body, encoding="utf-8")
        done = run(f"nodespec lint ./shown-{number}.yaml", folder)
        assert done.returncode == 0, done.stderr + body


def test_the_report_that_is_shown_is_the_one_that_comes_of_the_spec_above_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    node = planted(tmp_path, laid("fit-node-hybrid"))
    made = text.render([report(node, plan(["node.yaml"]))], Style(width=100))
    assert [body for _, body in blocks(TOP / "README.md", "text")] == [made]
