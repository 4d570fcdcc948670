from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from nodespec.__main__ import main
from nodespec.author.commands.lint import LintMessage, format_annotation

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "nodespec: 1\nrequire: {cpu: {count: '>=1'}}\n"
BAD = "nodespec: 1\nrequire: {cpuu: {count: '>=1'}}\n"


@pytest.fixture
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "specs" / "site").mkdir(parents=True)
    (tmp_path / "specs" / "good.yaml").write_text(GOOD)
    (tmp_path / "specs" / "site" / "bad.yml").write_text(BAD)
    (tmp_path / "specs" / "waivers.yaml").write_text("nodespec-waivers: 1\nwaivers: []\n")
    (tmp_path / "specs" / "notes.txt").write_text("nodespec: 1\n")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("specs")
def test_a_directory_stands_for_its_specs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "specs"]) == 2
    output = capsys.readouterr()
    assert output.out == "./specs/good.yaml: 1 requirement, no errors\n"
    assert output.err.startswith("./specs/site/bad.yml:2:11: ")
    assert output.err.count("\n") == 1
    assert main(["lint", "empty"]) == 2
    assert capsys.readouterr().err.startswith("empty: no specs found; ")


@pytest.mark.usefixtures("specs")
def test_json_has_a_record_for_each_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "specs", "--format", "json"]) == 2
    output = capsys.readouterr()
    assert output.err == ""
    [note, error] = json.loads(output.out)
    assert note == {
        "level": "note",
        "file": "./specs/good.yaml",
        "text": "1 requirement, no errors",
        "line": 0,
        "column": 0,
    }
    assert (error["level"], error["file"], error["line"], error["column"]) == ("error", "./specs/site/bad.yml", 2, 11)
    assert main(["lint", "specs/good.yaml", "--format", "json"]) == 0


@pytest.mark.usefixtures("specs")
def test_github_gets_annotations(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "specs/", "--format", "github"]) == 2
    [note, error] = capsys.readouterr().out.splitlines()
    assert note == "::notice file=./specs/good.yaml::1 requirement, no errors"
    assert error.startswith("::error file=./specs/site/bad.yml,line=2,col=11::")


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (
            LintMessage("warning", "a,b:c.yaml", "50 %\nnext", 3, 4),
            "::warning file=a%2Cb%3Ac.yaml,line=3,col=4::50 %25%0Anext",
        ),
        (LintMessage("error", "a\n::error::b", "x"), "::error file=a%0A%3A%3Aerror%3A%3Ab::x"),
        (LintMessage("note", "a", "\x1b[31m"), "::notice file=a::\\x1b[31m"),
    ],
)
def test_an_annotation_is_escaped(message: LintMessage, line: str) -> None:
    assert format_annotation(message) == line


def test_an_unknown_family_lists_the_families(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["facts", "kernle"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("`kernle` is not a spec or a family of facts; did you mean `kernel`? The families are ")
    assert {"cgroups,", "commands,", "cpu,"} <= {*error.split()}
