"""The command line of a service: words, variables, drop-ins, and what cannot be resolved."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Dict, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusing import RefusingTree

from nodespec.checks import _systemd_units
from nodespec.checks._systemd_command import UNRESOLVED, read_service_command, split_words
from nodespec.host.directory import DirectoryTree
from nodespec.model.observation import Absent, Evidence, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

UNIT = "/usr/lib/systemd/system/tool.service"
SYSTEMD = {"/sbin/init": "/usr/lib/systemd/systemd"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/usr/bin/tool", ("/usr/bin/tool",)),
        ("-/usr/bin/tool  --a 'b c' \"d e\"f", ("/usr/bin/tool", "--a", "b c", "d ef")),
        ("@/usr/bin/tool name -c x", ("/usr/bin/tool", "-c", "x")),
        ("/usr/bin/tool -c ${DIR}/x $MORE $NONE", ("/usr/bin/tool", "-c", "/srv/x", "--p", "q")),
        ("/usr/bin/tool $$HOME 100%%", ("/usr/bin/tool", "$HOME", "100%")),
        (":/usr/bin/tool ${DIR}", ("/usr/bin/tool", "${DIR}")),
        ("/usr/bin/env A=1 tool -x", ("tool", "-x")),
    ],
)
def test_words_are_those_that_systemd_passes(text: str, words: Tuple[str, ...], make_tree: MakeTree) -> None:
    unit = f'[Service]\nEnvironment="DIR=/srv" MORE="--p q"\nExecStart={text}\n'
    found = read_service_command(DirectoryTree(make_tree({UNIT: unit}, SYSTEMD)), "tool.service", "tool")
    assert isinstance(found, Value), found
    assert found.value.words == words


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({UNIT: "[Service]\nExecStart=/usr/bin/other\n"}, Unknown),
        ({UNIT: "[Service]\nExecStart=/usr/bin/tool -c %h/x\n"}, Unknown),
        ({UNIT: "[Service]\nExecStart=/usr/bin/tool\nExecStart=/usr/bin/tool -b\n"}, Unknown),
        ({UNIT: "[Service]\nEnvironmentFile=/etc/*.env\nExecStart=/usr/bin/tool $A\n"}, Unknown),
        ({UNIT: "[Service]\nPassEnvironment=A\nExecStart=/usr/bin/tool $A\n"}, Unknown),
        ({UNIT: "[Unit]\nDescription=none\n"}, Absent),
        ({"/etc/hostname": "x"}, Absent),
    ],
)
def test_what_cannot_be_resolved_is_unknown(files: Dict[str, str], kind: type, make_tree: MakeTree) -> None:
    assert isinstance(read_service_command(DirectoryTree(make_tree({**files}, SYSTEMD)), "tool.service", "tool"), kind)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("abc-=/. ", min_size=1, max_size=8), max_size=6))
def test_quoted_words_come_back(words: list[str]) -> None:
    text = " ".join(shlex.quote(word) for word in words)
    assert list(split_words(text)) == words


def test_a_specifier_is_not_resolved() -> None:
    assert list(split_words("%i %%")) == [UNRESOLVED, "%"]


def test_a_malformed_unit_is_unknown(make_tree: MakeTree) -> None:
    tree = DirectoryTree(make_tree({UNIT: "[Service]\nExecStart=/usr/bin/tool\n[Unit\n"}, SYSTEMD))
    seen = read_service_command(tree, "tool.service", "tool")
    assert isinstance(seen, Unknown)
    assert (seen.reason, seen.say.startswith(UNIT)) == ("malformed", True)


@pytest.mark.parametrize("path", [UNIT, f"{UNIT}.d", f"{UNIT}.d/a.conf"])
def test_a_refused_file_is_unknown_for_that_reason(make_tree: MakeTree, path: str) -> None:
    files = {UNIT: "[Service]\nExecStart=/usr/bin/tool\n", f"{UNIT}.d/a.conf": "[Service]\n"}
    seen = read_service_command(RefusingTree(make_tree(files, SYSTEMD), path), "tool.service", "tool")
    assert isinstance(seen, Unknown)
    assert (seen.reason, seen.say.partition(" ")[0]) == ("no permission", path)


@pytest.mark.parametrize("links", [{}, {"/sbin/init": "/sbin/openrc-init"}])
def test_without_systemd_no_unit_starts_anything(make_tree: MakeTree, links: Dict[str, str]) -> None:
    tree = DirectoryTree(make_tree({UNIT: "[Service]\nExecStart=/usr/bin/tool\n"}, links))
    seen = read_service_command(tree, "tool.service", "tool")
    assert seen == Absent(Evidence(_systemd_units.UNIT_PATH), "systemd does not start tool.service")
