"""This version reads what earlier versions wrote: reports, recordings, plans and bundles. make.py wrote them."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, cast

import pytest

from nodespec.__main__ import main
from nodespec.author.spec.library import Library
from nodespec.author.spec.resolver import resolve
from nodespec.model import plan as plans
from nodespec.model import plan_json
from nodespec.model.json_types import Json

HERE = Path(__file__).parent
VERSIONS = sorted(path for path in HERE.iterdir() if (path / "reports").is_dir())
EXIT = {"conformant": 0, "indeterminate": 11, "nonconformant": 10}
SEVERITY = (0, 11, 10)


def files(kind: str) -> List[str]:
    return [str(path.relative_to(HERE)) for version in VERSIONS for path in sorted((version / kind).iterdir())]


def report_file(name: str, folder: Path) -> str:
    """A report of an earlier version, as that version wrote it."""
    path = folder / "report.json"
    path.write_bytes(gzip.decompress((HERE / name).read_bytes()))
    return str(path)


def contents(path: str) -> List[Dict[str, Json]]:
    return cast("List[Dict[str, Json]]", json.loads(Path(path).read_text(encoding="utf-8"))["reports"])


def test_there_are_files_of_every_kind() -> None:
    assert [path.name for path in VERSIONS] == ["557f55d"]
    assert len(files("reports")) == 17
    assert len(files("recordings")) == 9
    assert len(files("plans")) == 4


@pytest.mark.parametrize("name", files("reports"))
def test_a_report_of_an_earlier_version_is_rendered(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = report_file(name, tmp_path)
    before = contents(path)
    worst = max((EXIT[cast("str", one["conclusion"])] for one in before), key=SEVERITY.index)
    assert main(["report", path, "-o", f"json={tmp_path}/again.json"]) == worst
    assert [{name: one[name] for name in old} for one, old in zip(contents(f"{tmp_path}/again.json"), before)] == before
    capsys.readouterr()
    assert main(["report", path, "-o", "text"]) == worst
    said = capsys.readouterr().out
    assert all(cast("str", one["conclusion"]) in said.lower() for one in before)


@pytest.mark.parametrize("name", files("reports"))
def test_a_report_of_an_earlier_version_is_verified(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", report_file(name, tmp_path)]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", files("recordings"))
def test_a_recording_of_an_earlier_version_is_judged(name: str, tmp_path: Path) -> None:
    """The fleet report of that version holds the findings that its own judgment of the recording gave."""
    made = tmp_path / "made.json"
    spec, waivers = str(HERE / "node.yaml"), str(HERE / "waivers.yaml")
    done = main(["check", spec, "--facts", str(HERE / name), "--waivers", waivers, "-o", f"json={made}"])
    (report,) = contents(str(made))
    fleet = contents(report_file(f"{name.split('/', maxsplit=1)[0]}/reports/fleet.json.gz", tmp_path))
    (before,) = (one for one in fleet if str(one["door"]).endswith(Path(name).name))
    assert done == EXIT[cast("str", before["conclusion"])]
    assert outcomes(report) == outcomes(before)
    assert report["host"] == {**cast("Dict[str, Json]", report["host"]), **cast("Dict[str, Json]", before["host"])}


def outcomes(report: Dict[str, Json]) -> Dict[Json, Json]:
    return {one["id"]: one["outcome"] for one in cast("List[Dict[str, Json]]", report["findings"])}


@pytest.mark.parametrize("name", files("plans"))
def test_a_plan_of_an_earlier_version_is_read(name: str) -> None:
    data = cast("Dict[str, Json]", json.loads((HERE / name).read_text(encoding="utf-8")))
    plan = plans.decode_plan(data)
    packed = plan_json.encode_plan(plan)
    assert {key: packed[key] for key in data} == data
    if len(plan.specs) == 1:
        assert plans.compute_digest(plan.requirements, plan.params) == plan.specs[0].digest


@pytest.mark.parametrize("version", [path.name for path in VERSIONS])
def test_a_bundle_of_an_earlier_version_runs(version: str, tmp_path: Path) -> None:
    """Its report is what the version of its time wrote, and this version verifies it."""
    bundle = tmp_path / "preflight"
    bundle.write_bytes(gzip.decompress((HERE / version / "preflight.gz").read_bytes()))
    recording = str(HERE / version / "recordings/running-small.json")
    command = [sys.executable, "-I", str(bundle), "check", "--facts", recording, "-o", f"json={tmp_path}/made.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 10, done.stderr
    (report,) = contents(f"{tmp_path}/made.json")
    (before,) = contents(report_file(f"{version}/reports/recorded.json.gz", tmp_path))
    assert outcomes(report) == outcomes(before)
    assert main(["verify", f"{tmp_path}/made.json"]) == 0


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("report", {"more": 1}),
        ("report", {"host": {"name": "n", "more": "x"}}),
        ("report", {"plan": {"nodespec": 2, "specs": [], "params": [], "requirements": []}}),
        ("recording", {"nodespec-facts": 2}),
        ("recording", {"host": {"name": "n", "more": "x"}}),
    ],
)
def test_what_only_a_later_version_can_read_is_refused(
    kind: str, change: Dict[str, Json], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, spec = tmp_path / "later.json", str(HERE / "node.yaml")
    if kind == "report":
        (report,) = contents(report_file("557f55d/reports/conformant.json.gz", tmp_path))
        report.update(change)
        path.write_text(json.dumps({"nodespec": 1, "reports": [report]}), encoding="utf-8")
    else:
        recording = json.loads((HERE / "557f55d/recordings/running-small.json").read_text(encoding="utf-8"))
        path.write_text(json.dumps({**recording, **change}), encoding="utf-8")
    assert main(["verify", str(path)] if kind == "report" else ["check", spec, "--facts", str(path)]) == 2
    assert "later.json" in capsys.readouterr().err or kind == "report"


def test_a_plan_with_further_keys_is_read() -> None:
    data = cast("Dict[str, Json]", json.loads((HERE / "557f55d/plans/running.json").read_text(encoding="utf-8")))
    assert plans.decode_plan({**data, "more": 1}) == plans.decode_plan(data)


def test_the_digest_of_a_spec_is_that_of_the_earlier_version() -> None:
    data = json.loads((HERE / "557f55d/plans/running.json").read_text(encoding="utf-8"))
    assert resolve([str(HERE / "node.yaml")], Library(), {}).specs[0].digest == data["specs"][0]["digest"]


def test_a_spec_in_another_version_of_the_language_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "later.yaml"
    path.write_text((HERE / "node.yaml").read_text(encoding="utf-8").replace("nodespec: 1", "nodespec: 2"))
    assert main(["lint", str(path)]) == 2
    assert "nodespec: 1" in capsys.readouterr().err
