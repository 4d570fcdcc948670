"""Precompiled plans of the built-in specs, to save resolving them at each start.

setup.py runs `python -m nodespec.author.spec.precompiled FOLDER` to write them; a checkout has none. A plan is valid
only for the texts from which it was built. If one of these texts differs, the spec is resolved.
"""

from __future__ import annotations

import marshal
import os
import re
import sys
import zlib

import nodespec
from nodespec.author.spec.library import BUILT_IN_DIR, Library, SpecText, is_file
from nodespec.errors import UsageError
from nodespec.judge.pattern import parse_param
from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.model import plan as plans
from nodespec.model.plan import Plan

if TYPE_CHECKING:
    from typing import Dict, List, Mapping, Optional, Sequence

    from nodespec.model.json_types import Json

MARSHAL_VERSION = 2  # marshal version 2: all Python versions read it, the output is reproducible; faster than JSON
PLANS_DIR = os.path.join(os.path.dirname(os.path.abspath(nodespec.__file__)), "plans")


def load_plan(names: Sequence[str], library: Library, given: Mapping[str, str]) -> Plan:
    """Return the plan of the named specs: a precompiled plan, or else a resolved one.

    Raises `UsageError` with all errors of the specs.
    """
    ready = _load_precompiled(names[0], library, given) if len(names) == 1 and not is_file(names[0]) else None
    if ready:
        return ready
    from nodespec.author.spec.resolver import resolve  # noqa: PLC0415 - half of the start-up time

    return resolve(names, library, given)


def _load_precompiled(name: str, library: Library, given: Mapping[str, str]) -> Optional[Plan]:
    try:
        spec = library.find(name)
        with open(os.path.join(PLANS_DIR, f"{name}.plan"), "rb") as file:
            made = cast("Dict[str, Json]", marshal.loads(file.read()))  # noqa: S302 - trusted like the code beside it
        for source, stamp in cast("Dict[str, Json]", made["sources"]).items():
            if _make_stamp(spec if source == name else library.find(source)) != stamp:
                return None
        plan = plans.decode_plan(cast("Dict[str, Json]", made["plan"]))
        return _bind_params(plan, given) if given and made["bindable"] else plan if not given else None
    except (OSError, UsageError, LookupError, TypeError, ValueError, AttributeError, EOFError):
        return None


def _make_stamp(text: SpecText) -> List[Json]:
    """Return a stamp that detects a changed text.

    It need not be secure: a user who can replace a spec can also replace its plan.
    """
    return [text.file, len(text.data), zlib.crc32(text.data)]


def _bind_params(plan: Plan, given: Mapping[str, str]) -> Optional[Plan]:
    """Return the plan with parameters set; only its conditions may use them.

    Raises LookupError or ValueError for a parameter or value that is not valid.
    """
    known = {param.name: param for param in plan.params}
    for name, value in given.items():
        parse_param(known[name], value)
    params = tuple(
        param._replace(value=given[param.name], source="set", defaults=()) if param.name in given else param
        for param in plan.params
    )
    (head,) = plan.specs
    digest = plans.compute_digest(plan.requirements, params)
    return plan._replace(params=params, specs=(head._replace(digest=digest),))


# build of the plans


def write_plans(folder: str) -> None:
    """Write the plans of the built-in specs."""
    import json  # noqa: PLC0415

    from nodespec.author.spec.resolver import resolve  # noqa: PLC0415
    from nodespec.model import plan_json  # noqa: PLC0415 - only needed for the build
    from nodespec.output.file import write_file  # noqa: PLC0415

    library = Library()
    library.folders = (BUILT_IN_DIR,)
    for name in library.names():
        try:
            plan = resolve([name], library, {})
        except UsageError:  # for example a parameter without a default
            continue
        texts = [library.find(file[: -len(".yaml")]) for file in plan.specs[0].sources]
        made: Dict[str, Json] = {
            "sources": {text.file[: -len(".yaml")]: _make_stamp(text) for text in texts},
            "bindable": not any(re.search(rb"\bparam\b", text.data) for text in texts),
            "plan": plan_json.encode_plan(plan),
        }
        path = os.path.join(folder, f"{name}.plan")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_file(path, (marshal.dumps(json.loads(json.dumps(made)), MARSHAL_VERSION),))  # marshal refuses `Word`


if __name__ == "__main__":
    write_plans(sys.argv[1])
