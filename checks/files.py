"""Files, directories and what else stands at a path: of which type, whose, with which permissions.

The path is asked as written and followed through links, which below a root never lead out of it. Content is not
looked at, and what it is that stands there is not opened unless `empty` is asked.
"""

from __future__ import annotations

from typing import Mapping, Optional

from nodespec.facts.declaration import Columns, Row, Rows, table
from nodespec.facts.value_types import Choice, Flag, Mode, Size, Whole
from nodespec.host.machine import Machine
from nodespec.host.tree import Entry, Tree
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

OVERFLOW = 65534  # the kernel's default of kernel.overflowuid and overflowgid
WHOLE_MAP = ["0", "0", "4294967295"]  # of the first user namespace


def _path(text: str) -> str:
    """An absolute path, without what is superfluous."""
    if not text.startswith("/") or "\0" in text:
        raise ValueError(f"`{text}` is not an absolute path")
    components = [name for name in text.split("/") if name not in ("", ".")]
    if ".." in components:
        raise ValueError(f"`{text}`: with `..` a path depends on links")
    return "/" + "/".join(components)


@table(
    {
        "type": Choice("file", "directory", "fifo", "socket", "device"),
        "mode": Mode(),
        "owner": Whole(),
        "group": Whole(),
        "size": Size(),
        "empty": Flag(),
    },
    sources=("/*",),
    noun="path",
    key=_path,
    fixes={"mode": "chmod {want} {key}", "owner": "chown {want} {key}", "group": "chgrp {want} {key}"},
    same_at_rest=True,
)
def files(tree: Tree) -> Rows[Row]:
    """What stands at an absolute path, behind links.

    `type` is file, directory, fifo, socket or device. `mode` are the permission bits in octal, 0644, with set-user-id
    and the like before them, 4755. `owner` and `group` are numbers: which name a number has may be decided elsewhere.
    In a user namespace that does not map all, 65534 stands for the others, and is unknown.
    `size` is in bytes, and a file's only. `empty` is a file without content, or a directory without entries.
    A link that leads nowhere is absent.
    """

    def look(path: str) -> Optional[Observation[Row]]:
        found = tree.entry(path)
        if isinstance(found, Absent) and isinstance(tree.entry(path, follow=False), Value):
            return found._replace(say="a link that leads nowhere")
        return found.then(lambda entry: _row(tree, path, entry))

    return Rows(look, dict, Absent(Evidence("/*")))


def _row(tree: Tree, path: str, entry: Entry) -> Columns:
    at = Evidence(path)
    return Columns(
        type=lambda: Value(entry.kind, at),
        mode=lambda: Value(f"{entry.mode:04o}", at),
        owner=lambda: _identity(tree, entry.uid, "uid", at),
        group=lambda: _identity(tree, entry.gid, "gid", at),
        size=lambda: Value(entry.size, at) if entry.kind == "file" else _without("size", path, entry),
        empty=lambda: _empty(tree, path, entry),
    )


def _identity(tree: Tree, number: int, kind: str, at: Evidence) -> Observation[int]:
    """The number of an owner or a group; unknown where it stands for those that the user namespace does not map."""
    if tree.maps_ids and number == tree.once(_stand_ins)[kind]:
        say = f"{at}: the user namespace of nodespec does not map every {kind}, and shows {number} for the others"
        return Unknown("hidden", say, "run nodespec in the host's user namespace")
    return Value(number, at)


def _stand_ins(_: Tree) -> Mapping[str, Optional[int]]:
    """The user and the group that are shown for all that have no number in the user namespace of nodespec itself."""
    machine, shown = Machine(), {}
    for kind in ("uid", "gid"):
        mapped = machine.text(f"/proc/self/{kind}_map").then(str.split)
        number = machine.line(f"/proc/sys/kernel/overflow{kind}").then(int)
        whole = isinstance(mapped, Value) and mapped.value == WHOLE_MAP
        shown[kind] = None if whole else number.value if isinstance(number, Value) else OVERFLOW
    return shown


def _empty(tree: Tree, path: str, entry: Entry) -> Observation[bool]:
    if entry.kind == "directory":
        return tree.names(path).then(lambda names: not names)
    if entry.kind != "file":
        return _without("content", path, entry)
    if entry.size:
        return Value(value=False, evidence=Evidence(path))
    return tree.read(path).then(lambda data: not data)  # files of /proc say 0 and have content


def _without(what: str, path: str, entry: Entry) -> Absent:
    return Absent(Evidence(path), f"a {entry.kind} has no {what}")
