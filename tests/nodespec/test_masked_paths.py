"""What is masked below /proc and /sys is hidden: no fact becomes another value, or absent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence

import pytest

TOP = Path(__file__).parents[2]
UNSHARE = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--mount", "--map-root-user")
COMMAND = (sys.executable, str(TOP / "tests/masks.py"))
IN_USER_NAMESPACE = ("unshare", "--mount", "--map-root-user")


class Mask(NamedTuple):
    path: str
    mask: str
    changed: Dict[str, List[str]]


def unshared(command: Sequence[str], *own: str) -> str:
    """What a command prints in namespaces of its own."""
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    done = subprocess.run(
        [*own, *command], env=environment, cwd="/", capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(f"no namespaces of its own: {done.stderr.strip()}")
    assert not done.returncode, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=[UNSHARE, IN_USER_NAMESPACE], ids=["mount", "user"])
def masks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> List[Mask]:
    folder = tmp_path_factory.mktemp("masks")
    found = json.loads(unshared([*COMMAND, str(folder)], *request.param))
    return [Mask(**one) for one in found]


def test_no_mask_makes_a_fact_wrong(masks: List[Mask]) -> None:
    assert len({mask.path for mask in masks}) >= 44
    wrong = {
        f"{mask.path} ({mask.mask}): {name}": f"{before} became {after}"
        for mask in masks
        for name, (before, after) in mask.changed.items()
        if not after.startswith("unknown (")
    }
    assert wrong == {}


def test_what_is_masked_is_unknown_for_a_reason_that_says_so(masks: List[Mask]) -> None:
    reasons = {
        after.partition("(")[2].partition(")")[0]
        for mask in masks
        for before, after in mask.changed.values()
        if not before.startswith("unknown")
    }
    assert reasons == {"hidden"}


LOST = {  # what a mask of one file or directory takes
    "/proc/meminfo": {"memory.total"},
    "/proc/swaps": {"swap.total", *(f"swap.devices./dev/nosuch{column}" for column in ("", ".type", ".size"))},
    "/proc/sys/net": {"sysctl.net.ipv4.ip_forward", "sysctl.net.ipv4.nosuch", "sysctl.net.nosuch"},
    "/proc/sys/kernel/panic": {"sysctl.kernel.panic"},
    "/proc/sys/kernel/tainted": {"kernel.taints"},
}


@pytest.mark.parametrize("path", LOST)
def test_the_rest_is_observed_as_before(masks: List[Mask], path: str) -> None:
    lost = [set(mask.changed) for mask in masks if mask.path == path]
    assert lost == [LOST[path]] * 2


HIDDEN = (
    *("kernel.cmdline.nosuch", "memory.total", "os.virtualization", "swap.total"),
    "sysctl.vm.swappiness",
)
REMAIN = ("cpu.count", "namespaces.kinds", "os.init", "ports.1", "files./proc/self/nosuch")


@pytest.mark.parametrize("own", [UNSHARE, IN_USER_NAMESPACE], ids=["mount", "user"])
def test_a_procfs_of_processes_only_hides_the_rest(own: Sequence[str]) -> None:
    whole, partial = (
        json.loads(unshared(["sh", "-c", f'{mount} && exec "$0" "$@"', *COMMAND], *own, "--pid", "--fork"))
        for mount in ("mount -t proc proc /proc", "mount -t proc -o subset=pid proc /proc")
    )
    wrong = {name: seen for name, seen in partial.items() if seen != whole[name]}
    assert all(seen.startswith("unknown (") for seen in wrong.values()), wrong
    assert set(HIDDEN) <= set(wrong)
    assert {name: partial[name] for name in REMAIN} == {name: whole[name] for name in REMAIN}


# what the kernel answers for the user namespace of whoever reads it
OF_THE_READER = {"sysctl.user.max_user_namespaces"}


def test_a_user_namespace_that_maps_nobody_makes_no_fact_wrong() -> None:
    outside, inside = json.loads(unshared(COMMAND)), json.loads(unshared(COMMAND, "unshare", "--user"))
    differing = {name: seen for name, seen in inside.items() if seen != outside[name] and name not in OF_THE_READER}
    assert all(seen.startswith("unknown (") for seen in differing.values()), differing
    assert inside["files./proc/cmdline.owner"].startswith("unknown (hidden)")
    assert inside["files./proc/cmdline.mode"] == outside["files./proc/cmdline.mode"]
