"""The type of what JSON can carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, List, Union

if TYPE_CHECKING:
    from typing import TypeAlias

Json: TypeAlias = "Union[bool, int, float, str, List[Json], Dict[str, Json], None]"
