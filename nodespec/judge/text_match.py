"""Match text by regular expressions: those of Python, with limits of length and time."""

from __future__ import annotations

import re
import warnings

from nodespec.facts.live import Alarm
from nodespec.facts.value_types import OTHER
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import TimedOut

if TYPE_CHECKING:
    from typing import Callable

    from nodespec.facts.value_types import Case

MAX_PATTERN_CHARS = 1000  # maximum characters of a regular expression
MAX_MATCHED_CHARS = 4096  # maximum characters of a text that is matched


def make_text_test(arg: str) -> Callable[[Case], bool]:
    """Return a test whether a text, or any member of a set, matches an expression in full.

    Raises ValueError if the expression is not valid, takes too long, or matches every text.
    """
    if len(arg) > MAX_PATTERN_CHARS:
        raise ValueError(f"the pattern has {len(arg)} characters; the maximum is {MAX_PATTERN_CHARS}")
    try:
        pattern = compile_pattern(arg)
        if _matches_everything(pattern):
            raise ValueError(f"`{arg}` matches every text, so that the requirement cannot fail")
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"`{arg}` is not a valid regular expression: {error}") from None

    def test(value: Case) -> bool:
        texts = value if isinstance(value, frozenset) else (value,)
        return any(
            isinstance(text, str) and len(text) <= MAX_MATCHED_CHARS and bool(pattern.fullmatch(text)) for text in texts
        )

    return test


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a regular expression without the FutureWarning of Python's parser.

    The warning announces a change of syntax in later Python versions, and would reach the output.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return re.compile(pattern)


def _matches_everything(pattern: re.Pattern[str]) -> bool:
    try:
        with Alarm(1.0, busy=True):
            return all(pattern.fullmatch(text) for text in ("", OTHER, "x y/z=1"))
    except TimedOut:
        say = "takes too long to match; avoid nested repetition"
        raise ValueError(f"`{pattern.pattern}` {say}") from None
