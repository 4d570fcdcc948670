"""Do the contract tests fail where a contract is broken? Each patch of tests/contracts breaks one on purpose.

    python tests/stages/contracts.py CACHE

A patch is a module: `apply` changes a copy of the checkout, and each test of `NOTICED_BY` must pass without the patch
and fail with it; `TESTS` are their files. Exit status 1: one does not, or a patch no longer applies.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, List, Sequence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

TOP = Path(__file__).parents[2]
CONTRACTS = TOP / "tests/contracts"
PATCHES = ("unsafe_format", "unknown_operator", "forgetful_tree")


def copied(folder: Path) -> Path:
    """Copy what the repository lists, as it is in the checkout."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (TOP / name).is_symlink() or (TOP / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, folder / name, follow_symlinks=False)
    return folder


def ran(top: Path, files: Sequence[str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run test files in a copy of the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(top), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "--tb=no", "-rf"]
    return subprocess.run(
        [*command, *options, *files], cwd=top, env=environment, capture_output=True, text=True, check=False, timeout=600
    )


def chosen(patches: Sequence[ModuleType]) -> str:
    """Return the expression by which pytest selects the tests that notice some patches."""
    return " or ".join(name.split("[")[0] for patch in patches for name in patch.NOTICED_BY)


def wrong_with(patch: ModuleType, folder: Path) -> Iterator[str]:
    """What a patch shows to be wrong with the tests."""
    top = copied(folder)
    try:
        patch.apply(top)
    except (OSError, ValueError) as error:
        yield f"the patch no longer applies: {error}"
        return
    done = ran(top, patch.TESTS, "-k", chosen([patch]))
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    if done.returncode != 1:
        yield f"pytest ended with status {done.returncode}: {done.stdout[-1000:]}{done.stderr[-1000:]}"
    yield from (f"{name} does not fail" for name in patch.NOTICED_BY if not any(f"::{name}" in one for one in failed))


def main() -> int:
    """The exit status; what is wrong is printed."""
    sys.path.insert(0, str(CONTRACTS))
    patches = [importlib.import_module(name) for name in PATCHES]
    wrong: List[str] = []
    forgotten = {path.stem for path in CONTRACTS.glob("*.py")} - {*PATCHES, "patching"}
    wrong += [f"tests/contracts/{name}.py is not tried" for name in sorted(forgotten)]
    with tempfile.TemporaryDirectory(prefix="nodespec-contracts-") as folder:
        files = [file for patch in patches for file in patch.TESTS]
        done = ran(copied(Path(folder) / "whole"), files, "-k", chosen(patches))  # ./test runs the other tests
        if done.returncode:
            wrong.append(f"without a patch: {done.stdout[-2000:]}{done.stderr[-500:]}")
        for name, patch in zip(PATCHES, patches):
            found = list(wrong_with(patch, Path(folder) / name))
            print(f"{name}: {'; '.join(found) or 'noticed'}", flush=True)
            wrong += found
    if wrong:
        print("\n".join(f"WRONG  {line}" for line in wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
