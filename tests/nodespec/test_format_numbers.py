"""Documents of a newer nodespec are refused with a sentence, and unknown words name a newer version."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Callable, Dict

import pytest
from pretended import Shelf, planned

from nodespec import __version__
from nodespec.author.commands.stored import load_reports
from nodespec.author.spec.resolver import resolve
from nodespec.errors import UsageError
from nodespec.model.newer import describe_newer_format
from nodespec.model.plan import decode_plan
from nodespec.model.plan_json import encode_plan
from nodespec.recording.file import load_recording

if TYPE_CHECKING:
    from pathlib import Path

NEWER = f"is newer than nodespec {__version__}, which reads 1; use a newer nodespec"


@pytest.mark.parametrize(
    ("number", "newer"), [(1, False), (2, True), ("2", True), (0, False), ("x", False), (None, False)]
)
def test_a_format_is_newer_if_its_number_is_greater(number: object, newer: bool) -> None:  # noqa: FBT001
    assert bool(describe_newer_format(number, 1)) is newer


@pytest.mark.parametrize(
    ("document", "load"), [({"nodespec-facts": 2}, load_recording), ({"nodespec": 2, "reports": []}, load_reports)]
)
def test_a_newer_file_is_refused(document: Dict[str, object], load: Callable[[str], object], tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match=f"format 2 {NEWER}"):
        load(str(path))


def test_a_newer_plan_is_refused() -> None:
    plan = encode_plan(planned(a="require: {os: {id: x}}"))
    with pytest.raises(ValueError, match=f"format 3 {NEWER}"):
        decode_plan({**plan, "nodespec": 3})


def test_a_newer_spec_is_refused() -> None:
    with pytest.raises(UsageError, match=f"the version of the spec language; format 2 {NEWER}"):
        resolve(["a"], Shelf({"a": "nodespec: 2\nrequire: {os: {id: x}}"}), {})


@pytest.mark.parametrize(
    "body", ["require: {os: {id: {beyond: x}}}", "zzz: 1", "rules: [{name: x, zzz: 1, require: {os: {id: x}}}]"]
)
def test_a_word_that_may_be_of_a_newer_version_says_so(body: str) -> None:
    with pytest.raises(UsageError, match=f"this is nodespec {__version__}, and a newer version may know it"):
        planned(a=f"nodespec: 1\n{body}")


def test_a_misspelled_word_is_corrected() -> None:
    with pytest.raises(UsageError, match=r"unknown operator `witin`; did you mean `within`\?$"):
        planned(a="require: {os: {id: {witin: x}}}")
