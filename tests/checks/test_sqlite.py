from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import List, Tuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodespec.checks._sqlite import Row, SqliteDatabase

SIZES = [512, 1024, 4096, 65536]
SLOW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
BLOBS = st.lists(st.integers(0, 9000).map(os.urandom), max_size=24)


def made(path: Path, page: int, blobs: List[bytes], *, logged: int = 0) -> Tuple[bytes, bytes]:
    """A database with a row a blob, and its log, in which the last `logged` rows still are."""
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size = {page}")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("CREATE TABLE other (x)")
    connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
    connection.execute("CREATE TABLE Name (key TEXT NOT NULL, hnum INTEGER NOT NULL)")
    for number, blob in enumerate(blobs):
        if number == len(blobs) - logged:
            connection.execute("PRAGMA wal_checkpoint(RESTART)")
        connection.execute("INSERT INTO Packages (blob) VALUES (?)", (blob,))
        connection.execute("INSERT INTO Name VALUES (?, ?)", (f"name-{number}", number))
    if not logged:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    read = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    connection.close()
    return read


def blobs_of(database: SqliteDatabase) -> List[object]:
    return [row[1] for row in database.rows("Packages")]


@SLOW
@given(st.sampled_from(SIZES), BLOBS)
def test_what_sqlite_writes_is_read(tmp_path: Path, page: int, blobs: List[bytes]) -> None:
    data, log = made(tmp_path / "db", page, blobs)
    assert log == b""
    database = SqliteDatabase(data)
    assert blobs_of(database) == blobs
    assert [row[:2] for row in database.rows("Name")] == [(f"name-{n}".encode(), n) for n in range(len(blobs))]


@SLOW
@given(st.sampled_from(SIZES), BLOBS, st.integers(0, 6))
def test_what_is_committed_to_the_log_is_read_too(tmp_path: Path, page: int, blobs: List[bytes], logged: int) -> None:
    data, log = made(tmp_path / "db", page, blobs, logged=max(1, min(logged, len(blobs))))
    assert log
    assert blobs_of(SqliteDatabase(data, log)) == blobs


def test_many_rows_take_pages_that_lead_to_pages(tmp_path: Path) -> None:
    blobs = [b"%d" % number for number in range(5000)]
    data, _ = made(tmp_path / "db", 512, blobs)
    assert blobs_of(SqliteDatabase(data)) == blobs


def test_what_was_not_committed_is_not_there(tmp_path: Path) -> None:
    data, log = made(tmp_path / "db", 512, [b"a" * 2000, b"b" * 2000], logged=1)
    for frames in (0, 1, 3):  # of the five or more that the second row takes
        assert blobs_of(SqliteDatabase(data, log[: 32 + frames * (24 + 512)])) == [b"a" * 2000]


def test_what_an_older_log_has_left_is_not_read(tmp_path: Path) -> None:
    data, log = made(tmp_path / "db", 512, [b"a" * 2000, b"b" * 2000], logged=1)
    stale = log[:16] + bytes(8) + log[24:]
    assert blobs_of(SqliteDatabase(data, stale)) == [b"a" * 2000]


def test_numbers_are_signed_and_nothing_is_none(tmp_path: Path) -> None:
    path = tmp_path / "db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (a, b, c, d, e, f, g)")
    connection.execute("INSERT INTO t VALUES (0, 1, -2, 300000000000, NULL, 'x', -9223372036854775808)")
    connection.commit()
    connection.close()
    rows: List[Row] = list(SqliteDatabase(path.read_bytes()).rows("t"))
    assert [row[:7] for row in rows] == [(0, 1, -2, 300000000000, None, b"x", -(2**63))]


@pytest.mark.parametrize("data", [b"", b"SQLite format 3\0", b"SQLite format 3\0\0\3" + bytes(4096), bytes(4096)])
def test_what_is_no_database_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(ValueError, match="not an SQLite database"):
        list(SqliteDatabase(data).rows("Packages"))


def test_a_table_that_is_not_there_is_missed(tmp_path: Path) -> None:
    data, _ = made(tmp_path / "db", 512, [b""])
    with pytest.raises(ValueError, match="table Packagez not found"):
        list(SqliteDatabase(data).rows("Packagez"))


def test_pages_that_lead_back_do_not_hang(tmp_path: Path) -> None:
    data, _ = made(tmp_path / "db", 512, [b"x" * 3000])
    pages = [bytearray(data[at : at + 512]) for at in range(0, len(data), 512)]
    for number, page in enumerate(pages[1:], 2):
        if int.from_bytes(page[:4], "big") == number + 1:  # a link of a chain: to itself
            page[:4] = number.to_bytes(4, "big")
    with pytest.raises(ValueError, match="is damaged"):
        list(SqliteDatabase(b"".join(pages)).rows("Packages"))


@SLOW
@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=12), st.integers(0, 1 << 16))
def test_no_damage_is_too_strange(tmp_path: Path, spoils: List[Tuple[int, int]], end: int) -> None:
    data, log = made(tmp_path / "db", 512, [b"x" * size for size in (1, 700, 3000)], logged=1)
    spoilt = [bytearray(data), bytearray(log)]
    for at, byte in spoils:
        for part in spoilt:
            part[at % len(part)] = byte
    with suppress(ValueError, LookupError):
        database = SqliteDatabase(bytes(spoilt[0])[: max(end % len(data), 512)], bytes(spoilt[1]))
        assert len(list(database.rows("Packages"))) < len(data)
