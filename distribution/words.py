"""The words that a shell completes: names of specs, params, ids of requirements, and places of facts."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Iterator, List, Tuple

from nodespec.author.spec.library import BUILT_IN_DIR, Library
from nodespec.author.spec.resolver import resolve
from nodespec.facts import declaration
from nodespec.facts.declaration import Group, Leaf
from nodespec.output import writer

if TYPE_CHECKING:
    from nodespec.model.plan import Plan

PLATFORMS = ["linux/amd64", "linux/arm64"]
SIDES = ["running", "at-rest", "image:"]  # what `diff` compares, beside files


def library() -> Library:
    """Return the library without the specs of this machine."""
    found = Library()
    found.folders = (BUILT_IN_DIR,)
    return found


def specs() -> List[str]:
    """Return the names of the specs."""
    return list(library().names())


@lru_cache
def plans() -> Tuple[Plan, ...]:
    """Return every spec of the library, resolved with the defaults of its params."""
    return tuple(resolve([name], library(), {}) for name in specs())


def assignments() -> List[str]:
    """Return what `--set` takes: `role=worker`; of a param without choices only `version=`."""
    params = [param for plan in plans() for param in plan.params]
    return sorted({f"{param.name}={choice}" for param in params for choice in param.known or param.choices or ("",)})


def ids() -> List[str]:
    """Return the ids of all requirements of the library."""
    return sorted({requirement.id for plan in plans() for requirement in plan.requirements})


def places() -> List[str]:
    """Return the names of all families and facts, rows of tables left out."""
    return [place for family in declaration.list_families() for place in _of_family(family)]


def _of_family(name: str) -> Iterator[str]:
    yield name
    declared = declaration.load_family(name)
    if isinstance(declared, Group):
        for member, fact in declared.members.items():
            yield f"{name}.{member}" if isinstance(fact, Leaf) else f"{name}.{member}."


def formats() -> List[str]:
    """Return the names of the report formats."""
    return list(writer.list_formats())
