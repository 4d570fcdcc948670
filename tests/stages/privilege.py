"""Who looks, and what he sees: root, nobody, without /proc, in a user namespace, in a container.

    python tests/stages/privilege.py CACHE [--write]

As root, on this machine: each of them observes all facts. What somebody else than root reports as a value must be
root's; what differs because another namespace answers is named below. docs/privilege.md is the table of the facts that
each can see; --write writes it again. The exit status is 1 where a value differs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Iterator, Mapping, NamedTuple, Sequence, Union

TOP = Path(__file__).parents[2]
sys.path[:0] = [str(TOP), str(TOP / "tests")]

from unhurried import PROGRAM  # noqa: E402 - this folder is where Python starts, not the top

from nodespec.facts import declaration  # noqa: E402 - this folder is where Python starts, not the top
from nodespec.facts.declaration import Leaf, Place, Table  # noqa: E402 - likewise
from nodespec.model.observation import Unknown, Value  # noqa: E402 - likewise
from nodespec.recording import file  # noqa: E402 - likewise
from nodespec.recording.replay import ReplayedFacts  # noqa: E402 - likewise

PAGE = TOP / "docs" / "privilege.md"
LOOKS = 3  # at most: what changes between two of them is not a difference


class Looker(NamedTuple):
    """A way to observe. `differs`: facts whose value is really another one there, and why."""

    name: str
    before: Sequence[str]
    differs: Mapping[str, str]


SETPRIV = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")
HIDDEN = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")
LOOKERS = (
    Looker("root", (), {}),
    Looker("nobody", SETPRIV, {}),
    Looker("without /proc", HIDDEN, {}),
    Looker(
        "user namespace",
        (*SETPRIV, "unshare", "--user", "--map-root-user", "--"),
        {
            "files": "owners that the namespace does not map are nobody's",
            "sysctl": "user.* count in each user namespace",
            "namespaces": "a process in a user namespace sees its limits, not those of the host",
        },
    ),
    Looker(
        "namespaces of a container",
        ("unshare", "--mount", "--pid", "--fork", "--net", "--ipc", "--uts", "--cgroup", "--mount-proc", "--"),
        {
            "sysctl": "parameters of net, ipc, uts and pid are those of the namespace of the reader",
            "ports": "a new network namespace has no ports in use",
            "network": "a new network namespace has other interfaces and routes",
            "cgroups": "the cgroup of the reader is the root of the visible hierarchy",
            "kubelet": "a new PID namespace shows no process of the host",
            "os": "PID 1 is another process",
            "mounts": "PID 1 has a mount namespace of its own, with another /proc",
        },
    ),
)


def main(*, write: bool) -> int:
    """The exit status; every value that differs is printed."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # noqa: S103 - nobody reads there
        (Path(folder) / "out").mkdir()
        (Path(folder) / "out").chmod(0o777)
        shutil.copytree(TOP / "nodespec", f"{folder}/nodespec", symlinks=False)
        for _ in range(LOOKS):
            seen = {looker.name: looked(looker, Path(folder)) for looker in LOOKERS}
            wrong = [line for looker in LOOKERS for line in differences(looker, seen["root"], seen[looker.name])]
            if not wrong:
                break
    print("\n".join(wrong))
    page = table(seen)
    if write:
        PAGE.write_text(page)
    for name, facts in seen.items():
        states = [state(place, facts) for place in places()]
        print(f"{name}: {states.count('yes')} of {len(states)} facts observed")
    print(f"{len(wrong)} values differ from those of root")
    return int(bool(wrong))


def looked(looker: Looker, folder: Path) -> ReplayedFacts:
    """Everything that is seen; rows of tables by `table.row`."""
    out = folder / "out" / f"{looker.name.replace('/', '')}.json"
    asked = [
        "/usr/bin/python3",
        *PROGRAM[1:],
        "facts",
        *declaration.list_families(),
        "--reveal",
        "--deadline",
        "120",
        "-o",
        str(out),
    ]
    done = subprocess.run(
        [*looker.before, *asked],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{looker.name}: {done.stderr.decode()[-300:]}")
    return ReplayedFacts(file.load_recording(str(out)).facts)


def differences(looker: Looker, root: ReplayedFacts, theirs: ReplayedFacts) -> Iterator[str]:
    """Where a value is another than root's, for no reason that is known."""
    for place in places():
        for cell in cells(place, theirs) if place.path[0] not in looker.differs else ():
            mine, other = root.observe(cell), theirs.observe(cell)
            if isinstance(other, Value) and not (isinstance(mine, Value) and mine.value == other.value):
                said = repr(mine.value) if isinstance(mine, Value) else str(mine)
                yield f"{looker.name}: {'.'.join(cell.path)} is {other.value!r}, and root's is {said}"


def places() -> Iterator[Place]:
    """Every fact and table."""
    for name in declaration.list_families():
        family = declaration.load_family(name)
        members: Mapping[str, Union[Leaf, Table]] = {"": family} if isinstance(family, Table) else family.members
        for member, fact in members.items():
            yield Place((name, *filter(None, [member])), fact)


def cells(place: Place, seen: ReplayedFacts) -> Iterator[Place]:
    """A fact itself; of a table every cell."""
    if isinstance(place.fact, Leaf):
        yield place
        return
    for key in seen.names(place):
        for column in ("", *place.fact.columns):
            yield Place((*place.path, key, *filter(None, [column])), place.fact, key, column)


def state(place: Place, seen: ReplayedFacts) -> str:
    """Whether a fact is seen: yes; in part; or why not."""
    found = seen.observe(place) if isinstance(place.fact, Leaf) else seen.rows(place)
    if not isinstance(found, Unknown):
        return "yes"
    part = not isinstance(place.fact, Leaf) and bool(seen.names(place))
    asked = found.reason == "not recorded"  # a table that is read by single rows only
    return "yes" if asked else f"in part ({found.reason})" if part else found.reason


def table(seen: Mapping[str, ReplayedFacts]) -> str:
    """The page: a row for each fact, a column for each who looks."""
    heads = [looker.name for looker in LOOKERS]
    rows = [
        f"| {'.'.join(place.path)} | {' | '.join(state(place, seen[head]) for head in heads)} |" for place in places()
    ]
    apart = [f"* {one.name}: {fact}: {why}" for one in LOOKERS for fact, why in one.differs.items()]
    return "\n".join(
        [
            "# Which user sees which facts",
            "",
            "Generated by `python tests/stages/privilege.py CACHE --write` on one machine: `yes`, or the reason why a",
            "fact is unknown. A value is equal to the value that root sees. The list below the table has the",
            "namespaces in which it differs.",
            "",
            f"| fact | {' | '.join(heads)} |",
            f"|---|{'---|' * len(heads)}",
            *rows,
            "",
            "Values that differ, and why:",
            "",
            *apart,
            "",
        ]
    )


if __name__ == "__main__":
    if os.geteuid():
        print("root privileges are required: root observes first")
        sys.exit(77)
    sys.exit(main(write="--write" in sys.argv))
