"""The validators that kubeadm runs beside nodespec on this machine: do they find the same, item by item?

    python tests/stages/oracle.py CACHE

`oracle.go` is built in the folder CACHE with the `go` on PATH from the library's source, once as Debian has it, and
once in the version that sig-node/system-validators stands for, where Go's module proxy can be reached. It makes and
removes a control group and may load the module `configs`, as kubeadm does. The exit status is 1 where the two differ
and no reason is written below, where such a difference is gone, or where there is too little to compare.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, List, Mapping, NamedTuple, TypedDict, cast

import debian

from nodespec.model.report_json import decode_reports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodespec.model.json_types import Json
    from nodespec.model.report import Part, Report

TOP = Path(__file__).parents[2]
sys.path.append(str(TOP / "tests"))

from unhurried import PROGRAM  # noqa: E402 - that folder is where it lies

SUITE = "trixie"
LIBRARY = "golang-k8s-system-validators-dev"
NEEDED = ("golang-github-blang-semver-dev", "golang-golang-x-sys-dev")
DEBIAN, CURRENT = "1.9.1", "1.12.1"
RUNS = ((DEBIAN, "1.34"), (CURRENT, "1.34"), (CURRENT, "1.35"))  # the versions of the library and of the kubelet
FEWEST = 35  # items


class Difference(NamedTuple):
    """An expected difference: an item's verdicts there and here, "" if it is not checked at all.

    It must show on every machine that has all of `on`, and may show on none else: version 1 or 2 of control groups,
    and `edited` where the test has written a kernel configuration.
    """

    library: str
    item: str
    theirs: str
    ours: str
    on: frozenset[str]
    reason: str

    def meets(self, item: str, theirs: str, ours: str) -> bool:
        return item == self.item and theirs in self.theirs.split("|") and ours in self.ours.split("|")


ANYWHERE, V1, V2, EDITED = frozenset[str](), frozenset({"v1"}), frozenset({"v2"}), frozenset({"edited"})
SPLIT = "before 1.11 the library asked for the options of both versions of control groups on every machine"
DEAD = "the library fills in optionalCgroupsV1 and optionalCgroupsV2 and never looks at them"
FIRST = "the library ends at the first name that the file sets, were it to n; a second name that is on counts here"
LINUX = "nodespec looks at nothing but Linux"
DIFFERENCES = (
    *(Difference(library, "OS", "good", "", ANYWHERE, LINUX) for library in (DEBIAN, CURRENT)),
    Difference(DEBIAN, "CONFIG_CGROUP_BPF", "good|bad", "", V1, SPLIT),
    *(
        Difference(DEBIAN, f"CONFIG_{option}", "good|bad", "", V2, SPLIT)
        for option in ("CGROUP_CPUACCT", "CGROUP_DEVICE", "CGROUP_FREEZER")
    ),
    Difference(CURRENT, "CONFIG_CGROUP_HUGETLB", "", "good|warn", ANYWHERE, DEAD),
    *(
        Difference(library, "CONFIG_NETFILTER_XT_TARGET_REDIRECT", "bad", "good", EDITED, FIRST)
        for library in (DEBIAN, CURRENT)
    ),
)
ALIASES = {
    "CONFIG_IP_NF_TARGET_REDIRECT": "CONFIG_NETFILTER_XT_TARGET_REDIRECT",
    "CONFIG_OVERLAYFS_FS": "CONFIG_OVERLAY_FS",
}


def main(cache: Path) -> int:
    """The exit status; what was compared is printed."""
    binaries, wrong = built(cache), 0
    with tempfile.TemporaryDirectory() as out:
        look(Path(out), binaries)
        for library, kubelet in RUNS:
            if library in binaries:
                wrong += compared(Path(out), library, kubelet, ANYWHERE)
    return int(wrong > 0)


def look(out: Path, binaries: Mapping[str, Path]) -> None:
    """Ask both sides of this machine, into the files that `compared` reads."""
    for library, kubelet in RUNS:
        if library in binaries:
            (out / theirs_in(library, kubelet)).write_text(debian.said(str(binaries[library]), f"{kubelet}.0"))
    for kubelet in {kubelet for _, kubelet in RUNS}:
        check = [*PROGRAM, "check", "sig-node/system-validators", "--set", f"kubelet={kubelet}", "--deadline", "120"]
        done = subprocess.run([*check, "-o", f"json={out / ours_in(kubelet)}"], cwd=TOP, check=False)
        if done.returncode not in {0, 10, 11}:
            raise RuntimeError(f"nodespec check: exit status {done.returncode}")


def theirs_in(library: str, kubelet: str) -> str:
    return f"oracle-{library}-{kubelet}.json"


def ours_in(kubelet: str) -> str:
    return f"nodespec-{kubelet}.json"


def compared(out: Path, library: str, kubelet: str, tags: frozenset[str]) -> int:
    """How many items differ for no reason that is known, or no longer differ; the items are printed."""
    theirs = told_by_library(json.loads((out / theirs_in(library, kubelet)).read_text()))
    ours = told_by_nodespec(report(out / ours_in(kubelet)))
    on = tags | {"v2" if theirs["CGROUPS"] == "good" else "v1"}
    wanted = [one for one in DIFFERENCES if one.library == library and one.on <= on]
    pairs = [(item, theirs.get(item, ""), ours.get(item, "")) for item in sorted(theirs.keys() | ours.keys())]
    differ = {pair: [one for one in wanted if one.meets(*pair)] for pair in pairs if pair[1] != pair[2]}
    for (item, there, here), known in differ.items():
        reason = known[0].reason if known else "NO REASON IS KNOWN"
        print(f"differs  {item}: {there or 'not checked'} there, {here or 'not checked'} here: {reason}")
    gone = [one for one in wanted if [one] not in differ.values()]
    for one in gone:
        print(f"gone     {one.item}: {one.theirs or 'not checked'} there, {one.ours or 'not checked'} here")
    new = [pair for pair, known in differ.items() if not known]
    counts = f"{len(pairs)} items (at least {FEWEST} required), {len(pairs) - len(differ)} agree"
    rest = f"{len(differ) - len(new)} differ for a known reason, {len(new)} for none; {len(gone)} are gone"
    print(f"library {library}, kubelet {kubelet}, {' '.join(sorted(on))}: {counts}, {rest}")
    return len(new) + len(gone) + (len(pairs) < FEWEST)


class Said(TypedDict):
    """What `oracle.go` prints."""

    items: list[dict[str, str]]
    warnings: list[str]
    errors: list[str]


def told_by_library(said: Said) -> dict[str, str]:
    """Return the library's verdict by item. Only its return value shows that version 1 is refused or deprecated."""
    verdicts = {ALIASES.get(item["key"], item["key"]): item["result"] for item in said["items"]}
    of_v1 = [
        verdict
        for verdict, texts in (("bad", said["errors"]), ("warn", said["warnings"]))
        if any("cgroups v1 support" in text for text in texts)
    ]
    return {**verdicts, "CGROUPS": (*of_v1, "good")[0]}


def report(file: Path) -> Report:
    return decode_reports(cast("Mapping[str, Json]", json.loads(file.read_text())))[0]


def told_by_nodespec(said: Report) -> dict[str, str]:
    """nodespec's verdict by item, as the library would call it."""
    verdicts: dict[str, str] = {}
    for finding in said.findings:
        if finding.outcome != "not-applicable":
            failed = {"required": "bad", "recommended": "warn"}[finding.level]
            for part in finding.parts:
                verdicts.update(items(part, {"pass": "good", "fail": failed}.get(part.outcome, part.outcome), failed))
    return verdicts


def items(part: Part, verdict: str, failed: str) -> Iterator[tuple[str, str]]:
    """The library's items in one part of a finding: a set of controllers is one item for each."""
    if part.place.startswith("kernel.config."):
        yield part.place.replace("kernel.config.", "CONFIG_"), verdict
    elif part.place == "kernel.version":
        yield "KERNEL_VERSION", verdict
    elif part.place == "cgroups.version":
        yield "CGROUPS", verdict
    elif part.place == "cgroups.controllers":
        known = part.observed.state == "value"
        there = cast("List[str]", part.observed.value) if known else []
        for name in part.expected.split(", "):
            yield f"CGROUPS_{name.upper()}", ("good" if name in there else failed) if known else verdict


def built(cache: Path) -> dict[str, Path]:
    """The oracle as a static program, by the library's version."""
    tree = debian.unpacked(SUITE, (LIBRARY, *NEEDED), cache)
    source = tree / "usr/share/gocode/src"
    binaries = {DEBIAN: compiled(cache, DEBIAN, source / "k8s.io/system-validators", source)}
    try:
        current = from_proxy(cache)
    except RuntimeError as error:
        print(f"skipped  version {CURRENT} of the library: the module proxy does not have it: {str(error)[-300:]}")
        return binaries
    return {**binaries, CURRENT: compiled(cache, CURRENT, current, source)}


def compiled(cache: Path, version: str, library: Path, others: Path) -> Path:
    """Build in GOPATH mode: packages are directories, and nothing is downloaded."""
    path, binary = cache / f"gopath-{version}", cache / f"oracle-{version}"
    shutil.rmtree(path, ignore_errors=True)
    for name in ("github.com/blang", "golang.org/x"):
        (path / "src" / name).parent.mkdir(parents=True)
        (path / "src" / name).symlink_to(others / name)
    shutil.copytree(library, path / "src/k8s.io/system-validators")
    debian.said("go", "build", "-o", str(binary), str(Path(__file__).with_suffix(".go")), env=offline(cache, path))
    return binary


def offline(cache: Path, path: Path) -> dict[str, str]:
    folders = {"GOPATH": str(path), "GOCACHE": str(cache / "go-cache")}
    return {**os.environ, **folders, "GO111MODULE": "off", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}


def from_proxy(cache: Path) -> Path:
    """The folder of the current version's source."""
    folder = cache / "go-module"
    folder.mkdir(exist_ok=True)
    (folder / "go.mod").write_text("module oracle\n")
    folders = {"GOPATH": str(cache / "go-modules"), "GOCACHE": str(cache / "go-cache")}
    env = {**os.environ, **folders, "GOFLAGS": "-modcacherw"}
    download = ("timeout", "120", "go", "mod", "download", "-json", f"k8s.io/system-validators@v{CURRENT}")
    return Path(json.loads(debian.twice(lambda: debian.said(*download, cwd=folder, env=env)))["Dir"])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: oracle.py CACHE")
    sys.exit(main(Path(sys.argv[1]).resolve()))
