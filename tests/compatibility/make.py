"""Write what one version of nodespec writes: reports, recordings, plans and a bundle, for later versions to read.

    cd CHECKOUT && PYTHONPATH=tests PYTHON tests/compatibility/make.py tests/compatibility/COMMIT

PYTHON has that version of nodespec installed, and CHECKOUT is its commit, whose test hosts are read. The files of
557f55d were written by root with the wheel of that commit. They name no machine: hosts are those of tests/hosts.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List, Sequence, Tuple
from unittest import mock

import fit_node

from nodespec.__main__ import main
from nodespec.host.machine import Machine
from nodespec.model.report import Host
from nodespec.run import check, host_identity

HERE = Path(__file__).resolve().parent
NOW = 1_795_867_200.0  # 2026-11-28, the clock of every file
INPUTS = ("node.yaml", "site.yaml", "waivers.yaml")
SPEC, WAIVERS = "./node.yaml", ("--waivers", "waivers.yaml")
RECORDINGS = {
    "running-small": ("--root", "joining", SPEC),
    "running-library": ("--root", "joining", "kubernetes/1.35"),
    "running-joined": ("--root", "joined", SPEC, "container-host"),
    "running-legacy": ("--root", "legacy", SPEC, "container-host"),
    "running-everything": ("--root", "joining", "--all"),
    "at-rest-debian": ("--image", "debian", SPEC, "container-host"),
    "at-rest-fedora": ("--image", "fedora", SPEC),
}
REPORTS = {
    "running": (SPEC, "--root", "joining"),
    "running-library": ("kubernetes/1.35", "--root", "joining"),
    "running-several-specs": (SPEC, "./site.yaml", "container-host", "--root", "joining"),
    "running-waivers": (SPEC, *WAIVERS, "--root", "joining"),
    "running-strict": (SPEC, "--strict", "--root", "joining"),
    "running-only": (SPEC, "--only", "kernel", "--root", "joining"),
    "running-skip": (SPEC, "--skip", "sysctl", "--skip", "*runtime", *WAIVERS, "--root", "joining"),
    "running-params": (SPEC, "--set", "stage=joined", "--set", "least=>=9", "--root", "joined"),
    "running-legacy": (SPEC, "--root", "legacy"),
    "conformant": (SPEC, "--only", "cgroups.version", "--root", "joining"),
    "at-rest-debian": (SPEC, "--image", "debian"),
    "at-rest-fedora": (SPEC, "./site.yaml", "--image", "fedora"),
    "recorded": (SPEC, "--facts", "recordings/running-small.json"),
    "recorded-unknown": ("./site.yaml", SPEC, "--facts", "recordings/at-rest-fedora.json"),
    "recorded-container": (SPEC, "--facts", "recordings/container.json"),
    "recorded-reboot-pending": (SPEC, "--facts", "recordings/reboot-pending.json"),
    "fleet": (SPEC, *WAIVERS, "--facts", "recordings"),
}


def host(root: str, _limits: object = None) -> Machine:
    """A host of the tests, in place of a machine."""
    return fit_node.Host(os.path.realpath(root))


def run(*argv: str, expected: Tuple[int, ...] = (0,)) -> None:
    """Answer one command line."""
    done = main(list(argv))
    assert done in expected, (argv, done)


def plant() -> None:
    """Plant the hosts in the current folder."""
    fit_node.planted(Path("joining"))
    fit_node.planted(Path("joined"), fit_node.joined)
    fit_node.planted(Path("legacy"), fit_node.legacy)
    shutil.copytree(fit_node.HOSTS / "rest-debian-12-grub", "debian", symlinks=True)
    shutil.copytree(fit_node.HOSTS / "rest-fedora-41-bls", "fedora", symlinks=True)


def record() -> None:
    """Write the recordings."""
    os.mkdir("recordings")
    for name, (option, tree, *asked) in RECORDINGS.items():
        suffix = ".json.gz" if name == "running-everything" else ".json"
        run("facts", *asked, "-o", f"recordings/{name}{suffix}", option, tree)
    change("container", {"container": "docker"}, {"os.container": ["docker", "/.dockerenv"]})
    change("reboot-pending", {"next": "6.12.99+deb13-amd64"}, {"kernel.next": ["6.12.99+deb13-amd64", "/boot/grub"]})


def change(name: str, host_: Dict[str, str], facts: Dict[str, List[str]]) -> None:
    """Write the recording of the small host again, with another head and facts, and with the notices of that head."""
    made = json.loads(Path("recordings/running-small.json").read_text(encoding="utf-8"))
    made["door"] = "live"
    made["host"].update({**host_, "name": f"node-{name}"})
    made["notices"] = [*host_identity.list_notices(Host(**made["host"]), "/")]
    made["facts"].update(facts)
    Path(f"recordings/{name}.json").write_text(json.dumps(made) + "\n", encoding="utf-8")


def report() -> None:
    """Write the reports, and the plan of each kind that they embed."""
    os.mkdir("reports")
    os.mkdir("plans")
    for name, argv in REPORTS.items():
        run("check", *argv, "-o", f"json=reports/{name}.json", expected=(0, 10, 11))
    for name in ("running", "running-library", "running-several-specs", "running-params"):
        made = json.loads(Path(f"reports/{name}.json").read_text(encoding="utf-8"))
        plan = json.dumps(made["reports"][0]["plan"], indent=1)
        Path(f"plans/{name}.json").write_text(plan + "\n", encoding="utf-8")


def make(target: Path) -> None:
    """Write everything below a folder that does not exist yet."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name in INPUTS:
            shutil.copy(HERE / name, name)
        plant()
        with (
            mock.patch.object(check, "open_machine", host),
            mock.patch.multiple(time, time=lambda: NOW, gmtime=_gmtime),
        ):
            record()
            report()
            run("bundle", SPEC, *WAIVERS, "-o", "preflight")
        target.mkdir(parents=True)
        compress(Path("preflight"), target)
        for name in ("recordings", "plans"):
            shutil.copytree(name, target / name)
        for made in Path("reports").iterdir():
            compress(made, target / "reports")
        os.chdir("/")


def compress(file: Path, folder: Path) -> None:
    """Copy a file to a folder, compressed: most reports are some 100 kB."""
    folder.mkdir(exist_ok=True)
    (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), mtime=0))


GMTIME = time.gmtime


def _gmtime(seconds: float = NOW) -> time.struct_time:
    return GMTIME(seconds)


def answer(argv: Sequence[str]) -> int:
    """Answer the command line of this script."""
    make(Path(argv[0]).resolve())
    return 0


if __name__ == "__main__":
    sys.exit(answer(sys.argv[1:]))
