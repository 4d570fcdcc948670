"""Files, directories and what else stands at a path: of which type, whose, with which permissions.

The path is asked as written and followed through links, which below a root never lead out of it. Content is not
looked at, and what it is that stands there is not opened unless `empty` is asked.
"""

from __future__ import annotations

from typing import Optional

from nodespec.facts import Columns, Row, Rows, table
from nodespec.kinds import Choice, Flag, Mode, Size, Whole
from nodespec.observation import Absent, Evidence, Observation, Value
from nodespec.tree import Entry, Tree


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
        owner=lambda: Value(entry.uid, at),
        group=lambda: Value(entry.gid, at),
        size=lambda: Value(entry.size, at) if entry.kind == "file" else _without("size", path, entry),
        empty=lambda: _empty(tree, path, entry),
    )


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
