"""Params of a spec: declared, redeclared by a child, bound."""

from __future__ import annotations

import re
from typing import Optional, Tuple

from nodespec.errors import Mistake, Wrong, nearest
from nodespec.judge.pattern import TYPES, read_param
from nodespec.model.document import Map, Node, Word, known, listed, text
from nodespec.model.plan import Param

KEYS = ("default", "choices", "type", "why")
SAMPLES = {"text": "x", "number": "1", "size": "1Gi", "flag": "true", "version": "1"}


def declared(name: Word, node: Node, inherited: Optional[Param], given: Optional[str], *, trial: bool) -> Param:
    """A param as bound. A child may change the default and narrow the choices of what it inherits."""
    if not re.fullmatch("[A-Za-z][A-Za-z0-9_-]*", name):
        raise Wrong(name, "the name of a param is of letters, digits, _ and -")
    if not isinstance(node, Map):
        raise Wrong(node, "a param is a mapping of default, choices or type, and why")
    known(node, KEYS)
    kind, choices = _type(node, inherited)
    every = inherited.known if inherited and inherited.known else choices
    why = text(node["why"], "why") if "why" in node else inherited.why if inherited else ""
    default = text(node["default"], "default") if "default" in node else None
    if default is not None:
        _readable(Param(name, default, "default", why, kind, choices, every), node["default"])
    elif inherited and inherited.source == "default":
        default = inherited.value
    value = given if given is not None and not (trial and choices and given not in choices) else default
    if value is None and trial:
        value = choices[0] if choices else SAMPLES[kind]
    if value is None:
        raise Wrong(name, f"`{name}` has no default: --set {name}={'|'.join(choices) or '...'}")
    param = Param(str(name), value, "default" if given is None else "set", why, kind, choices, every)
    try:
        read_param(param, value)
    except ValueError as error:
        if given is not None:
            raise Mistake(f"--set {name}={value}: {error}") from None
        raise Wrong(name, f"the inherited default of `{name}`: {error}") from None
    return param


def _type(node: Map, inherited: Optional[Param]) -> Tuple[str, Tuple[str, ...]]:
    if "type" in node and "choices" in node:
        raise Wrong(node["type"], "`choices` say it all: leave `type` out")
    kind = text(node["type"], "type") if "type" in node else inherited.kind if inherited else "text"
    if kind not in TYPES:
        raise Wrong(node["type"], f"`{kind}` is no type of a param: {', '.join(TYPES)}{nearest(kind, TYPES)}")
    if inherited and kind != inherited.kind:
        raise Wrong(node["type"], f"`{kind}`: the type is inherited, and is {inherited.kind}")
    if "choices" not in node:
        return kind, inherited.choices if inherited else ()
    choices = tuple(text(one, "choices") for one in listed(node["choices"]))
    beyond = [one for one in choices if inherited and inherited.choices and one not in inherited.choices]
    if beyond:
        raise Wrong(node["choices"], f"`{beyond[0]}` is beyond the inherited choices, which may only be narrowed")
    if len(choices) < 2 and not inherited:  # noqa: PLR2004
        raise Wrong(node["choices"], "one choice is no choice")
    return kind, choices


def _readable(param: Param, node: Node) -> None:
    try:
        read_param(param, param.value)
    except ValueError as error:
        raise Wrong(node, str(error)) from None
