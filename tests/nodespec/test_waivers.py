"""Waivers as a person writes them, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jsonschema
import pytest
import yaml

from nodespec.__main__ import main
from nodespec.author.spec.yaml_source import parse
from nodespec.errors import UsageError
from nodespec.formats.glob import matches_glob
from nodespec.judge.globs import GlobIndex
from nodespec.judge.waiver_state import FindingIndex, evaluate_waiver
from nodespec.judge.waivers import load, refuse_broad_waivers, schema
from nodespec.model.report import Finding, Waiver

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
nodespec-waivers: 1
waivers:
  - ids: [kernel.version, "modules.*"]
    hosts: [node-1*]
    reason: the vendor's kernel comes
      in March
    owner: ann@example.com
    expires: 2027-03-31
  - {ids: ["recommended.*"], hosts: ["*"], reason: trial, owner: bob, expires: "2027-01-01"}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "w.yaml"
    path.write_text(text)
    return path


def test_waivers_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    reason = "the vendor's kernel comes in March"
    assert load(str(path), parse) == (
        Waiver(("kernel.version", "modules.*"), ("node-1*",), reason, "ann@example.com", "2027-03-31", f"{path}:3:5"),
        Waiver(("recommended.*",), ("*",), "trial", "bob", "2027-01-01", f"{path}:9:5"),
    )
    assert load(str(written(tmp_path, "nodespec-waivers: 1\n")), parse) == ()


ONE = "{ids: [a], hosts: [b], reason: c, owner: d, expires: 2027-01-01}"
BAD = [
    (ONE.replace("reason: c, ", ""), "3:5: `reason` is required; a waiver has ids, hosts, reason, owner and expires"),
    (ONE.replace("reason: c", "reason: "), "3:36: `reason` must be a text that is not empty"),
    (ONE.replace("reason: c", "reason: '  '"), "3:36: `reason` must be a text that is not empty"),
    (ONE.replace("reason: c", "reason: ~"), "3:36: `reason` must be a text that is not empty"),
    (ONE.replace("owner: d, ", ""), "3:5: `owner` is required"),
    (ONE.replace("owner: d", "owner: [d]"), "3:46: `owner` must be a text that is not empty"),
    (ONE.replace(", expires: 2027-01-01", ""), "3:5: `expires` is required"),
    (ONE.replace("2027-01-01", "soon"), "3:58: `soon` is not a date; write it as in 2026-12-31"),
    (ONE.replace("2027-01-01", "2027-02-30"), "3:58: `2027-02-30` is not a date"),
    (ONE.replace("2027-01-01", "2027-1-1"), "3:58: `2027-1-1` is not a date"),
    (ONE.replace("2027-01-01", "20270101"), "3:58: `20270101` is not a date"),
    (ONE.replace("2027-01-01", "2027-W01-1"), "3:58: `2027-W01-1` is not a date"),
    (ONE.replace("2027-01-01", "2027-01-01T00:00:00"), "3:58: `2027-01-01T00:00:00` is not a date"),
    (ONE.replace("ids: [a], ", ""), "3:5: `ids` is required"),
    (ONE.replace("[a]", "a"), "3:11: must be a list"),
    (ONE.replace("[a]", "[]"), "3:11: the list must not be empty"),
    (ONE.replace("[a]", "['*']"), "3:12: `*` waives every requirement; name the requirements that may fail"),
    (ONE.replace("[a]", "[a, '**']"), "3:15: `**` waives every requirement"),
    (ONE.replace("[a]", "['*.*']"), "3:12: `*.*` waives every requirement"),
    (ONE.replace("[a]", "[*]"), "3:12: text that begins with `*` must be quoted"),
    (ONE.replace("[a]", "[{a: b}]"), "3:12: `ids` must be a text that is not empty"),
    (ONE.replace("hosts: [b], ", ""), "3:5: `hosts` is required"),
    (ONE.replace("hosts: [b]", "hosts: []"), "3:23: the list must not be empty"),
    (ONE.replace("reason", "raison"), "3:28: unknown key `raison`; did you mean `reason`?"),
    ("waive", "3:5: a waiver must be a mapping"),
]


@pytest.mark.parametrize(("entry", "said"), BAD, ids=[said for _, said in BAD])
def test_a_bad_waiver_is_told_with_its_position(entry: str, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"nodespec-waivers: 1\nwaivers:\n  - {entry}\n")
    with pytest.raises(UsageError) as caught:
        load(str(path), parse)
    (line,) = caught.value.messages
    assert line.startswith(f"{path}:{said}"), line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1:1: the document is empty"),
        ("[]", "1:1: a file of waivers must be a mapping with the key `nodespec-waivers: 1`"),
        ("waivers: []", "1:1: `nodespec-waivers: 1` is required"),
        ("nodespec-waivers: 2", "1:19: `nodespec-waivers: 1` is required"),
        ("nodespec: 1\nrequire: {cpu: {count: 2}}", "1:1: unknown key `nodespec`"),
        ("nodespec-waivers: 1\nwaivers: {a: b}", "2:10: must be a list"),
    ],
)
def test_a_file_that_holds_no_waivers(text: str, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        load(str(path), parse)
    assert caught.value.messages[0].startswith(f"{path}:{said}")


def test_every_bad_waiver_is_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, f"nodespec-waivers: 1\nwaivers:\n  - {BAD[0][0]}\n  - {ONE}\n  - {BAD[1][0]}\n")
    with pytest.raises(UsageError) as caught:
        load(str(path), parse)
    assert [line.split(":")[1] for line in caught.value.messages] == ["3", "5"]


@pytest.mark.parametrize(
    ("path", "said"),
    [("/nowhere/w.yaml", "No such file or directory"), ("/", "Is a directory"), ("/dev/zero", "larger")],
)
def test_a_file_that_cannot_be_read(path: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load(path)


def test_the_schema_takes_what_the_loader_takes() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    validator = jsonschema.Draft202012Validator(schema())
    validator.validate(yaml.load(GOOD, Loader=yaml.BaseLoader) | {"nodespec-waivers": 1})  # noqa: S506
    caught = 0
    for entry, _ in BAD:
        try:
            text = yaml.load(f"nodespec-waivers: 1\nwaivers:\n  - {entry}\n", Loader=yaml.BaseLoader)  # noqa: S506
        except yaml.YAMLError:
            continue
        caught += not validator.is_valid({**text, "nodespec-waivers": 1})
    assert caught >= 15


# what a glob covers


def waived(*ids: str) -> Waiver:
    return Waiver(ids, ("*",), "trial", "bob", "2031-01-01", "w.yaml:3:5")


IDS = [f"kernel.config.O{n}" for n in range(6)] + [f"modules.m{n}" for n in range(6)]


@pytest.mark.parametrize(
    ("globs", "covered"),
    [(["*e*"], 12), (["*o*"], 12), (["*e*", "*o*"], 12), (["m*", "k*"], 12), (["*.m*", "k*"], 12), (["k*", "*m5"], 7)],
)
def test_a_waiver_that_covers_nearly_everything_is_refused(globs: list[str], covered: int) -> None:
    with pytest.raises(UsageError, match=f"w.yaml:3:5: .* covers {covered} of 12 requirements; name"):
        refuse_broad_waivers([waived(*globs)], IDS)


@pytest.mark.parametrize("globs", [["k*"], ["*m1*"], ["kernel.*", "modules.*"], IDS, ["kernel.config.*", "*m5"]])
def test_a_waiver_that_names_what_may_fail_is_taken(globs: list[str]) -> None:
    refuse_broad_waivers([waived(*globs)], IDS)


def test_of_few_requirements_only_all_of_them_are_too_many() -> None:
    refuse_broad_waivers([waived("*m*")], ["modules.a", "modules.b", "os.id"])
    refuse_broad_waivers([waived("*")], ["modules.a"])
    with pytest.raises(UsageError):
        refuse_broad_waivers([waived("*o*")], ["modules.a", "modules.b", "os.id"])


@pytest.mark.parametrize(("count", "refused"), [(9, False), (10, True), (11, True)])
def test_from_ten_requirements_on_more_than_half_are_too_many(count: int, *, refused: bool) -> None:
    ids = [f"modules.a{n}" for n in range(count - 2)] + ["os.id", "cpu.count"]
    if refused:
        with pytest.raises(UsageError):
            refuse_broad_waivers([waived("*a*")], ids)
    else:
        refuse_broad_waivers([waived("*a*")], ids)


def test_lint_counts_what_each_glob_covers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, GOOD)
    spec = tmp_path / "s.yaml"
    spec.write_text("nodespec: 1\nrequire: {kernel: {version: '>=5'}, modules: {overlay: usable, veth: usable}}\n")
    assert main(["lint", str(spec), "--waivers", str(path)]) == 0
    said = capsys.readouterr().out
    assert f"{path}:3:5: kernel.version covers 1, modules.* covers 2 of 3 requirements" in said


def test_check_refuses_a_waiver_that_covers_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, GOOD.replace('[kernel.version, "modules.*"]', '["*e*"]'))
    assert main(["check", "kubernetes/1.35", "--image", "/", "--waivers", str(path)]) == 2
    assert "`*e*` covers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("glob", "name", "selected"),
    [
        ("*", "", True),
        ("a*", "a", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*c", "abc", True),
        ("a*b*c", "acb", False),
        ("*ab*ab*", "ab", False),
        ("*ab*ab*", "xababx", True),
        ("a.b", "axb", False),
        ("a*", "a\nb", True),
    ],
)
def test_a_glob_selects_what_it_selects_in_any_way_of_looking(glob: str, name: str, *, selected: bool) -> None:
    assert matches_glob(glob, name) is selected
    assert GlobIndex(["other", name, "x.y"]).find_matches(glob).count(name) == selected


@pytest.mark.parametrize(("today", "state"), [("2026-11-20", "void"), ("2026-11-21", "valid"), ("2026-11-22", "valid")])
def test_waivers_are_believed_from_the_day_of_the_release_on(today: str, state: str) -> None:
    failing = Finding("os.id", "required", "fail", "enforced", "", "", "", "", (), ())
    made = evaluate_waiver(waived("os.id"), FindingIndex([failing]), ("x",), today, "2026-11-21")
    assert made.state == state
