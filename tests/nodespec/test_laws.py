"""Which part of the program may know which, and what every declared fact owes its reader: read from the sources."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Iterator, List, NamedTuple, Tuple, Union, cast

import pytest

import nodespec
from nodespec import checks, reports
from nodespec.facts import declaration
from nodespec.facts.declaration import Fact, Group, Leaf, Place, Table
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.judge.expectation import OPERATORS, REQUIREMENT_KEYS

ROOT = Path(checks.__file__).parent.parent
ENGINE = Path(nodespec.__file__).parent

# What a family may know of the engine, beside other families: facts and values, and how to observe.
FAMILY_ROOMS = {"light_typing", "errors", "facts", "formats", "host", "model", "records"}
# What a renderer may know: the report, what several formats compute alike, and how to show a host's words.
RENDERER_ROOMS = {"light_typing", "errors", "escape", "judge", "model", "records"}
THIRD = {"yaml", "jsonschema", "jinja2"}
HEAVY = {"dataclasses", "pathlib", "subprocess", "logging", "asyncio", "urllib", "difflib"}  # cost time


class Import(NamedTuple):
    name: str
    line: int
    late: bool  # when it is used, not when the module is loaded


def imports(path: Path) -> Iterator[Import]:
    """What a module imports, but for types alone."""
    tree = ast.parse(path.read_text("utf-8"))
    typing = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    left = {id(inner) for node in typing for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in left:
            continue
        late = getattr(node, "col_offset", 0) > 0
        if isinstance(node, ast.Import):
            yield from (Import(one.name, node.lineno, late) for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for one in node.names:
                yield Import(f"{node.module}.{one.name}", node.lineno, late)


def modules(folder: Path) -> List[Path]:
    return sorted(folder.glob("*.py"))


FAMILIES = modules(Path(checks.__file__).parent)
RENDERERS = modules(Path(reports.__file__).parent)
ENGINES = [
    *ENGINE.glob("*.py"),
    *(path for room in ENGINE.iterdir() if not room.is_symlink() for path in room.rglob("*.py")),
]
NODE = [
    path
    for path in ENGINES
    if "author" not in path.relative_to(ENGINE).parts and path.name not in ("__main__.py", "api.py")
]


def module_id(path: Path) -> str:
    return f"{path.parent.name}.{path.stem}"


def test_rooms_import_one_way() -> None:
    """The layers of pyproject.toml, with lazy and type-only imports."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ENGINE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "4 kept, 0 broken" in done.stdout


@pytest.mark.parametrize("path", [*NODE, *FAMILIES], ids=module_id)
def test_the_nodes_half_imports_the_standard_library_and_itself(path: Path) -> None:
    for one in imports(path):
        where = f"{path}:{one.line}: {one.name}"
        top, _, below = one.name.partition(".")
        if top != "nodespec":
            assert top in sys.stdlib_module_names, where
            assert one.late or top not in HEAVY, where
        else:
            assert below.split(".")[0] != "author", where


@pytest.mark.parametrize("path", [*NODE, *FAMILIES, *RENDERERS], ids=module_id)
def test_what_runs_on_a_node_is_python_3_9(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 9))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            assert not (getattr(node.func, "id", "") == "zip" and any(k.arg == "strict" for k in node.keywords))
    assert "from __future__ import annotations" in path.read_text("utf-8") or len(tree.body) <= 3


@pytest.mark.parametrize("path", ENGINES, ids=module_id)
def test_third_parties_are_imported_where_they_are_used(path: Path) -> None:
    for one in imports(path):
        assert one.late or one.name.split(".")[0] not in THIRD, f"{path}:{one.line}"
        assert not one.name.startswith(("checks", "reports", "specs")), f"{path}:{one.line}"


@pytest.mark.parametrize("path", FAMILIES, ids=module_id)
def test_a_family_knows_facts_and_how_to_look(path: Path) -> None:
    for one in imports(path):
        if one.name.startswith("nodespec") and not one.name.startswith("nodespec.checks"):
            assert one.name.split(".")[1] in FAMILY_ROOMS, f"{path}:{one.line}: {one.name}"


@pytest.mark.parametrize("path", RENDERERS, ids=module_id)
def test_a_renderer_knows_the_report(path: Path) -> None:
    for one in imports(path):
        where = f"{path}:{one.line}: {one.name}"
        if one.name.startswith("nodespec"):
            assert one.name.startswith("nodespec.reports") or one.name.split(".")[1] in RENDERER_ROOMS, where
        elif one.name.split(".")[0] not in sys.stdlib_module_names:
            assert one.name.split(".")[0] in THIRD, where
            assert one.late, where


# the declared facts


def declared() -> Iterator[Tuple[str, Union[Leaf, Table]]]:
    for family in declaration.list_families():
        found = declaration.load_family(family)
        if isinstance(found, Group):
            yield from ((f"{family}.{name}", fact) for name, fact in found.members.items())
        else:
            yield family, found


DECLARED = dict(declared())
every_fact = pytest.mark.parametrize(("name", "fact"), DECLARED.items(), ids=DECLARED)


def looked_at(probe: object) -> object:
    """The type of what a probe is given."""
    (hint,) = (hint for name, hint in inspect.get_annotations(cast("type", probe)).items() if name != "return")
    return {"Tree": Tree, "Machine": Machine}[hint]


@every_fact
def test_a_fact_says_what_it_is(name: str, fact: Fact[object]) -> None:
    first = fact.about.strip().split("\n\n")[0]
    assert re.match(r"[A-Z0-9`/]", first), f"{name}: {first}"
    assert re.search(r"[.:?]$", first.strip()), f"{name}: {first}"
    assert fact.sources, name
    assert not any(re.search(r"\s$|^\s", source) or not source for source in fact.sources), name


@every_fact
def test_a_probe_of_what_does_not_run_is_given_a_tree(name: str, fact: Fact[object]) -> None:
    assert looked_at(fact.probe) in (Tree, Machine), name
    if fact.resting:
        assert looked_at(fact.resting) is Tree, name
        assert fact.resting_sources, name
    if fact.resting is fact.probe:  # declared to be the same at rest
        assert looked_at(fact.probe) is Tree, name
        assert fact.resting_sources == fact.sources, name


@every_fact
def test_no_name_is_a_word_of_the_grammar(name: str, fact: Fact[object]) -> None:
    words = {*OPERATORS, *REQUIREMENT_KEYS, "aliases", "present", "absent", "*"}
    assert not set(name.split(".")) & words
    if isinstance(fact, Table):
        assert not set(fact.columns) & words


@every_fact
def test_a_fix_holds_only_what_is_filled_in(name: str, fact: Fact[object]) -> None:
    fixes = [fact.fix, *(fact.fixes.values() if isinstance(fact, Table) else ())]
    filled = {"{want}", "{word}", "{key}"} if isinstance(fact, Table) else {"{want}", "{word}"}
    for fix in fixes:
        assert set(re.findall(r"\{[a-z]+\}", fix)) <= filled, f"{name}: {fix}"
    if isinstance(fact, Table):
        assert set(fact.fixes) <= set(fact.columns)
        place = Place((*name.split("."), "KEY"), fact, "KEY")
        assert "{key}" not in place.fix


def test_the_registry_names_every_family_once() -> None:
    public = {path.stem for path in FAMILIES if not path.stem.startswith("_")}
    assert set(declaration.list_families()) == public
    assert len(declaration.list_families()) == len(public)
    assert not public & {"params", "recommended"}
    assert all(re.fullmatch("[a-z_]+", name) for name in public)


def test_the_registry_names_every_renderer_once() -> None:
    helpers = {"__init__", "words", "text_fleet", "text_page", "text_waivers"}
    public = {path.stem for path in RENDERERS} - helpers
    assert set(reports.FORMATS) == public
