"""Match a mapping of facts against the declared facts, and collect all errors."""

from __future__ import annotations

import re

from nodespec.author.spec.rule_parts import NodeParts, merge_words, split_node
from nodespec.errors import ConsequentError, DocumentError, ErrorCollector, FilePosition, UsageError, suggest_name
from nodespec.facts import declaration
from nodespec.facts.declaration import Group, LazyColumns, Leaf, Place, Table
from nodespec.facts.value_numbers import Size
from nodespec.facts.value_types import Datum, FreeText, Kind, SetOf, begins_with_operator
from nodespec.judge import expectation
from nodespec.judge.expectation import Expect
from nodespec.judge.pattern import SAME, Clause
from nodespec.light_typing import TYPE_CHECKING, TypeVar, cast
from nodespec.model.document import (
    Map,
    Node,
    Seq,
    Word,
    iterate_items,
    make_mapping,
    make_sequence,
    make_word,
    require_distinct,
    require_text,
)
from nodespec.model.plan import Data, cast_node
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Iterator, List, Mapping, Optional, Tuple

    from nodespec.author.spec.params import BoundParams
    from nodespec.author.spec.rule_parts import Words
    from nodespec.facts.questions import Question
    from nodespec.model.plan import SpecParam

LINE_OPERATORS = {"matches": "present", "none": "absent"}  # of `lines`: what a matching line must be
LIST_OPERATORS = ("any", "all", "none", "only")  # operators that take a list of expectations
T = TypeVar("T")


class StatedExpectation(NamedTuple):
    """The expectation of one place: as data for the plan, and parsed."""

    clause: Clause
    data: Data
    words: Words
    at: FilePosition

    @property
    def id(self) -> str:
        """The dotted path of the place."""
        return ".".join(self.clause.place.path)


class FactWalk:
    """Walk mappings of facts. Errors are collected in `problems`."""

    def __init__(
        self, params: BoundParams, problems: List[DocumentError], warnings: Optional[List[DocumentError]] = None
    ) -> None:
        self.params, self.problems, self.warnings = params, problems, warnings
        self._tried: Dict[Tuple[str, int], Kind[Datum]] = {}  # parameters whose choices are all valid for a type

    def guarded(self, work: Iterator[T]) -> Iterator[T]:
        """Yield the items of an iteration up to its first error, and collect the error."""
        with ErrorCollector(self.problems):
            yield from work

    def family(self, name: Word, node: Node) -> Iterator[StatedExpectation]:
        """Yield the statements on the facts of a family."""
        try:
            declared = declaration.load_family(name)
        except LookupError:
            raise DocumentError(
                name, f"unknown family of facts `{name}`{suggest_name(name, declaration.list_families())}"
            ) from None
        if isinstance(declared, Table):
            yield from self._walk_table((name,), declared, node)
            return
        for member, below in iterate_items(node, f"`{name}`"):
            yield from self.guarded(self._walk_member(name, declared, member, below))

    def _walk_member(self, family: str, declared: Group, name: Word, node: Node) -> Iterator[StatedExpectation]:
        fact = declared.members.get(name)
        if fact is None:
            raise DocumentError(name, f"unknown fact `{name}` of `{family}`{suggest_name(name, declared.members)}")
        if isinstance(fact, Table):
            yield from self._walk_table((family, name), fact, node)
        else:
            try:
                yield self._state_expectation(Place((family, str(name)), fact), split_node(node), name.at)
            except ConsequentError:
                raise
            except DocumentError as error:
                raise DocumentError(
                    error.node, f"{error.args[0]}{_suggest_version(family, declared, fact, error.node)}"
                ) from None

    def _walk_table(self, owner: Tuple[str, ...], table: Table, node: Node) -> Iterator[StatedExpectation]:
        rows: Dict[str, Word] = {}
        for name, below in iterate_items(node, f"`{'.'.join(owner)}`"):
            yield from self.guarded(self._walk_row(owner, table, name, below, rows))

    def _walk_row(
        self, owner: Tuple[str, ...], table: Table, name: Word, node: Node, rows: Dict[str, Word]
    ) -> Iterator[StatedExpectation]:
        key = _read_row_key(table, name)
        if key in rows:
            raise DocumentError(name, f"`{name}` is a duplicate of `{rows[key]}` in line {rows[key].at.line}")
        rows[key] = name
        yield from self.row(Place((*owner, key), table, key), node, name.at)

    def row(self, place: Place, node: Node, position: FilePosition) -> Iterator[StatedExpectation]:
        """Yield the statements on one row: on the row itself, and on its columns.

        In a table with columns, the key `is` states the expectation of the row itself.
        """
        table, parts = place.fact, split_node(node)
        if not (isinstance(table, Table) and table.columns and isinstance(node, Map)):
            yield self._state_expectation(place, parts, position)
            return
        if parts.aliases:
            raise DocumentError(parts.aliases[0], f"aliases are not allowed for `{'.'.join(place.owner)}`")
        for name, below in iterate_items(parts.rest, f"`{'.'.join(place.path)}`"):
            if name == "is":
                yield from self.guarded(iter([self._state_expectation(place, parts._replace(expect=below), position)]))
            else:
                yield from self.guarded(self._walk_column(place, table, name, below, parts.words))

    def _walk_column(
        self, row: Place, table: Table, name: Word, node: Node, words: Words
    ) -> Iterator[StatedExpectation]:
        question = _find_question(table, name, node)
        if question:
            yield from self._walk_question(row, name, question, node, words)
            return
        if name not in table.columns:
            raise DocumentError(
                name, f"unknown column `{name}` of `{'.'.join(row.owner)}`{suggest_name(name, table.columns)}"
            )
        place, parts = row._replace(path=(*row.path, str(name)), column=str(name)), split_node(node)
        yield self._state_expectation(place, parts._replace(words=merge_words(words, parts.words)), name.at)

    def _walk_question(
        self, row: Place, name: Word, question: Question, node: Node, words: Words
    ) -> Iterator[StatedExpectation]:
        """Yield the statements below a question such as `yaml`, one for each argument."""
        parts = split_node(node)
        words = merge_words(words, parts.words)
        for argument, below in iterate_items(parts.rest, f"`{name}` of `{'.'.join(row.path)}`"):
            answers = _read_patterns(argument, below) if question.form == "patterns" else [(argument, below)]
            for text, expected in answers:
                try:
                    question.check(str(text))
                except ValueError as error:
                    raise DocumentError(text, str(error)) from None
                column = f"{name}:{text}"
                place, own = row._replace(path=(*row.path, column), column=column), split_node(expected)
                stated = iter([own._replace(words=merge_words(words, own.words))])
                yield from self.guarded(self._state_expectation(place, part, text.at) for part in stated)

    def _state_expectation(self, place: Place, parts: NodeParts, position: FilePosition) -> StatedExpectation:
        if isinstance(parts.expect, Map) and SAME in parts.expect:
            return self._state_same(place, parts, position)
        expect, bound = self.expectation(parts.expect, place.kind)
        data: Data = {"fact": cast_node([*place.path]), "expect": cast_node(bound)}
        if not parts.aliases:
            return StatedExpectation(Clause(place, expect), data, parts.words, position)
        try:
            place.kind.strength("")
        except ValueError:
            raise DocumentError(parts.aliases[0], f"aliases are not allowed for `{'.'.join(place.path)}`") from None
        keys = _read_aliases(place, parts.aliases)
        others = tuple(place._replace(path=(*place.owner, key), key=key) for key in keys)
        return StatedExpectation(
            Clause(place, expect, others), {**data, "aliases": cast_node(keys)}, parts.words, position
        )

    @staticmethod
    def _state_same(place: Place, parts: NodeParts, position: FilePosition) -> StatedExpectation:
        """Parse `{same-as: PLACE}`: the value of another fact of the host."""
        from nodespec.judge.equality import check_types  # noqa: PLC0415 - few specs compare two facts
        from nodespec.output.facts_yaml import find_place  # noqa: PLC0415 - likewise

        name = cast("Map", parts.expect)[SAME]
        if len(cast("Map", parts.expect)) > 1 or parts.aliases:
            raise DocumentError(name, f"`{SAME}` must be alone; write other expectations in a rule")
        try:
            other = find_place(require_text(name, SAME))
            if not isinstance(other, Place):
                raise ValueError(f"`{name}` is a family; name one of its facts")
            check_types(place, other)
        except (UsageError, ValueError) as error:
            raise error if isinstance(error, DocumentError) else DocumentError(name, str(error)) from None
        data: Data = {"fact": cast_node([*place.path]), "expect": cast_node({SAME: [*other.path]})}
        clause = Clause(place, Expect(f"the same as {'.'.join(other.path)}", bool), (), other)
        return StatedExpectation(clause, data, parts.words, position)

    def expectation(self, node: Node, kind: Kind[Datum]) -> Tuple[expectation.Expect, Node]:
        """Parse an expectation, and return it with its data.

        Parameters are replaced by their values, and every choice of a parameter must be valid there. The data keeps
        parameters whose default depends on the context; they are replaced when a host is judged.
        """
        used = [(name, self.params.known(name)) for name in _iter_params(node)]
        try:
            for name, param in used:
                self._try_choices(node, name, param, kind)
            expect = expectation.parse_expectation(cast_node(self._replace_params(node, {})), kind)
        except DocumentError as error:
            self.problems += [
                other for other in find_problems(self._replace_params(node, {}), kind) if str(other) != str(error)
            ]
            raise
        if self.warnings is not None:
            self.warnings += warn_about_sizes(node, kind)
        keep = frozenset(str(name) for name, param in used if param.defaults)
        self.params.used |= bool(keep)
        return expect, self._replace_params(node, {}, keep)

    def _try_choices(self, node: Node, name: Word, param: SpecParam, kind: Kind[Datum]) -> None:
        """Parse an expectation with every choice of a parameter.

        An expectation that is only the parameter is parsed once for each type.
        """
        alone = (str(name), id(kind)) if isinstance(node, Map) and len(node) == 1 else None
        if alone in self._tried:
            return
        for choice in param.choices:
            expectation.parse_expectation(cast_node(self._replace_params(node, {name: choice})), kind)
        if alone:
            self._tried[alone] = kind

    def _replace_params(self, node: Node, choices: Mapping[str, str], keep: FrozenSet[str] = frozenset()) -> Node:
        """Replace the parameters in a node by their text, except those in `keep`."""
        if isinstance(node, Seq):
            return make_sequence(node.at, [self._replace_params(child, choices, keep) for child in node])
        if not isinstance(node, Map):
            return node
        below = {key: self._replace_params(child, choices, keep) for key, child in node.items()}
        name = below.get("param")
        if isinstance(name, Word) and name not in keep:
            del below["param"]
            value = make_word(choices.get(name, self.params[name].value), name.at)
            if not below:
                return value
            below = {"is": value, **below}
        return make_mapping(node.at, below.items())


def _find_question(table: Table, name: Word, node: Node) -> Optional[Question]:
    """Return the question of that name, if the node has arguments rather than an expectation of a column."""
    if not isinstance(table.columns, LazyColumns):
        return None
    if name in [*table.columns] and not (isinstance(node, Map) and any(re.search(r"[*?\[]", key) for key in node)):
        return None
    return table.columns.questions.get(str(name))


def _read_patterns(operator: Word, node: Node) -> Iterator[Tuple[Word, Word]]:
    """Yield the patterns of `lines`, each with `present` or `absent`."""
    if operator not in LINE_OPERATORS:
        raise DocumentError(operator, f"unknown operator `{operator}` of lines; expected `matches` or `none`")
    for pattern in node if isinstance(node, Seq) else (node,):
        text = require_text(pattern, str(operator))
        expectation.parse_matches(cast_node(pattern), FreeText())
        yield make_word(text, pattern.at), make_word(LINE_OPERATORS[operator], pattern.at)


def _read_aliases(place: Place, names: List[Word]) -> List[str]:
    """Return the keys of the aliases. Raises `DocumentError` for a duplicate."""
    keys = {place.key: None}
    for name in names:
        key = _read_row_key(place.fact, name) if isinstance(place.fact, Table) else str(name)
        if key in keys:
            raise DocumentError(name, f"duplicate alias `{name}`")
        keys[key] = None
    return [*keys][1:]


def _iter_params(node: Node) -> Iterator[Word]:
    """Yield the parameters of an expectation.

    Raises `DocumentError` for a duplicate in a list.
    """
    if isinstance(node, Map) and "param" in node:
        name = node["param"]
        if not isinstance(name, Word) or "is" in node:
            raise DocumentError(name, "`param` must be the name of a param, without `is` beside it")
        yield name
    if isinstance(node, Seq):
        require_distinct(node)
    for below in node.values() if isinstance(node, Map) else node if isinstance(node, Seq) else ():
        yield from _iter_params(below)


def _suggest_version(family: str, declared: Group, fact: Leaf, node: object) -> str:
    """Suggest the version of the family if a range is given for a text."""
    version = declared.members.get("version")
    ranged = not fact.kind.ordered and isinstance(node, Word) and begins_with_operator(node)
    meant = ranged and isinstance(version, Leaf) and version.kind.ordered
    return f"; for a range use `{family}.version`" if meant else ""


def _read_row_key(table: Table, name: Word) -> str:
    try:
        return declaration.parse_row_key(table, str(name))
    except ValueError as error:
        raise DocumentError(name, str(error)) from None


def find_problems(node: Node, kind: Kind[Datum]) -> Iterator[DocumentError]:
    """Yield the errors of the parts of an expectation; each part is parsed separately."""
    inner = kind.element if isinstance(kind, SetOf) else kind
    if isinstance(node, Seq):
        parts = [(part, inner) for part in node]
    elif isinstance(node, Map):
        parts = [
            (part, kind) for name, part in node.items() if name in LIST_OPERATORS and part and isinstance(part, Seq)
        ]
    else:
        parts = []
    for part, part_kind in parts:
        try:
            expectation.parse_expectation(cast_node(part), part_kind)
        except DocumentError as error:
            within = list(find_problems(part, part_kind))
            yield from within or [error]


def warn_about_sizes(node: Node, kind: Kind[Datum]) -> Iterator[DocumentError]:
    """Yield a warning for each size below 1 Ki without a unit.

    `>=2` of memory means two bytes, which is rarely intended.
    """
    if isinstance(node, Word) and isinstance(kind, Size):
        for bound in re.findall(r"\w+", node):
            if bound.isascii() and bound.isdigit() and 0 < int(bound) < kind.UNITS["Ki"]:
                yield DocumentError(
                    node, f"`{node}`: {bound} is a number of bytes; write a unit, as in {bound}Gi or {bound}Mi"
                )
    for below in node.values() if isinstance(node, Map) else node if isinstance(node, Seq) else ():
        yield from warn_about_sizes(below, kind)
