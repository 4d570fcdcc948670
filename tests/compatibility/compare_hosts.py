"""Judge every host of tests/hosts with every spec by two programs, and print how their JSON reports differ.

    python tests/compatibility/compare_hosts.py PROGRAM [OTHER]

OTHER is the nodespec of this checkout unless given. Each host is judged as a running machine and as an image. Texts
for people, times and digests may differ: `sentence`, `why`, `fix`, `look`, `say`, `notices` and those of IGNORED. The
exit status is 1 if anything else differs. Equal differences are printed once, with the hosts that have them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple

from nodespec.author.spec.library import Library

TOP = Path(__file__).resolve().parents[2]
TEXTS = ("sentence", "why", "fix", "look", "say", "notices", "text")
IGNORED = (*TEXTS, "time", "tool", "digest", "facts", "plan", "source", "see")
Difference = Tuple[str, str, str]


def judge(program: Sequence[str], spec: str, access: Sequence[str]) -> object:
    """Return the JSON report of one host, or the message of a usage error."""
    command = [*program, "check", spec, *access, "-o", "json", "--deadline", "60"]
    own = {"PYTHONPATH": str(TOP)} if program[0] == sys.executable else {}
    environment = {**{name: text for name, text in os.environ.items() if name != "PYTHONPATH"}, **own}
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=False, timeout=120)
    return json.loads(done.stdout)["reports"][0] if done.stdout else done.stderr


def by_id(items: List[object]) -> object:
    """Return records with an id, or parts with a place, by that name; other lists stay as they are."""
    for name in ("id", "place"):
        if items and all(isinstance(item, dict) and name in item for item in items):
            return {f"{item[name]}": item for item in items if isinstance(item, dict)}
    return items


def differ(before: object, after: object, path: Tuple[str, ...] = ()) -> Iterator[Difference]:
    """Yield each difference: its place, and both values."""
    before, after = (by_id(item) if isinstance(item, list) else item for item in (before, after))
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after} - {*IGNORED}):
            yield from differ(before.get(name), after.get(name), (*path, name))
    elif before != after:
        yield ".".join(path), json.dumps(before)[:200], json.dumps(after)[:200]


def main(programs: Sequence[str]) -> int:
    """Compare, and print the differences; the exit status."""
    first, second = ([program] for program in (*programs, "")[:2])
    second = second if second[0] else [sys.executable, "-m", "nodespec"]
    hosts: Dict[Difference, List[str]] = defaultdict(list)
    compared = 0
    for spec in Library().names():
        for host in sorted(path for path in (TOP / "tests/hosts").iterdir() if path.is_dir()):
            for access in ("--root", "--image"):
                relative = str(host.relative_to(TOP))
                reports = [judge(program, spec, (access, relative)) for program in (first, second)]
                compared += 1
                for difference in differ(reports[0], reports[1]):
                    hosts[difference].append(f"{host.name} {access}")
    for (place, before, after), names in sorted(hosts.items()):
        shown = ", ".join(sorted({*names})[:3])
        sys.stdout.write(f"{place}: {before} -> {after}  [{len(names)}: {shown}]\n")
    sys.stdout.write(f"{compared} reports compared, {len(hosts)} kinds of difference\n")
    return int(bool(hosts))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
