"""Find specs: a file, the built-in library, or a directory of the user."""

from __future__ import annotations

import os
import sys

import nodespec
from nodespec.errors import MAX_DOCUMENT_BYTES, UsageError, open_nonblocking, suggest_name
from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Iterator, Tuple

BUILT_IN_DIR = os.path.join(os.path.dirname(os.path.abspath(nodespec.__file__)), "specs")
SITE_DIR = "/etc/nodespec/specs"
MAX_FOLDER_ENTRIES = 20_000  # files and folders below a folder of specs


class SpecText(NamedTuple):
    """The content of a spec.

    `file` is the name in positions. `key` identifies the file, so that each file is read once.
    """

    file: str
    key: str
    data: bytes


class Library:
    """Specs by name, searched first in `folders`, then in the site and built-in ones."""

    def __init__(self, folders: Tuple[str, ...] = ()) -> None:
        self.folders: Tuple[str, ...] = (*folders, SITE_DIR, BUILT_IN_DIR)

    def find(self, name: str, beside: str = "") -> SpecText:
        """Find a spec by name or by path.

        A path is relative to the file `beside`, which names it. Raises `UsageError` if the spec is not found.
        """
        if name == "-":
            return SpecText("-", "-", sys.stdin.buffer.read(MAX_DOCUMENT_BYTES + 1))
        if is_file(name):
            path = os.path.join(os.path.dirname(beside), name.removeprefix("./")) if beside else name
            return _read_spec(path, name)
        for folder in self.folders:
            path = os.path.join(folder, f"{name}.yaml")
            if _is_inside(path, folder) and os.path.isfile(path):
                return _read_spec(path, name if folder == BUILT_IN_DIR else path)
        raise UsageError(f"spec `{name}` not found; to use a file, write ./{name}{suggest_name(name, self.names())}")

    def names(self) -> Tuple[str, ...]:
        """Return the names of all specs in the folders."""
        return tuple(sorted({name for folder in self.folders for name in _iter_names(folder)}))


def is_file(name: str) -> bool:
    """Return whether a name is a path and not a name of the library."""
    return name == "-" or name.endswith((".yaml", ".yml", ".json")) or name.startswith(("/", "./", "../"))


def _iter_names(folder: str) -> Iterator[str]:
    for path in iter_files(folder):
        if path.endswith(".yaml"):
            yield os.path.relpath(path, folder)[: -len(".yaml")]


def iter_files(folder: str) -> Iterator[str]:
    """Yield the files below a folder. Raises `UsageError` if it has so many that it cannot be a folder of specs."""
    seen = 0
    for path, folders, files in os.walk(folder):
        seen += len(folders) + len(files)
        if seen > MAX_FOLDER_ENTRIES:
            raise UsageError(f"{folder}: more than {MAX_FOLDER_ENTRIES} files and folders; name a folder of specs")
        yield from (os.path.join(path, file) for file in files)


def _is_inside(path: str, folder: str) -> bool:
    return os.path.normpath(path).startswith(os.path.normpath(folder) + os.sep)


def _read_spec(path: str, name: str) -> SpecText:
    """Read a file up to one byte more than the size limit."""
    try:
        with open(path, "rb", opener=open_nonblocking) as file:
            return SpecText(
                path if is_file(name) else f"{name}.yaml", os.path.realpath(path), file.read(MAX_DOCUMENT_BYTES + 1)
            )
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL or a lone surrogate
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
