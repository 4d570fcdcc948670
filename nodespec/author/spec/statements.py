"""Parse the requirements of a document, and verify their satisfiability.

Each statement must be able to pass and to fail.
"""

from __future__ import annotations

from nodespec.author.spec.fact_tree import FactWalk, StatedExpectation
from nodespec.author.spec.rule_parts import (
    LEVELS,
    Words,
    find_table,
    iter_rules,
    joins_rows,
    merge_words,
    read_globs,
    read_rule_level,
    read_rule_name,
    read_words,
)
from nodespec.author.spec.satisfiability import SharedCondition, find_outcomes
from nodespec.errors import ConsequentError, DocumentError, ErrorCollector, FilePosition
from nodespec.facts.declaration import Place
from nodespec.judge.expectation import REQUIREMENT_KEYS
from nodespec.judge.pattern import PARAMS, Clause, Joined, Pattern, make_param_place
from nodespec.light_typing import TYPE_CHECKING, TypeVar
from nodespec.model.document import (
    Map,
    Node,
    Seq,
    Word,
    find_unknown_keys,
    iterate_items,
    make_mapping,
    make_word,
    require_list,
)
from nodespec.model.plan import Data, cast_node
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Dict, Iterator, List, Optional, Tuple, TypeAlias

    from nodespec.author.spec.params import BoundParams

T = TypeVar("T")

FORMS = ("any", "every", "some")  # forms of a rule, besides require and recommend
MAX_ALTERNATIVES = 300  # maximum alternatives of one `any`; the time grows with the square of their number
RULE_KEYS = ("name", *REQUIREMENT_KEYS, "tags", "when", *LEVELS, "level", *FORMS, "names", "where", "or-none")


class Statement(NamedTuple):
    """One requirement as stated in a document. `rule` is the name of its rule."""

    id: str
    level: str
    rule: str
    data: Data
    pattern: Pattern
    when: Data
    condition: Optional[Pattern]
    words: Words
    at: FilePosition


Condition: TypeAlias = "Tuple[Data, Optional[Pattern]]"
ALWAYS: Condition = ({}, None)


class _Head(NamedTuple):
    """The name, level, condition and words of a rule."""

    name: Word
    level: str
    when: Condition
    words: Words


class StatementReader:
    """Read the requirements of documents. Errors are collected in `problems`."""

    def __init__(
        self, params: BoundParams, problems: List[DocumentError], warnings: Optional[List[DocumentError]] = None
    ) -> None:
        self.params, self.problems = params, problems
        self.walk = FactWalk(params, problems, warnings)
        self.guarded = self.walk.guarded
        self._given: Dict[int, SharedCondition] = {}  # conditions by id(); their statements keep them alive

    def statements(self, document: Map) -> List[Statement]:
        """Return all requirements and recommendations of a document, in order."""
        statements: Dict[str, Statement] = {}
        for statement in self._read_all(document):
            if statement.id in statements:
                self.problems.append(
                    DocumentError(make_word(statement.id, statement.at), f"duplicate requirement `{statement.id}`")
                )
            statements[statement.id] = statement
        return list(statements.values())

    def _read_all(self, document: Map) -> Iterator[Statement]:
        for level in LEVELS:
            if level in document:
                yield from self.guarded(self._read_level(document[level], level, "", ALWAYS, {}))
        if "rules" in document:
            names: Dict[str, FilePosition] = {}
            for node in self.guarded(iter(iter_rules(document["rules"], self.problems))):
                yield from self.guarded(self._read_rule(node, names))

    def _read_level(self, node: Node, level: str, rule: str, when: Condition, words: Words) -> Iterator[Statement]:
        """Yield the statements under `require` or `recommend` of a document or rule."""
        head = (f"{rule}." if rule else "") + ("recommended." if level == "recommend" else "")
        for name, below in iterate_items(node, f"`{level}`"):
            if name == PARAMS:
                self.problems.append(DocumentError(name, "a param is not a fact of the node; use it in `when`"))
                continue
            for stated in self.guarded(self.walk.family(name, below)):
                texts = merge_words(words, stated.words)
                statement = Statement(
                    head + stated.id, LEVELS[level], rule, stated.data, stated.clause, *when, texts, stated.at
                )
                yield from self.guarded(self._check_satisfiability(statement))

    def _check_satisfiability(self, statement: Statement) -> Iterator[Statement]:
        """Yield the statement if it can pass and fail, also under its condition.

        Raises `DocumentError` otherwise.
        """
        node = make_word(statement.id, statement.at)
        name = (
            f"`{statement.id}: {statement.pattern.expect.text}`"
            if isinstance(statement.pattern, Clause)
            else f"`{statement.id}`"
        )
        conditions = [(None, ""), (self._share_condition(statement), " under its `when`")]
        for given, where in conditions[: 2 if statement.condition else 1]:
            ways = find_outcomes(statement.pattern, given)
            if ways == {"pass"}:
                raise DocumentError(node, f"{name} cannot fail{where}")
            if len(ways) < 2:  # noqa: PLR2004 - pass and fail
                raise DocumentError(node, f"{name} cannot pass{where}")
        yield statement

    def _share_condition(self, statement: Statement) -> Optional[SharedCondition]:
        if statement.condition is None:
            return None
        if id(statement.condition) not in self._given:
            self._given[id(statement.condition)] = SharedCondition(statement.condition)
        return self._given[id(statement.condition)]

    # rules

    def _read_rule(self, node: Map, names: Dict[str, FilePosition]) -> Iterator[Statement]:
        """Yield the statements of a rule.

        Its parts are parsed even after an error in its name, words or level, so that all errors are reported.
        """
        before = len(self.problems)
        self.problems += find_unknown_keys(node, RULE_KEYS)
        words: Dict[str, str] = {}
        name, level = make_word("rule", node.at), "required"
        with ErrorCollector(self.problems):
            name = read_rule_name(node, names)
        for key in (*REQUIREMENT_KEYS, "tags"):
            with ErrorCollector(self.problems):
                words.update(read_words(make_mapping(node.at, [(key, node[key])])) if key in node else {})
        with ErrorCollector(self.problems):
            level = read_rule_level(node)
        when = self._read_when(node, name)
        form = self._select_form(node, name)
        for statement in self._read_body(node, form, _Head(name, level, when or ALWAYS, words)):
            if when and len(self.problems) == before:
                yield statement

    def _read_when(self, node: Map, name: Word) -> Optional[Condition]:
        """Return the condition of a rule, or None after an error."""
        if "when" not in node:
            return ALWAYS
        with ErrorCollector(self.problems):
            when = self.condition(node["when"])
            if len(find_outcomes(when[1])) < 2:  # noqa: PLR2004
                raise DocumentError(node["when"], f"the `when` of `{name}` is always true or never true")
            return when
        return None

    def _read_body(self, node: Map, form: str, head: _Head) -> Iterator[Statement]:
        if form == "require":
            for key in LEVELS:
                if key in node:
                    yield from self.guarded(self._read_level(node[key], key, head.name, head.when, head.words))
            return
        data, pattern = self._read_any(node[form]) if form == "any" else self._read_quantified(node, form)
        name = str(head.name)
        statement = Statement(name, head.level, name, data, pattern, *head.when, head.words, head.name.at)
        yield from self._check_satisfiability(statement)

    @staticmethod
    def _select_form(node: Map, name: Word) -> str:
        forms = [form for form in FORMS if form in node]
        plain = [level for level in LEVELS if level in node]
        if len(forms) > 1 or (not forms and not plain) or (forms == ["any"] and plain):
            raise DocumentError(
                name, f"rule `{name}` must have `require` or `recommend`, or one of `any`, `every` and `some`"
            )
        if forms and forms[0] != "any" and plain != ["require"]:
            raise DocumentError(name, f"`{forms[0]}` needs `require` beside it, not `recommend`")
        for key, needs in (
            ("names", ("every", "some")),
            ("where", ("every", "some")),
            ("or-none", ("every", "some")),
            ("level", FORMS),
        ):
            if key in node and not any(form in needs for form in forms):
                raise DocumentError(
                    node[key], f"`{key}` is only allowed with {' or '.join(f'`{need}`' for need in needs)}"
                )
        return forms[0] if forms else "require"

    def condition(self, node: Node) -> Tuple[Data, Pattern]:
        """Parse a pattern of facts and parameters, joined by any, all and not."""
        parts: List[Tuple[Data, Pattern]] = []
        before = len(self.problems)
        for name, below in iterate_items(node, "a pattern"):
            parts += self.guarded(self._read_parts(name, below))
        if not parts or len(self.problems) > before:  # the error is already reported
            raise ConsequentError
        return self._join_patterns("all", parts, node)

    def _read_parts(self, name: Word, below: Node) -> Iterator[Tuple[Data, Pattern]]:
        if name in ("any", "all"):
            yield self._join_patterns(name, self._read_patterns(require_list(below)), below)
        elif name == "not":
            data, pattern = self.condition(below)
            yield {"not": cast_node(data)}, Joined("not", (pattern,))
        elif name == PARAMS:
            for param, value in iterate_items(below, "`params`"):
                yield from self.guarded(iter_one(lambda: self._read_param(param, value)))  # noqa: B023 - called at once
        else:
            for stated in self.walk.family(name, below):
                if stated.words:
                    raise DocumentError(
                        name, "why, fix, see and tags are not allowed in a pattern; move them to the requirement"
                    )
                yield stated.data, stated.clause

    def _read_patterns(self, patterns: Seq) -> List[Tuple[Data, Pattern]]:
        """Parse several patterns, and report the errors of all of them."""
        before = len(self.problems)
        parsed = [pattern for node in patterns for pattern in self.guarded(iter_one(lambda: self.condition(node)))]  # noqa: B023
        if len(self.problems) > before or len(parsed) < len(patterns):
            raise ConsequentError
        return parsed

    def _read_param(self, name: Word, node: Node) -> Tuple[Data, Pattern]:
        place = make_param_place(self.params.known(name))
        expect, bound = self.walk.expectation(node, place.kind)
        return {"param": cast_node(str(name)), "expect": cast_node(bound)}, Clause(place, expect)

    def _read_any(self, node: Node) -> Tuple[Data, Pattern]:
        alternatives = require_list(node)
        if len(alternatives) < 2:  # noqa: PLR2004
            raise DocumentError(node, "`any` needs at least two alternatives")
        if len(alternatives) > MAX_ALTERNATIVES:
            raise DocumentError(
                node, f"too many alternatives of `any` ({len(alternatives)}); the maximum is {MAX_ALTERNATIVES}"
            )
        return self._join_patterns("any", self._read_patterns(alternatives), node)

    @staticmethod
    def _join_patterns(how: str, parts: List[Tuple[Data, Pattern]], node: Node) -> Tuple[Data, Pattern]:
        if not parts:
            raise DocumentError(node, "a pattern must not be empty")
        if len(parts) == 1:
            return parts[0]
        data: Data = {how: cast_node([data for data, _ in parts])}
        return data, Joined(how, tuple(pattern for _, pattern in parts))

    def _read_quantified(self, node: Map, form: str) -> Tuple[Data, Pattern]:
        """Parse `every` or `some`. Satisfiability is decided for the pattern of one row."""
        row = find_table(node[form], globs="names" in node)
        before = len(self.problems)
        read: Dict[str, Tuple[Data, Pattern]] = {}
        for key in ("require", "where"):
            with ErrorCollector(self.problems):
                read.update({key: self._read_row(row, node[key])} if key in node else {})
        if len(self.problems) > before or "require" not in read or ("where" in node) > ("where" in read):
            raise ConsequentError
        require, pattern = read["require"]
        data: Data = {form: cast_node([*row.owner]), "require": cast_node(require)}
        if "names" in node:
            data["names"] = cast_node(read_globs(node["names"], row))
        if "where" in read:
            where, condition = read["where"]
            data["where"] = cast_node(where)
            if len(find_outcomes(pattern, condition)) < 2:  # noqa: PLR2004
                raise DocumentError(
                    node["where"], "in rows that match `where`, `require` always passes or always fails"
                )
        if "or-none" in node:
            if node["or-none"] != "true":
                raise DocumentError(node["or-none"], "`or-none` must be true; otherwise remove it")
            data["or-none"] = cast_node("true")
        return data, pattern

    def _read_row(self, row: Place, node: Node) -> Tuple[Data, Pattern]:
        """Parse a pattern of the columns of a row, or of its value if it has none."""
        if isinstance(node, Map) and list(node) in (["any"], ["all"], ["not"]) and joins_rows(node):
            how = next(iter(node))
            below = node[how]
            if how == "not":
                data, pattern = self._read_row(row, below)
                return {"not": cast_node(data)}, Joined("not", (pattern,))
            return self._join_patterns(how, [self._read_row(row, part) for part in require_list(below)], node)
        before = len(self.problems)
        stated = list(self.walk.row(row, node, node.at))
        if len(self.problems) > before or not stated:
            raise ConsequentError
        if any(column.words or column.clause.aliases for column in stated):
            raise DocumentError(
                node,
                "why, fix, see, tags and aliases are not allowed in a pattern of rows; move the words to the rule",
            )
        return self._join_patterns("all", [({**_make_column_data(column)}, column.clause) for column in stated], node)


def _make_column_data(stated: StatedExpectation) -> Data:
    return {"column": cast_node(stated.clause.place.column), "expect": stated.data["expect"]}


def iter_one(make: Callable[[], T]) -> Iterator[T]:
    """Yield the result of a function, which is called on the first iteration."""
    yield make()
