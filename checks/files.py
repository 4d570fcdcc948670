"""Files, directories and other objects at a path: type, owner, permissions, content.

The path is used as written. Links are followed, and never lead out of a `--root` directory. A file is opened only if a
spec names its content.
"""

from __future__ import annotations

import re

from nodespec.facts.declaration import Columns, LazyColumns, Row, Rows, table
from nodespec.facts.value_numbers import Whole
from nodespec.facts.value_types import Flag, FreeText, OneOf
from nodespec.host.tree import Entry, Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Callable, Dict, Iterable, Optional, Tuple, Union

    from nodespec.facts.declaration import KindByName
    from nodespec.facts.value_types import Case, Datum


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


class Identity(Whole):
    """The type of the number of a user or group."""

    def read(self, text: str) -> int:
        if re.fullmatch(r"[A-Za-z_][\w.-]*", text, re.ASCII):
            raise ValueError(f"`{text}` is not {self.noun}; for a name use `owner_name` or `group_name`")
        return super().read(text)


def _validate_path(text: str) -> str:
    """Validate an absolute path and return it in normalized form."""
    if not text.startswith("/") or "\0" in text:
        raise ValueError(f"`{text}` is not an absolute path")
    components = [name for name in text.split("/") if name not in ("", ".")]
    if ".." in components:
        raise ValueError(f"`{text}`: a path must not contain `..`")
    return "/" + "/".join(components)


TYPES = OneOf("file", "directory", "fifo", "socket", "device")
COLUMNS = ("type", "mode", "owner", "group", "owner_name", "group_name", "size", "empty", "target", "digest", "entries")
KNOWN: KindByName = {"type": TYPES, "mode": Mode(), "owner": Identity(), "group": Identity(), "empty": Flag()}
CHOWN, CHGRP = "chown {want} {key}", "chgrp {want} {key}"
KERNEL_FILES = ("/proc/", "/sys/")  # Files of the running kernel.


@table(
    LazyColumns(COLUMNS, KNOWN, "nodespec.checks._files_columns"),
    sources=("/*",),
    noun="path",
    key=_validate_path,
    fixes={"mode": "chmod {want} {key}", "owner": CHOWN, "owner_name": CHOWN, "group": CHGRP, "group_name": CHGRP},
    same_at_rest=True,
    globs=True,
)
def files(tree: Tree) -> Rows[Row]:
    """The object at an absolute path, after links are followed.

    `type` is file, directory, fifo, socket or device. `mode` is the permission bits in octal, such as 0644, with the
    set-user-ID, set-group-ID and sticky bits first, such as 4755. `owner` and `group` are numbers. In a user namespace
    that does not map all IDs, 65534 stands for the others, and the fact is unknown. `owner_name` and `group_name` are
    the names in /etc/passwd and /etc/group of the host; if nsswitch.conf names a further source, the name of an ID that
    is not in these files is unknown. `size` is in bytes, and applies to files only. `empty` is true for a file without
    content or a directory without entries. `entries` are the names in a directory. `target` is the text of a link
    itself. `digest` is `sha256:` and the digest of the content. A link whose target does not exist is absent.

    Content is named by questions, such as `yaml: {/a/b: false}`: see docs/spec-language.md. `lines` has patterns of
    lines, `entries` globs, and `json`, `yaml`, `toml`, `ini` and `env` pointers of values. Reports and recordings show
    text of files only if the spec names it. At rest files of /proc and /sys are deferred.
    """
    rows: Dict[str, Observation[Row]] = {}

    def find_row(path: str) -> Optional[Observation[Row]]:
        if path not in rows:
            rows[path] = _observe_file(tree, path)
        return rows[path]

    own = {"target": lambda path: _read_link(tree, path)}
    return Rows(find_row, dict, Absent(Evidence("/*")), own=own, matching=lambda glob: _list_paths(tree, glob))


def _list_paths(tree: Tree, glob: str) -> Union[Tuple[str, ...], Unknown]:
    from nodespec.checks._files_globs import list_matching_paths  # noqa: PLC0415 - few specs have globs

    return list_matching_paths(tree, glob)


def _observe_file(tree: Tree, path: str) -> Observation[Row]:
    if not tree.running and path.startswith(KERNEL_FILES):
        return Unknown(DEFERRED, "only a running machine can tell")
    entry_or_absent = tree.entry(path)
    if isinstance(entry_or_absent, Absent) and isinstance(tree.entry(path, follow=False), Value):
        return entry_or_absent._replace(say="a broken link")
    return entry_or_absent.then(lambda entry: _make_file_row(tree, path, entry))


def _read_link(tree: Tree, path: str) -> Observation[str]:
    from nodespec.checks import _files_columns  # noqa: PLC0415 - few specs name it

    return _files_columns.read_link(tree, path)


def _make_file_row(tree: Tree, path: str, entry: Entry) -> Columns:
    at = Evidence(path)
    row = Columns(type=lambda: Value(entry.kind, at))

    def ask(name: str) -> Observation[Datum]:
        from nodespec.checks import _files_columns  # noqa: PLC0415 - few specs name another column

        row.ask = _files_columns.make_asker(tree, path, entry)
        return row.ask(name)

    row.ask = ask
    return row
