"""The recipe for a node without Python, done as docs/recipes.md says: Debian's runc, a tree with Python, and a bundle.

    python tests/stages/container.py CACHE

As root; without runc it is installed from Debian first. What is found from within the container is compared with what
nodespec finds outside, requirement by requirement; without its capability some of it must be unknown. CACHE
keeps the tree. The exit status is 1 where anything is wrong.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Dict, cast

import asking
import debian
from agreement import Difference, compared
from oracle import report
from unhurried import PROGRAM, unhurry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodespec.model.json_types import Json
    from nodespec.model.report import Report

TOP = Path(__file__).parents[2]
LEAST = 60  # requirements that are decided outside and inside
RUN = "unknown: .* is not run: nodespec runs no program of /host"
ALLOWED = (Difference("runtime.*.version", ".*", RUN, "no program is run"),)


def main(cache: Path) -> int:
    """The exit status. Process 1 shows its namespaces where it is one of ours."""
    own = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
    if not shutil.which("runc"):
        debian.installed("runc")
    with tempfile.TemporaryDirectory(prefix="nodespec-", dir=cache) as folder:
        laid(cache, Path(folder))
        return subprocess.run([*own, sys.executable, __file__, str(cache), folder], check=False).returncode


def laid(cache: Path, folder: Path) -> None:
    """What the recipe wants in a folder."""
    rootfs = folder / "rootfs"
    debian.said("cp", "--archive", "--reflink=auto", str(debian.node("bookworm", cache)), str(rootfs))
    (rootfs / "host").mkdir(exist_ok=True)
    env = {"PYTHONPATH": str(TOP)}
    debian.said(sys.executable, "-m", "nodespec", "bundle", "kubernetes/1.35", "-o", str(rootfs / "preflight"), env=env)
    unhurry(rootfs / "preflight")


def inside(folder: Path) -> int:
    """The exit status; what was compared is printed, and last what is wrong."""
    wrong = list(looked(folder))
    for mistake in wrong:
        print(f"wrong    {mistake}")
    return int(bool(wrong))


def looked(folder: Path) -> Iterator[str]:
    """Yield what a container does not observe, or observes without the capabilities that the recipe names."""
    (shown,) = re.findall(
        r"^```json config\.json\n(.*?)^```$", (TOP / "docs/recipes.md").read_text(), re.MULTILINE | re.DOTALL
    )
    config = cast("Dict[str, Dict[str, Json]]", json.loads(shown))
    outside = asked([*PROGRAM, "check", "kubernetes/1.35", "-o", "json"], folder)
    found = contained(config, folder)
    yield from compared("the container of the recipe", outside, found, ALLOWED, least=LEAST)
    process = config["process"]
    bare = contained({**config, "process": {**process, "capabilities": {}}}, folder)
    pairs = [(one.id, one.outcome, other.outcome) for one, other in zip(bare.findings, found.findings)]
    less = [id_ for id_, one, other in pairs if one != other]
    print(f"without capabilities: {len(less)} outcomes differ: {', '.join(less)}")
    if not less:
        yield "it needs no capability, and the recipe says that it does"
    for id_, one, other in pairs:
        if one not in ("unknown", other):
            yield f"{id_} is {one} without capabilities, not {other}"


def contained(config: Dict[str, Dict[str, Json]], folder: Path) -> Report:
    """The report from a container of that configuration."""
    process = {**config["process"], "args": [*cast("list[str]", config["process"]["args"]), "-o", "json"]}
    (folder / "config.json").write_text(json.dumps({**config, "process": process}))
    return asked(
        ["runc", "--root", str(folder / "state"), "run", "--bundle", str(folder), f"nodespec-{os.getpid()}"], folder
    )


def asked(command: list[str], folder: Path) -> Report:
    """The report that a command prints."""
    env = {**os.environ, "PYTHONPATH": str(TOP)}

    def once() -> Report:
        done = subprocess.run(command, env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
        if done.returncode not in asking.VERDICTS:
            raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}")
        (folder / "report.json").write_bytes(done.stdout)
        return report(folder / "report.json")

    return asking.patiently(once)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        sys.exit(inside(Path(sys.argv[2])))
    if len(sys.argv) != 2:
        sys.exit("usage: container.py CACHE")
    sys.exit(main(Path(sys.argv[1]).resolve()))
