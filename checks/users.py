"""Users of the host, by name, from its own files.

/etc/passwd and /etc/group of the host are read, and never the name service of the machine that nodespec runs on. A user
that they do not have is absent, unless /etc/nsswitch.conf names another source, such as sss: then it is unknown.
"""

from __future__ import annotations

from functools import partial

from nodespec.checks import _accounts, _files_names
from nodespec.facts.declaration import Columns, Row, Rows, table
from nodespec.facts.value_numbers import Whole
from nodespec.facts.value_types import FreeText, SetOf
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, FrozenSet

    from nodespec.checks._accounts import Account


@table(
    {"uid": Whole(), "gid": Whole(), "groups": SetOf(FreeText()), "home": FreeText(), "shell": FreeText()},
    sources=(*_files_names.SOURCES, _accounts.DYNAMIC_USERS),
    noun="user",
    key=_accounts.validate_account_name,
    closed=True,
    fix="useradd --system {key}",
    fixes={
        "uid": "usermod --uid {want} {key}",
        "gid": "usermod --gid {want} {key}",
        "groups": "usermod --append --groups GROUP {key}",
        "home": "usermod --home {want} {key}",
        "shell": "usermod --shell {want} {key}",
    },
    same_at_rest=True,
)
def users(tree: Tree) -> Rows[Row]:
    """Users by name. `groups` are the names of the primary group and of the groups that list the user."""
    known, rest = tree.once(_accounts.read_users)
    rows: Dict[str, Observation[Row]] = {name: Value(_make_row(tree, user), user.at) for name, user in known.items()}
    return Rows.of(rows, rest)


def _make_row(tree: Tree, user: Account) -> Columns:
    return Columns(
        uid=lambda: user.number(2),
        gid=lambda: user.number(3),
        groups=lambda: _list_groups(tree, user),
        **{name: partial(Value, user.fields[number], user.at) for name, number in (("home", 5), ("shell", 6))},
    )


def _list_groups(tree: Tree, user: Account) -> Observation[FrozenSet[str]]:
    groups, rest = tree.once(_accounts.read_groups)
    if isinstance(rest, Unknown):
        return rest
    return Value(frozenset(_accounts.list_group_names(groups, user)), user.at)
