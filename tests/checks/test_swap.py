from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks import swap
from nodespec.host.machine import Machine
from nodespec.model.observation import Absent, Evidence, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

HEADING = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
TWO = (
    HEADING
    + "/dev/dm-1                               partition\t8388604\t\t1024\t\t-2\n"
    + "/swap\\040file\\134x\\040(deleted)          file\t\t1048572\t\t0\t\t-3\n"
)
FILE = "/swap file\\x (deleted)"


def machine(make_tree: MakeTree, swaps: str) -> Machine:
    return Machine(make_tree({"/proc/self/stat": "", "/proc/swaps": swaps}))


def test_a_heading_alone_is_no_swap(make_tree: MakeTree) -> None:
    host = machine(make_tree, HEADING)
    assert swap.total.probe(host) == Value(0, Evidence("/proc/swaps"))
    assert swap.devices.probe(host).every() == {}
    assert swap.devices.probe(host).observe("/dev/sda2") == Absent(Evidence("/proc/swaps"))


def test_total_is_the_sum_in_bytes(make_tree: MakeTree) -> None:
    assert swap.total.probe(machine(make_tree, TWO)) == Value((8388604 + 1048572) * 1024, Evidence("/proc/swaps"))


def test_devices(make_tree: MakeTree) -> None:
    rows = swap.devices.probe(machine(make_tree, TWO))
    disk, file = Evidence("/proc/swaps", 2), Evidence("/proc/swaps", 3)
    assert rows.every() == {
        "/dev/dm-1": Value({"type": Value("partition", disk), "size": Value(8388604 * 1024, disk)}, disk),
        FILE: Value({"type": Value("file", file), "size": Value(1048572 * 1024, file)}, file),
    }
    assert rows.observe("/dev/dm-0") == Absent(Evidence("/proc/swaps"), "there is `/dev/dm-1`")


def test_a_kernel_without_swap_has_none(make_tree: MakeTree) -> None:
    host = Machine(make_tree({"/proc/self/stat": "", "/proc/uptime": "1"}))
    inferred = Evidence("/proc/swaps", 0, inferred=True)
    assert swap.total.probe(host) == Value(0, inferred)
    assert swap.devices.probe(host).observe("/dev/sda2") == Absent(inferred)


def test_without_proc_nothing_is_known(make_tree: MakeTree) -> None:
    host = Machine(make_tree({"/etc/hostname": "bare\n"}))
    hidden = Unknown("hidden", "/proc is not mounted here", "mount /proc")
    assert swap.total.probe(host) == hidden
    assert swap.devices.probe(host).observe("/dev/sda2") == hidden


@pytest.mark.parametrize(
    "swaps",
    [
        "",
        "\n",
        "Device Size\n",
        HEADING + "/dev/sda2 partition\n",
        HEADING + "/dev/sda2 partition many 0 -2\n",
        HEADING + "/dev/sda2 partition -4 0 -2\n",
        HEADING + f"/dev/sda2 partition {'9' * 5000} 0 -2\n",
    ],
)
def test_what_cannot_be_read_is_malformed(swaps: str, make_tree: MakeTree) -> None:
    host = machine(make_tree, swaps)
    total, row = swap.total.probe(host), swap.devices.probe(host).observe("/dev/sda2")
    assert isinstance(total, Unknown)
    assert total.reason == "malformed"
    assert row == total


def test_a_path_may_hold_what_looks_like_an_end(make_tree: MakeTree) -> None:
    rows = swap.devices.probe(machine(make_tree, HEADING + "/a\u2028b\x0b\xa0 file\t\t4\t0\t-2\n"))
    assert list(rows.every()) == ["/a\u2028b\x0b\xa0"]


@settings(max_examples=150)
@given(st.one_of(st.text(), st.text().map(lambda text: HEADING + text)))
def test_no_text_breaks_the_parser(text: str) -> None:
    found = Value(text, Evidence("/proc/swaps")).then(swap._parse_swaps)  # noqa: SLF001 - the parser itself
    assert isinstance(found, (Value, Unknown))


@settings(max_examples=100)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), st.integers(0, 10**12))
def test_every_path_comes_back(path: str, size: int) -> None:
    escaped = "".join(f"\\{ord(c):03o}" if c in " \t\n\\" else c for c in path)
    assert [area[1:] for area in swap._parse_swaps(f"{HEADING}{escaped} file\t\t{size}\t\t0\t\t-2\n")] == [  # noqa: SLF001
        (path, "file", size * 1024)
    ]
