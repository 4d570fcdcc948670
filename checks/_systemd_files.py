"""Unit files of systemd: search path, aliases, masks, drop-ins, dependencies.

https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html
"""

from __future__ import annotations

from os.path import basename, join, normpath

from nodespec.checks import _systemd_units
from nodespec.checks._systemd_names import (
    get_instance,
    get_template,
    is_template,
    is_unit_name,
    list_name_levels,
    may_alias,
    set_instance,
)
from nodespec.checks._systemd_syntax import UnitLine, parse_unit_file
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Mapping, Optional, Tuple

    from nodespec.host.tree import Tree

DIRECTORIES = (".wants", ".requires", ".upholds", ".d")
MAX_ALIASES = 10  # links from an alias to its unit
MAX_SEARCH_LINKS = 4  # links followed from a directory of the search path
# Output of generators: these directories are empty at rest, and hold the units that nodespec derives.
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
# The search path of a running systemd.
LIVE_SEARCH_PATH = (
    *("/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient"),
    *("/run/systemd/generator.early", CONFIG, "/etc/systemd/system.attached", "/run/systemd/system"),
    *("/run/systemd/system.attached", "/run/systemd/generator", *VENDOR, "/run/systemd/generator.late"),
)


class Link(NamedTuple):
    """A link that a generator or a preset creates, with the evidence for it."""

    target: str
    at: Evidence = Evidence("")


class Fragment(NamedTuple):
    """The file of a unit; `state` is `loaded`, `masked` or `missing`."""

    path: str
    state: str


class Units:
    """All unit files of a tree, with the changes of generators and presets.

    `added` maps `DIRECTORY/NAME` or `DIRECTORY/NAME.wants/NAME` to a link or a text. `removed` lists links of /etc.
    """

    def __init__(
        self,
        tree: Tree,
        added: Mapping[str, object],
        removed: frozenset[str] = frozenset(),
        search_path: Tuple[str, ...] = SEARCH_PATH,
    ) -> None:
        self.tree, self.added, self.removed, self.search_path = tree, added, removed, search_path
        self.unread: Optional[Unknown] = None  # the first path that could not be read
        self.malformed = False  # whether [Install] was searched in a file that systemd refuses
        self._listed: Dict[str, Tuple[str, ...]] = {}
        self._added_names: Dict[str, List[str]] = {}
        for path in added:
            folder, _, name = path.rpartition("/")
            self._added_names.setdefault(folder, []).append(name)
            above, _, parent = folder.rpartition("/")
            if above and parent not in self._added_names.setdefault(above, []):
                self._added_names[above].append(parent)
        self._search = frozenset(self._list_search_folders())
        self._folders: Dict[str, List[int]] = {}  # drop-in and .wants directories, by position in the search path
        self.ids = self._read_ids()
        self.aliases = self._collect_aliases()
        self.unlisted: Optional[Unknown] = (
            self.unread
        )  # the first directory or link that could not be read; it may hide any unit

    def forget_unread(self) -> Optional[Unknown]:
        """Return the first path that could not be read, and forget it."""
        unread, self.unread = self.unread, None
        return unread

    def names(self, folder: str) -> Tuple[str, ...]:
        """Return the names in a directory."""
        if folder not in self._listed:
            seen = self.tree.names(folder) if folder.startswith("/") else Absent(Evidence(folder))
            if isinstance(seen, Unknown):
                self.unread = self.unread or seen
            real = seen.value if isinstance(seen, Value) else ()
            kept = (name for name in real if f"{folder}/{name}" not in self.removed)
            self._listed[folder] = tuple(dict.fromkeys((*kept, *self._added_names.get(folder, ()))))
        return self._listed[folder]

    def link(self, path: str) -> str:
        """Return the unresolved target of a link; empty for any other path."""
        entry = self.added.get(path)
        if entry is not None or not path.startswith("/"):
            return entry.target if isinstance(entry, Link) else ""
        file = self.tree.entry(path, follow=False)
        if isinstance(file, Value) and file.value.kind != "link":
            return ""
        target = self.tree.link(path) if isinstance(file, Value) else file
        if isinstance(target, Unknown):
            self.unread = self.unread or target
        return target.value if isinstance(target, Value) else ""

    def evidence(self, path: str) -> Evidence:
        """Return the location of a file or link, or what creates it."""
        entry = self.added.get(path)
        if entry is None:
            return Evidence(path)
        if isinstance(entry, Link) and entry.at.source:
            return entry.at
        return Evidence(path if path.startswith("/") else f"{VENDOR[1]}/{basename(path)}", inferred=True)

    def is_mask(self, path: str) -> bool:
        """Return whether a path is empty, or leads to /dev/null or an empty file."""
        entry = self.added.get(path)
        if entry is not None:
            return entry.target == "/dev/null" if isinstance(entry, Link) else not entry
        return _systemd_units.is_masked(self.tree, path)

    def text(self, path: str) -> Observation[str]:
        """Return the text of a file."""
        entry = self.added.get(path)
        if isinstance(entry, Link):
            path = normpath(join(path, "..", entry.target))
        elif entry is not None:
            return Value(str(entry), Evidence(path))
        return self.tree.text(path, _systemd_units.MAX_TEXT_BYTES)

    def _list_search_folders(self) -> Iterator[str]:
        """Yield the directories of the search path and the targets of their links."""
        for folder in self.search_path:
            yield folder
            path = folder
            for _ in range(MAX_SEARCH_LINKS):
                target = self.link(path)
                if not target:
                    break
                path = normpath(join(path, "..", target))
                yield path

    def _read_ids(self) -> Mapping[str, str]:
        """Return each name with its file, or with the name that it is an alias of.

        The first directory counts.
        """
        ids: Dict[str, str] = {}
        for place, folder in enumerate(self.search_path):
            for name in self.names(folder):
                if name.endswith(DIRECTORIES):
                    self._folders.setdefault(name, []).append(place)
                if name in ids or not is_unit_name(name):
                    continue
                resolved = self._resolve_entry(folder, name)
                if resolved:
                    ids[name] = resolved
        return ids

    def _resolve_entry(self, folder: str, name: str) -> str:
        """Return the path of a unit file or mask, or the target name of an alias.

        It is empty for an invalid alias.
        """
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

    def _collect_aliases(self) -> Mapping[str, Tuple[str, ...]]:
        """Return the aliases of each unit, by name of its file."""
        aliases: Dict[str, Tuple[str, ...]] = {}
        for name in self.ids:
            path = self.resolve_path(name)
            if path and not self.is_mask(path):
                file_name = basename(path)
                if is_template(file_name) and get_instance(name):
                    file_name = set_instance(file_name, get_instance(name))
                aliases[file_name] = (*aliases.get(file_name, ()), name)
        return aliases

    def resolve_path(self, name: str) -> str:
        """Return the path of the file that a name leads to; empty if there is none."""
        for _ in range(MAX_ALIASES):
            name = self.ids.get(name, "")
            if "/" in name or not name:
                return name
        return ""

    def has_broken_name(self) -> bool:
        """Return whether a name is an invalid alias or an alias of a missing unit, or a link leads to no file."""
        paths = [(folder, name) for folder in self.search_path for name in self.names(folder) if is_unit_name(name)]
        return any(not self.resolve_path(name) or self._is_broken_link(f"{folder}/{name}") for folder, name in paths)

    def find_broken_link(self, name: str) -> str:
        """Return a link of that name that leads to no file and hides another file; else an empty text."""
        paths = [f"{folder}/{name}" for folder in self.search_path if name in self.names(folder)]
        return next((path for path in paths[:-1] if self._is_broken_link(path)), "")

    def _is_broken_link(self, path: str) -> bool:
        if not self.link(path) or path in self.added or self.is_mask(path):
            return False
        return not isinstance(self.tree.entry(path), Value)

    def find_fragment(self, name: str) -> Fragment:
        """Return the file of a unit; an instance without a file uses its template."""
        path = self.resolve_path(name) or self.resolve_path(get_template(name))
        if not path:
            return Fragment("", "missing")
        if self.is_mask(path):
            return Fragment(path, "masked")
        if path not in self.added and isinstance(self.tree.entry(path), Absent):
            return Fragment(path, "missing")  # The target of the link does not exist.
        return Fragment(path, "loaded")

    def list_unit_names(self, name: str, fragment: Fragment) -> Tuple[str, ...]:
        """Return all names of a unit: its own first, then its aliases."""
        names = dict.fromkeys((name, *self._list_instantiated_aliases(name, name, "")))
        file_name = basename(fragment.path)
        if file_name and file_name != name:
            if not is_template(file_name):
                names[file_name] = None
            elif get_instance(name):
                names[set_instance(file_name, get_instance(name))] = None
            names.update(dict.fromkeys(self._list_instantiated_aliases(name, file_name, file_name)))
        return tuple(names)

    def _list_instantiated_aliases(self, name: str, own: str, file: str) -> Iterator[str]:
        """Yield the aliases of a unit, instantiated like the unit."""
        for alias in self.aliases.get(own, ()):
            if not (is_template(alias) and get_instance(name)):
                yield alias
                continue
            made = set_instance(alias, get_instance(name))
            other = self.resolve_path(made)
            if not (other and file and basename(other) != file):
                yield made

    def list_folder_files(self, names: Tuple[str, ...], suffix: str) -> Iterator[str]:
        """Return the files of the directories `NAME.SUFFIX` of a unit, sorted by name.

        If several have the same name, the first directory counts.
        """
        ranked = [
            (rank, place, depth, f"{self.search_path[place]}/{level}{suffix}")
            for rank, name in enumerate((*names, names[0].rpartition(".")[2]))
            for depth, level in enumerate(list_name_levels(name) if "." in name else (name,))
            for place in self._folders.get(f"{level}{suffix}", ())
        ]
        files: Dict[str, str] = {}
        for *_, folder in sorted(ranked):
            for name in self.names(folder):
                files.setdefault(name, f"{folder}/{name}")
        return iter(path for _, path in sorted(files.items()))

    def read_lines(self, fragment: Fragment, names: Tuple[str, ...]) -> Optional[List[UnitLine]]:
        """Return the lines of a unit's file and drop-ins; None if one is malformed."""
        lines: List[UnitLine] = []
        drop_ins = (path for path in self.list_folder_files(names, ".d") if path.endswith(".conf"))
        for path in (*((fragment.path,) if fragment.path else ()), *drop_ins):
            text = self.text(path)
            if isinstance(text, Unknown):
                self.unread = self.unread or text
            if not isinstance(text, Value):
                continue
            try:
                lines += parse_unit_file(text.value, path)
            except ValueError:
                if path == fragment.path:
                    return None
        return lines
