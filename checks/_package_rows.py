"""Rows of packages: one form for the databases of all package systems."""

from __future__ import annotations

import re

from nodespec.facts.declaration import Columns, Record
from nodespec.facts.value_types import Datum
from nodespec.facts.versions import Key
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Dict, Iterable, List, Mapping, Optional, Tuple

NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9+._~-]{0,199}")
SYSTEMS = {"deb": "dpkg", "rpm": "RPM", "apk": "apk"}  # the package system, by the column that has the full version
ANY = ("all", "noarch")  # packages that run on every architecture


def make_package_row(system: str, at: Evidence, **probes: Callable[[], Observation[Datum]]) -> Columns:
    """Return a row of this system; the full versions of other systems are absent."""
    message = f"a package of {SYSTEMS[system]} has its version in the column `{system}`"
    others = {other: (lambda: Absent(at, message)) for other in SYSTEMS if other != system}
    return Columns(**probes, **others)


def normalize_prerelease(version: str) -> str:
    """Convert a version with a pre-release to the form of RELEASE.

    It is `2.0-rc1` for `2.0~rc1` and `2.0_rc1`.
    """
    return re.sub("[~_](alpha|beta|rc)", r"-\1", version)


class Package(NamedTuple):
    """An installed package: `version` is upstream's, `whole` that of the system."""

    name: str
    version: str
    whole: str
    architecture: str
    at: Evidence

    def row(self, system: str) -> Value[Record]:
        """Return the package as a row of a database that has no partial installations."""
        given = {system: self.whole, "version": self.version, "status": "installed"}
        probes = {column: _wrap_observation(Value(text, self.at)) for column, text in given.items()}
        architecture = Value(self.architecture, self.at) if self.architecture else Absent(self.at)
        return Value(make_package_row(system, self.at, architecture=_wrap_observation(architecture), **probes), self.at)


def _wrap_observation(seen: Observation[Datum]) -> Callable[[], Observation[Datum]]:
    return lambda: seen


class PackageDatabase(NamedTuple):
    """The packages of a database, each name with its default package first."""

    system: str
    by_name: Mapping[str, Tuple[Package, ...]]
    rest: Absent

    def observe(self, key: str) -> Optional[Observation[Record]]:
        """Return one package, optionally by `name:architecture`."""
        name, _, architecture = key.partition(":")
        packages = (package for package in self.by_name.get(name, ()) if architecture in ("", package.architecture))
        return next((package.row(self.system) for package in packages), None)

    def every(self) -> Mapping[str, Observation[Record]]:
        """Return all packages; further architectures are listed as `name:architecture`."""
        rows: Dict[str, Observation[Record]] = {}
        for name, (meant, *others) in self.by_name.items():
            rows[name] = meant.row(self.system)
            for package in others:
                if package.architecture != meant.architecture:
                    rows.setdefault(f"{name}:{package.architecture}", package.row(self.system))
        return rows


def build_package_database(
    system: str, packages: Iterable[Package], order: Callable[[str], Key], at: Evidence
) -> PackageDatabase:
    """Build a database from packages.

    A plain name is the package of the machine's own architecture; of several versions it is the newest.
    """
    known = list(packages)
    architectures = [
        package.architecture for package in known if package.architecture and package.architecture not in ANY
    ]
    native = max(set(architectures), key=lambda package: (architectures.count(package), package), default="")
    by_name: Dict[str, List[Package]] = {}
    for package in known:
        by_name.setdefault(package.name, []).append(package)

    def rank(package: Package) -> Tuple[bool, Key]:
        try:
            return package.architecture in (native, *ANY), order(package.whole)
        except ValueError:
            return False, ()

    ranked = {name: tuple(sorted(ones, key=rank, reverse=True)) for name, ones in by_name.items()}
    return PackageDatabase(system, ranked, Absent(at))
