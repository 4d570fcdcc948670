"""Complete a release: `python distribution/release.py FOLDER [--image LAYOUT] [--key KEY]`.

FOLDER contains the wheel, the source distribution, and packages of Debian if there are any. All must have the version
of nodespec, and the changelog must have a section of this version. The command adds the digest of the container image,
a bill of materials (CycloneDX), the checksums of all files, and with --key the signature of the checksums.
docs/releasing.md has all steps.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Dict, List

TOP = Path(__file__).resolve().parents[1]
CHECKSUMS = "SHA256SUMS"
NAMESPACE = "nodespec-release"  # of the signature: it is valid for nothing else
MADE = (CHECKSUMS, f"{CHECKSUMS}.sig")
KINDS = {"wheel": "nodespec-{}-py3-none-any.whl", "source distribution": "nodespec-{}.tar.gz"}


class ReleaseError(Exception):
    """Something that must be corrected before a release."""


def main(argv: List[str]) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(prog="release.py", description="Complete a release.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the directory with the archives")
    parser.add_argument("--image", type=Path, metavar="LAYOUT", help="the OCI layout of the container image")
    parser.add_argument("--key", type=Path, metavar="KEY", help="sign with this SSH key")
    args = parser.parse_args(argv)
    try:
        release(args.folder, args.image, args.key)
    except ReleaseError as error:
        print(f"release.py: {error}", file=sys.stderr)  # noqa: T201 - a program
        return 2
    return 0


def release(folder: Path, image: Path | None, key: Path | None) -> None:
    """Check the archives of a folder and add what belongs to a release."""
    version, date = read_version()
    check_changelog(version, date)
    check_archives(folder, version)
    for name in MADE:
        (folder / name).unlink(missing_ok=True)
    if image:
        (folder / f"nodespec-{version}.image.txt").write_text(f"{read_image_digest(image, version)}\n")
    bill = folder / f"nodespec-{version}.cdx.json"
    bill.unlink(missing_ok=True)
    digests = digest_files(folder)
    bill.write_text(json.dumps(bill_of_materials(version, date, digests), indent=2, sort_keys=True) + "\n")
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digest_files(folder).items())]
    (folder / CHECKSUMS).write_text("".join(lines))
    if key:
        argv = ["ssh-keygen", "-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE, str(folder / CHECKSUMS)]
        subprocess.run(argv, check=True)  # noqa: S603 - OpenSSH, with paths of whoever releases


def read_version() -> tuple[str, str]:
    """Return version and date of nodespec."""
    source = (TOP / "nodespec/__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"\nBUILT = "([^"]+)"', source, re.MULTILINE)
    if not found:
        raise ReleaseError("nodespec/__init__.py: __version__ and BUILT not found")
    return found[1], found[2]


def check_changelog(version: str, date: str) -> None:
    """Raise `ReleaseError` unless both changelogs have a section of a version."""
    if f"\n## [{version}] - {date}\n" not in (TOP / "CHANGELOG.md").read_text(encoding="utf-8"):
        raise ReleaseError(f"CHANGELOG.md: section `## [{version}] - {date}` not found")
    first = (TOP / "distribution/debian/changelog").read_text(encoding="utf-8").split("\n", 1)[0]
    if not first.startswith(f"nodespec ({version}-"):
        raise ReleaseError(f"distribution/debian/changelog: the first entry is {first!r}; expected version {version}")


def check_archives(folder: Path, version: str) -> None:
    """Raise `ReleaseError` unless a folder has the archives of a version and nothing else."""
    for kind, name in KINDS.items():
        if not (folder / name.format(version)).is_file():
            raise ReleaseError(f"{folder}: {kind} {name.format(version)} not found; build it with python -m build")
    known = re.compile(rf"nodespec[-_]{re.escape(version)}[-._].*|{CHECKSUMS}(\.sig)?")
    foreign = sorted(path.name for path in folder.iterdir() if not known.fullmatch(path.name))
    if foreign:
        raise ReleaseError(f"{folder}: {', '.join(foreign)}: not of version {version}; remove it")


def read_image_digest(layout: Path, version: str) -> str:
    """Return the digest of the manifest that a tag of an OCI layout names."""
    index = json.loads((layout / "index.json").read_text(encoding="utf-8"))
    for manifest in index["manifests"]:
        if manifest.get("annotations", {}).get("org.opencontainers.image.ref.name") == version:
            return f"nodespec:{version}@{manifest['digest']}"
    raise ReleaseError(f"{layout}: tag {version} not found")


def digest_files(folder: Path) -> Dict[str, str]:
    """Return the SHA-256 of the files of a release by name."""
    files = [path for path in folder.iterdir() if path.is_file() and path.name not in MADE]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def bill_of_materials(version: str, date: str, digests: Dict[str, str]) -> Dict[str, object]:
    """Return the bill of materials in the form of CycloneDX 1.6. The same release gives the same document."""
    project = f"pkg:pypi/nodespec@{version}"
    required = [package(line, "required") for line in read_requirements("dependencies")]
    required += [package(line, "optional") for extra in ("html", "reports") for line in read_requirements(extra)]
    files = [
        {
            "type": "file",
            "bom-ref": f"file:{name}",
            "name": name,
            "hashes": [{"alg": "SHA-256", "content": digest}],
        }
        for name, digest in sorted(digests.items())
    ]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, f"{project} {sorted(digests.items())}").urn,
        "version": 1,
        "metadata": {
            "timestamp": f"{date}T00:00:00Z",
            "component": {
                "type": "application",
                "bom-ref": project,
                "name": "nodespec",
                "version": version,
                "purl": project,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            },
        },
        "components": [*required, *files],
        "dependencies": [{"ref": project, "dependsOn": sorted(str(one["bom-ref"]) for one in required)}],
    }


def package(requirement: str, scope: str) -> Dict[str, object]:
    """Return the component of a requirement such as `pyyaml>=6`."""
    name = re.split(r"[<>=!~;\[ ]", requirement)[0]
    properties = [{"name": "nodespec:requirement", "value": requirement}]
    return {
        "type": "library",
        "bom-ref": f"pkg:pypi/{name}",
        "name": name,
        "purl": f"pkg:pypi/{name}",
        "scope": scope,
        "properties": properties,
    }


def read_requirements(key: str) -> List[str]:
    """Return the list of a key of pyproject.toml, which is on one line: `html = ["jinja2>=3.1"]`."""
    text = (TOP / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(rf"^{key} = (\[.*\])$", text, re.MULTILINE)
    if not found:
        raise ReleaseError(f"pyproject.toml: {key} not found on one line")
    return list(json.loads(found[1]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
