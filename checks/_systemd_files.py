"""Unit files as systemd finds and reads them: search path, aliases, masks, drop-ins, dependencies.

https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html
"""

from __future__ import annotations

from os.path import basename, join, normpath
from typing import TYPE_CHECKING, Dict, Iterator, List, Mapping, Optional, Tuple

from nodespec.checks import _systemd_units as _units
from nodespec.checks._systemd_names import (
    instance_of,
    is_template,
    is_unit_name,
    may_alias,
    name_levels,
    template_of,
    with_instance,
)
from nodespec.checks._systemd_syntax import Reading, read_unit
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from nodespec.host.tree import Tree

DIRECTORIES = (".wants", ".requires", ".upholds", ".d")
MAX_ALIASES = 10  # hops from an alias to its unit
MAX_SEARCH_LINKS = 4  # links followed from a directory of the search path
# What generators write at boot: these directories are empty at rest, and hold what nodespec derives itself.
EARLY, NORMAL, LATE = "generator.early", "generator", "generator.late"
CONFIG = "/etc/systemd/system"
VENDOR = ("/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
SEARCH_PATH = (
    "/etc/systemd/system.control",
    EARLY,
    CONFIG,
    "/etc/systemd/system.attached",
    NORMAL,
    *VENDOR,
    LATE,
    "stock",
)


class Link(NamedTuple):
    """A link that a generator or a preset makes, with what has it made."""

    target: str
    at: Evidence = Evidence("")


class Fragment(NamedTuple):
    """The file of a unit. `state` is `loaded`, `masked` or `missing`."""

    path: str
    state: str


class Units:
    """All unit files of a tree, with what generators and presets add to them or take away.

    `added` maps `DIRECTORY/NAME` or `DIRECTORY/NAME.wants/NAME` to a link or a text, `removed` lists links of /etc.
    """

    def __init__(self, tree: Tree, added: Mapping[str, object], removed: frozenset[str] = frozenset()) -> None:
        self.tree, self.added, self.removed = tree, added, removed
        self.unread: Optional[Unknown] = None  # the first thing that could not be read
        self.malformed = False  # whether a section [Install] was looked for in a file that systemd refuses
        self._listed: Dict[str, Tuple[str, ...]] = {}
        self._added_names: Dict[str, List[str]] = {}
        for path in added:
            folder, _, name = path.rpartition("/")
            self._added_names.setdefault(folder, []).append(name)
            above, _, parent = folder.rpartition("/")
            if above and parent not in self._added_names.setdefault(above, []):
                self._added_names[above].append(parent)
        self._search = frozenset(self._expanded())
        self._folders: Dict[str, List[int]] = {}  # drop-in and .wants directories, by their place in the search path
        self.ids = self._ids()
        self.aliases = self._aliases()

    def names(self, folder: str) -> Tuple[str, ...]:
        """The names in a directory."""
        if folder not in self._listed:
            seen = self.tree.names(folder) if folder.startswith("/") else Absent(Evidence(folder))
            if isinstance(seen, Unknown):
                self.unread = self.unread or seen
            real = seen.value if isinstance(seen, Value) else ()
            kept = (name for name in real if f"{folder}/{name}" not in self.removed)
            self._listed[folder] = tuple(dict.fromkeys((*kept, *self._added_names.get(folder, ()))))
        return self._listed[folder]

    def link(self, path: str) -> str:
        """The target of a link, as written; empty for what is no link."""
        entry = self.added.get(path)
        if entry is not None or not path.startswith("/"):
            return entry.target if isinstance(entry, Link) else ""
        found = self.tree.entry(path, follow=False)
        if isinstance(found, Value) and found.value.kind != "link":
            return ""
        target = self.tree.link(path) if isinstance(found, Value) else found
        if isinstance(target, Unknown):
            self.unread = self.unread or target
        return target.value if isinstance(target, Value) else ""

    def evidence(self, path: str) -> Evidence:
        """Where a file or link stands, or what has it made."""
        entry = self.added.get(path)
        if entry is None:
            return Evidence(path)
        if isinstance(entry, Link) and entry.at.source:
            return entry.at
        return Evidence(path if path.startswith("/") else f"{VENDOR[1]}/{basename(path)}", inferred=True)

    def is_mask(self, path: str) -> bool:
        """Whether a path is an empty file or leads to /dev/null or such a file."""
        entry = self.added.get(path)
        if entry is not None:
            return entry.target == "/dev/null" if isinstance(entry, Link) else not entry
        return _units.is_masked(self.tree, path)

    def text(self, path: str) -> Observation[str]:
        """The text of a file."""
        entry = self.added.get(path)
        if isinstance(entry, Link):
            path = normpath(join(path, "..", entry.target))
        elif entry is not None:
            return Value(str(entry), Evidence(path))
        return self.tree.text(path, _units.LIMIT)

    def _expanded(self) -> Iterator[str]:
        """The directories of the search path, and those that they lead to by links."""
        for folder in SEARCH_PATH:
            yield folder
            path = folder
            for _ in range(MAX_SEARCH_LINKS):
                target = self.link(path)
                if not target:
                    break
                path = normpath(join(path, "..", target))
                yield path

    def _ids(self) -> Mapping[str, str]:
        """Each name with its file, or with the name that it is an alias of; the first directory counts."""
        ids: Dict[str, str] = {}
        for place, folder in enumerate(SEARCH_PATH):
            for name in self.names(folder):
                if name.endswith(DIRECTORIES):
                    self._folders.setdefault(name, []).append(place)
                if name in ids or not is_unit_name(name):
                    continue
                found = self._resolved(folder, name)
                if found:
                    ids[name] = found
        return ids

    def _resolved(self, folder: str, name: str) -> str:
        """The path of a unit file or mask, or the name that a link makes an alias of; empty for an invalid alias."""
        path = f"{folder}/{name}"
        target = self.link(path)
        if not target:
            return path
        simplified = normpath(join(folder, target))
        inside = any(simplified.startswith(f"{place}/") for place in self._search)
        if not inside:
            return path
        alias = basename(simplified)
        return alias if may_alias(name, alias) else ""

    def _aliases(self) -> Mapping[str, Tuple[str, ...]]:
        """The names by which each unit is known, by the name of its file."""
        found: Dict[str, Tuple[str, ...]] = {}
        for name in self.ids:
            path = self.final(name)
            if path and not self.is_mask(path):
                own = basename(path)
                if is_template(own) and instance_of(name):
                    own = with_instance(own, instance_of(name))
                found[own] = (*found.get(own, ()), name)
        return found

    def final(self, name: str) -> str:
        """The path of the file that a name leads to; empty where there is none."""
        for _ in range(MAX_ALIASES):
            name = self.ids.get(name, "")
            if "/" in name or not name:
                return name
        return ""

    def dangling(self) -> bool:
        """Whether a unit name is an alias of a unit without a file, or a link that is no valid alias."""
        names = (name for folder in SEARCH_PATH for name in self.names(folder) if is_unit_name(name))
        return any(not self.final(name) for name in names)

    def fragment(self, name: str) -> Fragment:
        """The file of a unit, that of its template for an instance without one."""
        path = self.final(name) or self.final(template_of(name))
        if not path:
            return Fragment("", "missing")
        if self.is_mask(path):
            return Fragment(path, "masked")
        if path not in self.added and isinstance(self.tree.entry(path), Absent):
            return Fragment(path, "missing")  # a link that leads nowhere
        return Fragment(path, "loaded")

    def known_as(self, name: str, fragment: Fragment) -> Tuple[str, ...]:
        """All names of a unit: its own first, then those that are aliases of it."""
        found = dict.fromkeys((name, *self._also(name, name, "")))
        own = basename(fragment.path)
        if own and own != name:
            if not is_template(own):
                found[own] = None
            elif instance_of(name):
                found[with_instance(own, instance_of(name))] = None
            found.update(dict.fromkeys(self._also(name, own, own)))
        return tuple(found)

    def _also(self, name: str, own: str, file: str) -> Iterator[str]:
        """Aliases of a unit, instantiated as the unit is."""
        for alias in self.aliases.get(own, ()):
            if not (is_template(alias) and instance_of(name)):
                yield alias
                continue
            made = with_instance(alias, instance_of(name))
            other = self.final(made)
            if not (other and file and basename(other) != file):
                yield made

    def beside(self, names: Tuple[str, ...], suffix: str) -> Iterator[str]:
        """The files of the directories `NAME.SUFFIX` of a unit, sorted by name; of those with one name the first."""
        ranked = [
            (rank, place, depth, f"{SEARCH_PATH[place]}/{level}{suffix}")
            for rank, name in enumerate((*names, names[0].rpartition(".")[2]))
            for depth, level in enumerate(name_levels(name) if "." in name else (name,))
            for place in self._folders.get(f"{level}{suffix}", ())
        ]
        found: Dict[str, str] = {}
        for *_, folder in sorted(ranked):
            for name in self.names(folder):
                found.setdefault(name, f"{folder}/{name}")
        return iter(path for _, path in sorted(found.items()))

    def readings(self, fragment: Fragment, names: Tuple[str, ...]) -> Optional[List[Reading]]:
        """What a unit's file and drop-ins say, in order; nothing where one of them cannot be parsed."""
        found: List[Reading] = []
        drop_ins = (path for path in self.beside(names, ".d") if path.endswith(".conf"))
        for path in (*((fragment.path,) if fragment.path else ()), *drop_ins):
            text = self.text(path)
            if isinstance(text, Unknown):
                self.unread = self.unread or text
            if not isinstance(text, Value):
                continue
            try:
                found += read_unit(text.value, path)
            except ValueError:
                if path == fragment.path:
                    return None
        return found
