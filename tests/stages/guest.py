"""nodespec in guests that boot: Debian 12 with systemd and containerd, control groups unified and hybrid.

    python tests/stages/guest.py CACHE

A tree made with debootstrap is booted by QEMU as `qemu.py` does it. In it nodespec runs from its source beside the
validators of k8s.io/system-validators, and what both say is compared here, as `oracle.py` does for this
machine; what a guest is known to be is asked of the facts. CACHE keeps the tree, the image and what came out. The
exit status is 1 where something differs for no reason that is written down.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Mapping, NamedTuple

import debian
import oracle
import qemu

if TYPE_CHECKING:
    from collections.abc import Iterator

# asks both sides, in the files that `oracle.compared` reads
LOOK = """\
both() {
    mkdir -p $1
    for run in {RUNS}; do /opt/oracle-${run%/*} ${run#*/}.0 >$1/oracle-${run%/*}-${run#*/}.json; done
    for kubelet in {KUBELETS}; do
        nodespec check sig-node/system-validators --set kubelet=$kubelet -o json=$1/nodespec-$kubelet.json
    done
}
now 'systemd has come to this unit'
both /run/out/found
now 'both sides are asked'
nodespec check kubernetes/1.35 -o text -o json=/run/out/kubernetes.json
echo $? >/run/out/kubernetes.code
now 'kubernetes/1.35 is asked'
PYTHONPATH=/opt/nodespec python3 /opt/services_oracle.py >/run/out/services 2>&1
nodespec facts os.init time security machine -o /run/out/more.json
now 'services are compared'
sed -i {EDITS} /boot/config-*
both /run/out/edited
now 'both sides are asked again'
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
    """The kernel command line, and the facts that must result: the text of the observation by place."""

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
    "runtime.crio": "no such container runtime: crio is not installed",
    "ports.10250": "free",
    "swap.total": "0",
}
# Facts that the library does not require, by place, as a recording has them.
MORE = {
    "time.synchronized": False,
    "security.lsms": ["apparmor", "bpf", "capability", "landlock", "lockdown", "tomoyo", "yama"],
    "security.apparmor": "enforce",
    "security.selinux": "disabled",
    "security.secure_boot": False,
    "machine.vendor": "QEMU",
}
GUESTS = {
    "unified": Guest("", {**ALL, "cgroups.version": "2", "runtime.containerd.cgroup_driver": "cgroupfs"}),
    "hybrid": Guest("systemd.unified_cgroup_hierarchy=0", {**ALL, "cgroups.version": "hybrid"}),
}


def main(cache: Path) -> int:
    """The exit status; what was compared is printed, and last what is wrong."""
    oracles = oracle.built(cache)
    programs = (*oracles.values(), Path(__file__).with_name("guest_programs") / "services_oracle.py")
    guest = qemu.guest(debian.node("bookworm", cache), look(oracles), cache / "guest", programs)
    wrong: list[str] = []
    for name, kind in GUESTS.items():
        begun = time.monotonic()
        out = qemu.boot(guest, cache / f"guest-{name}", kind.cmdline)
        print(f"guest {name}: booted, observed and powered off in {time.monotonic() - begun:.0f} s; see {out}")
        try:
            found = judged(kind, out)
        except (OSError, ValueError, LookupError) as error:  # something wrote no report, or no whole one
            found = [f"{type(error).__name__}: {error}"]
        wrong += [f"guest {name}: {mistake}" for mistake in found]
        if found:
            print((out / "log").read_text(errors="replace")[-8000:])
    for mistake in wrong:
        print(f"wrong    {mistake}")
    return int(bool(wrong))


def look(oracles: Mapping[str, Path]) -> str:
    """The script that asks both sides."""
    told = {
        "RUNS": " ".join(f"{library}/{kubelet}" for library, kubelet in oracle.RUNS if library in oracles),
        "KUBELETS": " ".join({kubelet for _, kubelet in oracle.RUNS}),
        "EDITS": " ".join(f"-e '{edit}'" for edit, _, _ in EDITS),
    }
    return re.sub(r"\{([A-Z]+)\}", lambda found: told[found[1]], LOOK)


def judged(guest: Guest, out: Path) -> list[str]:
    """What is not as it must be."""
    wrong: list[str] = []
    for folder, tags in (("found", oracle.ANYWHERE), ("edited", oracle.EDITED)):
        for library, kubelet in oracle.RUNS:
            if (out / folder / oracle.theirs_in(library, kubelet)).exists():
                differing = oracle.compared(out / folder, library, kubelet, tags)
                said = f"{folder}: library {library}, kubelet {kubelet}: {differing} items, as printed above"
                wrong += [said] if differing else []
    mistakes = [*misread(guest, out), *unmoved(out), *unlike_systemd(out), *misread_more(out)]
    print(f"{len(guest.facts)} facts and {len(EDITS)} edits compared, {len(mistakes)} wrong")
    return wrong + mistakes


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


def unlike_systemd(out: Path) -> Iterator[str]:
    """What `services` saw otherwise than systemctl: the lines of services_oracle.py, which ends with its counts."""
    lines = (out / "services").read_text().strip().split("\n")
    print(lines[-1])
    yield from lines[:-1] if lines[-1].endswith(" 0 differences") else lines


def misread_more(out: Path) -> Iterator[str]:
    """What the recording has otherwise than MORE."""
    facts = json.loads((out / "more.json").read_text())["facts"]
    for place, value in MORE.items():
        if not (isinstance(facts[place], list) and facts[place][0] == value):
            yield f"{place} is {value!r}, and recorded is {facts[place]!r}"


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
