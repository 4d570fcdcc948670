"""Run all cases with another nodespec program, to show which faults it has: `compare.py PROGRAM [FILE...]`.

Prints one line a case, `ok` or `WRONG` with the first difference, then the counts; exits 1 where a case is wrong.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from fault_cases import judge_case, load_bases, load_cases, remove_folder, run_program


def main() -> int:
    """Compare and print; the exit status."""
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    program, files = sys.argv[1], sys.argv[2:]
    bases, wrong, total = load_bases(), 0, 0
    for case in load_cases():
        if files and case.file not in files:
            continue
        folder = Path(tempfile.mkdtemp(prefix="nodespec-case."))
        folder.chmod(0o755)
        try:
            run = run_program([program], case.data.get("run_as", ""), case.data.get("seconds", 120))
            verdict = judge_case(case, run, folder / "case", bases)
        finally:
            remove_folder(folder)
        total += 1
        wrong += bool(verdict.differences)
        print("WRONG" if verdict.differences else "ok   ", case.name, *verdict.differences[:1], sep="  ")
    print(f"{total - wrong} passed, {wrong} failed")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
