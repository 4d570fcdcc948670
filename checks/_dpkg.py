"""The database of dpkg: stanzas of fields, as files of text.

Read are its status file, what dpkg has noted and not yet merged into it, and a folder in which images without a package
manager keep one file a package.
"""

from __future__ import annotations

import re
from typing import Dict, Iterator, List, Mapping, Optional, Tuple, Union

from nodespec.checks._package_rows import columns, final
from nodespec.facts.declaration import Record
from nodespec.host.tree import Tree
from nodespec.model.observation import Absent, Evidence, Lacking, Observation, Unknown, Value
from nodespec.records import NamedTuple

STATUS, ALONE, UPDATES = "/var/lib/dpkg/status", "/var/lib/dpkg/status.d", "/var/lib/dpkg/updates"
SOURCES = (STATUS, f"{ALONE}/*", f"{UPDATES}/*")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")


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
        name = self.field("Package")
        return name if not isinstance(name, Value) else Value(self._columns(name.evidence), name.evidence)

    def _columns(self, at: Evidence) -> Record:
        return columns(
            "deb",
            at,
            version=lambda: self.field("Version").then(_own),
            deb=lambda: self.field("Version"),
            status=lambda: self.status,
            architecture=lambda: self.field("Architecture"),
        )


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


def database(tree: Tree) -> Union[Database, Unknown, None]:
    """The database of dpkg, if it has rows; nothing where there is none."""
    looks = [tree.text(path) for path in (*_updates(tree), STATUS, *_alone(tree))]
    files = tuple((look.evidence.source, f"\n{look.value}\n\n") for look in looks if isinstance(look, Value))
    unread = next((look for look in looks if isinstance(look, Unknown)), None)
    speaking = [path for path, text in files if "\nPackage: " in text]
    if not speaking:
        return unread
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
    return final(own)
