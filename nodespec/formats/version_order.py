"""Compare versions as boot loaders do: systemd-boot, and Fedora's GRUB.

https://uapi-group.org/specifications/specs/version_format_specification/ and rpm's rpmvercmp().
"""

from __future__ import annotations

import re

from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Tuple


def compare_uapi(left: str, right: str) -> int:
    """Compare two versions as `systemd-analyze compare-versions` does.

    Returns a negative number, 0 or a positive number. The order is 6.1~rc1, 6.1, 6.1-1, 6.1^1, 6.1.1.
    """
    a = b = 0
    while a < len(left) or b < len(right):
        a, b = _skip_separators(left, a), _skip_separators(right, b)
        for mark in "~\n-^.":  # The marks in ascending order; the newline is the end of a version.
            if mark == "\n" and (a == len(left) or b == len(right)):
                return (a < len(left)) - (b < len(right))
            marked = left[a : a + 1] == mark, right[b : b + 1] == mark
            if marked[0] != marked[1]:
                return marked[1] - marked[0]
            a, b = a + marked[0], b + marked[1]
        found, a, b = _compare_segment(left, a, right, b)
        if found:
            return found
    return 0


def _skip_separators(text: str, at: int) -> int:
    """Return the offset after characters that are not part of a version."""
    while at < len(text) and not (text[at].isascii() and (text[at].isalnum() or text[at] in "~-^.")):
        at += 1
    return at


def _compare_segment(left: str, a: int, right: str, b: int) -> Tuple[int, int, int]:
    """Compare numbers if either side has one here, or letters; also return both ends."""
    one, other = _match_run("[0-9]*", left, a), _match_run("[0-9]*", right, b)
    if one or other:
        numbers = one.lstrip("0"), other.lstrip("0")
        found = bool(one) - bool(other) or len(numbers[0]) - len(numbers[1])
        found = found or (numbers[0] > numbers[1]) - (numbers[0] < numbers[1])
    else:
        one, other = _match_run("[A-Za-z]*", left, a), _match_run("[A-Za-z]*", right, b)
        found = (one > other) - (one < other)
    return found, a + len(one), b + len(other)


def _match_run(pattern: str, text: str, at: int) -> str:
    found = re.compile(pattern).match(text, at)
    return found[0] if found else ""


def compare_rpm(left: str, right: str) -> int:
    """Compare two versions as `vercmp` of Fedora's blscfg does.

    Returns a negative number, 0 or a positive number. The order is 5.14.0~rc1, 5.14.0, 5.14.0.1, 5.14.1.
    """
    if left == right:
        return 0
    segments = [re.findall(r"[0-9]+|[A-Za-z]+|~", text) for text in (left, right)]
    for one, other in zip(*segments):
        if one != other:
            found = _compare_rpm_segment(one, other)
            if found:
                return found
    rest = [found[min(map(len, segments)) :] for found in segments]
    if not rest[0] and not rest[1]:
        return 0
    longer = 1 if rest[0] else -1
    return -longer if (rest[0] or rest[1])[0] == "~" else longer


def _compare_rpm_segment(one: str, other: str) -> int:
    if "~" in (one, other):
        return -1 if one == "~" else 1
    if one.isdigit() != other.isdigit():
        return 1 if one.isdigit() else -1
    if one.isdigit():
        one, other = one.lstrip("0"), other.lstrip("0")
        if len(one) != len(other):
            return 1 if len(one) > len(other) else -1
    return (one > other) - (one < other)


def compare_rpm_names(left: str, right: str) -> int:
    """Compare two file names without .conf as `blscfg` does.

    They are NAME-VERSION-RELEASE; each part is compared in RPM's order.
    """
    for one, other in zip(_split_name(left), _split_name(right)):
        found = compare_rpm(one, other)
        if found:
            return found
    return 0


def _split_name(name: str) -> Tuple[str, str, str]:
    rest, dash, release = name.rpartition("-")
    if not dash:
        return (name, "", "")
    rest, dash, version = rest.rpartition("-")
    return (rest, version, release) if dash else (version, "", release)
