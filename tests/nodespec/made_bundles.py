"""Bundles for tests that are not about building them: those of equal plans are built once."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Dict, Iterator
from unittest import mock

from nodespec.author.bundle import build

if TYPE_CHECKING:
    from nodespec.model.json_types import Json
    from nodespec.model.plan import Plan

_BUILT: Dict[str, str] = {}
_BUILD = build.build_bundle


def _build_once(plan: Plan, waivers: Json) -> str:
    """Build the bundle of a plan, or return one whose specs differ in their directories only."""
    key = re.sub(r"'[^']*/", "'", repr((plan, waivers)))
    if key not in _BUILT:
        _BUILT[key] = _BUILD(plan, waivers)
    return _BUILT[key]


@contextmanager
def build_bundles_once() -> Iterator[None]:
    """Let the program build no bundle again that this process has built."""
    with mock.patch.object(build, "build_bundle", _build_once):
        yield
