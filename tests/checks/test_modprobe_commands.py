"""Install commands of modprobe.d: what a shell makes of each was tried with busybox, by tests/stages/kmod_oracle.py."""

from __future__ import annotations

from typing import Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks import _modprobe, _modprobe_commands
from nodespec.model.observation import Evidence

NOTHING = [
    "/bin/false",
    "/bin/true",
    "/bin/true # why",
    '/bin/sh -c "exit 0"',
    "/bin/sh -c 'exit 1'; exit 0",
    "exit",
    ":",
    '"/bin/false"',
    "/usr/bin/env false",
    "exec /bin/false",
    "/bin/busybox false",
    "/bin/echo disabled",
    "logger 'no usb' && exit 1",
    "FOO=1 /bin/false",
    "/bin/false;",
    "/bin/false > /dev/null 2>&1",
    "/bin/false && /sbin/modprobe -i bridge",
    "/bin/true || /sbin/modprobe -i bridge",
    "exit 0; /sbin/modprobe -i bridge",
    "/sbin/modprobe other",
    "/sbin/modprobe -i other bridge",  # the second is an option of the first
    "/bin/false\r",
    " ",
]
LOADS = [
    "/sbin/modprobe --ignore-install bridge",
    "modprobe -i bridge $CMDLINE_OPTS",
    "/sbin/modprobe -qi ${MODPROBE_MODULE}",
    "/bin/true; /sbin/modprobe -i bridge",
    "/bin/false || /sbin/modprobe -i bridge",
    "/sbin/modprobe -i bridge && { /sbin/sysctl -p; }",
    "/sbin/modprobe -i bridge | logger",
    "/bin/sh -c '/sbin/modprobe --ignore-install bridge'",
    "/sbin/modprobe other; /sbin/modprobe -i bridge",
    "/sbin/modprobe -ia other bridge",
]
UNKNOWN = [
    "/usr/bin/frobnicate",
    "if true; then /bin/false; fi",
    "$(true)",
    "`true`",
    "/sbin/modprobe bridge",
    "/sbin/insmod /bridge.ko",
    "test -e /x && /sbin/modprobe -i bridge",
    "/sbin/modprobe -r bridge",
    "{ /bin/false; }",
    "/bin/false 'unfinished",
    "/bin/sh /usr/local/bin/script",
    f"/bin/echo {'x' * 4096}",
]


@pytest.mark.parametrize(
    ("command", "loads"),
    [*((one, False) for one in NOTHING), *((one, True) for one in LOADS), *((one, None) for one in UNKNOWN)],
)
def test_whether_a_command_loads_its_module(command: str, loads: Optional[bool]) -> None:  # noqa: FBT001
    assert _modprobe_commands.loads_module(command, "bridge") is loads


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from(
            ["/bin/false", "modprobe", "-i", "bridge", ";", "&&", "||", "'", '"', "$", "(", "#", "\\", "\n"]
        ),
        max_size=10,
    )
)
def test_any_command_has_an_answer(words: list[str]) -> None:
    loads = _modprobe_commands.loads_module(" ".join(words), "bridge")
    assert loads in (True, False, None)
    if "modprobe" not in words:
        assert loads is not True


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("install a /bin/fal\\\nse\n", ("install", "a", "/bin/false", 1)),
        ("# x\n\n\tinstall\ta-b\t /bin/\\false", ("install", "a_b", " /bin/false", 3)),
        ("alias a-* b-c more", ("alias", "a_*", "b_c", 1)),
        ("alias a[-]b c", ("alias", "a[-]b", "c", 1)),
        ("blacklist a # b", ("blacklist", "a", "# b", 1)),
        ("blacklist a\0b", ("blacklist", "a", "", 1)),
        ("blacklist a\r", ("blacklist", "a\r", "", 1)),
        ("softdep a pre: b post: c", ("softdep", "a", "pre: b post: c", 1)),
        ("install a", None),
        ("install a ", None),
        ("install a]b /bin/false", None),
        ("install a[b /bin/false", None),
        ("alias a", None),
        ("blacklist", None),
        ("options a b=1", None),
        ("include /x", None),
        ("Install a /bin/false", None),
        ("\x0cblacklist a", None),
    ],
)
def test_a_line_is_read_as_kmod_reads_it(text: str, line: Optional[tuple[str, str, str, int]]) -> None:
    found = [
        (one.verb, one.name, one.rest, one.evidence.line) for one in _modprobe.parse_modprobe(text, Evidence("x.conf"))
    ]
    assert found == ([line] if line else [])
