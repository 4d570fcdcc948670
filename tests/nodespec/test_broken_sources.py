"""Every fact of a few trees, and what it becomes if one of its sources is refused, missing, empty or malformed.

`pytest tests/nodespec/test_broken_sources.py --update-golden` writes tests/nodespec/broken-sources again. Read a
difference as follows: a source that exists and cannot be used makes a fact unknown, for the reason that the heading
says, unless another source answers as well.
"""

from __future__ import annotations

import errno
import os
import time
from functools import cache
from pathlib import Path
from typing import (
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
    Type,
    TypeVar,
    Union,
)

import pytest
import yaml
from fit_node import Change, Host, joined, legacy, planted
from test_every_fact_hidden import OF_UNAME, PLACES

from nodespec.facts.declaration import Place
from nodespec.facts.live import Live
from nodespec.host.directory import DirectoryTree
from nodespec.host.tree import Tree
from nodespec.model.observation import Absent, Limits, Observation, Unknown, Value

T = TypeVar("T")
GOLDEN = Path(__file__).parent / "broken-sources"
HOSTS = Path(__file__).parents[1] / "hosts"
TREES = yaml.safe_load((Path(__file__).parent / "broken-sources.yaml").read_text(encoding="utf-8"))
GARBAGE = b"\xff\xfe\x00 not what belongs here\n\n\x01=[\n"
ERRORS = {"refused": errno.EACCES, "missing": errno.ENOENT}
CONTENTS = {"empty": b"", "malformed": GARBAGE}


class Asked(NamedTuple):
    """The paths that were asked for, and those of files that were read."""

    paths: Set[str]
    files: Set[str]


def break_source(base: Type[Tree], root: str, path: str = "", how: str = "", asked: Optional[Asked] = None) -> Tree:
    """Return a tree in which one path, with all below it, is broken in one way; it adds the paths that it is asked."""
    made: Tree = make_breakable(base)(root)
    vars(made).update(broken=path, how=how, asked=asked or Asked(set(), set()))
    return made


@cache
def make_breakable(base: Type[Tree]) -> Type[Tree]:
    """Return the class of broken trees. One class serves all: a class is not freed before a garbage collection."""

    class Broken(base):  # type: ignore[valid-type,misc]
        broken, how = "", ""
        asked = Asked(set(), set())

        def _ask(self, name: str, ask: Callable[[], T]) -> Observation[T]:
            self.asked.paths.add(name)

            def fail() -> T:
                raise OSError(ERRORS[self.how], os.strerror(ERRORS[self.how]))

            broken = self.how in ERRORS and self.broken and f"{name}/".startswith(f"{self.broken}/")
            found: Observation[T] = super()._ask(name, fail if broken else ask)
            return found

        def _read_file(self, name: str, size: int, least: int = 1) -> bytes:
            self.asked.files.add(name)
            found: bytes = super()._read_file(name, size, least)
            return CONTENTS[self.how][:size] if name == self.broken and self.how in CONTENTS else found

    return Broken


def observe(tree: Tree, places: Sequence[Place]) -> Dict[str, Observation[object]]:
    """Observe some places of a tree."""
    live = Live(tree, time.monotonic() + 600)
    live.limits = Limits(observation_seconds=60)
    return {".".join(place.path): as_root(place, live.observe(place)) for place in places}


def as_root(place: Place, seen: Observation[object]) -> Observation[object]:
    """Return an observation with root in place of the user who runs the tests and owns the planted files."""
    own = {"owner": os.getuid(), "group": os.getgid()}.get(place.column)
    return Value(0, seen.evidence, seen.others) if isinstance(seen, Value) and seen.value == own else seen


def show(value: object) -> str:
    """Return a value in one line."""
    return repr(sorted(value)) if isinstance(value, frozenset) else repr(value)


def show_state(seen: Observation[object]) -> str:
    """Return a value, an absence, or the reason of an unknown observation."""
    if isinstance(seen, Value):
        return " or ".join(map(show, (seen.value, *seen.others)))
    return "absent" if isinstance(seen, Absent) else f"unknown ({seen.reason})"


def show_origin(seen: Observation[object]) -> str:
    """Return the evidence of an observation."""
    if isinstance(seen, Unknown):
        return ""
    return f"  <- {seen.evidence}{', inferred' if seen.evidence.inferred else ''}"


def find_users(base: Type[Tree], root: str) -> Tuple[Dict[str, List[Place]], Set[str]]:
    """Return the facts that read a path, or something below it, by path; and the paths of the files that are read."""
    users: Dict[str, List[Place]] = {}
    files: Set[str] = set()
    for place in PLACES:
        asked = Asked(set(), files)
        observe(break_source(base, root, asked=asked), [place])
        parents = {"/".join(path.split("/")[:depth]) for path in asked.paths for depth in range(2, path.count("/") + 2)}
        for path in parents - {"/proc", "/sys"}:
            users.setdefault(path, []).append(place)
    return users, files


def find_changes(base: Type[Tree], root: str, before: Mapping[str, Observation[object]]) -> Iterator[Tuple[str, str]]:
    """Yield each path that changes facts if it is broken, and how: a heading and lines."""
    users, files = find_users(base, root)
    for path, places in sorted(users.items()):
        exists = os.path.lexists(root + path)
        for how in (*(ERRORS if exists else ["refused"]), *(CONTENTS if path in files else [])):
            changed: Dict[str, List[str]] = {}
            for name, seen in observe(break_source(base, root, path, how), places).items():
                if show_state(seen) != show_state(before[name]):
                    changed.setdefault(show_state(seen), []).append(name)
            lines = "".join(f"    {state}: {' '.join(shorten(names))}\n" for state, names in sorted(changed.items()))
            if how == "refused":
                assert_unknown(path, before, changed)
            if lines:
                yield path, f"  {how if exists else 'refused, does not exist'}:\n{lines}"


# nodespec takes the kernel to have swap unless a configuration says otherwise: no kernel of a distribution has none
ASSUMED = {"swap.total"}


def assert_unknown(path: str, before: Mapping[str, Observation[object]], changed: Mapping[str, List[str]]) -> None:
    """Check that a refused source makes facts unknown, or adds to what they may be."""
    states = [state for state in changed if not state.startswith("unknown (")]
    wrong = {
        f"{path}: {name} was {show_state(before[name])}, and is {state}"
        for state in states
        for name in changed[state]
        if show_state(before[name]) not in state.split(" or ") and name not in OF_UNAME | ASSUMED
    }
    assert wrong == set()


def describe(base: Type[Tree], root: str) -> Iterator[str]:
    """Yield the text of a golden file: every fact, then those that change with each broken source."""
    before = observe(break_source(base, root), PLACES)
    for name, seen in before.items():
        yield f"{name}: {show_state(seen)}{show_origin(seen)}\n".replace(root, "ROOT")
    effects: Dict[str, List[str]] = {}
    for path, effect in find_changes(base, root, before):
        effects.setdefault(effect, []).append(path)
    for effect, paths in effects.items():
        yield f"\n{' '.join(paths)}\n{effect}"


def shorten(names: Sequence[str]) -> List[str]:
    """Return the names of facts; a row with all its columns becomes `ROW.*`."""
    rows: Dict[str, List[str]] = {}
    for place in PLACES:
        if place.column:
            rows.setdefault(".".join(place.path[:-1]), []).append(".".join(place.path))
    shown = list(names)
    for row, columns in rows.items():
        if set(columns) <= set(shown):
            at = min(map(shown.index, columns))
            shown[at] = f"{row}.*"
            shown = [name for name in shown if name not in columns]
    return shown


class Case(NamedTuple):
    """A host of tests/hosts, or changes of the fit node; observed while it runs, or at rest."""

    base: Type[Tree]
    source: Union[str, Sequence[Change]]


CASES: Mapping[str, Case] = {
    "running": Case(Host, ()),
    "running-legacy": Case(Host, (legacy,)),
    "joined-at-rest": Case(DirectoryTree, (joined,)),
    "debian-at-rest": Case(DirectoryTree, "rest-debian-12-grub"),
    "fedora-at-rest": Case(DirectoryTree, "rest-fedora-41-bls"),
    "bare-at-rest": Case(DirectoryTree, "debian-12-minbase"),
    "configured-at-rest": Case(DirectoryTree, "configured"),
    "alpine-at-rest": Case(DirectoryTree, "alpine"),
}


def write_tree(entries: Mapping[str, Union[str, Mapping[str, str]]], root: Path) -> None:
    """Write a tree of broken-sources.yaml."""
    for name, entry in entries.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(entry, str) and "link" in entry:
            path.symlink_to(entry["link"])
        else:
            path.write_text(entry if isinstance(entry, str) else entry["text"], encoding="utf-8")
            path.chmod(0o644 if isinstance(entry, str) else int(entry["mode"], 8))


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", CASES)
def test_broken_source_changes_facts_as_listed(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    base, source = CASES[name]
    root = str(tmp_path)
    if not isinstance(source, str):
        planted(tmp_path, *source)
    elif source in TREES:
        write_tree(TREES[source], tmp_path)
    else:
        root = str(HOSTS / source)
    text = "".join(describe(base, root))
    file = GOLDEN / f"{name}.txt"
    if request.config.getoption("--update-golden"):
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text.splitlines() == file.read_text(encoding="utf-8").splitlines()


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(CASES)
