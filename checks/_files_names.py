"""Names of users and groups, from the files of the host itself.

nsswitch.conf(5) may name further sources. They are not asked: an ID that only they could know is unknown.
"""

from __future__ import annotations

import re

from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, Tuple, Union

    from nodespec.host.tree import Tree

    Known = Tuple[Dict[int, Value[str]], Union[Unknown, None]]

SWITCH = "/etc/nsswitch.conf"
NUMBER_FIELD = 2  # The field of the ID, in passwd(5) and group(5).
# nss-systemd(8) has root and nobody, and dynamic, home and container users in these ranges.
SYSTEMD_IDS = ((0, 0), (60001, 60513), (61184, 65519), (65534, 65534), (524288, 1879048191))
USER_RECORDS = ("/etc/userdb", "/run/userdb", "/run/host/userdb", "/usr/lib/userdb")
SOURCES = ("/etc/passwd", "/etc/group", "/usr/lib/passwd", "/usr/lib/group", SWITCH, *USER_RECORDS)


def find_user_name(tree: Tree, number: int) -> Observation[str]:
    """Return the name of a user ID."""
    return _find_name(tree, number, "passwd", tree.once(read_users))


def find_group_name(tree: Tree, number: int) -> Observation[str]:
    """Return the name of a group ID."""
    return _find_name(tree, number, "group", tree.once(read_groups))


def read_users(tree: Tree) -> Known:
    """Return the users by ID, and why a file could not be read."""
    return _read_names(tree, "passwd")


def read_groups(tree: Tree) -> Known:
    """Return the groups by ID, and why a file could not be read."""
    return _read_names(tree, "group")


def _read_names(tree: Tree, database: str) -> Known:
    names: Dict[int, Value[str]] = {}
    folders = ("/etc", "/usr/lib") if "altfiles" in list_sources(tree, database) else ("/etc",)
    for folder in folders:
        path = f"{folder}/{database}"
        text = tree.text(path)
        if isinstance(text, Unknown):
            return names, text
        if isinstance(text, Absent):
            continue
        for number, line in enumerate(text.value.split("\n"), 1):
            fields = line.split(":")
            if len(fields) > NUMBER_FIELD and re.fullmatch(r"\d{1,10}", fields[NUMBER_FIELD], re.ASCII) and fields[0]:
                names.setdefault(int(fields[NUMBER_FIELD]), Value(fields[0], Evidence(path, number)))
    return names, None


def list_sources(tree: Tree, database: str) -> Tuple[str, ...]:
    """Return the sources of a database that nsswitch.conf names; without the file it is `files`."""
    text = tree.text(SWITCH)
    if not isinstance(text, Value):
        return ("files",) if isinstance(text, Absent) else ("unknown",)
    for line in text.value.split("\n"):
        name, colon, sources = line.partition("#")[0].partition(":")
        if colon and name.strip() == database:
            return tuple(re.sub(r"\[[^]]*\]", " ", sources).split())
    return ("files",)


def _find_name(tree: Tree, number: int, database: str, known: Known) -> Observation[str]:
    names, unread = known
    if number in names:
        return names[number]
    if unread:
        return unread
    kind = "user" if database == "passwd" else "group"
    for source in list_sources(tree, database):
        if source == "systemd" and not _is_systemd_id(tree, number):
            continue
        if source not in ("files", "altfiles"):
            message = f"{kind} {number} is not in /etc/{database}, and {SWITCH} also names the source `{source}`"
            return Unknown("unsupported", message, f"require the number of the {kind} instead of the name")
    return Absent(Evidence(f"/etc/{database}"), f"{kind} {number} has no name")


def _is_systemd_id(tree: Tree, number: int) -> bool:
    """Return whether nss-systemd may have a name for an ID."""
    if any(low <= number <= high for low, high in SYSTEMD_IDS):
        return True
    return any(not isinstance(tree.entry(path), Absent) for path in USER_RECORDS)
