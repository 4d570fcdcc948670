"""Every os-release file of `distro`'s source distribution, read by `distro` and by nodespec: do they agree?

    python tests/stages/os_corpus.py CACHE

The source distribution is fetched with pip into the folder CACHE, unless it is there. The exit status is 1 where the
two differ and no reason is written below, where such a difference is gone, or where there is too little to compare.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Mapping

import distro
from debian import fetched

from nodespec.checks import os as family
from nodespec.host.directory import DirectoryTree
from nodespec.model.observation import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

RELEASE = "1.9.0"
FEWEST = 40  # this release has 43

RENAMED = "distro renames some; os.id is the value of the file"
DERIVED = "UBUNTU_CODENAME is not a field of os-release(5): derivatives name the release that they derive from"
# by file and fact: why nodespec says something else than distro
REASONS: Mapping[tuple[str, str], str] = {
    ("distros/opensuse15/etc", "id"): RENAMED,
    ("distros/opensuse15/etc", "families"): RENAMED,
    ("distros/oracle7/etc", "id"): RENAMED,
    ("distros/oracle7/etc", "families"): RENAMED,
    ("distros/ubuntu16/etc", "codename"): DERIVED,
}


def main(cache: Path) -> int:
    """The exit status; what was compared is printed."""
    files = dict(corpus(cache))
    found: dict[tuple[str, str], str] = {}
    with tempfile.TemporaryDirectory() as root:
        for name, data in files.items():
            found.update({(name, fact): both for fact, both in differences(root, data)})
    lines = [f"differs  {' '.join(at)}: {found[at]}: {REASONS.get(at, 'NO REASON IS KNOWN')}" for at in sorted(found)]
    gone = REASONS.keys() - found.keys()
    lines += [f"gone     {' '.join(at)}: {REASONS[at]}" for at in sorted(gone)]
    values, new = len(files) * len(FACTS), len(found.keys() - REASONS.keys())
    lines += [
        f"{len(files)} os-release files (at least {FEWEST} required), {values} values: {values - len(found)} agree,",
        f"{len(found) - new} differ for a known reason, {new} for none; {len(gone)} known differences are gone",
    ]
    sys.stdout.write("\n".join([*lines, ""]))
    return int(bool(new or gone) or len(files) < FEWEST)


FACTS = {"id": family.id_, "version": family.version, "codename": family.codename, "families": family.families}


def differences(root: str, data: bytes) -> Iterator[tuple[str, str]]:
    """By fact, what nodespec and distro make of one file where they make two things."""
    path = Path(root, "etc/os-release")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    tree, theirs = DirectoryTree(root), said_by_distro(root)
    for fact, leaf in FACTS.items():
        probe = leaf.resting
        seen = probe(tree) if probe else None
        ours = seen.value if isinstance(seen, Value) else ""  # which is how distro says that there is none
        if ours != theirs[fact]:
            yield fact, f"{shown(ours)}, distro says {shown(theirs[fact])}"


def said_by_distro(root: str) -> Mapping[str, object]:
    """Return the same four facts; below a root, distro runs no programs."""
    oracle = distro.LinuxDistribution(root_dir=root)
    return {
        "id": oracle.id(),
        "version": oracle.version(),
        "codename": oracle.codename(),
        "families": frozenset((oracle.id(), *oracle.like().split())),
    }


def shown(value: object) -> str:
    return " ".join(sorted(value)) if isinstance(value, frozenset) else repr(value)


def corpus(cache: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the os-release files by their directory."""
    archive = cache / f"distro-{RELEASE}.tar.gz"
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "distro"]
        fetched(*pip, "--dest", str(cache), f"distro=={RELEASE}")
    with tarfile.open(archive) as tar:
        for member in tar:
            _, _, path = member.name.partition("/tests/resources/")
            file = tar.extractfile(member) if path.endswith("/os-release") and member.isfile() else None
            if file:
                yield path.rpartition("/")[0], file.read()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: os_corpus.py CACHE")
    sys.exit(main(Path(sys.argv[1])))
