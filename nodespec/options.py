"""Define the options that the program and a bundle share, and parse a plain command line of `check` with them.

Argparse takes a twentieth of a check. A plain command line does without: its specs stand side by side, and each option
has its full name and is followed by its value. All else is left to `parsers`, which reads the same table.
"""

from __future__ import annotations

from types import SimpleNamespace

from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    import argparse
    from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

DAY_SECONDS = 86400
TEXT, SECONDS, SWITCH, LIST = "text", "seconds", "switch", "list"


class CommandOption(NamedTuple):
    """One option: its group and how its value is read. Its texts are in `parsers`, which a plain check does without."""

    flag: str
    group: str  # access, exclusive (accesses that exclude each other), limits, judging, reports, library
    kind: str
    default: Union[str, float, None] = None

    @property
    def attribute(self) -> str:
        """The attribute of parsed arguments."""
        return "output" if self.flag == "-o" else self.flag[2:]

    def make_default(self) -> object:
        """Return the value of an option that is not given."""
        return [] if self.kind == LIST else self.kind != SWITCH and self.default


OPTIONS = (
    CommandOption("--specs", "library", LIST),
    CommandOption("--set", "library", LIST),
    CommandOption("--root", "exclusive", TEXT, "/"),
    CommandOption("--image", "exclusive", TEXT),
    CommandOption("--facts", "exclusive", TEXT),
    CommandOption("--kernel", "access", TEXT, ""),
    CommandOption("--verbose", "access", SWITCH),
    CommandOption("--platform", "limits", TEXT, ""),
    CommandOption("--deadline", "limits", SECONDS),
    CommandOption("--waivers", "judging", TEXT),
    CommandOption("--only", "judging", LIST),
    CommandOption("--skip", "judging", LIST),
    CommandOption("--strict", "judging", SWITCH),
    CommandOption("--wait", "judging", SECONDS, 0.0),
    CommandOption("-o", "reports", LIST),
    CommandOption("--all", "reports", SWITCH),
)


def parse_check(words: Sequence[str], *, bundled: bool) -> Optional[argparse.Namespace]:
    """Parse the words after `check`; None if they are not plain. A bundle contains its specs and takes none."""
    options = {option.flag: option for option in OPTIONS if not (bundled and option.group == "library")}
    pairs = [*_pair_words(words, options)]
    if not _is_plain(pairs, options):
        return None
    values: Dict[str, object] = {option.attribute: option.make_default() for option in options.values()}
    specs: List[str] = []
    for flag, value in pairs:
        if not flag:
            specs.append(value)
        elif options[flag].kind == LIST:
            cast("List[str]", values[options[flag].attribute]).append(value)
        else:
            values[options[flag].attribute] = parsed = _parse_value(options[flag].kind, value)
            if parsed is None:
                return None
    if bool(specs) is bundled:
        return None
    return cast("argparse.Namespace", SimpleNamespace(**(values if bundled else {**values, "spec": specs})))


def _pair_words(words: Sequence[str], options: Mapping[str, CommandOption]) -> Iterator[Tuple[str, str]]:
    """Yield each option with its value, and each spec with an empty option."""
    ahead = iter(words)
    for word in ahead:
        if word in options and options[word].kind == SWITCH:
            yield word, ""
        else:
            yield (word, next(ahead, "-")) if word.startswith("-") else ("", word)


def _is_plain(pairs: Sequence[Tuple[str, str]], options: Mapping[str, CommandOption]) -> bool:
    if any(value.startswith("-") or (flag and flag not in options) for flag, value in pairs):
        return False
    places = [at for at, (flag, _) in enumerate(pairs) if not flag]
    once = [flag for flag, _ in pairs if flag and options[flag].kind in (TEXT, SECONDS)]
    exclusive = [flag for flag in once if options[flag].group == "exclusive"]
    return len({*once}) == len(once) and len(exclusive) <= 1 and (not places or places[-1] - places[0] < len(places))


def _parse_value(kind: str, text: str) -> Union[str, float, None]:
    """Return the value of an option that may be given once; None if it is invalid."""
    if kind != SECONDS:
        return text if kind == TEXT else True
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds <= DAY_SECONDS else None
