"""What Linux 6.18 left in a parameter after a text was written to it, in namespaces of its own."""

from __future__ import annotations

import re
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespec.checks._sysctl_values import DEFAULTS, WriteResult, simulate_write

SOMAXCONN, FORWARD, RMEM = "net.core.somaxconn", "net.ipv4.ip_forward", "net.ipv4.tcp_rmem"
PORTS, BRIDGE = "net.ipv4.ip_local_port_range", "net.bridge.bridge-nf-call-iptables"


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        (SOMAXCONN, "1 # routers", "1"),
        (SOMAXCONN, "07", "7"),
        (SOMAXCONN, "010", "8"),
        (SOMAXCONN, "0x10", "16"),
        (SOMAXCONN, "08", None),
        (SOMAXCONN, "+5", None),
        (SOMAXCONN, "-5", None),
        (SOMAXCONN, "- 5", None),
        (SOMAXCONN, "2147483647", "2147483647"),
        (SOMAXCONN, "2147483648", None),
        (SOMAXCONN, "4294967296", None),
        (SOMAXCONN, "99999999999", None),
        (SOMAXCONN, "60;", None),
        (SOMAXCONN, "4096 1", "4096"),
        (SOMAXCONN, "  7\t", "7"),
        (SOMAXCONN, "\x0b7", "7"),
        (SOMAXCONN, "1\x0b", None),
        (SOMAXCONN, "1\r", None),
        (SOMAXCONN, "", None),
        (SOMAXCONN, "1,2", None),
        (SOMAXCONN, "0x", None),
        (SOMAXCONN, "1e3", None),
        (SOMAXCONN, "00000000000000000001", "1"),  # 20 characters
        (SOMAXCONN, "000000000000000000001", None),
        (SOMAXCONN, "-0", "0"),
        (FORWARD, "-5", "-5"),
        (FORWARD, "256", "256"),
        ("net.ipv4.tcp_syncookies", "1 x", "1"),
        ("net.ipv4.tcp_syncookies", "255", "255"),
        ("net.ipv4.conf.all.rp_filter", "-1", "-1"),
        ("kernel.shmmax", "18446744073709551615", "18446744073709551615"),
        ("kernel.shmmax", "18446744073709551616", None),
        ("kernel.shmmax", "-1", None),
        ("kernel.msgmax", "2147483648", None),
        ("vm.swappiness", "200", "200"),
        ("vm.swappiness", "201", None),
        ("vm.swappiness", "-5", None),
        ("kernel.dmesg_restrict", "2", None),
        (BRIDGE, "5", "1"),
        (BRIDGE, "0", "0"),
        (PORTS, "1024 65535", "1024 65535"),
        (PORTS, "1024", "1024 60999"),
        (PORTS, "65535 1024", None),
        (PORTS, "1024 65536", None),
        (PORTS, "1024-65535", None),
        (PORTS, "0 5", None),
        (PORTS, "1024 65535 x", "1024 65535"),
        (RMEM, "0", None),
        (RMEM, "4096 87380 6291456", "4096 87380 6291456"),
        (RMEM, "1 2 3 4", "1 2 3"),
        (RMEM, "4096,87380,6291456", None),
        ("kernel.core_pattern", "|/bin/false # no", "|/bin/false # no"),
        ("net.ipv4.tcp_congestion_control", "bbr", "bbr"),
        ("net.core.default_qdisc", "fq", "fq"),
        ("net.ipv4.ip_local_reserved_ports", "30000-32767,8080", "30000-32767,8080"),
        # of what is not known here
        ("vm.frobnication", "07", "7"),
        ("vm.frobnication", "7;", None),
        ("vm.frobnication", "7 # seven", "7"),
        ("vm.frobnication", "fast", "fast"),
    ],
)
def test_what_is_held_after_a_write(key: str, text: str, value: Optional[str]) -> None:
    assert simulate_write(key, text, DEFAULTS.get(key)) == WriteResult(value)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("net.ipv4.tcp_syncookies", "256"),  # before 5.13 an int
        ("net.ipv4.tcp_keepalive_time", "2147484"),  # as many seconds as jiffies allow, where a second has 1,000
        ("vm.frobnication", "-1"),
        ("vm.frobnication", "2147483648"),
        (RMEM, "4096"),
        (RMEM, "4096 5000 x"),
        (PORTS, "1023 65535"),  # refused unless net.ipv4.ip_unprivileged_port_start is lower
        ("net.ipv4.ip_unprivileged_port_start", "1025"),  # refused where the range above begins before
    ],
)
def test_what_kernels_or_the_machine_decide_is_doubtful(key: str, text: str) -> None:
    seen = simulate_write(key, text, None)
    assert seen.doubt
    assert not seen.others


def test_numbers_that_are_not_written_stay() -> None:
    assert simulate_write(RMEM, "5000\t6000", "4096 131072 33554432") == WriteResult("5000 6000 33554432")
    assert simulate_write(RMEM, "4096 5000 x", "1 2 3") == WriteResult("4096 5000 3")


def test_one_number_or_several() -> None:
    seen = simulate_write("vm.frobnication", "1  2", None)
    assert (seen.value, seen.others) == ("1", ("1 2",))


@given(st.sampled_from([SOMAXCONN, FORWARD, "vm.x"]), st.text("0123456789xXabf-; \t\n\x0b", max_size=24))
def test_a_single_number_is_written_as_the_kernel_prints_it(key: str, text: str) -> None:
    seen = simulate_write(key, text, None)
    if seen.value is not None and re.match(r"\s*[-0-9]", text):
        assert re.fullmatch(r"-?(0|[1-9]\d*)", seen.value)
