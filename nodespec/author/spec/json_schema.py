"""Generate the JSON Schema of the spec language, for completion in editors.

The schema describes the shape of a spec only, and accepts everything that the loader accepts. The loader is the
validator.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Callable, Dict, List, Mapping, Tuple, Union

from nodespec.author.spec.documents import TOP
from nodespec.author.spec.params import WRITTEN
from nodespec.author.spec.statements import FORMS, LEVELS, RULE
from nodespec.facts import declaration
from nodespec.facts.declaration import Group, Leaf, Table
from nodespec.facts.value_types import Datum, FreeText, Kind, SetOf
from nodespec.judge.expectation import REQUIREMENT_KEYS
from nodespec.judge.pattern import PARAM_TYPES, PARAMS
from nodespec.model.plan import LANGUAGE_VERSION

if TYPE_CHECKING:
    from typing import TypeAlias

    from nodespec.model.json_types import Json

Node: TypeAlias = "Dict[str, Json]"
Typed: TypeAlias = "Callable[[Kind[Datum]], Node]"  # the schema of an expectation for a type of fact

SCALAR: Json = ["string", "number", "boolean"]
TEXT: Node = {"type": SCALAR}
LINE: Node = {**TEXT, "minLength": 1}
SAID: Dict[str, Node] = dict.fromkeys(REQUIREMENT_KEYS, LINE)


def schema() -> Node:
    """Return the JSON Schema of a spec."""
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
        "nodespec": {"enum": [LANGUAGE_VERSION, str(LANGUAGE_VERSION)], "description": "the version of the language"},
        "requires": {**LINE, "description": "the versions of nodespec that it needs, such as >=1.2"},
        "extends": {**_list(LINE), "description": "specs that must hold too: of the library, or files"},
        "params": {**_mapping(_ref("param")), "propertyNames": {"pattern": "^[A-Za-z][A-Za-z0-9_-]*$"}},
        "drop": {**_list(LINE), "description": "what is left out of what it extends: ids, with * for anything"},
        "rules": _list(_ref("rule")),
    }
    return {name: said.get(name, _ref("places") if name in LEVELS else LINE) for name in TOP}


def _param() -> Node:
    default: Node = {"anyOf": [LINE, {**_closed(dict.fromkeys(WRITTEN, LINE)), "minProperties": 1}]}
    said = {"default": default, "choices": _list(LINE), "type": _one_of(*PARAM_TYPES), "why": LINE}
    return {**_closed(said), "not": {"required": ["type", "choices"]}}


def _rule(kinds: _Kinds) -> Node:
    """Return the schema of a rule.

    A rule applies to places, to patterns, or to the rows of a table that `every` or `some` names.
    """
    said: Dict[str, Node] = {
        **{name: {} for name in RULE},
        **SAID,
        "name": {"type": SCALAR, "pattern": "^[a-z0-9-]+$", "not": {"enum": [*declaration.families(), PARAMS]}},
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
    return {name: _declared(declaration.family(name), typed, described=described) for name in declaration.families()}


def _declared(declared: Union[Group, Leaf, Table], typed: Typed, *, described: bool) -> Node:
    about: Node = {"description": inspect.cleandoc(declared.about)} if described else {}
    if isinstance(declared, Group):
        members = declared.members.items()
        return {**about, **_closed({name: _declared(one, typed, described=described) for name, one in members})}
    return {**about, **(typed(declared.kind) if isinstance(declared, Leaf) else _mapping(_row(declared, typed)))}


def _row(table: Table, typed: Typed) -> Node:
    """Return the schema of a row: an expectation of the row itself, or its columns."""
    if not table.columns:
        return typed(table.row)
    columns = {name: typed(kind) for name, kind in table.columns.items()}
    whole = typed(table.row)
    return {"if": {"type": "object"}, "then": _closed({**columns, "is": whole, **SAID}), "else": whole}


def _joined(row: Node, name: str) -> Node:
    """Return the schema of a pattern of a row, or of joined patterns."""
    several, one = _list(_ref(name)), _ref(name)
    patterns: List[Json] = [_closed({"any": several}), _closed({"all": several}), _closed({"not": one})]
    return {"anyOf": [row, *patterns]}


def _tables() -> Dict[str, Table]:
    """Return the tables with enumerable rows, by the dotted name for `every`."""
    found: Dict[str, Table] = {}
    for name in declaration.families():
        declared = declaration.family(name)
        members: Mapping[str, Union[Leaf, Table]] = declared.members if isinstance(declared, Group) else {"": declared}
        of_rows = {f"{name}.{member}".rstrip("."): one for member, one in members.items() if isinstance(one, Table)}
        found.update({path: one for path, one in of_rows.items() if one.closed})
    return found


# expectations


class _Kinds:
    """Schema definitions of the types of facts, created on first use."""

    def __init__(self) -> None:
        self.made: Dict[str, Node] = {}
        self._names: Dict[Tuple[str, str], str] = {}

    def named(self, name: str, definition: Node) -> Node:
        """Store a definition under a name, and return a reference to it."""
        self.made[name.replace(" ", "-")] = definition
        return _ref(name)

    def expected(self, kind: Kind[Datum]) -> Node:
        """Return the schema of an expectation."""
        return self._defined(kind, "", {})

    def stated(self, kind: Kind[Datum]) -> Node:
        """Return the schema of an expectation with its words: why, fix, see, aliases."""
        try:
            kind.strength("")
            more = {**SAID, "aliases": _list(LINE)}
        except ValueError:
            more = SAID
        return self._defined(kind, " stated", more)

    def untyped(self) -> Node:
        """Return the schema of an expectation of a parameter of any type."""
        any_ = _ref("untyped")
        several = {name: _list(any_) for name in ("any", "all", "none")}
        texts = dict.fromkeys(("equals", "matches", "param"), TEXT)
        return self.named("untyped", _forms(TEXT, _list(any_), _closed({**several, **texts, "is": any_, "not": any_})))

    def _defined(self, kind: Kind[Datum], form: str, more: Mapping[str, Node]) -> Node:
        noun = self._names.setdefault((type(kind).__name__, kind.noun), f"{type(kind).__name__} {len(self._names)}")
        name = f"{noun}{form}"
        if name.replace(" ", "-") not in self.made:
            self.named(name, {})  # reserve the name, because the definition refers to itself
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
    if isinstance(kind.element if isinstance(kind, SetOf) else kind, FreeText):
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
    """Return a schema that selects one of three by the shape of the value.

    Unlike `anyOf`, this lets an editor report the errors of the selected schema.
    """
    rest: Node = {"if": {"type": "array"}, "then": sequence, "else": scalar}
    return {"if": {"type": "object"}, "then": mapping, "else": rest}


# basic schemas


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
