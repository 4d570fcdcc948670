"""Columns of files: owners, permissions, links, digests, and questions about the content."""

from __future__ import annotations

from nodespec.checks import _files_content
from nodespec.facts.questions import ContentValue, Question
from nodespec.facts.value_numbers import Size
from nodespec.facts.value_types import IDENTIFIER, Form, FreeText, Presence, SetOf
from nodespec.host.machine import Machine
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Callable, Mapping, Optional

    from nodespec.facts.value_types import Datum, Kind
    from nodespec.host.tree import Entry, Tree

OVERFLOW = 65534  # the kernel's default of kernel.overflowuid and overflowgid
WHOLE_MAP = ["0", "0", "4294967295"]  # the mapping of the initial user namespace


COLUMNS: Mapping[str, Kind[Datum]] = {
    "owner_name": IDENTIFIER,
    "group_name": IDENTIFIER,
    "size": Size(),
    "target": FreeText(),
    "digest": Form("sha256:[0-9a-f]{64}", 71, "a digest, such as sha256: and 64 hexadecimal digits"),
    "entries": SetOf(FreeText()),
}
QUESTIONS = {
    "entries": Question(SetOf(FreeText()), "globs", _files_content.check_glob),
    "lines": Question(Presence(), "patterns", _files_content.compile_line_pattern),
    **{
        name: Question(ContentValue(), "pointers", _files_content.check_pointer, secret=True)
        for name in ("json", "yaml", "toml", "ini", "env")
    },
}


def make_asker(tree: Tree, path: str, entry: Entry) -> Callable[[str], Observation[Datum]]:
    """Return the function that observes a column of a file."""
    content, at = _files_content.FileContent(tree, path, entry), Evidence(path)
    columns: Mapping[str, Callable[[], Observation[Datum]]] = {
        "mode": lambda: Value(f"{entry.mode:04o}", at),
        "owner": lambda: _resolve_identity(tree, entry.uid, "uid", at),
        "group": lambda: _resolve_identity(tree, entry.gid, "gid", at),
        "owner_name": lambda: _find_name(tree, _resolve_identity(tree, entry.uid, "uid", at), "uid"),
        "group_name": lambda: _find_name(tree, _resolve_identity(tree, entry.gid, "gid", at), "gid"),
        "size": lambda: Value(entry.size, at) if entry.kind == "file" else _explain_without("size", path, entry),
        "empty": lambda: _is_empty(tree, path, entry),
        "digest": lambda: _files_content.compute_digest(tree, path, entry),
        "entries": lambda: _files_content.list_matching_entries(tree, path, entry),
    }

    def ask(name: str) -> Observation[Datum]:
        question, colon, argument = name.partition(":")
        return content.ask(question, argument) if colon else columns[name]()

    return ask


def _find_name(tree: Tree, identity: Observation[int], kind: str) -> Observation[str]:
    from nodespec.checks import _files_names  # noqa: PLC0415 - few specs name an owner by its name

    if not isinstance(identity, Value):
        return identity
    find = _files_names.find_user_name if kind == "uid" else _files_names.find_group_name
    name = find(tree, identity.value)
    return Value(name.value, identity.evidence) if isinstance(name, Value) else name


def read_link(tree: Tree, path: str) -> Observation[str]:
    """Return the target of a link as written; other objects have none."""
    itself = tree.entry(path, follow=False)
    if not isinstance(itself, Value):
        return itself
    return tree.link(path) if itself.value.kind == "link" else _explain_without("target", path, itself.value)


def _resolve_identity(tree: Tree, number: int, kind: str, at: Evidence) -> Observation[int]:
    """Return the number of an owner or group; unknown if it stands for unmapped IDs."""
    if tree.maps_ids and number == tree.once(_find_stand_ins)[kind]:
        message = f"{at}: the user namespace of nodespec does not map every {kind}, and shows {number} for the others"
        return Unknown("hidden", message, "run nodespec in the host's user namespace")
    return Value(number, at)


def _find_stand_ins(_: Tree) -> Mapping[str, Optional[int]]:
    """Return the user and group that stand for unmapped IDs.

    The mapping is that of the user namespace that nodespec runs in.
    """
    machine, shown = Machine(), {}
    for kind in ("uid", "gid"):
        mapped = machine.text(f"/proc/self/{kind}_map").then(str.split)
        number = machine.line(f"/proc/sys/kernel/overflow{kind}").then(int)
        maps_all = isinstance(mapped, Value) and mapped.value == WHOLE_MAP
        shown[kind] = None if maps_all else number.value if isinstance(number, Value) else OVERFLOW
    return shown


def _is_empty(tree: Tree, path: str, entry: Entry) -> Observation[bool]:
    if entry.kind == "directory":
        return tree.names(path).then(lambda names: not names)
    if entry.kind != "file":
        return _explain_without("content", path, entry)
    if entry.size:
        return Value(value=False, evidence=Evidence(path))
    return tree.read(path).then(lambda data: not data)  # Files of /proc report a size of 0 although they have content.


def _explain_without(what: str, path: str, entry: Entry) -> Absent:
    return Absent(Evidence(path), f"a {entry.kind} has no {what}")
