"""CNI: configurations in the order of the runtime, and plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks import cni
from nodespec.checks._cni_files import parse_configuration
from nodespec.facts.declaration import Record, Table
from nodespec.facts.value_types import Datum
from nodespec.host.machine import Machine
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

BRIDGE = '{"cniVersion": "0.4.0", "name": "b", "type": "bridge"}'
LIST = '{"cniVersion": "1.0.0", "name": "l", "plugins": [{"type": "calico"}, {"type": "portmap"}]}'


def column(table: Table, root: str, row: str, name: str) -> Observation[Datum]:
    found = table.probe(Machine(root)).observe(row)
    return cast("Record", found.value)[name] if isinstance(found, Value) else cast("Observation[Datum]", found)


def test_configurations_are_sorted_and_the_first_is_used(make_tree: MakeTree) -> None:
    root = make_tree(
        {
            "/etc/cni/net.d/20-b.conf": BRIDGE,
            "/etc/cni/net.d/10-l.conflist": LIST,
            "/etc/cni/net.d/00.bak": "",
            "/etc/cni/net.d/d.conf/x": "",
        }
    )
    assert cni.count.probe(Machine(root)) == Value(2, Evidence("/etc/cni/net.d"))
    rows = cni.configurations.probe(Machine(root)).every()
    assert [*rows] == ["10-l.conflist", "20-b.conf"]
    used = [column(cni.configurations, root, name, "used") for name in rows]
    assert [seen.value for seen in used if isinstance(seen, Value)] == [True, False]
    at = Evidence("/etc/cni/net.d/10-l.conflist")
    assert column(cni.configurations, root, "10-l.conflist", "plugins") == Value(frozenset({"calico", "portmap"}), at)
    assert column(cni.configurations, root, "10-l.conflist", "version") == Value("1.0.0", at)
    assert isinstance(column(cni.configurations, root, "00.bak", "valid"), Absent)


@pytest.mark.parametrize(
    ("text", "is_list", "valid"),
    [
        (LIST, True, True),
        (BRIDGE, False, True),
        (LIST, False, False),
        (BRIDGE, True, False),
        ("", True, False),
        ("[]", True, False),
        ('{"name": "a", "plugins": []}', True, False),
        ('{"name": "a", "plugins": [{}]}', True, False),
        ('{"name": "a", "plugins": {"type": "x"}}', True, False),
        ('{"name": 1, "type": "x"}', False, False),
        ('{"plugins": [{"type": "x"}]}', True, False),
        ("[" * 100_000, True, False),
    ],
)
def test_what_a_runtime_refuses_is_not_valid(text: str, is_list: bool, valid: bool) -> None:  # noqa: FBT001 - cases
    assert parse_configuration(text, is_list=is_list).valid is valid


@settings(max_examples=50, deadline=None)
@given(st.text('{}[]":,name plugistyoe1', max_size=30), st.booleans())
def test_any_text_is_valid_or_not(text: str, is_list: bool) -> None:  # noqa: FBT001 - drawn
    found = parse_configuration(text, is_list=is_list)
    assert found.valid or not found.plugins


def test_a_directory_that_does_not_exist_has_no_configurations(make_tree: MakeTree) -> None:
    root = make_tree({"/etc/hostname": ""})
    assert cni.count.probe(Machine(root)) == Value(0, Evidence("/etc/cni/net.d"))
    assert cni.configurations.probe(Machine(root)).every() == {}


def test_plugins_come_from_the_first_directory(make_tree: MakeTree) -> None:
    root = make_tree(
        {
            "/opt/cni/bin/bridge": "x",
            "/usr/lib/cni/bridge": "x",
            "/usr/lib/cni/host-local": "x",
            "/opt/cni/bin/LICENSE": "",
        }
    )
    assert column(cni.plugins, root, "bridge", "path") == Value("/opt/cni/bin/bridge", Evidence("/opt/cni/bin/bridge"))
    assert [*cni.plugins.probe(Machine(root)).every()] == ["bridge", "host-local"]
    assert column(cni.plugins, root, "bridge", "executable") == Value(
        value=False, evidence=Evidence("/opt/cni/bin/bridge")
    )
    assert isinstance(column(cni.plugins, root, "bridge", "version"), Unknown)
    assert isinstance(column(cni.plugins, root, "cilium-cni", "path"), Absent)


def test_missing_plugins_are_those_that_cannot_be_run(make_tree: MakeTree) -> None:
    root = make_tree({"/etc/cni/net.d/10-l.conflist": LIST, "/opt/cni/bin/calico": ""})
    seen = column(cni.configurations, root, "10-l.conflist", "missing")
    assert isinstance(seen, Value)
    assert seen.value == frozenset({"calico", "portmap"})
