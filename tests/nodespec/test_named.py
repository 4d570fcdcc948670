from __future__ import annotations

import pickle
from copy import copy
from typing import Any, Callable, List, NamedTuple, Tuple, Type, Union

import pytest

from nodespec import records


class Theirs(NamedTuple):
    """A record."""

    name: str
    parts: Tuple[int, ...] = ()
    say: str = "nothing"

    @property
    def size(self) -> int:
        return len(self.parts)


class Ours(records.NamedTuple):
    """A record."""

    name: str
    parts: Tuple[int, ...] = ()
    say: str = "nothing"

    @property
    def size(self) -> int:
        return len(self.parts)


class Nothing(records.NamedTuple):
    pass


MAKE: Callable[..., Callable[..., Any]] = type(records.NamedTuple)
Record = Union[Theirs, Ours]
CALLS: List[Callable[[Type[Record]], object]] = [
    lambda made: made("a"),
    lambda made: made("a", (1, 2)),
    lambda made: made("a", (1, 2), "b"),
    lambda made: made("a", say="b"),
    lambda made: made(name="a", say="b", parts=(3,)),
    lambda made: made("a", (1, 2)).size,
    lambda made: made("a", (1, 2)).say,
    lambda made: made("a") < made("b"),
    lambda made: made("a") == ("a", (), "nothing"),
    lambda made: hash(made("a")),
    lambda made: made("a")._replace(parts=(1,)).parts,
    lambda made: made("a")._asdict(),
    lambda made: made._make(["a", (), ""]),
    lambda made: made._fields,
    lambda made: made._field_defaults,
    lambda made: made.__doc__,
    lambda made: pickle.loads(pickle.dumps(made("a", (1,)))),  # noqa: S301 - our own
    lambda made: copy(made("a", (1,))),
    lambda made: [*made("a", (1,))],
]


@pytest.mark.parametrize("call", CALLS, ids=[str(number) for number in range(len(CALLS))])
def test_it_is_as_typings(call: Callable[[Type[Record]], object]) -> None:
    assert call(Ours) == call(Theirs)
    assert repr(call(Ours)).replace("Ours", "Theirs") == repr(call(Theirs))


WRONG: List[Callable[[Type[Record]], object]] = [
    lambda made: made(),  # type: ignore[call-arg]
    lambda made: made(say="b"),  # type: ignore[call-arg]
    lambda made: made("a", (), "b", "c"),  # type: ignore[call-arg]
    lambda made: made("a", name="b"),  # type: ignore[misc]
    lambda made: made("a", sya="b"),  # type: ignore[call-arg]
    lambda made: made("a")._replace(sya="b"),  # type: ignore[call-arg]
    lambda made: setattr(made("a"), "name", "b"),
    lambda made: setattr(made("a"), "other", "b"),
    lambda made: made._make(["a", (), "", ""]),
]


@pytest.mark.parametrize("call", WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_what_typings_refuses_it_refuses(call: Callable[[Type[Record]], object]) -> None:
    for made in (Theirs, Ours):
        with pytest.raises((TypeError, ValueError, AttributeError)):
            call(made)


def test_a_record_of_nothing_is_one() -> None:
    assert Nothing() == ()
    assert repr(Nothing()) == "Nothing()"


def test_a_field_without_a_default_stands_behind_none() -> None:
    with pytest.raises(TypeError, match="without a default"):

        class Bad(records.NamedTuple):
            first: str = ""
            second: str  # type: ignore[misc]


def test_an_instance_keeps_nothing_but_its_elements() -> None:
    assert not hasattr(Ours("a"), "__dict__")


@pytest.mark.parametrize("size", range(23))
def test_a_record_has_up_to_22_fields(size: int) -> None:
    names = [f"field_{number}" for number in range(size)]
    body = {"__annotations__": dict.fromkeys(names, "int")}
    made = MAKE("Made", (records.NamedTuple,), body)
    assert [*made(*range(size))] == [*range(size)]
    assert made(**{name: number for number, name in enumerate(names)})._asdict() == dict(zip(names, range(size)))


def test_more_fields_are_refused_where_the_class_is_made() -> None:
    body = {"__annotations__": {f"field_{number}": "int" for number in range(23)}}
    with pytest.raises(TypeError, match="Made: more than 22 fields"):
        MAKE("Made", (records.NamedTuple,), body)
