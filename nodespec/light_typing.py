"""The names of typing that running code needs, without the time that importing typing takes.

To a type checker they are those of typing. A program that runs needs few of them: importing typing takes a twentieth of
a check. All other names of typing are imported under `if TYPE_CHECKING`, which type checkers know by its name.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Generic as Generic  # noqa: PLC0414 - type checkers take it for the name of typing
    from typing import Protocol as Protocol  # noqa: PLC0414 - likewise
    from typing import TypeVar as TypeVar  # noqa: PLC0414 - likewise
    from typing import cast as cast  # noqa: PLC0414 - likewise
else:

    def cast(_kind: object, value: object) -> object:
        """Return the value."""
        return value

    def TypeVar(name: str, *_bounds: object, **_options: object) -> str:  # noqa: N802 - it is a class in typing
        """Return the name of a type variable."""
        return name

    class Generic:
        """The base of a class with type parameters, which are ignored."""

        __slots__ = ()

        def __class_getitem__(cls, parameters: object) -> type:
            """Return the class itself."""
            return cls

    Protocol = Generic
