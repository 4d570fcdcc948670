"""Reader of the database of RPM: SQLite, with one header a package.

SQLite is the default of RPM 4.16 and later.
"""

from __future__ import annotations

import struct
from functools import partial

from nodespec.checks._package_rows import NAME, Package, PackageDatabase, build_package_database, normalize_prerelease
from nodespec.checks._sqlite import SqliteDatabase
from nodespec.facts.versions import RPM
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, Iterator, Tuple, Union

FILES = ("/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/rpm/rpmdb.sqlite", "/usr/share/rpm/rpmdb.sqlite")
OTHERS = {  # formats that are recognized but not read
    "/var/lib/rpm/Packages": "Berkeley DB",
    "/usr/lib/sysimage/rpm/Packages": "Berkeley DB",
    "/usr/lib/sysimage/rpm/Packages.db": "NDB",
    "/var/lib/rpm/Packages.db": "NDB",
}
MAX_DATABASE_BYTES = 96 << 20  # bytes; enough for some thousand packages
TAGS = {1000: "name", 1001: "version", 1002: "release", 1003: "epoch", 1008: "installed", 1022: "architecture"}
KEY_PACKAGE = "gpg-pubkey"  # imported keys are stored as packages
NUMBER, STRING = 4, 6  # data types of tags


def read_rpm_database(tree: Tree) -> Union[PackageDatabase, Unknown, None]:
    """Return the packages of the first database that has any; None if there is none."""
    for path in FILES:
        data, log = tree.read(path, MAX_DATABASE_BYTES), tree.read(f"{path}-wal", MAX_DATABASE_BYTES)
        for file in (data, log):
            if isinstance(file, Unknown):
                return file
        if isinstance(data, Value):
            packages = data.then(partial(_parse_rpm_database, path, log.value if isinstance(log, Value) else b""))
            if isinstance(packages, Unknown):
                return packages
            if isinstance(packages, Value) and packages.value:
                return build_package_database("rpm", packages.value, RPM.key, Evidence(path))
    for path, form in OTHERS.items():
        if isinstance(tree.entry(path), Value):
            how = "if RPM is configured for SQLite, rpmdb --rebuilddb converts the database"
            return Unknown("unsupported", f"{path}: RPM's database format {form} is not supported", how)
    return None


def _parse_rpm_database(path: str, log: bytes, data: bytes) -> Tuple[Package, ...]:
    return tuple(_parse_rpm_packages(path, SqliteDatabase(data, log)))


def _parse_rpm_packages(path: str, database: SqliteDatabase) -> Iterator[Package]:
    for _, header, *_ in database.rows("Packages"):
        if not isinstance(header, bytes):
            raise ValueError("a package has no header")
        tags = parse_rpm_header(header)
        name, version = tags.get("name", ""), tags.get("version", "")
        if name == KEY_PACKAGE:
            continue
        if not NAME.fullmatch(name) or not version or "release" not in tags:
            raise ValueError("a package has no name or no version")
        epoch = f"{tags['epoch']}:" if "epoch" in tags else ""
        full_version = f"{epoch}{version}-{tags['release']}"
        yield Package(name, normalize_prerelease(version), full_version, tags.get("architecture", ""), Evidence(path))


def parse_rpm_header(blob: bytes) -> Dict[str, str]:
    """Parse the required tags of a header.

    The header has an index of 16 bytes for each tag, then the data.
    """
    count, size = struct.unpack_from(">II", blob.ljust(8, b"\0"))
    store = 8 + 16 * count
    if store + size > len(blob):
        raise ValueError("a header is truncated")
    tags = {}
    for tag, kind, offset, _ in struct.iter_unpack(">4I", blob[8:store]):
        if tag in TAGS and kind == STRING:
            end = blob.index(b"\0", store + offset)
            tags[TAGS[tag]] = blob[store + offset : end].decode("utf-8", "backslashreplace")
        elif tag in TAGS and kind == NUMBER:
            tags[TAGS[tag]] = str(int.from_bytes(blob[store + offset :][:4], "big"))
    return tags
