"""Generate the JSON Schema of the spec language, for completion in editors.

The schema describes the shape of a spec only, and accepts everything that the loader accepts. The loader is the
validator.
"""

from __future__ import annotations

import inspect

from nodespec.author.spec.documents import TOP_KEYS
from nodespec.author.spec.fact_tree import LINE_OPERATORS
from nodespec.author.spec.params import CONTEXT_BY_KEY
from nodespec.author.spec.rule_parts import LEVELS, TAG
from nodespec.author.spec.statements import FORMS, RULE_KEYS
from nodespec.facts import declaration
from nodespec.facts.declaration import Group, LazyColumns, Leaf, Table
from nodespec.facts.value_sets import CpuList
from nodespec.facts.value_types import Datum, FreeText, Kind, SetOf
from nodespec.judge.expectation import REQUIREMENT_KEYS
from nodespec.judge.pattern import PARAM_TYPES, PARAMS, SAME
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.plan import LANGUAGE_VERSION

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Mapping, Tuple, TypeAlias, Union

    from nodespec.model.json_types import Json

Node: TypeAlias = "Dict[str, Json]"
Typed: TypeAlias = "Callable[[Kind[Datum]], Node]"  # the schema of an expectation for a type of fact

SCALAR: Json = ["string", "number", "boolean"]
TEXT: Node = {"$ref": "#/$defs/text"}
LINE: Node = {"$ref": "#/$defs/line"}
LINES: Node = {"$ref": "#/$defs/lines"}
FIX: Node = {"$ref": "#/$defs/fix"}
TAGS: Node = {"$ref": "#/$defs/tags"}
BY_CONTEXT: Node = {"type": "object", "properties": dict.fromkeys(CONTEXT_BY_KEY, LINE), "additionalProperties": False}
SHARED: Dict[str, Node] = {
    "text": {"type": SCALAR},
    "line": {"type": SCALAR, "minLength": 1},
    "lines": {"type": "array", "items": LINE, "minItems": 1},
    "fix": {"anyOf": [LINE, {**BY_CONTEXT, "required": [*CONTEXT_BY_KEY]}]},
    "tags": {"type": "array", "items": {"type": SCALAR, "pattern": f"^{TAG}$"}, "minItems": 1},
}
WORD_SCHEMAS: Dict[str, Node] = {**dict.fromkeys(REQUIREMENT_KEYS, LINE), "fix": FIX, "tags": TAGS}


def schema() -> Node:
    """Return the JSON Schema of a spec."""
    kinds = _KindSchemas()
    stated, asked = _make_families(kinds.stated, described=True), _make_families(kinds.expected, described=False)
    joined: Dict[str, Node] = {
        "any": _make_list(_make_ref("pattern")),
        "all": _make_list(_make_ref("pattern")),
        "not": _make_ref("pattern"),
    }
    params: Dict[str, Node] = {PARAMS: _make_mapping(kinds.untyped())}
    definitions: Dict[str, Node] = {
        "places": _make_closed(stated),
        "pattern": _make_closed({**asked, **params, **joined}),
        "param": _make_param(),
        "rule": _make_rule(kinds),
        **kinds.made,
        **SHARED,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "nodespec spec",
        "description": "Requirements of a node. Every scalar is read as its source text.",
        **_make_closed(_make_top()),
        "required": ["nodespec"],
        "$defs": {**definitions},
    }


def _make_top() -> Dict[str, Node]:
    schemas: Dict[str, Node] = {
        "nodespec": {
            "enum": [LANGUAGE_VERSION, str(LANGUAGE_VERSION)],
            "description": "the version of the spec language",
        },
        "requires": {**LINE, "description": "the versions of nodespec that the spec needs, such as >=1.2"},
        "extends": {
            **LINES,
            "description": "specs whose requirements are inherited: names in the library, or files",
        },
        "params": {**_make_mapping(_make_ref("param")), "propertyNames": {"pattern": "^[A-Za-z][A-Za-z0-9_-]*$"}},
        "drop": {
            **LINES,
            "description": "inherited requirements to drop: ids or names of rules; * matches anything",
        },
        "rules": _make_list(_make_ref("rule")),
    }
    return {name: schemas.get(name, _make_ref("places") if name in LEVELS else LINE) for name in TOP_KEYS}


def _make_param() -> Node:
    default: Node = {"anyOf": [LINE, {**BY_CONTEXT, "minProperties": 1}]}
    schemas = {"default": default, "choices": LINES, "type": _make_enum(*PARAM_TYPES), "why": LINE}
    return {**_make_closed(schemas), "not": {"required": ["type", "choices"]}}


def _make_rule(kinds: _KindSchemas) -> Node:
    """Return the schema of a rule.

    A rule applies to places, to patterns, or to the rows of a table that `every` or `some` names.
    """
    schemas: Dict[str, Node] = {
        **{name: {} for name in RULE_KEYS},
        **WORD_SCHEMAS,
        "name": {"type": SCALAR, "pattern": "^[a-z0-9-]+$", "not": {"enum": [*declaration.list_families(), PARAMS]}},
        "when": _make_ref("pattern"),
        "level": _make_enum(*LEVELS.values()),
        "any": {**_make_list(_make_ref("pattern")), "minItems": 2},
        "or-none": {"enum": ["true", True]},
        "names": {"anyOf": [LINE, LINES]},
    }
    places: Dict[str, Json] = {
        name: _make_ref("places") if name in LEVELS else False for name in (*LEVELS, "names", "where", "or-none")
    }
    of_rows: List[Json] = []
    for name, table in _collect_tables().items():
        row = kinds.named(f"{name} row", _make_row(table, kinds.expected))
        row = kinds.named(f"{name} rows", _make_joined(row, f"{name} rows"))
        for how in ("every", "some"):
            names: Node = {"properties": {how: {"const": name}}, "required": [how]}
            of_rows.append({"if": names, "then": {"properties": {"require": row, "where": row}}})
    quantified: Node = {"anyOf": [{"required": [how, "require"]} for how in ("every", "some")]}
    return {
        **_make_closed(schemas),
        "required": ["name"],
        "anyOf": [{"required": [form]} for form in (*LEVELS, *FORMS)],
        "if": {"anyOf": [{"required": ["every"]}, {"required": ["some"]}]},
        "then": {
            **quantified,
            "properties": {**dict.fromkeys(("every", "some"), _make_enum(*_collect_tables()))},
            "allOf": of_rows,
        },
        "else": {"properties": places},
    }


# facts


def _make_families(typed: Typed, *, described: bool) -> Dict[str, Node]:
    return {
        name: _make_declared(declaration.load_family(name), typed, described=described)
        for name in declaration.list_families()
    }


def _make_declared(declared: Union[Group, Leaf, Table], typed: Typed, *, described: bool) -> Node:
    # The summary only: the pages of the manual are a sixth of the schema. `explain` prints them.
    about: Node = {"description": inspect.cleandoc(declared.about).split("\n\n")[0]} if described else {}
    if isinstance(declared, Group):
        members = declared.members.items()
        return {
            **about,
            **_make_closed({name: _make_declared(member, typed, described=described) for name, member in members}),
        }
    return {
        **about,
        **(typed(declared.kind) if isinstance(declared, Leaf) else _make_mapping(_make_row(declared, typed))),
    }


def _make_row(table: Table, typed: Typed) -> Node:
    """Return the schema of a row: an expectation of the row itself, or its columns."""
    if not table.columns:
        return typed(table.row)
    columns = {name: typed(kind) for name, kind in table.columns.items()}
    columns.update(_make_questions(table, typed))
    row = typed(table.row)
    return {"if": {"type": "object"}, "then": _make_closed({**columns, "is": row, **WORD_SCHEMAS}), "else": row}


def _make_questions(table: Table, typed: Typed) -> Dict[str, Node]:
    """Return the schemas of columns that are asked with arguments, such as `yaml: {/a/b: false}`."""
    questions: Dict[str, Node] = {}
    asked = table.columns.questions if isinstance(table.columns, LazyColumns) else {}
    for name, question in asked.items():
        answers: Node = {**_make_mapping(typed(question.kind)), "properties": {**WORD_SCHEMAS}}
        if question.form == "patterns":
            patterns: Node = {"anyOf": [LINE, LINES]}
            answers = _make_closed({**dict.fromkeys(LINE_OPERATORS, patterns), **WORD_SCHEMAS})
        questions[name] = {"anyOf": [typed(question.kind), answers]} if name in [*table.columns] else answers
    return questions


def _make_joined(row: Node, name: str) -> Node:
    """Return the schema of a pattern of a row, or of joined patterns."""
    several, pattern = _make_list(_make_ref(name)), _make_ref(name)
    patterns: List[Json] = [
        _make_closed({"any": several}),
        _make_closed({"all": several}),
        _make_closed({"not": pattern}),
    ]
    return {"anyOf": [row, *patterns]}


def _collect_tables() -> Dict[str, Table]:
    """Return the tables with enumerable rows, by the dotted name for `every`."""
    tables: Dict[str, Table] = {}
    for name in declaration.list_families():
        declared = declaration.load_family(name)
        members: Mapping[str, Union[Leaf, Table]] = declared.members if isinstance(declared, Group) else {"": declared}
        of_rows = {
            f"{name}.{member}".rstrip("."): table for member, table in members.items() if isinstance(table, Table)
        }
        tables.update({path: table for path, table in of_rows.items() if table.closed or table.globs})
    return tables


# expectations


class _KindSchemas:
    """Schema definitions of the types of facts, created on first use."""

    def __init__(self) -> None:
        self.made: Dict[str, Node] = {}
        self._names: Dict[Tuple[str, str], str] = {}

    def named(self, name: str, definition: Node) -> Node:
        """Store a definition under a name, and return a reference to it."""
        self.made[name.replace(" ", "-")] = definition
        return _make_ref(name)

    def expected(self, kind: Kind[Datum]) -> Node:
        """Return the schema of an expectation."""
        return self._define(kind, "", {})

    def stated(self, kind: Kind[Datum]) -> Node:
        """Return the schema of an expectation with its words: why, fix, see, aliases."""
        try:
            kind.strength("")
            more = {**WORD_SCHEMAS, "aliases": LINES}
        except ValueError:
            more = WORD_SCHEMAS
        return self._define(kind, " stated", more)

    def untyped(self) -> Node:
        """Return the schema of an expectation of a parameter of any type."""
        any_ = _make_ref("untyped")
        several = {name: _make_list(any_) for name in ("any", "all", "none")}
        texts = dict.fromkeys(("equals", "matches", "within", "includes", "param"), TEXT)
        return self.named(
            "untyped",
            _select_by_shape(
                TEXT, _make_list(any_), _make_closed({**several, **texts, **dict.fromkeys(("is", "not", "cpus"), any_)})
            ),
        )

    def _make_members(self, kind: Kind[Datum]) -> Node:
        """Return the schema of a list of expectations."""
        member = self.expected(kind)
        name = f"{str(member['$ref']).rpartition('/')[2]}s"
        return _make_ref(name) if name in self.made else self.named(name, _make_list(member))

    def _define(self, kind: Kind[Datum], form: str, more: Mapping[str, Node]) -> Node:
        noun = self._names.setdefault((type(kind).__name__, kind.noun), f"{type(kind).__name__} {len(self._names)}")
        name = f"{noun}{form}"
        if name.replace(" ", "-") not in self.made:
            self.named(name, {})  # reserve the name, because the definition refers to itself
            inner = self._make_members(kind.element if isinstance(kind, SetOf) else kind)
            own = _make_operators(kind, self.expected(kind), inner)
            if isinstance(kind, FreeText):
                own["cpus"] = self.expected(CpuList())
            operators = _make_closed({**own, **more})
            plain: Node = _select_by_shape(_make_scalar(kind), inner, operators)
            # Words are written only in a mapping; every other shape is that of the expectation without words.
            self.named(name, {**plain, "else": self.expected(kind)} if form else plain)
        return _make_ref(name)


def _make_operators(kind: Kind[Datum], expected: Node, inner: Node) -> Dict[str, Node]:
    operators = {
        "is": expected,
        SAME: LINE,
        **dict.fromkeys(("any", "all", "none"), inner),
        "param": LINE,
    }
    if isinstance(kind, SetOf):
        operators.update({name: {"anyOf": [inner, {"type": "array", "maxItems": 0}]} for name in ("only", "equals")})
    else:
        operators.update({"not": expected, "equals": TEXT})
    operators.update(dict.fromkeys(kind.relations, TEXT))
    if isinstance(kind.element if isinstance(kind, SetOf) else kind, FreeText):
        operators["matches"] = TEXT
    return operators


def _make_scalar(kind: Kind[Datum]) -> Node:
    forms: List[Json] = [{"enum": ["present", "absent", *kind.words]}]
    if not isinstance(kind, SetOf):
        forms.append({"type": SCALAR, "pattern": kind.pattern})
    if kind.ordered:
        forms.append({"type": "string", "pattern": r"[\s,<>=|]" if kind.spans else r"^\s*([<>=]|!=)"})
    return {"description": kind.noun, "anyOf": forms}


def _select_by_shape(scalar: Node, sequence: Node, mapping: Node) -> Node:
    """Return a schema that selects one of three by the shape of the value.

    Unlike `anyOf`, this lets an editor report the errors of the selected schema.
    """
    otherwise: Node = {"if": {"type": "array"}, "then": sequence, "else": scalar}
    return {"if": {"type": "object"}, "then": mapping, "else": otherwise}


# basic schemas


def _make_closed(properties: Mapping[str, Json]) -> Node:
    return {"type": "object", "properties": {**properties}, "additionalProperties": False, "minProperties": 1}


def _make_mapping(values: Node) -> Node:
    return {"type": "object", "additionalProperties": values, "minProperties": 1}


def _make_list(items: Node) -> Node:
    return {"type": "array", "items": items, "minItems": 1}


def _make_enum(*values: Json) -> Node:
    return {"enum": [*values]}


def _make_ref(name: str) -> Node:
    return {"$ref": f"#/$defs/{name.replace(' ', '-')}"}
