"""Boot trees with QEMU, without hardware virtualization: run a script in the guest, and return what it wrote.

Nothing is written into a tree. An image of a disk is made of it, with a unit that runs the script `look`; that stands
on a second disk, mounted at /opt, beside nodespec's source. What the script leaves in /run/out comes back.
"""

from __future__ import annotations

import glob
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from debian import said

if TYPE_CHECKING:
    from collections.abc import Iterable

TOP = Path(__file__).parents[2]
PATIENCE = 800  # seconds for a guest to boot, look and power off; 50 are usual
PATCHING_ERROR = "Oops: int3"
UNIT = """\
[Unit]
Description=Look at this machine and power off
After=containerd.service systemd-modules-load.service
RequiresMountsFor=/opt
SuccessAction=poweroff-force
FailureAction=poweroff-force

[Service]
Type=oneshot
ExecStart=/bin/sh /opt/run

[Install]
WantedBy=multi-user.target
"""
FSTAB = "/dev/vda / ext4 defaults 0 0\n/dev/vdc /opt ext4 ro,x-systemd.device-timeout=900 0 0\n"
# where nothing is quick, what comes late has not failed, and the kernel does not test its timer by waiting for it
UNHURRIED = "systemd.default_timeout_start_sec=900 no_timer_check"
# nothing is printed on the console: a login that starts there hangs up programs that have it open
RUN = """\
mkdir -p /run/out
export PYTHONPYCACHEPREFIX=/var/tmp/compiled
now() { echo "$(cut -d' ' -f1 /proc/uptime) s: $1" | tee /dev/console; }
# what runs for the first time may take too long to answer; nodespec then runs again
nodespec() {
    for try in 1 2 3 4; do
        touch /run/asked
        PYTHONPATH=/opt/nodespec python3 /opt/patient "$@" --deadline 400
        code=$?
        late || break
    done
    return $code
}
late() { find /run/out -name '*.json' -newer /run/asked -exec grep -q '"timed out"' {} + ; }
cd /opt/nodespec
. /opt/look >/run/out/log 2>&1
tar -C /run/out -cf /dev/vdb .
sync
"""
# each instruction is emulated: one observation can take longer than on any real machine
PATIENT = """\
from nodespec.facts.live import Live
from nodespec.host.machine import Machine
from nodespec.__main__ import run
Live.patience = Machine.patience = 60.0
run()
"""


class Guest(NamedTuple):
    """A tree, the image of a disk with it, and the image of what is mounted at /opt."""

    tree: Path
    root: Path
    brought: Path


def guest(tree: Path, look: str, folder: Path, programs: Iterable[Path] = ()) -> Guest:
    """A guest that runs the script `look`, with programs beside it; the images are made in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    root, brought = folder / "root.img", folder / "opt.img"
    with tempfile.TemporaryDirectory(dir=folder) as made:
        return Guest(tree, _bootable(tree, Path(made), root), _brought(look, programs, Path(made), brought))


def _bootable(tree: Path, made: Path, image: Path) -> Path:
    _disk(tree, image, "1800M")
    (made / "look.service").write_text(UNIT)
    (made / "fstab").write_text(FSTAB)
    edits = (
        *("cd /etc", "rm fstab", f"write {made}/fstab fstab"),
        *("cd /etc/systemd/system", f"write {made}/look.service look.service", "cd multi-user.target.wants"),
        "symlink look.service ../look.service",
    )
    (made / "edits").write_text("\n".join(edits))
    said("debugfs", "-w", "-f", str(made / "edits"), str(image))  # which succeeds whatever became of the edits
    for file in ("/etc/fstab", "/etc/systemd/system/multi-user.target.wants/look.service"):
        if "Inode:" not in said("debugfs", "-R", f"stat {file}", str(image)):
            raise RuntimeError(f"{image} has no {file}")
    return image


def _brought(look: str, programs: Iterable[Path], made: Path, image: Path) -> Path:
    whole = made / "opt"
    for part in ("nodespec", "checks", "reports", "specs"):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(TOP / part, whole / "nodespec" / part, symlinks=True, ignore=skip)
    for program in programs:
        shutil.copy(program, whole)
    (whole / "run").write_text(RUN)
    (whole / "patient").write_text(PATIENT)
    (whole / "look").write_text(look)
    return _disk(whole, image, "64M")


def _disk(folder: Path, image: Path, size: str) -> Path:
    image.unlink(missing_ok=True)
    said("mke2fs", "-q", "-t", "ext4", "-d", str(folder), str(image), size)
    return image


def boot(guest: Guest, out: Path, cmdline: str = "") -> Path:
    """Boot it; the folder of what it wrote, with its `log`. RuntimeError where it did not end by itself.

    Kernels patch their own code while another processor runs it, which emulation sometimes gets wrong: then it is
    booted again.
    """
    try:
        return _boot_once(guest, out, cmdline)
    except RuntimeError as error:
        if PATCHING_ERROR not in str(error):
            raise
        print(f"again    {PATCHING_ERROR}")
        return _boot_once(guest, out, cmdline)


def _boot_once(guest: Guest, out: Path, cmdline: str) -> Path:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    written = out / "written.tar"
    with written.open("wb") as file:
        file.truncate(64 << 20)
    kernel, initrd = (glob.glob(f"{guest.tree}/boot/{name}-*")[0] for name in ("vmlinuz", "initrd.img"))
    # Debian 13's kernel ends in a double fault where QEMU 7.2 emulates cmpxchg16b
    argv = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max,-cx16", "-smp", "2", "-m", "2048"]
    argv += ["-nographic", "-no-reboot", "-nic", "none", "-kernel", kernel, "-initrd", initrd]
    argv += ["-append", f"console=ttyS0 root=/dev/vda rw quiet panic=-1 {UNHURRIED} {cmdline}"]
    for drive in (f"file={guest.root},snapshot=on", f"file={written}", f"file={guest.brought},readonly=on"):
        argv += ["-drive", f"{drive},format=raw,if=virtio"]
    console = out / "console"
    with console.open("wb") as sink:
        try:
            subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, timeout=PATIENCE, check=True)
        except subprocess.SubprocessError as error:
            raise RuntimeError(f"the guest did not power off: {error}\n{_end(console)}") from None
    try:
        said("tar", "--extract", "--file", str(written), "--directory", str(out))
        said("test", "-e", str(out / "log"))
    except RuntimeError as error:
        raise RuntimeError(f"the guest wrote nothing: {error}\n{_end(console)}") from None
    written.unlink()
    return out


def _end(console: Path) -> str:
    return console.read_text(errors="replace")[-4000:]
