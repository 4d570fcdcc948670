"""Real container images, made with umoci and skopeo: is what nodespec sees in them what umoci unpacks?

    python tests/stages/oci.py CACHE

As root; umoci and skopeo are installed from Debian where they are missing, and into CACHE the library that reads zstd.
A small root file system grows in layers; each changes, hides and replaces what is below. Then every path of
it is asked of the directory, of the layout, of the archives that skopeo makes of it, and of tars, and all must say the
same. The exit status is 1 where anything is different.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from debian import fetched, installed, said

TOP = Path(__file__).parents[2]
sys.path.insert(0, str(TOP))

from nodespec.errors import UsageError  # noqa: E402
from nodespec.host.directory import DirectoryTree  # noqa: E402
from nodespec.host.tree import Tree  # noqa: E402
from nodespec.images.open import open_image  # noqa: E402 - this folder is where Python starts, not the top

if TYPE_CHECKING:
    from collections.abc import Iterator

FEWEST = 60  # paths that a tree has at the least, for the comparison to mean something
ZSTANDARD = "zstandard==0.25.0"


def main(cache: Path) -> int:
    """The exit status; what was compared is printed."""
    if os.geteuid():
        sys.stderr.write("this wants root\n")
        return 2
    if not shutil.which("umoci") or not shutil.which("skopeo"):
        installed("umoci", "skopeo")
    with_zstd(cache)
    with tempfile.TemporaryDirectory(dir=cache) as within:
        root, layout = grown(Path(within))
        different = sum(compared(name, root, path) for name, path in doors(root, layout, Path(within)))
        return int(different + chosen(layout) > 0)


def with_zstd(cache: Path) -> None:
    """A library for zstd, which Python has from 3.14 on."""
    cache.mkdir(parents=True, exist_ok=True)
    if sys.version_info >= (3, 14):
        return
    folder = cache / f"{ZSTANDARD}-{sys.version_info[1]}"
    if not folder.exists():
        fetched(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), ZSTANDARD)
    sys.path.insert(0, str(folder))


# the tree


def grown(where: Path) -> tuple[Path, str]:
    """A root file system as it should be, and the layout of its image."""
    layout, bundle = where / "layout", where / "bundle"
    image = f"{layout}:node"
    said("umoci", "init", "--layout", str(layout))
    said("umoci", "new", "--image", image)
    said("umoci", "unpack", "--image", image, str(bundle))
    for step in (first, second, third):
        step(bundle / "rootfs")
        said("umoci", "repack", "--refresh-bundle", "--image", image, str(bundle))
    inserted = where / "inserted"
    put(inserted / "conf.d/new.toml", "of the last layer\n")
    said("umoci", "insert", "--opaque", "--image", image, str(inserted), "/etc/opaque")
    last = where / "last"
    said("umoci", "unpack", "--image", image, str(last))
    shutil.rmtree(bundle / "rootfs/etc/opaque")
    shutil.copytree(inserted, bundle / "rootfs/etc/opaque")
    root = last / "rootfs"
    other = set(paths(root)) ^ set(paths(bundle / "rootfs"))
    if other:
        raise AssertionError(f"umoci unpacks a different tree: {sorted(other)}")
    return root, str(layout)


def put(path: Path, text: str, mode: int = 0o644, owner: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    os.chown(path, owner, owner)


def first(root: Path) -> None:
    put(root / "usr/lib/os-release", "ID=debian\n")
    put(root / "etc/shadow", "root:*:\n", 0o640)
    put(root / "usr/bin/su", "\x7fELF", 0o4755)
    put(root / "home/user/file", "own", 0o600, 1000)
    for number in range(20):
        put(root / f"etc/sysctl.d/{number:02}.conf", f"kernel.pid_max = {number}\n")
        put(root / f"etc/opaque/conf.d/{number:02}.toml", "below")
        put(root / f"usr/share/doc/{number}/copyright", "free", number, number)
    put(root / "usr/lib/modules/6.1/modules.dep", "kernel/a.ko:\n" * 20_000)
    put(root / "etc/new\nline \x1b[2J", "odd")
    put(root / f"var/{'long' * 20}/{'name' * 40}", "long")
    (root / "lib").symlink_to("usr/lib")
    (root / "etc/os-release").symlink_to("../usr/lib/os-release")
    (root / "etc/outside").symlink_to("/../../../etc/passwd")
    (root / "etc/loop").symlink_to("loop")
    os.link(root / "usr/bin/su", root / "usr/bin/sudo")
    os.mkfifo(root / "run-fifo")
    (root / "dev").mkdir()
    os.mknod(root / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)


def second(root: Path) -> None:
    shutil.rmtree(root / "usr/lib/modules/6.1")
    put(root / "usr/lib/modules/6.12/modules.dep", "")
    (root / "etc/sysctl.d/03.conf").unlink()
    put(root / "etc/sysctl.d/04.conf", "kernel.pid_max = 4194304\n", 0o600)
    (root / "etc/os-release").unlink()
    put(root / "etc/os-release", "ID=derived\n")
    shutil.rmtree(root / "var")
    put(root / "var", "a file where a directory was")
    os.chown(root / "home", 1000, 1000)


def third(root: Path) -> None:
    (root / "var").unlink()
    put(root / "var/lib/dpkg/status", "Package: bash\n")
    (root / "usr/bin/sudo").unlink()
    (root / "usr/bin/sudo").mkdir()
    (root / "home/user/file").rename(root / "home/user/other")
    shutil.rmtree(root / "etc/sysctl.d")
    (root / "etc/sysctl.d").symlink_to("../usr/lib/sysctl.d")
    put(root / "usr/lib/sysctl.d/50-default.conf", "kernel.pid_max = 1\n")


# the same tree through every access


def doors(root: Path, layout: str, where: Path) -> Iterator[tuple[str, str]]:
    """By name, where the tree is."""
    yield "the layout", layout
    for name, target, options in (
        ("an OCI archive", f"oci-archive:{where}/oci.tar", ()),
        ("what docker would save", f"docker-archive:{where}/docker.tar:node:1", ()),
        ("a layout with zstd", f"oci:{where}/zstd:node", ("--dest-compress-format=zstd",)),
    ):
        said("skopeo", "copy", "--quiet", "--insecure-policy", *options, f"oci:{layout}:node", target)
        yield name, target.split(":")[1]
    if not any(b"layer.v1.tar+zstd" in blob.read_bytes() for blob in Path(where, "zstd/blobs/sha256").iterdir()):
        raise AssertionError("skopeo did not compress any layer with zstd")
    for name, option in (("plain", "--format=gnu"), ("pax", "--format=posix"), ("gzip", "-z"), ("xz", "-J")):
        said("tar", "-C", str(root), option, "-cf", f"{where}/{name}.tar", ".")
        yield f"a tar, {name}", f"{where}/{name}.tar"
    os.mkfifo(f"{where}/pipe")
    yield "a tar through a pipe", f"{where}/pipe"


def through(root: Path, path: str) -> Tree:
    """The tree; what is a pipe is written while it is read."""
    if not stat.S_ISFIFO(os.stat(path).st_mode):
        return open_image(path)
    writer = threading.Thread(target=said, args=("tar", "-C", str(root), "-cf", path, "."))
    writer.start()
    try:
        return open_image(path)
    finally:
        writer.join()


def compared(name: str, root: Path, image: str) -> int:
    """How many paths are not the same; they are printed."""
    expected, seen = DirectoryTree(str(root)), through(root, image)
    asked = list(paths(root))
    different = [path for path in asked if told(expected, path) != told(seen, path)]
    for path in different[:10]:
        sys.stdout.write(f"differs  {name}: {path!r}: {told(seen, path)}, and not {told(expected, path)}\n")
    if len(asked) < FEWEST:
        raise AssertionError(f"only {len(asked)} paths")
    sys.stdout.write(f"{name}: {len(asked)} paths, {len(different)} differ\n")
    return len(different)


def paths(root: Path) -> Iterator[str]:
    """Every path of a tree, and some ways through and out of it."""
    yield from ("/", "/..", "/no", "/lib/os-release", "/lib/../lib/modules", "/etc/../../etc/os-release")
    for way, folders, files in sorted(os.walk(root)):
        yield from (f"{way}/{name}"[len(str(root)) :] for name in sorted([*folders, *files]))


def told(tree: Tree, path: str) -> tuple[object, ...]:
    """All that a tree says of a path, but the size that a file system gives to a directory."""
    looks = [tree.entry(path), tree.entry(path, follow=False)]
    entries = [
        look.then(lambda entry: entry._replace(size=0 if entry.kind == "directory" else entry.size)) for look in looks
    ]
    return (*entries, tree.read(path), tree.link(path), tree.names(path))


def chosen(layout: str) -> int:
    """Of two images in one layout, the platform chooses: what its configuration says, as umoci's index does not."""
    said("umoci", "tag", "--image", f"{layout}:node", "other")
    said("umoci", "config", "--image", f"{layout}:other", "--architecture", "s390x")
    own, other = open_image(layout), open_image(layout, "linux/s390x")
    wrong = int(told(own, "/etc/os-release") != told(other, "/etc/os-release"))
    try:
        open_image(layout, "linux/riscv64")
    except UsageError as mistake:
        sys.stdout.write(f"{mistake}\n")
        return wrong
    return 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: oci.py CACHE")
    sys.exit(main(Path(sys.argv[1]).resolve()))
