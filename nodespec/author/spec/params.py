"""Parameters of a spec: declaration, redeclaration by an extending spec, binding."""

from __future__ import annotations

import re

from nodespec.errors import ConsequentError, DocumentError, ErrorCollector, suggest_name
from nodespec.judge.pattern import PARAM_TYPES, parse_param
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.document import Map, Node, Word, find_unknown_keys, iterate_items, require_list, require_text
from nodespec.model.plan import CONTEXTS, SpecParam

if TYPE_CHECKING:
    from typing import Dict, List, Mapping, Optional, Set, Tuple

PARAM_KEYS = ("default", "choices", "type", "why")
SAMPLES = {"text": "x", "number": "1", "size": "1Gi", "flag": "true", "version": "1"}
CONTEXT_BY_KEY = {context.replace(" ", "-"): context for context in CONTEXTS}  # key in a spec -> context
UNSET = "unset"  # the source of a parameter without a default, until it is set
MAX_CHOICES = 1000  # each choice is validated wherever the parameter is used


class BoundParams(dict[str, SpecParam]):
    """Parameters by name.

    `used` is true if an expectation uses a default that depends on the context. `broken` holds parameters with a
    reported error. If `missing` is true, some parameters could not be read.
    """

    def __init__(self, params: Mapping[str, SpecParam] = {}, *, missing: bool = False) -> None:
        super().__init__(params)
        self.missing, self.used = missing, False
        self.broken: Set[str] = set()

    def at_rest(self) -> BoundParams:
        """Return the parameters with the defaults of an offline host."""
        params = BoundParams(
            {
                name: param._replace(value=param.defaults[1]) if param.defaults else param
                for name, param in self.items()
            },
            missing=self.missing,
        )
        params.broken = self.broken
        return params

    def known(self, name: Word) -> SpecParam:
        """Return a parameter by name.

        Raises `DocumentError` if it is not found, and `ConsequentError` if an error that explains this was reported.
        """
        if name in self.broken or (name not in self and self.missing):
            raise ConsequentError
        if name not in self:
            raise DocumentError(name, f"unknown param `{name}`{suggest_name(name, self)}")
        return self[name]


def parse_declaration(
    name: Word, node: Node, inherited: Optional[SpecParam], problems: List[DocumentError]
) -> SpecParam:
    """Parse the declaration of a parameter. Errors are collected in `problems`.

    Without a default, its source is `unset`.
    """
    if not re.fullmatch("[A-Za-z][A-Za-z0-9_-]*", name):
        raise DocumentError(
            name, "the name of a param must begin with a letter and consist of letters, digits, _ and -"
        )
    if not isinstance(node, Map):
        raise DocumentError(node, "a param must be a mapping with default, choices or type, and why")
    problems += find_unknown_keys(node, PARAM_KEYS)
    param = inherited or SpecParam(str(name), "", UNSET, "", "text")
    with ErrorCollector(problems):
        param = param._replace(why=require_text(node["why"], "why") if "why" in node else param.why)
    with ErrorCollector(problems):
        param = param._replace(kind=_parse_kind(node, inherited))
    with ErrorCollector(problems):
        choices = _parse_choices(node, inherited)
        param = param._replace(choices=choices, known=param.known or choices)
    defaults = _parse_defaults(name, node, param, problems)
    if not defaults:
        return param
    running, at_rest = (defaults[context] for context in CONTEXTS)
    return param._replace(value=running, source="default", defaults=() if running == at_rest else (running, at_rest))


def bind_param(param: SpecParam, name: Word, given: Optional[str], *, trial: bool) -> SpecParam:
    """Bind a parameter to its value. With `trial`, an unset one gets a sample value."""
    if given is not None and not (trial and param.choices and given not in param.choices):
        try:
            parse_param(param, given)
        except ValueError as error:
            raise DocumentError(None, f"--set {name}={given}: {error}") from None
        return param._replace(value=given, source="set", defaults=())
    if param.source != UNSET:
        return param
    if not trial:
        raise DocumentError(name, f"`{name}` has no default; use --set {name}={'|'.join(param.choices) or '...'}")
    return param._replace(value=param.choices[0] if param.choices else SAMPLES[param.kind], source="default")


def _parse_kind(node: Map, inherited: Optional[SpecParam]) -> str:
    if "type" in node and "choices" in node:
        raise DocumentError(node["type"], "`type` is not allowed with `choices`; remove one of them")
    kind = require_text(node["type"], "type") if "type" in node else inherited.kind if inherited else "text"
    if kind not in PARAM_TYPES:
        raise DocumentError(
            node["type"],
            f"unknown type `{kind}`; expected one of {', '.join(PARAM_TYPES)}{suggest_name(kind, PARAM_TYPES)}",
        )
    if inherited and kind != inherited.kind:
        raise DocumentError(
            node["type"], f"type `{kind}` differs from the inherited type {inherited.kind}; remove `type`"
        )
    return kind


def _parse_choices(node: Map, inherited: Optional[SpecParam]) -> Tuple[str, ...]:
    if "choices" not in node:
        return inherited.choices if inherited else ()
    choices = tuple(require_text(choice, "choices") for choice in require_list(node["choices"]))
    inherited_choices = {*inherited.choices} if inherited else set()
    added = [choice for choice in choices if inherited_choices and choice not in inherited_choices]
    if added:
        raise DocumentError(
            node["choices"], f"`{added[0]}` is not an inherited choice; an extending spec can only remove choices"
        )
    if len(choices) < 2 and not inherited:  # noqa: PLR2004
        raise DocumentError(node["choices"], "`choices` needs at least two values")
    if len(choices) > MAX_CHOICES:
        raise DocumentError(node["choices"], f"too many choices ({len(choices)}); the maximum is {MAX_CHOICES}")
    return choices


def _parse_defaults(name: Word, node: Map, param: SpecParam, problems: List[DocumentError]) -> Mapping[str, str]:
    """Return the default of each context, or an empty mapping without a default.

    An extending spec inherits the defaults that it does not change.
    """
    unset = param.source == UNSET
    inherited: Dict[str, str] = {} if unset else dict(zip(CONTEXTS, param.defaults or (param.value,) * len(CONTEXTS)))
    written: Dict[str, Node] = {}
    with ErrorCollector(problems):
        written = _read_written_defaults(node["default"], inherited) if "default" in node else {}
    defaults: Dict[str, str] = dict(inherited)
    for context in CONTEXTS:
        with ErrorCollector(problems):
            if context in written:
                defaults[context] = require_text(written[context], "default")
            if context in defaults:
                _validate_default(
                    name, param, defaults[context], written.get(context), f" ({context})" if param.defaults else ""
                )
    return defaults if len(defaults) == len(CONTEXTS) else {}


def _read_written_defaults(node: Node, inherited: Mapping[str, str]) -> Dict[str, Node]:
    """Return the default as written, by context: one for all contexts, or a mapping."""
    if not isinstance(node, Map):
        return dict.fromkeys(CONTEXTS, node)
    errors = find_unknown_keys(node, tuple(CONTEXT_BY_KEY))
    if errors:
        raise errors[0]
    defaults = {CONTEXT_BY_KEY[key]: value for key, value in iterate_items(node, "`default`")}
    missing = [key for key, context in CONTEXT_BY_KEY.items() if context not in defaults and context not in inherited]
    if missing:
        raise DocumentError(
            node, f"`default` has no `{missing[0]}`; write one default, or one for each of {', '.join(CONTEXT_BY_KEY)}"
        )
    return defaults


def _validate_default(name: Word, param: SpecParam, value: str, node: Optional[Node], context: str) -> None:
    """Validate a default by its type or choices. An inherited default has no node."""
    try:
        parse_param(param, value)
    except ValueError as error:
        if node is not None:
            raise DocumentError(node, str(error)) from None
        raise DocumentError(name, f"the inherited default of `{name}`{context} is not valid: {error}") from None
