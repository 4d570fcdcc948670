"""Packages that are installed, as the package system's own database has them. No program is run for it.

Of dpkg that is /var/lib/dpkg/status, what dpkg has written to /var/lib/dpkg/updates and not yet merged, and
/var/lib/dpkg/status.d, where images without a package manager keep one file a package; of RPM an SQLite database
(those of CentOS 7, RHEL 8 and SUSE are of other formats, and unknown); of apk its file `installed`. Any other package
system is unknown (unsupported), and so is never mistaken for one that has nothing installed.

A row is there if the package's files are, be it half done: `status` tells. One that was removed and left only its
configuration (`rc` in the list of dpkg) is absent. `libc6:i386` is the package of that architecture; `libc6` that of
the machine's own, and of another only where its own is not installed. Of several versions, as RPM keeps them of a
kernel, the newest is meant.
"""

from __future__ import annotations

from typing import Mapping, Union

from nodespec.checks import _apk, _dpkg, _rpm
from nodespec.checks._dpkg import STATUS
from nodespec.checks._package_rows import NAME, Listed
from nodespec.facts.declaration import Record, Row, Rows, table
from nodespec.facts.value_types import Choice, Text, Version
from nodespec.facts.versions import DEB, RELEASE, RPM
from nodespec.host.tree import Tree
from nodespec.model.observation import Absent, Observation, Unknown

STATES = ("installed", "triggers-pending", "triggers-awaited", "half-configured", "unpacked", "half-installed")
OTHERS = {"/var/lib/pacman/local": "pacman"}  # package systems that are recognised and not read


def _name(text: str) -> str:
    """A package's name, perhaps with its architecture."""
    name, colon, architecture = text.partition(":")
    if not NAME.fullmatch(name) or (colon and not NAME.fullmatch(architecture)):
        raise ValueError(f"`{text}` cannot be the name of a package")
    return text


@table(
    {
        "version": Version(RELEASE),
        "deb": Version(DEB),
        "rpm": Version(RPM),
        "apk": Text(),
        "status": Choice(*STATES),
        "architecture": Text(),
    },
    sources=(*_dpkg.SOURCES, *_rpm.FILES, *_apk.FILES),
    noun="package",
    key=_name,
    closed=True,
    listed=lambda name: ":" not in name,  # NAME:ARCHITECTURE is another name of what is listed as NAME
    fix="install the package {key}",
    fixes={
        **dict.fromkeys(("version", "deb", "rpm", "apk"), "upgrade {key} to {want}"),
        "status": "let dpkg finish what it began: dpkg --configure -a",
        "architecture": "install the package {key} of architecture {want}",
    },
    same_at_rest=True,
)
def packages(tree: Tree) -> Rows[Row]:
    """Packages that are installed, by name.

    `version` is the software's own: 1.6.20 of 1.6.20~ds1-1+deb12u1, without epoch, revision and what repacking adds,
    and 2.0-rc1 of 2.0~rc1-1. It is ordered by its dotted numbers, so that 1.1.1n and 1.1.1w are one version. The whole
    of it tells them apart, and stands in the column of the system that has the package, since what one of them writes
    means nothing in the order of another: `deb` (as dpkg --compare-versions has it), `rpm` (epoch:version-release, in
    RPM's order), `apk` (1.36.1-r2, and equal or not). `status` is the third word of dpkg's: `installed`, or how far an
    installation came; with the other systems a package is installed or not there.
    """
    return rows_of(tree)


def rows_of(tree: Tree) -> Rows[Row]:
    """The same, for the families that ask which version of something is installed."""
    found = tree.once(_database)
    if isinstance(found, Unknown):
        return Rows.lacking(found)
    return Rows(found.look, lambda: tree.once(_all), found.rest)


def _all(tree: Tree) -> Mapping[str, Observation[Record]]:
    found = tree.once(_database)
    return {} if isinstance(found, Unknown) else found.every()


def _database(tree: Tree) -> Union[_dpkg.Database, Listed, Unknown]:
    """The first database that has packages; without one the reason why one could not be read."""
    unread = None
    for look in (_dpkg.database, _rpm.database, _apk.database):
        found = look(tree)
        if found and not isinstance(found, Unknown):
            return found
        unread = unread or found
    for path, system in OTHERS.items():
        if not isinstance(tree.entry(path), Absent):
            return unread or Unknown("unsupported", f"{path}: packages of {system} cannot be read yet")
    return unread or Unknown("not found", f"no package database: {STATUS} is not there, or has no packages")
