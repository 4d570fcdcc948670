"""Reader of the database of dpkg: text files with stanzas of fields.

It reads the status file and the updates that dpkg has not merged yet. It also reads a folder in which images without a
package manager keep one file a package. If dpkg refuses a stanza, every package without a stanza is unknown.
"""

from __future__ import annotations

import re

from nodespec.checks._package_rows import make_package_row, normalize_prerelease
from nodespec.facts.declaration import Record
from nodespec.formats.deb822 import BLANKS, Field, parse_stanzas
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Lacking, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, TypeAlias, Union

STATUS, STATUS_FOLDER, UPDATES = "/var/lib/dpkg/status", "/var/lib/dpkg/status.d", "/var/lib/dpkg/updates"
SOURCES = (STATUS, f"{STATUS_FOLDER}/*", f"{UPDATES}/*")
NAME = re.compile(r"[a-z0-9][a-z0-9+._-]*")
READ_FIELDS = ("package", "status", "version", "architecture", "multi-arch", "triggers-pending", "triggers-awaited")
NOT_INSTALLED, CONFIG_FILES = "not-installed", "config-files"
STATES = (
    *(NOT_INSTALLED, CONFIG_FILES, "half-installed", "unpacked"),
    *("half-configured", "triggers-awaited", "triggers-pending", "installed"),
)
# The desired action, the error flag, the state. dpkg ignores case, and needs no blank between the first two.
_STATUS = re.compile(
    rf"(?:unknown|install|hold|deinstall|purge)\s*(?:ok|reinstreq)\s*({'|'.join(STATES)})", re.ASCII | re.IGNORECASE
)
ANY = ("", "all")  # values for packages without a specific architecture
MULTI_ARCH = ("", "no", "same", "allowed", "foreign")


class PackageStanza(NamedTuple):
    """Entry of a database for one package and architecture.

    `error` is the reason if dpkg refuses it.
    """

    path: str
    fields: Mapping[str, Field]
    line: int
    error: str = ""
    cut: bool = False  # not all of its fields were read

    def field(self, name: str) -> Observation[str]:
        """Return the value of a single-line field."""
        field = self.fields.get(name.lower())
        if not field:
            return Unknown("malformed", f"{self.path}:{self.line}: the package has no field {name}")
        return Value(field.value, Evidence(self.path, field.line))

    def get_text(self, name: str) -> str:
        """Return the text of a field; empty if it is not set."""
        return self.fields[name].value if name in self.fields else ""

    @property
    def name(self) -> str:
        """Name of the package in lower case; empty if dpkg refuses it."""
        name = self.get_text("package").lower()
        return name if NAME.fullmatch(name) else ""

    @property
    def status(self) -> Observation[str]:
        """Installation state.

        Images without a package manager do not record it: every package there is installed.
        """
        if "status" not in self.fields:
            standing = "installed" if self.path.startswith(STATUS_FOLDER) else NOT_INSTALLED
            return self.field("Package").then(lambda _: standing)
        return self.field("Status").then(_parse_status)

    def row(self) -> Optional[Observation[Record]]:
        """Return the package as a row; None if dpkg only knows its name."""
        if self.cut:
            return Unknown("malformed", f"{self.path}: {self.error}")
        status = self.status
        if not isinstance(status, Value):
            return status
        if status.value == CONFIG_FILES:
            return Absent(status.evidence, "removed; only its configuration files remain")
        if status.value == NOT_INSTALLED:
            return None
        name = self.field("Package")
        return name if not isinstance(name, Value) else Value(self._make_columns(name.evidence), name.evidence)

    def _make_columns(self, at: Evidence) -> Record:
        return make_package_row(
            "deb",
            at,
            version=lambda: self.field("Version").then(_parse_deb_upstream),
            deb=lambda: self.field("Version"),
            status=lambda: self.status,
            architecture=lambda: self.field("Architecture"),
        )


Architectures: TypeAlias = "Dict[str, PackageStanza]"


class DpkgDatabase(NamedTuple):
    """The stanzas in force, by name and architecture.

    `native` is the architecture of dpkg itself. `rest` is the observation for a package that no file mentions.
    """

    by_name: Mapping[str, Architectures]
    native: str
    rest: Lacking

    def observe(self, key: str) -> Optional[Observation[Record]]:
        """Return one package."""
        stanza = self.select_stanza(key)
        row = stanza.row() if stanza else None
        return self.rest if isinstance(row, Absent) and isinstance(self.rest, Unknown) else row

    def select_stanza(self, key: str) -> Optional[PackageStanza]:
        """Return the stanza that a name means."""
        name, _, architecture = key.partition(":")
        stanzas = self.by_name.get(name.lower(), {})
        if architecture:
            return stanzas.get(architecture)
        return min(stanzas.values(), key=self.rank) if stanzas else None

    def every(self) -> Mapping[str, Observation[Record]]:
        """Return all installed packages, by name.

        Further architectures of a package are listed as `name:architecture`.
        """
        rows: Dict[str, Optional[Observation[Record]]] = {}
        for name, stanzas in self.by_name.items():
            meant, *more = sorted(stanzas.values(), key=self.rank) if len(stanzas) > 1 else stanzas.values()
            rows[name] = meant.row()
            rows.update({f"{name}:{stanza.get_text('architecture')}": stanza.row() for stanza in more})
        return {name: row for name, row in rows.items() if row is not None and not isinstance(row, Absent)}

    def rank(self, stanza: PackageStanza) -> Tuple[bool, bool]:
        """Rank the architectures of a plain name; the lowest rank is selected."""
        return isinstance(stanza.row(), (Absent, type(None))), stanza.get_text("architecture") not in (
            self.native,
            "all",
        )


def read_dpkg_database(tree: Tree) -> Union[DpkgDatabase, Unknown, None]:
    """Return the database of dpkg; None if it has no rows."""
    texts = [tree.text(path) for path in (*_list_status_files(tree), STATUS, *_list_updates(tree))]
    unread = next((text for text in reversed(texts) if isinstance(text, Unknown)), None)
    database = build_dpkg_database([(text.evidence.source, text.value) for text in texts if isinstance(text, Value)])
    if not database.by_name and not isinstance(database.rest, Unknown):
        return unread
    return database._replace(rest=unread or database.rest)


def build_dpkg_database(files: Sequence[Tuple[str, str]]) -> DpkgDatabase:
    """Build a database from the texts of files, the oldest first."""
    by_name: Dict[str, Architectures] = {}
    error = ""
    for path, text in files:
        for stanza in _parse_package_stanzas(path, text):
            error = error or (stanza.error and f"{path}: {stanza.error}")
            if stanza.name:
                known = by_name.setdefault(stanza.name, {})
                error = error or _find_conflict(known, stanza)
                _replace_stanza(known, stanza)
    paths = {stanza.path for stanzas in by_name.values() for stanza in stanzas.values()}
    looked = STATUS if STATUS in paths else f"{STATUS_FOLDER}/*"
    dpkg = next(iter(by_name.get("dpkg", {}).values()), None)
    refused = Unknown("malformed", error, "repair the file until dpkg --audit reports no error")
    return DpkgDatabase(
        by_name, dpkg.get_text("architecture") if dpkg else "", refused if error else Absent(Evidence(looked))
    )


def _find_conflict(known: Architectures, stanza: PackageStanza) -> str:
    """Return why dpkg refuses a stanza beside others of the same name; empty if valid."""
    if not known or stanza.row() is None:
        return ""
    noted = stanza.path.startswith(UPDATES)  # an update replaces the only one
    installed = [
        other for other in (*known.values(), stanza) if other.row() is not None and (noted or other.path == STATUS)
    ]
    if len(installed) > 1 + noted and any(other.get_text("multi-arch").lower() != "same" for other in installed):
        return f"{stanza.path}: line {stanza.line}: {stanza.name} is installed twice"
    return ""


def _replace_stanza(known: Architectures, stanza: PackageStanza) -> None:
    """Replace the older stanza of a package.

    In the status file each architecture has its own stanza. An update replaces the stanza of another architecture,
    unless both may be co-installed (Multi-Arch: same).
    """
    there = [name for name, other in known.items() if other.row() is not None]
    if stanza.error and not stanza.get_text("architecture"):  # Its architecture is not known, so it may replace any.
        known.clear()
    elif stanza.path.startswith(UPDATES) and len(there) == 1:
        same = (stanza.get_text("multi-arch"), known[there[0]].get_text("multi-arch"))
        if tuple(map(str.lower, same)) != ("same", "same"):
            del known[there[0]]
    known[stanza.get_text("architecture")] = stanza


def _list_updates(tree: Tree) -> List[str]:
    """Return the files that dpkg has not merged into its status file, from old to new."""
    names = tree.names(UPDATES)
    numbers = [name for name in names.value if name.isdigit()] if isinstance(names, Value) else []
    return [f"{UPDATES}/{number}" for number in numbers]


def _list_status_files(tree: Tree) -> List[str]:
    names = tree.names(STATUS_FOLDER)
    files = names.value if isinstance(names, Value) else ()
    return [f"{STATUS_FOLDER}/{name}" for name in files if not name.endswith(".md5sums")]


def _parse_package_stanzas(path: str, text: str) -> Iterator[PackageStanza]:
    """Yield all stanzas of a file, with the reason if dpkg refuses one."""
    alone = path.startswith(STATUS_FOLDER)  # dpkg does not read these files, and so never refuses them
    for parsed in parse_stanzas(f"{text}\n" if alone else text, READ_FIELDS):
        stanza = PackageStanza(path, parsed.fields, parsed.line, parsed.error, bool(parsed.error))
        error = parsed.error or ("" if alone else _explain_refusal(stanza))
        yield stanza._replace(error=error)


def _explain_refusal(stanza: PackageStanza) -> str:
    """Return why dpkg refuses a stanza with valid syntax; empty if it accepts it."""
    status, several = stanza.status, stanza.get_text("multi-arch").lower()
    state = status.value if isinstance(status, Value) else ""
    required = "version" in stanza.fields or state not in (NOT_INSTALLED, "half-installed")
    triggers = ("triggers-pending", "triggers-awaited")
    wrong = {
        "dpkg does not accept its name": not stanza.name,
        "dpkg does not accept its status": not state,
        "dpkg does not accept its version": required and not _is_version(stanza.get_text("version")),
        "dpkg does not accept its Multi-Arch": several not in MULTI_ARCH,
        "Multi-Arch is same, but it has no architecture": several == "same" and stanza.get_text("architecture") in ANY,
        "its triggers do not match its status": any((state == name) != (name in stanza.fields) for name in triggers),
    }
    reason = next((why for why, applies in wrong.items() if applies), "")
    return reason and f"line {stanza.line}: package `{stanza.get_text('package')[:40]}`: {reason}"


def _is_version(text: str) -> bool:
    """Return whether dpkg accepts a version, if only with a warning: `1:2.0-1`."""
    before, colon, remainder = text.partition(":")
    if colon and not (re.fullmatch(r"\d{1,10}", before, re.ASCII) and int(before) < 1 << 31):
        return False
    upstream, hyphen, revision = (remainder if colon else text).rpartition("-")
    return not set(text) & set(BLANKS) and bool(revision) and (bool(upstream) or not hyphen)


def _parse_status(words: str) -> str:
    """Parse the state: `installed` of `install ok installed`."""
    match = _STATUS.fullmatch(words)
    if not match:
        raise ValueError(f"`{words[:40]}` is not a status of dpkg")
    return match[1].lower()


_REALLY_PREFIX = re.compile(r".*\+really[.+-]?(?=\d)")  # the part before it only sorts above a wrong upload
_REPACKING_SUFFIX = re.compile(
    r"(?:[+~.-](?:dfsg|ds|repack(?:ed)?)[\d.]*"  # files removed from the source, or a repacked source
    r"|\+(?:b|nmu)\d+|[+~](?:deb|bpo)\d+[u+]\d+)"  # a rebuild, an update, or a backport of a version without a revision
    r"(?=[+~-]|$)"
)


def _parse_deb_upstream(evr: str) -> str:
    """Return the upstream version.

    It is `1.6.20` for `1:1.6.20~ds1-1+deb12u1`, and `2.0-rc1` for `2.0~rc1-1`.
    """
    upstream = evr.partition(":")[2] or evr
    version = _REPACKING_SUFFIX.sub("", _REALLY_PREFIX.sub("", upstream.rpartition("-")[0] or upstream))
    if not version:
        raise ValueError(f"`{evr}` has no upstream version")
    return normalize_prerelease(version)
