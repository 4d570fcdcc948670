"""Reader of tables of an SQLite database, from its bytes.

The SQLite library is not used: it requires a file, Python may lack it, and it is written in C for trusted databases.
Commits in the write-ahead log that are not merged yet are read too.
"""

from __future__ import annotations

from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Mapping, Tuple, TypeAlias, Union

Cell: TypeAlias = "Union[int, bytes, None]"  # bytes also for text; floating point is not supported
Row: TypeAlias = "Tuple[Cell, ...]"

MAGIC = b"SQLite format 3\0"
LOG_MAGICS = (0x377F0682, 0x377F0683)
INNER, LEAF = 5, 13  # page types of a table
WIDTHS = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)  # bytes of a value that is neither text nor blob


class SqliteDatabase:
    """A database and its write-ahead log; every reader raises ValueError if damaged."""

    def __init__(self, data: bytes, log: bytes = b"") -> None:
        size = _decode_number(data[16:18])
        self._size = 1 << 16 if size == 1 else size
        if data[:16] != MAGIC or self._size < 512 or self._size & (self._size - 1):  # noqa: PLR2004 - the least page
            raise ValueError("not an SQLite database")
        self._usable = self._size - data[20]
        self._data, self._newer = data, _read_committed_pages(log, self._size)
        self._read: Dict[int, bool] = {}

    def rows(self, table: str) -> Iterator[Row]:
        """Yield the rows of a table in key order, without the keys."""
        self._read = {}
        for kind, name, _, root, *_ in map(_parse_record, self._read_payloads(1)):
            if kind == b"table" and name == table.encode() and isinstance(root, int):
                return map(_parse_record, self._read_payloads(root))
        raise ValueError(f"table {table} not found")

    def _read_page(self, number: int) -> bytes:
        """Return a page, which may be used only once, so that a cycle of pages ends."""
        page = self._newer.get(number) or self._data[(number - 1) * self._size : number * self._size]
        if number < 1 or len(page) != self._size or number in self._read:
            raise ValueError(f"page {number} of the database is damaged")
        self._read[number] = True
        return page

    def _read_payloads(self, root: int) -> Iterator[bytes]:
        ahead = [root]
        while ahead:
            number = ahead.pop()
            page, start = self._read_page(number), 100 if number == 1 else 0
            inner = page[start] == INNER
            if page[start] not in (INNER, LEAF):
                raise ValueError(f"page {number} of the database does not belong to a table")
            count, first = (
                min(_decode_number(page[start + 3 : start + 5]), self._size // 2),
                start + (12 if inner else 8),
            )
            cells = [_decode_number(page[offset : offset + 2]) for offset in range(first, first + 2 * count, 2)]
            if inner:
                children = [_decode_number(page[offset : offset + 4]) for offset in (*cells, start + 8)]
                ahead += reversed(children)
            else:
                yield from (self._read_payload(page, offset) for offset in cells)

    def _read_payload(self, page: bytes, offset: int) -> bytes:
        """Return the content of a cell: the part in the page, then its overflow pages."""
        length, offset = _decode_varint(page, offset)
        _, offset = _decode_varint(page, offset)
        least = (self._usable - 12) * 32 // 255 - 23
        fitting = least + (length - least) % (self._usable - 4)
        most = self._usable - 35
        local = length if length <= most else fitting if fitting <= most else least
        pieces, left = [page[offset : offset + local]], length - local
        following = _decode_number(page[offset + local : offset + local + 4])
        while left > 0:
            page = self._read_page(following)
            following = _decode_number(page[:4])
            pieces.append(page[4 : self._usable][:left])
            left -= len(pieces[-1])
        return b"".join(pieces)


def _read_committed_pages(log: bytes, size: int) -> Mapping[int, bytes]:
    """Return the committed pages of the log.

    Frames of an older log have another salt and do not count.
    """
    done: Dict[int, bytes] = {}
    pending: Dict[int, bytes] = {}
    if _decode_number(log[:4]) not in LOG_MAGICS or _decode_number(log[8:12]) != size:
        return done
    for offset in range(32, len(log) - size - 23, size + 24):
        if log[offset + 8 : offset + 16] != log[16:24]:
            break
        pending[_decode_number(log[offset : offset + 4])] = log[offset + 24 : offset + 24 + size]
        if any(log[offset + 4 : offset + 8]):
            done.update(pending)
            pending.clear()
    return done


def _parse_record(payload: bytes) -> Row:
    end, offset = _decode_varint(payload, 0)
    kinds: List[int] = []
    while offset < min(end, len(payload)):
        kind, offset = _decode_varint(payload, offset)
        kinds.append(kind)
    cells: List[Cell] = []
    offset = end
    for kind in kinds:
        width = WIDTHS[kind] if kind < len(WIDTHS) else (kind - 12) // 2
        cells.append(_decode_cell(kind, payload[offset : offset + width]))
        offset += width
    return (*cells, None, None, None, None)


def _decode_cell(kind: int, data: bytes) -> Cell:
    if kind in (0, 7):
        return None
    if kind in (8, 9):
        return kind - 8
    return int.from_bytes(data, "big", signed=True) if kind < len(WIDTHS) else data


def _decode_varint(data: bytes, offset: int) -> Tuple[int, int]:
    """Decode an integer of up to nine bytes, and return its end."""
    value = 0
    for count in range(8):
        byte = data[offset + count] if offset + count < len(data) else 0
        value = value << 7 | byte & 127
        if byte < 128:  # noqa: PLR2004 - the last byte
            return value, offset + count + 1
    ninth = data[offset + 8] if offset + 8 < len(data) else 0  # all eight bits of the ninth byte count
    return value << 8 | ninth, offset + 9


def _decode_number(data: bytes) -> int:
    return int.from_bytes(data, "big")
