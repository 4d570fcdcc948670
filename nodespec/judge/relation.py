"""Operators of sets in one text: `within`, `includes`, and `cpus` for a text that is a CPU list.

A module that few specs need: it is imported when a spec has one of these operators.
"""

from __future__ import annotations

from nodespec.errors import DocumentError
from nodespec.facts.value_sets import CpuList
from nodespec.facts.value_types import FreeText, SetOf
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Callable

    from nodespec.facts.value_types import Case, Datum, Kind
    from nodespec.model.plan import Node

WORDS = {"within": "within", "includes": "including", "cpus": "CPUs"}
CPU_LIST = CpuList()


def check_relation(name: str, arg: Node, kind: Kind[Datum]) -> None:
    """Raise `DocumentError` if an operator does not apply to a type."""
    if isinstance(kind, SetOf):
        raise DocumentError(name, f"`{name}` applies to the members of a set; write `only: [{{{name}: ...}}]`")
    if name == "cpus" and not isinstance(kind, FreeText):
        raise DocumentError(name, f"`cpus` requires a fact that is text; this fact is {kind.noun}")
    if name == "cpus":
        return
    if name not in kind.relations:
        raise DocumentError(
            name, f"`{name}` does not apply to {kind.noun}; it applies to permissions, CPU lists and IP prefixes"
        )
    if not isinstance(arg, str):
        raise DocumentError(arg, f"`{name}` must be a text")


def make_cpus_test(test: Callable[[Case], bool]) -> Callable[[Case], bool]:
    """Return a test whether a text, or any of several, is a CPU list that passes a test.

    The list may have flags of isolcpus.
    """

    def passes(text: Case) -> bool:
        try:
            return test(CPU_LIST.normalize(str(text)))
        except ValueError:
            return False

    return lambda value: any(map(passes, value)) if isinstance(value, frozenset) else passes(value)
