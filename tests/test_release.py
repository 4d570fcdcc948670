"""The release script: checksums, signature, bill of materials, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nodespec

TOP = Path(__file__).parents[1]
VERSION = nodespec.__version__
WHEEL = f"nodespec-{VERSION}-py3-none-any.whl"
SDIST = f"nodespec-{VERSION}.tar.gz"
SIGNER = "release@nodespec"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Archives of this version; the script reads no more of them than their bytes."""
    made = tmp_path / "release"
    made.mkdir()
    for name in (WHEEL, SDIST, f"nodespec_{VERSION}-1_all.deb"):
        (made / name).write_bytes(name.encode())
    return made


def run(*args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(TOP / "distribution/release.py"), *args]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def refused(folder: Path, *args: str) -> str:
    done = run(str(folder), *args)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


def test_checksums_name_every_file(folder: Path) -> None:
    assert run(str(folder)).returncode == 0
    argv = ["/usr/bin/sha256sum", "--check", "SHA256SUMS"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True)
    named = {line.split(":")[0] for line in done.stdout.splitlines()}
    assert named == {path.name for path in folder.iterdir()} - {"SHA256SUMS"}
    assert len(named) == 4


def test_same_archives_give_the_same_release(folder: Path, tmp_path: Path) -> None:
    again = shutil.copytree(folder, tmp_path / "again")
    for made in (folder, again, again):
        assert run(str(made)).returncode == 0
    assert (folder / "SHA256SUMS").read_bytes() == (again / "SHA256SUMS").read_bytes()


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is not installed")
def test_signature_holds_for_the_checksums_only(folder: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run([shutil.which("ssh-keygen") or "", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    assert run(str(folder), "--key", str(key)).returncode == 0
    signers = tmp_path / "allowed_signers"
    signers.write_text(f'{SIGNER} namespaces="nodespec-release" {key.with_suffix(".pub").read_text()}')
    assert verified(folder, signers)
    checksums = (folder / "SHA256SUMS").read_text()
    (folder / "SHA256SUMS").write_text(checksums.replace(checksums[:8], "0" * 8))
    assert not verified(folder, signers)


def verified(folder: Path, signers: Path) -> bool:
    """Whether the command of SECURITY.md accepts the signature."""
    (line,) = (
        line for line in (TOP / "SECURITY.md").read_text().splitlines() if line.startswith("ssh-keygen -Y verify")
    )
    command = line.replace("distribution/allowed_signers", str(signers))
    assert SIGNER in command
    return subprocess.run(["/bin/sh", "-c", command], cwd=folder, capture_output=True, check=False).returncode == 0


def test_bill_of_materials_lists_requirements_and_files(folder: Path) -> None:
    assert run(str(folder)).returncode == 0
    bill = json.loads((folder / f"nodespec-{VERSION}.cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    parts = {part["name"]: part for part in bill["components"]}
    assert {name: part["scope"] for name, part in parts.items() if part["type"] == "library"} == {
        "pyyaml": "required",
        "jinja2": "optional",
        "jsonschema": "optional",
    }
    assert parts[WHEEL]["hashes"][0]["content"] == hashlib.sha256(WHEEL.encode()).hexdigest()
    assert bill["metadata"]["component"]["version"] == VERSION


def test_image_digest_is_that_of_the_tag(folder: Path, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    layout.mkdir()
    name = "org.opencontainers.image.ref.name"
    manifests = [{"digest": f"sha256:{tag}", "annotations": {name: tag}} for tag in ("other", VERSION)]
    (layout / "index.json").write_text(json.dumps({"manifests": manifests}))
    assert run(str(folder), "--image", str(layout)).returncode == 0
    assert (folder / f"nodespec-{VERSION}.image.txt").read_text() == f"nodespec:{VERSION}@sha256:{VERSION}\n"
    (layout / "index.json").write_text(json.dumps({"manifests": manifests[:1]}))
    assert refused(folder, "--image", str(layout)) == f"release.py: {layout}: tag {VERSION} not found\n"


@pytest.mark.parametrize("name", [WHEEL, SDIST])
def test_missing_archive_is_refused(name: str, folder: Path) -> None:
    (folder / name).unlink()
    assert name in refused(folder)
    assert not (folder / "SHA256SUMS").exists()


@pytest.mark.parametrize("name", ["nodespec-9.9.9.tar.gz", "notes.txt"])
def test_foreign_file_is_refused(name: str, folder: Path) -> None:
    (folder / name).touch()
    assert f"{name}: not of version {VERSION}" in refused(folder)


def test_debian_changelog_has_the_version() -> None:
    first = (TOP / "distribution/debian/changelog").read_text().split("\n", 1)[0]
    assert first.startswith(f"nodespec ({VERSION}-1) ")
