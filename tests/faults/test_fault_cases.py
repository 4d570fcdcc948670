"""Each case of this directory gives its verdict through the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Sequence, Tuple

import pytest
from fault_cases import Case, judge_case, load_bases, load_cases, remove_folder, run_program

from nodespec.__main__ import main


def marked(case: Case) -> object:
    return pytest.param(case, id=case.name, marks=[pytest.mark.root] if case.data.get("run_as") else [])


@pytest.mark.parametrize("case", [marked(case) for case in load_cases()])
def test_case_gives_its_verdict(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def run_here(args: Sequence[str]) -> Tuple[int, str, str]:
        capfd.readouterr()
        return (main(list(args)), *capfd.readouterr())

    user = case.data.get("run_as", "")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    run = run_program([sys.executable, "-m", "nodespec"], user) if user else run_here
    verdict = judge_case(case, run, tmp_path / "case", load_bases())
    remove_folder(tmp_path / "case")
    assert not verdict.differences, "\n".join(verdict.differences)
