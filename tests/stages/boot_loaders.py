"""systemd-boot's menu: are entries sorted, and is the default chosen, as `bootctl list` does?

    python tests/stages/boot_loaders.py [TREES [SEED]]

As root, with bootctl; without it Debian's package systemd-boot is installed first. Trees are made at random (500, the
same each time): entries and unified kernel images on an EFI system partition and its extension, with and without sort
keys, counters and a loader.conf. Both are memory mounted in a namespace of this program's own. The order of all
entries and the default must be bootctl's; what nodespec calls unknown is counted, and may be one tree in twenty. The
exit status is 1 where anything is different.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from debian import installed, said

TOP = Path(__file__).parents[2]
sys.path.insert(0, str(TOP))

from nodespec.checks import _boot_systemd_boot  # noqa: E402 - this folder is where Python starts, not the top
from nodespec.host.directory import DirectoryTree  # noqa: E402
from nodespec.model.observation import Absent, Unknown, Value  # noqa: E402

if TYPE_CHECKING:
    from random import Random

TREES, SEED = 500, 20261128
RELAXED = {"SYSTEMD_RELAX_ESP_CHECKS": "1", "SYSTEMD_RELAX_XBOOTLDR_CHECKS": "1"}
MACHINES = ("8f1c7b0e5a5d4c0f9a3c1f2d3e4b5a69", "0a4d2v7kx3fw1pnj8zs3zxq9c1b6m5yh")
RELEASES = (
    *("6.1.0-9-amd64", "6.1.0-10-amd64", "6.1.0-49-amd64", "6.12.1", "6.12~rc3", "6.12", "6.9.7-1-default"),
    *("5.14.0-427.13.1.el9_4.x86_64", "5.14.0-503.el9.x86_64", "4.18.0-348.el8.x86_64", "4.18.0-348.2.1.el8_5.x86_64"),
)
NAMES = ("arch", "arch-lts", "Arch", "nixos-generation-9", "nixos-generation-10", "debian", "memtest", "a_b", "A-2")
KEYS = ("debian", "arch", "ARCH", "fedora", "opensuse-tumbleweed", "z")
SYSTEMS = (
    'ID=arch\nPRETTY_NAME="Arch Linux"\n',
    "ID=fedora\nVERSION_ID=41\nNAME=Fedora\n",
    "ID=debian\nVERSION_ID='12'\nVERSION='12 (bookworm)'\nPRETTY_NAME=Debian\n",
    "ID=node\nIMAGE_ID=node\nIMAGE_VERSION=7\nVERSION_ID=3\n",
    "ID=arch\nBUILD_ID=rolling\n",
    "VERSION_ID=1\n",
)


class Listed(NamedTuple):
    """The files of a menu in its order, and the one that is started; empty: none."""

    order: tuple[str, ...]
    default: str


def main() -> int:
    if os.geteuid():
        sys.stderr.write("this wants root\n")
        return 2
    if not shutil.which("bootctl"):
        installed("systemd-boot")
    if "--inside" not in sys.argv:
        command = [str(shutil.which("unshare")), "--mount", sys.executable, *sys.argv, "--inside"]
        return subprocess.run(command, check=False).returncode
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    trees, seed = (*numbers, *(TREES, SEED)[len(numbers) :])
    root = Path(tempfile.mkdtemp(prefix="nodespec-boot."))
    try:
        for partition in ("efi", "boot"):
            (root / partition).mkdir()
            said("mount", "-t", "tmpfs", "tmpfs", str(root / partition))
        return compare(root, trees, seed)
    finally:
        for partition in ("efi", "boot"):
            said("umount", str(root / partition))
        shutil.rmtree(root, ignore_errors=True)


def compare(root: Path, trees: int, seed: int) -> int:
    """Print what differs, and the counts; the exit status."""
    wrong, unknown = [], 0
    for number in range(trees):
        fill(root, random.Random(f"{seed} {number}"))  # noqa: S311 - no secret
        ours, theirs = by_nodespec(root), by_bootctl(root)
        unknown += ours is None
        if ours is not None and ours != theirs:
            wrong.append(f"tree {number}: nodespec {ours}, bootctl {theirs}")
    print("\n".join(wrong[:20]))
    print(f"{trees} trees: {len(wrong)} differ from bootctl, {unknown} unknown")
    return 1 if wrong or unknown * 20 > trees else 0


def fill(root: Path, chance: Random) -> None:
    """Write new content to the partitions."""
    for partition in ("efi", "boot"):
        for path in (root / partition).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (root / "efi/EFI/systemd").mkdir(parents=True)
    (root / "efi/EFI/systemd/systemd-bootx64.efi").write_bytes(b"MZ")
    names: list[str] = []
    for partition in ("efi", "boot"):
        entries = root / partition / "loader/entries"
        entries.mkdir(parents=True)
        for _ in range(chance.choice((0, 1, 2, 3))):
            release, machine = chance.choice(RELEASES), chance.choice(MACHINES)
            stem = chance.choice((f"{machine}-{release}", chance.choice(NAMES), f"{chance.choice(NAMES)}-{release}"))
            stem = stem.replace("~", "")  # bootctl takes no such name, and systemd-boot does
            name = f"{stem}{counter(chance)}.conf"
            if f"{stem}.conf" in names:
                continue  # the order of directories decides
            names.append(f"{stem}.conf")
            (entries / name).write_text(entry(chance, release, machine))
        images = root / partition / "EFI/Linux"
        images.mkdir(parents=True, exist_ok=True)
        for _ in range(chance.choice((0, 0, 1, 2))):
            stem = f"{chance.choice(NAMES)}-{chance.choice(RELEASES)}".replace("~", "")
            if f"{stem}.efi" in names:
                continue
            names.append(f"{stem}.efi")
            (images / f"{stem}{counter(chance)}.efi").write_bytes(image(chance))
    if chance.random() < 0.9:
        (root / "efi/loader/loader.conf").write_text(conf(chance, names))


def counter(chance: Random) -> str:
    return chance.choice(("", "", "", "+3", "+0", "+2-1", "+0-3", "+1-2"))


def entry(chance: Random, release: str, machine: str) -> str:
    lines = [f"title Linux {release}", f"linux /vmlinuz-{release}", "options root=/dev/vda quiet"]
    lines += [f"version {release}"] if chance.random() < 0.8 else []
    lines += [f"machine-id {machine}"] if chance.random() < 0.7 else []
    lines += [f"sort-key {chance.choice(KEYS)}"] if chance.random() < 0.5 else []
    lines += ["options\tmore", "# options none", "", "  initrd   /initrd", "unheard of"][: chance.randrange(6)]
    chance.shuffle(lines)
    return "\n".join(lines) + "\n"


def conf(chance: Random, names: list[str]) -> str:
    """loader.conf: defaults that match, match in another case, match several or nothing."""
    lines = ["timeout 3", "console-mode keep"]
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        name = chance.choice(names) if names else "none"
        stem = name.rpartition(".")[0]
        form = (name, name, name.upper(), f"{name[:2]}*", f"*{stem[-4:]}*", "*", stem, "none*", f"?{name[1:]}", "[!a]*")
        lines.append(f"default {'@saved' if chance.random() < 0.02 else chance.choice(form)}")
    return "\n".join(lines) + "\n"


def image(chance: Random) -> bytes:
    """A unified kernel image of the sections that a menu is made from."""
    release = chance.choice(RELEASES)
    sections = [
        (b".osrel", chance.choice(SYSTEMS).encode()),
        (b".cmdline", b"root=/dev/vda quiet\0"),
        (b".uname", release.encode()),
        (b".linux", b"MZ".ljust(chance.choice((64, 4096)), b"\0")),
    ]
    chance.shuffle(sections)
    offset = 64 + 24 + 40 * len(sections)
    head = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0"
    head += struct.pack("<HHIIIHH", 0x8664, len(sections), 0, 0, 0, 0, 0x22)
    body = b""
    for name, data in sections:
        head += struct.pack("<8sIIII16x", name, len(data), 0x1000, len(data), offset + len(body))
        body += data
    return head + body


def by_nodespec(root: Path) -> Listed | None:
    """The menu as nodespec has it; None where it is unknown."""
    found = _boot_systemd_boot.read_systemd_boot_menu(DirectoryTree(str(root)))
    if isinstance(found, Absent) or (isinstance(found, Unknown) and "no entries" in found.say):
        return Listed((), "")
    if not isinstance(found, Value):
        return None
    (started,) = found.value.started
    return Listed(tuple(offer.at.source for offer in found.value.offers), started.at.source)


def by_bootctl(root: Path) -> Listed:
    """The menu as bootctl prints it."""
    command = ["bootctl", f"--root={root}", "list", "--no-pager"]
    done = subprocess.run(command, env={**os.environ, **RELAXED}, capture_output=True, text=True, check=False)
    order, default = [], ""
    for block in re.split(r"\n\s*\n", re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)):
        source = re.search(r"^\s*source: (.+)$", block, re.MULTILINE)
        if source:
            path = source[1].strip().removeprefix(str(root))
            order.append(path)
            default = path if re.search(r"^\s*title: .*\(default\)", block, re.MULTILINE) else default
    return Listed(tuple(order), default)


if __name__ == "__main__":
    sys.exit(main())
