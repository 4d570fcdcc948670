"""ARCHITECTURE.md names paths, functions, tests and rooms: each of them exists, and the table of rooms is complete."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOP = Path(__file__).parents[1]
PAGE = (TOP / "ARCHITECTURE.md").read_text(encoding="utf-8")
GUIDE = (TOP / "CONTRIBUTING.md").read_text(encoding="utf-8")
ROOMS = {path.name for path in (TOP / "nodespec").iterdir() if path.is_dir()}
PATH = re.compile(r"`((?:\.ci|nodespec|checks|reports|specs|tests|docs|formats|benchmarks)/[\w./-]*)(?:::(\w+))?`")
LINK = re.compile(r"\]\(([^)#:]+)\)")


def definitions(path: Path) -> set[str]:
    """Return the functions, classes and constants that a module defines at its top level."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    names = {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    assigned = (target for node in body if isinstance(node, ast.Assign) for target in node.targets)
    return names | {target.id for target in assigned if isinstance(target, ast.Name)}


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def table(text: str) -> list[list[str]]:
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


@pytest.mark.parametrize(("path", "test"), sorted(set(PATH.findall(PAGE + GUIDE))))
def test_named_paths_and_tests_exist(path: str, test: str) -> None:
    found = TOP / ("nodespec" if path.split("/", maxsplit=1)[0] == "formats" else "") / path
    assert found.exists(), f"{path} does not exist"
    assert not test or f"\ndef {test}(" in found.read_text(encoding="utf-8"), f"{path} has no test {test}"


@pytest.mark.parametrize("link", sorted(set(LINK.findall(PAGE + GUIDE))))
def test_links_lead_to_files(link: str) -> None:
    assert (TOP / link).is_file()


def test_steps_name_functions_of_their_files() -> None:
    steps = re.findall(r"`([\w/]+\.py)`: (`\w+`(?:(?:, | and )`\w+`)*)", section("One check, step by step"))
    assert len(steps) >= 10
    for path, names in steps:
        missing = set(re.findall(r"\w+", names.replace(" and ", " "))) - definitions(TOP / path)
        assert not missing, f"{path} does not define {missing}"


def test_rooms_are_the_layers() -> None:
    contracts = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [layer.split(" | ") for layer in contracts[0]["layers"]]
    assert [re.findall(r"`(\w+)`", room) for room, _ in table(section("Rooms"))] == layers
    inner = re.search(r"Inside `author`, from top to bottom: ([^.]*)\.", section("Rooms"))
    assert inner
    assert re.findall(r"`(\w+)`", inner[1]) == contracts[1]["layers"]
    packages = ROOMS - {"__pycache__", "specs", "plans"}
    assert packages <= {room for layer in layers for room in layer}


def test_every_law_has_a_test() -> None:
    laws = table(section("Laws"))
    assert [int(law.split(".")[0]) for law, _ in laws] == [*range(1, 10)]
    assert all("::" in tests for _, tests in laws)


def test_no_class_name_stands_twice() -> None:
    modules: dict[str, list[str]] = {}
    for room in ("nodespec", "checks", "reports"):
        for path in (TOP / room).rglob("*.py"):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    modules.setdefault(node.name, []).append(str(path.relative_to(TOP)))
    twice = {name: sorted(set(found)) for name, found in modules.items() if len({*found}) > 1}
    assert twice == {"Stream": ["reports/json.py", "reports/text.py"]}  # the name that a format gives its stream
