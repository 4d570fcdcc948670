"""The Debian package: built on trixie, checked with lintian, installed and used on trixie, sid and bookworm.

    python tests/stages/deb.py CACHE

As root. CACHE keeps the trees of debootstrap and the package of the last commit. Each tree gets the package, nobody
runs the script of `distribution/debian/tests` there, and the package is purged again. The exit status is 1 where
anything is wrong.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import debian

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[2]
SUITES = ("trixie", "sid", "bookworm")  # the package is built on the first
BUILDING = (
    *("debhelper", "dh-python", "pybuild-plugin-pyproject", "python3-all", "python3-setuptools", "python3-yaml"),
    *("lintian", "fakeroot"),
)
USING = ("python3-yaml", "python3-jinja2", "python3-jsonschema", "bash-completion")
SDIST = "import setuptools.build_meta as backend, sys; backend.build_sdist(sys.argv[1])"
SPECS = "/usr/share/nodespec/specs"
PLACES = (
    f"{SPECS}/kubernetes/1.35.yaml",
    "/usr/share/nodespec/plans/kubernetes/1.35.plan",
    "/usr/share/bash-completion/completions/nodespec",
    "/usr/share/fish/vendor_completions.d/nodespec.fish",
    "/usr/share/zsh/vendor-completions/_nodespec",
)
USED = f"""\
set -eu
test "$(realpath /usr/lib/python3/dist-packages/nodespec/specs)" = {SPECS}
bash -c '. /usr/share/bash-completion/completions/nodespec; complete -p nodespec' >&2
cd /; dpkg --verify nodespec
cp -r /package-tests /tmp/; chown -R nobody /tmp/package-tests
cd /tmp; setpriv --reuid nobody --clear-groups env -i PATH=/usr/bin:/bin sh /tmp/package-tests/installed
rm -r /tmp/package-tests
"""


def main(cache: Path) -> int:
    """Return the exit status; print what was built and used."""
    wrong = list(tried(cache))
    for line in wrong:
        print(f"wrong    {line}")
    return int(bool(wrong))


def tried(cache: Path) -> Iterator[str]:
    """Yield what is wrong with the package."""
    package = kept(cache)
    print(f"{package.name}: {package.stat().st_size} bytes")
    yield from complaints(cache, package)
    for suite in SUITES:
        try:
            tree = debian.system(suite, USING, cache / f"deb-{suite}")
        except RuntimeError as error:
            if suite != "sid":
                raise
            print(f"skipped  {suite} changes every day, and building it failed today: {str(error)[-300:]}")
            continue
        yield from (f"{suite}: {line}" for line in used(tree, package))
        print(f"{suite}: installed, used and purged", flush=True)


def kept(cache: Path) -> Path:
    """Return the package of this commit; build it if CACHE has another one."""
    commit = debian.said("git", "-c", "safe.directory=*", "-C", str(TOP), "rev-parse", "HEAD").strip()
    out = cache / "deb-packages" / commit
    with debian.alone(cache / "deb-packages.made"):
        if not out.is_dir():
            shutil.rmtree(out.parent, ignore_errors=True)
            built(cache, out)
    (package,) = out.glob("*.deb")
    return package


def built(cache: Path, out: Path) -> None:
    """Build the source distribution here, and the package of it on trixie."""
    tree = debian.system(SUITES[0], BUILDING, cache / "deb-build")
    work = tree / "work"
    shutil.rmtree(work, ignore_errors=True)
    (work / "out").mkdir(parents=True)
    clone = work / "clone"
    debian.said("git", "-c", "safe.directory=*", "clone", "--quiet", str(TOP), str(clone))
    debian.said(sys.executable, "-c", SDIST, str(work), cwd=clone)
    (sdist,) = work.glob("*.tar.gz")
    # Build-Depends that only generate what the source distribution contains are not installed
    build = f"clone/distribution/build-deb {sdist.name} out --no-check-builddeps"
    within(tree, f"cd /work && LC_ALL=C.UTF-8 sh {build}")
    out.mkdir(parents=True)
    for path in (work / "out").iterdir():
        shutil.copy(path, out)
    shutil.rmtree(work)


def complaints(cache: Path, package: Path) -> Iterator[str]:
    """Yield the errors and warnings of lintian on the package and its source."""
    tree = cache / "deb-build"
    work = tree / "lintian"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(package.parent, work)
    printed = within(tree, "cd /lintian && LC_ALL=C.UTF-8 lintian --allow-root --show-overrides *.deb *.dsc || true")
    shutil.rmtree(work)
    print(printed, end="")
    yield from (line for line in printed.splitlines() if line.startswith(("E: ", "W: ")))


def used(tree: Path, package: Path) -> Iterator[str]:
    """Yield what is wrong with the package where it is installed, and what it leaves behind."""
    for name in (tree / "package-tests", tree / "tmp/package-tests"):
        shutil.rmtree(name, ignore_errors=True)
    shutil.copytree(TOP / "distribution/debian/tests", tree / "package-tests")
    shutil.copy(package, tree / "nodespec.deb")
    within(tree, "dpkg --install /nodespec.deb")
    yield from (f"{place} is not there" for place in PLACES if not (tree / place[1:]).is_file())
    manual = debian.said("dpkg-deb", "--contents", str(package))
    if "./usr/share/man/man1/nodespec.1.gz" not in manual:
        yield "the package has no man page"
    within(tree, USED)
    within(tree, "dpkg --purge nodespec")
    left = [place for place in (*PLACES, "/usr/lib/python3/dist-packages/nodespec") if (tree / place[1:]).exists()]
    yield from (f"{place} is left after a purge" for place in left)


def within(tree: Path, script: str) -> str:
    """Return what a script prints whose root the tree is, with /proc and /dev of this machine."""
    quoted = shlex.quote(str(tree))
    mounts = "".join(f"mount --rbind /{name} {quoted}/{name} && " for name in ("proc", "dev"))
    command = f"{mounts}exec chroot {quoted} sh -c {shlex.quote(script)}"
    return debian.said("unshare", "--mount", "sh", "-c", command)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: deb.py CACHE")
    sys.exit(main(Path(sys.argv[1]).resolve()))
