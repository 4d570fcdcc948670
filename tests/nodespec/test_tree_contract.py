"""A kind of tree that forgets a method cannot be made, and so never reads the real host by mistake."""

from __future__ import annotations

import inspect
from typing import Tuple

import pytest

from nodespec.host.directory import DirectoryTree
from nodespec.host.tree import Entry, Tree
from nodespec.images.archive import Archive

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
    assert not Archive.__abstractmethods__


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
