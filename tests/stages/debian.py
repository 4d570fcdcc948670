"""What the stages take from Debian: packages unpacked without being installed, and trees of whole systems.

    python tests/stages/debian.py CACHE SUITE...

As root, with debootstrap: make the trees of these suites in the directory CACHE, where they are not there yet. Other
stages need them. The exit status is 1 if one cannot be made.
"""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import sys
import time
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Callable, Mapping, Sequence, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")
PAUSE = 10  # seconds before what failed over the network is tried again
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
NODE = ("systemd-sysv", "kmod", "containerd", "runc")  # and a kernel, with its initramfs
PYTHON = ("python3", "python3-yaml")
INTERPRETERS = Path("/proc/sys/fs/binfmt_misc")
EMULATED = {"arm64": "qemu-aarch64"}  # what runs programs of another architecture than amd64, by Debian's name for it


def mirror() -> str:
    """The mirror that this machine is set up with."""
    form = ("--format", "$(REPO_URI) $(COMPONENT) $(SUITE)", "Created-By: Packages")
    told = said("apt-get", "indextargets", *form).splitlines()
    for uri, component, suite in (line.split() for line in told):
        if component == "main" and "-" not in suite and uri.rstrip("/").endswith("/debian"):
            return uri
    raise LookupError(f"apt has no mirror of Debian: {told}")


def unpacked(suite: str, packages: Sequence[str], cache: Path) -> Path:
    """A folder with these packages of a suite, which need not be this machine's; apt's own state is left alone."""
    tree = cache / f"{suite}-{packages[0]}"
    if tree.exists():
        return tree
    state = cache / f"apt-{suite}"
    for folder in ("lists/partial", "archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    (state / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n")
    places = {"state::lists": "lists", "cache": "", "etc::sourcelist": "sources.list"}
    options = [f"-oDir::{key}={state / place}" for key, place in places.items()]
    options += ["-oDir::Etc::sourceparts=/dev/null", "-oDir::State::status=/dev/null", "-oAPT::Sandbox::User=root"]
    fetched("apt-get", *options, "update", "--quiet")
    fetched("apt-get", *options, "download", "--quiet", *packages, cwd=state)
    whole = tree.with_suffix(".part")
    for archive in state.glob("*.deb"):
        said("dpkg-deb", "--extract", str(archive), str(whole))
        archive.unlink()
    whole.rename(tree)
    return tree


def node(suite: str, cache: Path, architecture: str = "amd64") -> Path:
    """The tree of a node: a system that boots, with containerd and Python. Nobody may write to it.

    One of another architecture has no Python, and its initramfs no modules: emulated, they would take minutes.
    """
    native = architecture == "amd64"
    tree = cache / (f"node-{suite}" if native else f"node-{suite}-{architecture}")
    include = (f"linux-image-cloud-{architecture}", *NODE, *(PYTHON if native else ()))
    files = {} if native else {"etc/initramfs-tools/conf.d/modules": "MODULES=list\n"}
    return system(suite, include, tree, architecture, files)


def system(
    suite: str,
    include: Sequence[str],
    tree: Path,
    architecture: str = "amd64",
    files: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Return a tree that debootstrap makes around some files; an incomplete tree is made again."""
    with alone(tree):
        if not tree.exists():
            options = [f"--keyring={KEYRING}", "--variant=minbase", f"--include={','.join(include)}"]
            options += [f"--arch={architecture}", suite]
            whole = tree.with_name(f"{tree.name}.part")

            def made() -> None:
                said("rm", "-rf", "--one-file-system", str(whole))
                for name, text in files.items():
                    (whole / name).parent.mkdir(parents=True)
                    (whole / name).write_text(text)
                said("debootstrap", *options, str(whole), mirror())

            with emulated(architecture):
                twice(made)
            whole.rename(tree)
    return tree


def installed(*packages: str) -> None:
    """Install packages on this machine, whose other users of dpkg are waited for."""
    wait = "-oDPkg::Lock::Timeout=300"
    fetched("apt-get", wait, "update", "--quiet")
    fetched("apt-get", wait, "install", "--quiet", "--yes", "--no-install-recommends", *packages)


@contextlib.contextmanager
def emulated(architecture: str) -> Iterator[None]:
    """Meanwhile this kernel starts programs of that architecture too, by Debian's qemu-user-static."""
    name = EMULATED.get(architecture)
    if not name or (INTERPRETERS / name).exists():
        yield
        return
    mounted = not (INTERPRETERS / "register").exists()
    if mounted:
        said("mount", "-t", "binfmt_misc", "binfmt_misc", str(INTERPRETERS))
    (INTERPRETERS / "register").write_text(Path(f"/usr/lib/binfmt.d/{name}.conf").read_text())
    try:
        yield
    finally:
        (INTERPRETERS / name).write_text("-1")
        if mounted:
            said("umount", str(INTERPRETERS))


@contextlib.contextmanager
def alone(made: Path) -> Iterator[None]:
    """Nobody else makes it meanwhile: two stages may want one thing."""
    made.parent.mkdir(parents=True, exist_ok=True)
    with made.with_name(f"{made.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetched(*argv: str, cwd: Path | None = None) -> str:
    """What a program prints that needs the network, which may fail once."""
    return twice(lambda: said(*argv, cwd=cwd))


def twice(make: Callable[[], T]) -> T:
    """What is made, at the second try where the first failed."""
    try:
        return make()
    except RuntimeError as error:
        print(f"again    {str(error)[-1000:]}")
        time.sleep(PAUSE)
    return make()


def said(*argv: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """What a program prints; where it fails, all that it printed is raised."""
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout[-4000:]}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    for name in sys.argv[2:]:
        print(node(name, Path(sys.argv[1]).resolve()))
