"""Plans made ahead: what the library's specs come to is found out when nodespec is built, and not at each start.

`python -m nodespec.author.spec.precompiled FOLDER` writes them, as setup.py asks; a checkout has none. A plan holds
only for the very texts that it was made of. With another text of that name or of one that it extends, the spec is
resolved as any other.
"""

from __future__ import annotations

import marshal
import os
import re
import sys
import zlib
from typing import TYPE_CHECKING, Dict, List, Mapping, Optional, Sequence, cast

import nodespec
from nodespec.author.spec.library import OWN, Library, Text, is_file
from nodespec.errors import Mistake
from nodespec.judge.pattern import read_param
from nodespec.model import plan as plans
from nodespec.model.plan import Plan

if TYPE_CHECKING:
    from nodespec.model.json_types import Json

FORMAT = 2  # of marshal, which every Python reads, and writes as the same bytes each time; JSON's reader takes its time
FOLDER = os.path.join(os.path.dirname(os.path.abspath(nodespec.__file__)), "plans")


def planned(names: Sequence[str], library: Library, given: Mapping[str, str]) -> Plan:
    """The plan of all that was named: as it was made ahead, or else as it is made now, with every mistake told."""
    ready = _ready(names[0], library, given) if len(names) == 1 and not is_file(names[0]) else None
    if ready:
        return ready
    from nodespec.author.spec.resolver import resolve  # noqa: PLC0415 - what reads specs, for who has one: half of a start

    return resolve(names, library, given)


def _ready(name: str, library: Library, given: Mapping[str, str]) -> Optional[Plan]:
    try:
        found = library.find(name)
        with open(os.path.join(FOLDER, f"{name}.plan"), "rb") as file:
            made = cast("Dict[str, Json]", marshal.loads(file.read()))  # noqa: S302 - who can write it can write code
        for source, stamp in cast("Dict[str, Json]", made["sources"]).items():
            if _stamp(found if source == name else library.find(source)) != stamp:
                return None
        plan = plans.unpacked(cast("Dict[str, Json]", made["plan"]))
        return _bound(plan, given) if given and made["bindable"] else plan if not given else None
    except (OSError, Mistake, LookupError, TypeError, ValueError, AttributeError, EOFError):
        return None


def _stamp(text: Text) -> List[Json]:
    """What tells one text from another where nobody means to deceive: whoever can write the one can write the other."""
    return [text.file, len(text.data), zlib.crc32(text.data)]


def _bound(plan: Plan, given: Mapping[str, str]) -> Optional[Plan]:
    """The plan with its params set, which only its conditions read; nothing where one of them cannot be set so."""
    known = {param.name: param for param in plan.params}
    for name, value in given.items():
        read_param(known[name], value)
    params = tuple(
        one._replace(value=given[one.name], source="set", defaults=()) if one.name in given else one
        for one in plan.params
    )
    (head,) = plan.specs
    digest = plans.digest(plan.requirements, params)
    return plan._replace(params=params, specs=(head._replace(digest=digest),))


# when nodespec is built


def make(folder: str) -> None:
    """Write the plans of the library's own specs."""
    import json  # noqa: PLC0415

    from nodespec.author.spec.resolver import resolve  # noqa: PLC0415
    from nodespec.output.file import write_file  # noqa: PLC0415

    library = Library()
    library.folders = (OWN,)
    for name in library.names():
        try:
            plan = resolve([name], library, {})
        except Mistake:  # as where a param has no default
            continue
        texts = [library.find(file[: -len(".yaml")]) for file in plan.specs[0].sources]
        made: Dict[str, Json] = {
            "sources": {text.file[: -len(".yaml")]: _stamp(text) for text in texts},
            "bindable": not any(re.search(rb"\bparam\b", text.data) for text in texts),
            "plan": plans.packed(plan),
        }
        path = os.path.join(folder, f"{name}.plan")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_file(path, (marshal.dumps(json.loads(json.dumps(made)), FORMAT),))  # words without their places


if __name__ == "__main__":
    make(sys.argv[1])
