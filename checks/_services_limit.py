"""The type of a resource limit: a number, or `infinity`."""

from __future__ import annotations

from nodespec.facts.value_numbers import Whole
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nodespec.facts.value_types import Case

LIMITLESS = (1 << 64) - 1  # RLIM_INFINITY of setrlimit(2)


class Limit(Whole):
    """A number, or `infinity`, which is greater than every number."""

    noun, pattern = "a whole number or infinity", r"^(\d{1,18}|infinity)$"

    def read(self, text: str) -> int:
        return LIMITLESS if text == "infinity" else super().read(text)

    def written(self, value: Case) -> str:
        return "infinity" if value == LIMITLESS else super().written(value)
