"""A swap area that a file, a unit or a service declares."""

from __future__ import annotations

from nodespec.checks import _swap_fstab
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import TypeAlias, Union

    from nodespec.host.tree import Tree

HEADER_BYTES = 4096  # bytes of the header page of an area
TAGGED = tuple(f"{tag}=" for tag in _swap_fstab.TAGS)


class DeclaredArea(NamedTuple):
    """A declared swap area.

    `path` may be a tag such as `UUID=...`. `made`: the service that enables it also creates it.
    """

    path: str
    at: Evidence
    made: bool = False

    @property
    def type(self) -> str:
        """Type of a path, which may not exist yet."""
        return "partition" if self.path.startswith(("/dev/", *TAGGED)) else "file"

    def size(self, tree: Tree) -> Observation[int]:
        """Return the size, which is known in advance only for a file."""
        entry = tree.entry(self.path) if self.type == "file" else None
        if isinstance(entry, Value) and entry.value.kind == "file":
            return Value(max(entry.value.size - HEADER_BYTES, 0), Evidence(self.path, inferred=True))
        if isinstance(entry, Unknown):
            return entry
        return Unknown(DEFERRED, f"only a running machine can tell the size of {self.path}")

    def is_missing(self, tree: Tree) -> bool:
        """Return whether it is a file that does not exist and that nothing creates."""
        return self.type == "file" and not self.made and isinstance(tree.entry(self.path), Absent)


AreaOrUnknown: TypeAlias = "Union[DeclaredArea, Unknown]"
