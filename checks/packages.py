"""Packages that are installed, as the package system's own database has them. No program is run for it.

Read is dpkg's: /var/lib/dpkg/status, what dpkg has written to /var/lib/dpkg/updates and not yet merged, and
/var/lib/dpkg/status.d, where images without a package manager keep one file a package. Any other package system
is unknown (unsupported), and so is never mistaken for one that has nothing installed.

A row is there if the package's files are, be it half done: `status` tells. One that was removed and left only its
configuration (`rc` in the list of dpkg) is absent. `libc6:i386` is the package of that architecture; `libc6` that of
the machine's own, and of another only where its own is not installed.
"""

from __future__ import annotations

import re
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union

from nodespec.facts import Columns, Record, Row, Rows, table
from nodespec.kinds import Choice, Text, Version
from nodespec.observation import Absent, Evidence, Lacking, Observation, Unknown, Value
from nodespec.tree import Tree
from nodespec.versions import DEB, RELEASE

STATUS, ALONE, UPDATES = "/var/lib/dpkg/status", "/var/lib/dpkg/status.d", "/var/lib/dpkg/updates"
STATES = ("installed", "triggers-pending", "triggers-awaited", "half-configured", "unpacked", "half-installed")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
# package systems that are recognised and not read
OTHERS = {
    "/usr/lib/sysimage/rpm": "RPM",
    "/var/lib/rpm": "RPM",
    "/lib/apk/db/installed": "apk",
    "/var/lib/pacman/local": "pacman",
}


def _name(text: str) -> str:
    """A package's name, perhaps with its architecture."""
    name, colon, architecture = text.partition(":")
    if not NAME.fullmatch(name) or (colon and not NAME.fullmatch(architecture)):
        raise ValueError(f"`{text}` cannot be the name of a package")
    return text


@table(
    {"version": Version(RELEASE), "evr": Version(DEB), "status": Choice(*STATES), "architecture": Text()},
    sources=(STATUS, f"{ALONE}/*", f"{UPDATES}/*"),
    noun="package",
    key=_name,
    closed=True,
    listed=lambda name: ":" not in name,
    fix="apt-get install {key}",
    fixes={
        "version": "upgrade {key} to {want}",
        "evr": "upgrade {key} to {want}",
        "status": "let dpkg finish what it began: dpkg --configure -a",
        "architecture": "install the package {key} of architecture {want}",
    },
    same_at_rest=True,
)
def packages(tree: Tree) -> Rows[Row]:
    """Packages that are installed, by name.

    `version` is the software's own: 1.6.20 of 1.6.20~ds1-1+deb12u1, without epoch, revision and what repacking adds,
    and 2.0-rc1 of 2.0~rc1-1. It is ordered by its dotted numbers, so that 1.1.1n and 1.1.1w are one version; `evr`
    is the whole of it in the package system's own order, which tells them apart. `status` is the third word of dpkg's:
    `installed`, or how far an installation came.
    """
    found = tree.once(_database)
    if not isinstance(found, Database):
        return Rows.lacking(found)
    return Rows(found.look, lambda: tree.once(_all), found.rest)


class Stanza(NamedTuple):
    """What a database says of one package of one architecture: `text` with the line end before it, that of `line`."""

    path: str
    line: int
    text: str

    def field(self, name: str) -> Observation[str]:
        """A field of one line. Continuation lines are indented, and so never taken for one."""
        head = f"\n{name}: "
        at = self.text.find(head)
        if at < 0:
            return Unknown("malformed", f"{self.path}:{self.line + 1}: a package without {name}")
        value, _, _ = self.text[at + len(head) :].partition("\n")
        return Value(value, Evidence(self.path, self.line + 1 + self.text.count("\n", 0, at)))

    def plain(self, name: str) -> str:
        """A field's text, empty where there is none."""
        found = self.field(name)
        return found.value if isinstance(found, Value) else ""

    @property
    def status(self) -> Observation[str]:
        """How far it is installed. Images without a package manager do not say: what is there is installed."""
        if "\nStatus: " not in self.text:
            standing = "installed" if self.path.startswith(ALONE) else "not-installed"
            return self.field("Package").then(lambda _: standing)
        return self.field("Status").then(_third)

    def row(self) -> Optional[Observation[Record]]:
        """The package as a row; nothing where dpkg has only heard of it."""
        status = self.status
        if not isinstance(status, Value):
            return status
        if status.value == "config-files":
            return Absent(status.evidence, "it was removed, and only its configuration is left")
        if status.value == "not-installed":
            return None
        columns = Columns(
            version=lambda: self.field("Version").then(_own),
            evr=lambda: self.field("Version"),
            status=lambda: status,
            architecture=lambda: self.field("Architecture"),
        )
        return self.field("Package").then(lambda _: columns)


class Database(NamedTuple):
    """The files of a database, the newest first, each between blank lines; what counts is the first that says it.

    `native` is the architecture of dpkg itself, `rest` what may be said of a package that no file mentions.
    """

    files: Tuple[Tuple[str, str], ...]
    native: str
    rest: Lacking

    def look(self, key: str) -> Optional[Observation[Record]]:
        """One package, found without reading the others."""
        name, _, architecture = key.partition(":")
        found: Dict[str, Stanza] = {}
        for path, text in self.files:
            for stanza in _named(path, text, name):
                found.setdefault(stanza.plain("Architecture"), stanza)
        if architecture:
            return found[architecture].row() if architecture in found else None
        return min(found.values(), key=self.rank).row() if found else None

    def every(self) -> Mapping[str, Observation[Record]]:
        """All that is installed, under plain names; further architectures of one package as `name:architecture`."""
        by_name: Dict[str, Dict[str, Stanza]] = {}
        for path, text in self.files:
            for stanza in _stanzas(path, text):
                by_name.setdefault(stanza.plain("Package"), {}).setdefault(stanza.plain("Architecture"), stanza)
        rows = {}
        for name, stanzas in by_name.items():
            meant, *more = sorted(stanzas.values(), key=self.rank) if len(stanzas) > 1 else stanzas.values()
            rows[name] = meant.row()
            rows.update({f"{name}:{stanza.plain('Architecture')}": stanza.row() for stanza in more})
        return {name: row for name, row in rows.items() if row is not None and not isinstance(row, Absent)}

    def rank(self, stanza: Stanza) -> Tuple[bool, bool]:
        """Which of several architectures a plain name means: the least."""
        return isinstance(stanza.row(), (Absent, type(None))), stanza.plain("Architecture") not in (self.native, "all")


def _all(tree: Tree) -> Mapping[str, Observation[Record]]:
    found = tree.once(_database)
    return found.every() if isinstance(found, Database) else {}


def _database(tree: Tree) -> Union[Database, Lacking]:
    """The database of dpkg, if it has rows; else what is known of other package systems."""
    looks = [tree.text(path) for path in (*_updates(tree), STATUS, *_alone(tree))]
    files = tuple((look.evidence.source, f"\n{look.value}\n\n") for look in looks if isinstance(look, Value))
    unread = next((look for look in looks if isinstance(look, Unknown)), None)
    speaking = [path for path, text in files if "\nPackage: " in text]
    if not speaking:
        return unread or _other(tree)
    looked = STATUS if STATUS in speaking else f"{ALONE}/*"
    found = Database(files, "", unread or Absent(Evidence(looked)))
    dpkg = next((stanza for path, text in files for stanza in _named(path, text, "dpkg")), None)
    return found._replace(native=dpkg.plain("Architecture") if dpkg else "")


def _updates(tree: Tree) -> List[str]:
    """What dpkg has noted and not yet merged into its status file, numbered from old to new: the newest first."""
    names = tree.names(UPDATES)
    numbers = [name for name in names.value if name.isdigit()] if isinstance(names, Value) else []
    return [f"{UPDATES}/{number}" for number in reversed(numbers)]


def _alone(tree: Tree) -> List[str]:
    names = tree.names(ALONE)
    found = names.value if isinstance(names, Value) else ()
    return [f"{ALONE}/{name}" for name in found if not name.endswith(".md5sums")]


def _other(tree: Tree) -> Unknown:
    for path, system in OTHERS.items():
        if isinstance(tree.entry(path), Value):
            return Unknown("unsupported", f"{path}: packages of {system} cannot be read yet")
    return Unknown("not found", f"no package database: {STATUS} is not there, or has no packages")


def _named(path: str, text: str, name: str) -> Iterator[Stanza]:
    """The stanzas of one package, searched for as text."""
    at = 0
    while (at := text.find(f"\nPackage: {name}\n", at)) >= 0:
        start, end = text.rfind("\n\n", 0, at + 1) + 1, text.find("\n\n", at + 1)
        stanza = Stanza(path, text.count("\n", 0, start), text[start:end])
        if stanza.plain("Package") == name:
            yield stanza
        at = end


def _stanzas(path: str, text: str) -> Iterator[Stanza]:
    """All stanzas with a name that a package can have."""
    line = 0
    for stanza in text[1:].split("\n\n"):
        found = Stanza(path, line, f"\n{stanza}")
        if NAME.fullmatch(found.plain("Package")):
            yield found
        line += stanza.count("\n") + 2


def _third(words: str) -> str:
    """`installed` of `install ok installed`: what is wanted, whether it is sound, what is."""
    _, _, status = words.split()
    return status


REALLY = re.compile(r".*\+really[.+-]?(?=\d)")  # what stands before is there to be greater than a mistake
ADDED = re.compile(
    r"(?:[+~.-](?:dfsg|ds|repack(?:ed)?)[\d.]*"  # what was left out of the source, or packed anew
    r"|\+(?:b|nmu)\d+|[+~](?:deb|bpo)\d+[u+]\d+)"  # a rebuild, an update, a backport of what has no revision
    r"(?=[+~-]|$)"
)


def _own(evr: str) -> str:
    """The software's own version: `1.6.20` of `1:1.6.20~ds1-1+deb12u1`, `2.0-rc1` of `2.0~rc1-1`."""
    upstream = evr.partition(":")[2] or evr
    own = ADDED.sub("", REALLY.sub("", upstream.rpartition("-")[0] or upstream))
    if not own:
        raise ValueError(f"`{evr}` has no version of the software's own")
    return re.sub("~(alpha|beta|rc)", r"-\1", own)
