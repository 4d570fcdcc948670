"""Go's build information in made ELF files, and of broken ones."""

from __future__ import annotations

import struct
from typing import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.formats.go_buildinfo import BuildInfo, find_released_version, parse_modules, read_build_info

MODULES = "path\texample.org/v2/cmd/tool\nmod\texample.org/v2\tv2.1.5\th1:x=\ndep\texample.org/d\tv1.0.0\n"
TEXT = f"{MODULES}build\t-compiler=gc\n"


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def made(text: str, order: str = "<", flags: int = 2) -> bytes:
    """A 64-bit ELF file of one writable segment that has build information at its byte 48."""
    modules = b"m" * 16 + text.encode() + b"m" * 16
    info = (
        b"\xff Go buildinf:\x08"
        + bytes([flags])
        + b"\0" * 16
        + varint(8)
        + b"go1.24.1"
        + varint(len(modules))
        + modules
    )
    data = b"\0" * 48 + info
    ident = b"\x7fELF" + bytes([2, 1 if order == "<" else 2, 1]) + b"\0" * 9
    head = ident + struct.pack(order + "HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack(order + "IIQQQQQQ", 1, 6, 128, 0, 0, len(data), len(data), 16)
    return head + segment + b"\0" * (128 - len(head) - len(segment)) + data


def reader(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, size: data[offset : offset + size]


@pytest.mark.parametrize("order", ["<", ">"])
def test_module_version_and_settings_are_read(order: str) -> None:
    found = read_build_info(reader(made(TEXT, order)))
    assert found == BuildInfo("go1.24.1", "example.org/v2/cmd/tool", "example.org/v2", "v2.1.5", {"-compiler": "gc"})


def test_the_form_of_older_releases_is_not_read() -> None:
    assert read_build_info(reader(made(TEXT, flags=0))) is None


@pytest.mark.parametrize("end", [0, 4, 63, 64, 119, 127, 160, 176, 190, 215])
def test_a_file_that_ends_early_has_none_or_is_refused(end: int) -> None:
    try:
        assert read_build_info(reader(made(TEXT)[:end])) is None
    except ValueError as error:
        assert str(error)  # noqa: PT017 - none is as good


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=5))
def test_broken_bytes_never_raise_anything_else(changes: list[tuple[int, int]]) -> None:
    data = bytearray(made(TEXT))
    for at, byte in changes:
        data[at % len(data)] = byte
    try:
        read_build_info(reader(bytes(data)))
    except ValueError as error:
        assert str(error)  # noqa: PT017 - an answer is as good


@pytest.mark.parametrize(
    ("mod", "flags", "version"),
    [
        ("v2.1.5", "", "2.1.5"),
        ("v2.2.0-rc.1", "", "2.2.0-rc.1"),
        ("v2.1.5+dirty", "", "2.1.5+dirty"),
        ("(devel)", "", ""),
        ("", "", ""),
        ("v0.0.0-20250101123456-0123456789ab", "", ""),
        ("v1.2.4-0.20250101123456-0123456789ab", "", ""),
        ("(devel)", '-ldflags="-X main.gitCommit=abc -X main.version=1.2.5"', "1.2.5"),
        ("(devel)", '-ldflags="-w -X github.com/containerd/containerd/version.Version=v1.7.5"', "1.7.5"),
    ],
)
def test_only_a_release_is_a_version(mod: str, flags: str, version: str) -> None:
    text = f"path\tx\nmod\tx\t{mod}\t\n" + (f"build\t{flags}\n" if flags else "")
    assert find_released_version(parse_modules("go1.24", text)) == version
