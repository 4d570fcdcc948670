from __future__ import annotations

import contextlib

import pytest
from fake_peers import field
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.formats.protobuf import Message


def test_fields_are_read_by_number() -> None:
    message = Message(
        field(1, "text") + field(2, 300) + field(3, [field(1, 1), field(1, 2)]) + b"\x25abcd\x29abcdefgh" + field(2, 7)
    )
    assert (message.text(1), message.number(2)) == ("text", 7)
    assert [part.number(1) for part in message.parts(3)] == [1, 2]
    assert message.part(3).number(1) == 2
    assert (message.has(3), message.has(9), message.number(9), message.text(9), message.parts(9)) == (
        True,
        False,
        0,
        "",
        (),
    )


def test_a_field_of_another_type_is_not_there() -> None:
    message = Message(field(1, 5) + field(2, "text"))
    assert (message.text(1), message.number(2), message.parts(1)) == ("", 0, ())


@pytest.mark.parametrize("data", [b"\x08", b"\x0a\x05abcd", b"\x0b", b"\x0f", b"\x08" + b"\xff" * 11, b"\x0d123"])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"truncated message|wire type|ten bytes"):
        Message(data)


@settings(max_examples=300)
@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        message = Message(data)
        assert isinstance(message.text(1), str)
        assert isinstance(message.number(1), int)
        assert isinstance(message.parts(1), tuple)


@settings(max_examples=100)
@given(st.integers(1, 1 << 28), st.integers(0, (1 << 64) - 1) | st.text(max_size=20))
def test_what_is_written_is_read(number: int, value: int | str) -> None:
    message = Message(field(number, value))
    assert (message.number(number) if isinstance(value, int) else message.text(number)) == value
