"""Named tuples whose classes are cheap to create.

To a type checker they are those of typing. Those compile a constructor and every annotation, which takes 0.5 ms a
class. A start creates some fifty classes, so that would take as long as starting Python twice. These classes keep field
names and defaults, and compile the constructor when the first instance is created.
"""

from __future__ import annotations

from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Dict, Iterable, Tuple
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414 - a type checker takes it for the class of typing
else:
    from collections import _tuplegetter

    class _Record(tuple):
        """A tuple whose elements have names."""

        __slots__ = ()

        def __new__(cls, *values: object, **named: object) -> _Record:  # noqa: PYI034 - Self requires Python 3.11
            fields = "".join(f"{field}, " for field in cls._fields)
            constructor = eval(f"lambda _cls, {fields}: _new(_cls, ({fields}))", {"_new": tuple.__new__})  # noqa: S307 - collections.namedtuple does the same
            constructor.__defaults__ = tuple(cls._field_defaults.values())
            constructor.__name__ = constructor.__qualname__ = cls.__name__
            cls.__new__ = constructor
            return constructor(cls, *values, **named)

        @classmethod
        def _make(cls, values: Iterable[object]) -> _Record:
            return cls(*values)

        def _replace(self, **named: object) -> _Record:
            made = tuple.__new__(type(self), map(named.pop, self._fields, self))
            if named:
                raise ValueError(f"{type(self).__name__} has no field {[*named]}")
            return made

        def _asdict(self) -> Dict[str, object]:
            return dict(zip(self._fields, self))

        def __repr__(self) -> str:
            return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._asdict().items())})"

        def __getnewargs__(self) -> Tuple[object, ...]:
            return tuple(self)

    class _RecordMeta(type):
        """A metaclass that creates plain classes, which are not its own instances.

        `isinstance` is slower for a class that has a metaclass.
        """

        def __new__(cls, name: str, bases: Tuple[type, ...], body: Dict[str, object]) -> type:
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = tuple(body.get("__annotations__", ()))
            defaults = {field: body[field] for field in fields if field in body}
            if tuple(defaults) != fields[len(fields) - len(defaults) :]:
                raise TypeError(f"{name}: a field without a default stands behind one that has one")
            getters = {field: _tuplegetter(index, "") for index, field in enumerate(fields)}
            names = {"_fields": fields, "_field_defaults": defaults}
            return type(name, (_Record,), {"__slots__": (), **body, **getters, **names})

    class NamedTuple(metaclass=_RecordMeta):
        """Base class of a record: annotations name the fields, assignments the defaults."""
