"""Optional configuration of services: read what exists, and keep what could not be read.

Without its files a service sets nothing, but a file that cannot be read may set anything.
"""

from __future__ import annotations

from nodespec.light_typing import TYPE_CHECKING, TypeVar, cast
from nodespec.model.observation import Unknown

if TYPE_CHECKING:
    from typing import Callable, Iterable, List, Optional, Tuple

    from nodespec.host.tree import Tree

T = TypeVar("T")
READS = ("entry", "line", "link", "names", "text")


class ReadLog:
    """A tree that keeps the first observation of a path that could not be read."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.unread: Optional[Unknown] = None

    def __getattr__(self, name: str) -> object:
        method = getattr(self._tree, name)
        if name not in READS:
            return method

        def read(*paths: str, **options: object) -> object:
            found = method(*paths, **options)
            if isinstance(found, Unknown):
                self.unread = self.unread or found
            return found

        return read


def read_with_log(tree: Tree, read: Callable[[Tree], Iterable[T]]) -> Tuple[List[T], Optional[Unknown]]:
    """Return what a function reads from a tree, and why there may be more."""
    log = ReadLog(tree)
    return list(read(cast("Tree", log))), log.unread
