"""Read subject, issuer and validity of an X.509 certificate, from PEM or DER. Nothing is verified.

Only the fields up to the subject are read: RFC 5280, section 4.1. Lengths are bounded by the data.
"""

from __future__ import annotations

import re
from binascii import Error, a2b_base64

from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Iterator, List, Tuple

MAX_CERTIFICATE_BYTES = 64 << 10
BEGIN, END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
SEQUENCE, SET, OBJECT, VERSION, UTC_TIME, GENERALIZED_TIME = 0x30, 0x31, 0x06, 0xA0, 0x17, 0x18
# Attributes of names, RFC 4514; others are written as their number.
ATTRIBUTES = {
    "2.5.4.3": "CN",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.5": "SERIALNUMBER",
}
STRINGS = {0x0C: "utf-8", 0x13: "ascii", 0x16: "ascii", 0x14: "latin-1", 0x1E: "utf-16-be", 0x12: "ascii"}


class Certificate(NamedTuple):
    """Names as `O=system:nodes,CN=system:node:x`, and times as `2026-12-31T23:59:59Z`."""

    subject: str
    issuer: str
    not_before: str
    not_after: str


def decode_pem(data: bytes) -> bytes:
    """Return the first certificate of a PEM text. Raises ValueError if there is none."""
    start = data.find(BEGIN)
    end = data.find(END, start)
    if start < 0 or end < 0:
        raise ValueError("no certificate found")
    return decode_base64(b"".join(data[start + len(BEGIN) : end].split()))


def decode_base64(data: bytes) -> bytes:
    """Decode base64. Raises ValueError for other text."""
    try:
        return a2b_base64(data)
    except Error as error:
        raise ValueError(f"not base64: {error}") from None


def parse_certificate(data: bytes) -> Certificate:
    """Parse a DER certificate. Raises ValueError if it is malformed."""
    if len(data) > MAX_CERTIFICATE_BYTES:
        raise ValueError(f"longer than {MAX_CERTIFICATE_BYTES} bytes")
    (certificate,) = _take(data, 1, SEQUENCE)
    (body,) = _take(certificate, 1, SEQUENCE)
    fields = [*_iter_values(body, 7)]
    if fields and fields[0][0] == VERSION:
        fields = fields[1:]
    if len(fields) < 5 or any(fields[place][0] != SEQUENCE for place in (1, 2, 3, 4)):  # noqa: PLR2004 - up to the subject
        raise ValueError("not a certificate")
    times = [_format_time(tag, value) for tag, value in _iter_values(fields[3][1], 2)]
    if len(times) != 2:  # noqa: PLR2004 - not before, not after
        raise ValueError("a validity has two times")
    return Certificate(_format_name(fields[4][1]), _format_name(fields[2][1]), times[0], times[1])


def _take(data: bytes, count: int, tag: int) -> List[bytes]:
    """Return the first values; raises ValueError if there are fewer, or of another tag."""
    values = [*_iter_values(data, count)]
    if len(values) < count or any(found != tag for found, _ in values):
        raise ValueError("not a certificate")
    return [value for _, value in values]


def _iter_values(data: bytes, most: int) -> Iterator[Tuple[int, bytes]]:
    """Yield tags and contents of up to `most` values."""
    at = 0
    while at < len(data) and most:
        if at + 2 > len(data):
            raise ValueError("truncated")
        tag, size, at = data[at], data[at + 1], at + 2
        if size > 0x80 and size <= 0x84:  # noqa: PLR2004 - the long form, of up to 4 bytes
            count = size & 0x7F
            size, at = int.from_bytes(data[at : at + count], "big"), at + count
        elif size >= 0x80:  # noqa: PLR2004 - an indefinite or too long length, which DER does not have
            raise ValueError("not a length of DER")
        if at + size > len(data):
            raise ValueError("truncated")
        yield tag, data[at : at + size]
        at, most = at + size, most - 1


def _format_name(data: bytes) -> str:
    parts = []
    for tag, members in _iter_values(data, 100):
        for inner, pair in _iter_values(members, 100):
            values = [*_iter_values(pair, 2)]
            if tag != SET or inner != SEQUENCE or len(values) < 2 or values[0][0] != OBJECT:  # noqa: PLR2004 - a pair
                raise ValueError("not a name")
            text = values[1][1].decode(STRINGS.get(values[1][0], "latin-1"))
            parts.append(f"{_format_object(values[0][1])}={re.sub(r'([,+=;<>#])', _escape, text)}")
    return ",".join(parts)


def _escape(match: re.Match[str]) -> str:
    return f"\\{match[0]}" if match[0] in ',+";<>' else match[0]


def _format_object(data: bytes) -> str:
    numbers, number = [], 0
    for byte in data[:64]:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    if not numbers:
        raise ValueError("an empty object identifier")
    first = min(numbers[0] // 40, 2)
    dotted = ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))
    return ATTRIBUTES.get(dotted, dotted)


def _format_time(tag: int, value: bytes) -> str:
    text = value.decode("ascii")
    if tag == UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    match = re.fullmatch(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z", text, re.ASCII)
    if not match or tag not in (UTC_TIME, GENERALIZED_TIME):
        raise ValueError("not a time")
    return "{}-{}-{}T{}:{}:{}Z".format(*match.groups())
