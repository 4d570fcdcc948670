"""What is kept for later: in memory while it is short, then in a file that has no name."""

from __future__ import annotations

import errno
import io
import tempfile
from pathlib import Path
from typing import IO, List

import pytest

from nodespec.errors import UNWRITTEN
from nodespec.output import spool
from nodespec.output.spool import Spool
from nodespec.output.writer import ReportOutput, write_documents

LINES = ["a\r\nb\n\u2028", "\udcff\U0001f600\r", "x" * 100]


@pytest.mark.parametrize("short", [0, 50, 1 << 20])
def test_what_is_read_back_is_what_was_added(short: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MAX_MEMORY_BYTES", short)
    monkeypatch.setattr(spool, "READ_CHARS", 7)
    kept = Spool(str(tmp_path / "report"))
    for line in LINES * 9:
        kept.add(line)
    assert (kept.file is None) == (short == 1 << 20)
    assert kept.size <= short
    assert "".join(kept.text()) == "".join(LINES * 9)
    assert not [*tmp_path.iterdir()]


def test_nothing_is_nothing() -> None:
    assert "".join(Spool().text()) == ""


def test_it_lies_where_it_will_go_or_else_where_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MAX_MEMORY_BYTES", 1)
    asked: List[object] = []

    def nowhere(dir: object = None) -> IO[bytes]:  # noqa: A002 - its name
        asked.append(dir)
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "TemporaryFile", nowhere)
    for goal, folder in ((tmp_path / "new", [str(tmp_path), None]), (Path("/dev/null"), [None, None])):
        kept = Spool(str(goal))
        kept.add("long")
        assert asked == folder
        assert "".join(kept.text()) == "long"
        asked.clear()


def test_a_report_for_which_there_was_no_room_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    full, fine = Spool(), Spool()
    full.file = Full()
    monkeypatch.setattr(spool, "MAX_MEMORY_BYTES", 1)
    for kept in (full, fine):
        kept.add("some")
        kept.add("more")
    goals = [ReportOutput("text", str(tmp_path / name)) for name in ("full", "fine")]
    assert write_documents(zip(goals, (full.text(), fine.text())), 0) == UNWRITTEN
    assert [path.name for path in tmp_path.iterdir()] == ["fine"]
    assert (tmp_path / "fine").read_text() == "somemore"
    assert "full: not written: No space left on device" in capsys.readouterr().err
