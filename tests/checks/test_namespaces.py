from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks import namespaces
from nodespec.host.machine import Machine
from nodespec.model.observation import Evidence, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

ALL = "cgroup ipc mnt net pid time user uts"
NS, LIMIT, DEBIAN, APPARMOR = "/proc/1/ns", namespaces.LIMIT, namespaces.DEBIAN, namespaces.APPARMOR


OWN = {f"{NS}/user": str(Path("/proc/self/ns/user").readlink())}  # what the reader shares with a host that is none


def files(kinds: str, *settings: Optional[str]) -> dict[str, str]:
    """A host with these namespaces, and what its three settings say (None: this kernel has no such setting)."""
    said = {path: f"{text}\n" for path, text in zip((LIMIT, DEBIAN, APPARMOR), settings) if text is not None}
    return {
        "/proc/self/stat": "",
        "/proc/uptime": "",
        **{f"{NS}/{kind}": "" for kind in kinds.split() if kind != "user"},
        **said,
    }


@pytest.mark.parametrize(
    ("entries", "kinds"),
    [
        (f"{ALL} pid_for_children time_for_children", ALL),
        ("cgroup ipc mnt net pid pid_for_children user uts", "cgroup ipc mnt net pid user uts"),  # before Linux 5.6
        ("mnt", "mnt"),
        (f"{ALL} colour", ALL),
    ],
)
def test_kinds_are_the_entries_of_a_process(entries: str, kinds: str, make_tree: MakeTree) -> None:
    links = OWN if "user" in entries else {}
    assert namespaces.kinds.probe(Machine(make_tree(files(entries), links))) == Value(
        frozenset(kinds.split()), Evidence(NS)
    )


@pytest.mark.parametrize(
    ("kinds", "limit", "debian", "apparmor", "answer", "decided"),
    [
        # Debian 12, Fedora 40, Ubuntu 24.04, RHEL 7, and a Debian that an administrator has hardened
        (ALL, "96365", "1", None, "allowed", LIMIT),
        (ALL, "62936", None, None, "allowed", LIMIT),
        (ALL, "127234", "1", "1", "restricted", APPARMOR),
        ("ipc mnt net pid user uts", "0", None, None, "denied", LIMIT),
        (ALL, "96365", "0", None, "denied", DEBIAN),
        # a denial goes before a restriction, a restriction that is off is none
        (ALL, "0", "1", "1", "denied", LIMIT),
        (ALL, "127234", "0", "1", "denied", DEBIAN),
        (ALL, "127234", "1", "0", "allowed", LIMIT),
        # no user namespaces at all, or none of the settings
        ("ipc mnt net pid uts", "96365", "1", "1", "denied", NS),
        (ALL, None, None, None, "allowed", NS),
    ],
)
def test_policy(  # noqa: PLR0917
    kinds: str,
    limit: Optional[str],
    debian: Optional[str],
    apparmor: Optional[str],
    answer: str,
    decided: str,
    make_tree: MakeTree,
) -> None:
    found = namespaces.unprivileged.probe(
        Machine(make_tree(files(kinds, limit, debian, apparmor), OWN if "user" in kinds else {}))
    )
    assert found == Value(answer, Evidence(decided))
    assert any(fnmatchcase(decided, pattern) for pattern in namespaces.unprivileged.sources)


@pytest.mark.parametrize("setting", [("many", "1", "1"), ("96365", "", "1"), ("96365", "1", "yes")])
def test_a_setting_that_cannot_be_read_may_deny(setting: tuple[str, str, str], make_tree: MakeTree) -> None:
    found = namespaces.unprivileged.probe(Machine(make_tree(files(ALL, *setting), OWN)))
    assert isinstance(found, Unknown)
    assert found.reason == "malformed"


def test_what_denies_decides_whatever_else_cannot_be_read(make_tree: MakeTree) -> None:
    found = namespaces.unprivileged.probe(Machine(make_tree(files(ALL, "many", "0", "1"), OWN)))
    assert found == Value("denied", Evidence(DEBIAN))


def test_an_empty_listing_is_no_kernel_without_namespaces(make_tree: MakeTree) -> None:
    host = Machine(make_tree({"/proc/self/stat": "", NS: None}))
    for fact in (namespaces.kinds, namespaces.unprivileged):
        found = fact.probe(host)
        assert isinstance(found, Unknown)
        assert found.reason == "malformed"


def test_without_proc_nothing_is_known(make_tree: MakeTree) -> None:
    host = Machine(make_tree({"/etc/hostname": "bare\n"}))
    hidden = Unknown("hidden", "/proc is not mounted here", "mount /proc")
    assert namespaces.kinds.probe(host) == namespaces.unprivileged.probe(host) == hidden


def test_the_limit_of_another_user_namespace_is_not_the_host_s(make_tree: MakeTree) -> None:
    """Below another root /proc/sys/user shows the reader's own limits."""
    tree = files("cgroup ipc mnt net pid uts", "96365", "1")
    found = namespaces.unprivileged.probe(Machine(make_tree(tree, {f"{NS}/user": "user:[1]"})))
    assert isinstance(found, Unknown)
    assert found.reason == "hidden"


def test_the_limit_of_the_shared_user_namespace_is(make_tree: MakeTree) -> None:
    tree = files("cgroup ipc mnt net pid uts", "96365", "1")
    found = namespaces.unprivileged.probe(Machine(make_tree(tree, OWN)))
    assert found == Value("allowed", Evidence(LIMIT))


def test_this_machine_has_what_python_can_see() -> None:
    seen = {path.name for path in Path("/proc/self/ns").iterdir()}
    found = namespaces.kinds.probe(Machine())
    assert isinstance(found, Value)
    assert found.value == frozenset(name for name in seen if "_" not in name)


def test_the_manual_says_where_the_limits_are() -> None:
    assert "sysctl" in (namespaces.__doc__ or "")


@settings(max_examples=100)
@given(st.lists(st.text()).map(tuple))
def test_no_listing_breaks_the_parser(names: tuple[str, ...]) -> None:
    found = Value(names, Evidence(NS)).then(namespaces._parse_kinds)  # noqa: SLF001 - the parser itself
    assert isinstance(found, Value) == ("mnt" in names)
