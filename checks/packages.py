"""Installed packages, read from the package database without running a program.

For dpkg these are /var/lib/dpkg/status and the entries of /var/lib/dpkg/updates that are not merged yet. Images without
a package manager keep one file a package in /var/lib/dpkg/status.d. For RPM it is an SQLite database; the other formats
of CentOS 7, RHEL 8 and SUSE are unknown. For apk it is its file `installed`. Any other package system is unknown
(unsupported), and is never reported as having no packages.

A package has a row if its files are installed, also if the installation is incomplete: `status` shows how far it came.
A package that was removed except its configuration (`rc` in the list of dpkg) is absent. `libc6:i386` is the package of
that architecture. `libc6` is the package of the machine's own architecture, or of another if that one is not installed.
If several versions are installed, as RPM does for kernels, the newest counts.
"""

from __future__ import annotations

from nodespec.checks import _apk, _dpkg, _rpm
from nodespec.checks._dpkg import STATUS
from nodespec.checks._package_rows import NAME, PackageDatabase
from nodespec.facts.declaration import Record, Row, Rows, table
from nodespec.facts.value_numbers import Version
from nodespec.facts.value_types import Flag, FreeText, OneOf
from nodespec.facts.versions import DEB, RELEASE, RPM
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Observation, Unknown

if TYPE_CHECKING:
    from typing import Mapping, Union

LOCKS = ("/etc/dnf/*", "/etc/yum*", "/etc/zypp/locks", "/etc/apk/world")
STATES = ("installed", "triggers-pending", "triggers-awaited", "half-configured", "unpacked", "half-installed")
OTHERS = {"/var/lib/pacman/local": "pacman"}  # package systems that are recognized but not read


def _validate_package_name(text: str) -> str:
    """Validate the name of a package, optionally with its architecture."""
    name, colon, architecture = text.partition(":")
    if not NAME.fullmatch(name) or (colon and not NAME.fullmatch(architecture)):
        raise ValueError(f"`{text}` is not a valid package name")
    return text


@table(
    {
        "version": Version(RELEASE),
        "deb": Version(DEB),
        "rpm": Version(RPM),
        "apk": FreeText(),
        "status": OneOf(*STATES),
        "architecture": FreeText(),
        "held": Flag(),
    },
    sources=(*_dpkg.SOURCES, *_rpm.FILES, *_apk.FILES, *LOCKS),
    noun="package",
    key=_validate_package_name,
    closed=True,
    listed=lambda name: ":" not in name,  # NAME:ARCHITECTURE is a second name of a package that is listed as NAME.
    fix="install the package {key}",
    fixes={
        **dict.fromkeys(("version", "deb", "rpm", "apk"), "upgrade {key} to {want}"),
        "status": "complete the installation: dpkg --configure -a",
        "architecture": "install the package {key} of architecture {want}",
        "held": "apt-mark hold {key} (or unhold), dnf versionlock add {key}, zypper addlock {key}; required: {want}",
    },
    same_at_rest=True,
)
def packages(tree: Tree) -> Rows[Row]:
    """Installed packages, by name.

    `version` is the upstream version: 1.6.20 for 1.6.20~ds1-1+deb12u1, without epoch, revision and repacking suffixes,
    and 2.0-rc1 for 2.0~rc1-1. It is ordered by its dotted numbers, so 1.1.1n and 1.1.1w are equal. The full version
    distinguishes them. It is in the column of the package system, because each system has its own order: `deb` (ordered
    as by dpkg --compare-versions), `rpm` (epoch:version-release, in RPM's order), `apk` (1.36.1-r2, equality only).
    `status` is the third word of dpkg's status: `installed`, or how far an installation came. With the other systems a
    package is either installed or absent.

    `held`: the package manager must not upgrade it. With dpkg it is the desired state `hold`, which `apt-mark hold`
    sets; pins of apt do not count. With RPM it is a lock of dnf's plugin versionlock or of zypper, or an `exclude` of
    dnf; with apk a version in /etc/apk/world.
    """
    database = tree.once(_find_database)
    if isinstance(database, Unknown):
        return Rows.lacking(database)
    from nodespec.checks import _package_holds  # noqa: PLC0415

    return _package_holds.add_holds(tree, database)


def read_packages(tree: Tree) -> Rows[Row]:
    """Return the packages, for families that need the version of an installed package."""
    database = tree.once(_find_database)
    if isinstance(database, Unknown):
        return Rows.lacking(database)
    return Rows(database.observe, lambda: tree.once(_list_packages), database.rest)


def _list_packages(tree: Tree) -> Mapping[str, Observation[Record]]:
    database = tree.once(_find_database)
    return {} if isinstance(database, Unknown) else database.every()


def _find_database(tree: Tree) -> Union[_dpkg.DpkgDatabase, PackageDatabase, Unknown]:
    """Return the first database that has packages, else why one could not be read."""
    unread = None
    for read_database in (_dpkg.read_dpkg_database, _rpm.read_rpm_database, _apk.read_apk_database):
        database = read_database(tree)
        if database and not isinstance(database, Unknown):
            return database
        unread = unread or database
    for path, system in OTHERS.items():
        if not isinstance(tree.entry(path), Absent):
            return unread or Unknown("unsupported", f"{path}: the package system {system} is not supported")
    return unread or Unknown("not found", f"no package database found: {STATUS} is missing or has no packages")
