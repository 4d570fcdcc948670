"""Reader of the database of apk, Alpine's package manager.

The database has stanzas of lines such as `P:busybox`.
"""

from __future__ import annotations

import re
from typing import Dict, Iterator, Union

from nodespec.checks._package_rows import NAME, Listed, Package, final, listed
from nodespec.facts.versions import RELEASE
from nodespec.host.tree import Tree
from nodespec.model.observation import Evidence, Unknown, Value

FILES = ("/usr/lib/apk/db/installed", "/lib/apk/db/installed")
LIMIT = 64 << 20  # bytes; the database lists all files of all packages


def database(tree: Tree) -> Union[Listed, Unknown, None]:
    """Return the packages of the first database that has any; None if there is none."""
    for path in FILES:
        text = tree.text(path, LIMIT)
        if isinstance(text, Unknown):
            return text
        found = tuple(_packages(path, text.value)) if isinstance(text, Value) else ()
        if found:
            return listed("apk", found, RELEASE.key, Evidence(path))
    return None


def _packages(path: str, text: str) -> Iterator[Package]:
    """Yield each package with the line of its name.

    Only the lines before the list of its files are read.
    """
    said: Dict[str, str] = {}
    start = 0
    for number, line in enumerate(text.split("\n"), 1):
        field, colon, value = line.partition(":")
        if colon and field in ("P", "V", "A") and field not in said:
            said[field] = value
            start = number if field == "P" else start
        if not line and said:
            yield from _package(path, start, said)
            said = {}
    yield from _package(path, start, said)


def _package(path: str, line: int, said: Dict[str, str]) -> Iterator[Package]:
    name, version = said.get("P", ""), said.get("V", "")
    if NAME.fullmatch(name) and version:
        own = final(re.sub(r"-r\d+$", "", version))
        yield Package(name, own, version, said.get("A", ""), Evidence(path, line))
