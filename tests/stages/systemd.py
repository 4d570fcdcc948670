"""A real systemd: does what nodespec says of a tree at rest agree with what systemd does in it?

    python tests/stages/systemd.py CACHE

As root, with debootstrap; the tree is kept in the folder CACHE. Of every unit `systemctl is-enabled` is asked. Then
files of sysctl.d are made at random, and systemd-sysctl applies them in a network namespace of its own, to parameters
that such a namespace has to itself: no other is touched. The exit status is 1 where anything is different.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from debian import said, system

TOP = Path(__file__).parents[2]
sys.path.insert(0, str(TOP))

from nodespec.checks import _services_at_boot, _systemd_units  # noqa: E402
from nodespec.checks.sysctl import sysctl  # noqa: E402
from nodespec.host.directory import DirectoryTree  # noqa: E402
from nodespec.host.tree import Tree  # noqa: E402
from nodespec.model.observation import Value  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

TRIES = 100
FOLDERS = ("etc/sysctl.d", "usr/local/lib/sysctl.d", "usr/lib/sysctl.d")
KINDS = ("service", "socket", "target", "timer", "mount", "path", "automount", "swap")
STARTED = {"enabled": {True}, "disabled": {False}, "masked": {False}, "indirect": {False}}  # others may be either
KEYS = (
    *(f"net.ipv4.conf.{i}.{k}" for i in ("all", "default", "lo") for k in ("rp_filter", "log_martians")),
    *("net.ipv4.conf.all.forwarding", "net.ipv4.conf.default.forwarding", "net.ipv4.ip_forward"),
    *("net.ipv6.conf.all.forwarding", "net.ipv6.conf.default.forwarding"),
)
PATTERNS = (
    *("net.ipv4.conf.*.rp_filter", "net.ipv4.conf.[ad]*.log_martians", "net/ipv4/conf/*/forwarding"),
    *("net.ipv4.conf.*.*_filter", "net.ipv6.conf.*.forwarding", "net/ipv4/conf/?o/rp_filter"),
)
APPLY = """
mount --rbind /proc {tree}/proc && cd /proc/sys || exit 3
for file in {files}; do echo 0 >$file; done
chroot {tree} /lib/systemd/systemd-sysctl --prefix=/net/ >/dev/null 2>&1
cat {files}
"""


def main() -> int:
    if os.geteuid():
        sys.stderr.write("this wants root\n")
        return 2
    tree = system("bookworm", ["systemd-sysv"], Path(sys.argv[1]).resolve() / "systemd")
    units = sorted(set(named(DirectoryTree(str(tree)))))
    wrong = [*(line for unit in units for line in different(tree, unit)), *misapplied(tree, random.Random(1))]  # noqa: S311 - no secret
    print("\n".join(wrong) or f"{len(units)} units and {TRIES} sets of files read as by systemd")
    return 1 if wrong else 0


def named(tree: Tree) -> Iterator[str]:
    for folder in _systemd_units.UNITS:
        names = tree.names(folder)
        for name in names.value if isinstance(names, Value) else ():
            if name.rpartition(".")[2] in KINDS and "@" not in name:
                yield name


def different(tree: Path, unit: str) -> Iterator[str]:
    state = said("sh", "-c", f"systemctl --root='{tree}' is-enabled '{unit}' || true").strip()
    seen = _services_at_boot.is_enabled(DirectoryTree(str(tree)), unit)
    if not isinstance(seen, Value) or seen.value not in STARTED.get(state, {True, False}):
        yield f"{unit}: systemctl says {state}, nodespec {seen}"


def misapplied(tree: Path, chance: random.Random) -> Iterator[str]:
    kept = {folder: tree / f"{folder}.kept" for folder in FOLDERS if (tree / folder).exists()}
    for folder, aside in kept.items():
        (tree / folder).rename(aside)
    try:
        for _ in range(TRIES):
            made(tree, chance)
            yield from misread(tree)
    finally:
        for folder in FOLDERS:
            shutil.rmtree(tree / folder, ignore_errors=True)
        for folder, aside in kept.items():
            aside.rename(tree / folder)


def made(tree: Path, chance: random.Random) -> None:
    """Some files with some lines, in which names, wildcards and exemptions stand against each other."""
    for folder in FOLDERS:
        shutil.rmtree(tree / folder, ignore_errors=True)
        (tree / folder).mkdir(parents=True)
    for folder, name in chance.sample(list(itertools.product(FOLDERS, "abc")), chance.randint(1, 4)):
        lines = [line(chance) for _ in range(chance.randint(0, 4))]
        path = tree / folder / f"{name}.conf"
        if chance.random() < 0.1:
            path.symlink_to("/dev/null")
        else:
            path.write_text("\n".join(lines) + "\n")


def line(chance: random.Random) -> str:
    key = chance.choice((*KEYS, *PATTERNS))
    value = chance.choice((" = 0", "=1", " =1"))
    return chance.choice((f"{key}{value}", f"{key}{value}", f"-{key}{value}", f"-{key}"))


def misread(tree: Path) -> Iterator[str]:
    files = " ".join(f"{key.replace('.', '/')}" for key in KEYS)
    found = said("unshare", "--net", "--mount", "sh", "-c", APPLY.format(tree=tree, files=files)).split()
    assert sysctl.resting, "it is read at rest"
    rows = sysctl.resting(DirectoryTree(str(tree)))
    for key, value in zip(KEYS, found):
        seen = rows.observe(key)
        if (seen.value if isinstance(seen, Value) else "0") != value:
            texts = said("sh", "-c", f"cd '{tree}' && grep -r '' {' '.join(FOLDERS)} || true")
            yield f"{key}: systemd sets {value}, nodespec says {seen}, from\n{texts}"


if __name__ == "__main__":
    sys.exit(main())
