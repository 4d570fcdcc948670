"""Decide whether values, or types of values, can be the same."""

from __future__ import annotations

from nodespec.facts.value_types import FreeText, OneOf, Presence, SetOf
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nodespec.facts.declaration import Place
    from nodespec.facts.value_types import Case, Datum, Kind


def are_equal(kind: Kind[Datum], one: Case, other: Case) -> bool:
    """Return whether the type orders two values as equal: 0x1b6 equals 438, version 1.6 equals 1.6.0."""
    if one == other or not kind.ordered:
        return one == other
    try:
        return kind.position(one) == kind.position(other)
    except ValueError:
        return False


def check_types(place: Place, other: Place) -> None:
    """Raise ValueError if the values of two places can never be compared."""
    kinds, names = (place.kind, other.kind), [".".join(one.path) for one in (place, other)]
    if place.path == other.path:
        raise ValueError(f"`{names[0]}` is always the same as itself")
    for kind, name in zip(kinds, names):
        if isinstance(kind, Presence):
            raise ValueError(f"`{name}` is a row of a table, which has no value")
    if not _are_comparable(*kinds):
        raise ValueError(
            f"`{names[1]}` is {kinds[1].noun}, and `{names[0]}` is {kinds[0].noun}: they are never the same"
        )


def _are_comparable(one: Kind[Datum], other: Kind[Datum]) -> bool:
    if isinstance(one, SetOf) or isinstance(other, SetOf):
        return isinstance(one, SetOf) and isinstance(other, SetOf) and _are_comparable(one.element, other.element)
    texts = [isinstance(kind, (FreeText, OneOf)) and not kind.relations for kind in (one, other)]
    if all(texts):
        return not (isinstance(one, OneOf) and isinstance(other, OneOf)) or bool({*one.choices} & {*other.choices})
    return type(one) is type(other) and one.noun == other.noun and vars(one) == vars(other)
