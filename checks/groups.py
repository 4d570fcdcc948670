"""Groups of the host, by name, from its own files. See `users` for the sources."""

from __future__ import annotations

from nodespec.checks import _accounts, _files_names
from nodespec.facts.declaration import Columns, Row, Rows, table
from nodespec.facts.value_numbers import Whole
from nodespec.facts.value_types import FreeText, SetOf
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Observation, Value

if TYPE_CHECKING:
    from typing import Dict

    from nodespec.checks._accounts import Account


@table(
    {"gid": Whole(), "members": SetOf(FreeText())},
    sources=(*_files_names.SOURCES, _accounts.DYNAMIC_USERS),
    noun="group",
    key=_accounts.validate_account_name,
    closed=True,
    fix="groupadd --system {key}, or groupdel {key}",
    fixes={"gid": "groupmod --gid {want} {key}", "members": "gpasswd --add USER {key}, or --delete"},
    same_at_rest=True,
)
def groups(tree: Tree) -> Rows[Row]:
    """Groups by name. `members` are the users that the group lists; those whose primary group it is are not listed."""
    known, rest = tree.once(_accounts.read_groups)
    rows: Dict[str, Observation[Row]] = {name: Value(_make_row(group), group.at) for name, group in known.items()}
    return Rows.of(rows, rest)


def _make_row(group: Account) -> Columns:
    return Columns(
        gid=lambda: group.number(2),
        members=lambda: Value(frozenset(filter(None, group.fields[3].split(","))), group.at),
    )
