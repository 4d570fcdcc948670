"""Many recordings: judged side by side, told in the order of their names, watched on a terminal."""

from __future__ import annotations

import json
import os
import pickle
import pty
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, List

import pytest
from made_recordings import write_recordings
from unhurried import PROGRAM

from nodespec.author.spec.library import Library
from nodespec.author.spec.resolver import resolve
from nodespec.errors import UsageError
from nodespec.judge.fleet_summary import Gist
from nodespec.judge.judge import Terms
from nodespec.judge.memo import MemoizedPlan
from nodespec.output import writer
from nodespec.output.spool import make_stream
from nodespec.output.writer import list_formats
from nodespec.recording.file import list_recordings
from nodespec.run import fleet

if TYPE_CHECKING:
    from io import FileIO

TOP = Path(__file__).parents[2]
COUNT = fleet.MIN_PARALLEL_RECORDINGS + 9
CODE = """
import os, sys
from nodespec.__main__ import main
forks, fork = [], os.fork
os.fork = lambda: (forks.append(1), fork())[1]
os.sched_getaffinity = lambda pid: {*range(int(sys.argv[1]))}
code = main(sys.argv[2:])
sys.exit(code + 100 * bool(forks))
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings, of which the seventh is damaged."""
    folder = write_recordings(tmp_path_factory.mktemp("many"), COUNT, "20Gi")
    damaged = folder / "007.json"
    damaged.write_text(damaged.read_text()[:40])
    return folder


def check(many: Path, processors: int, *args: str) -> subprocess.CompletedProcess[str]:
    spec = str(many / "spec.yaml")
    return subprocess.run(
        [sys.executable, "-c", CODE, str(processors), "check", spec, "--facts", str(many), *args],
        env={"PYTHONPATH": str(TOP), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_side_by_side_gives_what_one_after_the_other_gives(many: Path) -> None:
    together, alone = (check(many, processors, "-o", "json") for processors in (2, 1))
    assert (together.returncode, alone.returncode) == (102, 2), together.stderr
    assert together.stderr == alone.stderr
    assert f"{many}/007.json: not a recording" in together.stderr
    assert f"1 of {COUNT} recordings not judged" in together.stderr
    found, wanted = (json.loads(done.stdout)["reports"] for done in (together, alone))
    assert [one["host"]["name"] for one in found] == [f"node-{n}" for n in range(COUNT) if n != 7]
    assert [{**one, "time": ""} for one in found] == [{**one, "time": ""} for one in wanted]
    assert all(one["plan"]["requirements"] for one in found)


def said(screen: FileIO) -> bytes:
    """A piece of what was said on a terminal; nothing once it was closed and all is read."""
    try:
        return screen.read(1 << 16)
    except OSError:
        return b""


def test_every_format_is_the_same_side_by_side(many: Path, tmp_path: Path) -> None:
    texts = []
    for processors in (2, 1):
        files = {name: tmp_path / f"{processors}.{name}" for name in list_formats()}
        done = check(many, processors, *(word for name, file in files.items() for word in ("-o", f"{name}={file}")))
        assert done.returncode % 100 == 2, done.stderr
        assert not done.stdout
        texts.append(
            {name: re.sub(r"\d{4}-\d\d-\d\dT[\d:]{8}Z?", "", file.read_text()) for name, file in files.items()}
        )
    assert texts[0] == texts[1]
    assert all(f"node-{number}" in text for text in texts[0].values() for number in range(COUNT) if number != 7)


def bench(many: Path, *names: str) -> fleet.FleetTask:
    plan = resolve([str(many / "spec.yaml")], Library(), {})
    streams = tuple(make_stream(writer.ReportOutput(name), every=False) for name in names)
    return fleet.FleetTask(plan, Terms(0), {"running": MemoizedPlan(plan)}, streams)


def test_no_report_is_kept_unless_a_format_wants_all_at_once(many: Path) -> None:
    for names, whole in ((("text", "json"), False), ((), False), (("text", "html"), True)):
        by = bench(many, *names)
        told = [
            one
            for one in map(partial(fleet._judge_guarded, by), list_recordings(str(many)))  # noqa: SLF001
            if isinstance(one, fleet.JudgedHost)
        ]
        assert len(told) == COUNT - 1
        assert {one.report is not None for one in told} == {whole}
        assert {len(one.parts) for one in told} == {len({*names} & {"text", "json"})}


def test_what_hosts_have_in_common_is_kept_once(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gists: List[Gist] = []
    monkeypatch.setattr(fleet, "write_documents", lambda _documents, code, *_rest: code)
    monkeypatch.setattr(fleet, "_iter_document", lambda _way, _spool, found: gists.extend(found))
    with pytest.raises(UsageError):
        fleet._judge_all(bench(many, "text"), list_recordings(str(many)), [writer.ReportOutput("text")], every=False)  # noqa: SLF001
    assert len(gists) == COUNT - 1
    assert len({id(one.causes) for one in gists}) == len({id(one.headline) for one in gists}) == 2
    assert len(pickle.dumps(gists[-1])) < 2000


def test_a_bar_grows_on_a_terminal_and_leaves_nothing(many: Path) -> None:
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as screen:
        with open(theirs, "wb") as terminal:
            spec, env = str(many / "spec.yaml"), {**os.environ, "PYTHONPATH": str(TOP)}
            argv = [*PROGRAM, "check", spec, "--facts", str(many), "-o", "text=/dev/null"]
            done = subprocess.run(argv, cwd="/", env=env, stderr=terminal, check=False)
        shown = "".join(piece.decode() for piece in iter(lambda: said(screen), b""))
    assert done.returncode == 2
    assert shown.count("\r[") == fleet.BAR_COLUMNS + 1
    assert f"[{'#' * fleet.BAR_COLUMNS}] {COUNT} of {COUNT} recordings\r\x1b[K" in shown


def test_where_no_process_can_be_begun_one_judges_them_all(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> int:
        raise OSError("no more processes")

    monkeypatch.setattr(os, "fork", none)
    before = os.listdir("/proc/self/fd")
    found = list(fleet._judge_in_parallel(bench(many), list_recordings(str(many)), 2))  # noqa: SLF001
    assert len(found) == COUNT
    assert len(os.listdir("/proc/self/fd")) == len(before)
