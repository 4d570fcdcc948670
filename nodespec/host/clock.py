"""State of the kernel's clock, read by adjtimex(2) without changing it."""

from __future__ import annotations

import sys

from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import List, Tuple

SOURCE = "adjtimex(2)"
NANOSECONDS = 0x2000  # STA_NANO: the offset is in nanoseconds
STRUCTURE_BYTES = 512  # struct timex has 208 bytes on 64-bit systems, and 128 on others
# Fields of struct timex in <linux/timex.h> after `modes`, an unsigned int. `status` is an int, the others are longs.
FIELDS = ("offset", "freq", "maxerror", "esterror", "status")


class ClockState(NamedTuple):
    """State of the clock: the remaining offset and the errors in microseconds."""

    offset: int
    maximum_error: int
    estimated_error: int


def read_clock() -> Observation[ClockState]:
    """Return the state of the clock. A time namespace does not have its own wall clock."""
    try:
        import ctypes  # noqa: PLC0415 - only needed for the clock
    except ImportError:
        return Unknown(
            "tool missing", "this Python has no module ctypes", "install the whole standard library of Python"
        )
    try:
        library = ctypes.CDLL(None, use_errno=True)
        buffer = ctypes.create_string_buffer(STRUCTURE_BYTES)  # `modes` is 0: nothing is changed
        failed = library.adjtimex(buffer) < 0
        number = ctypes.get_errno()
    except (OSError, AttributeError) as error:
        return Unknown("failed", f"{SOURCE}: {error}")
    if failed:
        import os  # noqa: PLC0415 - only needed for the message

        hint = "run outside of the sandbox that denies adjtimex(2)"
        return Unknown("no permission", f"{SOURCE}: {os.strerror(number)}", hint)
    return Value(decode_clock(buffer.raw, ctypes.sizeof(ctypes.c_long)), Evidence(SOURCE))


def decode_clock(data: bytes, long_bytes: int) -> ClockState:
    """Decode struct timex; `long_bytes` is the size of a long.

    The first field is an int, padded to the size of a long.
    """
    values: List[int] = []
    for number in range(1, len(FIELDS) + 1):
        width = 4 if number == len(FIELDS) else long_bytes
        values.append(_read_integer(data, (number * long_bytes, width)))
    offset, _, maximum, estimated, status = values
    return ClockState(round(offset / 1000) if status & NANOSECONDS else offset, maximum, estimated)


def _read_integer(data: bytes, place: Tuple[int, int]) -> int:
    begin, width = place
    return int.from_bytes(data[begin : begin + width], sys.byteorder, signed=True)
