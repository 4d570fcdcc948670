"""Resolve plain scalars of YAML as PyYAML and sigs.k8s.io/yaml do.

PyYAML implements YAML 1.1. sigs.k8s.io/yaml, which Kubernetes uses, is a mixture of 1.1 and 1.2. Where they differ, or
where YAML 1.2 differs from both, a scalar has several values.
"""

from __future__ import annotations

import re

from nodespec.formats.data_tree import UnsupportedSyntaxError
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Callable, Optional, Tuple, TypeAlias

    NumberForm: TypeAlias = "Tuple[re.Pattern[str], Callable[[str], str], Optional[bool]]"

MAX_DIGITS = 40  # A longer number is compared as it is written.
NULLS = ("", "~", "null", "Null", "NULL")
BOOLEANS = {word: name for name in ("true", "false") for word in (name, name.title(), name.upper())}
# YAML 1.1 has more words for them. In YAML 1.2 these are texts, and PyYAML reads `y` and `n` as texts too.
OLD_BOOLEANS = {
    spelled: value
    for word, value in (("yes", "true"), ("on", "true"), ("no", "false"), ("off", "false"))
    for spelled in (word, word.title(), word.upper())
}
LETTERS = {"y": "true", "Y": "true", "n": "false", "N": "false"}


def resolve_plain_scalar(text: str) -> Tuple[str, Tuple[str, ...]]:
    """Return the value of a plain scalar, and the other values that programs read.

    `0x1F` is 31, `no` is false or `no`, `0644` is 420 or 0644. Raises UnsupportedSyntaxError for a merge key.
    """
    if text in NULLS:
        return "null", ()
    if text in BOOLEANS:
        return BOOLEANS[text], ()
    if text in OLD_BOOLEANS or text in LETTERS:
        return {**OLD_BOOLEANS, **LETTERS}[text], (text,)
    if text == "<<":
        raise UnsupportedSyntaxError("a merge key `<<` is not supported")
    if text[0] not in "+-.0123456789" or len(text) > MAX_DIGITS:
        return text, ()
    return _resolve_number(text)


def _resolve_number(text: str) -> Tuple[str, Tuple[str, ...]]:
    for pattern, read, certain in NUMBERS:
        if pattern.fullmatch(text):
            number = read(text)
            return (number, () if certain else (text,)) if certain is not None else (text, (number,))
    return text, ()


def _format_float(number: float) -> str:
    return str(int(number)) if abs(number) < 1e15 and number == int(number) else repr(number)  # noqa: PLR2004 - exact


def _read_old_integer(text: str) -> int:
    digits, sign = text.lstrip("+-"), -1 if text.startswith("-") else 1
    base = {"0b": 2, "0x": 16}.get(digits[:2], 8)
    return sign * int(digits if base == 8 else digits[2:], base)  # noqa: PLR2004 - octal


def _read_sexagesimal(text: str) -> int:
    number = 0
    for part in text.lstrip("+-").split(":"):
        number = number * 60 + int(part)
    return -number if text.startswith("-") else number


# The form of a number, its value, and how sure it is: True, False if YAML 1.2 reads text, and None if most read text.
NUMBERS: Tuple[NumberForm, ...] = (
    (re.compile(r"[-+]?(?:0|[1-9][0-9]*)"), lambda text: str(int(text)), True),
    (re.compile(r"[-+]?0x[0-9a-fA-F]+"), lambda text: str(int(text, 16)), True),
    (re.compile(r"[-+]?[1-9][0-9_]*"), lambda text: str(int(text.replace("_", ""))), False),
    (
        re.compile(r"[-+]?(?:0b[01_]*[01][01_]*|0[0-7_]*[0-7][0-7_]*|0x[0-9a-fA-F_]*[0-9a-fA-F][0-9a-fA-F_]*)"),
        lambda text: str(_read_old_integer(text.replace("_", ""))),
        False,
    ),
    (re.compile(r"[-+]?0o[0-7]+"), lambda text: str(int(text.replace("0o", ""), 8)), None),
    (
        re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+"),
        lambda text: str(_read_sexagesimal(text.replace("_", ""))),
        None,
    ),
    (re.compile(r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]+"), str, True),
    (re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*"), lambda text: f"{text} as a number", None),
    (
        re.compile(r"[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]{1,3})?"),
        lambda text: _format_float(float(text.replace("_", ""))),
        None,
    ),
)
