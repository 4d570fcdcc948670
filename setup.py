"""Build steps that pyproject.toml cannot express: plans, completion scripts, the man page, reproducible archives.

A source distribution contains the completion scripts and the man page, so that a build from it needs neither shtab nor
argparse-manpage. The same commit gives the same bytes: every file has the time of SOURCE_DATE_EPOCH, which is the date
of the release by default.
"""

from __future__ import annotations

import calendar
import gzip
import os
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

TOP = Path(__file__).resolve().parent
SHARE = "share"
READABLE, EXECUTABLE = 0o644, 0o755


def release_time() -> int:
    """Return the date of the release in seconds since 1970."""
    source = (TOP / "nodespec" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^BUILT = "([\d-]+)"', source, re.MULTILINE)
    if not found:
        raise RuntimeError("nodespec/__init__.py: BUILT not found")
    return calendar.timegm(time.strptime(found[1], "%Y-%m-%d"))


def python(*args: str, importable: str) -> None:
    """Run this Python with the packages of a folder, which is its current directory."""
    paths = [os.path.abspath(importable), *filter(None, [os.environ.get("PYTHONPATH")])]  # pip's build environment
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    subprocess.run([sys.executable, "-B", *args], cwd=importable, env=env, check=True)  # noqa: S603 - own code


def write_shared(folder: str, importable: str) -> None:
    """Write the completion scripts and the man page below a folder."""
    python(str(TOP / "distribution" / "shared_files.py"), os.path.abspath(folder), importable=importable)


class Built(build_py):
    """The packages, and beside them the plans. An editable checkout resolves its specs at each start."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            python(
                "-m", "nodespec.author.spec.precompiled", os.path.join("nodespec", "plans"), importable=self.build_lib
            )
            self.distribution.data_files = data_files(self._shared())

    def _shared(self) -> str:
        if (TOP / SHARE).is_dir():  # in a source distribution
            return SHARE
        folder = os.path.join(self.get_finalized_command("build").build_base, SHARE)
        write_shared(folder, self.build_lib)
        return folder


def data_files(folder: str) -> list[tuple[str, list[str]]]:
    """Return the files of a folder by their directory below the prefix of the installation."""
    found = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return [(str(Path(SHARE, path.parent.relative_to(folder))), [str(path)]) for path in found]


class Source(sdist):
    """The source distribution, with the completion scripts and the man page, and the same bytes each time."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        if not Path(base_dir, SHARE).is_dir():
            write_shared(os.path.join(base_dir, SHARE), str(TOP))

    def make_archive(self, base_name: str, format: str, root_dir: str | None = None, **options: str | None) -> str:  # noqa: A002 - of setuptools
        if format != "gztar":
            return super().make_archive(base_name, format, root_dir, **options)
        base = str(options["base_dir"])
        with (
            open(f"{base_name}.tar.gz", "wb") as file,
            gzip.GzipFile("", "wb", mtime=int(os.environ["SOURCE_DATE_EPOCH"]), fileobj=file) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for path in sorted([Path(base), *Path(base).rglob("*")]):
                tar.add(path, recursive=False, filter=reproducible)
        return f"{base_name}.tar.gz"


def reproducible(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Remove from a member what depends on who builds, where and when."""
    executable = member.isdir() or member.mode & 0o100
    member.mode = EXECUTABLE if executable else READABLE
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = int(os.environ["SOURCE_DATE_EPOCH"])
    return member


os.environ.setdefault("SOURCE_DATE_EPOCH", str(release_time()))
os.umask(0o022)  # modes of the wheel
setup(cmdclass={"build_py": Built, "sdist": Source})
