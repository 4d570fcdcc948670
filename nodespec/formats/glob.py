"""Globs whose only wildcard is `*`."""

from __future__ import annotations


def matches_glob(pattern: str, name: str) -> bool:
    """Return whether a glob selects an id.

    `*` is the only wildcard; it also matches dots.
    """
    head, *others = pattern.split("*")
    if not others:
        return pattern == name
    *middle, tail = others
    at, end = len(head), len(name) - len(tail)
    if at > end or not name.startswith(head) or not name.endswith(tail):
        return False
    for part in middle:
        offset = name.find(part, at, end)
        if offset < 0:
            return False
        at = offset + len(part)
    return True
