"""Version of an installed program, by its package or its build information."""

from __future__ import annotations

from nodespec.checks._program_places import DIRECTORIES, find_program
from nodespec.facts.declaration import Columns
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Optional, Sequence

    from nodespec.formats.go_buildinfo import BuildInfo

MAX_PROGRAM_BYTES = 1 << 27  # read of a program: dockerd has 100 MiB
LOCAL_PREFIX = "/usr/local/"  # packages install nothing here


def read_program_version(tree: Tree, program: str, names: Sequence[str]) -> Observation[str]:
    """Return the version of a program.

    It is that of the first of these packages that is installed, else that of Go's build information.
    """
    from nodespec.checks.packages import read_packages  # noqa: PLC0415

    path = find_program(tree, program)
    if not isinstance(path, Value):
        return path
    rows = read_packages(tree)
    for name in () if path.value.startswith((LOCAL_PREFIX, *DIRECTORIES)) else names:
        row = rows.observe(name)
        if isinstance(row, Unknown) and row.reason not in ("not found", "unsupported"):
            return row
        if isinstance(row, Value) and isinstance(row.value, Columns):
            return row.value["version"].then(str)
    return _read_go_version(tree, path.value, program)


def read_go_build_info(tree: Tree, path: str) -> Optional[BuildInfo]:
    """Return the build information of a program; None if it is not of Go. Raises `ValueError` for a damaged program."""
    from nodespec.formats.go_buildinfo import read_build_info  # noqa: PLC0415

    def read(offset: int, size: int) -> bytes:
        """Read bytes of the file; a tree reads a file from its start."""
        if offset + size > MAX_PROGRAM_BYTES:
            raise ValueError("the file is too large")
        head = tree.head(path, offset + size)
        return head.value[offset:] if isinstance(head, Value) else b""

    return read_build_info(read)


def _read_go_version(tree: Tree, path: str, program: str) -> Observation[str]:
    """Return the version by Go's build information, for programs of release archives."""
    from nodespec.formats.go_buildinfo import find_released_version  # noqa: PLC0415

    try:
        info = read_go_build_info(tree, path)
    except ValueError:
        info = None
    version = find_released_version(info) if info and info.path.rpartition("/")[2] == program else ""
    if version:
        return Value(version, Evidence(path))
    return Unknown(DEFERRED, f"only a running machine can tell: no package has the version of {path}")
