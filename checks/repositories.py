"""Configured repositories of packages: apt, dnf, zypper, apk.

Files only: /etc/apt/sources.list and sources.list.d, /etc/yum.repos.d, /etc/zypp/repos.d, /etc/apk/repositories.
Whether a repository answers is not tested.
"""

from __future__ import annotations

import re
from functools import partial

from nodespec.facts.declaration import Columns, Row, Rows, table
from nodespec.facts.value_types import Flag, FreeText, SetOf
from nodespec.formats import package_sources
from nodespec.formats.package_sources import RepositorySource
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Callable, Dict, FrozenSet, Iterable, Iterator, List, Optional, Tuple, Union

APT_LIST, APT_FOLDER = "/etc/apt/sources.list", "/etc/apt/sources.list.d"
DNF_FOLDERS = ("/etc/yum.repos.d", "/etc/distro.repos.d", "/usr/share/dnf5/repos.d")
DNF_CONFIG = ("/etc/dnf/dnf.conf", "/etc/yum.conf")
ZYPP_FOLDER, APK_LIST = "/etc/zypp/repos.d", "/etc/apk/repositories"
PLACES = (APT_LIST, APT_FOLDER, *DNF_FOLDERS, ZYPP_FOLDER, APK_LIST)
MAX_FILE_BYTES = 1 << 18  # bytes of a file
FILE_NAME = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)  # apt ignores files with other names


def _normalize_url(text: str) -> str:
    """Return a URL without slashes at its end."""
    if not re.match(r"[a-z][a-z0-9+.-]*:\S", text) or re.search(r"\s", text):
        raise ValueError(
            f"`{text}` is not the URL of a repository, such as https://pkgs.k8s.io/core:/stable:/v1.35/deb/"
        )
    return text.rstrip("/")


@table(
    {
        "enabled": Flag(),
        "signed": Flag(),
        "names": SetOf(FreeText()),
        "keys": SetOf(FreeText()),
        "suites": SetOf(FreeText()),
        "components": SetOf(FreeText()),
    },
    sources=(*(f"{place}*" for place in PLACES), *DNF_CONFIG),
    noun="repository",
    key=_normalize_url,
    closed=True,
    fix="add the repository {key} to the package manager",
    fixes={
        "enabled": "enable or disable the repository {key}; required: {want}",
        "signed": "set gpgcheck=1, or remove trusted=yes, for the repository {key}",
        "keys": "set signed-by= (apt) or gpgkey= (dnf, zypper) of the repository {key}",
    },
    same_at_rest=True,
)
def repositories(tree: Tree) -> Rows[Row]:
    """Configured repositories, by URL as the file has it: https://pkgs.k8s.io/core:/stable:/v1.35/deb/.

    A `/` at the end does not count; variables such as $releasever are not replaced. `enabled`: any file enables it.
    `signed`: packages or their index must be signed: without trusted=yes and allow-insecure=yes of apt, and with
    gpgcheck=1 of dnf. `names` are the IDs of dnf and zypper. `keys` are files and URLs of keys, or `embedded`. `suites`
    and `components` are those of apt. If several files name one URL, the sets are joined, and `signed` is true only if
    all that are enabled are signed.
    """
    sources, unread = tree.once(_read_sources)
    rows: Dict[str, Observation[Row]] = {url: _make_row(entries) for url, entries in sources.items()}
    return Rows.of(rows, unread or Absent(Evidence(", ".join(PLACES))))


def _read_sources(tree: Tree) -> Tuple[Dict[str, List[Tuple[RepositorySource, str]]], Optional[Unknown]]:
    """Return the sources by URL, each with its file, and why there may be more."""
    found: Dict[str, List[Tuple[RepositorySource, str]]] = {}
    unread: Optional[Unknown] = None
    for path, parse in _list_files(tree):
        if isinstance(path, Unknown):
            unread = unread or path
            continue
        sources = _parse_file(tree, path, parse)
        if isinstance(sources, Unknown):
            unread = unread or sources
        for source in sources.value if isinstance(sources, Value) else ():
            found.setdefault(source.url.rstrip("/"), []).append((source, path))
    if not unread and not any(isinstance(tree.entry(place), Value) for place in PLACES):
        unread = Unknown("not found", "no configuration of apt, dnf, zypper or apk found")
    return found, unread


def _parse_file(
    tree: Tree, path: str, parse: Callable[[str], Iterable[RepositorySource]]
) -> Observation[List[RepositorySource]]:
    return tree.text(path, MAX_FILE_BYTES).then(lambda text: list(parse(text)))


def _list_files(tree: Tree) -> Iterator[Tuple[Union[str, Unknown], Callable[[str], Iterable[RepositorySource]]]]:
    """Yield the files of sources that exist, each with its parser, or why a directory cannot be read."""
    yield APT_LIST, package_sources.parse_apt_lines
    yield from _list_folder(
        tree, APT_FOLDER, {".list": package_sources.parse_apt_lines, ".sources": package_sources.parse_apt_stanzas}
    )
    checked = _read_dnf_default(tree)
    for folder in DNF_FOLDERS:
        yield from _list_folder(tree, folder, {".repo": partial(package_sources.parse_repo_file, signed=checked)})
    yield from _list_folder(tree, ZYPP_FOLDER, {".repo": partial(package_sources.parse_repo_file, signed=True)})
    yield APK_LIST, package_sources.parse_apk_lines


def _list_folder(
    tree: Tree, folder: str, parsers: Dict[str, Callable[[str], Iterable[RepositorySource]]]
) -> Iterator[Tuple[Union[str, Unknown], Callable[[str], Iterable[RepositorySource]]]]:
    names = tree.names(folder)
    if isinstance(names, Unknown):
        yield names, package_sources.parse_apk_lines
    for name in names.value if isinstance(names, Value) else ():
        parse = next((parse for suffix, parse in parsers.items() if name.endswith(suffix)), None)
        if parse and FILE_NAME.fullmatch(name):
            yield f"{folder}/{name}", parse


def _read_dnf_default(tree: Tree) -> Optional[bool]:
    """Return gpgcheck= of the section [main] of dnf.conf; None if it is not set or cannot be read."""
    for path in DNF_CONFIG:
        sections = tree.text(path, MAX_FILE_BYTES).then(package_sources.parse_ini)
        if isinstance(sections, Value):
            values = [section.get("gpgcheck") for section in sections.value if section.name == "main"]
            return values[-1].lower() in package_sources.YES if values and values[-1] else None
    return None


def _make_row(entries: List[Tuple[RepositorySource, str]]) -> Observation[Row]:
    """Return the row of one URL; the first entry that is enabled is the evidence."""
    active = [entry for entry in entries if entry[0].enabled]
    first, path = (active or entries)[0]
    at = Evidence(path, first.line)

    def join(pick: Callable[[RepositorySource], Iterable[str]]) -> Observation[FrozenSet[str]]:
        return Value(frozenset(word for source, _ in entries for word in pick(source) if word), at)

    return Value(
        Columns(
            enabled=lambda: Value(bool(active), at),
            signed=lambda: _is_signed([source for source, _ in active or entries], at),
            names=lambda: join(lambda source: (source.name,)),
            keys=lambda: join(lambda source: source.keys),
            suites=lambda: join(lambda source: source.suites),
            components=lambda: join(lambda source: source.components),
        ),
        at,
    )


def _is_signed(sources: List[RepositorySource], at: Evidence) -> Observation[bool]:
    decided = {source.signed for source in sources}
    if False in decided:
        return Value(value=False, evidence=at)
    if None in decided:
        return Unknown("unsupported", f"{at}: gpgcheck= is set neither here nor in {DNF_CONFIG[0]}", "set gpgcheck=1")
    return Value(value=True, evidence=at)
