"""Nodes that boot: does nodespec say of a tree at rest what it then says of the machine that runs?

    python tests/stages/boots.py CACHE

Of each tree a report is made at rest; then it is booted as `qemu.py` does it, and in the guest the same is asked of the
running machine and, with `--image /`, of its root at rest. The three are compared requirement by requirement. What
differs must be listed below with a reason. A reason that is never met is an error, as is everything that could
not be observed. All facts are compared in the same way, row by row. The exit status is 1 where anything is wrong.
"""

from __future__ import annotations

import glob
import json
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Mapping, NamedTuple

import asking
import debian
import qemu
from agreement import Difference, compared
from fact_rows import Reason, compare_recordings
from oracle import TOP, report
from unhurried import PROGRAM

from nodespec.checks._sysctl_values import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nodespec.model.report import Report

SUITES = ("bookworm", "trixie")
ASKED = "asked.json"
SOME = 20  # of so many options and modules one is asked for


class Check(NamedTuple):
    """The arguments of a check, and how many requirements it must decide, at rest and running."""

    argv: tuple[str, ...]
    least: int


WIDE = (
    "stage=joining",
    "role=control-plane",
    "ip_family=dual",
    "user_namespaces=true",
    "protect_kernel_defaults=true",
    "swap=limited",
)
CHECKS = {
    "kubernetes": Check(("kubernetes/1.35", "--set=stage=joining"), 75),
    "wide": Check(("kubernetes/1.35", *(f"--set={one}" for one in WIDE)), 90),
    "container-host": Check(("container-host",), 28),
    "asked": Check((f"/opt/{ASKED}",), 250),
}
PRINTED = "the package's version at rest is that of its makers; the program adds what Debian repacked"
VERSIONS = Difference("runtime.*.version", r"([\d.]+)", r"[\d.]+[+~]ds\d*.*", PRINTED)
PANIC = Difference("sysctl.kernel.panic", "0", "-1", "the guest's command line is not the tree's: it has panic=-1")
LOADED = Difference(
    "modules.*", "loadable( or loaded)?", "loaded", "a service or a device has it loaded: containerd does, with overlay"
)
DIFFERENCES: Mapping[str, tuple[Difference, ...]] = {  # at rest and running
    "kubernetes": (VERSIONS, LOADED),
    "wide": (VERSIONS, PANIC, LOADED),
    "container-host": (LOADED,),
    "asked": (LOADED,),
}


# why a fact of the tree at rest differs from that of the running guest; a reason that never applies is an error
PREFIX = "no file of the module tree names this built-in code, and its parameters show it in /sys/module"
PREFIXES = ("block", "kernel", "module", "page_alloc", "pcie_aspm", "rcupdate", "rcutree", "xen")
NEWER_PREFIXES = (
    *("compression", "damon_lru_sort", "damon_reclaim", "hibernate", "kfence", "page_reporting", "pcieportdrv"),
    "platform_pci",
)
RUNNING_REASONS = (
    Reason("modules.*", "loadable", "loaded", "udev loaded it for a device of the guest, or a program that runs"),
    Reason("sysctl.kernel.panic", "0", "-1", PANIC.why),
    Reason(
        "mounts.*.options",
        r"frozenset\(.*\)",
        r"frozenset\(.*(pagesize|size|nr_inodes)=.*\)",
        "the file system computes sizes and adds options of its own",
    ),
)
BUILTIN_REASONS = {
    "bookworm": [Reason(f"modules.{name}", "absent", "builtin", PREFIX) for name in PREFIXES],
    "trixie": [Reason(f"modules.{name}", "absent", "builtin", PREFIX) for name in (*PREFIXES, *NEWER_PREFIXES)],
}
FEWEST_ROWS = 6000


def main(cache: Path) -> int:
    """The exit status; what was compared is printed, and last what is wrong."""
    with ThreadPoolExecutor() as booting:  # a guest has little to do on more than one processor
        wrong = [mistake for found in booting.map(lambda suite: [*judged(suite, cache)], SUITES) for mistake in found]
    for mistake in wrong:
        print(f"wrong    {mistake}")
    return int(bool(wrong))


def judged(suite: str, cache: Path) -> Iterator[str]:
    tree, folder = debian.node(suite, cache), cache / f"boots-{suite}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ASKED).write_text(asked(tree))
    resting = {name: at_rest(tree, name, folder) for name in CHECKS}
    begun = time.monotonic()
    record(tree, folder / "facts-rest.json")
    out = qemu.boot(qemu.guest(tree, look(), folder, [folder / ASKED]), folder / "out")
    print(f"{suite}: booted, observed and powered off in {time.monotonic() - begun:.0f} s; see {out}")
    for name, check in CHECKS.items():
        running, inside = (report(out / f"{name}-{door}.json") for door in ("running", "inside"))
        yield from unseen(f"{suite}: {name}", (resting[name], running, inside))
        title = f"{suite}: {name}, at rest and running"
        yield from compared(title, resting[name], running, DIFFERENCES[name], least=check.least)
        yield from compared(f"{suite}: {name}, at rest and from inside", resting[name], inside, (), least=check.least)
    for door, reasons in (("running", (*RUNNING_REASONS, *BUILTIN_REASONS[suite])), ("inside", ())):
        rest, booted = folder / "facts-rest.json", out / f"facts-{door}.json"
        yield from compare_recordings(
            f"{suite}: all facts, at rest and {door}", rest, booted, reasons, least=FEWEST_ROWS
        )


def record(tree: Path, file: Path) -> None:
    """Record all facts of a tree at rest."""
    debian.said(
        *PROGRAM, "facts", "--all", "--image", str(tree), "-o", str(file), env={**os.environ, "PYTHONPATH": str(TOP)}
    )


def asked(tree: Path) -> str:
    """A spec that asks for more than those of the library do: of what there are thousands, for some."""
    [config], [order] = glob.glob(f"{tree}/boot/config-*"), glob.glob(f"{tree}/lib/modules/*/modules.order")
    options = re.findall(r"^(?:# )?CONFIG_(\w+)(?:=[ym]$| is not set)", Path(config).read_text(), re.MULTILINE)
    modules = re.findall(r"([^/\n]+)\.ko", Path(order).read_text())
    assigned = re.findall(
        r"^([\w.]+) *=", "".join(map(Path.read_text, tree.glob("usr/lib/sysctl.d/*.conf"))), re.MULTILINE
    )
    require = {
        "sysctl": dict.fromkeys(sorted({*DEFAULTS, *assigned}), "present"),
        "kernel": {"release": {"matches": "[0-9].+"}, "config": dict.fromkeys(options[::SOME], "enabled")},
        "modules": dict.fromkeys(sorted({"overlay", *modules[::SOME]}), "usable"),
        "os": {"id": "debian", "version": ">=12", "init": "systemd", "machine_id": "set", "variant": "absent"},
        "runtime": {"containerd": {"enabled": "true", "cgroup_driver": "cgroupfs", "snapshotter": "overlayfs"}},
        "packages": {"containerd": {"version": ">=1.6"}, "kubelet": "absent"},
        "swap": {"total": "0"},
    }
    return json.dumps({"nodespec": 1, "require": require}, indent=1)


def at_rest(tree: Path, name: str, folder: Path) -> Report:
    """The report that is made before the tree boots."""
    argv = [str(folder / ASKED) if one == f"/opt/{ASKED}" else one for one in CHECKS[name].argv]
    return asking.judged([*argv, "--image", str(tree)], folder / f"{name}-rest.json")


def look() -> str:
    """What the guest runs."""
    lines = ["now 'systemd has come to this unit'"]
    for name, check in CHECKS.items():
        for door, options in (("running", ""), ("inside", "--image /")):
            lines.append(f"nodespec check {' '.join(check.argv)} {options} -o json=/run/out/{name}-{door}.json")
        lines.append(f"now '{name} is asked'")
    for door, options in (("running", ""), ("inside", "--image /")):
        lines += [
            f"nodespec facts --all {options} -o /run/out/facts-{door}.json",
            f"now 'all facts are recorded {door}'",
        ]
    return "".join(f"{line}\n" for line in lines)


def unseen(title: str, reports: Sequence[Report]) -> Iterator[str]:
    """Yield what is unknown, although root observes a whole system."""
    for one in reports:
        for finding in one.findings:
            if finding.outcome == "unknown":
                yield f"{title}, {one.door}: {finding.id} is unknown: {finding.sentence}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: boots.py CACHE")
    sys.exit(main(Path(sys.argv[1]).resolve()))
