"""A host of which one file is as somebody else wrote it: every fact is observed all the same, and none by defect."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterator, Mapping, NamedTuple, Sequence, Tuple, Union

from unhurried import unhurried

from nodespec.facts import declaration
from nodespec.facts.declaration import Leaf, Place, Table
from nodespec.facts.live import Live
from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.model.observation import Observation, Unknown
from nodespec.recording.observation_json import encode_observation

if TYPE_CHECKING:
    from nodespec.facts.value_types import Datum

HOSTS = Path(__file__).parents[1] / "hosts"
ROWS = 6  # of a table, which are looked at
Read = Callable[[bytes], object]


class File(NamedTuple):
    """Where the bytes stand, and the facts that read them there; `keys` are rows that are asked for by name."""

    path: str
    facts: Tuple[str, ...]
    keys: Tuple[str, ...] = ()


class Reader(Machine):
    """A machine below a folder, seen from within; it runs and asks nothing."""

    def elsewhere(self, space: str) -> None:  # noqa: ARG002 - it is the host's own
        return None


def on_host(*files: File, hosts: Sequence[str] = (), rest: bool = False) -> Read:
    """What reads bytes as one of the files of a host, running or at rest; of several the first byte says which."""

    def read(data: bytes) -> None:
        file, content = (files[data[0] % len(files)], data[1:]) if data and len(files) > 1 else (files[0], data)
        root = planted(*hosts)
        before = Path(root + file.path).read_bytes() if os.path.exists(root + file.path) else None
        write(root + file.path, content)
        try:
            looked(DirectoryTree(root) if rest else Reader(root), file)
        finally:
            write(root + file.path, before)

    return read


def choices(files: Sequence[File], seeds: Sequence[Sequence[bytes]]) -> Tuple[bytes, ...]:
    """The samples of several files, each behind the byte that says which."""
    assert len(files) == len(seeds)
    return tuple(bytes((number,)) + seed for number, several in enumerate(seeds) for seed in several)


@cache
def planted(*hosts: str) -> str:
    """A temporary folder with the files of hosts, the beginning of long ones; it boots with systemd."""
    root = tempfile.mkdtemp()
    for host in hosts:
        shutil.copytree(HOSTS / host, root, symlinks=True, dirs_exist_ok=True)
    for large in (*Path(root).glob("usr/lib/modules/*/modules.*"), *Path(root).glob("boot/config-*")):
        large.write_bytes(large.read_bytes()[:2000])
    init = Path(root) / "sbin/init"
    if not init.is_symlink():
        init.parent.mkdir(exist_ok=True)
        init.symlink_to("/usr/lib/systemd/systemd")
    write(f"{root}/proc/self/stat", b"1 (init) S")  # a /proc that is there
    return root


def write(path: str, content: bytes | None) -> None:
    """A file with this content, or none."""
    if content is None:
        os.unlink(path)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def looked(host: Tree, file: File) -> None:
    """Look at the facts, or at all of a family; of a table at its first rows and those that are asked for by name."""
    with unhurried():  # the fuzzer's own bound is on the processor's time
        live = Live(host, float("inf"))
        for place in places(live, file):
            observed(place, live.observe(place), running=host.running)


def places(live: Live, file: File) -> Iterator[Place]:
    for asked in file.facts:
        family, _, only = asked.partition(".")
        found = declaration.load_family(family)
        members: Mapping[str, Union[Leaf, Table]] = {"": found} if isinstance(found, Table) else found.members
        for name, fact in members.items():
            place = Place((family, *filter(None, [name])), fact)
            if not only or only == name:
                yield from [place] if isinstance(fact, Leaf) else _cells(place, fact, live, file.keys)


def _cells(place: Place, table: Table, live: Live, keys: Sequence[str]) -> Iterator[Place]:
    named = live.names(place)
    for key in (*keys, *(() if isinstance(named, Unknown) else named[:ROWS])):
        with contextlib.suppress(ValueError):  # what is no key of this table
            name = table.key(key)
            for column in ("", *table.columns):
                yield Place((*place.path, name, *filter(None, [column])), table, name, column)


def observed(place: Place, seen: Observation[Datum], *, running: bool) -> None:
    """An observation is no defect, comes from where it may come from, and can be written down."""
    if not isinstance(seen, Unknown):
        known = place.fact.sources if running else place.fact.resting_sources
        for source in seen.evidence.source.split(", "):
            if not any(fnmatchcase(source, one) for one in known):
                raise AssertionError(f"{'.'.join(place.path)}: {source} is not among {known}")
    elif seen.reason in {"defect", "timed out"}:
        raise AssertionError(f"{'.'.join(place.path)}: {seen}")
    json.dumps(encode_observation(seen))
