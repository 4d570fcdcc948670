"""Programs that are installed: their version by the package that has them."""

from __future__ import annotations

from typing import Sequence

from nodespec.checks._program_places import DIRECTORIES, find_program
from nodespec.facts.declaration import Columns
from nodespec.host.tree import Tree
from nodespec.model.observation import DEFERRED, Observation, Unknown, Value

OWN = "/usr/local/"  # where no package puts anything


def version(tree: Tree, program: str, names: Sequence[str]) -> Observation[str]:
    """The version of a program, by the first of these packages that is installed; at rest it is not asked itself."""
    from nodespec.checks.packages import rows_of  # noqa: PLC0415 - no live host is asked this way

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
    return Unknown(DEFERRED, f"only a running machine can tell: no package says the version of {path.value}")
