"""Properties of the parsers that tell what a boot starts, mounts and sets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Dict, List, Set, Tuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodespec.checks import _openrc, _swap_fstab, _sysctl_setters, _systemd_names, _systemd_order, _systemd_syntax
from nodespec.host.directory import DirectoryTree
from nodespec.model.observation import Evidence

if TYPE_CHECKING:
    from conftest import MakeTree

HERE = Evidence("/x", 1)
NAMES = st.from_regex(r"[a-z]{1,3}(-[a-z]{1,2})?(@[a-z]{0,2})?\.(service|target|socket)", fullmatch=True)
WORDS = st.text(alphabet="ab\\ \"'=[]#;\n\r\té%", max_size=40)


@settings(max_examples=200)
@given(WORDS)
def test_joined_lines_are_numbered_and_hold_no_line_break(text: str) -> None:
    last = 0
    for number, line in _systemd_syntax.join_unit_lines(text):
        assert number > last
        assert line == line.strip()
        assert not re.search(r"[\r\n]", line)
        last = number


@settings(max_examples=200)
@given(st.lists(st.tuples(st.from_regex(r"[A-Z][a-z]{0,5}", fullmatch=True), NAMES), max_size=5))
def test_settings_of_a_unit_are_read_back(pairs: List[Tuple[str, str]]) -> None:
    text = "[Unit]\n" + "".join(f"{name} = {value}\n" for name, value in pairs)
    found = [(one.name, one.value) for one in _systemd_syntax.parse_unit_file(text, "/x")]
    assert found == pairs


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[Unit]\nWants=a.service \\\n# remark\n  b.service\n", [("Wants", "a.service    b.service")]),
        ("[Unit]\nA=1\\\\\nB=2\n", [("A", "1\\\\"), ("B", "2")]),
        ("A=1\n[Unit]\n=2\nB\nC=\n", [("", "2"), ("C", "")]),
        ("\ufeff[Unit]\r\nA=1\r\n", [("A", "1")]),
        ("[Unit]\nA=1 \\", [("A", "1")]),
    ],
)
def test_lines_of_a_unit(text: str, found: List[object]) -> None:
    assert [(one.name, one.value) for one in _systemd_syntax.parse_unit_file(text, "/x")] == found


def test_many_continued_lines_are_joined_once() -> None:
    text = "\\\n" * 100_000 + "Wants=a"
    assert list(_systemd_syntax.join_unit_lines(text)) == [(1, "Wants=a")]  # quadratic it would take minutes


def test_a_broken_section_is_refused_and_what_stands_before_it_is_read() -> None:
    found: List[object] = []
    with pytest.raises(ValueError, match=r"/x:3: `\[Service` is not a section"):
        found += _systemd_syntax.parse_unit_file("[Unit]\nA=1\n[Service\nB=2\n", "/x")
    assert len(found) == 1


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("a.service", True),
        ("a@.service", True),
        ("a@b.c@d.service", True),
        (f"{'a' * 247}.service", True),
        (f"{'a' * 248}.service", False),
        ("a.conf", False),
        ("@a.service", False),
        (".service", False),
        ("a b.service", False),
        ("a\\x2db.swap", True),
    ],
)
def test_unit_names(name: str, valid: bool) -> None:  # noqa: FBT001 - a parameter of a table
    assert _systemd_names.is_unit_name(name) is valid


@settings(max_examples=100)
@given(NAMES)
def test_an_instance_has_its_template_and_back(name: str) -> None:
    instance, template = _systemd_names.get_instance(name), _systemd_names.get_template(name)
    assert bool(instance) == bool(template)
    assert not template or _systemd_names.set_instance(template, instance) == name


@settings(max_examples=200)
@given(st.dictionaries(st.integers(0, 7), st.sets(st.integers(0, 7), max_size=4), max_size=8))
def test_cycles_are_the_sets_of_nodes_that_reach_each_other(links: Dict[int, Set[int]]) -> None:
    graph = {str(node): {str(other) for other in links.get(node, ()) if other in links} for node in links}

    def reached(start: str) -> Set[str]:
        found: Set[str] = set()
        stack = [start]
        while stack:
            for other in graph[stack.pop()] - found:
                found.add(other)
                stack.append(other)
        return found

    reach = {node: reached(node) for node in graph}
    mutual = {node: frozenset(o for o in graph if o in reach[node] and node in reach[o]) | {node} for node in graph}
    wanted = {frozenset(component) for component in mutual.values() if len(component) > 1}
    assert set(_systemd_order.find_cycles(graph)) == wanted


@settings(max_examples=200)
@given(st.text(alphabet="ab\\, =/\"'\t\n#x0", max_size=60))
def test_no_table_of_file_systems_is_too_strange(text: str) -> None:
    for entry in _swap_fstab.parse_fstab(text):
        assert entry.what
        assert not entry.what.startswith("#")
        assert entry.has("noauto", "auto") in ("", "noauto", "auto")
        assert isinstance(entry.path, str)
        assert "/" not in _swap_fstab.make_unit_name(entry.path, "swap").replace("\\", "")


@pytest.mark.parametrize(
    ("options", "automatic"),
    [
        ("", True),
        ("noauto", False),
        ("noauto,auto", True),
        ("auto,noauto", False),
        ("noauto=1", False),
        ("xnoauto", True),
        ("a\\,noauto", True),
        ("noautox", True),
        ("sw,,noauto", False),
    ],
)
def test_the_last_of_auto_and_noauto_counts(options: str, automatic: bool) -> None:  # noqa: FBT001 - as above
    entry = _swap_fstab.FstabEntry("/dev/a", "none", "swap", options, HERE)
    assert entry.automatic is automatic


@settings(max_examples=100)
@given(st.text(max_size=80))
def test_no_script_is_too_strange(text: str) -> None:
    assert all(re.fullmatch(r"[\w.@-]+", name) for name in _openrc.parse_service_needs(text))


def test_the_needs_of_a_script() -> None:
    script = "depend() {\n\tneed net localmount # and\n\tuse logger\n\twant b.c;\n}\nstart() { echo need x; }\n"
    assert list(_openrc.parse_service_needs(script)) == ["net", "localmount", "b.c"]
    assert list(_openrc.parse_service_needs('rc_need="d e"\nrc_want=f\n#rc_need="g"\n')) == ["d", "e", "f"]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=80) | st.text(alphabet="sysctl -wp=/.1\"'>;|echo", max_size=60))
def test_no_command_is_too_strange(make_tree: MakeTree, text: str) -> None:
    for setting in _sysctl_setters.parse_sysctl_command(DirectoryTree(make_tree({})), text, HERE):
        assert setting.value is None or "$" not in setting.value


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("/sbin/sysctl -w a.b=1 c/d=2", [("a.b", "1"), ("c.d", "2")]),
        ("/sbin/sysctl -qw 'a.b=1'", [("a.b", "1")]),
        ("sh -c 'sysctl -w a.b=$X'", [("a.b", None)]),
        ("sh -c 'echo 1 > /proc/sys/a/b'", [("a.b", "1")]),
        ("sh -c 'cat x > /proc/sys/a/b.c'", [("a.b/c", None)]),
        ("/bin/true a.b=1", []),
        ("sysctl --system", [("e.f", "3")]),
        ("sysctl -p /etc/other.conf", [("g.h", "4")]),
    ],
)
def test_what_a_command_sets(make_tree: MakeTree, command: str, found: List[object]) -> None:
    root = make_tree({"/etc/sysctl.conf": "e.f = 3\n", "/etc/other.conf": "g/h=4\n"})
    seen = _sysctl_setters.parse_sysctl_command(DirectoryTree(root), command, HERE)
    assert [(setting.key, setting.value) for setting in seen] == found


@settings(max_examples=100)
@given(st.text(alphabet="ab \"'", max_size=30))
def test_words_hold_no_blank_outside_quotes(text: str) -> None:
    assert all("\t" not in word for word in _systemd_syntax.split_list(text))
    assert list(_systemd_syntax.split_list(" ".join(text.replace('"', "").replace("'", "").split()))) == (
        text.replace('"', "").replace("'", "").split()
    )
