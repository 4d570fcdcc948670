"""Users and groups by name."""

from __future__ import annotations

import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Mapping, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespec.checks import _accounts
from nodespec.facts.declaration import resolve_place
from nodespec.facts.live import Live
from nodespec.host.directory import DirectoryTree
from nodespec.model.observation import Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

    from nodespec.facts.value_types import Datum

Files = Mapping[str, Union[str, bytes, None]]
USERS = "root:x:0:0:root:/root:/bin/bash\netcd:x:52034:52034:etcd:/nonexistent:/usr/sbin/nologin\nshort:x:1\n"
GROUP = "root:x:0:\netcd:x:52034:\nssl-cert:x:107:etcd,root\n"
BOTH: Files = {"/etc/passwd": USERS, "/etc/group": GROUP}


def look(make_tree: MakeTree, files: Files, *place: str) -> Observation[Datum]:
    found = resolve_place(place)
    seen = Live(DirectoryTree(make_tree(files)), time.monotonic() + 60).observe(found)
    if not isinstance(seen, Unknown):
        for source in seen.evidence.source.split(", "):
            assert any(fnmatchcase(source, declared) for declared in found.fact.sources), source
    return seen


def value(seen: Observation[Datum]) -> object:
    return seen.value if isinstance(seen, Value) else type(seen).__name__.lower()


def test_a_user_and_its_groups(make_tree: MakeTree) -> None:
    assert look(make_tree, BOTH, "users", "etcd", "uid") == Value(52034, Evidence("/etc/passwd", 2))
    assert value(look(make_tree, BOTH, "users", "etcd", "groups")) == frozenset({"etcd", "ssl-cert"})
    assert value(look(make_tree, BOTH, "users", "etcd", "shell")) == "/usr/sbin/nologin"
    assert value(look(make_tree, BOTH, "users", "short")) == "absent"
    assert value(look(make_tree, BOTH, "groups", "docker")) == "absent"
    assert value(look(make_tree, BOTH, "groups", "ssl-cert", "members")) == frozenset({"etcd", "root"})


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({"/etc/nsswitch.conf": "passwd: files systemd\ngroup: files\n"}, "absent"),
        ({"/etc/nsswitch.conf": "passwd: files sss\n"}, "unknown"),
        ({"/etc/nsswitch.conf": "passwd: files [NOTFOUND=return] ldap # x\n"}, "unknown"),
        ({"/etc/nsswitch.conf": "passwd: files systemd\n", "/etc/userdb/etcd2.user": "{}"}, "unknown"),
        ({"/etc/nsswitch.conf": "passwd: files systemd\n", "/run/systemd/dynamic-uid/61234": ""}, "unknown"),
        ({"/etc/nsswitch.conf": "passwd: files altfiles\n", "/usr/lib/passwd": "etcd2:x:9:9::/:/x\n"}, "there"),
        ({"/usr/lib/passwd": "etcd2:x:9:9::/:/x\n"}, "absent"),
        ({"/etc/passwd": ""}, "unknown"),
    ],
)
def test_a_user_that_the_files_lack(make_tree: MakeTree, files: Files, state: str) -> None:
    assert value(look(make_tree, {**BOTH, **files}, "users", "etcd2")) == state


def test_an_id_that_is_no_number_is_unknown(make_tree: MakeTree) -> None:
    files = {"/etc/passwd": "etcd:x:52 034:1::/:/x\n", "/etc/group": GROUP}
    assert value(look(make_tree, files, "users", "etcd", "uid")) == "unknown"
    assert value(look(make_tree, files, "users", "etcd", "gid")) == 1


@pytest.mark.parametrize("name", ["", "a b", "a:b", "-x", "a/b", "x" * 258])
def test_names_that_no_user_has_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name"):
        _accounts.validate_account_name(name)


LINE = st.text(st.characters(codec="ascii", exclude_characters="\n"), max_size=30)


@given(st.lists(LINE, max_size=5))
def test_any_lines_give_accounts_of_seven_fields(lines: list[str]) -> None:
    class Lines(DirectoryTree):
        def _read_start(self, path: str, size: int) -> bytes:
            if path != "/etc/passwd":
                raise FileNotFoundError(path)
            return "\n".join(lines).encode()[:size]

    known, _ = _accounts.read_users(Lines("/nonexistent"))
    assert all(len(user.fields) == 7 for user in known.values())
