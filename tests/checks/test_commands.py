from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nodespec.checks.commands import commands
from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
from nodespec.host.tree import PROGRAMS
from nodespec.model.observation import Absent, Evidence, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree


def programs(make_tree: MakeTree, *paths: str, **links: str) -> str:
    root = make_tree(dict.fromkeys(paths, "#!/bin/sh\n"), {f"/usr/bin/{name}": to for name, to in links.items()})
    for path in paths:
        (Path(root) / path.lstrip("/")).chmod(0o755)
    return root


def test_the_first_on_the_search_path_counts(make_tree: MakeTree) -> None:
    rows = commands.probe(Machine(programs(make_tree, "/usr/bin/socat", "/usr/local/bin/socat", "/sbin/ip")))
    assert rows.observe("socat") == Value("/usr/local/bin/socat", Evidence("/usr/local/bin/socat"))
    assert rows.observe("ip") == Value("/sbin/ip", Evidence("/sbin/ip"))


def test_a_missing_program_is_absent_from_the_search_path(make_tree: MakeTree) -> None:
    seen = commands.probe(Machine(programs(make_tree, "/usr/bin/socat"))).observe("conntrack")
    assert seen == Absent(Evidence("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"))
    assert any(fnmatchcase(seen.evidence.source, glob) for glob in commands.sources)


def test_the_callers_path_is_not_asked(make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = programs(make_tree, "/usr/bin/socat", "/opt/bin/kubectl")
    monkeypatch.setenv("PATH", "/opt/bin")
    rows = commands.probe(Machine(root))
    assert isinstance(rows.observe("kubectl"), Absent)
    assert isinstance(rows.observe("socat"), Value)


def test_what_nobody_may_execute_is_no_program(make_tree: MakeTree) -> None:
    root = programs(make_tree, "/usr/bin/socat")
    (Path(root) / "usr/bin/socat").chmod(0o644)
    (Path(root) / "usr/bin/ip").mkdir()
    rows = commands.probe(Machine(root))
    assert isinstance(rows.observe("socat"), Absent)
    assert isinstance(rows.observe("ip"), Absent)


def test_a_link_is_followed_and_its_own_path_told(make_tree: MakeTree) -> None:
    root = programs(make_tree, "/usr/sbin/iptables-nft", iptables="/usr/sbin/iptables-nft", gone="/usr/bin/nothing")
    rows = commands.probe(Machine(root))
    assert rows.observe("iptables") == Value("/usr/bin/iptables", Evidence("/usr/bin/iptables"))
    assert isinstance(rows.observe("gone"), Absent)


def test_where_looking_fails_nothing_is_absent(make_tree: MakeTree) -> None:
    seen = commands.probe(Machine(programs(make_tree, "/bin/sh", socat="socat"))).observe("socat")
    assert isinstance(seen, Unknown)
    assert (seen.reason, seen.say) == ("failed", "/usr/bin/socat: too many links")


def test_without_a_search_path_nothing_is_absent(make_tree: MakeTree) -> None:
    seen = commands.probe(Machine(make_tree({"/etc/passwd": ""}))).observe("sh")
    assert seen == Unknown("not found", "no directory of the search path exists")


def test_at_rest_says_the_same(make_tree: MakeTree) -> None:
    assert commands.resting is not None
    assert isinstance(commands.resting(DirectoryTree(programs(make_tree, "/usr/bin/socat"))).observe("socat"), Value)


@pytest.mark.parametrize("name", ["", "/usr/bin/ip", "bin/ip", "..", "a\0b"])
def test_a_program_is_named_without_path(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a program"):
        commands.key(name)


def test_this_machine_has_a_shell() -> None:
    seen = commands.probe(Machine()).observe("sh")
    assert isinstance(seen, Value)
    assert seen.value in [f"{folder}/sh" for folder in PROGRAMS]
