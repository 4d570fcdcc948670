"""What nodespec does at a terminal: width, color, links, progress, and files instead of standard output."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Dict, Mapping, Sequence, Set

import pytest

from nodespec.__main__ import main
from nodespec.entry import has_verdict
from nodespec.model.report import Style
from nodespec.output.writer import make_style
from nodespec.run import trace
from nodespec.run.progress import show_progress

TOP = Path(__file__).parents[2]
SPEC = "nodespec: 1\nrequire: {cpu: {count: '>=1'}}\n"
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "TERM")}


class Screen(io.StringIO):
    """A terminal without a file descriptor."""

    def isatty(self) -> bool:
        return True


def run_in_terminal(args: Sequence[str], columns: int, env: Mapping[str, str]) -> str:
    """Return what a program prints on a pseudoterminal of this width."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-B", "-m", "nodespec", *args]
    with subprocess.Popen(
        command, stdout=follower, stderr=follower, stdin=follower, cwd=TOP, env={**ENVIRONMENT, **env}
    ) as child:
        os.close(follower)
        output = b""
        try:
            while block := os.read(leader, 65536):
                output += block
        except OSError:  # EIO: the child closed the terminal.
            pass
        child.wait()
    os.close(leader)
    return output.decode()


@pytest.mark.parametrize(
    ("env", "terminal", "style"),
    [
        ({"TERM": "xterm"}, True, Style(colour=True, width=80, links=True)),
        ({"TERM": "dumb"}, True, Style(colour=False, width=100, links=False)),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, Style(colour=False, width=80, links=True)),
        ({"TERM": "xterm", "COLUMNS": "132"}, True, Style(colour=True, width=132, links=True)),
        ({"TERM": "xterm", "COLUMNS": "0"}, True, Style(colour=True, width=80, links=True)),
        ({"COLUMNS": "60"}, False, Style(colour=False, width=60, links=False)),
        ({"COLUMNS": "x"}, False, Style(colour=False, width=100, links=False)),
        ({"COLUMNS": "10"}, False, Style(colour=False, width=40, links=False)),
        ({}, False, Style(colour=False, width=100, links=False)),
        ({"FORCE_COLOR": "1"}, False, Style(colour=True, width=100, links=False)),
        ({"FORCE_COLOR": "0"}, False, Style(colour=False, width=100, links=False)),
        ({"CLICOLOR_FORCE": "1"}, False, Style(colour=True, width=100, links=False)),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, Style(colour=False, width=100, links=False)),
    ],
)
def test_the_style_follows_terminal_and_environment(
    env: Dict[str, str], terminal: object, style: Style, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert make_style(Screen() if terminal else io.StringIO(), every=False) == style


def test_a_terminal_of_no_columns_has_80(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text(
        "nodespec: 1\nrequire: {cpu: {count: {is: '>=1', why: " + "word " * 60 + "}}}\n"
    )
    for columns, widest in ((0, 80), (60, 60)):
        text = run_in_terminal(["check", f"{tmp_path}/node.yaml", "--all", "--strict"], columns, {"TERM": "xterm"})
        plain = re.sub(r"\x1b\[[\d;]*[mK]", "", text)
        lines = [line for line in plain.splitlines() if str(tmp_path) not in line]
        assert lines
        assert max(map(len, lines)) <= widest


def test_a_link_of_a_terminal_is_an_osc_8_sequence(tmp_path: Path) -> None:
    url = "https://example.org/a"
    (tmp_path / "node.yaml").write_text(f"nodespec: 1\nrequire: {{cpu: {{count: {{is: '>=100000', see: '{url}'}}}}}}\n")
    text = run_in_terminal(["check", f"{tmp_path}/node.yaml", "--all"], 80, {"TERM": "xterm"})
    assert f"\x1b]8;;{url}\x1b\\{url}\x1b]8;;\x1b\\" in text
    assert "\x1b]8" not in run_in_terminal(["check", f"{tmp_path}/node.yaml", "--all"], 80, {"TERM": "dumb"})


def test_html_is_not_printed_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text(SPEC)
    text = run_in_terminal(["check", f"{tmp_path}/node.yaml", "-o", "html"], 80, {})
    assert "-o html: standard output is a terminal; write -o html=report.html" in text
    assert "<html" not in text


def test_reports_that_go_only_to_files_leave_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, report = tmp_path / "node.yaml", tmp_path / "r.json"
    spec.write_text(SPEC)
    assert main(["check", str(spec), "-o", f"json={report}", "-o", f"html={tmp_path}/r.html"]) == 0
    output = capsys.readouterr()
    assert output.out == ""
    assert (
        output.err == f"nodespec: conformant: all pass; 1 requirement; exit 0; reports: {report}, {tmp_path}/r.html\n"
    )
    assert main(["report", str(report), "-o", "text=/dev/null"]) == 0
    assert capsys.readouterr().err.endswith("exit 0; reports: /dev/null\n")


def test_a_dash_is_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "node.yaml").write_text(SPEC)
    assert main(["check", f"{tmp_path}/node.yaml", "-o", "json=-"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["reports"][0]["conclusion"] == "conformant"
    assert output.err == ""
    for args, start in (
        (["facts", "cpu.count", "-o", "-"], b"{"),
        (["bundle", f"{tmp_path}/node.yaml", "-o", "-"], b"#!"),
    ):
        command = [sys.executable, "-B", "-m", "nodespec", *args]
        assert subprocess.run(command, capture_output=True, cwd=TOP, check=True).stdout.startswith(start)


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("check a", True),
        ("report a", True),
        ("verify a", True),
        ("diff a b", True),
        ("lint a", True),
        ("", True),
        ("facts", False),
        ("explain kernel", False),
        ("specs", False),
        ("schema", False),
        ("help", False),
        ("check --help", False),
    ],
)
def test_only_a_verdict_is_lost_with_a_closed_pipe(line: str, verdict: object) -> None:
    assert has_verdict(line.split()) == verdict


@pytest.mark.parametrize(
    ("line", "codes"),
    [("explain", {0}), ("schema", {0}), ("facts cpu", {0}), ("check container-host", {74, 10, 11})],
)
def test_a_closed_pipe(line: str, codes: Set[int]) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-B", "-m", "nodespec", *line.split()]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, cwd=TOP, check=False)
    os.close(write)
    assert done.stderr == ""
    assert done.returncode in codes


def test_verbose_prints_each_observation_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "node.yaml").write_text(
        "nodespec: 1\nrequire: {cpu: {count: '>=1'}, sysctl: {kernel.pid_max: '>=1'}}\n"
    )
    assert main(["check", f"{tmp_path}/node.yaml", "--verbose"]) == 0
    lines = capsys.readouterr().err.splitlines()
    counted = [line for line in lines if " observe cpu.count: " in line]
    assert len(counted) == 1
    assert re.fullmatch(r"nodespec: observe cpu\.count: \d+  # /\S+  \(\d+\.\d ms\)", counted[0])
    assert sum(" observe sysctl.kernel.pid_max: " in line for line in lines) == 1
    assert main(["check", f"{tmp_path}/node.yaml"]) == 0
    assert capsys.readouterr().err == ""


def test_verbose_has_a_priority_in_the_journal(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text(SPEC)
    with (tmp_path / "journal").open("wb") as journal:
        status = os.fstat(journal.fileno())
        env = {**ENVIRONMENT, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        command = [sys.executable, "-B", "-m", "nodespec", "check", f"{tmp_path}/node.yaml", "--verbose"]
        subprocess.run(command, stderr=journal, stdout=subprocess.DEVNULL, env=env, cwd=TOP, check=True)
    lines = (tmp_path / "journal").read_text().splitlines()
    assert lines
    assert all(line.startswith("<7>nodespec: observe ") for line in lines)


def test_a_sensitive_value_is_not_traced() -> None:
    from nodespec.model.observation import Evidence, Value  # noqa: PLC0415 - only this test needs them

    text = trace.format_observation(Value("secret", Evidence("/etc/x", 3)), sensitive=True)
    assert text == "(not shown)  # /etc/x:3"


def test_progress_is_shown_after_a_second_and_erased(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    with show_progress("observing /"):
        pass
    assert screen.getvalue() == ""
    monkeypatch.setattr("nodespec.run.progress.DELAY_SECONDS", 0.01)
    with show_progress("observing /"):
        while "observing" not in screen.getvalue():
            pass
    assert screen.getvalue().startswith("\r\x1b[Knodespec: observing /: 0 s")
    assert screen.getvalue().endswith("\r\x1b[K")


def test_a_report_that_was_not_written_is_not_named_as_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "node.yaml").write_text(SPEC)
    assert main(["check", f"{tmp_path}/node.yaml", "-o", f"json={tmp_path}/none/r.json"]) == 74
    assert "reports:" not in capsys.readouterr().err
