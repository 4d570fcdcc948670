"""Named tuples whose classes are cheap to create.

To a type checker they are those of typing. Those compile a constructor and every annotation, which takes 0.5 ms a
class. A start creates some fifty classes, so that would take as long as starting Python twice. These classes keep field
names and defaults, and take their constructor when the first instance is created.
"""

from __future__ import annotations

from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Dict, Iterable, Tuple
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414 - a type checker takes it for the class of typing
else:
    from collections import _tuplegetter

    new = tuple.__new__
    # The constructors by number of fields. A class takes a copy with the names of its fields: 300 times as fast
    # as compiling one when the program runs.
    # fmt: off
    _CONSTRUCTORS = (
        lambda _: new(_, ()),
        lambda _,a: new(_, (a,)),
        lambda _,a,b: new(_, (a,b)),
        lambda _,a,b,c: new(_, (a,b,c)),
        lambda _,a,b,c,d: new(_, (a,b,c,d)),
        lambda _,a,b,c,d,e: new(_, (a,b,c,d,e)),
        lambda _,a,b,c,d,e,f: new(_, (a,b,c,d,e,f)),
        lambda _,a,b,c,d,e,f,g: new(_, (a,b,c,d,e,f,g)),
        lambda _,a,b,c,d,e,f,g,h: new(_, (a,b,c,d,e,f,g,h)),
        lambda _,a,b,c,d,e,f,g,h,i: new(_, (a,b,c,d,e,f,g,h,i)),
        lambda _,a,b,c,d,e,f,g,h,i,j: new(_, (a,b,c,d,e,f,g,h,i,j)),
        lambda _,a,b,c,d,e,f,g,h,i,j,k: new(_, (a,b,c,d,e,f,g,h,i,j,k)),
        lambda _,a,b,c,d,e,f,g,h,i,j,k,m: new(_, (a,b,c,d,e,f,g,h,i,j,k,m)),
        lambda _,a,b,c,d,e,f,g,h,i,j,k,m,n: new(_, (a,b,c,d,e,f,g,h,i,j,k,m,n)),
        lambda _,a,b,c,d,e,f,g,h,i,j,k,m,n,o: new(_, (a,b,c,d,e,f,g,h,i,j,k,m,n,o)),
        lambda _,a,b,c,d,e,f,g,h,i,j,k,m,n,o,p: new(_, (a,b,c,d,e,f,g,h,i,j,k,m,n,o,p)),
        lambda _,a,b,c,d,e,f,g,h,i,j,k,m,n,o,p,q: new(_, (a,b,c,d,e,f,g,h,i,j,k,m,n,o,p,q)),
        lambda _,a,b,c,d,e,f,g,h,i,j,k,m,n,o,p,q,r: new(_, (a,b,c,d,e,f,g,h,i,j,k,m,n,o,p,q,r)),
        lambda _,a,b,c,d,e,f,g,h,i,j,k,m,n,o,p,q,r,s: new(_, (a,b,c,d,e,f,g,h,i,j,k,m,n,o,p,q,r,s)),
        lambda _,a,b,c,d,e,f,g,h,i,j,k,m,n,o,p,q,r,s,t: new(_, (a,b,c,d,e,f,g,h,i,j,k,m,n,o,p,q,r,s,t)),
        lambda _,a,b,c,d,e,f,g,h,i,j,k,m,n,o,p,q,r,s,t,u: new(_, (a,b,c,d,e,f,g,h,i,j,k,m,n,o,p,q,r,s,t,u)),
        lambda _,a,b,c,d,e,f,g,h,i,j,k,m,n,o,p,q,r,s,t,u,v: new(_, (a,b,c,d,e,f,g,h,i,j,k,m,n,o,p,q,r,s,t,u,v)),
        lambda _,a,b,c,d,e,f,g,h,i,j,k,m,n,o,p,q,r,s,t,u,v,w: new(_, (a,b,c,d,e,f,g,h,i,j,k,m,n,o,p,q,r,s,t,u,v,w)),
    )
    # fmt: on

    def _make_constructor(cls: type) -> object:
        code = _CONSTRUCTORS[len(cls._fields)].__code__.replace(co_varnames=("_", *cls._fields))
        return type(_make_constructor)(code, globals(), cls.__name__, tuple(cls._field_defaults.values()))

    class _Record(tuple):
        """A tuple whose elements have names."""

        __slots__ = ()

        def __new__(cls, *values: object, **named: object) -> _Record:  # noqa: PYI034 - Self requires Python 3.11
            constructor = _make_constructor(cls)
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
                raise TypeError(f"{name}: a field without a default follows one that has a default")
            if len(fields) >= len(_CONSTRUCTORS):
                raise TypeError(f"{name}: more than {len(_CONSTRUCTORS) - 1} fields")
            getters = {field: _tuplegetter(index, "") for index, field in enumerate(fields)}
            names = {"_fields": fields, "_field_defaults": defaults}
            return type(name, (_Record,), {"__slots__": (), **body, **getters, **names})

    class NamedTuple(metaclass=_RecordMeta):
        """Base class of a record: annotations name the fields, assignments the defaults."""
