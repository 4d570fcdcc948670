"""What the README says of images, as a new user does it: a folder, and a disk that QEMU would boot.

    python tests/stages/images.py CACHE

As root, with debootstrap. The tree of a node in CACHE is put on a partition of a disk. The README's steps are taken in
a folder that has both, by a user without privileges but where it says otherwise, with this nodespec; whatever holds the
image, the findings must be those of the tree. The exit status is 1 where they are not, or where a step fails.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import asking
import debian

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodespec.model.report import Finding

TOP = Path(__file__).parents[2]
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
FEWEST = 3  # images that are judged
NEEDED = {"qemu-img": "qemu-utils", "sfdisk": "fdisk", "debugfs": "e2fsprogs"}


def main(cache: Path) -> int:
    """The exit status; what is run is printed."""
    missing = [package for program, package in NEEDED.items() if not shutil.which(program)]
    if missing:
        debian.installed(*missing)
    tree = debian.node("bookworm", cache)
    blocks = re.findall(
        r"^```sh image( as root)?\n(.*?)^```$", (TOP / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    with tempfile.TemporaryDirectory(prefix="nodespec-", dir=cache) as name:
        folder = Path(name)
        laid(tree, folder)
        judged = found(folder, f"nodespec check kubernetes/1.35 --image {tree}")
        try:
            wrong = [line for root, block in blocks for line in taken(block, folder, judged, root=bool(root))]
        finally:
            subprocess.run(["/bin/umount", "--quiet", str(folder / "mounted")], check=False)
    count = sum(line.startswith("nodespec ") for _, block in blocks for line in block.splitlines())
    if count < FEWEST:
        wrong.append(f"the README judges {count} images")
    print(*(f"wrong    {one}" for one in wrong), f"{count} images, {len(judged)} findings of each", sep="\n")
    return int(bool(wrong))


def laid(tree: Path, folder: Path) -> None:
    """`rootfs`, and `disk.qcow2` with the tree on its one partition, where anybody may write."""
    folder.chmod(0o777)
    (folder / "rootfs").symlink_to(tree)
    raw = folder / "made.raw"
    with raw.open("wb") as file:
        file.truncate(2 << 30)
    debian.said("sh", "-c", f"echo 'start=2048, type=linux' | sfdisk --quiet --label gpt {shlex.quote(str(raw))}")
    debian.said("mke2fs", "-q", "-t", "ext4", "-E", "offset=1048576", "-d", str(tree), str(raw), "1900M")
    debian.said("qemu-img", "convert", "-O", "qcow2", str(raw), str(folder / "disk.qcow2"))
    raw.unlink()


def taken(block: str, folder: Path, judged: tuple[Finding, ...], *, root: bool) -> Iterator[str]:
    """What goes wrong with the lines of a block."""
    for line in block.splitlines():
        print(f"{'#' if root else '$'} {line}", flush=True)
        if line.startswith("nodespec "):
            differing = [one for one, other in zip(found(folder, line), judged) if one != other]
            yield from (f"{line}: {one.id} is not as in the tree: {one.sentence}" for one in differing)
            continue
        argv = [*(() if root else NOBODY), "sh", "-c", line]
        done = subprocess.run(
            argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
            check=False,
        )  # fmt: skip
        lines = done.stdout.splitlines()
        print("\n".join([*lines[:3], f"... {len(lines) - 6} lines ...", *lines[-3:]] if len(lines) > 20 else lines))
        if done.returncode:
            yield f"{line}: exit status {done.returncode}"


def found(folder: Path, line: str) -> tuple[Finding, ...]:
    """The findings of a check."""
    return asking.judged(shlex.split(line)[2:], folder / "report.json", cwd=folder).findings


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: images.py CACHE")
    sys.exit(main(Path(sys.argv[1]).resolve()))
