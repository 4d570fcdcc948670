"""The finder of nodespec's own modules: it loads what Python would load, and writes nothing."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import subprocess
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

import pytest

import nodespec
from nodespec.module_finder import BytecodeLoader, ModuleFinder, install_finder

PACKAGE = Path(nodespec.__file__).parent
SOURCE = "value = 'source'\n"
TIME = 1_700_000_000


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module whose bytecode differs from its source, so that a test sees which of them was loaded."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / "sample.py"
    path.write_text("value = 'cached'\n")
    os.utime(path, (TIME, TIME))
    py_compile.compile(str(path), doraise=True)
    path.write_text(SOURCE)
    os.utime(path, (TIME, TIME))
    return path


def load(path: Path) -> object:
    spec = ModuleFinder.find_spec(f"nodespec.{path.stem}", [str(path.parent)])
    assert spec
    module = importlib.util.module_from_spec(spec)
    assert spec.loader
    spec.loader.exec_module(module)
    return module.value


def bytecode(path: Path) -> Path:
    return Path(importlib.util.cache_from_source(str(path)))


def test_bytecode_of_the_source_is_loaded(module: Path) -> None:
    assert load(module) == "cached"


def test_a_source_of_another_time_is_compiled(module: Path) -> None:
    os.utime(module, (TIME + 1, TIME + 1))
    assert load(module) == "source"


def test_a_source_of_another_size_is_compiled(module: Path) -> None:
    module.write_text(f"{SOURCE}\n")
    os.utime(module, (TIME, TIME))
    assert load(module) == "source"


@pytest.mark.parametrize("at", [*range(16)])
def test_a_header_that_differs_in_one_byte_is_refused(module: Path, at: int) -> None:
    """Magic number, flags, time and size: a bytecode file of another Python, or one with flags, is left to Python."""
    data = bytearray(bytecode(module).read_bytes())
    data[at] ^= 0x80
    bytecode(module).write_bytes(data)
    assert load(module) == "source"


@pytest.mark.parametrize("size", [0, 4, 15])
def test_a_truncated_header_is_refused(module: Path, size: int) -> None:
    bytecode(module).write_bytes(bytecode(module).read_bytes()[:size])
    assert load(module) == "source"


def test_damaged_bytecode_is_an_error_as_python_has_it(module: Path) -> None:
    header = bytecode(module).read_bytes()[:16]
    bytecode(module).write_bytes(header + b"\0")
    python = PathFinder.find_spec("nodespec.sample", [str(module.parent)])
    for spec in (python, ModuleFinder.find_spec("nodespec.sample", [str(module.parent)])):
        assert spec
        assert spec.loader
        with pytest.raises((ValueError, EOFError, ImportError, TypeError)):
            spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_a_hash_of_the_source_is_checked_by_python(module: Path) -> None:
    py_compile.compile(str(module), invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    module.write_text("value = 'newer!'\n")
    os.utime(module, (TIME, TIME))
    assert load(module) == "newer!"


def test_no_bytecode_is_written_by_the_finder(module: Path) -> None:
    bytecode(module).unlink()
    bytecode(module).parent.rmdir()
    assert load(module) == "source"
    assert [path.name for path in module.parent.iterdir()] == ["sample.py"]


def test_code_of_a_moved_installation_names_its_file(module: Path) -> None:
    moved = module.parent / "moved"
    moved.mkdir()
    (module.parent / "__pycache__").rename(moved / "__pycache__")
    module = module.rename(moved / module.name)
    loader = BytecodeLoader("nodespec.sample", str(module), str(bytecode(module)), bytecode(module).read_bytes()[:16])
    code = loader.get_code("nodespec.sample")
    assert code
    assert code.co_filename == str(module)
    assert load(module) == "cached"


@pytest.mark.parametrize("name", ["json", "nodespec", "other.sample", "nodespec.missing"])
def test_other_modules_are_left_to_python(module: Path, name: str) -> None:
    assert ModuleFinder.find_spec(name, [str(module.parent)]) is None
    assert ModuleFinder.find_spec("nodespec.sample", None) is None
    assert ModuleFinder.find_spec("nodespec.sample", ["a", str(module.parent)]) is None


def own_modules() -> list[tuple[str, str]]:
    """The name of each module, and the directory of its package."""
    paths = [path for path in PACKAGE.rglob("*.py") if "specs" not in path.parts]
    paths += [path for room in ("checks", "reports") for path in (PACKAGE / room).glob("*.py")]
    names = {(path.parent if path.name == "__init__.py" else path.with_suffix("")) for path in paths} - {PACKAGE}
    return [(".".join(("nodespec", *path.relative_to(PACKAGE).parts)), str(path.parent)) for path in sorted(names)]


def test_every_module_is_found_as_python_finds_it() -> None:
    names = own_modules()
    assert len(names) > 200
    for name, directory in names:
        python, ours = PathFinder.find_spec(name, [directory]), ModuleFinder.find_spec(name, [directory])
        assert python
        assert ours
        assert described(ours) == described(python)


def described(spec: ModuleSpec) -> tuple[object, ...]:
    return spec.name, spec.origin, spec.cached, spec.has_location, spec.submodule_search_locations, spec.parent


def test_only_a_plain_installation_gets_the_finder(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, attribute, value in (
        (nodespec, "__loader__", object()),  # of an archive
        (sys, "pycache_prefix", "/nonexistent"),
        (sys.implementation, "cache_tag", None),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "meta_path", [])
            patch.setattr(owner, attribute, value)
            install_finder()
            assert sys.meta_path == []
    monkeypatch.setattr(sys, "meta_path", [])
    install_finder()
    assert sys.meta_path == [ModuleFinder]


def test_the_program_imports_by_the_finder() -> None:
    """Python searches for three modules: the package, the entry point and the finder, with what these import."""
    show = (
        "print(*[n for n, m in sys.modules.items() if n.startswith('nodespec') and 'Bytecode' not in repr(m.__spec__)])"
    )
    code = f"import sys\nfrom nodespec.__main__ import run, main\nrun(lambda: main(['specs']) or {show} or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    others = {"nodespec", "nodespec.__main__", "nodespec.light_typing", "nodespec.module_finder"}
    assert set(done.stdout.splitlines()[-1].split()) == others
