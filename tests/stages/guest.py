"""nodespec in guests that boot: Debian 12 with systemd and containerd, control groups unified and hybrid.

    python tests/stages/guest.py CACHE

A tree is made with debootstrap and booted by QEMU without hardware virtualisation. In it nodespec runs from its source
beside the validators of k8s.io/system-validators, and what both say is compared here, as `oracle.py` does for this
machine; what a guest is known to be is asked of the facts. CACHE keeps the tree, the image and what came out. The
exit status is 1 where something differs for no reason that is written down.
"""

from __future__ import annotations

import compileall
import glob
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import TYPE_CHECKING, Mapping, NamedTuple

import debian
import oracle

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[2]
PACKAGES = (
    *("systemd-sysv", "linux-image-cloud-amd64", "initramfs-tools"),
    *("python3", "python3-yaml", "containerd", "runc"),
)
PATIENCE = 240  # seconds for a guest to boot, look and power off; 30 are usual
UNIT = """\
[Unit]
Description=Look at this machine and power off
After=containerd.service systemd-modules-load.service
RequiresMountsFor=/opt
SuccessAction=poweroff-force
FailureAction=poweroff-force

[Service]
Type=oneshot
ExecStart=/bin/sh /opt/look
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0

[Install]
WantedBy=multi-user.target
"""
# asks both sides, in the files that `oracle.compared` reads
LOOK = """\
export PYTHONDONTWRITEBYTECODE=1
cd /opt/nodespec
now() { echo "$(cut -d' ' -f1 /proc/uptime) s: $1"; }
both() {
    mkdir -p $1
    for run in {RUNS}; do /opt/oracle-${run%/*} ${run#*/}.0 >$1/oracle-${run%/*}-${run#*/}.json; done
    for kubelet in {KUBELETS}; do
        python3 -m nodespec check sig-node/system-validators --set kubelet=$kubelet -o json=$1/nodespec-$kubelet.json
    done
}
now 'systemd has come to this unit'
both /run/out/found
now 'both sides are asked'
python3 -m nodespec facts runtime >/dev/null  # what was never run takes its time where each instruction is emulated
python3 -m nodespec check kubernetes/1.35 -o text -o json=/run/out/kubernetes.json
echo $? >/run/out/kubernetes.code
now 'kubernetes/1.35 is asked'
sed -i {EDITS} /boot/config-*
both /run/out/edited
now 'both sides are asked again'
tar -C /run/out -cf /dev/vdb .
sync
"""
# what is written into the kernel's configuration before the second look, and what both sides must say then
EDITS = (
    ("/CONFIG_NET_NS=/d", "CONFIG_NET_NS", "bad"),
    ("s/CONFIG_MEMCG=y/# CONFIG_MEMCG is not set/", "CONFIG_MEMCG", "bad"),
    ("s/CONFIG_CPUSETS=y/CONFIG_CPUSETS=n/", "CONFIG_CPUSETS", "bad"),
    ("s/CONFIG_CGROUP_PIDS=y/CONFIG_CGROUP_PIDS=m/", "CONFIG_CGROUP_PIDS", "good"),
    ("s/CONFIG_SECCOMP=y/# CONFIG_SECCOMP is not set/", "CONFIG_SECCOMP", "warn"),
    ("s/CONFIG_OVERLAY_FS=m/CONFIG_OVERLAYFS_FS=y/", "CONFIG_OVERLAY_FS", "good"),
    ("s/CONFIG_NETFILTER_XT_TARGET_REDIRECT=m/CONFIG_NETFILTER_XT_TARGET_REDIRECT=n/", "", ""),  # see DIFFERENCES
)


class Guest(NamedTuple):
    """What the kernel is told, and what the facts must then be: the observation's text by place."""

    cmdline: str
    facts: Mapping[str, str]


ALL = {
    "os.init": "systemd",
    "os.machine_id": "set",
    "kernel.arch": "x86_64",
    "kernel.lockdown": "none",
    "modules.overlay": "loaded",  # by containerd's unit
    "modules.br_netfilter": "loadable",
    "namespaces.kinds": "cgroup, ipc, mnt, net, pid, time, user, uts",
    "runtime.containerd.conditions": "RuntimeReady",  # and not NetworkReady: nobody has set up CNI
    "runtime.crio": "no such runtime: crio is not installed",
    "ports.10250": "free",
    "swap.total": "0",
}
GUESTS = {
    "unified": Guest("", {**ALL, "cgroups.version": "2", "runtime.containerd.cgroup_driver": "cgroupfs"}),
    "hybrid": Guest("systemd.unified_cgroup_hierarchy=0", {**ALL, "cgroups.version": "hybrid"}),
}


def main(cache: Path) -> int:
    """The exit status; what was compared is printed."""
    oracles = oracle.built(cache)
    tree = debian.system("bookworm", PACKAGES, cache / "guest-tree")
    image = booting(tree, cache / "guest.img")
    source = brought(oracles, cache)
    wrong = 0
    for name, guest in GUESTS.items():
        begun = time.monotonic()
        out = boot(tree, guest.cmdline, (image, source), cache / f"guest-{name}")
        print(f"guest {name}: booted, looked and powered off in {time.monotonic() - begun:.0f} s; see {out}")
        wrong += judged(guest, out)
    return int(wrong > 0)


def booting(tree: Path, image: Path) -> Path:
    """The image of a disk with that tree, in which the unit runs when it boots."""
    if not image.exists():
        (tree / "etc/systemd/system/look.service").write_text(UNIT)
        (tree / "etc/fstab").write_text("/dev/vda / ext4 defaults 0 0\n/dev/vdc /opt ext4 ro 0 0\n")
        wants = tree / "etc/systemd/system/multi-user.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / "look.service").unlink(missing_ok=True)
        (wants / "look.service").symlink_to("/etc/systemd/system/look.service")
        disk(tree, image, "1600M")
    return image


def brought(oracles: Mapping[str, Path], cache: Path) -> Path:
    """The image of a disk with nodespec's source, the oracles and the script that runs them."""
    folder = cache / "guest-opt"
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("nodespec", "checks", "reports", "specs"):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(TOP / part, folder / "nodespec" / part, symlinks=True, ignore=skip)
        # of use where this Python is the guest's; there it would be compiled anew at every start
        compileall.compile_dir(
            folder / "nodespec" / part, quiet=1, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
        )
    for version, binary in oracles.items():
        shutil.copy(binary, folder / f"oracle-{version}")
    runs = [f"{library}/{kubelet}" for library, kubelet in oracle.RUNS if library in oracles]
    told = {
        "RUNS": " ".join(runs),
        "KUBELETS": " ".join({kubelet for _, kubelet in oracle.RUNS}),
        "EDITS": " ".join(f"-e '{edit}'" for edit, _, _ in EDITS),
    }
    (folder / "look").write_text(re.sub(r"\{([A-Z]+)\}", lambda found: told[found[1]], LOOK))
    return disk(folder, cache / "guest-opt.img", "64M")


def disk(folder: Path, image: Path, size: str) -> Path:
    part = image.with_suffix(".part")
    part.unlink(missing_ok=True)
    debian.said("mke2fs", "-q", "-t", "ext4", "-d", str(folder), str(part), size)
    part.rename(image)
    return image


def boot(tree: Path, cmdline: str, disks: tuple[Path, Path], out: Path) -> Path:
    """Boot the first disk, with the second at /opt; the folder of what the guest wrote."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    written = out / "written.tar"
    with written.open("wb") as file:
        file.truncate(64 << 20)
    kernel, initrd = (glob.glob(f"{tree}/boot/{name}-*")[0] for name in ("vmlinuz", "initrd.img"))
    image, source = disks
    argv = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "2048"]
    argv += ["-nographic", "-no-reboot", "-nic", "none", "-kernel", kernel, "-initrd", initrd]
    argv += ["-append", f"console=ttyS0 root=/dev/vda rw quiet panic=-1 {cmdline}"]
    for drive in (f"file={image},snapshot=on", f"file={written}", f"file={source},readonly=on"):
        argv += ["-drive", f"{drive},format=raw,if=virtio"]
    with (out / "console").open("wb") as console:
        try:
            subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=console, stderr=console, timeout=PATIENCE, check=True)
        except subprocess.SubprocessError as error:
            tail = (out / "console").read_text(errors="replace")[-4000:]
            raise RuntimeError(f"the guest did not end by itself: {error}\n{tail}") from None
    debian.said("tar", "--extract", "--file", str(written), "--directory", str(out))
    written.unlink()
    return out


def judged(guest: Guest, out: Path) -> int:
    """How many things are not as they must be, each printed."""
    wrong = 0
    for folder, tags in (("found", oracle.ANYWHERE), ("edited", oracle.EDITED)):
        for library, kubelet in oracle.RUNS:
            if (out / folder / oracle.theirs_in(library, kubelet)).exists():
                wrong += oracle.compared(out / folder, library, kubelet, tags)
    mistakes = [*misread(guest, out), *unmoved(out)]
    for mistake in mistakes:
        print(f"wrong    {mistake}")
    print(f"{len(guest.facts)} facts and {len(EDITS)} edits looked at, {len(mistakes)} of them wrong")
    return wrong + len(mistakes)


def misread(guest: Guest, out: Path) -> Iterator[str]:
    """What kubernetes/1.35 saw otherwise than the guest is. As root on a whole system nothing may be unknown."""
    report = oracle.report(out / "kubernetes.json")
    seen: dict[str, str] = {}
    for finding in report.findings:
        seen.update({part.place: part.observed.text for part in finding.parts})
        if finding.outcome == "unknown":
            yield f"{finding.id} is unknown: {finding.sentence}"
    for place, text in guest.facts.items():
        if seen.get(place) != text:
            yield f"{place} is {text!r}, and seen is {seen.get(place)!r}"
    code = (out / "kubernetes.code").read_text().strip()
    if (report.conclusion, code) != ("nonconformant", "10"):
        yield f"a machine without a kubelet is {report.conclusion}, exit status {code}"


def unmoved(out: Path) -> Iterator[str]:
    """What an edit of the kernel's configuration did not make of a verdict."""
    ours = oracle.told_by_nodespec(oracle.report(out / "edited" / oracle.ours_in("1.35")))
    for edit, item, verdict in EDITS:
        if item and ours.get(item) != verdict:
            yield f"after {edit} {item} is {ours.get(item)}, not {verdict}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: guest.py CACHE")
    sys.exit(main(Path(sys.argv[1]).resolve()))
