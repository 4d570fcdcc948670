"""Users and groups by name, from passwd(5) and group(5) of the host itself."""

from __future__ import annotations

import re

from nodespec.checks import _files_names
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, List, Mapping, Optional, Tuple, TypeAlias

    from nodespec.host.tree import Tree

USER_FIELDS, GROUP_FIELDS = 7, 4
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,255}\$?")
DYNAMIC_USERS = "/run/systemd/dynamic-uid"


class Account(NamedTuple):
    """A line of passwd(5) or group(5): its fields, with its file and line."""

    fields: Tuple[str, ...]
    at: Evidence

    def number(self, field: int) -> Observation[int]:
        """Return a field that is a number."""
        return Value(self.fields[field], self.at).then(_parse_id)


Accounts: TypeAlias = "Tuple[Mapping[str, Account], Observation[str]]"


def validate_account_name(text: str) -> str:
    """Validate the name of a user or group."""
    if not NAME.fullmatch(text):
        raise ValueError(f"`{text}` is not the name of a user or group, such as etcd")
    return text


def read_users(tree: Tree) -> Accounts:
    """Return the users by name, and the observation of every other name."""
    return _read_accounts(tree, "passwd", USER_FIELDS)


def read_groups(tree: Tree) -> Accounts:
    """Return the groups by name, and the observation of every other name."""
    return _read_accounts(tree, "group", GROUP_FIELDS)


def _read_accounts(tree: Tree, database: str, count: int) -> Accounts:
    accounts: Dict[str, Account] = {}
    sources = _files_names.list_sources(tree, database)
    folders = ("/etc", "/usr/lib") if "altfiles" in sources else ("/etc",)
    unread: Optional[Unknown] = None
    for folder in folders:
        text = tree.text(f"{folder}/{database}")
        unread = unread or (text if isinstance(text, Unknown) else None)
        for number, line in enumerate(text.value.split("\n") if isinstance(text, Value) else (), 1):
            fields = tuple(line.split(":"))
            if len(fields) == count and NAME.fullmatch(fields[0]):
                accounts.setdefault(fields[0], Account(fields, Evidence(f"{folder}/{database}", number)))
    if not accounts and not unread:
        unread = Unknown("not found", f"no /etc/{database} with entries found")
    return accounts, unread or _explain_other_sources(tree, database, sources)


def _explain_other_sources(tree: Tree, database: str, sources: Tuple[str, ...]) -> Observation[str]:
    """Return the observation of a name that the files do not have."""
    kind = "user" if database == "passwd" else "group"
    for source in sources:
        if source == "systemd" and not _has_systemd_accounts(tree):
            continue
        if source not in ("files", "altfiles", "compat"):
            return Unknown("unsupported", f"{_files_names.SWITCH} also names the source `{source}` of {kind}s")
    return Absent(Evidence(f"/etc/{database}"))


def _has_systemd_accounts(tree: Tree) -> bool:
    """Return whether nss-systemd(8) may have users of its own: records, or those of running services."""
    paths = (*_files_names.USER_RECORDS, DYNAMIC_USERS)
    folders = [tree.names(path) for path in paths]
    return any(isinstance(names, Unknown) or (isinstance(names, Value) and bool(names.value)) for names in folders)


def list_group_names(groups: Mapping[str, Account], user: Account) -> List[str]:
    """Return the names of the groups of a user: the primary one, and those that name the user."""
    name, primary = user.fields[0], user.fields[3]
    return [
        group
        for group, account in groups.items()
        if account.fields[2] == primary or name in account.fields[3].split(",")
    ]


def _parse_id(text: str) -> int:
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII):
        raise ValueError(f"`{text[:40]}` is not an ID")
    return int(text)
