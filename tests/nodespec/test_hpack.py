from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.formats import hpack


def packed(data: bytes) -> bytes:
    """Huffman coded, by the table read the other way round."""
    codes = {byte: (bits, code) for (bits, code), byte in hpack._make_huffman_codes().items()}  # noqa: SLF001 - the one table
    text = "".join(f"{code:0{bits}b}" for bits, code in (codes[byte] for byte in data))
    text += "1" * (-len(text) % 8)
    return bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))


def read(value: bytes) -> str:
    """A value that is Huffman coded, of a header named x."""
    ((_, said),) = hpack.decode_headers(b"\0\1x" + bytes((0x80 | len(value),)) + value)
    return said


@pytest.mark.parametrize(
    ("coded", "text"),
    [  # the examples of RFC 7541, appendix C
        ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
        ("a8eb10649cbf", "no-cache"),
        ("25a849e95ba97d7f", "custom-key"),
        ("25a849e95bb8e8b4bf", "custom-value"),
        ("6402", "302"),
        ("aec3771a4b", "private"),
        ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("9d29ad171863c78f0b97c8e9ae82ae43d3", "https://www.example.com"),
        ("94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
         "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ],
)  # fmt: skip
def test_huffman_code_is_that_of_the_standard(coded: str, text: str) -> None:
    assert read(bytes.fromhex(coded)) == text
    assert packed(text.encode()).hex() == coded


@settings(max_examples=100)
@given(st.binary(max_size=15))
def test_every_byte_has_a_code(data: bytes) -> None:
    assert read(packed(data)) == data.decode("utf-8", "backslashreplace")


@pytest.mark.parametrize("coded", ["00", "fe", "ff", "ffffffff"])
def test_a_code_that_ends_wrongly_is_refused(coded: str) -> None:
    with pytest.raises(ValueError, match="Huffman"):
        read(bytes.fromhex(coded))


def test_only_the_status_is_known_by_its_number() -> None:
    assert list(hpack.decode_headers(b"\x88\x8e\x87\x8f\x48\x03502\x0f\x01\0")) == [
        (":status", "200"),
        (":status", "500"),
        ("", ""),
        ("", ""),
        (":status", "502"),
        ("", ""),
    ]


@settings(max_examples=300)
@given(st.binary(max_size=64))
def test_any_block_is_read_or_refused(block: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert all(isinstance(name, str) for name, _ in hpack.decode_headers(block))
