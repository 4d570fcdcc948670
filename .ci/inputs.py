"""Digest of what the result of a stage depends on: files of the checkout, and the machine."""

from __future__ import annotations

import ast
import os
import platform
import re
import stat
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Iterator, List, Sequence, Set

if TYPE_CHECKING:
    from collections.abc import Iterable
    from hashlib import _Hash

PROGRAM = ("nodespec", "checks", "reports", "specs", "pyproject.toml", "setup.py")
PYTHON_FOLDERS = ("nodespec", "checks", "reports")
FOLDERS = ("", *(f"tests/{name}" for name in ("", "stages/", "nodespec/", "faults/", "fuzzing/", "reports/")))
# what is imported by name: families, or modules of the standard library; any other module is taken to import everything
IMPORTED_BY_NAME = {
    "nodespec/facts/declaration.py": ("checks",),
    "nodespec/formats/decompress.py": (),
    "nodespec/sha256.py": (),
}


def list_files(top: Path, paths: Sequence[str]) -> List[str]:
    """List the files below some paths that git tracks or does not ignore, in order."""
    command = ("git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--")
    done = subprocess.run((*command, *paths), cwd=top, capture_output=True, check=True)
    return sorted({os.fsdecode(name) for name in done.stdout.split(b"\0") if name})


def read_version(top: Path) -> str:
    """Return the commit of the checkout, for people."""
    git = ("git", "-c", "safe.directory=*")
    commit = subprocess.run((*git, "rev-parse", "--short", "HEAD"), cwd=top, capture_output=True, text=True, check=True)
    changed = subprocess.run((*git, "status", "--porcelain"), cwd=top, capture_output=True, text=True, check=True)
    return commit.stdout.strip() + (" with uncommitted changes" if changed.stdout else "")


def describe_machine() -> str:
    """Describe what a result can depend on besides the checkout: kernel, distribution, Python and Debian's packages."""
    names = ("/etc/os-release", "/var/lib/dpkg/status")
    texts = [Path(name).read_text(encoding="utf-8", errors="replace") for name in names if Path(name).exists()]
    marks = ("ID=", "Package:", "Version:", "Status:")
    lines = [line for text in texts for line in text.splitlines() if line.startswith(marks)]
    return "\n".join((platform.release(), platform.machine(), platform.python_version(), *lines))


def digest(top: Path, paths: Sequence[str], more: Iterable[str]) -> str:
    """Return a digest of the content, type and mode of all files below `paths`, and of more texts."""
    state = sha256()
    for text in more:
        _add(state, text.encode())
    for name in list_files(top, paths):
        try:
            mode = (top / name).lstat().st_mode
        except FileNotFoundError:  # tracked, and deleted
            _add(state, f"{name} -".encode())
            continue
        _add(state, f"{os.fsencode(name)!r} {stat.S_IFMT(mode):o} {mode & 0o100:o}".encode())
        if stat.S_ISLNK(mode):
            _add(state, os.fsencode(os.readlink(top / name)))
        elif stat.S_ISREG(mode):
            _add(state, (top / name).read_bytes())
    return state.hexdigest()


def _add(state: _Hash, data: bytes) -> None:
    """Add data with its length, so that no two lists of texts have one digest."""
    state.update(b"%d:" % len(data) + data)


class Imports:
    """The imports of a checkout, each file read once."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.files = {name for name in list_files(top, ["*.py"]) if not (top / name).is_symlink()}
        self.direct: Dict[str, Set[str]] = {}

    def files_of(self, scripts: Iterable[str]) -> List[str]:
        """List scripts and every file that they import, directly or not.

        Lazy and type-only imports count. If a module imports by name, everything that it can import is listed.
        """
        found: Set[str] = set()
        missing = {script for script in scripts if script.endswith(".py")}
        while missing:
            found |= missing
            missing = {file for name in missing for file in self._direct(name)} - found
        return sorted(found)

    def _direct(self, name: str) -> Set[str]:
        if name not in self.direct:
            text = (self.top / name).read_text(encoding="utf-8")
            self.direct[name] = {file for module in imported_names(ast.parse(text)) for file in self._files(module)}
            if "import_module" in text:
                folders = tuple(f"{folder}/" for folder in IMPORTED_BY_NAME.get(name, PYTHON_FOLDERS))
                self.direct[name] |= {file for file in self.files if file.startswith(folders)}
        return self.direct[name]

    def _files(self, module: str) -> Iterator[str]:
        """Yield the files of a module of the checkout and of the packages that contain it."""
        parts = module.split(".")
        for count in range(1, len(parts) + 1):
            path = re.sub("^nodespec/(checks|reports)(/|$)", r"\1\2", "/".join(parts[:count]))  # links to these
            for folder in FOLDERS:
                yield from {f"{folder}{path}.py", f"{folder}{path}/__init__.py"} & self.files


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names that a module imports: `from a import b` can import `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def site_packages(python: Path) -> str:
    """Return the names and versions of what is installed in a virtual environment."""
    folders = python.parent.parent.glob("lib/python*/site-packages/*.dist-info")
    return " ".join(sorted(folder.name for folder in folders))
