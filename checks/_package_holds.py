"""The column `held` of packages: added to the rows of a database, and observed when it is read."""

from __future__ import annotations

from nodespec.checks import _dpkg, _package_locks
from nodespec.checks._package_rows import PackageDatabase
from nodespec.facts.declaration import Columns, Record, Row, Rows
from nodespec.facts.value_types import Datum
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Observation, Value

if TYPE_CHECKING:
    from typing import Callable, Iterator, Optional, Union


def add_holds(tree: Tree, database: Union[_dpkg.DpkgDatabase, PackageDatabase]) -> Rows[Row]:
    """Return the packages of a database, with the column `held`."""

    def add_hold(key: str, row: Observation[Record]) -> Observation[Row]:
        return row.then(lambda columns: _HeldRow(columns, lambda: _is_held(tree, database, key)))

    def find_row(key: str) -> Optional[Observation[Row]]:
        row = database.observe(key)
        return None if row is None else add_hold(key, row)

    return Rows(find_row, lambda: {key: add_hold(key, row) for key, row in database.every().items()}, database.rest)


class _HeldRow(Columns):
    """A row with the column `held`."""

    def __init__(self, columns: Record, held: Callable[[], Observation[bool]]) -> None:
        super().__init__(held=held)
        self._columns = columns

    def __getitem__(self, name: str) -> Observation[Datum]:
        return super().__getitem__(name) if name == "held" else self._columns[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._columns
        yield "held"

    def __len__(self) -> int:
        return len(self._columns) + 1


def _is_held(tree: Tree, database: Union[_dpkg.DpkgDatabase, PackageDatabase], key: str) -> Observation[bool]:
    """Return whether the package manager keeps a package at its version."""
    if isinstance(database, _dpkg.DpkgDatabase):
        return _is_held_by_dpkg(database.select_stanza(key))
    find = _package_locks.find_rpm_lock if database.system == "rpm" else _package_locks.find_apk_lock
    return find(tree, key.partition(":")[0])


def _is_held_by_dpkg(stanza: Optional[_dpkg.PackageStanza]) -> Observation[bool]:
    """Return whether the desired state of a package is `hold`, as `apt-mark hold` sets it."""
    if stanza is None or "status" not in stanza.fields:  # An image without a package manager.
        return Value(value=False, evidence=Evidence(stanza.path if stanza else _dpkg.STATUS))
    return stanza.field("Status").then(lambda text: text.lower().startswith("hold"))
