"""The menu of GRUB as grub.cfg has it: what it offers, and which of that it starts by itself.

Of GRUB's language is understood what its own generators write: settings, menus, entries, and the variables that
grubenv keeps from boot to boot. Conditions are not: what stands under one counts as said.
"""

from __future__ import annotations

import re
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from nodespec.named import NamedTuple
from nodespec.observation import Evidence

LONGEST = 8192  # characters of a line: no kernel takes a longer command line
DEEPEST = 16  # blocks within blocks


class Offer(NamedTuple):
    """What a boot loader offers: a kernel, as its file is called there, with its command line; or a menu below."""

    names: Tuple[str, ...]
    at: Evidence
    kernel: str = ""
    options: str = ""
    version: str = ""
    below: Optional[Tuple[Offer, ...]] = None


class Menu(NamedTuple):
    """A grub.cfg. `default` names what it starts, if one thing only; `entries` is where those of /boot/loader come."""

    offers: Tuple[Offer, ...]
    default: Optional[str]
    entries: Optional[int]
    variables: Mapping[str, str]


def environment(text: str) -> Mapping[str, str]:
    """The variables of a grubenv: `saved_entry=...`, up to the `#` that fill it."""
    pairs = (line.partition("=") for line in text.split("\n") if line[:1] != "#")
    return {name: re.sub(r"\\(.)", r"\1", value) for name, equals, value in pairs if equals}


def menu(path: str, text: str, kept: Mapping[str, str]) -> Menu:
    """What a grub.cfg says, given what grubenv keeps."""
    reading = _Reading(path, kept)
    for number, line in enumerate(text.split("\n"), 1):
        for words in statements(line, reading.variables) if len(line) <= LONGEST else ():
            reading.take(number, words, once="next_entry" in line)
    return Menu(tuple(reading.menus[0]), reading.default(), reading.entries, reading.variables)


def chosen(offers: Sequence[Offer], default: str) -> Optional[Offer]:
    """What a menu starts: by number, title or id, `menu>entry` in a menu below; the first where there is no such."""
    name, deeper, rest = default.partition(">")
    found = next((one for one in offers if name in one.names), None)
    if name.isascii() and name.isdigit() and len(name) < 6:  # noqa: PLR2004 - no menu is longer
        found = offers[int(name)] if int(name) < len(offers) else None
    found = found or (offers[0] if offers else None)
    if found is None or found.below is None:
        return found
    return chosen(found.below, rest) if deeper else None  # a menu stands open, and waits


def flat(offers: Sequence[Offer]) -> Iterator[Offer]:
    """The kernels of a menu and of those below."""
    for one in offers:
        if one.below is not None:
            yield from flat(one.below)
        elif one.kernel or one.version:
            yield one


class _Reading:
    """A grub.cfg so far: menus that are open, blocks that are open."""

    def __init__(self, path: str, kept: Mapping[str, str]) -> None:
        self.path, self._kept = path, kept
        self.variables: Dict[str, str] = dict(kept)
        if kept.get("prev_saved_entry"):
            self.variables["saved_entry"] = kept["prev_saved_entry"]
        self.menus: List[List[Offer]] = [[]]
        self.entries: Optional[int] = None
        self._blocks: List[Tuple[str, Offer]] = []
        self._defaults: List[str] = []
        self._once = ""

    def default(self) -> Optional[str]:
        """What is started next time only, else what always is; nothing where that has several values."""
        said = {self._once} if self._once else set(self._defaults)
        return None if len(said) > 1 else said.pop() if said else "0"

    def take(self, number: int, words: List[str], *, once: bool) -> None:
        """Take a statement. `once`: it speaks of what is started next time only."""
        verb, inside = words[0], self._blocks[-1][0] if self._blocks else ""
        if verb in ("menuentry", "submenu", "function") and words[-1] == "{":
            self._open(verb, _names(words), Evidence(self.path, number))
        elif verb == "}":
            self._close()
        elif inside == "menuentry" and verb in ("linux", "linuxefi", "linux16") and len(words) > 1:
            kind, offer = self._blocks[-1]
            at = Evidence(self.path, number)
            self._blocks[-1] = kind, offer._replace(kernel=words[1], options=_joined(words[2:]), at=at)
        elif inside in ("", "submenu") and verb == "set" and len(words) > 1:
            self._set(*words[1].partition("=")[::2], once=once)
        elif inside == "" and verb == "blscfg":
            self.entries = len(self.menus[0])

    def _set(self, name: str, value: str, *, once: bool) -> None:
        if name == "default" and once:
            self._once = self._kept.get("next_entry", "")
        elif name == "default":
            self._defaults.append(value)
        if name not in self._kept:
            self.variables[name] = value[:LONGEST]  # or each line could double it

    def _open(self, verb: str, names: Tuple[str, ...], at: Evidence) -> None:
        outside = all(kind == "submenu" for kind, _ in self._blocks) and len(self._blocks) < DEEPEST
        kind = verb if outside else "function"  # of which nothing is read
        self._blocks.append((kind, Offer(names, at)))
        if kind == "submenu":
            self.menus.append([])

    def _close(self) -> None:
        if not self._blocks:
            return
        verb, offer = self._blocks.pop()
        if verb == "submenu":
            offer = offer._replace(below=tuple(self.menus.pop()))
        if verb != "function":
            self.menus[-1].append(offer)


def _names(words: List[str]) -> Tuple[str, ...]:
    """The title of an entry, and its id, which follows `--id` or the variable that stands for that."""
    ids = (words[at + 1] for at, word in enumerate(words[1:-1], 1) if word == "--id")
    return (words[1], *ids)


def _joined(words: List[str]) -> str:
    """Words as GRUB hands them on: in quotes where there are blanks within."""
    return " ".join(f'"{word}"' if " " in word else word for word in words)


_TOKEN = re.compile(
    r"""(?P<blank>\s+)|(?P<end>;)|'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|\\(?P<escaped>.)"""
    r"""|\$(?:\{(?P<braced>\w+)\}|(?P<bare>\w+))|(?P<plain>[^\s;'"\\$]+|\$)"""
)
_WITHIN = re.compile(r"""\\([\\"$`])|\$\{(\w+)\}|\$(\w+)""")


def statements(line: str, variables: Mapping[str, str]) -> Iterator[List[str]]:
    """The statements of a line in words, variables filled in; the words that only part them left out."""
    words: List[str] = []
    word: Optional[str] = None
    for token in _TOKEN.finditer(f"{line.strip()};"):
        if token["blank"] or token["end"]:
            words += [word] if word is not None else []
            word = None
            while token["end"] and words[:1] and words[0] in ("then", "else", "do"):
                del words[0]
            if token["end"] and words:
                yield words
                words = []
        elif word is None and (token["plain"] or "").startswith("#"):
            return
        elif token["braced"] or token["bare"]:
            *whole, word = _parted(word, _value(token["braced"] or token["bare"], variables))
            words += filter(None, whole)
        else:
            word = (word or "") + _piece(token, variables)


def _parted(word: Optional[str], value: str) -> List[Optional[str]]:
    """A word that goes on with a variable: without quotes its blanks part words, and nothing is no word."""
    parts = value.split()
    if not parts:
        return [word]
    return [(word or "") + parts[0], *parts[1:]]


def _value(name: str, variables: Mapping[str, str]) -> str:
    return "--id" if name == "menuentry_id_option" else variables.get(name, "")  # what the ids of entries follow


def _piece(token: re.Match[str], variables: Mapping[str, str]) -> str:
    if token["double"] is not None:
        return _WITHIN.sub(lambda found: found[1] or _value(found[2] or found[3], variables), token["double"])
    return token["single"] or token["escaped"] or token["plain"] or ""
