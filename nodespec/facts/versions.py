"""Version schemes, each with a total order.

A version in a spec names a span: `6.1` is every 6.1.x.
"""

from __future__ import annotations

import re
from functools import lru_cache

from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Tuple, TypeAlias, Union

Atom: TypeAlias = "Union[int, str]"
Key: TypeAlias = "Tuple[Union[Atom, Key], ...]"
# A key, and the position relative to it: just before (-1), at (0) or just after (1).
Position: TypeAlias = "Tuple[Key, int]"
Span: TypeAlias = "Tuple[Position, Position]"  # From the first position up to the second, which is excluded.


class Scheme(NamedTuple):
    """The order of one kind of versions.

    `key` and `span` raise ValueError for a text that is not a version.
    """

    name: str
    key: Callable[[str], Key]
    span: Callable[[str], Span]


_RELEASE = (  # Compiled for the first version that is more than numbers.
    r"v?(\d{1,18}(?:\.\d{1,18}){0,9}(?!\d))"
    r"(?:(?:-0(?:\.\d{1,9})?\.|[-~_]?)(alpha|beta|rc)(?![A-Za-z])[.-]?(\d{1,18})?)?"
)
MAX_NUMBERS, MAX_DIGITS = 10, 18  # of a release, as in the pattern
_SUFFIX = r"([+~][\w.+~-]*)?"  # A suffix that a distribution or a build adds.
_STAGES = {"alpha": 0, "beta": 1, "rc": 2}
_FINAL: Key = (1,)


def _parse_release(text: str) -> tuple[tuple[int, ...], Key]:
    """Return the numbers and the stage of a release.

    Examples: `2.0`, `v2.0.0-rc.1`, `2.0~rc1+ds1`, `2.0_rc1`, `2.0-0.rc1.fc42`.
    """
    plain = _parse_plain_release(text)
    if plain:
        return plain, _FINAL
    match = re.match(_RELEASE, text, re.ASCII | re.IGNORECASE)
    if not match:
        raise ValueError(f"`{text}` is not a version")
    numbers = tuple(map(int, match[1].split(".")))
    return numbers, (0, _STAGES[match[2].lower()] + 1, int(match[3] or 0)) if match[2] else _FINAL


def _parse_plain_release(text: str) -> tuple[int, ...]:
    """Return the numbers of a release that is nothing else, such as 6.1.176; empty for any other text."""
    parts = text.split(".")
    is_plain = all(part.isascii() and part.isdigit() and len(part) <= MAX_DIGITS for part in parts)
    return tuple(map(int, parts)) if is_plain and len(parts) <= MAX_NUMBERS else ()


@lru_cache(maxsize=1024)
def _make_release_key(text: str) -> Key:
    return _trim_zeros(*_parse_release(text))


def _trim_zeros(numbers: tuple[int, ...], stage: Key) -> Key:
    """Return a key without trailing zeros, since 6.1 and 6.1.0 are equal."""
    end = len(numbers)
    while end > 1 and not numbers[end - 1]:
        end -= 1
    return (numbers[:end], stage)


def _check_suffix(text: str) -> None:
    """Raise ValueError for a release that ends in more than a suffix of a distribution."""
    match = re.match(_RELEASE, text, re.ASCII | re.IGNORECASE)
    if match and text[match.end() :][:1] == "-":
        raise ValueError(f"`{text}`: releases are ordered without the part after `-`; omit it")
    if not match or not re.fullmatch(_SUFFIX, text[match.end() :], re.ASCII):
        raise ValueError(f"`{text}` is not a version")


def _make_release_span(text: str) -> Span:
    if not _parse_plain_release(text):
        _check_suffix(text)
    numbers, stage = _parse_release(text)
    low = _trim_zeros(numbers, stage)
    if stage != _FINAL:
        return (low, 0), (low, 1)
    following = (*numbers[:-1], numbers[-1] + 1)
    return (low, 0), (_trim_zeros(following, (0, 0)), 0)


_DEB = r"(?:(\d{1,9}):)?(\d[A-Za-z0-9.+~:-]*)(?<!-)"  # Compiled when it is first used.


@lru_cache(maxsize=1024)
def _make_deb_key(text: str) -> Key:
    match = re.fullmatch(_DEB, text, re.ASCII)
    if not match or (":" in match[2] and not match[1]):
        raise ValueError(f"`{text}` is not a Debian version")
    upstream, _, revision = match[2].rpartition("-") if "-" in match[2] else (match[2], "", "0")
    return (int(match[1] or 0), _split_deb_part(upstream), _split_deb_part(revision))


def _split_deb_part(text: str) -> Key:
    """Return non-digits and digits in turn.

    The end of the text sorts after `~` and before everything else.
    """
    return tuple((_rank_deb_word(word), int(digits or 0)) for word, digits in re.findall(r"([^0-9]*)([0-9]*)", text))


def _rank_deb_word(word: str) -> Key:
    return (*(-1 if c == "~" else ord(c) if c.isalpha() else ord(c) + 256 for c in word), 0)


_RPM = r"(?:(\d{1,9}):)?([^\s:-]+)(?:-([^\s:-]+))?"
_RPM_RANK = {"~": 0, "": 1, "^": 2}  # The end of a version is ordered between them; letters are 3, numbers 4.


@lru_cache(maxsize=1024)
def _make_rpm_key(text: str) -> Key:
    match = re.fullmatch(_RPM, text, re.ASCII)
    if not match or not re.search("[A-Za-z0-9]", match[2]):
        raise ValueError(f"`{text}` is not an RPM version")
    return (int(match[1] or 0), _split_rpm_part(match[2]), _split_rpm_part(match[3] or ""))


def _split_rpm_part(text: str) -> Key:
    segments = (*re.findall(r"[0-9]+|[A-Za-z]+|[~^]", text), "")
    return tuple(
        (4, int(s), "") if s.isdigit() else (3, 0, s) if s.isalpha() else (_RPM_RANK[s], 0, "") for s in segments
    )


def _make_package_span(text: str, key: Callable[[str], Key]) -> Span:
    """Return the span of a package's version.

    A version with a revision is a span of itself only. A version without one includes all that continue it.
    """
    low, tail = key(text), re.search(r"[0-9]+$", text)
    if "-" in text or not tail:
        return (low, 0), (low, 1)
    return (low, 0), (key(f"{text[: tail.start()]}{int(tail[0]) + 1}~~"), 0)


# Dotted numbers. Alpha, beta and rc sort before the release: `-rc.1` (Semantic Versioning), `~rc1` (dpkg, RPM), `_rc1`
# (apk), `-0.rc1` (Fedora). Other suffixes of a distribution have no effect on the order.
RELEASE = Scheme("release", _make_release_key, _make_release_span)
DEB = Scheme("deb", _make_deb_key, lambda text: _make_package_span(text, _make_deb_key))
RPM = Scheme("rpm", _make_rpm_key, lambda text: _make_package_span(text, _make_rpm_key))
