"""A kind of tree that does not implement every method of the interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TESTS = ("tests/nodespec/test_tree_contract.py",)
NOTICED_BY = ("test_every_kind_of_tree_implements_every_method",)
TREE = '''"""Files in memory as a tree."""

from __future__ import annotations

from typing import Mapping, Tuple

from nodespec.host.tree import Tree


class MemoryTree(Tree):
    """Files in memory."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__("/")
        self.files = files

    def _read_start(self, path: str, size: int) -> bytes:
        return self.files[path][:size]

    def _list_names(self, path: str) -> Tuple[str, ...]:
        return tuple(name for name in self.files if name.startswith(path))
'''


def apply(top: Path) -> None:
    """Add the tree, which forgets links and entries."""
    path = top / "nodespec/host/memory.py"
    if path.exists():
        raise FileExistsError(path)
    path.write_text(TREE)
