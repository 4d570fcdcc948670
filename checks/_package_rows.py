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


def make_package_row(system: str, at: Evidence, **looks: Callable[[], Observation[Datum]]) -> Columns:
    """Return a row of this system; the full versions of other systems are absent."""
    said = f"a package of {SYSTEMS[system]} has its version in the column `{system}`"
    others = {other: (lambda: Absent(at, said)) for other in SYSTEMS if other != system}
    return Columns(**looks, **others)


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
        looks = {column: _wrap_observation(Value(text, self.at)) for column, text in given.items()}
        architecture = Value(self.architecture, self.at) if self.architecture else Absent(self.at)
        return Value(make_package_row(system, self.at, architecture=_wrap_observation(architecture), **looks), self.at)


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
        found = (one for one in self.by_name.get(name, ()) if architecture in ("", one.architecture))
        return next((one.row(self.system) for one in found), None)

    def every(self) -> Mapping[str, Observation[Record]]:
        """Return all packages; further architectures are listed as `name:architecture`."""
        rows: Dict[str, Observation[Record]] = {}
        for name, (meant, *others) in self.by_name.items():
            rows[name] = meant.row(self.system)
            for one in others:
                if one.architecture != meant.architecture:
                    rows.setdefault(f"{name}:{one.architecture}", one.row(self.system))
        return rows


def build_package_database(
    system: str, packages: Iterable[Package], order: Callable[[str], Key], at: Evidence
) -> PackageDatabase:
    """Build a database from packages.

    A plain name is the package of the machine's own architecture; of several versions it is the newest.
    """
    known = list(packages)
    architectures = [one.architecture for one in known if one.architecture and one.architecture not in ANY]
    native = max(set(architectures), key=lambda one: (architectures.count(one), one), default="")
    by_name: Dict[str, List[Package]] = {}
    for one in known:
        by_name.setdefault(one.name, []).append(one)

    def rank(one: Package) -> Tuple[bool, Key]:
        try:
            return one.architecture in (native, *ANY), order(one.whole)
        except ValueError:
            return False, ()

    ranked = {name: tuple(sorted(ones, key=rank, reverse=True)) for name, ones in by_name.items()}
    return PackageDatabase(system, ranked, Absent(at))
