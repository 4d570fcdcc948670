"""Import the modules of nodespec from where they are, without the search that Python makes.

For each module Python asks every finder in turn and computes the names of all its files anew. That takes most of the
time of a small module. This finder is asked first, for modules below `nodespec` only. It reads the bytecode files of
Python, under Python's rules, and writes none. Where an installation is not plain, it leaves the import to Python.
"""

from __future__ import annotations

import marshal
import os
import sys

import nodespec
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec, SourceFileLoader
    from importlib.util import MAGIC_NUMBER
    from types import CodeType
    from typing import Callable, Optional, Sequence

    _fix_co_filename: Callable[[CodeType, str], None]
else:  # What Python itself uses for each import. The module importlib would take longer than it saves.
    from _frozen_importlib import ModuleSpec
    from _frozen_importlib_external import MAGIC_NUMBER, SourceFileLoader
    from _imp import _fix_co_filename

HEADER_BYTES = 16  # magic number, flags, time and size of the source: https://peps.python.org/pep-0552/
PLAIN_HEADER = MAGIC_NUMBER + bytes(4)  # no flags: the bytecode is valid for one time and size of the source
UINT32 = 0xFFFFFFFF


class BytecodeLoader(SourceFileLoader):
    """Load a module from its bytecode file if that begins with `header`."""

    def __init__(self, name: str, path: str, cached: str, header: bytes) -> None:
        super().__init__(name, path)
        self.cached, self.header = cached, header

    def get_code(self, fullname: str) -> Optional[CodeType]:
        """Return the code of the module. Python reads or compiles it if the bytecode is missing or out of date."""
        try:
            with open(self.cached, "rb", buffering=0) as file:
                data = file.read()
        except OSError:
            data = b""
        if not data.startswith(self.header):
            return super().get_code(fullname)
        code: CodeType = marshal.loads(memoryview(data)[HEADER_BYTES:])  # noqa: S302 - as Python loads the same file
        _fix_co_filename(code, str(self.path))  # the installation was moved
        return code


class ModuleFinder:
    """Find modules in the directories of their packages."""

    @staticmethod
    def find_spec(name: str, path: Optional[Sequence[str]] = None, _target: object = None) -> Optional[ModuleSpec]:
        """Return how to load a module; None leaves it to Python."""
        if path is None or len(path) != 1 or not name.startswith("nodespec."):
            return None
        directory, module = path[0], name.rpartition(".")[2]
        file = f"{directory}/{module}.py"
        try:
            status = os.stat(file)
        except OSError:
            return _find_package(name, f"{directory}/{module}")
        return _make_spec(name, directory, module, status)


def _find_package(name: str, directory: str) -> Optional[ModuleSpec]:
    try:
        status = os.stat(f"{directory}/__init__.py")
    except OSError:
        return None
    spec = _make_spec(name, directory, "__init__", status)
    spec.submodule_search_locations = [directory]
    return spec


def _make_spec(name: str, directory: str, module: str, status: os.stat_result) -> ModuleSpec:
    file = f"{directory}/{module}.py"
    cached = f"{directory}/__pycache__/{module}.{sys.implementation.cache_tag}.pyc"
    stamp = (int(status.st_mtime) & UINT32).to_bytes(4, "little") + (status.st_size & UINT32).to_bytes(4, "little")
    spec = ModuleSpec(name, BytecodeLoader(name, file, cached, PLAIN_HEADER + stamp), origin=file)
    spec.has_location, spec.cached = True, cached
    return spec


def install_finder() -> None:
    """Import the modules of nodespec by this finder from now on, if Python keeps their bytecode where it looks."""
    plain = isinstance(nodespec.__loader__, SourceFileLoader) and sys.implementation.cache_tag
    if plain and not sys.flags.optimize and not sys.pycache_prefix:
        sys.meta_path.insert(0, ModuleFinder)
