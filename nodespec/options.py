"""Parse a plain command line of `check` without argparse, which takes a twentieth of a check.

A command line is plain if its specs stand side by side, and each option has its full name and is followed by its value.
Everything else is left to argparse: help, abbreviations, `--option=value`, and all usage errors. A test compares both.
"""

from __future__ import annotations

from nodespec.light_typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import argparse
    from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

DAY_SECONDS = 86400
# Options by how they are read, with their default values.
STORED = {"--root": "/", "--image": None, "--facts": None, "--kernel": "", "--platform": "", "--waivers": None}
SECONDS = {"--deadline": None, "--wait": 0.0}
SWITCHES = {"--strict": False, "--all": False, "--verbose": False}
REPEATED = ("--only", "--skip", "-o")
PROGRAM_REPEATED = (*REPEATED, "--specs", "--set")  # A bundle contains its specs.
EXCLUSIVE = ("--root", "--image", "--facts")


class PlainArguments:
    """Parsed arguments, with the attributes of the namespace of argparse."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self.__dict__.update(values)


def parse_check(words: Sequence[str], *, bundled: bool) -> Optional[argparse.Namespace]:
    """Parse the words after `check`; None if they are not plain. A bundle takes no specs."""
    repeated = REPEATED if bundled else PROGRAM_REPEATED
    pairs = [*_pair_words(words)]
    if not _is_plain(pairs, repeated):
        return None
    values: Dict[str, object] = {**STORED, **SECONDS, **SWITCHES}
    lists: Dict[str, List[str]] = {flag: [] for flag in ("", *repeated)}
    for flag, value in pairs:
        if flag in lists:
            lists[flag].append(value)
        else:
            values[flag] = flag in SWITCHES or (_parse_seconds(value) if flag in SECONDS else value)
            if values[flag] is None:
                return None
    if bool(lists[""]) is bundled:
        return None
    named = {_name(flag): value for flag, value in {**values, **lists}.items() if flag or not bundled}
    return cast("argparse.Namespace", PlainArguments(named))


def _pair_words(words: Sequence[str]) -> Iterator[Tuple[str, str]]:
    """Yield each option with its value, and each spec with an empty option."""
    ahead = iter(words)
    for word in ahead:
        if word in SWITCHES:
            yield word, ""
        else:
            yield (word, next(ahead, "-")) if word.startswith("-") else ("", word)


def _is_plain(pairs: Sequence[Tuple[str, str]], repeated: Sequence[str]) -> bool:
    places = [at for at, (flag, _) in enumerate(pairs) if not flag]
    once = [flag for flag, _ in pairs if flag in STORED or flag in SECONDS]
    return (
        not any(value.startswith("-") for _, value in pairs)
        and all(flag in ("", *STORED, *SECONDS, *SWITCHES, *repeated) for flag, _ in pairs)
        and len({*once}) == len(once)
        and sum(flag in EXCLUSIVE for flag in once) < 2  # noqa: PLR2004 - argparse tells that they exclude each other
        and (not places or places[-1] - places[0] < len(places))
    )


def _parse_seconds(text: str) -> Optional[float]:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds <= DAY_SECONDS else None


def _name(flag: str) -> str:
    """Return the attribute of an option; the specs have no option."""
    return {"": "spec", "-o": "output"}.get(flag, flag[2:])
