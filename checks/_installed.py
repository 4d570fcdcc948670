"""Programs that are installed: their version by the package that has them, or by how they were built."""

from __future__ import annotations

from typing import Sequence

from nodespec.checks._program_places import DIRECTORIES, find_program
from nodespec.facts.declaration import Columns
from nodespec.host.tree import Tree
from nodespec.model.observation import DEFERRED, Evidence, Observation, Unknown, Value

MAX_PROGRAM_BYTES = 1 << 27  # read of a program: dockerd has 100 MiB
OWN = "/usr/local/"  # where no package puts anything


def version(tree: Tree, program: str, names: Sequence[str]) -> Observation[str]:
    """The version of a program, by the first of these packages that is installed, else by Go's build information."""
    from nodespec.checks.packages import rows_of  # noqa: PLC0415

    path = find_program(tree, program)
    if not isinstance(path, Value):
        return path
    rows = rows_of(tree)
    for name in () if path.value.startswith((OWN, *DIRECTORIES)) else names:
        row = rows.look(name)
        if isinstance(row, Unknown) and row.reason not in ("not found", "unsupported"):
            return row
        if isinstance(row, Value) and isinstance(row.value, Columns):
            return row.value["version"].then(str)
    return _built(tree, path.value, program)


def _built(tree: Tree, path: str, program: str) -> Observation[str]:
    """The version of a Go program by its build information, as of runtimes from release archives."""
    from nodespec.formats.go_buildinfo import read_build_info, released_version  # noqa: PLC0415

    def read(offset: int, size: int) -> bytes:
        """Bytes of the file; a tree is read from the start of a file on."""
        if offset + size > MAX_PROGRAM_BYTES:
            raise ValueError("is too long")
        head = tree.head(path, offset + size)
        return head.value[offset:] if isinstance(head, Value) else b""

    try:
        info = read_build_info(read)
    except ValueError:
        info = None
    version = released_version(info) if info and info.path.rpartition("/")[2] == program else ""
    if version:
        return Value(version, Evidence(path))
    return Unknown(DEFERRED, f"only a running machine can tell: no package says the version of {path}")
