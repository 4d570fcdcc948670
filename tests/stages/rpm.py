"""Real packages in a real database of RPM: is what `packages` reads what rpm itself says?

    python tests/stages/rpm.py CACHE

As root; without rpm it is installed from Debian first. CACHE is a folder for what is built, and may be used again: the
database in it (CACHE/root) is what tests/checks/rpmdb.sqlite.gz was made of. Then versions are compared in pairs with
rpm's own order. The exit status is 1 where anything is different.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from debian import installed, said

TOP = Path(__file__).parents[2]
sys.path.insert(0, str(TOP))

from nodespec.checks._rpm import FILES  # noqa: E402 - this folder is where Python starts, not the top
from nodespec.checks.packages import packages  # noqa: E402
from nodespec.facts.declaration import Columns  # noqa: E402
from nodespec.facts.versions import RPM, Key  # noqa: E402
from nodespec.host.directory import DirectoryTree  # noqa: E402
from nodespec.model.observation import Observation, Value  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator


class Made(NamedTuple):
    name: str
    version: str
    release: str = "1.el9"
    epoch: str = ""
    architecture: str = "x86_64"


PACKAGES = (
    Made("containerd", "2.1.5"),
    Made("cri-o", "1.35.0~rc1", "2.fc43", epoch="1"),
    Made("glibc", "2.34", "100.el9_4.2"),
    Made("glibc", "2.34", "100.el9_4.2", architecture="i686"),
    Made("kernel-core", "5.14.0", "427.13.1.el9_4"),
    Made("kernel-core", "5.14.0", "503.11.1.el9_5"),
    Made("kubelet", "1.35.0", "150500.1.1"),
    Made("python3.11-pip", "22.3.1^20240101git", "5.el9", architecture="noarch"),
    Made("runc", "1.2.0", epoch="4"),
)
FORMAT = "%{NAME} %|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE} %{ARCH}\n"
SPEC = """
Name: {name}
Version: {version}
Release: {release}
Summary: {name} as it is called
License: none
{epoch}
%description
Nothing.
%files
"""
VERSIONS = (
    *("1", "1.0", "1.0.0", "1.a", "1.0a", "1.0.a", "1.10", "1.9", "1.09", "01", "a", "A", "1~rc1", "1~~", "1^"),
    *("1^git1", "1.0^git1~rc", "1.0~rc1^git1", "1.0.1", "1_0", "1+0", "1.", "1..0", "2", "10", "1.0rc1", "z1"),
    *("1.0~rc1", "1.0~rc10"),
)


def main() -> int:
    cache = Path(sys.argv[1]).resolve()
    if os.geteuid():
        sys.stderr.write("this wants root\n")
        return 2
    if not shutil.which("rpmbuild"):
        installed("rpm")
    wrong = [*differences(filled(cache)), *misordered()]
    print("\n".join(wrong) or f"{len(PACKAGES)} packages and {len(VERSIONS) ** 2} pairs of versions read as by rpm")
    return 1 if wrong else 0


def filled(cache: Path) -> Path:
    """A root whose database has the packages."""
    root, path = cache / "root", FILES[1]
    if not root.exists():
        whole = cache / "root.part"
        shutil.rmtree(whole, ignore_errors=True)
        whole.mkdir(parents=True)
        built = [str(package(cache / "build", made)) for made in PACKAGES]
        flags = ("--nodeps", "--ignorearch", "--noscripts", "--oldpackage", "--define", "_db_backend sqlite")
        said("rpm", "--root", str(whole), "--dbpath", str(Path(path).parent), *flags, "--install", *built)
        whole.rename(root)
    return root


def package(build: Path, made: Made) -> Path:
    build.mkdir(parents=True, exist_ok=True)
    spec = build / "package.spec"
    spec.write_text(SPEC.format(**made._asdict() | {"epoch": made.epoch and f"Epoch: {made.epoch}"}))
    said("rpmbuild", "-bb", "--target", made.architecture, "--define", f"_topdir {build}", str(spec))
    return build / "RPMS" / made.architecture / f"{made.name}-{made.version}-{made.release}.{made.architecture}.rpm"


def differences(root: Path) -> Iterator[str]:
    """What rpm says of each package and nodespec does not; of several versions, the newest."""
    path = str(Path(FILES[1]).parent)
    rows = [
        line.split(" ")
        for line in said("rpm", "--root", str(root), "--dbpath", path, "-qa", "--qf", FORMAT).splitlines()
    ]
    if len(rows) != len(PACKAGES):
        yield f"rpm has {len(rows)} packages of {len(PACKAGES)}: {rows}"
    assert packages.resting, "they are read at rest"
    table = packages.resting(DirectoryTree(str(root)))
    newest: dict[tuple[str, str], str] = {}
    for name, whole, architecture in rows:
        known = newest.get((name, architecture), "")
        newest[name, architecture] = whole if not known or RPM.key(whole) > RPM.key(known) else known
    for (name, architecture), whole in newest.items():
        seen = cell(table.observe(f"{name}:{architecture}"), "rpm")
        if seen != whole:
            yield f"{name}:{architecture}: rpm says {whole}, nodespec {seen}"
    plain = {name for name, _ in newest}
    listed = {name for name in table.every() if ":" not in name}
    if listed != plain:
        yield f"rpm lists {sorted(plain)}, nodespec {sorted(listed)}"


def cell(row: Observation[object], column: str) -> object:
    seen = row.value[column] if isinstance(row, Value) and isinstance(row.value, Columns) else row
    return seen.value if isinstance(seen, Value) else seen


def misordered() -> Iterator[str]:
    pairs = list(itertools.product(VERSIONS, VERSIONS))
    calls = " ".join(f'print(rpm.vercmp("{one}","{other}").." ")' for one, other in pairs)
    orders = list(map(int, said("rpm", "--eval", f"%{{lua:{calls}}}").split()))
    for (one, other), order in zip(pairs, orders):
        ours = (key(one) > key(other)) - (key(one) < key(other))
        if ours != order:
            yield f"{one} and {other}: rpm has the order {order}, nodespec {ours}"


def key(version: str) -> Key:
    return RPM.key(f"{version}-1")


if __name__ == "__main__":
    sys.exit(main())
