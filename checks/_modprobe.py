"""What modprobe.d says of modules: which may not be loaded, and which do not come by themselves."""

from __future__ import annotations

import re
from typing import Dict, Iterator, Optional, Tuple, Union

from nodespec.checks import _kernel
from nodespec.named import NamedTuple
from nodespec.observation import Absent, Evidence, Unknown, Value
from nodespec.tree import Tree

# the first folder that has a file of a name hides those of that name in the others
FOLDERS = (
    "/etc/modprobe.d",
    "/run/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/usr/lib/modprobe.d",
    "/lib/modprobe.d",
)
SOURCES = tuple(f"{folder}/*" for folder in FOLDERS)


class Command(NamedTuple):
    """`install PATTERN COMMAND`, which is run in place of loading; or `blacklist NAME`."""

    verb: str
    pattern: str
    blocks: bool
    evidence: Evidence


def commands(tree: Tree) -> Union[Tuple[Command, ...], Unknown]:
    """All of them in the order that modprobe reads; unknown if a file that may have one cannot be read."""
    return tree.once(_commands)


def install(tree: Tree, name: str) -> Union[Command, Unknown, None]:
    """What is run in place of loading a module: modprobe takes the first."""
    said = commands(tree)
    if isinstance(said, Unknown):
        return said
    return next((one for one in said if one.verb == "install" and _matches(name, one.pattern)), None)


def blacklisted(tree: Tree, name: str) -> Optional[Command]:
    """What keeps a module from being loaded unless it is asked for by its name."""
    said = commands(tree)
    found = () if isinstance(said, Unknown) else said
    return next((one for one in found if one.verb == "blacklist" and one.pattern == name), None)


def _commands(tree: Tree) -> Union[Tuple[Command, ...], Unknown]:
    files: Dict[str, str] = {}
    for folder in FOLDERS:
        if folder.startswith("/run/") and not tree.running:
            continue
        listed = tree.names(folder)
        if isinstance(listed, Unknown):
            return listed
        if isinstance(listed, Value):
            for name in listed.value:
                files.setdefault(name, f"{folder}/{name}")
    found: Tuple[Command, ...] = ()
    for name in sorted(files):
        text = tree.text(files[name]) if name.endswith(".conf") else Absent(Evidence(files[name]))
        if isinstance(text, Unknown):
            return text
        if isinstance(text, Value):
            found += tuple(said(text.value, text.evidence))
    return found


_NOTHING = r"(?:/\S*/)?(?:true|false|:|exit)(?:\s[^;&|]*)?"


def said(text: str, at: Evidence) -> Iterator[Command]:
    """The commands of a file."""
    number = 1
    for line in text.replace("\\\n", "\0").split("\n"):  # a line that ends with a backslash goes on
        verb, name, command = (*line.replace("\0", " ").split(None, 2), "", "", "")[:3]
        if (verb == "install" and command) or (verb == "blacklist" and name):
            blocks = bool(re.fullmatch(_NOTHING, command.strip()))
            yield Command(verb, _kernel.named(name), blocks, at._replace(line=number))
        number += 1 + line.count("\0")


def _matches(name: str, pattern: str) -> bool:
    if not set("*?[") & set(pattern):
        return name == pattern
    from fnmatch import fnmatchcase  # noqa: PLC0415 - patterns are rare

    return fnmatchcase(name, pattern)
