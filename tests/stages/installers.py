"""The wheel from an index, as users install it: pip, pipx and uvx, on each Python from 3.10 to 3.14.

    python tests/stages/installers.py CACHE

What is committed is cloned and built twice, in two folders and at two times: both archives must be the same bytes. An
index of this machine serves the wheel and what it requires, and nothing else is reachable. CACHE keeps the Pythons and
what PyPI gave. The exit status is 1 where anything is wrong.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import os
import re
import shutil
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import debian
import interpreters
from install import environment, ran, same

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[2]
SPEC = "nodespec: 1\nname: fit\ntitle: fit\nrequire: {memory: {total: '>=1Mi'}}\n"
EXTRA = r"nodespec: this Python has no module `(\w+)`; .* need the extra nodespec\[(\w+)\] of pip, or .*\n"
SEEDS = ("pip", "setuptools", "wheel")  # of a new virtual environment
BUILDING = ("setuptools>=77.0.3", "pyyaml", "shtab>=1.13", "argparse-manpage>=4.5", "wheel")  # of pyproject.toml
SHARED = (
    "bash-completion/completions/nodespec",
    "fish/vendor_completions.d/nodespec.fish",
    "man/man1/nodespec.1",
    "zsh/site-functions/_nodespec",
)


def main(cache: Path) -> int:
    """Return the exit status; print what was installed."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="nodespec-") as name:
        folder = Path(name)
        try:
            tools = cache / "installers-tools"
            if not (tools / "bin/pipx").exists():
                environment(tools, "uv", "pipx", "build", "pip>=24", *BUILDING)
            wheel = built_twice(folder, tools)
            signed(folder / "dist-2")
            pythons = dict(found(tools, cache))
            files = [wheel, *requirements(pythons, wheel, tools, cache)]
            with served(index(folder / "index", files)) as address:
                for version, python in pythons.items():
                    begun = time.monotonic()
                    with_pip(folder / version, python, address, tools)
                    with_pipx(folder / version, python, address, tools)
                    with_uvx(folder / version, python, address, tools)
                    print(f"Python {version}: pip, pipx and uvx in {time.monotonic() - begun:.1f} s", flush=True)
        except RuntimeError as wrong:
            print(f"wrong    {wrong}")
            return 1
    return 0


def built_twice(folder: Path, tools: Path) -> Path:
    """Build the wheel and the source distribution in two folders, and return the wheel."""
    digests = []
    for number in (1, 2):
        clone, out = folder / f"clone-{number}" / ("a" * number), folder / f"dist-{number}"
        ran(0, "git", "-c", "safe.directory=*", "clone", "--quiet", str(TOP), str(clone))
        os.utime(clone / "README.md", (number * 10**9, number * 10**9))
        ran(0, str(tools / "bin/python"), "-m", "build", "--no-isolation", "--outdir", str(out), str(clone))
        digests.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()})
    same("the archives of the second build", digests[1], digests[0])
    same("archives", sorted(Path(name).suffix for name in digests[0]), [".gz", ".whl"])
    print(*(f"{digest}  {name}, built twice" for name, digest in digests[0].items()), sep="\n")
    (wheel,) = (folder / "dist-1").glob("*.whl")
    return wheel


def signed(dist: Path) -> None:
    """Complete a release of the archives, and verify it with the commands of SECURITY.md."""
    key = dist.parent / "key"
    ran(0, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    ran(0, sys.executable, str(TOP / "distribution/release.py"), str(dist), "--key", str(key))
    signers = dist.parent / "allowed_signers"
    signers.write_text(f'release@nodespec namespaces="nodespec-release" {key.with_suffix(".pub").read_text()}')
    section = (TOP / "SECURITY.md").read_text().split("\n## Verifying a release\n")[1]
    (script,) = re.findall(r"^```sh\n(.*?)^```$", section.split("\n## ")[0], re.MULTILINE | re.DOTALL)
    ran(0, "sh", "-e", "-c", script.replace("distribution/allowed_signers", str(signers)), cwd=dist)
    print("a release was signed and verified")


def found(tools: Path, cache: Path) -> Iterator[tuple[str, Path]]:
    """Yield the Pythons by version; say which are missing."""
    for version in interpreters.VERSIONS:
        python = interpreters.interpreter(version, str(tools / "bin/uv"), cache)
        if python:
            yield version, python
        else:
            print(f"skipped  Python {version}: not found on this machine or with uv")


def requirements(pythons: dict[str, Path], wheel: Path, tools: Path, cache: Path) -> list[Path]:
    """Return the wheels of what all extras require on these Pythons, and of `uv venv --seed`."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        required = [line for line in archive.read(metadata).decode().splitlines() if line.startswith("Requires-Dist: ")]
    place = cache / f"installers-wheels-{hashlib.sha256(repr(required).encode()).hexdigest()[:8]}"
    for version in pythons:
        if not (place / version).is_dir():
            part = place / f"{version}.part"
            options = ["--quiet", "--only-binary=:all:", "--python-version", version, "--dest", str(part)]
            argv = [
                str(tools / "bin/python"),
                "-m",
                "pip",
                "download",
                *options,
                f"nodespec[all] @ {wheel.as_uri()}",
                *SEEDS,
            ]
            debian.twice(functools.partial(ran, 0, *argv))
            part.rename(place / version)
    every = {path.name: path for path in place.rglob("*.whl") if not path.name.startswith("nodespec-")}
    return list(every.values())


def index(folder: Path, files: list[Path]) -> Path:
    """Lay out a simple index (PEP 503): a page for each project."""
    for file in files:
        project = re.sub(r"[-_.]+", "-", file.name.split("-")[0]).lower()
        (folder / "simple" / project).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / "simple" / project / file.name)
    for page in (folder / "simple").iterdir():
        links = "".join(f'<a href="{file.name}">{file.name}</a>\n' for file in sorted(page.iterdir()))
        (page / "index.html").write_text(f"<!DOCTYPE html>\n{links}")
    return folder


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine while the context is open."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple/"
        server.shutdown()


def with_pip(folder: Path, python: Path, address: str, tools: Path) -> None:
    """Install with pip without extras, which checks a node and names the extras; then with all."""
    venv = folder / "venv"
    settings = isolated(folder, address)
    ran(0, *settings, str(tools / "bin/uv"), "venv", "--quiet", "--seed", "--python", str(python), str(venv))
    pip = [*settings, str(venv / "bin/python"), "-m", "pip", "install", "--quiet", "--no-cache-dir"]
    ran(0, *pip, "nodespec")
    program = str(venv / "bin/nodespec")
    spec = folder / "fit.yaml"
    spec.write_text(SPEC)
    ran(0, program, "check", str(spec), "-o", f"json={folder}/report.json")
    ran((0, 10, 11), program, "check", "kubernetes/1.35", "-o", f"junit={folder}/report.xml")
    same("HTML without its extra", needs(program, "check", str(spec), "-o", "html"), ("jinja2", "html"))
    same(
        "a stored report without its extra",
        needs(program, "verify", f"{folder}/report.json"),
        ("jsonschema", "reports"),
    )
    for name in SHARED:
        same(name, (venv / "share" / name).is_file(), wanted=True)
    ran(0, *pip, "nodespec[all]")
    if os.path.realpath(sys.executable) == os.path.realpath(python):
        without_index(folder, [*settings, str(venv / "bin/python"), "-m", "pip"])
    ran(0, program, "report", f"{folder}/report.json", "-o", f"html={folder}/report.html")
    ran(0, program, "verify", f"{folder}/report.json")


def without_index(folder: Path, pip: list[str]) -> None:
    """Install from a directory of wheels, as the recipe for sites without a network."""
    ran(0, *pip, "download", "--quiet", "--dest", str(folder / "wheels"), "nodespec[all]")
    offline = ["--no-index", "--find-links", str(folder / "wheels"), "--force-reinstall"]
    ran(0, *pip, "install", "--quiet", *offline, "nodespec[all]")


def needs(*argv: str) -> tuple[str, ...]:
    """Return the module and the extra that a command says it needs, which exits 2."""
    script = '"$@" 2>&1 >/dev/null; test $? = 2'
    said = re.fullmatch(EXTRA, ran(0, "sh", "-c", script, "sh", *argv))
    return said.groups() if said else ()


def with_pipx(folder: Path, python: Path, address: str, tools: Path) -> None:
    """Run without installing, with pipx."""
    settings = isolated(folder, address)
    argv = [*settings, str(tools / "bin/pipx"), "run", "--quiet", "--no-cache", "--python", str(python)]
    options = f"--pip-args=--index-url={address}"
    check = ["check", str(folder / "fit.yaml")]
    ran(0, *argv, options, "--spec", "nodespec", "nodespec", *check)
    ran(0, *argv, options, "--spec", "nodespec[html]", "nodespec", *check, "-o", f"html={folder}/pipx.html")


def with_uvx(folder: Path, python: Path, address: str, tools: Path) -> None:
    """Run without installing, with uvx."""
    settings = isolated(folder, address)
    argv = [*settings, str(tools / "bin/uvx"), "--quiet", "--no-cache", "--python", str(python)]
    check = ["check", str(folder / "fit.yaml")]
    ran(0, *argv, "nodespec", *check)
    ran(0, *argv, "--from", "nodespec[html]", "nodespec", *check, "-o", f"html={folder}/uvx.html")


def isolated(folder: Path, address: str) -> list[str]:
    """Return the command `env` with only this index, and no settings or caches of a user."""
    folder.mkdir(exist_ok=True)
    values = {
        "HOME": folder,
        "PATH": "/usr/bin:/bin",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_INDEX_URL": address,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_INDEX_URL": address,
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "PIPX_HOME": folder / "pipx",
    }
    return ["env", "-i", *(f"{name}={value}" for name, value in values.items())]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: installers.py CACHE")
    sys.exit(main(Path(sys.argv[1]).resolve()))
