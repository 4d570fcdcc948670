"""CPython of several versions: of this machine, of a Go module that embeds it, or that uv finds or fetches."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import debian

MODULE = "github.com/kluctl/go-embed-python"  # builds of python-build-standalone, without ensurepip
EMBEDDED = {
    "3.10": "v0.0.0-3.10.16-20241219-1",
    "3.12": "v0.0.0-3.12.3-20240415-1",
    "3.13": "v0.0.0-3.13.1-20241219-1",
    "3.14": "v0.0.0-3.14.6-20260610-1",
}
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
PATIENCE = 60  # seconds for uv to fetch one


def interpreter(version: str, uv: str, cache: Path) -> Path | None:
    """Return the program of a version such as `3.12`; None where nothing here provides it."""
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        return Path(os.path.realpath(sys.executable))
    if version in EMBEDDED and shutil.which("go"):
        return embedded(version, cache)
    env = {**os.environ, "UV_PYTHON_INSTALL_DIR": str(cache / "uv-pythons")}
    for argv in ((uv, "python", "find", version), (uv, "python", "install", "--quiet", version)):
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE)
        if done.returncode == 0 and done.stdout.strip():
            return Path(done.stdout.strip())
    return None


def embedded(version: str, cache: Path) -> Path:
    """Unpack the Python of a Go module, once."""
    tree = cache / f"python-{version}"
    if not tree.exists():
        env = {**os.environ, "GOFLAGS": "-mod=mod"}
        done = debian.twice(
            lambda: debian.said("go", "mod", "download", "-json", f"{MODULE}@{EMBEDDED[version]}", env=env)
        )
        data = Path(json.loads(done)["Dir"], "python/internal/data/linux-amd64")
        part = tree.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        for source in sorted(path for path in data.rglob("*") if path.is_file() and path.name != "files.json"):
            place = part / source.relative_to(data)
            packed = place.suffix == ".gz"
            place = place.with_suffix("") if packed else place
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(gzip.decompress(source.read_bytes()) if packed else source.read_bytes())
            place.chmod(0o755 if place.parent.name == "bin" else 0o644)
        part.rename(tree)
    return tree / "bin" / f"python{version}"
