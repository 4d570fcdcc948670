"""The program on images: the same spec and verdicts, nothing run, and what only on a running machine deferred."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from unhurried import PROGRAM

if TYPE_CHECKING:
    from conftest import MakeTree

TOP = Path(__file__).parents[2]
SPEC = """\
nodespec: 1
require:
  os: {id: debian, machine_id: [empty, uninitialized]}
  sysctl: {net.ipv4.ip_forward: 1}
  commands: {mount: present}
  swap: {total: 0}
  memory: {total: ">=1Gi"}
recommend:
  kernel: {version: ">=5"}
"""
FILES = {
    "/etc/os-release": "ID=debian\n",
    "/etc/machine-id": "",
    "/etc/sysctl.d/k8s.conf": "net.ipv4.ip_forward = 1\n",
    "/usr/lib/systemd/systemd": "",
    "/usr/bin/mount": "#!/bin/sh\ntouch /ran\n",
}
DEFERRED = {"memory.total", "recommended.kernel.version"}


def check(image: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    (folder / "spec.yaml").write_text(SPEC, encoding="utf-8")
    command = [*PROGRAM, "check", "./spec.yaml", "--image", image, "-o", "json", *more]
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def tree(make_tree: MakeTree) -> Path:
    root = Path(make_tree(FILES, {"/sbin/init": "/usr/lib/systemd/systemd", "/bin": "usr/bin"}))
    (root / "usr/bin/mount").chmod(0o755)
    return root


@pytest.mark.parametrize("form", ["folder", "tar", "tar.gz"])
def test_an_image_is_judged_without_running(tree: Path, form: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    image = tree
    if form != "folder":
        image = tmp_path_factory.mktemp("image") / f"root.{form}"
        with tarfile.open(image, "w:gz" if form == "tar.gz" else "w") as archive:
            archive.add(tree, ".")
    done = check(str(image), tmp_path_factory.mktemp("out"))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)["reports"][0]
    assert (report["conclusion"], report["context"], report["door"]) == ("conformant", "at rest", f"image {image}")
    assert {finding["id"] for finding in report["findings"] if finding["outcome"] == "deferred"} == DEFERRED
    assert not (tree / "ran").exists()


def test_what_boot_would_do_fails_where_it_is_wrong(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (tree / "etc/sysctl.d/zz.conf").write_text("net.ipv4.ip_forward = 0\n", encoding="utf-8")
    done = check(str(tree), tmp_path_factory.mktemp("out"))
    assert done.returncode == 10
    [failed] = [one for one in json.loads(done.stdout)["reports"][0]["findings"] if one["outcome"] == "fail"]
    assert failed["id"] == "sysctl.net.ipv4.ip_forward"
    assert failed["parts"][0]["evidence"] == [{"source": "/etc/sysctl.d/zz.conf", "line": 1, "inferred": False}]


@pytest.mark.parametrize("image", ["/nonexistent", "/dev/null", "/proc"])
def test_what_is_no_image_is_a_mistake(image: str, tmp_path: Path) -> None:
    done = check(image, tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("--image")
    assert "Traceback" not in done.stderr


def test_one_door_at_a_time(tmp_path: Path) -> None:
    assert check("/", tmp_path, "--root", str(tmp_path)).returncode == 2


RELEASES = ("6.1.0-49-amd64", "6.1.0-50-amd64")


def test_a_kernel_can_be_chosen(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (tree / "boot").mkdir()
    for release in RELEASES:
        (tree / f"boot/vmlinuz-{release}").write_text("")
    folder = tmp_path_factory.mktemp("out")
    for chosen, release in (((), RELEASES[1]), (("--kernel", RELEASES[0]), RELEASES[0])):
        done = check(str(tree), folder, *chosen)
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)["reports"][0]
        assert report["host"]["kernel"] == release
        assert report["door"] == f"image {tree}{', kernel ' * bool(chosen)}{''.join(chosen[1:])}"
        assert {one["id"] for one in report["findings"] if one["outcome"] == "deferred"} == {"memory.total"}


@pytest.mark.parametrize(
    ("image", "say"),
    [(True, "kernel 5.10 not found in this tree; installed: 6.1"), (False, "requires --image")],
)
def test_a_kernel_that_is_not_there_is_a_mistake(tree: Path, *, image: bool, say: str) -> None:
    (tree / "boot").mkdir()
    (tree / "boot/vmlinuz-6.1").write_text("")
    (tree / "spec.yaml").write_text(SPEC, encoding="utf-8")
    choice = [*(["--image", "."] * image), "--kernel", "5.10"]
    command = [*PROGRAM, "check", "./spec.yaml", *choice]
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"--kernel 5.10: {say}")
    facts = [*PROGRAM, "facts", "kernel", *choice]
    done = subprocess.run(facts, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"--kernel 5.10: {say}")


def test_no_kernel_at_all_can_be_chosen(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    done = check(str(tree), tmp_path_factory.mktemp("out"), "--kernel", "6.1")
    assert (done.returncode, done.stderr) == (2, "--kernel 6.1: no kernel found in this tree\n")
