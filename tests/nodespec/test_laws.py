"""Which part of the program may know which, and what every declared fact owes its reader: read from the sources."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Set, Tuple, Union, cast

import pytest

from nodespec import checks, facts, reports
from nodespec.expectation import OPERATORS, WORDS
from nodespec.facts import Fact, Group, Leaf, Place, Table
from nodespec.machine import Machine
from nodespec.tree import Tree

ROOT = Path(checks.__file__).parent.parent
ENGINE = Path(facts.__file__).parent

# What turns documents into plans, and what a person asks besides: YAML, JSON Schema and templates belong here.
AUTHOR = {
    "ahead",
    "bundle",
    "check",
    "compact",
    "comparison",
    "consistency",
    "demands",
    "explain",
    "inquiry",
    "installing",
    "library",
    "parameter",
    "proof",
    "schema",
    "source",
    "spec",
    "statement",
    "stored",
    "sysspec",
    "verification",
    "walk",
}
# What a family may know of the engine, beside other families: facts and values, and how to look.
LOOKING = {"facts", "json_types", "mistake", "kinds", "named", "observation", "versions", "tree", "machine", "pseudofs"}
READING = {"cri", "grpc", "hpack", "mounts", "peer", "protobuf", "stream", "toml", "unpacking"}  # of files
READING |= {"boot_entry", "grub_legacy", "grub_menu", "grub_syntax", "grub_test", "pe", "pi_config", "syslinux"}
READING |= {"version_order"}
# What a renderer may know: the report, how to show a host's words, and what several formats count alike.
SHOWING = {"report", "escape", "named", "summary", "mistake", "json_types", "observation", "plan", "subject"}
THIRD = {"yaml", "jsonschema", "jinja2"}
HEAVY = {"dataclasses", "pathlib", "subprocess", "logging", "asyncio", "urllib", "difflib"}  # cost time


class Import(NamedTuple):
    name: str
    line: int
    late: bool  # when it is used, not when the module is loaded


def imports(path: Path, package: str) -> Iterator[Import]:
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
            base = ".".join([package, *filter(None, [node.module])]) if node.level == 1 else str(node.module)
            assert node.level < 2, f"{path}:{node.lineno}"
            for one in node.names:
                inner = f"{base}.{one.name}"
                yield Import(inner if _is_module(inner) else base, node.lineno, late)


def _is_module(name: str) -> bool:
    parts = name.split(".")
    folder = {"nodespec.checks": ROOT / "checks", "nodespec.reports": ROOT / "reports"}.get(".".join(parts[:2]))
    if folder:
        return len(parts) == 3 and (folder / f"{parts[2]}.py").exists()
    return parts[0] == "nodespec" and len(parts) == 2 and (ENGINE / f"{parts[1]}.py").exists()


def modules(folder: Path) -> List[Path]:
    return sorted(folder.glob("*.py"))


ENGINES = modules(ENGINE)
FAMILIES = modules(Path(checks.__file__).parent)
RENDERERS = modules(Path(reports.__file__).parent)
NODE = [path for path in ENGINES if path.stem not in AUTHOR] + FAMILIES


def test_the_authors_half_is_what_it_is_said_to_be() -> None:
    assert {path.stem for path in ENGINES} >= AUTHOR


@pytest.mark.parametrize("path", NODE, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_the_nodes_half_imports_the_standard_library_and_itself(path: Path) -> None:
    package = "nodespec" if path in ENGINES else "nodespec.checks"
    for one in imports(path, package):
        where = f"{path}:{one.line}: {one.name}"
        top, _, below = one.name.partition(".")
        if top != "nodespec":
            assert top in sys.stdlib_module_names, where
            assert one.late or top not in HEAVY, where
        else:
            assert below.split(".")[0] not in AUTHOR, where


@pytest.mark.parametrize("path", [*NODE, *RENDERERS], ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_what_runs_on_a_node_is_python_3_9(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 9))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            assert not (getattr(node.func, "id", "") == "zip" and any(k.arg == "strict" for k in node.keywords))
    assert "from __future__ import annotations" in path.read_text("utf-8") or len(tree.body) <= 3


@pytest.mark.parametrize("path", ENGINES, ids=lambda path: path.stem)
def test_third_parties_are_imported_where_they_are_used(path: Path) -> None:
    for one in imports(path, "nodespec"):
        assert one.late or one.name.split(".")[0] not in THIRD, f"{path}:{one.line}"
        assert not one.name.startswith(("checks", "reports", "specs")), f"{path}:{one.line}"


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
def test_a_family_knows_facts_and_how_to_look(path: Path) -> None:
    for one in imports(path, "nodespec.checks"):
        if one.name.startswith("nodespec") and not one.name.startswith("nodespec.checks"):
            assert one.name.partition(".")[2] in LOOKING | READING, f"{path}:{one.line}: {one.name}"


@pytest.mark.parametrize("path", RENDERERS, ids=lambda path: path.stem)
def test_a_renderer_knows_the_report(path: Path) -> None:
    for one in imports(path, "nodespec.reports"):
        where = f"{path}:{one.line}: {one.name}"
        if one.name.startswith("nodespec"):
            assert one.name.startswith("nodespec.reports") or one.name.partition(".")[2] in SHOWING, where
        elif one.name.split(".")[0] not in sys.stdlib_module_names:
            assert one.name.split(".")[0] in THIRD, where
            assert one.late, where


def reached(name: str, known: Dict[str, Set[str]]) -> Set[str]:
    """All that a module imports when it is loaded, and what that imports."""
    found: Set[str] = set()
    ahead = [name]
    while ahead:
        for below in known.get(ahead.pop(), ()):
            if below not in found:
                found.add(below)
                ahead.append(below)
    return found


def test_arrows_run_one_way() -> None:
    known = {
        f"nodespec.{path.stem}": {one.name for one in imports(path, "nodespec") if not one.late} for path in ENGINES
    }
    for path in ENGINES:
        assert f"nodespec.{path.stem}" not in reached(f"nodespec.{path.stem}", known), path.stem
    for low in ("observation", "versions", "kinds", "facts", "tree", "machine", "report"):
        high = {"spec", "pattern", "evaluation", "cli", "check", "judging", "expectation", "looking"}
        assert not reached(f"nodespec.{low}", known) & {f"nodespec.{name}" for name in high}, low
    for name in ("expectation", "pattern", "plan", "evaluation", "judging"):
        assert not reached(f"nodespec.{name}", known) & {"nodespec.tree", "nodespec.cli", "nodespec.spec"} - {
            "nodespec.tree" if name in ("evaluation", "judging") else ""  # by the protocol of facts
        }, name


# the declared facts


def declared() -> Iterator[Tuple[str, Union[Leaf, Table]]]:
    for family in facts.families():
        found = facts.family(family)
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
    words = {*OPERATORS, *WORDS, "aliases", "present", "absent", "*"}
    assert not set(name.split(".")) & words
    if isinstance(fact, Table):
        assert not set(fact.columns) & words


@every_fact
def test_a_fix_holds_only_what_is_filled_in(name: str, fact: Fact[object]) -> None:
    fixes = [fact.fix, *(fact.fixes.values() if isinstance(fact, Table) else ())]
    filled = {"{want}", "{key}"} if isinstance(fact, Table) else {"{want}"}
    for fix in fixes:
        assert set(re.findall(r"\{[a-z]+\}", fix)) <= filled, f"{name}: {fix}"
    if isinstance(fact, Table):
        assert set(fact.fixes) <= set(fact.columns)
        place = Place((*name.split("."), "KEY"), fact, "KEY")
        assert "{key}" not in place.fix


def test_the_registry_names_every_family_once() -> None:
    public = {path.stem for path in FAMILIES if not path.stem.startswith("_")}
    assert set(facts.families()) == public
    assert len(facts.families()) == len(public)
    assert not public & {"params", "recommended"}
    assert all(re.fullmatch("[a-z_]+", name) for name in public)


def test_the_registry_names_every_renderer_once() -> None:
    public = {path.stem for path in RENDERERS} - {"__init__", "words"}
    assert set(reports.FORMATS) == public
