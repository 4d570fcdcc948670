"""Tables of an SQLite database, read from its bytes.

The library is not asked: it wants a file, may be missing where Python is, and is written in C for databases that one
trusts. What a writer has committed to the log beside the database and not yet merged is read too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, Iterator, List, Mapping, Tuple, Union

if TYPE_CHECKING:
    from typing import TypeAlias

Cell: TypeAlias = "Union[int, bytes, None]"  # bytes for text, too; no floating point
Row: TypeAlias = "Tuple[Cell, ...]"

MAGIC = b"SQLite format 3\0"
LOGS = (0x377F0682, 0x377F0683)
INNER, LEAF = 5, 13  # pages of a table
WIDTHS = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)  # of what is no text and no blob


class Database:
    """A database, and its write-ahead log. Whatever reads it raises ValueError where it is damaged."""

    def __init__(self, data: bytes, log: bytes = b"") -> None:
        size = _number(data[16:18])
        self._size = 1 << 16 if size == 1 else size
        if data[:16] != MAGIC or self._size < 512 or self._size & (self._size - 1):  # noqa: PLR2004 - the least page
            raise ValueError("is no SQLite database")
        self._usable = self._size - data[20]
        self._data, self._newer = data, _committed(log, self._size)
        self._read: Dict[int, bool] = {}

    def rows(self, table: str) -> Iterator[Row]:
        """The rows of a table in the order of their keys, without these."""
        self._read = {}
        for kind, name, _, root, *_ in map(_row, self._payloads(1)):
            if kind == b"table" and name == table.encode() and isinstance(root, int):
                return map(_row, self._payloads(root))
        raise ValueError(f"has no table {table}")

    def _page(self, number: int) -> bytes:
        """A page, which belongs to one place only: otherwise reading might not end."""
        page = self._newer.get(number) or self._data[(number - 1) * self._size : number * self._size]
        if number < 1 or len(page) != self._size or number in self._read:
            raise ValueError(f"page {number} of the database is damaged")
        self._read[number] = True
        return page

    def _payloads(self, root: int) -> Iterator[bytes]:
        ahead = [root]
        while ahead:
            number = ahead.pop()
            page, start = self._page(number), 100 if number == 1 else 0
            inner = page[start] == INNER
            if page[start] not in (INNER, LEAF):
                raise ValueError(f"page {number} of the database is of no table")
            count, first = min(_number(page[start + 3 : start + 5]), self._size // 2), start + (12 if inner else 8)
            cells = [_number(page[at : at + 2]) for at in range(first, first + 2 * count, 2)]
            if inner:
                children = [_number(page[at : at + 4]) for at in (*cells, start + 8)]
                ahead += reversed(children)
            else:
                yield from (self._payload(page, at) for at in cells)

    def _payload(self, page: bytes, at: int) -> bytes:
        """What a cell holds: as much as fits in the page, the rest in a chain of others."""
        length, at = _varint(page, at)
        _, at = _varint(page, at)
        least = (self._usable - 12) * 32 // 255 - 23
        fitting = least + (length - least) % (self._usable - 4)
        most = self._usable - 35
        local = length if length <= most else fitting if fitting <= most else least
        pieces, left = [page[at : at + local]], length - local
        following = _number(page[at + local : at + local + 4])
        while left > 0:
            page = self._page(following)
            following = _number(page[:4])
            pieces.append(page[4 : self._usable][:left])
            left -= len(pieces[-1])
        return b"".join(pieces)


def _committed(log: bytes, size: int) -> Mapping[int, bytes]:
    """The pages of the last commit and of those before it; what an older log has left behind has another salt."""
    done: Dict[int, bytes] = {}
    pending: Dict[int, bytes] = {}
    if _number(log[:4]) not in LOGS or _number(log[8:12]) != size:
        return done
    for at in range(32, len(log) - size - 23, size + 24):
        if log[at + 8 : at + 16] != log[16:24]:
            break
        pending[_number(log[at : at + 4])] = log[at + 24 : at + 24 + size]
        if any(log[at + 4 : at + 8]):
            done.update(pending)
            pending.clear()
    return done


def _row(payload: bytes) -> Row:
    end, at = _varint(payload, 0)
    kinds: List[int] = []
    while at < min(end, len(payload)):
        kind, at = _varint(payload, at)
        kinds.append(kind)
    cells: List[Cell] = []
    at = end
    for kind in kinds:
        width = WIDTHS[kind] if kind < len(WIDTHS) else (kind - 12) // 2
        cells.append(_cell(kind, payload[at : at + width]))
        at += width
    return (*cells, None, None, None, None)


def _cell(kind: int, data: bytes) -> Cell:
    if kind in (0, 7):
        return None
    if kind in (8, 9):
        return kind - 8
    return int.from_bytes(data, "big", signed=True) if kind < len(WIDTHS) else data


def _varint(data: bytes, at: int) -> Tuple[int, int]:
    """A number of up to nine bytes, and where it ends."""
    value = 0
    for count in range(8):
        byte = data[at + count] if at + count < len(data) else 0
        value = value << 7 | byte & 127
        if byte < 128:  # noqa: PLR2004 - the last
            return value, at + count + 1
    ninth = data[at + 8] if at + 8 < len(data) else 0  # which is whole
    return value << 8 | ninth, at + 9


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")
