"""Two runs at once disturb nothing: they share no files but the outputs that both are told to write."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import List

TOP = Path(__file__).parents[2]


def start(*args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-B", "-m", "nodespec", *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=TOP)


def finish(runs: List[subprocess.Popen[str]]) -> List[str]:
    outputs = []
    for run in runs:
        output, errors = run.communicate(timeout=120)
        assert errors == ""
        outputs.append(output)
    return outputs


def test_two_checks_agree_and_leave_the_directory_as_it_was(tmp_path: Path) -> None:
    spec = tmp_path / "node.yaml"
    spec.write_text("nodespec: 1\nrequire: {cpu: {count: '>=1'}}\n")
    runs = [start("check", str(spec), "-o", "json") for _ in range(4)]
    findings = [json.loads(output)["reports"][0]["findings"] for output in finish(runs)]
    assert all(run.returncode == 0 for run in runs)
    assert all(one == findings[0] for one in findings)
    assert [path.name for path in tmp_path.iterdir()] == ["node.yaml"]


def test_two_runs_that_write_one_file_leave_one_whole_report(tmp_path: Path) -> None:
    spec, report = tmp_path / "node.yaml", tmp_path / "report.json"
    spec.write_text("nodespec: 1\nrequire: {cpu: {count: '>=1'}}\n")
    for _ in range(3):
        runs = [start("check", str(spec), "-o", "text", "-o", f"json={report}") for _ in range(2)]
        finish(runs)
        assert all(run.returncode == 0 for run in runs)
        assert json.loads(report.read_text())["reports"][0]["conclusion"] == "conformant"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["node.yaml", "report.json"]
