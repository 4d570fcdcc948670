"""Reader of the database of apk, Alpine's package manager.

The database has stanzas of lines such as `P:busybox`.
"""

from __future__ import annotations

import re

from nodespec.checks._package_rows import NAME, Package, PackageDatabase, build_package_database, normalize_prerelease
from nodespec.facts.versions import RELEASE
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, Iterator, Union

FILES = ("/usr/lib/apk/db/installed", "/lib/apk/db/installed")
MAX_DATABASE_BYTES = 64 << 20  # bytes; the database lists all files of all packages


def read_apk_database(tree: Tree) -> Union[PackageDatabase, Unknown, None]:
    """Return the packages of the first database that has any; None if there is none."""
    for path in FILES:
        text = tree.text(path, MAX_DATABASE_BYTES)
        if isinstance(text, Unknown):
            return text
        packages = tuple(_parse_apk_packages(path, text.value)) if isinstance(text, Value) else ()
        if packages:
            return build_package_database("apk", packages, RELEASE.key, Evidence(path))
    return None


def _parse_apk_packages(path: str, text: str) -> Iterator[Package]:
    """Yield each package with the line of its name.

    Only the lines before the list of its files are read.
    """
    fields: Dict[str, str] = {}
    start = 0
    for number, line in enumerate(text.split("\n"), 1):
        field, colon, value = line.partition(":")
        if colon and field in ("P", "V", "A") and field not in fields:
            fields[field] = value
            start = number if field == "P" else start
        if not line and fields:
            yield from _make_apk_package(path, start, fields)
            fields = {}
    yield from _make_apk_package(path, start, fields)


def _make_apk_package(path: str, line: int, fields: Dict[str, str]) -> Iterator[Package]:
    name, version = fields.get("P", ""), fields.get("V", "")
    if NAME.fullmatch(name) and version:
        upstream = normalize_prerelease(re.sub(r"-r\d+$", "", version))
        yield Package(name, upstream, version, fields.get("A", ""), Evidence(path, line))
