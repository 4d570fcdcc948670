"""Resolve specs into one plan: documents, ancestors, parameters and drops."""

from __future__ import annotations

from collections import Counter

from nodespec.author.spec.documents import Documents
from nodespec.author.spec.params import BoundParams, bind_param, parse_declaration
from nodespec.author.spec.rule_parts import merge_words
from nodespec.author.spec.satisfiability import find_outcomes
from nodespec.author.spec.statements import Statement, StatementReader
from nodespec.errors import DocumentError, ErrorCollector, FilePosition, UsageError, suggest_name
from nodespec.judge.expectation import REQUIREMENT_KEYS
from nodespec.judge.pattern import Joined
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model import plan
from nodespec.model.document import Node, Word, make_word, require_text
from nodespec.model.plan import Data, Plan, Requirement, Spec, cast_node

if TYPE_CHECKING:
    from typing import Dict, List, Mapping, Optional, Sequence, Set, Tuple, TypeAlias

    from nodespec.author.spec.library import Library

StatementsByDocument: TypeAlias = (
    "Dict[str, Statement]"  # statements of one id, by document, because each document counts once
)
StatementsById: TypeAlias = "Dict[str, StatementsByDocument]"
MAX_SUGGESTIONS = 10  # the search for a similar name is slow


def resolve(
    names: Sequence[str],
    library: Library,
    given: Mapping[str, str],
    *,
    trial: bool = False,
    warnings: Optional[List[DocumentError]] = None,
) -> Plan:
    """Resolve the named specs into a plan. Raises `UsageError` with all errors.

    `trial` is for reading specs without judging: unset parameters get a sample value, and unknown ones that are set are
    ignored. `warnings` receives statements that are valid but probably not intended.
    """
    problems: List[DocumentError] = []
    documents = Documents(library, problems)
    asked = documents.collect(names)
    params = _bind_params(documents, given, problems, trial=trial)
    made = _Composition(documents, params, problems, warnings)
    blocks = made.compose(asked)
    if params.used:  # the defaults of the other context must be satisfiable too
        _Composition(documents, params.at_rest(), problems, None).compose(asked)
    if not blocks and not problems:
        problems.append(
            DocumentError(make_word(names[0], FilePosition(names[0], 1, 1)), "the spec has no requirements")
        )
    if problems:
        raise UsageError(*dict.fromkeys(map(str, sorted(problems, key=_get_position))))
    heads = tuple(made.make_head(key, name) for key, name in asked.items())
    return Plan(heads, tuple(params.values()), _make_requirements(blocks))


def _bind_params(
    documents: Documents, given: Mapping[str, str], problems: List[DocumentError], *, trial: bool
) -> BoundParams:
    """Return all parameters with their values.

    A parameter with an error is marked as broken, so that its uses are not reported as well.
    """
    params = BoundParams(missing="params" in documents.lost)
    names: Dict[str, Word] = {}  # names with the position of their first declaration
    for document in documents.known.values():
        with ErrorCollector(problems):
            for name, node in document.params():
                names.setdefault(str(name), name)
                if name in params.broken:
                    continue
                before = len(problems)
                with ErrorCollector(problems):
                    params[name] = parse_declaration(name, node, params.get(name), problems)
                params.broken |= {str(name)} if len(problems) > before else set()
    for key, declaration in names.items():
        with ErrorCollector(problems):
            if key not in params.broken:
                params.broken.add(key)
                params[key] = bind_param(params[key], declaration, given.get(key), trial=trial)
                params.broken.remove(key)
    if not trial and not params.missing:
        unknown = [name for name in given if name not in names]
        problems += [
            DocumentError(None, f"--set {name}: no spec has a param of this name{suggest_name(name, names)}")
            for name in unknown
        ]
    return params


class _Composition:
    """The composition of documents: inherited statements, minus drops, plus own ones."""

    def __init__(
        self,
        documents: Documents,
        params: BoundParams,
        problems: List[DocumentError],
        warnings: Optional[List[DocumentError]],
    ) -> None:
        self.documents, self.problems = documents, problems
        self.reader = StatementReader(params, problems, warnings)
        self.params = params
        self.stated: Dict[str, StatementsById] = {}  # the composed statements of each document
        self.drops: Dict[str, List[str]] = {}
        self.damaged: Set[str] = set()  # documents with errors: a drop may refer to a part that could not be read
        self.users = Counter(parent for document in documents.known.values() for parent in document.parents)

    def compose(self, asked: Mapping[str, str]) -> StatementsById:
        """Compose the requested documents."""
        self.users.update([*asked, *asked])  # counted twice, because `head` reads them again
        for key in self.documents.known:
            self._compose_document(key)
        return self._join_statements(tuple(asked))

    def make_head(self, key: str, name: str) -> Spec:
        """Return the record of a named spec for the report."""
        ancestors = self.documents.list_ancestors(key)
        *others, last = documents = [self.documents.known[ancestor] for ancestor in ancestors]
        names = {name for document in documents for name, _ in document.params()}
        params = tuple(param for param in self.params.values() if param.name in names)
        return Spec(
            name=last.text("name") or name,
            title=last.text("title"),
            digest=plan.compute_digest(_make_requirements(self.stated[key]), params),
            sources=tuple(document.file for document in documents),
            extends=tuple(document.text("name") or document.file for document in others),
            drops=tuple(drop for ancestor in ancestors for drop in self.drops[ancestor]),
            notes=tuple(note for document in documents for note in document.notes),
        )

    def _compose_document(self, key: str) -> None:
        """Compose one document."""
        document = self.documents.known[key]
        blocks = self._join_statements(document.parents)
        self.drops[key] = []
        before = len(self.problems)
        with ErrorCollector(self.problems):
            if "drop" in document.body:
                complete = "extends" not in self.documents.lost and not self.damaged.intersection(document.parents)
                self._drop_statements(document.list("drop"), blocks, self.drops[key], whole=complete)
        statements = self.reader.statements(document.body)
        if len(self.problems) > before or self.damaged.intersection(document.parents):
            self.damaged.add(key)
        self.stated[key] = self._add_statements(blocks, [(key, statement) for statement in statements])

    def _join_statements(self, keys: Sequence[str]) -> StatementsById:
        """Join the statements of several documents.

        Those of a document with only one user are moved, not copied.
        """
        if len(keys) == 1 and self.users[keys[0]] == 1 and keys[0] in self.stated:
            return self.stated.pop(keys[0])
        blocks: StatementsById = {}
        for key in keys:
            self._add_statements(blocks, [item for block in self.stated[key].values() for item in block.items()])
        return blocks

    def _drop_statements(
        self, nodes_: Sequence[Node], blocks: StatementsById, drops: List[str], *, whole: bool
    ) -> None:
        """Remove statements by globs of ids or names of rules.

        `drops` receives the texts for the report. If `whole` is true, all inherited statements were read, and a name
        that drops nothing is an error.
        """
        dropping, missed = DropIndex(blocks), 0
        for node in nodes_:
            with ErrorCollector(self.problems):
                name = require_text(node, "drop")
                gone = dropping.drop(name)
                if gone:
                    drops.append(f"{name} ({', '.join(gone)})" if gone != [name] else name)
                elif whole:
                    missed += 1
                    near = suggest_name(name, blocks) if missed <= MAX_SUGGESTIONS else ""
                    raise DocumentError(node, f"`{name}` matches no inherited requirement or rule{near}")

    def _add_statements(self, blocks: StatementsById, more: Sequence[Tuple[str, Statement]]) -> StatementsById:
        named = any(new.rule for _, new in more)
        rules = {statement.rule: key for block in blocks.values() for key, statement in block.items()} if named else {}
        for key, new in more:
            with ErrorCollector(self.problems):
                if new.rule and rules.setdefault(new.rule, key) != key:
                    where = self.documents.known[rules[new.rule]].file
                    raise DocumentError(
                        _make_node(new), f"rule `{new.rule}` is also defined in {where}; drop that rule to replace it"
                    )
                _add_statement(blocks, key, new)
        return blocks


class DropIndex:
    """An index of statements by globs of ids and by names of rules."""

    def __init__(self, blocks: StatementsById) -> None:
        from nodespec.judge.globs import GlobIndex  # noqa: PLC0415 - few specs have drops

        self.blocks = blocks
        self.names = GlobIndex(blocks)
        self.rules: Dict[str, List[str]] = {}
        for id_, block in blocks.items():
            for rule in {statement.rule for statement in block.values()}:
                self.rules.setdefault(rule, []).append(id_)

    def drop(self, name: str) -> List[str]:
        """Remove the statements that a name selects. Return their ids, in order."""
        matches = [*self.names.find_matches(name), *(self.rules.get(name, ()) if name else ())]
        dropped = [id_ for id_ in dict.fromkeys(matches) if id_ in self.blocks]
        for id_ in dropped:
            del self.blocks[id_]
        return dropped


def _add_statement(blocks: StatementsById, key: str, new: Statement) -> None:
    """Add a statement to those of its id: all of them must hold.

    Raises `DocumentError` if they contradict each other.
    """
    block = blocks.setdefault(new.id, {})
    if block.get(key) is new:
        return
    first = next(iter(block.values()), new)
    if first.data.get("fact") != new.data.get("fact"):
        raise DocumentError(_make_node(new), f"`{new.id}` is also the id of another place, at {first.at}")
    if block and "pass" not in find_outcomes(
        Joined("all", tuple(statement.pattern for statement in (*block.values(), new)))
    ):
        positions = ", ".join(str(statement.at) for statement in block.values())
        raise DocumentError(_make_node(new), f"`{new.id}` contradicts {positions}; no host can meet both")
    block[key] = new


def _make_requirements(blocks: StatementsById) -> Tuple[Requirement, ...]:
    return tuple(_make_requirement(tuple(block.values())) for block in blocks.values())


def _make_requirement(block: Sequence[Statement]) -> Requirement:
    first, words = block[0], block[0].words
    for statement in block[1:]:
        words = merge_words(words, statement.words)
    patterns = [*{repr(statement.data): statement.data for statement in block}.values()]
    why, fix, see = (words.get(word, "") for word in REQUIREMENT_KEYS)
    pattern: Data = first.data if len(patterns) == 1 else {"all": cast_node(patterns)}
    positions, tags = tuple(str(statement.at) for statement in block), tuple(words.get("tags", "").split())
    return Requirement(
        first.id, first.level, pattern, first.when, positions, why, fix, see, tags, words.get("fix_at_rest", "")
    )


def _make_node(statement: Statement) -> Node:
    return make_word(statement.id, statement.at)


def _get_position(error: DocumentError) -> Tuple[str, int, int]:
    position = getattr(error.node, "at", None)
    return position if isinstance(position, FilePosition) else ("", 0, 0)
