"""Properties of the parsers that tell what a boot starts, mounts and sets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Dict, List, Optional, Set, Tuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodespec.checks import (
    _boot_grub,
    _cgroups_at_boot,
    _openrc,
    _swap_fstab,
    _sysctl_at_boot,
    _sysctl_setters,
    _sysctl_settings,
    _sysctl_values,
    _systemd_load,
    _systemd_names,
    _systemd_order,
    _systemd_syntax,
)
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
        ("sysctl -p", [("e.f", "3")]),
        ("sysctl --load=/etc/other.conf", [("g.h", "4")]),
        ("sysctl -w a.b=1; sysctl -w c.d=2", [("a.b", "1"), ("c.d", "2")]),
        ("echo -n '5' > /proc/sys/a/b", [("a.b", "5")]),
        ("echo 1 | tee /proc/sys/a/b", [("a.b", None)]),
        ("echo 1 > /tmp/x", []),
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


@pytest.mark.parametrize(
    ("name", "target", "may"),
    [
        ("a.service", "b.service", True),
        ("a.service", "a.service", False),
        ("a.service", "b.socket", False),
        ("a.service", "b.conf", False),
        ("a.conf", "b.conf", False),
        *((f"a.{kind}", f"b.{kind}", False) for kind in ("mount", "slice", "swap", "automount")),
        *((f"a.{kind}", f"b.{kind}", True) for kind in ("socket", "target", "timer", "path")),
        ("a@x.service", "b@x.service", True),
        ("a@x.service", "b@y.service", False),
        ("a@x.service", "b@.service", True),
        ("a@.service", "b@.service", True),
        ("a@.service", "b@x.service", False),
        ("a.service", "b@.service", False),
        ("a@x.service", "b.service", False),
    ],
)
def test_links_that_may_make_an_alias(name: str, target: str, may: bool) -> None:  # noqa: FBT001 - a parameter of a table
    assert _systemd_names.may_alias(name, target) is may


@pytest.mark.parametrize(
    ("name", "template"),
    [("a@.service", True), ("a@b.service", False), ("a.service", False), ("a@.b.service", False), ("a@b@.c.d", False)],
)
def test_templates(name: str, template: bool) -> None:  # noqa: FBT001 - a parameter of a table
    assert _systemd_names.is_template(name) is template


NO_START, MORE = "has no ExecStart=", "has more than one ExecStart="
PATH = "names a program by a path that is neither absolute nor a plain name"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("ExecStart=/bin/a", ""),
        ("", NO_START),
        ("ExecStop=/bin/a", NO_START),
        ("ExecStop=/bin/a\nRemainAfterExit=yes", ""),
        ("ExecStop=/bin/a\nRemainAfterExit=no", NO_START),
        ("Type=oneshot\nExecStop=/bin/a\nRemainAfterExit=on", ""),
        ("Type=simple\nExecStop=/bin/a\nRemainAfterExit=yes", NO_START),
        ("RemainAfterExit=yes", NO_START),
        ("BusName=org.a\nExecStop=/bin/a\nRemainAfterExit=yes", NO_START),
        ("BusName=org.a\nExecStart=/bin/a", ""),
        ("SuccessAction=reboot", ""),
        ("SuccessAction=none", NO_START),
        ("SuccessAction=", NO_START),
        ("Type=simple\nSuccessAction=reboot", NO_START),
        ("ExecStart=/bin/a\nExecStart=/bin/b", MORE),
        ("ExecStart=/bin/a ; /bin/b", MORE),
        ("ExecStart=/bin/a\nExecStart=\nExecStart=/bin/b", ""),
        ("Type=oneshot\nExecStart=/bin/a\nExecStart=/bin/b", ""),
        ("Type=nosuch\nExecStart=/bin/a\nExecStart=/bin/b", MORE),
        ("Type=oneshot\nType=nosuch\nExecStart=/bin/a\nExecStart=/bin/b", ""),
        ("ExecStart=/bin/a\nRestart=always", ""),
        ("Type=oneshot\nExecStart=/bin/a\nRestart=always", "is of Type=oneshot and has Restart=always"),
        ("Type=oneshot\nExecStart=/bin/a\nRestart=on-failure", ""),
        ("Type=dbus\nExecStart=/bin/a", "is of Type=dbus and has no BusName="),
        ("Type=dbus\nBusName=org.a\nExecStart=/bin/a", ""),
        ("ExecStart=bin/a", PATH),
        ("ExecStart=/bin/", PATH),
        ("ExecStart=a", ""),
        ("ExecStart=-bin/a", NO_START),
        ("ExecStart=-bin/a\nExecStart=/bin/b", ""),
        ("ExecStart=@/bin/a b", ""),
        ("ExecStart=@", PATH),
        ("ExecStart=/bin/a\nExecStop=bin/b", PATH),
    ],
)
def test_services_that_systemd_refuses(lines: str, why: str) -> None:
    readings = list(_systemd_syntax.parse_unit_file(f"[Service]\n{lines}\n", "/x"))
    assert _systemd_load._explain_bad_service(readings) == why  # noqa: SLF001


@pytest.mark.parametrize(
    ("value", "yes", "no"),
    [
        *((word, True, False) for word in ("1", "yes", "Y", "true", "T", "ON")),
        *((word, False, True) for word in ("0", "no", "N", "false", "F", "OFF")),
        *((word, False, False) for word in ("", "2", "enable", "yes ")),
    ],
)
def test_booleans_of_systemd(value: str, yes: bool, no: bool) -> None:  # noqa: FBT001 - parameters of a table
    assert (_systemd_syntax.is_yes(value), _systemd_syntax.is_no(value)) == (yes, no)


LEGACY = {"systemd.unified_cgroup_hierarchy": "0"}
FORCED = {**LEGACY, "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE": "1"}


@pytest.mark.parametrize(
    ("parameters", "number", "default", "version"),
    [
        ({}, 252, "unified", ""),
        ({"systemd.unified_cgroup_hierarchy": "1"}, 252, "hybrid", "2"),
        ({"systemd.unified_cgroup_hierarchy": ""}, 252, "hybrid", "2"),
        (LEGACY, 252, "unified", "hybrid"),
        (LEGACY, 252, "legacy", "1"),
        ({**LEGACY, "systemd.legacy_systemd_cgroup_controller": "1"}, 252, "unified", "1"),
        ({**LEGACY, "systemd.legacy_systemd_cgroup_controller": "0"}, 252, "legacy", "hybrid"),
        ({"cgroup_no_v1": "all"}, 252, "hybrid", "2"),
        ({"cgroup_no_v1": "memory"}, 252, "hybrid", ""),
        ({"cgroup_no_v1": "all", **LEGACY}, 252, "hybrid", "hybrid"),
        (LEGACY, 255, "unified", "hybrid"),
        (LEGACY, 256, "unified", "refuses"),
        (FORCED, 256, "unified", "hybrid"),
        (FORCED, 257, "unified", "hybrid"),
        (FORCED, 258, "unified", ""),
        ({"systemd.unified_cgroup_hierarchy": "1"}, 258, "unified", ""),
    ],
)
def test_the_version_of_control_groups_on_the_command_line(
    parameters: Dict[str, str], number: int, default: str, version: str
) -> None:
    assert _cgroups_at_boot._parse_requested_version(parameters, number, default) == version  # noqa: SLF001


A, B, C = "kernel/a", "kernel/b", "kernel/c"


@pytest.mark.parametrize(
    ("assignments", "order"),
    [
        ([(A, "1"), (B, "1")], [A, B]),
        ([(A, "1"), (B, "1"), (A, "1")], [A, B]),
        ([(A, "1"), (B, "1"), (A, "2")], [B, A]),
        ([(A, "1"), (B, "1"), (C, "1"), (B, "2"), (A, "1")], [A, C, B]),
    ],
)
def test_systemd_writes_a_parameter_where_its_value_changed_last(
    assignments: List[Tuple[str, str]], order: List[str]
) -> None:
    made = [_sysctl_values.SysctlAssignment(path, value, Evidence("/x")) for path, value in assignments]
    assert [one.path for one in _sysctl_at_boot.order_assignments(made, _sysctl_at_boot.SYSTEMD).order] == order
    assert [*_sysctl_at_boot.order_assignments(made, _sysctl_at_boot.PROCPS).order] == made


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("/dev/sda1 /data ext4", False),
        ("/dev/../sda1 /data ext4", True),
        ("/sys/../a /data ext4", True),
        ("/srv/../a /data ext4", False),
        ("/dev/sda..1 /data ext4", False),
        ("/dev/../sda2 none swap", False),
        ("/dev/sda1 /data ext4 x-systemd.makefs", False),
        ("/dev/sda1 /data auto x-systemd.makefs", True),
        ("/srv/a /data ext4 x-systemd.makefs", True),
        ("/dev/sda2 none swap x-systemd.makefs", False),
        ("/swap none swap x-systemd.makefs", True),
    ],
)
def test_entries_at_which_the_generator_stops(line: str, refused: bool) -> None:  # noqa: FBT001 - a parameter of a table
    (entry,) = _swap_fstab.parse_fstab(f"{line}\n")
    assert _swap_fstab._is_refused_entry(entry) is refused  # noqa: SLF001


FORWARD, FORWARD6 = "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"


@pytest.mark.parametrize(
    ("name", "value", "keys"),
    [
        *(("IPForward", on, [FORWARD, FORWARD6]) for on in ("yes", "true", "1", "on", "y", "t")),
        ("IPMasquerade", "both", [FORWARD, FORWARD6]),
        ("IPForward", "ipv4", [FORWARD]),
        ("IPMasquerade", "ipv6", [FORWARD6]),
        *(("IPForward", off, []) for off in ("no", "false", "0", "off", "", "kernel")),
        ("DHCP", "yes", []),
    ],
)
def test_what_a_network_forwards(name: str, value: str, keys: List[str]) -> None:
    found = list(_sysctl_setters._parse_network_setting(name, value, HERE))  # noqa: SLF001
    assert found == [_sysctl_settings.ServiceSetting(key, None, HERE, sticky=True) for key in keys]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/vmlinuz", "file"),
        ("/grub", "directory"),
        ("/link", "file"),
        ("/none", "empty"),
        ("/nosuch", ""),
        ("(hd0,1)/vmlinuz", None),
        ("(hd0,1)/nosuch", None),
        ("()/vmlinuz", "file"),
        ("()/nosuch", ""),
        ("/boot/grub/grub.cfg", "file"),
        ("/loop", None),
        ("vmlinuz", ""),
        ("/../boot/vmlinuz", ""),
    ],
)
def test_the_kind_of_a_path_of_grub(make_tree: MakeTree, path: str, kind: Optional[str]) -> None:
    files = {"/boot/vmlinuz": "x", "/boot/none": "", "/boot/grub/grub.cfg": "x"}
    tree = DirectoryTree(make_tree(files, {"/boot/link": "vmlinuz", "/boot/loop": "loop"}))
    assert _boot_grub.TreeFiles(tree, "/boot/grub/grub.cfg").kind(path) == kind
