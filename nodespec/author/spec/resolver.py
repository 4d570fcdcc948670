"""Specs: documents, what they extend, their params and drops, joined into one plan before any host is looked at."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Dict, Iterable, Iterator, List, Mapping, Sequence, Tuple

from nodespec import __version__
from nodespec.author.spec import sysspec
from nodespec.author.spec.library import Library
from nodespec.author.spec.params import declared
from nodespec.author.spec.satisfiability import possible
from nodespec.author.spec.statements import Reader, Statement
from nodespec.author.spec.yaml_source import parse
from nodespec.errors import At, Mistake, Wrong, nearest
from nodespec.facts.value_types import Version
from nodespec.facts.versions import RELEASE
from nodespec.judge import expectation
from nodespec.judge.conclusion import selects
from nodespec.judge.expectation import WORDS
from nodespec.judge.pattern import Joined
from nodespec.model import plan
from nodespec.model.document import Map, Node, Word, items, known, listed, text, word
from nodespec.model.plan import Param, Plan, Requirement, Spec, nodes
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import TypeAlias

TOP = ("nodespec", "requires", "name", "title", "extends", "params", "drop", "require", "recommend", "rules")


class Document(NamedTuple):
    """A file, parsed. `parents` are what it extends; `notes` say what a foreign one asks that is not carried over."""

    file: str
    body: Map
    parents: Tuple[str, ...] = ()
    notes: Tuple[str, ...] = ()

    def text(self, key: str) -> str:
        """A text at the top, or nothing."""
        return text(self.body[key], key) if key in self.body else ""

    def list(self, key: str) -> Sequence[Node]:
        """A list at the top, or nothing."""
        return listed(self.body[key]) if key in self.body else ()

    def params(self) -> Iterable[Tuple[Word, Node]]:
        """The params that it declares."""
        return items(self.body["params"], "`params`") if "params" in self.body else ()


Block: TypeAlias = "Dict[str, Statement]"  # what documents state under one id: by the document, since each counts once
Blocks: TypeAlias = "Dict[str, Block]"


def resolve(names: Sequence[str], library: Library, given: Mapping[str, str], *, trial: bool = False) -> Plan:
    """The plan of all that was named; Mistake with every problem and its position.

    `trial`: for looking at specs without judging: unset params get a sample, and what is set but unknown is left alone.
    """
    return _Resolution(library, given, trial=trial).run(names)


class _Resolution:
    def __init__(self, library: Library, given: Mapping[str, str], *, trial: bool) -> None:
        self.library, self.given, self.trial = library, given, trial
        self.problems: List[Wrong] = []
        self.documents: Dict[str, Document] = {}  # parents before children
        self.params: Dict[str, Param] = {}
        self.stated: Dict[str, Blocks] = {}  # what each document comes to, with all that it extends
        self.drops: Dict[str, List[str]] = {}

    def run(self, names: Sequence[str]) -> Plan:
        asked = {self._collect(name, "", ()): name for name in names}
        self._stop()
        for document in self.documents.values():
            self._declare(document)
        self._check_given()
        self._stop()
        for key in self.documents:
            self._state(key)
        blocks = self._joined(tuple(asked))
        if not blocks and not self.problems:
            self.problems.append(Wrong(word(names[0], At(names[0], 1, 1)), "requires nothing"))
        self._stop()
        heads = tuple(self._head(key, name) for key, name in asked.items())
        return Plan(heads, tuple(self.params.values()), _requirements(blocks))

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """What is wrong within is kept, so that all is told at once."""
        try:
            yield
        except Wrong as wrong:
            self.problems.append(wrong)

    def _stop(self) -> None:
        if self.problems:
            raise Mistake(*dict.fromkeys(map(str, sorted(self.problems, key=_position))))

    def _head(self, key: str, name: str) -> Spec:
        """What the report says of a spec that was named."""
        line = self._line(key)
        *others, last = documents = [self.documents[one] for one in line]
        names = {name for document in documents for name, _ in document.params()}
        params = tuple(param for param in self.params.values() if param.name in names)
        return Spec(
            name=last.text("name") or name,
            title=last.text("title"),
            digest=plan.digest(_requirements(self.stated[key]), params),
            sources=tuple(document.file for document in documents),
            extends=tuple(document.text("name") or document.file for document in others),
            drops=tuple(drop for one in line for drop in self.drops[one]),
            notes=tuple(note for document in documents for note in document.notes),
        )

    def _line(self, key: str) -> Tuple[str, ...]:
        """All that a document extends, and itself."""
        before = (one for parent in self.documents[key].parents for one in self._line(parent))
        return tuple(dict.fromkeys((*before, key)))

    # documents

    def _collect(self, name: str, beside: str, path: Tuple[str, ...]) -> str:
        """Parents as listed, depth first, then the document itself; each file once. Its key is what it is found by."""
        found = self.library.find(name, beside)
        if found.key in path:
            raise Mistake(f"`{name}` extends itself")
        if found.key not in self.documents:
            document = self._document(parse(found.data, found.file), found.file)
            parents: List[str] = []
            with self._kept():
                for parent in document.list("extends"):
                    with self._kept():
                        parents.append(self._parent(parent, found.key, (*path, found.key)))
            self.documents[found.key] = document._replace(parents=tuple(parents))
        return found.key

    def _parent(self, node: Node, beside: str, path: Tuple[str, ...]) -> str:
        try:
            return self._collect(text(node, "extends"), beside, path)
        except Mistake as mistake:
            if any(re.match(r".+:\d+:\d+: ", said) for said in mistake.said):
                raise
            raise Wrong(node, "; ".join(mistake.said)) from None

    def _document(self, body: Node, file: str) -> Document:
        if not isinstance(body, Map):
            raise Mistake(f"{body.at}: a spec is a mapping that begins with `nodespec: 1`")
        notes: Tuple[str, ...] = ()
        try:
            if sysspec.is_one(body):
                body, notes = sysspec.converted(body)
            _understood(body)
        except Wrong as wrong:
            raise Mistake(str(wrong)) from None
        document = Document(file, body, (), notes)
        for ask in (lambda: known(body, TOP), lambda: document.text("name"), lambda: document.text("title")):
            with self._kept():
                ask()
        return document

    def _declare(self, document: Document) -> None:
        with self._kept():
            for name, node in document.params():
                with self._kept():
                    inherited, given = self.params.get(name), self.given.get(name)
                    self.params[name] = declared(name, node, inherited, given, trial=self.trial)

    def _check_given(self) -> None:
        for name in () if self.trial else self.given:
            if name not in self.params and not self.problems:
                raise Mistake(f"--set {name}: no spec has such a param{nearest(name, self.params)}")

    # statements

    def _state(self, key: str) -> None:
        """What a document comes to: all that it extends; without what it drops; and what it says itself."""
        document = self.documents[key]
        blocks = self._joined(document.parents)
        drops = self.drops[key] = []
        with self._kept():
            for node in document.list("drop"):
                with self._kept():
                    drops.append(_dropped(text(node, "drop"), node, blocks))
        own = Reader(self.params, self.problems).statements(document.body)
        self.stated[key] = self._with(blocks, [(key, statement) for statement in own])

    def _joined(self, keys: Sequence[str]) -> Blocks:
        """What several documents come to together."""
        blocks: Blocks = {}
        for key in keys:
            self._with(blocks, [one for block in self.stated[key].values() for one in block.items()])
        return blocks

    def _with(self, blocks: Blocks, more: Sequence[Tuple[str, Statement]]) -> Blocks:
        rules = {one.rule: key for block in blocks.values() for key, one in block.items()}
        for key, new in more:
            with self._kept():
                if new.rule and rules.setdefault(new.rule, key) != key:
                    where = self.documents[rules[new.rule]].file
                    raise Wrong(_at(new), f"rule `{new.rule}` stands in {where} too: drop that one to say it anew")
                _add(blocks, key, new)
        return blocks


def _understood(body: Map) -> None:
    """Refuse what is written for another program than this."""
    if body.get("nodespec") != str(plan.LANGUAGE):
        raise Wrong(body.get("nodespec", body), f"`nodespec: {plan.LANGUAGE}` is wanted: the version of the language")
    if "requires" in body:
        if not isinstance(body["requires"], Word):
            raise Wrong(body["requires"], "`requires` wants a range of nodespec's versions; did you mean `require`?")
        needed = expectation.read(nodes(body["requires"]), Version(RELEASE))
        if not needed.test(__version__):
            raise Wrong(body["requires"], f"this spec requires nodespec {needed.text}, and this is {__version__}")


def _dropped(name: str, node: Node, blocks: Blocks) -> str:
    """Take out what a glob or the name of a rule drops; how the report says it."""
    gone = [id_ for id_, block in blocks.items() if selects(name, id_) or name in {one.rule for one in block.values()}]
    if not gone:
        raise Wrong(node, f"`{name}` drops nothing that is inherited{nearest(name, blocks)}")
    for id_ in gone:
        del blocks[id_]
    return f"{name} ({', '.join(gone)})" if gone != [name] else name


def _add(blocks: Blocks, key: str, new: Statement) -> None:
    """What documents state under one id must all hold."""
    block = blocks.setdefault(new.id, {})
    first = next(iter(block.values()), new)
    if first.data.get("fact") != new.data.get("fact"):
        raise Wrong(_at(new), f"`{new.id}` reads like another place, at {first.at}")
    if block and "pass" not in possible(Joined("all", tuple(one.pattern for one in (*block.values(), new)))):
        said = ", ".join(str(one.at) for one in block.values())
        raise Wrong(_at(new), f"`{new.id}` contradicts {said}: both must hold")
    block[key] = new


def _requirements(blocks: Blocks) -> Tuple[Requirement, ...]:
    return tuple(_requirement(tuple(block.values())) for block in blocks.values())


def _requirement(block: Sequence[Statement]) -> Requirement:
    first, words = block[0], {word: said for one in block for word, said in one.words.items()}
    asked = [one.data for at, one in enumerate(block) if one.data not in [earlier.data for earlier in block[:at]]]
    return Requirement(
        first.id,
        first.level,
        first.data if len(asked) == 1 else {"all": nodes(asked)},
        first.when,
        tuple(str(one.at) for one in block),
        *(words.get(word, "") for word in WORDS),
    )


def _at(statement: Statement) -> Node:
    return word(statement.id, statement.at)


def _position(wrong: Wrong) -> Tuple[str, int, int]:
    at = getattr(wrong.node, "at", None)
    return at if isinstance(at, At) else ("", 0, 0)
