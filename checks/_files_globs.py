"""Paths that match a glob. `*` matches any characters of one name, a dot at its start included, but no slash."""

from __future__ import annotations

from nodespec.formats.glob import matches_glob
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Unknown, Value

if TYPE_CHECKING:
    from typing import List, Tuple, Union

    from nodespec.host.tree import Tree

MAX_PATHS = 10_000  # Paths that match, at each directory on the way.


def list_matching_paths(tree: Tree, glob: str) -> Union[Tuple[str, ...], Unknown]:
    """Return the paths that match a glob, sorted; unknown if a directory on the way cannot be read."""
    if not tree.running and f"{glob}/".startswith(("/proc/", "/sys/")):
        return Unknown(DEFERRED, "only a running machine can tell")
    paths = [""]
    for part in filter(None, glob.split("/")):
        below = _descend(tree, paths, part)
        if isinstance(below, Unknown):
            return below
        if len(below) > MAX_PATHS:
            return Unknown("unsupported", f"{glob}: more than {MAX_PATHS} paths match", "write a narrower glob")
        paths = below
    found = [(path, tree.entry(path, follow=False)) for path in paths]
    unread = next((entry for _, entry in found if isinstance(entry, Unknown)), None)
    return unread or tuple(sorted(path for path, entry in found if isinstance(entry, Value)))


def _descend(tree: Tree, paths: List[str], part: str) -> Union[List[str], Unknown]:
    """Return the paths below directories by one part of a glob."""
    if "*" not in part:
        return [f"{path}/{part}" for path in paths]
    below: List[str] = []
    for path in paths:
        names = tree.names(path or "/")
        if isinstance(names, Unknown) and not _is_file(tree, path):
            return names
        listed = names.value if isinstance(names, Value) else ()
        below += [f"{path}/{name}" for name in listed if matches_glob(part, name)]
    return below


def _is_file(tree: Tree, path: str) -> bool:
    entry = tree.entry(path)
    return isinstance(entry, Value) and entry.value.kind != "directory"
