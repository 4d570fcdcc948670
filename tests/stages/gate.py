"""The gate that boots with the machine, in guests with a real systemd, and a bundle on a node that has only Python.

    python tests/stages/gate.py CACHE

The tree of a node is copied, and its container runtime and PyYAML are purged. Into the copy the gate is installed, with
one command, before `kubelet.service`; that is a stand-in that sleeps, and the runtime is one whose
socket comes late. It is booted fit, unfit, and unfit with an override on the kernel's command line, by QEMU without
hardware virtualisation. In the fit guest a bundle is run from a mount that is read-only and noexec. CACHE keeps what
came out. The exit status is 1 where anything is not as it must be.
"""

from __future__ import annotations

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import debian
import qemu
from oracle import report
from unhurried import unhurry

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[2]
SPEC = """\
nodespec: 1
name: guest/gate
title: A guest that is a node
extends: [container-host]
require:
  cgroups: {version: {is: 2, why: the kubelet asks for it}}
  files: {/run/runtime.sock: {type: socket}}
"""
UNITS = {
    "kubelet.service": """\
[Unit]
Description=A stand-in for the kubelet

[Service]
ExecStart=/bin/sleep infinity
Restart=always
RestartSec=0

[Install]
WantedBy=multi-user.target
""",
    "runtime.service": """\
[Unit]
Description=A stand-in for a container runtime whose socket comes late

[Service]
ExecStartPre=/bin/sleep 20
ExecStart=/usr/bin/python3 -c 'import socket, time; socket.socket(socket.AF_UNIX).bind("/run/runtime.sock"); \\
    time.sleep(9999)'

[Install]
WantedBy=multi-user.target
""",
}
WAIT = "60"  # seconds; the runtime of a fit guest needs 20 of them, and an unfit guest waits until the end
HYBRID = "systemd.unified_cgroup_hierarchy=0"
# what every guest does; this script is a unit, so systemd has not finished starting while it runs
BEGIN = """\
out=/run/out
state() { systemctl show -P ActiveState $1; }
for _ in $(seq 600); do
    case $(state nodespec-gate) in active | failed) break ;; esac
    sleep 1
done
sleep 2
told() { # NAME
    state kubelet >$out/$1.kubelet
    state nodespec-gate >$out/$1.gate
    for unit in kubelet nodespec-gate; do systemctl status --no-pager $unit >$out/$1.$unit.status; done
}
told boot
journalctl -b --no-pager -o short-monotonic -u nodespec-gate -u kubelet -u runtime >$out/journal
journalctl -b --no-pager -p warning -u nodespec-gate >$out/warnings
cp -r /var/lib/nodespec $out/state
stat -c '%A %n' /var/lib/nodespec /var/lib/nodespec/* >$out/modes
"""
FIT = """\
stat -c %Z /run/runtime.sock >$out/socket
date -d "$(systemctl show -P ExecMainStartTimestamp nodespec-gate)" +%s >$out/gate-began
date -d "$(systemctl show -P ExecMainExitTimestamp nodespec-gate)" +%s >$out/gate-ended
date -d "$(systemctl show -P ExecMainStartTimestamp kubelet)" +%s >$out/kubelet-began
# the gate is asked once a boot: what it guards may crash, and may not be stopped by stopping the gate
before=$(systemctl show -P InvocationID nodespec-gate)
systemctl kill --signal=KILL kubelet
sleep 3
told crashed
[ "$(systemctl show -P InvocationID nodespec-gate)" = "$before" ] && touch $out/once
systemctl stop nodespec-gate 2>$out/stop.err && touch $out/stopped
# what the unit saw is what root sees
python3 -I -S /etc/nodespec/preflight check --deadline 120 -o json=$out/shell.json
# only Python, and a bundle where nothing can be written nor executed
mount -o remount,bind,ro,noexec /opt
/opt/kubernetes --version >$out/direct 2>&1
echo $? >$out/direct.code
python3 -c 'import yaml' 2>$out/yaml.err
cd /
python3 /opt/kubernetes check --deadline 120 -o text -o json=$out/bare.json >$out/bare.txt
echo $? >$out/bare.code
python3 /opt/kubernetes check --deadline 120 -o junit >$out/bare.xml
python3 -I - check --deadline 120 -o json </opt/kubernetes >$out/stdin.json
echo $? >$out/stdin.code
"""
UNFIT = """\
sed -i 's/--wait [0-9]*/--wait 0/' /etc/systemd/system/nodespec-gate.service
systemctl daemon-reload
echo >/run/nodespec-override
systemctl start kubelet 2>$out/start.err
told reasonless
echo 'ann: INC-42, no other node is left' >/run/nodespec-override
systemctl start kubelet
told overridden
cp -r /var/lib/nodespec $out/overridden
systemctl stop kubelet
rm /run/nodespec-override
python3 -I /etc/nodespec/preflight gate remove >$out/removed
systemctl start kubelet
state kubelet >$out/removed.kubelet
systemctl show -P Requires kubelet >$out/removed.requires
ls /etc/nodespec /etc/systemd/system/nodespec-gate.service >>$out/removed 2>&1
python3 -I /opt/preflight gate install >$out/installed
systemctl show -P Requires kubelet >$out/installed.requires
"""
GUESTS = {"fit": ("", FIT), "unfit": (HYBRID, UNFIT), "word": (f'{HYBRID} nodespec.override="bob: INC-43"', "")}


def main(cache: Path) -> int:
    """Print the results, and last what is wrong; return the exit status."""
    with tempfile.TemporaryDirectory(prefix="nodespec-", dir=cache) as folder:
        wrong = list(looked(cache, Path(folder)))
    for mistake in wrong:
        print(f"wrong    {mistake}")
    print(f"{len(GUESTS)} guests, {len(wrong)} errors")
    return int(bool(wrong))


def looked(cache: Path, folder: Path) -> Iterator[str]:
    """What is wrong in any of the guests."""
    bundles = made(folder)
    tree = bare(cache, folder / "tree")
    planted(tree, bundles[0])
    judges = {"fit": fit, "unfit": unfit, "word": word}
    script = BEGIN + "".join(
        f"if grep -q {shown(name)} /proc/cmdline; then\n:\n{look}fi\n" for name, (_, look) in GUESTS.items()
    )
    guest = qemu.guest(tree, script, folder / "guest", bundles)

    def judged(name: str) -> list[str]:
        begun = time.monotonic()
        out = qemu.boot(guest, cache / f"gate-{name}", f"{GUESTS[name][0]} {shown(name)}")
        print(f"guest {name}: booted, observed and powered off in {time.monotonic() - begun:.0f} s; see {out}")
        return [f"guest {name}: {mistake}" for mistake in judges[name](out)]

    with ThreadPoolExecutor(2) as booting:  # an unfit guest mostly waits
        for wrong in booting.map(judged, ("unfit", *(name for name in GUESTS if name != "unfit"))):
            yield from wrong


def shown(name: str) -> str:
    return f"guest.look={name}"


def made(folder: Path) -> tuple[Path, Path]:
    """The bundle of the gate, and that of kubernetes/1.35."""
    (folder / "gate.yaml").write_text(SPEC)
    for spec, name in (("./gate.yaml", "preflight"), ("kubernetes/1.35", "kubernetes")):
        nodespec(folder, "bundle", spec, "-o", name)
        unhurry(folder / name)
    return folder / "preflight", folder / "kubernetes"


def nodespec(folder: Path, *args: str) -> str:
    return debian.said(sys.executable, "-m", "nodespec", *args, cwd=folder, env={"PYTHONPATH": str(TOP)})


def bare(cache: Path, tree: Path) -> Path:
    """A copy of the tree of a node that has Python, and neither PyYAML nor a container runtime."""
    debian.said("cp", "--archive", "--reflink=auto", str(debian.node("bookworm", cache)), str(tree))
    debian.said("chroot", str(tree), "dpkg", "--purge", "containerd", "runc", "python3-yaml")
    return tree


def planted(tree: Path, bundle: Path) -> None:
    """The stand-ins, which start when it boots, and the gate."""
    system = tree / "etc/systemd/system"
    (system / "multi-user.target.wants").mkdir(exist_ok=True)
    for name, text in UNITS.items():
        (system / name).write_text(text)
        (system / "multi-user.target.wants" / name).symlink_to(f"../{name}")
    print(debian.said(sys.executable, str(bundle), "gate", "install", "--into", str(tree), "--wait", WAIT), end="")


# what must be so


def fit(out: Path) -> Iterator[str]:
    yield from states(out, "boot", gate="active", kubelet="active")
    yield from states(out, "crashed", gate="active", kubelet="active")
    began, socket, ended, kubelet = (int(text(out, n)) for n in ("gate-began", "socket", "gate-ended", "kubelet-began"))
    print(f"the gate took {ended - began} s; the socket of the runtime appeared after {socket - began} s")
    if not began < socket <= ended <= kubelet:
        yield f"the gate ran from {began} to {ended}, the socket came at {socket}, the kubelet at {kubelet}"
    yield from lacking(out, "boot.nodespec-gate.status", "kubelet.service may start", "CONFORMANT")
    if not (out / "once").exists():
        yield "the gate looked again when the kubelet crashed"
    if (out / "stopped").exists() or "refused" not in text(out, "stop.err"):
        yield f"the gate could be stopped: {text(out, 'stop.err')}"
    gate, shell = report(out / "state/gate.json"), report(out / "shell.json")
    if gate.findings != shell.findings:
        differing = [ours.id for ours, theirs in zip(gate.findings, shell.findings) if ours != theirs]
        yield f"the unit saw otherwise than root: {differing}"
    yield from modes(out)
    yield from bundled(out)


def bundled(out: Path) -> Iterator[str]:
    """What a bundle did on the bare node."""
    if text(out, "direct.code") != "126":
        yield f"the mount was not noexec: {text(out, 'direct')}"
    yield from lacking(out, "yaml.err", "No module named 'yaml'")
    found, again = report(out / "bare.json"), report(out / "stdin.json")
    codes = {text(out, "bare.code"), text(out, "stdin.code")}
    if (found.conclusion, codes) != ("nonconformant", {"10"}):
        yield f"a machine without kubelet and runtime is {found.conclusion}, exit status {codes}"
    failing = {finding.id for finding in found.select_findings("fail", "enforced")}
    if "container-runtime" not in failing:
        yield f"what fails on a bare node is {sorted(failing)}"
    if [(f.id, f.outcome) for f in found.findings] != [(f.id, f.outcome) for f in again.findings]:
        yield "over standard input it finds otherwise than as a file"
    unknown = {finding.id: finding.sentence for finding in found.findings if finding.outcome == "unknown"}
    # the unit of the stand-in starts another program, and so it does not tell which kubelet is there
    if set(unknown) != {"kubelet.version", "kubeadm.kubelet.path"} or not all(
        "sleep" in one for one in unknown.values()
    ):
        yield f"what is unknown on a bare node is {unknown}"
    yield from lacking(out, "bare.txt", "NONCONFORMANT", "exit 10")
    yield from lacking(out, "bare.xml", "<testsuite")
    print(f"the bundle judged {len(found.findings)} requirements on the bare node: {found.headline}")


def unfit(out: Path) -> Iterator[str]:
    yield from states(out, "boot", gate="failed", kubelet="inactive")
    why = "kubelet.service does not start: fail cgroups.version"
    yield from lacking(
        out, "boot.nodespec-gate.status", why, "systemctl start kubelet.service", "/run/nodespec-override"
    )
    yield from lacking(out, "boot.kubelet.status", "50-nodespec-gate.conf")
    yield from lacking(out, "journal", "Dependency failed for kubelet.service", "wanted 2, found hybrid", why)
    yield from lacking(out, "warnings", why)
    yield from states(out, "reasonless", gate="failed", kubelet="inactive")
    yield from lacking(out, "start.err", "dependency")
    yield from states(out, "overridden", gate="active", kubelet="active")
    yield from overridden(out, "overridden", "/run/nodespec-override: ann: INC-42, no other node is left")
    yield from lacking(out, "overridden.nodespec-gate.status", "OVERRIDDEN by /run/nodespec-override: ann: INC-42")
    yield from lacking(out, "removed", "removed /etc/systemd/system/nodespec-gate.service", "No such file")
    if text(out, "removed.kubelet") != "active" or "nodespec-gate" in text(out, "removed.requires"):
        yield "the gate was removed and still holds"
    if "nodespec-gate.service" not in text(out, "installed.requires"):
        yield "the gate was installed while the guest runs, and does not hold"


def word(out: Path) -> Iterator[str]:
    yield from states(out, "boot", gate="active", kubelet="active")
    yield from overridden(out, "state", "nodespec.override: bob: INC-43")
    yield from lacking(out, "warnings", "OVERRIDDEN by nodespec.override: bob: INC-43")


def overridden(out: Path, folder: str, said: str) -> Iterator[str]:
    """The trace of an override."""
    found = report(out / folder / "gate.json")
    if found.conclusion != "nonconformant" or not any(said in notice for notice in found.notices):
        yield f"overridden, the report is {found.conclusion} and says {found.notices}"
    if said not in " ".join(text(out, f"{folder}/gate.txt").split()):  # its lines are short
        yield f"{folder}/gate.txt does not say {said!r}"
    yield from lacking(out, f"{folder}/overrides", f"exit 10 {said}")


def modes(out: Path) -> Iterator[str]:
    """Whose reports they are: they say much of a machine."""
    open_ = [line for line in text(out, "modes").splitlines() if not line.split()[0].endswith("---")]
    if open_:
        yield f"anybody may read {open_}"


def states(out: Path, when: str, *, gate: str, kubelet: str) -> Iterator[str]:
    found = (text(out, f"{when}.gate"), text(out, f"{when}.kubelet"))
    if found != (gate, kubelet):
        status = text(out, f"{when}.nodespec-gate.status")
        yield f"{when}: the gate is {found[0]} and the kubelet {found[1]}, not {gate} and {kubelet}\n{status}"


def lacking(out: Path, name: str, *wanted: str) -> Iterator[str]:
    there = text(out, name)
    yield from (f"{name} does not say {one!r}:\n{there[-2000:]}" for one in wanted if one not in there)


def text(out: Path, name: str) -> str:
    try:
        return (out / name).read_text(errors="replace").strip()
    except OSError as error:
        return f"{error}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: gate.py CACHE")
    sys.exit(main(Path(sys.argv[1]).resolve()))
