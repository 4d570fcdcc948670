"""A tree of which some paths, and all below them, may not be read: whoever runs the tests may be root."""

from __future__ import annotations

import errno
import os
from typing import Callable, TypeVar

from nodespec.host.directory import DirectoryTree
from nodespec.model.observation import Observation

T = TypeVar("T")


class RefusingTree(DirectoryTree):
    """A directory as a tree that refuses paths."""

    def __init__(self, root: str, *refused: str) -> None:
        super().__init__(root)
        self.refused = refused

    def _ask(self, path: str, ask: Callable[[], T]) -> Observation[T]:
        def refuse() -> T:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        below = any(f"{path}/".startswith(f"{refused}/") for refused in self.refused)
        return super()._ask(path, refuse if below else ask)
