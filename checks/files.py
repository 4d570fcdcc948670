"""Files, directories and other objects at a path: type, owner, permissions.

The path is used as written. Links are followed, and never lead out of a `--root` directory. Content is not read, and a
file is opened only for `empty`.
"""

from __future__ import annotations

import re

from nodespec.facts.declaration import Columns, Row, Rows, table
from nodespec.facts.value_numbers import Size, Whole
from nodespec.facts.value_types import Flag, FreeText, OneOf
from nodespec.host.machine import Machine
from nodespec.host.tree import Entry, Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Callable, Iterable, Mapping, Optional, Tuple

    from nodespec.facts.value_types import Case

OVERFLOW = 65534  # the kernel's default of kernel.overflowuid and overflowgid
WHOLE_MAP = ["0", "0", "4294967295"]  # the mapping of the initial user namespace


class Mode(FreeText):
    """The type of permissions in octal; 644 and 0644 are equal."""

    noun, pattern = "permissions in octal such as 0644", r"^([0-7]{3,4}|0[1-7][0-7]{3})$"
    relations = ("within", "includes")

    def read(self, text: str) -> str:
        bound = re.fullmatch(r"\s*(<=?)\s*([0-7]{3,4})\s*", text)
        if bound:
            raise ValueError(
                f"`{text}`: permissions are bits and have no order; for {bound[2]} or stricter write "
                f"`{{within: {bound[2]}}}`"
            )
        if not re.fullmatch("[0-7]{3,4}|0[1-7][0-7]{3}", text):
            raise ValueError(f"`{text}` is not {self.noun}")
        return text[-4:].zfill(4)

    def others(self) -> Iterable[Case]:
        return (f"{mode:04o}" for mode in range(0, 0o10000, 0o77))

    def relate(self, operator: str, text: str) -> Tuple[Callable[[Case], bool], Tuple[Case, ...]]:
        """Return the test of `within` (no other permissions) or `includes` (at least these)."""
        mask = int(self.read(text), 8)

        def test(value: Case) -> bool:
            if not isinstance(value, str) or not re.fullmatch("[0-7]{3,4}", value):
                return False
            return not (int(value, 8) & ~mask if operator == "within" else ~int(value, 8) & mask)

        bits = [1 << number for number in range(12)]
        modes = dict.fromkeys([mask, 0, 0o7777, *bits, *(mask ^ bit for bit in bits)])
        return test, tuple(f"{mode:04o}" for mode in modes)


def _validate_path(text: str) -> str:
    """Validate an absolute path and return it in normalized form."""
    if not text.startswith("/") or "\0" in text:
        raise ValueError(f"`{text}` is not an absolute path")
    components = [name for name in text.split("/") if name not in ("", ".")]
    if ".." in components:
        raise ValueError(f"`{text}`: a path must not contain `..`")
    return "/" + "/".join(components)


@table(
    {
        "type": OneOf("file", "directory", "fifo", "socket", "device"),
        "mode": Mode(),
        "owner": Whole(),
        "group": Whole(),
        "size": Size(),
        "empty": Flag(),
    },
    sources=("/*",),
    noun="path",
    key=_validate_path,
    fixes={"mode": "chmod {want} {key}", "owner": "chown {want} {key}", "group": "chgrp {want} {key}"},
    same_at_rest=True,
)
def files(tree: Tree) -> Rows[Row]:
    """The object at an absolute path, after links are followed.

    `type` is file, directory, fifo, socket or device. `mode` is the permission bits in octal, such as 0644, with the
    set-user-ID, set-group-ID and sticky bits first, such as 4755. `owner` and `group` are numbers: names may come from
    another source than local files. In a user namespace that does not map all IDs, 65534 stands for the others, and the
    fact is unknown. `size` is in bytes, and applies to files only. `empty` is true for a file without content or a
    directory without entries. A link whose target does not exist is absent.
    """

    def find_row(path: str) -> Optional[Observation[Row]]:
        entry_or_absent = tree.entry(path)
        if isinstance(entry_or_absent, Absent) and isinstance(tree.entry(path, follow=False), Value):
            return entry_or_absent._replace(say="a broken link")
        return entry_or_absent.then(lambda entry: _make_file_row(tree, path, entry))

    return Rows(find_row, dict, Absent(Evidence("/*")))


def _make_file_row(tree: Tree, path: str, entry: Entry) -> Columns:
    at = Evidence(path)
    return Columns(
        type=lambda: Value(entry.kind, at),
        mode=lambda: Value(f"{entry.mode:04o}", at),
        owner=lambda: _resolve_identity(tree, entry.uid, "uid", at),
        group=lambda: _resolve_identity(tree, entry.gid, "gid", at),
        size=lambda: Value(entry.size, at) if entry.kind == "file" else _explain_without("size", path, entry),
        empty=lambda: _is_empty(tree, path, entry),
    )


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
