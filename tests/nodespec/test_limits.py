"""Limits at limit - 1, limit and limit + 1, in literal numbers, so that a changed constant is noticed."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING, Callable, List, Optional

import pytest
from made_images import Blobs, Put, laid, tar
from pretended import Said, found, planned
from test_good_specs import outcome

from nodespec.errors import UsageError
from nodespec.facts.value_numbers import Size
from nodespec.facts.versions import RPM
from nodespec.host import directory, machine
from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
from nodespec.images.open import open_image
from nodespec.model.observation import Absent, Unknown, Value
from nodespec.recording.file import parse_recording

if TYPE_CHECKING:
    from pathlib import Path

SECRET = b"what stands outside"


# files


@pytest.mark.parametrize(("size", "whole"), [(16_777_215, True), (16_777_216, True), (16_777_217, False)])
def test_a_file_of_16_mib_is_read_and_no_longer_one(tmp_path: Path, size: int, whole: bool) -> None:  # noqa: FBT001
    with (tmp_path / "x").open("wb") as file:
        file.truncate(size)
    read = DirectoryTree(str(tmp_path)).read("/x")
    if whole:
        assert isinstance(read, Value)
        assert len(read.value) == size
    else:
        assert isinstance(read, Unknown)
        assert (read.reason, "longer than 16777216 bytes" in read.say) == ("failed", True)


@pytest.mark.parametrize(("size", "whole"), [(9, True), (10, True), (11, False)])
def test_the_limit_of_a_caller_counts(tmp_path: Path, size: int, whole: bool) -> None:  # noqa: FBT001
    (tmp_path / "x").write_bytes(b"a" * size)
    for root in (str(tmp_path), "/"):
        path = "/x" if root != "/" else str(tmp_path / "x")
        assert isinstance(DirectoryTree(root).read(path, 10), Value) is whole
        head = DirectoryTree(root).head(path, 10)
        assert isinstance(head, Value)
        assert head.value == b"a" * min(size, 10)


def exchange(monkeypatch: pytest.MonkeyPatch, swap: Callable[[], None]) -> None:
    """Exchange a file once it was seen to be a regular one, right before it is opened."""
    flags = directory._make_flags  # noqa: SLF001 - what is asked last before the file is opened

    def asked(more: int, folder: Optional[int]) -> int:
        swap()
        return flags(more, folder)

    monkeypatch.setattr(directory, "_make_flags", asked)


@pytest.mark.parametrize("below_root", [True, False])
def test_a_file_that_becomes_a_fifo_before_it_is_opened_does_not_hang(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    below_root: bool,  # noqa: FBT001
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"content")

    def swap() -> None:
        path.unlink()
        os.mkfifo(path)

    exchange(monkeypatch, swap)
    signal.alarm(20)  # kills a test that hangs
    try:
        read = DirectoryTree(str(tmp_path)).read("/x") if below_root else DirectoryTree().read(str(path))
    finally:
        signal.alarm(0)
    assert isinstance(read, Unknown)
    assert "not a regular file" in read.say


def test_a_file_that_becomes_a_link_before_it_is_opened_leads_not_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, path = tmp_path / "outside", tmp_path / "root/x"
    outside.write_bytes(SECRET)
    path.parent.mkdir()
    path.write_bytes(b"content")

    def swap() -> None:
        path.unlink()
        path.symlink_to(outside)

    exchange(monkeypatch, swap)
    read = DirectoryTree(str(tmp_path / "root")).read("/x")
    assert isinstance(read, Unknown)
    assert SECRET.decode() not in read.say


@pytest.mark.parametrize("mode", [0o100, 0o010, 0o001, 0o755])
def test_a_program_is_what_anybody_may_execute(tmp_path: Path, mode: int) -> None:
    program = tmp_path / "usr/bin/runc"
    program.parent.mkdir(parents=True)
    program.write_text("")
    program.chmod(mode)
    assert isinstance(DirectoryTree(str(tmp_path)).program("runc"), Value)
    program.chmod(0o666)
    assert isinstance(DirectoryTree(str(tmp_path)).program("runc"), Absent)


# programs and sockets


@pytest.mark.parametrize(("size", "whole"), [(1_048_575, True), (1_048_576, True), (1_048_577, False)])
def test_a_program_may_print_1_mib(size: int, whole: bool) -> None:  # noqa: FBT001
    ran = Machine().run(["/usr/bin/head", "-c", str(size), "/dev/zero"])
    if whole:
        assert isinstance(ran, Value)
        assert (ran.value.status, len(ran.value.output)) == (0, size)
    else:
        assert isinstance(ran, Unknown)
        assert (ran.reason, "more than 1048576 bytes" in ran.say) == ("failed", True)


def test_output_in_small_pieces_is_read_in_linear_time() -> None:
    script = "i=0; while [ $i -lt 4000 ]; do echo 0123456789; i=$((i+1)); done"
    ran = Machine().run(["/bin/sh", "-c", script])
    assert isinstance(ran, Value)
    assert ran.value.output == "0123456789\n" * 4000


def test_a_socket_that_may_not_be_opened_is_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        def refuse(_name: str, _folder: object) -> str:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(machine, "_make_proc_path", refuse)
        connected = Machine().connect(path)
    assert isinstance(connected, Unknown)
    assert (connected.reason, connected.look) == ("no permission", "run as root")


# numbers and lists


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (1 << 40, "1Ti"),
        ((1 << 40) - 1024, "1073741823Ki"),
        ((1 << 40) + (1 << 30), "1025Gi"),
        (3 << 40, "3Ti"),
        (1 << 30, "1Gi"),
        (1 << 20, "1Mi"),
        (1 << 10, "1Ki"),
        (1023, "1023"),
        (0, "0"),
    ],
)
def test_a_size_is_written_in_the_largest_whole_unit(size: int, text: str) -> None:
    assert Size().written(size) == text
    assert Size().read(text) == size


def test_the_units_of_sizes_are_these() -> None:
    units = {"": 1, "K": 1000, "M": 10**6, "G": 10**9, "T": 10**12}
    units.update(Ki=1024, Mi=1_048_576, Gi=1_073_741_824, Ti=1_099_511_627_776)
    assert {unit: Size().read(f"1{unit}") for unit in units} == units


def test_an_rpm_version_without_an_epoch_has_epoch_0() -> None:
    assert RPM.key("1.2-3") == RPM.key("0:1.2-3") < RPM.key("1:1.0-1")
    assert RPM.key("0:9.9-9") < RPM.key("1:0.1-1")
    row = ("packages", "runc", "rpm")
    assert outcome(row, "'>=0:1.2-3'", "1.2-3") == outcome(row, "'>=1.2-3'", "0:1.2-3") == "pass"
    assert outcome(row, "'>=1:1.2-3'", "1.2-4") == "fail"


@pytest.mark.parametrize(("rows", "shown"), [(49, 49), (50, 50), (51, 50)])
def test_50_rows_of_a_rule_are_shown(rows: int, shown: int) -> None:
    plan = planned(a="rules: [{name: r, every: packages, require: {status: installed}}]")
    names = tuple(f"p{number:02}" for number in range(rows))
    said: dict[str, Said] = {"packages.*": names}
    for name in names:
        said[f"packages.{name}"], said[f"packages.{name}.status"] = "there", "config-files"
    (finding,) = found(plan, said).values()
    assert finding.outcome == "fail"
    assert len(finding.parts) == shown
    assert str(rows) in finding.sentence


def fixes() -> List[tuple[str, str]]:
    return [("'<5'", "4"), ("'<=5'", "5"), ("'>5'", "6"), ("'>=5'", "5")]


@pytest.mark.parametrize(("expects", "value"), fixes())
def test_the_value_that_a_fix_proposes_meets_the_range(expects: str, value: str) -> None:
    plan = planned(a=f"require: {{sysctl: {{vm.swappiness: {expects}}}}}")
    seen = "60" if "<" in expects else "1"
    (finding,) = found(plan, {"sysctl.vm.swappiness": seen}).values()
    assert finding.outcome == "fail"
    assert f"vm.swappiness={value}" in finding.fix.replace(" = ", "=")


@pytest.mark.parametrize(("digits", "taken"), [(19, True), (20, True), (21, False)])
def test_a_number_of_a_recording_has_20_digits(digits: int, taken: bool) -> None:  # noqa: FBT001
    head = '{"nodespec-facts": 1, "context": "running", "door": "live", "time": "2026-12-31T23:59:59Z", "tool": "x"'
    content = f'{head}, "host": {{"name": "x"}}, "facts": {{"a": {"1" * digits}}}}}'.encode()
    if taken:
        assert parse_recording(content).facts == {"a": int("1" * digits)}
    else:
        with pytest.raises(ValueError, match="64 bits"):
            parse_recording(content)


@pytest.mark.parametrize(("depth", "taken"), [(7, True), (8, True), (9, False)])
def test_an_index_lies_8_deep_within_indexes(tmp_path: Path, depth: int, taken: bool) -> None:  # noqa: FBT001
    blobs = Blobs()
    inner: dict[str, object] = {"schemaVersion": 2, "manifests": [blobs.image([tar([Put("etc/hostname", b"node")])])]}
    for _ in range(depth - 1):
        inner = {"schemaVersion": 2, "manifests": [blobs.add(inner, "index.v1+json")]}
    path = laid(blobs.index([blobs.add(inner, "index.v1+json")]), tmp_path)
    if taken:
        read = open_image(path).read("/etc/hostname")
        assert isinstance(read, Value)
        assert read.value == b"node"
    else:
        with pytest.raises(UsageError, match="too many manifests"):
            open_image(path)
