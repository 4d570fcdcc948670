"""This version reads what earlier versions wrote: reports, recordings, plans and bundles. make.py wrote them."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, cast

import pytest

from nodespec import plan as plans
from nodespec.__main__ import main
from nodespec.report import Json

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
    plan = plans.unpacked(data)
    packed = plans.packed(plan)
    assert {key: packed[key] for key in data} == data
    if len(plan.specs) == 1:
        assert plans.digest(plan.requirements, plan.params) == plan.specs[0].digest


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
