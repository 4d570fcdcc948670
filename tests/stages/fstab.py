"""Does nodespec read /etc/fstab as systemd-fstab-generator does?

    python tests/stages/fstab.py [CACHE] [--tables N] [--seed N]

As root. Random tables are given to the installed generator, in a mount namespace without the marks of a container, and
to nodespec: both must make the same units and start the same ones. A difference is reduced to the lines that it takes.
Exit status 77: the generator is not installed.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[2]))

from nodespec.checks import _swap_fstab
from nodespec.host.directory import DirectoryTree

if TYPE_CHECKING:
    from collections.abc import Sequence

GENERATOR = "/usr/lib/systemd/system-generators/systemd-fstab-generator"
TABLES, SKIP = 500, 77
RUN = """
root=$(mktemp -d); mount -t tmpfs none $root
for folder in usr proc sys dev; do mkdir $root/$folder; mount --rbind /$folder $root/$folder; done
for link in bin sbin lib lib64; do ln -s usr/$link $root/$link; done
mkdir -p $root/etc $root/run $root/tables; mount --bind {folder} $root/tables
exec chroot $root /bin/sh -c '
cd /tables; for table in table-*; do
    mkdir made-$table; SYSTEMD_FSTAB=/tables/$table {generator} made-$table made-$table made-$table
done; true' 2>/dev/null
"""
WHAT = (
    *("/dev/sda2", "/dev/sda2", "/dev/vg/swap", "UUID=ab-cd", 'UUID="ab-cd"', "LABEL=my\\040swap", "PARTUUID=1-2"),
    *("PARTLABEL=x/y", "/swapfile", "/swap\\040file", "swapfile", "ID=x", "host:/x", "tmpfs", "/dev/../x", "/a//b/"),
)
WHERE = ("none", "none", "none", "swap", "/", "/data", "/data/x-y", "/var/lib//kubelet/", "/a\\040b", "data", "/..")
KIND = ("swap", "swap", "swap", "ext4", "nfs", "cifs", "auto", "tmpfs", "SWAP", "swap\r")
OPTION = (
    *("sw", "defaults", "noauto", "auto", "nofail", "fail", "noauto=1", "_netdev", "x-systemd.automount", "pri=5"),
    *("x-systemd.requires=a.service", "x-systemd.wanted-by=x.target", "x-systemd.required-by=y.target", "a\\,noauto"),
    *("comment=systemd.automount", "x-systemd.makefs", "noautoX", "xnoauto", "nofail=0", "ro", ""),
)


def table_of(chance: random.Random) -> list[str]:
    """The lines of a table."""
    return [line_of(chance) for _ in range(chance.randint(0, 4))]


def line_of(chance: random.Random) -> str:
    options = ",".join(chance.choice(OPTION) for _ in range(chance.choice((0, 1, 1, 2, 3))))
    fields = [chance.choice(WHAT), chance.choice(WHERE), chance.choice(KIND), options or "sw", "0", "0"]
    kept = fields[: chance.choice((6, 6, 6, 4, 4, 3, 2, 1))]
    line = chance.choice((" ", "\t", "  \t")).join(kept)
    return chance.choice((line, line, line, line, f"  {line}", f"#{line}", f"{line} ", f"{line}\r", f"{line} # x", ""))


def theirs(tables: Sequence[Sequence[str]]) -> list[set[str]]:
    """The units and links that the generator makes of each table."""
    with tempfile.TemporaryDirectory() as folder:
        for number, lines in enumerate(tables):
            Path(folder, f"table-{number:05}").write_bytes("\n".join([*lines, ""]).encode())
        script = RUN.format(folder=folder, generator=GENERATOR)
        subprocess.run(
            ["/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script],
            check=True,
            timeout=300,
        )
        return [made(Path(folder, f"made-table-{number:05}")) for number in range(len(tables))]


def made(folder: Path) -> set[str]:
    """Units by name, and the links by which they are started."""
    paths = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or path.is_file()}
    return {path for path in paths if path.endswith((".swap", ".mount", ".automount"))}


def ours(lines: Sequence[str]) -> set[str]:
    """What nodespec makes of it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "etc").mkdir()
        Path(folder, "etc/fstab").write_bytes("\n".join([*lines, ""]).encode())
        return {path.partition("/")[2] for path, _ in _swap_fstab.generate_fstab_units(DirectoryTree(folder))}


def reduced(lines: list[str]) -> list[str]:
    """As few lines as make a difference."""
    for line in list(lines):
        fewer = [other for other in lines if other is not line]
        if theirs([fewer])[0] != ours(fewer):
            lines = fewer
    return lines


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("cache", nargs="?")
    parser.add_argument("--tables", type=int, default=TABLES)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not os.access(GENERATOR, os.X_OK):
        print(f"{GENERATOR} not found")
        return SKIP
    chance = random.Random(options.seed)  # noqa: S311 - no secret
    tables = [table_of(chance) for _ in range(options.tables)]
    answers = theirs(tables)
    different = [lines for lines, answer in zip(tables, answers) if ours(lines) != answer]
    for lines in different[:5]:
        few = reduced(lines)
        print(f"{few!r}\n  systemd  {sorted(theirs([few])[0])}\n  nodespec {sorted(ours(few))}")
    units = sum(map(len, answers))
    print(f"{len(tables)} tables with {units} units and links, {len(different)} differ")
    return 1 if different or not units else 0


if __name__ == "__main__":
    sys.exit(main())
