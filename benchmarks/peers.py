"""What the same requirements cost in nodespec and in other validators, in turns on one machine.

    python benchmarks/peers.py [--rounds N] [--cache DIR]

goss and kernel-hardening-checker come from Debian sid, as packages that are unpacked and not installed. kubeadm is that
of PATH. What cannot be had is left out, and the output says so.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Tuple

from run import ENVIRONMENT, SPEC, Bed, Contest, from_debian, prepared, ratio_table, rest, said

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> int:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--cache", type=Path, help="where packages are kept")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nodespec-benchmarks.") as name:
        bed = prepared(Path(name), args.cache or Path(name), args.rounds)
        print(f"load {os.getloadavg()[0]:.1f}; {said(bed.python, '--version')}")
        sid = from_debian(bed.cache, "sid", "goss", "kernel-hardening-checker")
        if sid:
            parameters(bed, str(sid / "usr/bin/goss"))
            hardening(bed, sid)
        kubeadm(bed)
    return 0


def parameters(bed: Bed, goss: str) -> None:
    """Compare with goss: each kernel parameter of one word, with the value that it has, as text and as JSON."""
    rows = dict(read_parameters())
    spec, other, bundle = bed.folder / "sysctl.yaml", bed.folder / "goss.json", str(bed.folder / "sysctl")
    lines = "".join(f"    {name}: {json.dumps(value)}\n" for name, value in rows.items())
    spec.write_text(f"nodespec: 1\nrequire:\n  sysctl:\n{lines}")
    other.write_text(json.dumps({"kernel-param": {name: {"value": value} for name, value in rows.items()}}))
    said(bed.program, "bundle", str(spec), "-o", bundle)
    for form, shown in (("text", "documentation"), ("json", "json")):
        print(f"\n{len(rows)} kernel parameters, {form}")
        contest = Contest()
        contest.add("goss", goss, "-g", str(other), "validate", "--format", shown)
        contest.add("nodespec from YAML", bed.program, "check", str(spec), "-o", form)
        contest.add("nodespec as a bundle", bed.python, bundle, "check", "-o", form)
        ratio_table(contest.compared(bed.rounds))


def read_parameters() -> Iterator[Tuple[str, str]]:
    """Yield kernel parameters by name with their values; those that nodespec never reads are left out."""
    top = Path("/proc/sys")
    for folder, _, files in os.walk(top):
        for file in sorted(files):
            name = str((Path(folder) / file).relative_to(top))
            if re.search(r"\.|\*|binfmt_misc|random|secret|fastopen_key", name):
                continue
            try:
                value = (Path(folder) / file).read_text().strip()
            except (OSError, ValueError):
                continue
            if re.fullmatch(r"[0-9A-Za-z_.-]+", value):
                yield name.replace("/", "."), value


def hardening(bed: Bed, sid: Path) -> None:
    """Compare with kernel-hardening-checker: the kernel options that it knows."""
    script, library = str(sid / "usr/bin/kernel-hardening-checker"), str(sid / "usr/lib/python3/dist-packages")
    config, version = rest(bed.folder), bed.folder / "version"
    version.write_text("Linux version 6.1.0-1-amd64 (gcc (Debian 12) 12.2.0) #1 SMP Debian 6.1.0-1\n")
    listing = [bed.python, script, "-p", "X86_64", "-m", "json"]
    environment = {**ENVIRONMENT, "PYTHONPATH": library}
    printed = subprocess.run(listing, env=environment, capture_output=True, check=True).stdout
    options = sorted({row["option_name"][7:] for row in json.loads(printed) if row["type"] == "kconfig"})
    spec, bundle = bed.folder / "hardening.yaml", str(bed.folder / "hardening")
    lines = "".join(f"      {option}: enabled\n" for option in options)
    spec.write_text(f"nodespec: 1\nrequire:\n  kernel:\n    config:\n{lines}")
    said(bed.program, "bundle", str(spec), "-o", bundle)
    image = ("--image", str(config.parents[1]))
    print(f"\n{len(options)} kernel options")
    contest = Contest()
    words = (bed.python, script, "-c", str(config), "-v", str(version))
    contest.add("kernel-hardening-checker", *words, PYTHONPATH=library)
    contest.add("nodespec from YAML", bed.program, "check", str(spec), *image)
    contest.add("nodespec as a bundle", bed.python, bundle, "check", *image)
    ratio_table(contest.compared(bed.rounds))


def kubeadm(bed: Bed) -> None:
    """Compare with the preflight of `kubeadm join`, which ends where it needs a cluster."""
    program = shutil.which("kubeadm")
    if not program:
        print("\nleft out: kubeadm (not found on PATH)")
        return
    print()
    contest = Contest()
    token = ("--token", "abcdef.0123456789abcdef", "--discovery-token-unsafe-skip-ca-verification")
    contest.add("kubeadm join phase preflight", program, "join", "phase", "preflight", "127.0.0.1:1", *token)
    contest.add(f"nodespec check {SPEC}", bed.program, "check", SPEC)
    ratio_table(contest.compared(bed.rounds))


if __name__ == "__main__":
    sys.exit(main())
