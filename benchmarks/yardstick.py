"""Put the yardstick into an installed nodespec, and count the instructions of a check.

    python benchmarks/yardstick.py PYTHON       PYTHON is that of a virtual environment that holds the wheel

The yardstick is `yardstick.json`: the plan of kubernetes/1.35 as commit 557f55d resolved it. The library's own spec
grows with every release, so that its cost says little about the program. Here the precompiled plan of the spec is
replaced by the yardstick: `nodespec check kubernetes/1.35` then takes the way of every installed check, and judges the
same 158 requirements in every version. Use a virtual environment that nothing else needs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Tuple

PLAN = Path(__file__).with_name("yardstick.json")
CHECK = ("check", "kubernetes/1.35")
# Run by the Python of the environment: the stamps of the sources stay, the plan is replaced.
REPLACE = """
import json, marshal, os, sys
import nodespec
path = os.path.join(os.path.dirname(nodespec.__file__), "plans", "kubernetes", "1.35.plan")
with open(path, "rb") as file:
    stored = marshal.loads(file.read())
stored["plan"] = json.load(sys.stdin)
with open(path, "wb") as file:
    file.write(marshal.dumps(stored, 2))
"""
CACHEGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")


def install(python: str) -> None:
    """Replace the precompiled plan of an installed nodespec by the yardstick."""
    subprocess.run([python, "-I", "-c", REPLACE], input=PLAN.read_bytes(), check=True)


def count(*argv: str) -> int:
    """Return the instructions that a process executes in user space. Raises OSError without valgrind."""
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}
    done = subprocess.run([*CACHEGRIND, *argv], env=environment, cwd="/", capture_output=True, text=True, check=False)
    found = re.search(r"I +refs: +([\d,]+)", done.stderr)
    if not found or done.returncode not in (0, 10, 11):
        raise OSError(f"cachegrind did not count {' '.join(argv)}: {done.stderr[-500:]}")
    return int(found[1].replace(",", ""))


def counted(python: str) -> Tuple[int, int]:
    """Return the instructions of a bare Python, and of a check by the yardstick."""
    program = str(Path(python).with_name("nodespec"))
    return count(python, "-I", "-c", "pass"), count(python, "-I", program, *CHECK)


def main() -> int:
    """Install the yardstick and print both counts."""
    install(sys.argv[1])
    bare, check = counted(sys.argv[1])
    print(f"bare Python {bare:,}; check {check:,} instructions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
