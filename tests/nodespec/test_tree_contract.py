"""A kind of tree that forgets a method cannot be made, and so never reads the real host by mistake."""

from __future__ import annotations

import inspect
from importlib import import_module
from pkgutil import iter_modules
from typing import Iterator, Tuple, Type

import pytest

import nodespec.host
import nodespec.images
from nodespec.host.directory import DirectoryTree
from nodespec.host.tree import Entry, Tree
from nodespec.images.archive import ArchiveTree

METHODS = {"_read_start", "_list_names", "_read_target", "_read_entry"}


class Whole(Tree):
    def _read_start(self, path: str, size: int) -> bytes:
        return path.encode()[:size]

    def _list_names(self, path: str) -> Tuple[str, ...]:
        return (path,)

    def _read_target(self, path: str) -> str:
        return path

    def _read_entry(self, path: str, *, follow: bool) -> Entry:
        raise FileNotFoundError(path, follow)


def test_the_interface_is_what_is_abstract() -> None:
    assert Tree.__abstractmethods__ == METHODS
    assert not DirectoryTree.__abstractmethods__
    assert not ArchiveTree.__abstractmethods__


@pytest.mark.parametrize("forgotten", sorted(METHODS))
def test_a_forgotten_method_is_a_type_error(forgotten: str) -> None:
    methods = {name: value for name, value in vars(Whole).items() if name in METHODS - {forgotten}}
    forgetful = type("Forgetful", (Tree,), methods)
    with pytest.raises(TypeError, match=forgotten):
        forgetful("/")
    assert Whole("/").names("/etc").value == ("/etc",)  # type: ignore[union-attr]


def test_the_interface_itself_opens_nothing() -> None:
    source = inspect.getsource(inspect.getmodule(Tree) or pytest.fail("no module"))
    assert "os.open(" not in source
    assert "os.stat(" not in source


def kinds_of(tree: Type[Tree]) -> Iterator[Type[Tree]]:
    for kind in tree.__subclasses__():
        yield kind
        yield from kinds_of(kind)


def test_every_kind_of_tree_implements_every_method() -> None:
    """A new kind is found by itself: every module of the rooms that hold trees is imported."""
    for room in (nodespec.host, nodespec.images):
        for module in iter_modules(room.__path__, f"{room.__name__}."):
            import_module(module.name)
    kinds = [
        kind
        for kind in kinds_of(Tree)  # type: ignore[type-abstract]
        if kind.__module__.startswith("nodespec.")
    ]
    assert {DirectoryTree, ArchiveTree} < set(kinds)
    assert [kind.__name__ for kind in kinds if kind.__abstractmethods__] == []
