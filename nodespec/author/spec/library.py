"""Where specs are found: a file, the library that nodespec brings, or a directory of the user's."""

from __future__ import annotations

import os
import sys
from typing import Iterator, Tuple

import nodespec
from nodespec.errors import Mistake, nearest
from nodespec.model.document import SIZE, opened
from nodespec.records import NamedTuple

OWN = os.path.join(os.path.dirname(os.path.abspath(nodespec.__file__)), "specs")
SITE = "/etc/nodespec/specs"


class Text(NamedTuple):
    """A spec as found: `file` is what positions name, `key` what makes it the same file when it is met again."""

    file: str
    key: str
    data: bytes


class Library:
    """Specs by name, searched in `folders` first."""

    def __init__(self, folders: Tuple[str, ...] = ()) -> None:
        self.folders: Tuple[str, ...] = (*folders, SITE, OWN)

    def find(self, name: str, beside: str = "") -> Text:
        """A spec by name, or the file that the name is, relative to the file `beside` that names it."""
        if name == "-":
            return Text("-", "-", sys.stdin.buffer.read(SIZE + 1))
        if is_file(name):
            path = os.path.join(os.path.dirname(beside), name.removeprefix("./")) if beside else name
            return _read(path, name)
        for folder in self.folders:
            path = os.path.join(folder, f"{name}.yaml")
            if _inside(path, folder) and os.path.isfile(path):
                return _read(path, name if folder == OWN else path)
        raise Mistake(
            f"`{name}` is no spec of the library, and no file unless as ./{name}{nearest(name, self.names())}"
        )

    def names(self) -> Tuple[str, ...]:
        """The names of all specs that can be found."""
        return tuple(sorted({name for folder in self.folders for name in _named(folder)}))


def is_file(name: str) -> bool:
    """Whether a name is that of a file rather than of the library."""
    return name == "-" or name.endswith((".yaml", ".yml", ".json")) or name.startswith(("/", "./", "../"))


def _named(folder: str) -> Iterator[str]:
    for path, _, files in os.walk(folder):
        for file in files:
            if file.endswith(".yaml"):
                yield os.path.relpath(os.path.join(path, file), folder)[: -len(".yaml")]


def _inside(path: str, folder: str) -> bool:
    return os.path.normpath(path).startswith(os.path.normpath(folder) + os.sep)


def _read(path: str, name: str) -> Text:
    """The file's content, a byte more than a spec may have at the most."""
    try:
        with open(path, "rb", opener=opened) as file:
            return Text(path if is_file(name) else f"{name}.yaml", os.path.realpath(path), file.read(SIZE + 1))
    except (OSError, ValueError) as error:  # no file is called by a name with a NUL or half a character
        raise Mistake(f"{path}: {getattr(error, 'strerror', None) or error}") from None
