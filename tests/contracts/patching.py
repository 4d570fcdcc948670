"""Changes to a copy of the checkout, for the patches beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def replace_once(path: Path, old: str, new: str) -> None:
    """Replace a text that stands exactly once in a file; ValueError where it does not."""
    text = path.read_text()
    if text.count(old) != 1:
        raise ValueError(f"{path.name}: {old!r} stands there {text.count(old)} times; once is expected")
    path.write_text(text.replace(old, new))
