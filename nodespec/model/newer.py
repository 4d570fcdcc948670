"""Messages about documents and words of a newer nodespec."""

from __future__ import annotations

from nodespec import __version__
from nodespec.errors import suggest_name
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Iterable


def suggest_newer(word: str, names: Iterable[str]) -> str:
    """Return the suggestion for an unknown word of a spec: a similar one, or a newer nodespec."""
    return suggest_name(word, names) or f"; this is nodespec {__version__}, and a newer version may know it"


def describe_newer_format(number: object, known: int) -> str:
    """Return the sentence about a document whose format is newer than `known`, or an empty string."""
    newer = str(number).isascii() and str(number).isdigit() and len(str(number)) < 19 and int(str(number)) > known  # noqa: PLR2004 - digits
    return f"format {number} is newer than nodespec {__version__}, which reads {known}; use a newer nodespec" * newer
