"""What a bundle carries: sources that say the same with less, and code for the Python that made it."""

from __future__ import annotations

import ast
import marshal
import subprocess
import sys
import zlib
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Dict, List, Tuple

import pytest
from unhurried import unhurry

from nodespec.author.bundle import build, minify
from nodespec.author.spec.library import Library
from nodespec.author.spec.resolver import resolve

PLAN = resolve(["kubernetes/1.35"], Library(), {})
FAMILIES = sorted({*build.HEAD_FAMILIES, *build.find_used_families(PLAN)})
MODULES = build.collect_sources(FAMILIES)
SOURCE = '''\
"""What it is.

Of several lines.
"""

from __future__ import annotations  # so that

NAME = "# no comment"  # one


class Thing:
    """Said."""

    @fact("x")
    def told(self) -> None:
        """The manual."""


def wrong() -> int:  # why
    """Only this,
    on two lines."""
    raise ValueError(1)
'''


def read(node: ast.AST) -> str:
    """What a module says to Python."""
    for one in ast.walk(node):
        if isinstance(one, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(one) is not None:
            one.body[0] = ast.Pass(lineno=one.body[0].lineno)
    return ast.dump(node)


@pytest.mark.sampled(60)
@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_bare_source_says_the_same_on_the_same_lines(name: str) -> None:
    whole, bare = MODULES[name], minify.minify_source(name, MODULES[name])
    assert read(ast.parse(bare)) == read(ast.parse(whole))
    assert bare.count("\n") == whole.count("\n")
    lines = [[getattr(node, "lineno", 0) for node in ast.walk(ast.parse(text))] for text in (bare, whole)]
    assert lines[0] == lines[1]
    ast.parse(bare, feature_version=(3, 9))


def test_comments_and_docstrings_are_left_out_and_the_manual_is_not() -> None:
    lines = minify.minify_source("nodespec.escape", SOURCE).split("\n")
    assert lines[:7] == ['""', "", "", "", "", "from __future__ import annotations", ""]
    assert [line.strip() for line in lines if line.strip()][2:] == [
        'NAME = "# no comment"',
        "class Thing:",
        '""',
        '@fact("x")',
        "def told(self) -> None:",
        '""',
        "def wrong() -> int:",
        '""',
        "raise ValueError(1)",
    ]
    family = minify.minify_source("nodespec.checks.memory", SOURCE)
    assert '"""What it is.\n\nOf several lines.\n"""' in family
    assert '"""The manual."""' in family
    assert '"""Said."""' not in family


def codes(sources: Dict[str, str], started: int, room: int) -> Tuple[List[str], List[str]]:
    data = minify.compile_modules(sources, started, room)
    assert len(data) <= max(room, 40)
    assert data == minify.compile_modules(sources, started, room)
    together, single = marshal.loads(data)  # noqa: S302 - our own
    return [*marshal.loads(zlib.decompress(together))], [*single]  # noqa: S302 - likewise


@pytest.mark.parametrize("started", [0, 2, 20])
def test_code_is_that_of_as_many_modules_as_there_is_room_for(started: int) -> None:
    sources = {f"nodespec.m{number}": f"def f(a: str) -> str:\n    return a + {number}\n" for number in range(20)}
    every = codes(sources, started, 1 << 20)
    first, later = codes(sources, started, 300)
    assert every == ([*sources][:started], [*sources][started:])
    assert [*first, *later] == [*sources][: len(first) + len(later)]
    assert 0 < len(first) + len(later) < len(sources)
    assert codes(sources, started, 0) == ([], [])


def test_what_a_check_imports_at_once_is_compiled() -> None:
    started = build.list_start_modules(FAMILIES, MODULES)
    assert {"nodespec.run.check", "nodespec.judge.evaluation", "nodespec.reports.text", "nodespec.checks.kernel"} <= {
        *started
    }
    assert not {"nodespec.run.record", "nodespec.reports.json", "nodespec.checks._boot_next", "nodespec.images.oci"} & {
        *started
    }
    assert len(started) == len({*started})


@pytest.fixture(scope="module")
def preflight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "preflight"
    path.write_text(build.build_bundle(PLAN, []))
    unhurry(path)
    return path


SPY = """
import sys
sys.addaudithook(lambda event, args: print(args[1], file=sys.stderr) if event == 'compile' else None)
"""


def run(path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    program = f"{SPY}\nsys.argv = ['preflight', 'check']\nexec(open({str(path)!r}).read())"
    return subprocess.run(
        [sys.executable, "-S", "-c", program], cwd="/", env=env, capture_output=True, text=True, check=False
    )


def at(said: str) -> str:
    """A report without the time."""
    return said.split("Z\n", 1)[1]


def test_another_python_compiles_the_sources_and_finds_the_same(preflight: Path, tmp_path: Path) -> None:
    other = tmp_path / "preflight"
    other.write_text(preflight.read_text().replace(f'== "{MAGIC_NUMBER.hex()}"', '== "00000000"'))
    ready, anew, shown = run(preflight), run(other), run(preflight, NODESPEC_DEBUG="1")
    assert ready.returncode == anew.returncode == shown.returncode == 10, ready.stderr[-500:]
    assert at(ready.stdout) == at(anew.stdout) == at(shown.stdout)
    compiled = [{name for name in done.stderr.split() if name.startswith("nodespec")} for done in (ready, anew, shown)]
    assert not compiled[0]
    assert len(compiled[1]) == len(compiled[2]) >= 55


def test_no_module_stands_before_one_of_python_s_own() -> None:
    """What compiles is run as a file, and finds its own folder first."""
    beside = {path.stem for path in Path(minify.__file__).parent.glob("*.py")}
    assert "minify" in beside
    assert not beside & sys.stdlib_module_names
