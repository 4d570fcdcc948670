"""The JSON Schema of the spec language, from the declared facts: for editors, which complete and underline by it.

It says what can be said of the shape alone, and refuses nothing that the loader takes. The loader is the validator.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Callable, Dict, List, Mapping, Tuple, Union

from nodespec.author.spec.documents import TOP
from nodespec.author.spec.params import WRITTEN
from nodespec.author.spec.statements import FORMS, LEVELS, RULE
from nodespec.facts import declaration as facts
from nodespec.facts.declaration import Group, Leaf, Table
from nodespec.facts.value_types import Datum, Kind, SetOf, Text
from nodespec.judge.expectation import WORDS
from nodespec.judge.pattern import PARAMS, TYPES
from nodespec.model.plan import LANGUAGE

if TYPE_CHECKING:
    from typing import TypeAlias

    from nodespec.model.json_types import Json

Node: TypeAlias = "Dict[str, Json]"
Typed: TypeAlias = "Callable[[Kind[Datum]], Node]"  # what may be written of a fact of a type

SCALAR: Json = ["string", "number", "boolean"]
TEXT: Node = {"type": SCALAR}
LINE: Node = {**TEXT, "minLength": 1}
SAID: Dict[str, Node] = dict.fromkeys(WORDS, LINE)


def schema() -> Node:
    """The JSON Schema of a spec."""
    kinds = _Kinds()
    stated, asked = _families(kinds.stated, described=True), _families(kinds.expected, described=False)
    joined: Dict[str, Node] = {"any": _list(_ref("pattern")), "all": _list(_ref("pattern")), "not": _ref("pattern")}
    params: Dict[str, Node] = {PARAMS: _mapping(kinds.untyped())}
    definitions: Dict[str, Node] = {
        "places": _closed(stated),
        "pattern": _closed({**asked, **params, **joined}),
        "param": _param(),
        "rule": _rule(kinds),
        **kinds.made,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "nodespec spec",
        "description": "What a node must be. Every scalar is its source text.",
        **_closed(_top()),
        "required": ["nodespec"],
        "$defs": {**definitions},
    }


def _top() -> Dict[str, Node]:
    said: Dict[str, Node] = {
        "nodespec": {"enum": [LANGUAGE, str(LANGUAGE)], "description": "the version of the language"},
        "requires": {**LINE, "description": "the versions of nodespec that it needs, such as >=1.2"},
        "extends": {**_list(LINE), "description": "specs that must hold too: of the library, or files"},
        "params": {**_mapping(_ref("param")), "propertyNames": {"pattern": "^[A-Za-z][A-Za-z0-9_-]*$"}},
        "drop": {**_list(LINE), "description": "what is left out of what it extends: ids, with * for anything"},
        "rules": _list(_ref("rule")),
    }
    return {name: said.get(name, _ref("places") if name in LEVELS else LINE) for name in TOP}


def _param() -> Node:
    default: Node = {"anyOf": [LINE, {**_closed(dict.fromkeys(WRITTEN, LINE)), "minProperties": 1}]}
    said = {"default": default, "choices": _list(LINE), "type": _one_of(*TYPES), "why": LINE}
    return {**_closed(said), "not": {"required": ["type", "choices"]}}


def _rule(kinds: _Kinds) -> Node:
    """A rule: of places or patterns, or of the rows of the table that `every` or `some` names."""
    said: Dict[str, Node] = {
        **{name: {} for name in RULE},
        **SAID,
        "name": {"type": SCALAR, "pattern": "^[a-z0-9-]+$", "not": {"enum": [*facts.families(), PARAMS]}},
        "when": _ref("pattern"),
        "level": _one_of(*LEVELS.values()),
        "any": {**_list(_ref("pattern")), "minItems": 2},
        "or-none": {"enum": ["true", True]},
    }
    places: Dict[str, Json] = {
        name: _ref("places") if name in LEVELS else False for name in (*LEVELS, "where", "or-none")
    }
    of_rows: List[Json] = []
    for name, table in _tables().items():
        row = kinds.named(f"{name} row", _row(table, kinds.expected))
        row = kinds.named(f"{name} rows", _joined(row, f"{name} rows"))
        for how in ("every", "some"):
            names: Node = {"properties": {how: {"const": name}}, "required": [how]}
            of_rows.append({"if": names, "then": {"properties": {"require": row, "where": row}}})
    quantified: Node = {"anyOf": [{"required": [how, "require"]} for how in ("every", "some")]}
    return {
        **_closed(said),
        "required": ["name"],
        "anyOf": [{"required": [form]} for form in (*LEVELS, *FORMS)],
        "if": {"anyOf": [{"required": ["every"]}, {"required": ["some"]}]},
        "then": {
            **quantified,
            "properties": {**dict.fromkeys(("every", "some"), _one_of(*_tables()))},
            "allOf": of_rows,
        },
        "else": {"properties": places},
    }


# facts


def _families(typed: Typed, *, described: bool) -> Dict[str, Node]:
    return {name: _declared(facts.family(name), typed, described=described) for name in facts.families()}


def _declared(declared: Union[Group, Leaf, Table], typed: Typed, *, described: bool) -> Node:
    about: Node = {"description": inspect.cleandoc(declared.about)} if described else {}
    if isinstance(declared, Group):
        members = declared.members.items()
        return {**about, **_closed({name: _declared(one, typed, described=described) for name, one in members})}
    return {**about, **(typed(declared.kind) if isinstance(declared, Leaf) else _mapping(_row(declared, typed)))}


def _row(table: Table, typed: Typed) -> Node:
    """A row as a whole, or its columns."""
    if not table.columns:
        return typed(table.row)
    columns = {name: typed(kind) for name, kind in table.columns.items()}
    whole = typed(table.row)
    return {"if": {"type": "object"}, "then": _closed({**columns, "is": whole, **SAID}), "else": whole}


def _joined(row: Node, name: str) -> Node:
    """A pattern of a row: what it is, or patterns joined."""
    several, one = _list(_ref(name)), _ref(name)
    patterns: List[Json] = [_closed({"any": several}), _closed({"all": several}), _closed({"not": one})]
    return {"anyOf": [row, *patterns]}


def _tables() -> Dict[str, Table]:
    """The tables whose rows can be told, by the name that `every` gives them."""
    found: Dict[str, Table] = {}
    for name in facts.families():
        declared = facts.family(name)
        members: Mapping[str, Union[Leaf, Table]] = declared.members if isinstance(declared, Group) else {"": declared}
        of_rows = {f"{name}.{member}".rstrip("."): one for member, one in members.items() if isinstance(one, Table)}
        found.update({path: one for path, one in of_rows.items() if one.closed})
    return found


# expectations


class _Kinds:
    """Definitions of what may be written of each type, made as they are asked for."""

    def __init__(self) -> None:
        self.made: Dict[str, Node] = {}
        self._names: Dict[Tuple[str, str], str] = {}

    def named(self, name: str, definition: Node) -> Node:
        """A definition under a name, as what refers to it."""
        self.made[name.replace(" ", "-")] = definition
        return _ref(name)

    def expected(self, kind: Kind[Datum]) -> Node:
        """An expectation."""
        return self._defined(kind, "", {})

    def stated(self, kind: Kind[Datum]) -> Node:
        """An expectation, with the words that may stand beside it."""
        try:
            kind.strength("")
            more = {**SAID, "aliases": _list(LINE)}
        except ValueError:
            more = SAID
        return self._defined(kind, " stated", more)

    def untyped(self) -> Node:
        """An expectation of a param, of whichever type."""
        any_ = _ref("untyped")
        several = {name: _list(any_) for name in ("any", "all", "none")}
        texts = dict.fromkeys(("equals", "matches", "param"), TEXT)
        return self.named("untyped", _forms(TEXT, _list(any_), _closed({**several, **texts, "is": any_, "not": any_})))

    def _defined(self, kind: Kind[Datum], form: str, more: Mapping[str, Node]) -> Node:
        noun = self._names.setdefault((type(kind).__name__, kind.noun), f"{type(kind).__name__} {len(self._names)}")
        name = f"{noun}{form}"
        if name.replace(" ", "-") not in self.made:
            self.named(name, {})  # a place for what refers to itself
            inner = self.expected(kind.element if isinstance(kind, SetOf) else kind)
            operators = _closed({**_operators(kind, self.expected(kind), inner), **more})
            self.named(name, _forms(_scalar(kind), _list(inner), operators))
        return _ref(name)


def _operators(kind: Kind[Datum], whole: Node, inner: Node) -> Dict[str, Node]:
    made = {"is": whole, **{name: _list(inner) for name in ("any", "all", "none")}, "param": LINE}
    if isinstance(kind, SetOf):
        made.update({name: {"type": "array", "items": inner} for name in ("only", "equals")})
    else:
        made.update({"not": whole, "equals": TEXT})
    if isinstance(kind.element if isinstance(kind, SetOf) else kind, Text):
        made["matches"] = TEXT
    return made


def _scalar(kind: Kind[Datum]) -> Node:
    forms: List[Json] = [{"enum": ["present", "absent", *kind.words]}]
    if not isinstance(kind, SetOf):
        forms.append({"type": SCALAR, "pattern": kind.pattern})
    if kind.ordered:
        forms.append({"type": "string", "pattern": r"[\s,<>=|]" if kind.spans else r"^\s*([<>=]|!=)"})
    return {"description": kind.noun, "anyOf": forms}


def _forms(scalar: Node, sequence: Node, mapping: Node) -> Node:
    """One of three, told apart by their shape, so that an editor says what is wrong with that one."""
    rest: Node = {"if": {"type": "array"}, "then": sequence, "else": scalar}
    return {"if": {"type": "object"}, "then": mapping, "else": rest}


# JSON Schema's own


def _closed(properties: Mapping[str, Json]) -> Node:
    return {"type": "object", "properties": {**properties}, "additionalProperties": False, "minProperties": 1}


def _mapping(values: Node) -> Node:
    return {"type": "object", "additionalProperties": values, "minProperties": 1}


def _list(items: Node) -> Node:
    return {"type": "array", "items": items, "minItems": 1}


def _one_of(*values: Json) -> Node:
    return {"enum": [*values]}


def _ref(name: str) -> Node:
    return {"$ref": f"#/$defs/{name.replace(' ', '-')}"}
