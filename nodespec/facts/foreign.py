"""Load the module of a family that a third party declares by the entry point `nodespec.checks`."""

from __future__ import annotations

from importlib.metadata import entry_points

from nodespec.light_typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from types import ModuleType


def load_foreign_module(name: str) -> ModuleType:
    """Return the module of an entry point. Raises LookupError if there is none."""
    points = entry_points()
    group = points.select(group="nodespec.checks") if hasattr(points, "select") else points.get("nodespec.checks", ())
    for point in group:
        if point.name == name:
            return cast("ModuleType", point.load())
    raise LookupError(name)
